/** The proof sees what is wrong: engines with planted errors do not pass. */
import fs, { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Decision, PullManagerOptions } from '../../../src/index.ts';
import { inject, REPLACED } from './inject.ts';
import type { Engine, LifeFault, LifeReport } from './life.ts';
import { Oracle } from './oracle.ts';
import { planned } from './sweep.ts';
import { Switchboard } from './switchboard.ts';

const board = Switchboard.create();
const base = mkdtempSync(join(tmpdir(), 'pullwarden-faults-'));
let live: typeof import('./life.ts')['live'];
let openReal: (options: PullManagerOptions) => Promise<Engine>;
let count = 0;

beforeAll(async () => {
  const undo = await inject(board, base);
  // Only now may the engine take the functions that were replaced.
  ({ live } = await import('./life.ts'));
  const { makeSizesSmall } = await import('./small-sizes.ts');
  makeSizesSmall();
  const { PullManager } = await import('../../../src/index.ts');
  openReal = (options) => PullManager.open(options);
  return undo;
});
afterAll(() => rmSync(base, { recursive: true, force: true }));

interface Plan {
  readonly store?: 'journal' | 'kubelet';
  readonly fault?: LifeFault;
  readonly open?: (options: PullManagerOptions) => Promise<Engine>;
}

function run({ store = 'journal', fault, open = openReal }: Plan = {}): Promise<LifeReport> {
  const directory = join(base, String(++count));
  mkdirSync(directory);
  const path = join(directory, 'store');
  return live({
    switchboard: board,
    store: store === 'journal' ? { kind: store, path } : { kind: store, dir: path },
    workerCount: 0,
    fault,
    patienceMs: 2_000,
    settleMs: store === 'journal' ? 0 : 150,
    guardMs: 10_000,
    open,
  });
}

/** The write of an intent fails. */
const WRITE_FAILS: LifeFault = {
  place: { step: 8, call: 'write', file: 'segment', nth: 1 },
  error: 'EIO',
  mode: 'once',
};
const DISK_FAILS: LifeFault = { ...WRITE_FAILS, mode: 'while' };

/** An engine of which some methods are others. */
function planted(change: (real: Engine) => Partial<Engine>): NonNullable<Plan['open']> {
  return async (options) => {
    const real = await openReal(options);
    const changed = change(real);
    return new Proxy(real, {
      get: (target, name) => {
        const found = Reflect.get(name in changed ? changed : target, name) as unknown;
        return typeof found === 'function' ? found.bind(target) : found;
      },
    });
  };
}

describe('an engine without planted errors', () => {
  it.each(['journal', 'kubelet'] as const)(
    'passes on %s, and its script meets every kind of file',
    async (store) => {
      const { problems, calls } = await run({ store });
      expect(problems).toEqual([]);
      const files = new Set(calls.map(({ file }) => file));
      const needed = {
        journal: [
          'segment',
          'segment being made',
          'snapshot',
          'snapshot being made',
          'MANIFEST',
          'LOCK',
          'LOCK.json',
        ],
        kubelet: [
          'segment',
          'intent file',
          'record file',
          'record file being made',
          'directory of records',
        ],
      };
      for (const file of needed[store]) expect(files).toContain(file);
      expect(files).not.toContain('something else');
    },
  );

  it.each(['once', 'while', 'dead'] as const)('survives a write that fails (%s)', async (mode) => {
    const { problems, wasHit, refusals } = await run({ fault: { ...WRITE_FAILS, mode } });
    expect(problems).toEqual([]);
    expect(wasHit).toBe(true);
    expect(refusals).toBeGreaterThan(0);
  });
});

describe('an engine does not pass that', () => {
  it('acknowledges what it could not write', async () => {
    const swallow = planted((real) => ({
      recordPullIntent: (image) => real.recordPullIntent(image).catch(() => {}),
    }));
    const { problems } = await run({ fault: WRITE_FAILS, open: swallow });
    expect(problems.join('\n')).toMatch(/broken.*may be/);
  });

  it('lets everybody in while its storage fails', async () => {
    const lax = (decision: Decision): Decision =>
      decision.reason === 'error'
        ? { mustPull: false, reason: 'credentialPolicyAllowed', detail: '' }
        : decision;
    const plan = planted((real) => ({
      decideSync: () => undefined,
      decide: async (...args) => {
        if (board.isFailing) return lax({ mustPull: true, reason: 'error', detail: '' });
        return real.decide(...args);
      },
    }));
    const { problems } = await run({ fault: DISK_FAILS, open: plan });
    expect(problems.join('\n')).toContain('answered need not pull');
  });

  it('says of the empty state of its storage that nothing is there', async () => {
    const plan = planted((real) => ({
      listImagePulledRecords: async () => {
        if (board.isFailing) return { records: [], errors: [] };
        return real.listImagePulledRecords();
      },
    }));
    const { problems } = await run({ fault: DISK_FAILS, open: plan });
    expect(problems.join('\n')).toMatch(/records of private: listed \[\]/);
  });

  it('never goes on', async () => {
    let isBroken = false;
    const plan = planted((real) => ({
      recordPullIntent: async (image) => {
        if (isBroken)
          throw Object.assign(new Error('still'), { code: 'ERR_PULLMANAGER_STORE_UNAVAILABLE' });
        await real.recordPullIntent(image).catch((error: unknown) => {
          isBroken = true;
          throw error;
        });
      },
    }));
    const { problems } = await run({ fault: WRITE_FAILS, open: plan });
    expect(problems.join('\n')).toContain('without a fault');
  });

  it('hangs', async () => {
    const plan = planted((real) => ({
      recordPullIntent: (image) =>
        real.recordPullIntent(image).catch(() => new Promise<never>(() => {})),
    }));
    const { problems, hangs } = await run({ fault: WRITE_FAILS, open: plan });
    expect(problems.join('\n')).toContain('hangs');
    expect(hangs).toBe(true);
  }, 60_000);

  it('has lost a record when it is opened again', async () => {
    let lives = 0;
    const plan: NonNullable<Plan['open']> = async (options) => {
      const { path } = options.store as { path: string };
      if (++lives === 2) rmSync(path, { recursive: true });
      return openReal(options);
    };
    const { problems } = await run({ open: plan });
    expect(problems.join('\n')).toMatch(/records of private: listed \[\]/);
  });

  it('leaves files open', async () => {
    const plan: NonNullable<Plan['open']> = async (options) => {
      const { path } = options.store as { path: string };
      const engine = await openReal(options);
      fs.openSync(join(path, 'MANIFEST'), 'r');
      return engine;
    };
    const { problems } = await run({ open: plan });
    expect(problems.join('\n')).toContain('descriptors are open');
  });

  it('says nothing of the storage in its errors', async () => {
    const plan = planted((real) => ({
      recordPullIntent: (image) =>
        real.recordPullIntent(image).catch(() => {
          throw new TypeError('undefined is not a function');
        }),
    }));
    const { problems } = await run({ fault: WRITE_FAILS, open: plan });
    expect(problems.join('\n')).toContain('the fault came out as undefined');
  });
});

describe('a load through a disk that breaks', () => {
  /** A disk that fails for the writes of records, and an engine that has this to say of intents. */
  async function load(intentWhileBroken: () => Promise<void>): Promise<readonly string[]> {
    const { loadThrough } = await import('./load.ts');
    let isBroken = false;
    const refusal = Object.assign(new Error('EIO'), { code: 'ERR_PULLMANAGER_STORE_UNAVAILABLE' });
    const open = planted((real) => ({
      recordPullIntent: (image) => (isBroken ? intentWhileBroken() : real.recordPullIntent(image)),
      recordImagePulled: (...args) =>
        isBroken ? Promise.reject(refusal) : real.recordImagePulled(...args),
    }));
    const { problems } = await loadThrough({
      store: { kind: 'journal', path: join(base, String(++count), 'store') },
      breakIt: () => {
        isBroken = true;
      },
      mendIt: () => {
        isBroken = false;
      },
      open,
    });
    return problems;
  }

  it('passes where the engine says so', async () => {
    const code = 'ERR_PULLMANAGER_STORE_UNAVAILABLE';
    const problems = await load(() => Promise.reject(Object.assign(new Error('EIO'), { code })));
    expect(problems).toEqual([]);
  });

  it('does not where it acknowledges what is lost', async () => {
    expect((await load(() => Promise.resolve())).join('\n')).toMatch(/records of g.*listed \[\]/);
  });
});

describe('the oracle', () => {
  const image = 'registry.test/one/app:1';
  const imageRef = 'sha256:0/one/1';
  const pulled = { op: 'pulled', image, imageRef, credentials: null } as const;

  function afterRejectedOutcome(): Oracle {
    const oracle = new Oracle();
    oracle.acknowledged({ op: 'intent', image });
    oracle.uncertain(pulled);
    oracle.restarted();
    return oracle;
  }

  it('takes a rejected outcome for done, half done, and not done', () => {
    const record = { imageRef, lastUpdatedTime: new Date(), credentialMapping: {} };
    for (const [intents, records] of [
      [[image], []],
      [[image], [record]],
      [[], [record]],
    ] as const) {
      const oracle = afterRejectedOutcome();
      expect([...oracle.listedRecords(records), ...oracle.listedIntents(intents)]).toEqual([]);
    }
  });

  it('does not take an intent for gone that left no record', () => {
    const oracle = afterRejectedOutcome();
    expect([...oracle.listedRecords([]), ...oracle.listedIntents([])]).toHaveLength(1);
  });

  it('holds an engine to what it has shown', () => {
    const oracle = new Oracle();
    oracle.uncertain({ op: 'intent', image });
    expect(oracle.listedIntents([image])).toEqual([]);
    expect(oracle.listedIntents([])).toHaveLength(1);
    oracle.restarted();
    expect(oracle.listedIntents([])).toEqual([]);
  });
});

describe('the sweep', () => {
  it('plans one fault of each kind before a second one of any', () => {
    const made = { call: 'write', file: 'segment' } as const;
    const places = [1, 2, 3].map((nth) => ({ ...made, step: 1, nth }));
    const points = planned([...places, { ...made, step: 2, nth: 1 }], ['once'], 1);
    const kinds = 2 * new Set(points.map(({ error }) => error)).size;
    const keys = points.map(({ place, error }) => `${place.step} ${error}`);
    expect(new Set(keys.slice(0, kinds)).size).toBe(kinds);
    expect(points).toHaveLength(2 * kinds);
  });

  it('replaces every function of the file system that the stores use', () => {
    const root = fileURLToPath(new URL('../../../src/accessors/', import.meta.url));
    const isReplaced = (name: string): boolean =>
      Object.values(REPLACED).some((form) => name in form);
    const used = new Set<string>();
    for (const name of readdirSync(root, { recursive: true, encoding: 'utf8' })) {
      if (!name.endsWith('.ts')) continue;
      const text = readFileSync(join(root, name), 'utf8');
      for (const [, list] of text.matchAll(/import \{([^}]*)\} from 'node:fs(?:\/promises)?'/g)) {
        for (const item of list!.split(',')) {
          const word = item.trim();
          if (word !== '' && !word.startsWith('type ') && word !== 'constants') used.add(word);
        }
      }
      for (const [, word] of text.matchAll(/\bfs\.([a-zA-Z]+)\(/g)) used.add(word!);
    }
    expect(used.size).toBeGreaterThan(20);
    expect([...used].filter((name) => !isReplaced(name))).toEqual([]);
  });
});

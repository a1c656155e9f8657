import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { StoreOptions } from '../../../src/accessors/backend.ts';
import { SharedState, WORKER, WORKER_STATE } from '../../../src/protocol/shared-state.ts';
import { PullManager } from '../../../src/pull-manager.ts';
import { WorkerThreads } from '../../../src/storm/worker-threads.ts';
import { Random } from '../../../src/util/random.ts';
import { inTime } from '../../support/wait.ts';
import { EVENT, type StormEvent, stormEvent } from './log.ts';
import { CrashModel } from './model.ts';
import { CrashStorm } from './storm.ts';
import { type Dump, dumpOf } from './sweep.ts';

/** A longer run sets the variable. Each engine sees several deaths; waits between them double. */
const ENGINES = Number(process.env.PULLWARDEN_DEATH_ENGINES ?? 2);
const SEED = Number(process.env.PULLWARDEN_DEATH_SEED ?? Date.now() % 1_000_000);
const DEATHS = 6;
const WORKER_COUNT = 2;
const CALLERS = 48;
const LIMIT_MS = 30_000;
/** A number below it chooses a thread: a multiple of each number of threads that there may be. */
const THREADS_MAX = 60;
const LOG_STORE = fileURLToPath(new URL('../../fixtures/stores/log-store.mjs', import.meta.url));

let directory: string;
let threads: WorkerThreads;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'pullwarden-deaths-'));
  threads = new WorkerThreads();
});

afterEach(() => {
  threads.close();
  rmSync(directory, { recursive: true, force: true });
});

/** Lists and asks once every worker that has died is replaced; until then its gauges are behind. */
async function dumpWhenWell(manager: PullManager): Promise<Dump> {
  const deadline = performance.now() + LIMIT_MS;
  for (;;) {
    while (!isWell(manager) && performance.now() < deadline) await delay(5);
    try {
      const dump = await dumpOf(manager);
      if (!dump.answers.includes('true error') || performance.now() > deadline) return dump;
    } catch (error) {
      const { code } = error as { code?: string };
      if (code !== 'ERR_PULLMANAGER_WORKER_LOST' || performance.now() > deadline) throw error;
    }
    await delay(20);
  }
}

/**
 * Storms on a store while its workers die, and checks after each engine that nothing acknowledged is
 * gone and that the counters are those of the acknowledged calls.
 */
async function survive(
  store: StoreOptions,
  kill: (manager: PullManager, random: Random) => Promise<void>,
): Promise<{ deaths: number; acknowledged: number; counted: number }> {
  const model = new CrashModel();
  const random = new Random(SEED, 9);
  let deaths = 0;
  let counted = 0;
  for (let engine = 0; engine < ENGINES; engine++) {
    const manager = await inTime(
      `opening the store (seed ${SEED})`,
      PullManager.open({ store, workerCount: WORKER_COUNT }),
    );
    let events: StormEvent[] = [];
    const failures = new Map<string, number>();
    const storm = new CrashStorm({
      manager,
      sink: (event) => events.push(event),
      seed: random.next(),
      callers: CALLERS,
      version: engine * 2,
      async onFailure(code) {
        failures.set(code, (failures.get(code) ?? 0) + 1);
        await delay(5);
        return true;
      },
    });
    const follow = async (): Promise<void> => {
      const dump = await dumpWhenWell(manager);
      const end = { timeMs: Date.now() };
      const findings = model.advance(events, undefined, undefined, end);
      events = [];
      findings.push(...model.check(dump));
      const shown = findings.slice(0, 3).map(({ kind, message }) => `${kind}: ${message}`);
      expect(shown, `seed ${SEED}, engine ${engine}`).toEqual([]);
    };
    events.push(stormEvent(EVENT.OPENING), stormEvent(EVENT.READY));
    await follow();

    const ended = storm.run();
    await kill(manager, random);
    await delay(50);
    storm.stop();
    await inTime('ending the calls', ended);
    await follow();
    deaths += manager.stats().workersReplaced;

    // One outcome short of all: the intents stay. The last one: they go.
    const pulls = model.certainPulls();
    for (const [image, count] of pulls) await storm.fail(image, Math.max(0, count - 1));
    await follow();
    for (const [image, count] of pulls) await storm.fail(image, Math.min(1, count));
    await follow();
    counted += Array.from(pulls.values()).filter((count) => count > 0).length;

    await inTime('closing the engine', manager.close());
    model.crash();
    expect([...failures.keys()].filter((code) => code !== 'ERR_PULLMANAGER_WORKER_LOST')).toEqual(
      [],
    );
  }
  return { deaths, acknowledged: model.acknowledged, counted };
}

/** Whether every owner has opened its store and works. */
function isWell(manager: PullManager): boolean {
  const state = SharedState.attach(manager.handle.control);
  for (let worker = 0; worker < WORKER_COUNT; worker++) {
    const at = state.workerAt(worker) + WORKER.STATE;
    if (Atomics.load(state.words, at) !== WORKER_STATE.RUNNING) return false;
  }
  return true;
}

/** Calls `death` until as many workers have been replaced as there shall be deaths. */
async function untilReplaced(manager: PullManager, death: () => Promise<void>): Promise<void> {
  const deadline = performance.now() + LIMIT_MS;
  while (manager.stats().workersReplaced < DEATHS && performance.now() < deadline) await death();
}

function storeOf(kind: 'journal' | 'lmdb'): StoreOptions {
  return { kind, path: join(directory, 'store') };
}

describe('a storm whose workers die', { timeout: 180_000 }, () => {
  it.each(['journal', 'lmdb'] as const)(
    'loses nothing acknowledged when threads are terminated at work (%s)',
    async (kind) => {
      const result = await survive(storeOf(kind), async (manager, random) =>
        untilReplaced(manager, async () => {
          await delay(random.below(100));
          if (isWell(manager)) await threads.kill(random.below(THREADS_MAX));
        }),
      );
      expect(result.deaths).toBeGreaterThanOrEqual(ENGINES * DEATHS);
      expect(result.acknowledged).toBeGreaterThan(300);
      expect(result.counted).toBeGreaterThan(10);
    },
  );

  it('loses nothing acknowledged when threads are terminated as they start, too', async () => {
    const result = await survive(storeOf('journal'), async (manager, random) =>
      untilReplaced(manager, async () => {
        await delay(random.below(200));
        await threads.kill(random.below(THREADS_MAX));
      }),
    );
    expect(result.deaths).toBeGreaterThan(0);
    expect(result.counted).toBeGreaterThan(10);
  });

  it.each(['diesBefore', 'diesAfter'])(
    'loses nothing acknowledged when a thread exits around a commit (%s)',
    async (mode) => {
      const options = { path: join(directory, 'records.log'), mode };
      const result = await survive({ module: LOG_STORE, options }, async (manager) =>
        untilReplaced(manager, async () => delay(5)),
      );
      expect(result.deaths).toBeGreaterThanOrEqual(ENGINES * DEATHS);
      expect(result.acknowledged).toBeGreaterThan(100);
    },
  );
});

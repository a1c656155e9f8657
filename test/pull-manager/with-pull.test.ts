import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { errorCode } from '../../src/errors.ts';
import type { PullManager } from '../../src/pull-manager.ts';
import type { ImagePullCredentials } from '../../src/records/record.ts';
import { secret } from '../support/credentials.ts';
import {
  emptied,
  eventually,
  FEW_SHAPES,
  intentsOf,
  openEngine,
  openForAll,
  settles,
} from '../support/engines.ts';

const A = secret('a');
const RESULT = { imageRef: 'ref', credentials: { kubernetesSecrets: [A] }, layers: 7 };
const ABORTED = { name: 'AbortError', code: 'ERR_PULLMANAGER_ABORTED' };
const INVALID = { code: 'ERR_PULLMANAGER_INVALID_ARGUMENT' };

type Result = { imageRef: string; credentials: ImagePullCredentials | null };

/** Never settles, whatever its signal says. */
function stubborn(): Promise<Result> {
  return new Promise(() => {});
}

/** Settles as its signal does. */
function obedient(signal: AbortSignal): Promise<Result> {
  return new Promise((_, reject) => {
    const end = (): void => reject(signal.reason);
    if (signal.aborted) end();
    else signal.addEventListener('abort', end, { once: true });
  });
}

describe.each(FEW_SHAPES)('withPull in an engine with $name', (shape) => {
  let manager: PullManager;

  beforeAll(async () => {
    manager = await openForAll(shape);
    return () => manager.close();
  });

  afterEach(() => emptied(manager));

  it('pulls between an intent and a record', async () => {
    const result = await manager.withPull('app', async (signal) => {
      expect(signal.aborted).toBe(false);
      expect(await intentsOf(manager)).toEqual(['app']);
      expect(await manager.mustAttemptImagePull('app', 'ref')).toBe(true);
      return RESULT;
    });
    expect(result).toBe(RESULT);
    expect(await intentsOf(manager)).toEqual([]);
    expect(await manager.mustAttemptImagePull('app', 'ref', { secrets: [A] })).toBe(false);
  });

  it('records a pull under unknown circumstances', async () => {
    await manager.withPull('app', async () => ({ imageRef: 'ref', credentials: null }));
    expect((await manager.getImagePulledRecord('ref'))?.credentialMapping).toEqual({});
    expect(await intentsOf(manager)).toEqual([]);
  });

  it.each([
    {
      name: 'rejects',
      pull: async (): Promise<Result> => {
        await Promise.resolve();
        throw new RangeError('no such image');
      },
    },
    {
      name: 'throws',
      pull: (): Promise<Result> => {
        throw new RangeError('no such image');
      },
    },
  ])('passes on the error of a pull that $name, and leaves nothing', async ({ pull }) => {
    await expect(manager.withPull('app', pull)).rejects.toThrow(new RangeError('no such image'));
    expect(await intentsOf(manager)).toEqual([]);
    expect((await manager.listImagePulledRecords()).records).toEqual([]);
    expect(await manager.mustAttemptImagePull('app', 'ref')).toBe(false);
  });

  it('keeps the intent while another pull of the image goes on', async () => {
    await manager.withPull('app', async () => {
      await manager.withPull('app', async () => RESULT);
      expect(await intentsOf(manager)).toEqual(['app']);
      return RESULT;
    });
    expect(await intentsOf(manager)).toEqual([]);
  });

  it('takes many pulls at once without a warning', async () => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error): void => {
      warnings.push(warning);
    };
    process.on('warning', onWarning);
    await Promise.all(
      Array.from({ length: 100 }, (_, i) => manager.withPull(`app${i}`, async () => RESULT)),
    );
    await new Promise((resolve) => setImmediate(resolve));
    process.off('warning', onWarning);
    expect(warnings).toEqual([]);
    expect(await intentsOf(manager)).toEqual([]);
  });

  it.each([
    { name: 'nothing', result: undefined },
    { name: 'null', result: null },
    { name: 'a text', result: 'sha256:1' },
    { name: 'no reference', result: { credentials: null } },
    { name: 'a number as reference', result: { imageRef: 5, credentials: null } },
    { name: 'no credentials', result: { imageRef: 'ref' } },
    { name: 'credentials that are none', result: { imageRef: 'ref', credentials: { secret: 1 } } },
  ])('refuses a result that is $name, and keeps the image protected', async ({ result }) => {
    const pulling = manager.withPull('app', async () => result as never);
    await expect(pulling).rejects.toMatchObject(INVALID);
    expect(await intentsOf(manager)).toEqual(['app']);
    expect(await manager.mustAttemptImagePull('app', 'ref')).toBe(true);
    expect((await manager.listImagePulledRecords()).records).toEqual([]);
  });

  it('keeps the image protected where its name cannot be recorded', async () => {
    await expect(manager.withPull('Bad Name', async () => RESULT)).rejects.toMatchObject({
      code: 'ERR_PULLMANAGER_IMAGE_NAME_INVALID',
    });
    expect(await intentsOf(manager)).toEqual(['Bad Name']);
  });

  it.each([
    { name: 'no function', image: 'app', pull: 5, options: {} },
    { name: 'no image', image: undefined, pull: async () => RESULT, options: {} },
    { name: 'null as options', image: 'app', pull: async () => RESULT, options: null },
    { name: 'no signal', image: 'app', pull: async () => RESULT, options: { signal: 'now' } },
  ])('refuses $name before anything is written', async ({ image, pull, options }) => {
    const pulling = manager.withPull(image as never, pull as never, options as never);
    await expect(pulling).rejects.toMatchObject(INVALID);
    expect(await intentsOf(manager)).toEqual([]);
  });

  it('does not begin where it is aborted already', async () => {
    let calls = 0;
    const pull = async (): Promise<Result> => {
      calls++;
      return RESULT;
    };
    const signal = AbortSignal.abort(new Error('too late'));
    const pulling = manager.withPull('app', pull, { signal });
    await expect(pulling).rejects.toMatchObject({ ...ABORTED, cause: new Error('too late') });
    expect(calls).toBe(0);
    expect(await intentsOf(manager)).toEqual([]);
  });

  it.each([
    { name: 'obeys', pull: obedient },
    { name: 'ignores it', pull: stubborn },
  ])(
    'aborted while its intent is written, leaves nothing though the pull $name',
    async ({ pull }) => {
      const aborter = new AbortController();
      const pulling = manager.withPull('app', pull, { signal: aborter.signal });
      const rejected = expect(pulling).rejects.toMatchObject(ABORTED);
      aborter.abort();
      await settles('an aborted pull', rejected);
      // A pull that goes on keeps its intent.
      if (pull === obedient) {
        await eventually('the intent goes', async () => (await intentsOf(manager)).length === 0);
      }
    },
  );

  it('aborted, records the failure of a pull that obeys', async () => {
    const aborter = new AbortController();
    const pulling = manager.withPull(
      'app',
      (signal) => {
        queueMicrotask(() => aborter.abort(new Error('enough')));
        return obedient(signal);
      },
      { signal: aborter.signal },
    );
    await expect(pulling).rejects.toMatchObject({ ...ABORTED, cause: new Error('enough') });
    await eventually('the intent goes', async () => (await intentsOf(manager)).length === 0);
  });

  it('aborted by the pull itself before it returns, rejects', async () => {
    const aborter = new AbortController();
    const pulling = manager.withPull(
      'app',
      () => {
        aborter.abort();
        return stubborn();
      },
      { signal: aborter.signal },
    );
    const rejected = expect(pulling).rejects.toMatchObject(ABORTED);
    await settles('an aborted pull', rejected);
  });

  it('aborted, keeps the intent of a pull that goes on, and records what it gives', async () => {
    const aborter = new AbortController();
    let finish: (result: Result) => void = () => {};
    let begun: () => void = () => {};
    const beginning = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const pulling = manager.withPull(
      'app',
      () =>
        new Promise<Result>((resolve) => {
          finish = resolve;
          begun();
        }),
      { signal: aborter.signal },
    );
    await beginning;
    aborter.abort();
    await expect(pulling).rejects.toMatchObject(ABORTED);
    expect(await intentsOf(manager)).toEqual(['app']);
    expect(await manager.mustAttemptImagePull('app', 'ref')).toBe(true);
    finish(RESULT);
    await eventually('the intent goes', async () => (await intentsOf(manager)).length === 0);
    expect(await manager.mustAttemptImagePull('app', 'ref', { secrets: [A] })).toBe(false);
  });

  it('is ended by close, which waits for the outcome', async () => {
    const own = await openEngine(shape);
    let seen: unknown;
    let begun: () => void = () => {};
    const beginning = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const pulling = own.withPull('app', async (signal) => {
      begun();
      return obedient(signal).catch((error: unknown) => {
        seen = error;
        throw error;
      });
    });
    const code = pulling.catch(errorCode);
    await beginning;
    await settles('closing', own.close());
    expect(['ERR_PULLMANAGER_ABORTED', 'ERR_PULLMANAGER_CLOSED']).toContain(await code);
    expect(errorCode(seen)).toBe('ERR_PULLMANAGER_CLOSED');
    expect(own.stats().intents).toBe(0);
    await expect(own.withPull('app', async () => RESULT)).rejects.toMatchObject({
      code: 'ERR_PULLMANAGER_CLOSED',
    });
  });

  it('is ended by close while its intent is written', async () => {
    const own = await openEngine(shape);
    const code = own.withPull('app', stubborn).catch(errorCode);
    const closing = own.close();
    expect(['ERR_PULLMANAGER_ABORTED', 'ERR_PULLMANAGER_CLOSED']).toContain(
      await settles('the pull', code),
    );
    await settles('closing', closing);
  });

  it('does not keep the engine from closing, though the pull ignores its end', async () => {
    const own = await openEngine(shape);
    let finish: ((result: Result) => void) | undefined;
    const code = own
      .withPull(
        'app',
        () =>
          new Promise<Result>((resolve) => {
            finish = resolve;
          }),
      )
      .catch(errorCode);
    // Not merely its intent: a pull that close overtakes before it begins leaves none.
    await eventually('the pull begins', () => finish !== undefined);
    await settles('closing', own.close());
    expect(['ERR_PULLMANAGER_ABORTED', 'ERR_PULLMANAGER_CLOSED']).toContain(await code);
    // Too late: the intent stays for the next start to reconcile.
    finish?.(RESULT);
    await new Promise((resolve) => setImmediate(resolve));
    expect(own.stats().intents).toBe(1);
  });
});

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PullRecordsAccessor, RecordWrite } from '../../src/accessors/accessor.ts';
import { type CachedAccessor, cachedAccessor } from '../../src/accessors/cached.ts';
import { record } from '../conformance/accessor-suite.ts';

const KEYS = ['a', 'b', 'c'] as const;
type Key = (typeof KEYS)[number];

/** When something fails: not at all, before it takes effect, or after. */
type Failure = 'none' | 'before' | 'after';

type Step =
  | { readonly op: 'read'; readonly key: Key; readonly fails: boolean }
  | { readonly op: 'list'; readonly fails: boolean }
  | { readonly op: 'write'; readonly values: ReadonlyMap<Key, boolean>; readonly failure: Failure }
  | { readonly op: 'foreign'; readonly key: Key; readonly all: boolean };

/** What a key held, and until when somebody may still have been shown it. */
interface Held {
  readonly value: number | undefined;
  readonly from: number;
  /** When the write that replaced it was acknowledged or failed; Infinity as long as neither is so. */
  until: number;
}

/**
 * A store that takes effect and answers when the scheduler says so, in any order. Records are told
 * apart by their times.
 */
class ScheduledStore {
  readonly held = new Map<Key, Held[]>(KEYS.map((key) => [key, [nothing()]]));
  #tick = 0;
  #isCalm = false;
  readonly #scheduler: fc.Scheduler;

  constructor(scheduler: fc.Scheduler) {
    this.#scheduler = scheduler;
  }

  now(): number {
    return this.#tick++;
  }

  /** From now on everything happens at once. */
  calm(): void {
    this.#isCalm = true;
  }

  async turn(what: string): Promise<void> {
    if (!this.#isCalm) await this.#scheduler.schedule(Promise.resolve(), what);
  }

  valueOf(key: Key): number | undefined {
    return this.held.get(key)!.at(-1)!.value;
  }

  /** The key holds something else; answers what it held before. */
  set(key: Key, value: number | undefined): Held {
    const history = this.held.get(key)!;
    const before = history.at(-1)!;
    history.push({ value, from: this.now(), until: Number.POSITIVE_INFINITY });
    return before;
  }

  /** Whether somebody who asked at `startedAt` and is answered now may be told `value`. */
  mayAnswer(key: Key, value: number | undefined, startedAt: number): boolean {
    return this.held.get(key)!.some((held) => held.value === value && held.until >= startedAt);
  }
}

function nothing(): Held {
  return { value: undefined, from: 0, until: Number.POSITIVE_INFINITY };
}

const rarely = fc.integer({ min: 0, max: 4 }).map((draw) => draw === 4);

const steps: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        op: fc.constant('read' as const),
        key: fc.constantFrom(...KEYS),
        fails: rarely,
      }),
    },
    {
      weight: 5,
      arbitrary: fc.record({
        op: fc.constant('write' as const),
        values: fc
          .uniqueArray(fc.tuple(fc.constantFrom(...KEYS), fc.boolean()), {
            selector: ([key]) => key,
            minLength: 1,
          })
          .map((entries) => new Map(entries)),
        failure: fc.oneof(
          { weight: 4, arbitrary: fc.constant<Failure>('none') },
          { weight: 1, arbitrary: fc.constantFrom<Failure>('before', 'after') },
        ),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ op: fc.constant('list' as const), fails: rarely }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        op: fc.constant('foreign' as const),
        key: fc.constantFrom(...KEYS),
        all: fc.boolean(),
      }),
    },
  ),
  { minLength: 1, maxLength: 12 },
);

/** What differs between the two kinds of keys. */
interface Kind {
  readonly name: string;
  readonly accessorOf: (store: ScheduledStore, plans: Plans) => PullRecordsAccessor;
  readonly read: (cache: CachedAccessor, key: Key) => unknown;
  readonly list: (cache: CachedAccessor) => unknown;
  readonly writeOf: (key: Key, value: number | undefined) => RecordWrite;
  /** What the store holds in the form in which `read` answers. */
  readonly shown: (value: number | undefined) => unknown;
}

/** How the next call of each kind goes, as the step that makes it says. */
class Plans {
  readFails = false;
  listFails = false;
  failure: Failure = 'none';
  /** Told when the effect of a write takes place. */
  onEffect: (replaced: readonly Held[]) => void = () => {};
}

function scheduledAccessor(
  store: ScheduledStore,
  plans: Plans,
  changeOf: (write: RecordWrite) => readonly [Key, number | undefined],
): Pick<PullRecordsAccessor, 'commit'> & {
  read: (key: Key) => Promise<number | undefined>;
  list: () => Promise<(readonly [Key, number])[]>;
} {
  return {
    async read(key) {
      const { readFails } = plans;
      await store.turn(`read ${key}`);
      const value = store.valueOf(key);
      await store.turn(`answer read ${key}`);
      if (readFails) throw new Error('cannot be read');
      return value;
    },
    async list() {
      const { listFails } = plans;
      await store.turn('list');
      const found = KEYS.map((key) => [key, store.valueOf(key)] as const);
      await store.turn('answer list');
      if (listFails) throw new Error('cannot be listed');
      return found.filter((entry): entry is readonly [Key, number] => entry[1] !== undefined);
    },
    async commit(batch) {
      const { failure, onEffect } = plans;
      await store.turn('commit');
      if (failure === 'before') throw new Error('not written');
      onEffect(batch.map((write) => store.set(...changeOf(write))));
      await store.turn('answer commit');
      if (failure === 'after') throw new Error('written and not acknowledged');
    },
  };
}

const unused = (): never => {
  throw new Error('is not used here');
};
const EMPTY = { records: [], errors: [] };
const UNUSED: PullRecordsAccessor = {
  listImagePullIntents: () => EMPTY,
  imagePullIntentExists: unused,
  writeImagePullIntent: unused,
  deleteImagePullIntent: unused,
  listImagePulledRecords: () => EMPTY,
  getImagePulledRecord: unused,
  writeImagePulledRecord: unused,
  deleteImagePulledRecord: unused,
  commit: unused,
  close: () => {},
};

const PULLED: Kind = {
  name: 'pulled records',
  accessorOf: (store, plans) => {
    const scheduled = scheduledAccessor(store, plans, (write) =>
      write.op === 'writePulled'
        ? [write.record.imageRef as Key, write.record.lastUpdatedTime.getTime()]
        : [(write as { imageRef: Key }).imageRef, undefined],
    );
    return {
      ...UNUSED,
      commit: scheduled.commit,
      listImagePulledRecords: async () => {
        const found = await scheduled.list();
        return { records: found.map(([key, value]) => record(key, {}, value)), errors: [] };
      },
      getImagePulledRecord: async (imageRef) => {
        const value = await scheduled.read(imageRef as Key);
        return value === undefined ? undefined : record(imageRef, {}, value);
      },
    };
  },
  read: async (cache, key) => (await cache.getImagePulledRecord(key))?.lastUpdatedTime.getTime(),
  list: (cache) => cache.listImagePulledRecords(),
  writeOf: (key, value) =>
    value === undefined
      ? { op: 'deletePulled', imageRef: key }
      : { op: 'writePulled', record: record(key, {}, value) },
  shown: (value) => value,
};

const INTENTS: Kind = {
  name: 'intents',
  accessorOf: (store, plans) => {
    const scheduled = scheduledAccessor(store, plans, (write) => [
      (write as { image: Key }).image,
      write.op === 'writeIntent' ? 1 : undefined,
    ]);
    return {
      ...UNUSED,
      commit: scheduled.commit,
      listImagePullIntents: async () => {
        const found = await scheduled.list();
        return { records: found.map(([image]) => ({ image })), errors: [] };
      },
      imagePullIntentExists: async (image) => (await scheduled.read(image as Key)) !== undefined,
    };
  },
  read: async (cache, key) => ((await cache.imagePullIntentExists(key)) ? 1 : undefined),
  list: (cache) => cache.listImagePullIntents(),
  writeOf: (key, value) => ({
    op: value === undefined ? 'deleteIntent' : 'writeIntent',
    image: key,
  }),
  shown: (value) => (value === undefined ? undefined : 1),
};

async function checkInterleaving(
  kind: Kind,
  scheduler: fc.Scheduler,
  max: number,
  history: readonly Step[],
): Promise<void> {
  const store = new ScheduledStore(scheduler);
  const plans = new Plans();
  const opening = cachedAccessor(kind.accessorOf(store, plans), {
    intentsMax: max,
    pulledMax: max,
  });
  const cache = await scheduler.waitFor(opening);
  let nextValue = 1;

  const run = async (step: Step): Promise<void> => {
    await store.turn('begin');
    if (step.op === 'foreign') {
      store.set(step.key, kind.shown(nextValue++) as number).until = store.now();
      cache.forget(step.all ? undefined : step.key);
    } else if (step.op === 'list') {
      plans.listFails = step.fails;
      await settled(kind.list(cache));
    } else if (step.op === 'read') {
      plans.readFails = step.fails;
      const startedAt = store.now();
      const answer = await settled(kind.read(cache, step.key));
      if (answer === FAILED) return;
      const isRight = store.mayAnswer(step.key, answer as number | undefined, startedAt);
      expect(isRight, `read ${step.key} = ${String(answer)}`).toBe(true);
    } else {
      const writes = Array.from(step.values, ([key, isWritten]) =>
        kind.writeOf(key, isWritten ? nextValue++ : undefined),
      );
      let replaced: readonly Held[] = [];
      plans.failure = step.failure;
      plans.onEffect = (held) => {
        replaced = held;
      };
      await settled(cache.commit(writes));
      for (const held of replaced) held.until = store.now();
    }
  };
  await scheduler.waitFor(Promise.all(history.map(run)));

  store.calm();
  plans.readFails = false;
  for (let round = 0; round < 2; round++) {
    for (const key of KEYS)
      expect([key, await kind.read(cache, key)]).toEqual([key, store.valueOf(key)]);
  }
}

const FAILED = Symbol('failed');

async function settled(answer: unknown): Promise<unknown> {
  try {
    return await answer;
  } catch (error) {
    if (/cannot be|written/.test((error as Error).message)) return FAILED;
    throw error;
  }
}

describe.each([PULLED, INTENTS])('a cache of $name in front of an asynchronous store', (kind) => {
  it('never shows what was replaced before it was asked, and is left with what the store holds', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.scheduler(),
        fc.constantFrom(1, 2, 3, 4),
        steps,
        (scheduler, max, history) => checkInterleaving(kind, scheduler, max, history),
      ),
      { numRuns: 2000 },
    );
  });
});

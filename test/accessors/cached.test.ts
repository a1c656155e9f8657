import { describe, expect, it } from 'vitest';
import type { PullRecordsAccessor } from '../../src/accessors/accessor.ts';
import {
  type CachedAccessor,
  type CacheOptions,
  cachedAccessor,
} from '../../src/accessors/cached.ts';
import { openMemory } from '../../src/accessors/memory.ts';
import { errorCode, PullManagerError } from '../../src/errors.ts';
import { codeOf, comparable, record, secrets } from '../conformance/accessor-suite.ts';
import { soleWorker } from './open-store.ts';

const INVALID_ARGUMENT = 'ERR_PULLMANAGER_INVALID_ARGUMENT';
const RECORD_CORRUPT = 'ERR_PULLMANAGER_RECORD_CORRUPT';
const STORE_UNAVAILABLE = 'ERR_PULLMANAGER_STORE_UNAVAILABLE';

type Method = keyof PullRecordsAccessor;

/** A store in memory that notes every call, and answers or fails as told. */
class Recorder {
  readonly store = openMemory(soleWorker());
  readonly calls: string[] = [];
  /** What a method does instead of what it should. */
  readonly instead = new Map<Method, () => unknown>();
  readonly accessor: PullRecordsAccessor;

  constructor() {
    this.accessor = new Proxy<PullRecordsAccessor>(this.store, {
      get: (target, name) => {
        const method = Reflect.get(target, name) as (...args: unknown[]) => unknown;
        if (typeof method !== 'function') return method;
        return (...args: unknown[]): unknown => {
          this.calls.push(String(name));
          const instead = this.instead.get(name as Method);
          return instead === undefined ? method.apply(target, args) : instead();
        };
      },
    });
  }

  /** The calls since the last time. */
  take(): string[] {
    return this.calls.splice(0);
  }
}

const failing = (code: string) => (): never => {
  throw Object.assign(new Error('the store fails'), { code });
};

async function open(options?: CacheOptions, fill?: (recorder: Recorder) => unknown) {
  const recorder = new Recorder();
  await fill?.(recorder);
  const cache = await cachedAccessor(recorder.accessor, options);
  return { recorder, cache };
}

describe('the sizes of a cache', () => {
  it.each([0, -1, Number.NaN, 1.5, Number.NEGATIVE_INFINITY, '5', null])(
    'are not %j',
    async (size) => {
      for (const option of ['intentsMax', 'pulledMax']) {
        const opening = open({ [option]: size });
        await expect(opening).rejects.toMatchObject({
          code: INVALID_ARGUMENT,
          argument: `options.${option}`,
        });
      }
    },
  );

  it.each([
    [undefined, 1024, 2000],
    [1, 1, 1],
    [1024, 1024, 1024],
    [1025, 1024, 1025],
    [2000, 1024, 2000],
    [2001, 1024, 2000],
    [Number.POSITIVE_INFINITY, 1024, 2000],
  ])('of %s are cut to %i intents and %i records', async (size, intents, pulled) => {
    const { cache } = await open({ intentsMax: size, pulledMax: size });
    expect(cache.usage.intents.size).toBe(intents);
    expect(cache.usage.pulled.size).toBe(pulled);
  });
});

describe('what is not an accessor', () => {
  it.each([undefined, null, 1, {}, { close() {} }])('is refused: %j', async (value) => {
    expect(await codeOf(() => cachedAccessor(value as never))).toBe(INVALID_ARGUMENT);
  });
});

describe('an authoritative map', () => {
  it('answers for everything after the warm-up, without asking the store', async () => {
    const { recorder, cache } = await open({}, ({ store }) =>
      store.commit([
        { op: 'writeIntent', image: 'a' },
        { op: 'writePulled', record: record('a', { name: secrets(1) }) },
      ]),
    );
    expect(recorder.take()).toEqual(['listImagePullIntents', 'listImagePulledRecords']);
    expect(cache.imagePullIntentExists('a')).toBe(true);
    expect(cache.imagePullIntentExists('b')).toBe(false);
    const found = await cache.getImagePulledRecord('a');
    expect(comparable(found)).toEqual(comparable(record('a', { name: secrets(1) })));
    expect(cache.getImagePulledRecord('b')).toBeUndefined();
    expect(recorder.take()).toEqual([]);
    const usage = { entries: 1, authoritative: true, hits: 2, misses: 0 };
    expect(cache.usage).toEqual({
      intents: { ...usage, size: 1024 },
      pulled: { ...usage, size: 2000 },
    });
  });

  it.each([
    { stored: 1, isAuthoritative: true },
    { stored: 2, isAuthoritative: true },
    { stored: 3, isAuthoritative: false },
  ])('of two entries is $isAuthoritative with $stored keys in the store', async (row) => {
    const { cache } = await open({ intentsMax: 2, pulledMax: 2 }, ({ store }) => {
      for (let i = 0; i < row.stored; i++) {
        store.writeImagePullIntent(`${i}`);
        store.writeImagePulledRecord(record(`${i}`));
      }
    });
    for (const usage of Object.values(cache.usage)) {
      expect(usage.authoritative).toBe(row.isAuthoritative);
      expect(usage.entries).toBe(Math.min(row.stored, 2));
    }
  });

  it('loses the flag with the entry that a new one takes the room of', async () => {
    const { recorder, cache } = await open({ intentsMax: 2 });
    for (const image of ['a', 'b']) await cache.writeImagePullIntent(image);
    expect(cache.usage.intents.authoritative).toBe(true);
    await cache.writeImagePullIntent('c');
    expect(cache.usage.intents).toMatchObject({ authoritative: false, entries: 2 });
    recorder.take();
    expect(cache.imagePullIntentExists('a')).toBe(true);
    expect(recorder.take()).toEqual(['imagePullIntentExists']);
  });

  it('keeps the flag when keys are deleted, and needs no room for their absence', async () => {
    const { recorder, cache } = await open({ intentsMax: 2 });
    for (const image of ['a', 'b', 'c', 'd']) {
      await cache.writeImagePullIntent(image);
      await cache.deleteImagePullIntent(image);
    }
    expect(cache.usage.intents).toMatchObject({ authoritative: true, entries: 0 });
    recorder.take();
    expect(cache.imagePullIntentExists('a')).toBe(false);
    expect(recorder.take()).toEqual([]);
  });

  it('gets the flag back only from a listing without errors that fits', async () => {
    const { recorder, cache } = await open({ intentsMax: 2 });
    for (const image of ['a', 'b', 'c']) await cache.writeImagePullIntent(image);
    await cache.listImagePullIntents();
    expect(cache.usage.intents.authoritative).toBe(false);
    await cache.deleteImagePullIntent('a');
    expect(cache.usage.intents.authoritative).toBe(false);
    recorder.instead.set('listImagePullIntents', () => ({
      records: [{ image: 'b' }],
      errors: [new PullManagerError('RECORD_CORRUPT', 'damaged')],
    }));
    await cache.listImagePullIntents();
    expect(cache.usage.intents.authoritative).toBe(false);
    recorder.instead.clear();
    await cache.listImagePullIntents();
    expect(cache.usage.intents.authoritative).toBe(true);
  });

  it('stays what it is when a later listing fails or has errors', async () => {
    const { recorder, cache } = await open({}, ({ store }) => store.writeImagePullIntent('a'));
    recorder.instead.set('listImagePullIntents', () => ({ records: [], errors: [new Error('x')] }));
    const listing = await cache.listImagePullIntents();
    expect(listing.records).toEqual([]);
    expect(listing.errors.map(errorCode)).toEqual([STORE_UNAVAILABLE]);
    recorder.instead.set('listImagePullIntents', failing('EIO'));
    expect(await codeOf(() => cache.listImagePullIntents())).toBe('EIO');
    expect(cache.usage.intents.authoritative).toBe(true);
    expect(cache.imagePullIntentExists('a')).toBe(true);
  });

  it('knows all keys but the one whose write failed', async () => {
    const { recorder, cache } = await open({}, ({ store }) => store.writeImagePullIntent('a'));
    recorder.instead.set('writeImagePullIntent', failing('EIO'));
    expect(await codeOf(() => cache.writeImagePullIntent('b'))).toBe('EIO');
    recorder.take();
    expect(cache.imagePullIntentExists('a')).toBe(true);
    expect(cache.imagePullIntentExists('c')).toBe(false);
    expect(recorder.take()).toEqual([]);
    expect(cache.imagePullIntentExists('b')).toBe(false);
    expect(recorder.take()).toEqual(['imagePullIntentExists']);
    expect(cache.imagePullIntentExists('b')).toBe(false);
    expect(recorder.take()).toEqual([]);
    expect(cache.usage.intents.authoritative).toBe(true);
  });
});

describe('listings', () => {
  it('always ask the store, and answer what it said', async () => {
    const { recorder, cache } = await open();
    await cache.writeImagePullIntent('a');
    recorder.store.writeImagePullIntent('behind the back');
    recorder.take();
    const { records } = await cache.listImagePullIntents();
    expect(records).toEqual([{ image: 'a' }, { image: 'behind the back' }]);
    expect(recorder.take()).toEqual(['listImagePullIntents']);
  });

  it('that cannot be had at open are no error, and make the cache ask the store', async () => {
    const { recorder, cache } = await open({}, ({ store, instead }) => {
      store.writeImagePullIntent('a');
      instead.set('listImagePullIntents', failing('EIO'));
      instead.set('listImagePulledRecords', () => Promise.reject(new Error('not now')));
    });
    recorder.take();
    expect(cache.usage.intents.authoritative).toBe(false);
    expect(cache.imagePullIntentExists('a')).toBe(true);
    expect(cache.getImagePulledRecord('a')).toBeUndefined();
    expect(recorder.take()).toEqual(['imagePullIntentExists', 'getImagePulledRecord']);
  });

  it('with errors fill an empty map with what could be read', async () => {
    const { cache } = await open({}, ({ instead }) => {
      const errors = [new PullManagerError('RECORD_CORRUPT', 'damaged')];
      instead.set('listImagePulledRecords', () => ({ records: [record('a')], errors }));
    });
    expect(cache.usage.pulled).toMatchObject({ authoritative: false, entries: 1 });
  });
});

describe('a map that is not authoritative', () => {
  /** With one key in each map, and others in the store. */
  const openCrowded = () =>
    open({ intentsMax: 2, pulledMax: 2 }, ({ store }) => {
      for (const key of ['a', 'b', 'c']) {
        store.writeImagePullIntent(key);
        store.writeImagePulledRecord(record(key));
      }
    });

  it('remembers presence and absence alike once the store has told', async () => {
    const { recorder, cache } = await openCrowded();
    recorder.take();
    for (let round = 0; round < 2; round++) {
      expect(cache.imagePullIntentExists('c')).toBe(true);
      expect(cache.imagePullIntentExists('absent')).toBe(false);
      expect(comparable(await cache.getImagePulledRecord('c'))).toEqual(comparable(record('c')));
      expect(cache.getImagePulledRecord('absent')).toBeUndefined();
    }
    expect(recorder.take().sort()).toEqual([
      ...Array(2).fill('getImagePulledRecord'),
      ...Array(2).fill('imagePullIntentExists'),
    ]);
    expect(cache.usage.intents).toMatchObject({ hits: 2, misses: 2 });
  });

  it('forgets the key that was used least lately', async () => {
    const { recorder, cache } = await openCrowded();
    cache.imagePullIntentExists('a');
    cache.imagePullIntentExists('absent');
    recorder.take();
    cache.imagePullIntentExists('a');
    expect(recorder.take()).toEqual([]);
    cache.imagePullIntentExists('b');
    expect(recorder.take()).toEqual(['imagePullIntentExists']);
  });

  it('remembers what was written and what was deleted', async () => {
    const { recorder, cache } = await openCrowded();
    await cache.writeImagePullIntent('new');
    await cache.deleteImagePullIntent('a');
    recorder.take();
    expect(cache.imagePullIntentExists('new')).toBe(true);
    expect(cache.imagePullIntentExists('a')).toBe(false);
    expect(recorder.take()).toEqual([]);
  });

  it.each([RECORD_CORRUPT, 'EIO'])(
    'does not remember that a lookup failed with %s',
    async (code) => {
      const { recorder, cache } = await openCrowded();
      recorder.instead.set('getImagePulledRecord', failing(code));
      recorder.instead.set('imagePullIntentExists', failing(code));
      for (let round = 0; round < 2; round++) {
        expect(await codeOf(() => cache.getImagePulledRecord('c'))).toBe(code);
        expect(await codeOf(() => cache.imagePullIntentExists('c'))).toBe(code);
      }
      recorder.instead.clear();
      expect(cache.getImagePulledRecord('c')).toBeDefined();
      expect(cache.imagePullIntentExists('c')).toBe(true);
    },
  );
});

describe('writes', () => {
  it('go to the store every time, even if nothing changes', async () => {
    const { recorder, cache } = await open();
    recorder.take();
    for (let round = 0; round < 2; round++) {
      await cache.writeImagePullIntent('a');
      await cache.deleteImagePulledRecord('a');
      await cache.commit([{ op: 'writePulled', record: record('b') }]);
    }
    const calls = ['writeImagePullIntent', 'deleteImagePulledRecord', 'commit'];
    expect(recorder.take()).toEqual([...calls, ...calls]);
  });

  it('of a batch that failed leave neither the old nor the new value', async () => {
    const { recorder, cache } = await open({}, ({ store }) =>
      store.commit([
        { op: 'writeIntent', image: 'a' },
        { op: 'writePulled', record: record('a', {}, 1) },
        { op: 'writePulled', record: record('b', {}, 1) },
      ]),
    );
    // One of the two records is stored, then the disk fails.
    recorder.instead.set('commit', () => {
      recorder.store.writeImagePulledRecord(record('a', {}, 2));
      return failing('EIO')();
    });
    const commit = (): unknown =>
      cache.commit([
        { op: 'writePulled', record: record('a', {}, 2) },
        { op: 'writePulled', record: record('b', {}, 2) },
        { op: 'deleteIntent', image: 'a' },
      ]);
    expect(await codeOf(commit)).toBe('EIO');
    expect((await cache.getImagePulledRecord('a'))?.lastUpdatedTime.getTime()).toBe(2);
    expect((await cache.getImagePulledRecord('b'))?.lastUpdatedTime.getTime()).toBe(1);
    expect(cache.imagePullIntentExists('a')).toBe(true);
  });

  it('of what is no record are refused before the store is asked', async () => {
    const { recorder, cache } = await open();
    recorder.take();
    const broken = { imageRef: 'a', lastUpdatedTime: new Date(Number.NaN), credentialMapping: {} };
    const run = (): unknown => cache.writeImagePulledRecord(broken);
    expect(await codeOf(run)).toBe(INVALID_ARGUMENT);
    expect(run).toThrow('lastUpdatedTime');
    expect(recorder.take()).toEqual([]);
  });
});

describe('what a store answers that the contract does not know', () => {
  it('is an error each time, and nothing of it is remembered', async () => {
    const { recorder, cache } = await open({ intentsMax: 1, pulledMax: 1 });
    cache.forget();
    const { instead } = recorder;
    const getRecord = (): unknown => cache.getImagePulledRecord('a');
    for (const answer of [
      null,
      'a',
      {},
      record('b'),
      { ...record('a'), credentialMapping: null },
    ]) {
      instead.set('getImagePulledRecord', () => answer);
      for (let round = 0; round < 2; round++) expect(await codeOf(getRecord)).toBe(RECORD_CORRUPT);
    }
    for (const answer of [undefined, 'yes', 1]) {
      instead.set('imagePullIntentExists', () => Promise.resolve(answer));
      const exists = (): unknown => cache.imagePullIntentExists('a');
      for (let round = 0; round < 2; round++) expect(await codeOf(exists)).toBe(STORE_UNAVAILABLE);
    }
    for (const answer of [undefined, [], { records: [] }]) {
      instead.set('listImagePullIntents', () => answer);
      expect(await codeOf(() => cache.listImagePullIntents())).toBe(STORE_UNAVAILABLE);
    }
    instead.set('listImagePulledRecords', () => ({ records: [record('a'), {}], errors: [] }));
    const listing = await cache.listImagePulledRecords();
    expect(listing.errors.map(errorCode)).toEqual([RECORD_CORRUPT]);
    expect(cache.usage.pulled.authoritative).toBe(false);
  });
});

describe('a key that somebody else has changed', () => {
  it('is answered from the store once it is forgotten, with the flag for the others', async () => {
    const { recorder, cache } = await open();
    recorder.store.writeImagePullIntent('a');
    recorder.store.writeImagePulledRecord(record('a'));
    expect(cache.imagePullIntentExists('a')).toBe(false);
    cache.forget('a');
    expect(cache.imagePullIntentExists('a')).toBe(true);
    expect(cache.getImagePulledRecord('a')).toBeDefined();
    expect(cache.usage.intents.authoritative).toBe(true);
  });

  it('is answered from the store after everything is forgotten', async () => {
    const { recorder, cache } = await open();
    recorder.store.writeImagePullIntent('a');
    cache.forget();
    expect(cache.usage.intents).toMatchObject({ entries: 0, authoritative: false });
    expect(cache.imagePullIntentExists('a')).toBe(true);
  });
});

describe('a lookup that is under way', () => {
  it.each([
    ['the key is forgotten', (cache: CachedAccessor) => cache.forget('a')],
    ['everything is forgotten', (cache: CachedAccessor) => cache.forget()],
    ['the key is written', (cache: CachedAccessor) => cache.writeImagePullIntent('a')],
    ['the key is deleted', (cache: CachedAccessor) => cache.deleteImagePullIntent('a')],
    ['a listing fills the map', (cache: CachedAccessor) => cache.listImagePullIntents()],
  ])('leaves no trace when %s meanwhile', async (_what, interfere) => {
    const { recorder, cache } = await open();
    cache.forget();
    let answer: (exists: boolean) => void = () => {};
    const answered = new Promise<boolean>((resolve) => {
      answer = resolve;
    });
    recorder.instead.set('imagePullIntentExists', () => answered);
    const lookup = cache.imagePullIntentExists('a');
    // What the lookup is about to answer is not so any more.
    recorder.store.writeImagePullIntent('a');
    await interfere(cache);
    answer(false);
    expect(await lookup).toBe(false);
    recorder.instead.clear();
    expect(cache.imagePullIntentExists('a')).toBe(recorder.store.imagePullIntentExists('a'));
  });
});

describe('texts with lone surrogates', () => {
  it('go past the cache, and leave nothing in it of the key that a store may take them for', async () => {
    // A store of UTF-8 texts, which cannot tell the two apart.
    const { recorder, cache } = await open();
    const utf8 = new Set<string>();
    recorder.instead.set('imagePullIntentExists', () => utf8.has('\ufffd'));
    recorder.instead.set('writeImagePullIntent', () => void utf8.add('\ufffd'));
    expect(cache.imagePullIntentExists('\ufffd')).toBe(false);
    await cache.writeImagePullIntent('\ud800');
    expect(cache.imagePullIntentExists('\ufffd')).toBe(true);
    recorder.take();
    expect(cache.imagePullIntentExists('\ud800')).toBe(true);
    expect(recorder.take()).toEqual(['imagePullIntentExists']);
  });
});

/**
 * The storage contract as tests: what every `PullRecordsAccessor` promises.
 *
 * Call `accessorSuite` in a vitest file, with a function that opens an empty store. Methods may
 * answer at once or with a promise, throw or reject; the suite treats both alike.
 */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { PullRecordsAccessor, RecordWrite } from '../../src/accessors/accessor.ts';
import { errorCode } from '../../src/errors.ts';
import {
  type ImagePullCredentials,
  type ImagePulledRecord,
  type ImagePullSecret,
  PulledRecord,
  ZERO_TIME_MS,
} from '../../src/records/record.ts';

/** A store opened for one test. */
export interface StoreUnderTest {
  readonly accessor: PullRecordsAccessor;
  /** Closes the accessor and opens the same store again. Absent: the store keeps nothing. */
  readonly reopen?: () => Promise<PullRecordsAccessor>;
  /** Damages what is stored for the record, behind the accessor's back. */
  readonly corruptPulled?: (imageRef: string) => Promise<void>;
  /** Damages what is stored for the intent, behind the accessor's back. */
  readonly corruptIntent?: (image: string) => Promise<void>;
  /** Frees what the store takes. Called after each test, with the accessor open or closed. */
  readonly dispose?: () => Promise<void>;
}

export interface AccessorCapabilities {
  /**
   * Texts with lone surrogates, which UTF-8 cannot carry: `distinct` from all others, or `replaced`,
   * that is, the same key as the text with U+FFFD in their place. @default 'distinct'
   */
  readonly loneSurrogates?: 'distinct' | 'replaced';
  /** Commits may be begun before the last one has ended, and take effect in call order. */
  readonly overlappingCommits?: boolean;
  /** Histories tried against a model. @default 50 */
  readonly historyCount?: number;
}

export interface AccessorSuiteOptions {
  readonly name: string;
  /** Opens a new, empty store. */
  readonly open: () => Promise<StoreUnderTest>;
  readonly capabilities?: AccessorCapabilities;
}

const CLOSED = 'ERR_PULLMANAGER_CLOSED';
const RECORD_CORRUPT = 'ERR_PULLMANAGER_RECORD_CORRUPT';

/** Texts that stores of all kinds have been seen to confuse. */
const TRICKY_TEXTS: readonly string[] = [
  '',
  ' ',
  'a',
  'A',
  'a ',
  'a\0',
  'a\0b',
  '\0',
  '__proto__',
  'constructor',
  'toString',
  '../../etc/passwd',
  'a/b',
  'docker.io/library/busybox:1.36',
  `registry.example/app@sha256:${'0'.repeat(64)}`,
  'é',
  'e\u0301',
  '\u{1f4e6}',
  '\u{1f4e6}\u{1f4e6}',
  '\ufffd',
  '\uffff',
  '\u{10ffff}',
  'x'.repeat(2000),
  'x'.repeat(10_000),
  `${'x'.repeat(9_999)}y`,
  'ü'.repeat(10_000),
];

const TIME_MS = Date.UTC(2026, 0, 2, 3, 4, 5, 678);

/** Declares the contract's tests for one kind of store. */
export function accessorSuite(options: AccessorSuiteOptions): void {
  const { loneSurrogates = 'distinct', overlappingCommits = false } = options.capabilities ?? {};
  const historyCount = options.capabilities?.historyCount ?? 50;

  describe(`accessor contract: ${options.name}`, () => {
    let store: StoreUnderTest;
    let accessor: PullRecordsAccessor;

    beforeEach(async () => {
      store = await options.open();
      accessor = store.accessor;
    });

    afterEach(async () => {
      await store.dispose?.();
    });

    const intents = async (): Promise<string[]> => {
      const listing = await accessor.listImagePullIntents();
      expect(listing.errors).toEqual([]);
      return listing.records.map(({ image }) => image).sort();
    };
    const pulled = async (): Promise<unknown[]> => {
      const listing = await accessor.listImagePulledRecords();
      expect(listing.errors).toEqual([]);
      return comparableList(listing.records);
    };
    const get = async (imageRef: string): Promise<unknown> =>
      comparable(await accessor.getImagePulledRecord(imageRef));

    it('is empty at first, and absence is an answer', async () => {
      expect(await intents()).toEqual([]);
      expect(await pulled()).toEqual([]);
      expect(await accessor.imagePullIntentExists('a')).toBe(false);
      expect(await accessor.getImagePulledRecord('a')).toBeUndefined();
    });

    it('deletes what is not there without an error', async () => {
      await accessor.deleteImagePullIntent('a');
      await accessor.deleteImagePulledRecord('a');
      await accessor.commit([
        { op: 'deleteIntent', image: 'b' },
        { op: 'deletePulled', imageRef: 'b' },
      ]);
      expect(await intents()).toEqual([]);
      expect(await pulled()).toEqual([]);
    });

    it('keeps one intent per image, however often it is written, until it is deleted', async () => {
      await accessor.writeImagePullIntent('a');
      await accessor.writeImagePullIntent('a');
      await accessor.writeImagePullIntent('b');
      expect(await accessor.imagePullIntentExists('a')).toBe(true);
      expect(await intents()).toEqual(['a', 'b']);
      await accessor.deleteImagePullIntent('a');
      expect(await accessor.imagePullIntentExists('a')).toBe(false);
      expect(await accessor.imagePullIntentExists('b')).toBe(true);
      expect(await intents()).toEqual(['b']);
    });

    it('keeps one record per imageRef: the last one written, until it is deleted', async () => {
      const first = record('ref', { name: secrets(1) });
      const second = record('ref', { other: { nodePodsAccessible: true } });
      await accessor.writeImagePulledRecord(first);
      expect(await get('ref')).toEqual(comparable(first));
      await accessor.writeImagePulledRecord(second);
      expect(await get('ref')).toEqual(comparable(second));
      expect(await pulled()).toEqual(comparableList([second]));
      await accessor.deleteImagePulledRecord('ref');
      expect(await accessor.getImagePulledRecord('ref')).toBeUndefined();
      expect(await pulled()).toEqual([]);
    });

    it('does not mix up intents and records of one text', async () => {
      await accessor.writeImagePullIntent('same');
      expect(await accessor.getImagePulledRecord('same')).toBeUndefined();
      await accessor.writeImagePulledRecord(record('same'));
      await accessor.deleteImagePullIntent('same');
      expect(await accessor.imagePullIntentExists('same')).toBe(false);
      expect(await get('same')).toEqual(comparable(record('same')));
    });

    it('commits nothing, one, and thousands of writes', async () => {
      await accessor.commit([]);
      await accessor.commit([{ op: 'writeIntent', image: 'one' }]);
      const batch: RecordWrite[] = [];
      for (let i = 0; i < 2000; i++) {
        batch.push({ op: 'writeIntent', image: `image-${i}` });
        batch.push({ op: 'writePulled', record: record(`ref-${i}`, { name: secrets(1) }) });
      }
      await accessor.commit(batch);
      expect(await intents()).toHaveLength(2001);
      expect(await pulled()).toHaveLength(2000);
    });

    it('applies the writes of a batch in their order', async () => {
      const last = record('ref', { name: secrets(2) });
      await accessor.commit([
        { op: 'writeIntent', image: 'kept' },
        { op: 'deleteIntent', image: 'kept' },
        { op: 'writeIntent', image: 'kept' },
        { op: 'writeIntent', image: 'gone' },
        { op: 'deleteIntent', image: 'gone' },
        { op: 'writePulled', record: record('ref', { name: secrets(1) }) },
        { op: 'deletePulled', imageRef: 'ref' },
        { op: 'writePulled', record: record('ref') },
        { op: 'writePulled', record: last },
        { op: 'writePulled', record: record('gone') },
        { op: 'deletePulled', imageRef: 'gone' },
      ]);
      expect(await intents()).toEqual(['kept']);
      expect(await pulled()).toEqual(comparableList([last]));
    });

    it.runIf(overlappingCommits)('applies commits that overlap in call order', async () => {
      const commits: unknown[] = [];
      for (let i = 0; i < 100; i++) {
        commits.push(accessor.commit([{ op: 'writePulled', record: record('ref', {}, i) }]));
        commits.push(accessor.commit([{ op: 'writeIntent', image: 'a' }]));
        commits.push(accessor.commit([{ op: 'deleteIntent', image: 'a' }]));
      }
      await Promise.all(commits);
      expect(await get('ref')).toEqual(comparable(record('ref', {}, 99)));
      expect(await intents()).toEqual([]);
    });

    it('tells apart texts of every kind, as key of either and as name in a mapping', async () => {
      const mapping = Object.create(null) as Record<string, ImagePullCredentials>;
      TRICKY_TEXTS.forEach((text, i) => {
        mapping[text] = secrets(1, `hash-${i}`);
      });
      const all = TRICKY_TEXTS.map((text, i) => record(text, { name: secrets(1, `hash-${i}`) }));
      await accessor.commit([
        ...TRICKY_TEXTS.map((image): RecordWrite => ({ op: 'writeIntent', image })),
        ...all.map((one): RecordWrite => ({ op: 'writePulled', record: one })),
        { op: 'writePulled', record: record('all names', mapping) },
      ]);
      for (const [i, text] of TRICKY_TEXTS.entries()) {
        expect(await accessor.imagePullIntentExists(text)).toBe(true);
        expect(await get(text)).toEqual(comparable(all[i]));
      }
      expect(await get('all names')).toEqual(comparable(record('all names', mapping)));
      expect(await intents()).toEqual([...TRICKY_TEXTS].sort());
      for (const text of TRICKY_TEXTS) await accessor.deleteImagePullIntent(text);
      expect(await intents()).toEqual([]);
      for (const text of TRICKY_TEXTS) {
        await accessor.deleteImagePulledRecord(text);
        expect(await accessor.getImagePulledRecord(text)).toBeUndefined();
      }
      expect(await pulled()).toHaveLength(1);
    });

    it(`takes texts with lone surrogates (${loneSurrogates})`, async () => {
      const texts = ['\ud800', '\udfff', 'a\ud800b', '\udc00\ud800', `${'x'.repeat(5000)}\ud83d`];
      for (const text of texts) {
        await accessor.writeImagePullIntent(text);
        expect(await accessor.imagePullIntentExists(text)).toBe(true);
        await accessor.writeImagePulledRecord(record(text, { [text]: secrets(1) }));
        if (loneSurrogates === 'distinct') {
          expect(await get(text)).toEqual(comparable(record(text, { [text]: secrets(1) })));
        }
      }
      if (loneSurrogates === 'distinct') {
        expect(await intents()).toEqual([...texts].sort());
        expect(await accessor.imagePullIntentExists('\ufffd')).toBe(false);
        expect(await accessor.getImagePulledRecord('\ufffd')).toBeUndefined();
      }
    });

    it('keeps a record with 10,000 secrets and 1,000 service accounts', async () => {
      const credentials: ImagePullCredentials = {
        ...secrets(10_000),
        kubernetesServiceAccounts: Array.from({ length: 1000 }, (_, i) => ({
          uid: `uid-${i}`,
          namespace: 'ns',
          name: `account-${String(i).padStart(6, '0')}`,
        })),
      };
      const large = record('large', { name: credentials });
      await accessor.writeImagePulledRecord(large);
      expect(await get('large')).toEqual(comparable(large));
    });

    it('keeps times to the millisecond, from the zero time to the far future', async () => {
      const times = [ZERO_TIME_MS, -1, 0, 1, TIME_MS, 8.64e15];
      await accessor.commit(
        times.map(
          (ms): RecordWrite => ({ op: 'writePulled', record: record(`ref ${ms}`, {}, ms) }),
        ),
      );
      for (const ms of times) {
        const found = await accessor.getImagePulledRecord(`ref ${ms}`);
        expect(found?.lastUpdatedTime.getTime()).toBe(ms);
      }
    });

    it('keeps when each proof was given', async () => {
      const proven = record('ref', {
        listed: {
          kubernetesSecrets: [{ ...secret(1), provenAtMs: TIME_MS - 1 }, secret(2)],
          kubernetesServiceAccounts: [{ uid: 'u', namespace: 'n', name: 'a', provenAtMs: 0 }],
        },
        nodeWide: { nodePodsAccessible: true, provenAtMs: TIME_MS + 1 },
      });
      await accessor.writeImagePulledRecord(proven);
      expect(await get('ref')).toEqual(comparable(proven));
    });

    it('keeps a name without any proof, and a record without a name', async () => {
      const some = record('some', { name: {} });
      const none = record('none', {});
      await accessor.commit([
        { op: 'writePulled', record: some },
        { op: 'writePulled', record: none },
      ]);
      expect(await get('some')).toEqual(comparable(some));
      expect(await get('none')).toEqual(comparable(none));
    });

    it('takes a mapping whose names are in any order', async () => {
      const names = ['z', 'a', '\u{1f4e6}', '\uffff', 'b/c', 'b'];
      const mapping = Object.fromEntries(names.map((name, i) => [name, secrets(1, `hash-${i}`)]));
      await accessor.writeImagePulledRecord(record('ref', mapping));
      expect(await get('ref')).toEqual(comparable(record('ref', mapping)));
    });

    it('takes the compact form of a record as well as a plain one', async () => {
      const compact = PulledRecord.from(record('ref', { name: secrets(3) }));
      await accessor.writeImagePulledRecord(compact);
      expect(await get('ref')).toEqual(comparable(compact));
    });

    it('is not changed through a record after it was written', async () => {
      const written = record('ref', { name: secrets(1) });
      const before = comparable(written);
      await accessor.writeImagePulledRecord(written);
      written.imageRef = 'other';
      written.lastUpdatedTime.setTime(0);
      written.credentialMapping.name!.kubernetesSecrets![0]!.credentialHash = 'forged';
      written.credentialMapping.intruder = { nodePodsAccessible: true };
      expect(await get('ref')).toEqual(before);
    });

    it('is not changed through the plain values of what was read', async () => {
      const written = record('ref', { name: secrets(1) });
      const before = comparable(written);
      await accessor.writeImagePulledRecord(written);
      for (const read of [
        await accessor.getImagePulledRecord('ref'),
        (await accessor.listImagePulledRecords()).records[0],
      ]) {
        read?.lastUpdatedTime.setTime(0);
        const mapping = read?.credentialMapping;
        if (mapping?.name) mapping.name.kubernetesSecrets![0]!.credentialHash = 'forged';
        if (mapping) mapping.intruder = { nodePodsAccessible: true };
      }
      expect(await get('ref')).toEqual(before);
      const listing = await accessor.listImagePulledRecords();
      listing.records.length = 0;
      expect(await pulled()).toEqual([before]);
    });

    it('fails every operation with CLOSED once it is closed, and closes twice', async () => {
      await accessor.writeImagePullIntent('a');
      await accessor.close();
      await accessor.close();
      const operations: Record<string, () => unknown> = {
        listImagePullIntents: () => accessor.listImagePullIntents(),
        imagePullIntentExists: () => accessor.imagePullIntentExists('a'),
        writeImagePullIntent: () => accessor.writeImagePullIntent('a'),
        deleteImagePullIntent: () => accessor.deleteImagePullIntent('a'),
        listImagePulledRecords: () => accessor.listImagePulledRecords(),
        getImagePulledRecord: () => accessor.getImagePulledRecord('a'),
        writeImagePulledRecord: () => accessor.writeImagePulledRecord(record('a')),
        deleteImagePulledRecord: () => accessor.deleteImagePulledRecord('a'),
        commit: () => accessor.commit([{ op: 'writeIntent', image: 'a' }]),
      };
      for (const [name, run] of Object.entries(operations)) {
        expect([name, await codeOf(run)]).toEqual([name, CLOSED]);
      }
    });

    it('keeps everything, and only that, when it is opened again', async (context) => {
      if (store.reopen === undefined) return context.skip();
      const kept = TRICKY_TEXTS.map((text, i) => record(text, { [text]: secrets(2, `h${i}`) }, i));
      await accessor.commit([
        ...TRICKY_TEXTS.map((image): RecordWrite => ({ op: 'writeIntent', image })),
        ...kept.map((one): RecordWrite => ({ op: 'writePulled', record: one })),
        { op: 'writeIntent', image: 'gone' },
        { op: 'writePulled', record: record('gone') },
      ]);
      await accessor.commit([
        { op: 'deleteIntent', image: 'gone' },
        { op: 'deletePulled', imageRef: 'gone' },
      ]);
      for (let round = 0; round < 2; round++) {
        accessor = await store.reopen();
        expect(await intents()).toEqual([...TRICKY_TEXTS].sort());
        expect(await pulled()).toEqual(comparableList(kept));
        expect(await accessor.imagePullIntentExists('gone')).toBe(false);
        expect(await accessor.getImagePulledRecord('gone')).toBeUndefined();
      }
    });

    it('calls a damaged record damaged, never absent, and lists the others', async (context) => {
      if (store.corruptPulled === undefined) return context.skip();
      const sound = record('sound', { name: secrets(1) });
      await accessor.commit([
        { op: 'writePulled', record: sound },
        { op: 'writePulled', record: record('damaged', { name: secrets(1) }) },
      ]);
      await store.corruptPulled('damaged');
      expect(await codeOf(() => accessor.getImagePulledRecord('damaged'))).toBe(RECORD_CORRUPT);
      expect(await get('sound')).toEqual(comparable(sound));
      const listing = await accessor.listImagePulledRecords();
      expect(comparableList(listing.records)).toEqual(comparableList([sound]));
      expect(listing.errors.map(errorCode)).toEqual([RECORD_CORRUPT]);
      const again = record('damaged', { name: secrets(2) });
      await accessor.writeImagePulledRecord(again);
      expect(await get('damaged')).toEqual(comparable(again));
      await store.corruptPulled('damaged');
      await accessor.deleteImagePulledRecord('damaged');
      expect(await accessor.getImagePulledRecord('damaged')).toBeUndefined();
      expect(await pulled()).toEqual(comparableList([sound]));
    });

    it('calls a damaged intent damaged, never absent, and lists the others', async (context) => {
      if (store.corruptIntent === undefined) return context.skip();
      await accessor.writeImagePullIntent('sound');
      await accessor.writeImagePullIntent('damaged');
      await store.corruptIntent('damaged');
      expect(await codeOf(() => accessor.imagePullIntentExists('damaged'))).toBe(RECORD_CORRUPT);
      const listing = await accessor.listImagePullIntents();
      expect(listing.records).toEqual([{ image: 'sound' }]);
      expect(listing.errors.map(errorCode)).toEqual([RECORD_CORRUPT]);
      await accessor.writeImagePullIntent('damaged');
      expect(await intents()).toEqual(['damaged', 'sound']);
    });

    it('agrees with a model after any history', async () => {
      await fc.assert(
        fc.asyncProperty(histories(), async (history) => {
          const run = await options.open();
          try {
            await checkHistory(run, history);
          } finally {
            await run.dispose?.();
          }
        }),
        { numRuns: historyCount },
      );
    });
  });
}

/** A step of a history: a single call, a batch, or closing and opening again. */
type Step =
  | { readonly kind: 'single'; readonly write: RecordWrite }
  | { readonly kind: 'batch'; readonly writes: readonly RecordWrite[] }
  | { readonly kind: 'reopen' };

// Few keys, so that writes meet; small records, so that histories are long.
const HISTORY_KEYS: readonly string[] = ['a', 'b', '__proto__', '', 'x'.repeat(3000), '\u{1f4e6}'];

function histories(): fc.Arbitrary<readonly Step[]> {
  const key = fc.constantFrom(...HISTORY_KEYS);
  const credentials = fc.oneof(
    fc.constant<ImagePullCredentials>({}),
    fc.constant<ImagePullCredentials>({ nodePodsAccessible: true }),
    fc.integer({ min: 1, max: 4 }).map((count) => secrets(count)),
  );
  const written = fc
    .tuple(
      key,
      fc.uniqueArray(fc.tuple(key, credentials), { selector: ([name]) => name, maxLength: 3 }),
      fc.integer({ min: 0, max: TIME_MS }),
    )
    .map(([imageRef, entries, ms]) => record(imageRef, Object.fromEntries(entries), ms));
  const write: fc.Arbitrary<RecordWrite> = fc.oneof(
    key.map((image): RecordWrite => ({ op: 'writeIntent', image })),
    key.map((image): RecordWrite => ({ op: 'deleteIntent', image })),
    written.map((one): RecordWrite => ({ op: 'writePulled', record: one })),
    key.map((imageRef): RecordWrite => ({ op: 'deletePulled', imageRef })),
  );
  const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 8, arbitrary: write.map((one): Step => ({ kind: 'single', write: one })) },
    {
      weight: 4,
      arbitrary: fc
        .array(write, { maxLength: 12 })
        .map((writes): Step => ({ kind: 'batch', writes })),
    },
    { weight: 1, arbitrary: fc.constant<Step>({ kind: 'reopen' }) },
  );
  return fc.array(step, { minLength: 1, maxLength: 30 });
}

async function checkHistory(store: StoreUnderTest, history: readonly Step[]): Promise<void> {
  const intents = new Set<string>();
  const pulled = new Map<string, ImagePulledRecord>();
  let { accessor } = store;
  for (const step of history) {
    if (step.kind === 'reopen') {
      accessor = (await store.reopen?.()) ?? accessor;
    } else if (step.kind === 'batch') {
      await accessor.commit(step.writes);
      for (const write of step.writes) applyToModel(intents, pulled, write);
    } else {
      await applySingle(accessor, step.write);
      applyToModel(intents, pulled, step.write);
    }
    for (const key of HISTORY_KEYS) {
      expect(await accessor.imagePullIntentExists(key)).toBe(intents.has(key));
      expect(comparable(await accessor.getImagePulledRecord(key))).toEqual(
        comparable(pulled.get(key)),
      );
    }
  }
  const images = (await accessor.listImagePullIntents()).records.map(({ image }) => image);
  expect(images.sort()).toEqual([...intents].sort());
  const records = (await accessor.listImagePulledRecords()).records;
  expect(comparableList(records)).toEqual(comparableList([...pulled.values()]));
}

async function applySingle(accessor: PullRecordsAccessor, write: RecordWrite): Promise<void> {
  if (write.op === 'writePulled') await accessor.writeImagePulledRecord(write.record);
  else if (write.op === 'deletePulled') await accessor.deleteImagePulledRecord(write.imageRef);
  else if (write.op === 'writeIntent') await accessor.writeImagePullIntent(write.image);
  else await accessor.deleteImagePullIntent(write.image);
}

function applyToModel(
  intents: Set<string>,
  pulled: Map<string, ImagePulledRecord>,
  write: RecordWrite,
): void {
  if (write.op === 'writePulled') pulled.set(write.record.imageRef, write.record);
  else if (write.op === 'deletePulled') pulled.delete(write.imageRef);
  else if (write.op === 'writeIntent') intents.add(write.image);
  else intents.delete(write.image);
}

/** A record in normal form, as the engine writes it. */
export function record(
  imageRef: string,
  credentialMapping: Record<string, ImagePullCredentials> = { name: {} },
  updatedAtMs: number = TIME_MS,
): ImagePulledRecord {
  return { imageRef, lastUpdatedTime: new Date(updatedAtMs), credentialMapping };
}

/** Credentials with that many secrets. */
export function secrets(count: number, credentialHash?: string): ImagePullCredentials {
  const kubernetesSecrets = Array.from({ length: count }, (_, i) => secret(i, credentialHash));
  return { kubernetesSecrets };
}

function secret(index: number, credentialHash = `hash-${index}`): ImagePullSecret {
  const name = `secret-${String(index).padStart(6, '0')}`;
  return { uid: `uid-${index}`, namespace: 'ns', name, credentialHash };
}

/** A form of a record that `toEqual` compares whole: names as they are, in one order. */
export function comparable(of: ImagePulledRecord | undefined): unknown {
  if (of === undefined) return undefined;
  const { imageRef, updatedAtMs, proofs } = PulledRecord.from(of);
  return {
    imageRef,
    updatedAtMs,
    proofs: proofs.map(({ imageName, credentials }) => [imageName, structuredClone(credentials)]),
  };
}

/** The same for a list, in one order. */
export function comparableList(records: readonly ImagePulledRecord[]): unknown[] {
  return [...records]
    .sort((a, b) => (a.imageRef < b.imageRef ? -1 : a.imageRef > b.imageRef ? 1 : 0))
    .map(comparable);
}

/** Code of what a call throws or rejects with; undefined if it does neither. */
export async function codeOf(run: () => unknown): Promise<string | undefined> {
  try {
    await run();
    return undefined;
  } catch (error) {
    return errorCode(error) ?? String(error);
  }
}

import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { PullManager } from '../../src/pull-manager.ts';
import type { ImagePullCredentials } from '../../src/records/record.ts';
import { account, secret, unique } from '../support/credentials.ts';
import { FEW_SHAPES, open, openForAll, optionsOf, SHAPES, shapeOf } from '../support/engines.ts';

const A = secret('a');
const B = secret('b');
const NEW_A = { ...A, credentialHash: 'hash-new' };

interface Merge {
  readonly name: string;
  /** Recorded one after the other for one image. */
  readonly given: readonly (ImagePullCredentials | null)[];
  /** The entry of the image's name; undefined: there is none. */
  readonly entry: ImagePullCredentials | undefined;
}

const MERGES: readonly Merge[] = [
  {
    name: 'a pull under unknown circumstances gives a record without proof',
    given: [null],
    entry: undefined,
  },
  { name: 'empty credentials give a proof of nothing', given: [{}], entry: {} },
  {
    name: 'a pull of unknown circumstances takes nothing away',
    given: [{ kubernetesSecrets: [A] }, null],
    entry: { kubernetesSecrets: [A] },
  },
  {
    name: 'empty credentials take nothing away',
    given: [{ kubernetesSecrets: [A] }, {}],
    entry: { kubernetesSecrets: [A] },
  },
  { name: 'empty credentials add no name', given: [null, {}], entry: undefined },
  {
    name: 'empty lists add no name',
    given: [null, { kubernetesSecrets: [], kubernetesServiceAccounts: [] }],
    entry: undefined,
  },
  {
    name: 'a secret is added to a record without proof',
    given: [null, { kubernetesSecrets: [A] }],
    entry: { kubernetesSecrets: [A] },
  },
  {
    name: 'a secret is added to a proof of nothing',
    given: [{}, { kubernetesSecrets: [A] }],
    entry: { kubernetesSecrets: [A] },
  },
  {
    name: 'another secret is added in order',
    given: [{ kubernetesSecrets: [B] }, { kubernetesSecrets: [A] }],
    entry: { kubernetesSecrets: [A, B] },
  },
  {
    name: 'new content replaces the old',
    given: [{ kubernetesSecrets: [A, B] }, { kubernetesSecrets: [NEW_A] }],
    entry: { kubernetesSecrets: [NEW_A, B] },
  },
  {
    name: 'first entries are sorted and without duplicates, the last of which wins',
    given: [{ kubernetesSecrets: [B, A, NEW_A] }],
    entry: { kubernetesSecrets: [NEW_A, B] },
  },
  {
    name: 'service accounts given together with secrets are kept',
    given: [
      { kubernetesSecrets: [A] },
      { kubernetesSecrets: [B], kubernetesServiceAccounts: [account('c')] },
    ],
    entry: { kubernetesSecrets: [A, B], kubernetesServiceAccounts: [account('c')] },
  },
  {
    name: 'service accounts are merged as a set',
    given: [
      { kubernetesServiceAccounts: [account('b'), account('a')] },
      { kubernetesServiceAccounts: [account('a')] },
    ],
    entry: { kubernetesServiceAccounts: [account('a'), account('b')] },
  },
  {
    name: 'node-wide access drops the lists',
    given: [{ kubernetesSecrets: [A] }, { nodePodsAccessible: true }],
    entry: { nodePodsAccessible: true },
  },
  {
    name: 'node-wide access is never narrowed',
    given: [{ nodePodsAccessible: true }, { kubernetesSecrets: [A] }],
    entry: { nodePodsAccessible: true },
  },
  {
    name: 'node-wide access given with lists is all there is',
    given: [{ nodePodsAccessible: true, kubernetesSecrets: [A] }],
    entry: { nodePodsAccessible: true },
  },
  {
    name: 'order is that of UTF-8 bytes',
    given: [{ kubernetesSecrets: [secret('😀'), secret('\ufb01'), secret('z')] }],
    entry: { kubernetesSecrets: [secret('z'), secret('\ufb01'), secret('😀')] },
  },
];

describe.each(SHAPES)('records of an engine with $name', (shape) => {
  let manager: PullManager;

  beforeAll(async () => {
    manager = await openForAll(shape);
    return () => manager.close();
  });

  it.each(MERGES)('$name', async ({ given, entry }) => {
    const tag = unique('t');
    const name = `registry.io/${tag}/app`;
    const imageRef = `sha256:${tag}`;
    const from = Date.now();
    for (const credentials of given) {
      await manager.recordImagePulled(`${name}:1`, imageRef, credentials);
    }
    const record = await manager.getImagePulledRecord(imageRef);
    const credentialMapping = entry === undefined ? {} : { [name]: entry };
    expect(record).toEqual({ imageRef, credentialMapping, lastUpdatedTime: expect.any(Date) });
    expect(record!.lastUpdatedTime.getTime()).toBeGreaterThanOrEqual(from);
    const listed = await manager.listImagePulledRecords();
    expect(listed.errors).toEqual([]);
    expect(listed.records.find((other) => other.imageRef === imageRef)).toEqual(record);
  });

  it('names of one image reference are kept apart', async () => {
    const imageRef = unique('sha256:');
    await manager.recordImagePulled('b.io/app', imageRef, { kubernetesSecrets: [A] });
    await manager.recordImagePulled('a.io/app', imageRef, { kubernetesSecrets: [B] });
    await manager.recordImagePulled('app', imageRef, null);
    const record = await manager.getImagePulledRecord(imageRef);
    expect(record!.credentialMapping).toEqual({
      'a.io/app': { kubernetesSecrets: [B] },
      'b.io/app': { kubernetesSecrets: [A] },
    });
  });

  it('what was handed out can be changed without harm', async () => {
    const imageRef = unique('sha256:');
    const given = { kubernetesSecrets: [{ ...A }] };
    await manager.recordImagePulled('app', imageRef, given);
    given.kubernetesSecrets[0]!.credentialHash = 'changed';
    const record = (await manager.getImagePulledRecord(imageRef))!;
    record.lastUpdatedTime.setTime(0);
    record.credentialMapping['docker.io/library/app']!.kubernetesSecrets![0]!.uid = 'changed';
    record.credentialMapping['docker.io/library/app']!.nodePodsAccessible = true;
    const again = (await manager.getImagePulledRecord(imageRef))!;
    expect(again.credentialMapping).toEqual({
      'docker.io/library/app': { kubernetesSecrets: [A] },
    });
    expect(again.lastUpdatedTime.getTime()).toBeGreaterThan(0);
    expect(await manager.mustAttemptImagePull('app', imageRef, { secrets: [B] })).toBe(true);
  });

  it('the image reference may be any text', async () => {
    for (const imageRef of ['', ' ', 'repo@sha256:1', '__proto__', 'ü', '\0', 'x'.repeat(10_000)]) {
      await manager.recordImagePulled('app', imageRef, { nodePodsAccessible: true });
      expect((await manager.getImagePulledRecord(imageRef))?.imageRef).toBe(imageRef);
    }
    expect(await manager.getImagePulledRecord('constructor')).toBeUndefined();
  });
});

describe.each(FEW_SHAPES.filter(({ store }) => store === 'journal'))(
  'records that an engine with $name leaves',
  (shape) => {
    it('are those of the next, whatever its workers and stripes', async () => {
      const options = await optionsOf(shape);
      const first = await open(options);
      for (const [i, { given }] of MERGES.entries()) {
        for (const credentials of given) {
          await first.recordImagePulled(`app${i}`, `sha256:${i}`, credentials);
        }
      }
      const before = (await first.listImagePulledRecords()).records;
      await first.close();
      const byRef = (a: { imageRef: string }, b: { imageRef: string }): number =>
        a.imageRef < b.imageRef ? -1 : 1;
      for (const other of [
        { workerCount: 1, stripeCount: 7 },
        { workerCount: 0, stripeCount: 1 },
        { workerCount: 2, stripeCount: 2 },
      ]) {
        const next = await open({ ...options, ...other });
        expect(next.stats().records).toBe(MERGES.length);
        const { records, errors } = await next.listImagePulledRecords();
        expect(errors).toEqual([]);
        expect(records.sort(byRef)).toEqual(before.sort(byRef));
        await next.close();
      }
    });
  },
);

describe('times of records', () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  const NOON = new Date('2026-03-01T12:00:00.123Z');

  /** Only `Date` is set; everything else goes on. */
  async function openAtNoon(store: 'memory' | 'journal'): Promise<PullManager> {
    vi.useFakeTimers({ toFake: ['Date'], now: NOON });
    return open(await optionsOf(shapeOf(store, 0, 31)));
  }

  it.each(['memory', 'journal'] as const)(
    'are those of the last change, to the millisecond, in %s',
    async (store) => {
      const manager = await openAtNoon(store);
      const timeOf = async (): Promise<string> =>
        (await manager.getImagePulledRecord('ref'))!.lastUpdatedTime.toISOString();
      const secondsLater = async (
        seconds: number,
        credentials: ImagePullCredentials | null,
        image = 'app',
      ): Promise<string> => {
        vi.setSystemTime(NOON.getTime() + seconds * 1000);
        await manager.recordImagePulled(image, 'ref', credentials);
        return timeOf();
      };
      expect(await secondsLater(0, null)).toBe('2026-03-01T12:00:00.123Z');
      expect(await secondsLater(1, null)).toBe('2026-03-01T12:00:00.123Z');
      expect(await secondsLater(2, {})).toBe('2026-03-01T12:00:00.123Z');
      expect(await secondsLater(3, { kubernetesSecrets: [A] })).toBe('2026-03-01T12:00:03.123Z');
      expect(await secondsLater(4, { kubernetesSecrets: [A] })).toBe('2026-03-01T12:00:03.123Z');
      expect(await secondsLater(5, { kubernetesSecrets: [A, A] })).toBe('2026-03-01T12:00:03.123Z');
      expect(await secondsLater(6, { kubernetesSecrets: [NEW_A] })).toBe(
        '2026-03-01T12:00:06.123Z',
      );
      expect(await secondsLater(7, { kubernetesServiceAccounts: [account('a')] })).toBe(
        '2026-03-01T12:00:07.123Z',
      );
      expect(await secondsLater(8, { nodePodsAccessible: true })).toBe('2026-03-01T12:00:08.123Z');
      expect(await secondsLater(9, { nodePodsAccessible: true })).toBe('2026-03-01T12:00:08.123Z');
      expect(await secondsLater(10, { kubernetesSecrets: [B] })).toBe('2026-03-01T12:00:08.123Z');
      expect(await secondsLater(11, { kubernetesSecrets: [B] }, 'other')).toBe(
        '2026-03-01T12:00:11.123Z',
      );
    },
  );

  it.each(['memory', 'journal'] as const)(
    'change when a match is recorded, and only then, in %s',
    async (store) => {
      const manager = await openAtNoon(store);
      await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: [A] });
      vi.setSystemTime(NOON.getTime() + 60_000);
      await manager.mustAttemptImagePull('app', 'ref', { secrets: [A] });
      const after = await manager.getImagePulledRecord('ref');
      expect(after!.lastUpdatedTime).toEqual(NOON);
      await manager.mustAttemptImagePull('app', 'ref', { secrets: [NEW_A] });
      const changed = await manager.getImagePulledRecord('ref');
      expect(changed!.lastUpdatedTime).toEqual(new Date(NOON.getTime() + 60_000));
    },
  );
});

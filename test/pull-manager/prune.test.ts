import { afterEach, describe, expect, it, vi } from 'vitest';
import type { PullManager } from '../../src/pull-manager.ts';
import { secret } from '../support/credentials.ts';
import { intentsOf, open, openEngine, optionsOf, SHAPES, shapeOf } from '../support/engines.ts';

const LATER = new Date(Date.now() + 3_600_000);

async function refsOf(manager: PullManager): Promise<string[]> {
  const { records } = await manager.listImagePulledRecords();
  return records.map(({ imageRef }) => imageRef).sort();
}

async function fill(manager: PullManager, count: number, prefix = 'sha256:'): Promise<void> {
  await Promise.all(
    Array.from({ length: count }, (_, i) =>
      manager.recordImagePulled('app', `${prefix}${i}`, { kubernetesSecrets: [secret('a')] }),
    ),
  );
}

describe.each(SHAPES)('pruning in an engine with $name', (shape) => {
  it('deletes what is not listed, and nothing else', async () => {
    const manager = await openEngine(shape);
    await fill(manager, 3000);
    await manager.recordPullIntent('app');
    await manager.recordPullIntent('not a name');
    const listed = Array.from({ length: 1500 }, (_, i) => `sha256:${2 * i}`);
    // Decisions on both kinds are in the replica.
    expect(
      manager.decideSync('app', 'sha256:1') ?? (await manager.decide('app', 'sha256:1')),
    ).toMatchObject({
      reason: 'mustAuthenticate',
    });
    const result = await manager.pruneUnknownRecords(new Set(listed), LATER);
    expect(result).toEqual({ pruned: 1500, kept: 1500, errors: [] });
    expect(await refsOf(manager)).toEqual(listed.sort());
    expect(await intentsOf(manager)).toEqual(['app', 'not a name']);
    expect(manager.stats()).toMatchObject({ records: 1500, intents: 2 });
    await manager.recordImagePullFailed('app');
    expect(await manager.decide('app', 'sha256:1')).toMatchObject({
      reason: 'credentialPolicyAllowed',
    });
    expect(await manager.mustAttemptImagePull('app', 'sha256:2', { secrets: [secret('a')] })).toBe(
      false,
    );
    expect(await manager.pruneUnknownRecords([], LATER)).toMatchObject({ pruned: 1500, kept: 0 });
    expect(await manager.pruneUnknownRecords([], LATER)).toMatchObject({ pruned: 0, kept: 0 });
    expect(await refsOf(manager)).toEqual([]);
  });
});

describe.each([shapeOf('memory', 0, 31), shapeOf('journal', 2, 31)])(
  'prunings at the same time in an engine with $name',
  (shape) => {
    it('count each record that they delete once', async () => {
      const manager = await openEngine(shape);
      await fill(manager, 9000);
      const results = await Promise.all([
        manager.pruneUnknownRecords(['sha256:0'], LATER),
        manager.pruneUnknownRecords(['sha256:0'], LATER),
      ]);
      expect(results.reduce((sum, { pruned }) => sum + pruned, 0)).toBe(8999);
      expect(results.map(({ kept }) => kept)).toEqual([1, 1]);
      expect(await refsOf(manager)).toEqual(['sha256:0']);
    });
  },
);

describe('what pruning keeps', () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  const NOON = Date.parse('2026-03-01T12:00:00.500Z');

  it.each(['memory', 'journal'] as const)(
    'records of the very time, and newer ones, to the millisecond, in %s',
    async (store) => {
      vi.useFakeTimers({ toFake: ['Date'], now: NOON });
      const manager = await open(await optionsOf(shapeOf(store, 0, 31)));
      for (const ms of [-1000, -1, 0, 1, 400]) {
        vi.setSystemTime(NOON + ms);
        await manager.recordImagePulled('app', `ref${ms}`, null);
      }
      expect(await manager.pruneUnknownRecords([], new Date(NOON))).toEqual({
        pruned: 2,
        kept: 3,
        errors: [],
      });
      expect(await refsOf(manager)).toEqual(['ref0', 'ref1', 'ref400']);
    },
  );

  it('a record that changed since the cut-off', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: NOON });
    const manager = await open(await optionsOf(shapeOf('memory', 0, 31)));
    await manager.recordImagePulled('app', 'changed', null);
    await manager.recordImagePulled('app', 'matched', { kubernetesSecrets: [secret('a')] });
    await manager.recordImagePulled('app', 'unchanged', { kubernetesSecrets: [secret('a')] });
    vi.setSystemTime(NOON + 1000);
    await manager.recordImagePulled('app', 'changed', { nodePodsAccessible: true });
    await manager.recordImagePulled('app', 'unchanged', { kubernetesSecrets: [secret('a')] });
    const rotated = secret('a', { credentialHash: 'new' });
    await manager.mustAttemptImagePull('app', 'matched', { secrets: [rotated] });
    await manager.pruneUnknownRecords([], new Date(NOON + 500));
    expect(await refsOf(manager)).toEqual(['changed', 'matched']);
  });

  it('what is listed under exactly its text', async () => {
    const manager = await openEngine(shapeOf('memory', 0, 31));
    const refs = ['sha256:ab', '', '__proto__', 'é', 'e\u0301', '\ud800', '😀', 'a\0b'];
    for (const ref of refs) await manager.recordImagePulled('app', ref, null);
    const kept = await manager.pruneUnknownRecords(refs, LATER);
    expect(kept).toEqual({ pruned: 0, kept: refs.length, errors: [] });
    const near = ['SHA256:ab', ' sha256:ab', 'sha256:ab ', 'sha256:a', 'é', 'a'];
    await manager.pruneUnknownRecords(near, LATER);
    expect(await refsOf(manager)).toEqual(['é']);
  });

  it('takes any iterable of texts, duplicates included', async () => {
    const manager = await openEngine(shapeOf('memory', 0, 31));
    await fill(manager, 4);
    function* listed(): Generator<string> {
      yield 'sha256:0';
      yield 'sha256:0';
      yield 'sha256:3';
    }
    expect(await manager.pruneUnknownRecords(listed(), LATER)).toMatchObject({
      pruned: 2,
      kept: 2,
    });
    const map = new Map([['sha256:3', 1]]);
    expect(await manager.pruneUnknownRecords(map.keys(), LATER)).toMatchObject({ pruned: 1 });
    expect(await refsOf(manager)).toEqual(['sha256:3']);
  });
});

describe.each([shapeOf('memory', 0, 31), shapeOf('journal', 2, 31)])(
  'pruning beside other work in an engine with $name',
  (shape) => {
    it('does not stop it, and takes nothing that it writes', async () => {
      const manager = await openEngine(shape);
      await fill(manager, 20_000, 'old:');
      const until = new Date(Date.now() + 1);
      while (Date.now() <= until.getTime()) await new Promise((resolve) => setImmediate(resolve));
      const state = { isOver: false };
      const pruning = manager.pruneUnknownRecords(['old:7'], until).finally(() => {
        state.isOver = true;
      });
      let meanwhile = 0;
      let written = 0;
      while (!state.isOver) {
        await manager.recordPullIntent('app');
        await manager.recordImagePulled('app', `new:${written}`, { nodePodsAccessible: true });
        expect(await manager.mustAttemptImagePull('app', `new:${written}`)).toBe(false);
        written++;
        if (!state.isOver) meanwhile++;
      }
      expect(await pruning).toMatchObject({ pruned: 19_999, errors: [] });
      expect(meanwhile).toBeGreaterThan(0);
      const refs = await refsOf(manager);
      expect(refs.filter((ref) => ref.startsWith('old:'))).toEqual(['old:7']);
      expect(refs.filter((ref) => ref.startsWith('new:'))).toHaveLength(written);
      expect(manager.stats().records).toBe(1 + written);
    });
  },
);

import { describe, expect, it } from 'vitest';
import type { Decision } from '../../src/engine/decision.ts';
import type { PullManagerErrorCode } from '../../src/errors.ts';
import { errorCode } from '../../src/errors.ts';
import { PullManager } from '../../src/pull-manager.ts';
import { secret } from '../support/credentials.ts';
import { intentsOf, open, settles } from '../support/engines.ts';
import { COMMAND, FileStore } from '../support/file-store.ts';

const UNAVAILABLE = 'ERR_PULLMANAGER_STORE_UNAVAILABLE';
const CORRUPT = 'ERR_PULLMANAGER_RECORD_CORRUPT';
const A = secret('a');
const B = secret('b');
const NEVER = { kind: 'NeverVerify' } as const;

const KINDS = [0, 1, 2].flatMap((workerCount) =>
  [true, false].map((isSync) => ({
    name: `${workerCount} workers and a store that answers ${isSync ? 'at once' : 'later'}`,
    workerCount,
    isSync,
  })),
);

function expectError(decision: Decision, code: PullManagerErrorCode): void {
  expect(decision).toMatchObject({ mustPull: true, reason: 'error' });
  expect(decision.cause?.code).toBe(code);
}

describe.each(KINDS)('a failing store in an engine with $name', ({ workerCount, isSync }) => {
  async function openFailing(
    options: Parameters<typeof PullManager.open>[0] = {},
  ): Promise<{ store: FileStore; manager: PullManager }> {
    const store = await FileStore.create();
    store.isSync = isSync;
    const manager = await open({ store: store.options, workerCount, stripeCount: 7, ...options });
    return { store, manager };
  }

  it('works as long as it does not fail', async () => {
    const { manager } = await openFailing();
    await manager.recordPullIntent('app');
    expect(await manager.mustAttemptImagePull('app', 'ref')).toBe(true);
    await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: [A] });
    expect(await manager.mustAttemptImagePull('app', 'ref', { secrets: [A] })).toBe(false);
    expect(await manager.mustAttemptImagePull('app', 'ref', { secrets: [B] })).toBe(true);
    expect(manager.stats()).toMatchObject({ store: 'module', records: 1, intents: 0 });
    expect(await manager.pruneUnknownRecords(['ref'], new Date(Date.now() + 1e6))).toEqual({
      pruned: 0,
      kept: 1,
      errors: [],
    });
  });

  it.each([
    { name: 'cannot be read', command: COMMAND.FAIL, code: UNAVAILABLE },
    { name: 'cannot be decoded', command: COMMAND.CORRUPT, code: CORRUPT },
    { name: 'is nonsense', command: COMMAND.NONSENSE, code: CORRUPT },
  ] as const)(
    'answers "error" where a record $name, whatever the policy',
    async ({ command, code }) => {
      const store = await FileStore.create();
      store.isSync = isSync;
      const options = { store: store.options, workerCount, policy: NEVER };
      const manager = await open(options);
      store.set('get', command);
      let asked = 0;
      const source = (): object => {
        asked++;
        return {};
      };
      expectError(await manager.decide('app', 'ref', source), code);
      expect(await manager.mustAttemptImagePull('app', 'ref', source)).toBe(true);
      expect(manager.decideSync('app', 'ref')).toBeUndefined();
      expectError((await manager.decideBatch([{ image: 'app', imageRef: 'ref' }]))[0]!, code);
      expect(asked).toBe(0);
      expect(manager.stats().decisions.error).toBe(3);
      await expect(manager.getImagePulledRecord('ref')).rejects.toMatchObject({ code });
      store.set('get', COMMAND.WORK);
      expect(await manager.decide('app', 'ref')).toMatchObject({
        reason: 'credentialPolicyAllowed',
      });
    },
  );

  it.each([
    { name: 'cannot be read', command: COMMAND.FAIL, code: UNAVAILABLE },
    { name: 'cannot be decoded', command: COMMAND.CORRUPT, code: CORRUPT },
    { name: 'is nonsense', command: COMMAND.NONSENSE, code: UNAVAILABLE },
  ] as const)(
    'answers "error" where an intent $name, but not where there is a record',
    async ({ command, code }) => {
      const { store, manager } = await openFailing();
      await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: [A] });
      store.set('exists', command);
      expectError(await manager.decide('app', 'other'), code);
      expect(await manager.decide('app', 'ref', { secrets: [A] })).toMatchObject({
        mustPull: false,
      });
    },
  );

  it('rejects an intent that it cannot write, and counts no pull', async () => {
    const { store, manager } = await openFailing();
    store.set('commit', COMMAND.FAIL);
    await expect(manager.recordPullIntent('app')).rejects.toMatchObject({ code: UNAVAILABLE });
    store.set('commit', COMMAND.WORK);
    expect(await intentsOf(manager)).toEqual([]);
    expect(await manager.mustAttemptImagePull('app', 'ref')).toBe(false);
    // A counter of two would keep the intent.
    await manager.recordPullIntent('app');
    await manager.recordImagePullFailed('app');
    expect(await intentsOf(manager)).toEqual([]);
    expect(manager.stats().commits.failures).toBe(1);
  });

  it('keeps intent and counter where the end of a pull cannot be written', async () => {
    const { store, manager } = await openFailing();
    await manager.recordPullIntent('app');
    store.set('commit', COMMAND.FAIL);
    const failed = manager.recordImagePullFailed('app');
    await expect(failed).rejects.toMatchObject({ code: UNAVAILABLE });
    const pulled = manager.recordImagePulled('app', 'ref', { kubernetesSecrets: [A] });
    await expect(pulled).rejects.toMatchObject({ code: UNAVAILABLE });
    expect(await manager.mustAttemptImagePull('app', 'ref', { secrets: [A] })).toBe(true);
    store.set('commit', COMMAND.WORK);
    expect(await intentsOf(manager)).toEqual(['app']);
    await manager.recordImagePullFailed('app');
    expect(await intentsOf(manager)).toEqual([]);
  });

  it('counts down without writing, also while it cannot write', async () => {
    const { store, manager } = await openFailing();
    await manager.recordPullIntent('app');
    await manager.recordPullIntent('app');
    store.set('commit', COMMAND.FAIL);
    await manager.recordImagePullFailed('app');
    store.set('commit', COMMAND.WORK);
    expect(await intentsOf(manager)).toEqual(['app']);
    await manager.recordImagePullFailed('app');
    expect(await intentsOf(manager)).toEqual([]);
  });

  it('does not replace a record that could not be read', async () => {
    const { store, manager } = await openFailing();
    await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: [A] });
    await manager.recordPullIntent('app');
    store.set('get', COMMAND.FAIL);
    const pulled = manager.recordImagePulled('app', 'ref', { kubernetesSecrets: [B] });
    await expect(pulled).rejects.toMatchObject({ code: UNAVAILABLE });
    store.set('get', COMMAND.WORK);
    const record = await manager.getImagePulledRecord('ref');
    expect(Object.values(record!.credentialMapping)).toEqual([{ kubernetesSecrets: [A] }]);
    expect(await intentsOf(manager)).toEqual(['app']);
  });

  it('lets in a pod that matches though the match cannot be recorded', async () => {
    const { store, manager } = await openFailing();
    await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: [A] });
    store.set('commit', COMMAND.FAIL);
    const copy = { ...B, credentialHash: A.credentialHash };
    expect(await manager.decide('app', 'ref', { secrets: [copy] })).toMatchObject({
      mustPull: false,
      reason: 'credentialRecordFound',
    });
    expect(manager.stats().failures.matchWrite).toBe(1);
    store.set('commit', COMMAND.WORK);
    const record = await manager.getImagePulledRecord('ref');
    expect(Object.values(record!.credentialMapping)).toEqual([{ kubernetesSecrets: [A] }]);
  });

  it('decides on what the store has, after a write that failed when it was done', async () => {
    const { store, manager } = await openFailing();
    expect(await manager.decide('app', 'ref')).toMatchObject({ reason: 'credentialPolicyAllowed' });
    store.set('commit', COMMAND.FAIL_AFTER);
    await expect(manager.recordPullIntent('app')).rejects.toMatchObject({ code: UNAVAILABLE });
    store.set('commit', COMMAND.WORK);
    expect(await intentsOf(manager)).toEqual(['app']);
    expect(await manager.decide('app', 'ref')).toMatchObject({ reason: 'mustAuthenticate' });
  });

  it('reports what cannot be listed beside what can', async () => {
    const { store, manager } = await openFailing();
    await manager.recordPullIntent('app');
    await manager.recordImagePulled('other', 'ref', null);
    store.set('list', COMMAND.CORRUPT);
    const intents = await manager.listImagePullIntents();
    expect(intents).toMatchObject({ records: [{ image: 'app' }], errors: [{ code: CORRUPT }] });
    const pulled = await manager.listImagePulledRecords();
    expect(pulled).toMatchObject({ records: [{ imageRef: 'ref' }], errors: [{ code: CORRUPT }] });
    const pruned = await manager.pruneUnknownRecords([], new Date(Date.now() + 1e6));
    expect(pruned).toMatchObject({ pruned: 1, errors: [{ code: CORRUPT }] });
    expect(pruned.errors).toHaveLength(1);
    expect(manager.stats().failures.prune).toBe(1);
  });

  it.each([
    { name: 'fails', command: COMMAND.FAIL },
    { name: 'answers nonsense', command: COMMAND.NONSENSE },
  ])('rejects listings where the store $name', async ({ command }) => {
    const { store, manager } = await openFailing();
    store.set('list', command);
    const refused = { code: UNAVAILABLE };
    await expect(manager.listImagePullIntents()).rejects.toMatchObject(refused);
    await expect(manager.listImagePulledRecords()).rejects.toMatchObject(refused);
    const pruned = manager.pruneUnknownRecords([], new Date());
    await expect(pruned).rejects.toMatchObject(refused);
    store.set('list', COMMAND.WORK);
    expect(await intentsOf(manager)).toEqual([]);
  });

  it('goes on where single records cannot be pruned', async () => {
    const { store, manager } = await openFailing();
    for (const ref of ['a', 'b', 'c']) await manager.recordImagePulled('app', ref, null);
    store.set('commit', COMMAND.FAIL);
    const result = await manager.pruneUnknownRecords(['b'], new Date(Date.now() + 1e6));
    expect(result).toMatchObject({ pruned: 0, kept: 3 });
    expect(result.errors.map(errorCode)).toEqual([UNAVAILABLE, UNAVAILABLE]);
    store.set('commit', COMMAND.WORK);
    const again = await manager.pruneUnknownRecords(['b'], new Date(Date.now() + 1e6));
    expect(again).toEqual({ pruned: 2, kept: 1, errors: [] });
  });

  it.each([
    { name: 'cannot be opened', operation: 'open' },
    { name: 'cannot be listed', operation: 'list' },
  ] as const)('is reported by open where it $name', async ({ operation }) => {
    const store = await FileStore.create();
    store.isSync = isSync;
    store.set(operation, COMMAND.FAIL);
    const opening = PullManager.open({ store: store.options, workerCount, stripeCount: 7 });
    const rejected = expect(opening).rejects.toMatchObject({ code: UNAVAILABLE });
    await settles('opening a store that fails', rejected);
    store.set(operation, COMMAND.WORK);
    const manager = await open({ store: store.options, workerCount, stripeCount: 7 });
    await manager.recordPullIntent('app');
  });

  it('does not keep the engine from closing where closing it fails', async () => {
    const { store, manager } = await openFailing();
    await manager.recordPullIntent('app');
    store.set('close', COMMAND.FAIL);
    const closed = manager.close().catch((error: unknown) => errorCode(error));
    expect([undefined, UNAVAILABLE]).toContain(await settles('closing', closed));
    const late = manager.recordPullIntent('app');
    await expect(late).rejects.toMatchObject({ code: 'ERR_PULLMANAGER_CLOSED' });
  });
});

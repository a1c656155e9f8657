import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Decision } from '../../src/engine/decision.ts';
import type { PullManagerErrorCode } from '../../src/errors.ts';
import { errorCode } from '../../src/errors.ts';
import { PullManager } from '../../src/pull-manager.ts';
import { secret, unique } from '../support/credentials.ts';
import {
  emptied,
  eventually,
  intentsOf,
  open,
  PolicyByImage,
  settles,
} from '../support/engines.ts';
import { COMMAND, FileStore } from '../support/file-store.ts';

const UNAVAILABLE = 'ERR_PULLMANAGER_STORE_UNAVAILABLE';
const CORRUPT = 'ERR_PULLMANAGER_RECORD_CORRUPT';
const A = secret('a');
const B = secret('b');

const KINDS = [
  { name: '0 workers and a store that answers at once', workerCount: 0, isSync: true },
  { name: '0 workers and a store that answers later', workerCount: 0, isSync: false },
  { name: '1 worker and a store that answers at once', workerCount: 1, isSync: true },
  { name: '2 workers and a store that answers later', workerCount: 2, isSync: false },
];

function expectError(decision: Decision, code: PullManagerErrorCode): void {
  expect(decision).toMatchObject({ mustPull: true, reason: 'error' });
  expect(decision.cause?.code).toBe(code);
}

describe.each(KINDS)('a failing store in an engine with $name', ({ workerCount, isSync }) => {
  let store: FileStore;
  let manager: PullManager;

  beforeAll(async () => {
    store = await FileStore.create();
    store.isSync = isSync;
    const policy = new PolicyByImage();
    policy.set('never', { kind: 'NeverVerify' });
    manager = await PullManager.open({ store: store.options, workerCount, stripeCount: 7, policy });
    return () => manager.close();
  });

  afterEach(async () => {
    store.work();
    await emptied(manager);
  });

  it('works as long as it does not fail', async () => {
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

  it('lets nobody in by a proof that a damaged record had, after a new one replaced it', async () => {
    const ref = unique('ref');
    await manager.recordImagePulled('app', ref, { kubernetesSecrets: [A] });
    // Known, and used: this thread is told what becomes of the record.
    expect(await manager.mustAttemptImagePull('app', ref, { secrets: [A] })).toBe(false);
    store.set('get', COMMAND.CORRUPT);
    await manager.recordImagePulled('app', ref, { kubernetesSecrets: [B] });
    store.work();
    expect(await manager.mustAttemptImagePull('app', ref, { secrets: [A] })).toBe(true);
    expect(await manager.mustAttemptImagePull('app', ref, { secrets: [B] })).toBe(false);
    const record = await manager.getImagePulledRecord(ref);
    expect(Object.values(record!.credentialMapping)).toEqual([{ kubernetesSecrets: [B] }]);
    await eventually('it is counted once', () => manager.stats().records === 1);
  });

  it.each([
    { name: 'cannot be read', command: COMMAND.FAIL, code: UNAVAILABLE },
    { name: 'cannot be decoded', command: COMMAND.CORRUPT, code: CORRUPT },
    { name: 'is nonsense', command: COMMAND.NONSENSE, code: CORRUPT },
  ] as const)(
    'answers "error" where a record $name, whatever the policy',
    async ({ command, code }) => {
      const ref = unique('ref');
      store.set('get', command);
      const { error } = manager.stats().decisions;
      let asked = 0;
      const source = (): object => {
        asked++;
        return {};
      };
      expectError(await manager.decide('never', ref, source), code);
      expect(await manager.mustAttemptImagePull('never', ref, source)).toBe(true);
      expect(manager.decideSync('never', ref)).toBeUndefined();
      expectError((await manager.decideBatch([{ image: 'never', imageRef: ref }]))[0]!, code);
      expect(asked).toBe(0);
      expect(manager.stats().decisions.error).toBe(error + 3);
      await expect(manager.getImagePulledRecord(ref)).rejects.toMatchObject({ code });
      store.set('get', COMMAND.WORK);
      expect(await manager.decide('never', ref)).toMatchObject({
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
      await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: [A] });
      store.set('exists', command);
      expectError(await manager.decide('app', 'other'), code);
      expect(await manager.decide('app', 'ref', { secrets: [A] })).toMatchObject({
        mustPull: false,
      });
    },
  );

  it('rejects an intent that it cannot write, and counts no pull', async () => {
    const { failures } = manager.stats().commits;
    store.set('commit', COMMAND.FAIL);
    await expect(manager.recordPullIntent('app')).rejects.toMatchObject({ code: UNAVAILABLE });
    store.set('commit', COMMAND.WORK);
    expect(await intentsOf(manager)).toEqual([]);
    expect(await manager.mustAttemptImagePull('app', 'ref')).toBe(false);
    // A counter of two would keep the intent.
    await manager.recordPullIntent('app');
    await manager.recordImagePullFailed('app');
    expect(await intentsOf(manager)).toEqual([]);
    expect(manager.stats().commits.failures).toBe(failures + 1);
  });

  it('keeps intent and counter where the end of a pull cannot be written', async () => {
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
    const { matchWrite } = manager.stats().failures;
    await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: [A] });
    store.set('commit', COMMAND.FAIL);
    const copy = { ...B, credentialHash: A.credentialHash };
    expect(await manager.decide('app', 'ref', { secrets: [copy] })).toMatchObject({
      mustPull: false,
      reason: 'credentialRecordFound',
    });
    expect(manager.stats().failures.matchWrite).toBe(matchWrite + 1);
    store.set('commit', COMMAND.WORK);
    const record = await manager.getImagePulledRecord('ref');
    expect(Object.values(record!.credentialMapping)).toEqual([{ kubernetesSecrets: [A] }]);
  });

  it('decides on and counts what the store has, after a write that failed when it was done', async () => {
    const other = await FileStore.create();
    other.isSync = isSync;
    const own = await open({ store: other.options, workerCount, stripeCount: 7 });
    expect(await own.decide('app', 'ref')).toMatchObject({ reason: 'credentialPolicyAllowed' });
    other.set('commit', COMMAND.FAIL_AFTER);
    await expect(own.recordPullIntent('app')).rejects.toMatchObject({ code: UNAVAILABLE });
    const pulled = own.recordImagePulled('other', 'other', null);
    await expect(pulled).rejects.toMatchObject({ code: UNAVAILABLE });
    other.work();
    expect(await intentsOf(own)).toEqual(['app']);
    expect(await own.decide('app', 'ref')).toMatchObject({ reason: 'mustAuthenticate' });
    await own.recordPullIntent('app');
    expect(own.stats()).toMatchObject({ intents: 1, records: 1 });
    await own.recordImagePullFailed('app');
    expect(await intentsOf(own)).toEqual([]);
    expect(own.stats()).toMatchObject({ intents: 0, records: 1 });
  });

  it('acknowledges nothing that rests on a commit which failed when it was done', async () => {
    const other = await FileStore.create();
    other.isSync = isSync;
    const own = await open({ store: other.options, workerCount, stripeCount: 7 });
    await own.recordPullIntent('app');
    other.set('commit', COMMAND.FAIL_AFTER);
    // Of one batch: the second of each pair finds in the store what the first could not acknowledge.
    const calls = [
      own.recordImagePulled('app', 'ref', { kubernetesSecrets: [A] }),
      own.recordImagePulled('app', 'ref', { kubernetesSecrets: [A] }),
    ];
    const pulled = await Promise.allSettled(calls);
    const ends = [own.recordImagePullFailed('app'), own.recordImagePullFailed('app')];
    const ended = await Promise.allSettled(ends);
    other.work();
    const outcomes = [...pulled, ...ended].map((one) =>
      one.status === 'rejected' ? errorCode(one.reason) : 'acknowledged',
    );
    expect(outcomes).toEqual([UNAVAILABLE, UNAVAILABLE, UNAVAILABLE, UNAVAILABLE]);
  });

  it('counts an intent once, though it could not be read when it was written and deleted', async () => {
    await manager.recordPullIntent('app');
    store.set('exists', COMMAND.FAIL);
    await manager.recordPullIntent('app');
    store.work();
    await eventually('it is counted once', () => manager.stats().intents === 1);
    await manager.recordImagePullFailed('app');
    store.set('exists', COMMAND.FAIL);
    await manager.recordImagePullFailed('app');
    store.work();
    await eventually('it is counted no more', () => manager.stats().intents === 0);
  });

  it('tells replicas that an intent is gone which could not be read when it was deleted', async () => {
    const other = await FileStore.create();
    other.isSync = isSync;
    const options = { store: other.options, workerCount, stripeCount: 7 };
    const first = await open(options);
    await first.recordPullIntent('app');
    await first.close();
    const own = await open(options);
    expect(await own.decide('app', 'ref')).toMatchObject({ reason: 'mustAuthenticate' });
    other.set('exists', COMMAND.FAIL);
    await own.recordImagePullFailed('app');
    other.work();
    expect(await intentsOf(own)).toEqual([]);
    expect(await own.decide('app', 'ref')).toMatchObject({ reason: 'credentialPolicyAllowed' });
  });

  it('reports what cannot be listed beside what can', async () => {
    const { prune } = manager.stats().failures;
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
    expect(manager.stats().failures.prune).toBe(prune + 1);
  });

  it.each([
    { name: 'fails', command: COMMAND.FAIL },
    { name: 'answers nonsense', command: COMMAND.NONSENSE },
  ])('rejects listings where the store $name', async ({ command }) => {
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
    const other = await FileStore.create();
    other.isSync = isSync;
    other.set(operation, COMMAND.FAIL);
    const opening = PullManager.open({ store: other.options, workerCount, stripeCount: 7 });
    const rejected = expect(opening).rejects.toMatchObject({ code: UNAVAILABLE });
    await settles('opening a store that fails', rejected);
    other.work();
    const late = await open({ store: other.options, workerCount, stripeCount: 7 });
    await late.recordPullIntent('app');
  });

  it('does not keep the engine from closing where closing it fails', async () => {
    const other = await FileStore.create();
    const late = await PullManager.open({ store: other.options, workerCount, stripeCount: 7 });
    await late.recordPullIntent('app');
    other.set('close', COMMAND.FAIL);
    const closed = late.close().catch((error: unknown) => errorCode(error));
    expect([undefined, UNAVAILABLE]).toContain(await settles('closing', closed));
    const refused = late.recordPullIntent('app');
    await expect(refused).rejects.toMatchObject({ code: 'ERR_PULLMANAGER_CLOSED' });
  });
});

import { afterEach, describe, expect, it, vi } from 'vitest';
import type { PullManagerOptions } from '../../src/options.ts';
import { PullManager } from '../../src/pull-manager.ts';
import type { ImagePullCredentials, PodCredentials } from '../../src/records/record.ts';
import { account, secret, secrets } from '../support/credentials.ts';
import { open, openEngine, optionsOf, shapeOf, WORKER_SHAPES } from '../support/engines.ts';

const A = secret('a');
const ROTATED = { ...A, credentialHash: 'hash-new' };
const COPY = secret('copy', { credentialHash: A.credentialHash });
const NO_HASH = { ...A, credentialHash: '' };

afterEach(() => {
  vi.useRealTimers();
});

describe.each(WORKER_SHAPES)("rotatedSecrets 'verify' in an engine with $name", (shape) => {
  it.each([
    { name: 'sends new content to the registry', recorded: [A], pod: [ROTATED], opens: false },
    { name: 'lets in what is recorded', recorded: [A], pod: [A], opens: true },
    {
      name: 'lets in recorded content under other coordinates',
      recorded: [A],
      pod: [COPY],
      opens: true,
    },
    { name: 'knows nothing of a secret without hash', recorded: [NO_HASH], pod: [A], opens: false },
    {
      name: 'does not take an empty hash for proof',
      recorded: [NO_HASH],
      pod: [NO_HASH],
      opens: false,
    },
    {
      name: 'does not take an empty hash for the recorded one',
      recorded: [A],
      pod: [NO_HASH],
      opens: false,
    },
    {
      name: 'looks on past new content',
      recorded: [A, secret('b')],
      pod: [ROTATED, secret('b')],
      opens: true,
    },
    {
      name: 'lets in recorded content among 100 secrets',
      recorded: secrets(100),
      pod: [secrets(100)[99]!],
      opens: true,
    },
  ])('$name', async ({ recorded, pod, opens }) => {
    const manager = await openEngine(shape, { rotatedSecrets: 'verify' });
    await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: recorded });
    const before = await manager.getImagePulledRecord('ref');
    const decision = await manager.decide('app', 'ref', { secrets: pod });
    expect(decision.reason).toBe(opens ? 'credentialRecordFound' : 'mustAuthenticate');
    const known = manager.decideSync('app', 'ref', { secrets: pod });
    if (known !== undefined) expect(known.reason).toBe(decision.reason);
    if (!opens) {
      expect(known).toBeDefined();
      expect(await manager.getImagePulledRecord('ref')).toEqual(before);
    }
    // What the registry accepts is proof from then on.
    await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: pod });
    const hasHash = pod.some(({ credentialHash }) => credentialHash !== '');
    expect(await manager.mustAttemptImagePull('app', 'ref', { secrets: pod })).toBe(!hasHash);
  });

  it('holds in attached threads too', async () => {
    const manager = await openEngine(shape, { rotatedSecrets: 'verify' });
    await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: [A] });
    const attached = await PullManager.attach(manager.handle);
    expect(await attached.mustAttemptImagePull('app', 'ref', { secrets: [ROTATED] })).toBe(true);
    expect(await attached.mustAttemptImagePull('app', 'ref', { secrets: [A] })).toBe(false);
    await attached.close();
  });
});

describe.each(['memory', 'journal'] as const)('reverifyAfter in an engine on %s', (store) => {
  const NOON = Date.parse('2026-03-01T12:00:00Z');
  const HOUR = 3_600_000;

  async function openAtNoon(options: PullManagerOptions = {}): Promise<PullManager> {
    vi.useFakeTimers({ toFake: ['Date'], now: NOON });
    const shape = shapeOf(store, 0, 31);
    return open({ ...(await optionsOf(shape)), reverifyAfter: HOUR, ...options });
  }

  function at(ms: number): void {
    vi.setSystemTime(NOON + ms);
  }

  const proofs: { name: string; recorded: ImagePullCredentials; pod: PodCredentials }[] = [
    { name: 'a secret', recorded: { kubernetesSecrets: [A] }, pod: { secrets: [A] } },
    {
      name: 'a service account',
      recorded: { kubernetesServiceAccounts: [account('a')] },
      pod: { serviceAccount: account('a') },
    },
    { name: 'node-wide access', recorded: { nodePodsAccessible: true }, pod: {} },
  ];

  it.each(proofs)(
    'lets $name count for its time, to the millisecond, and again once proven again',
    async ({ recorded, pod }) => {
      const manager = await openAtNoon();
      await manager.recordImagePulled('app', 'ref', recorded);
      const opens = async (): Promise<boolean> => {
        const decision = await manager.decide('app', 'ref', pod);
        expect(decision.reason).not.toBe('error');
        expect(manager.decideSync('app', 'ref', pod)).toEqual(decision);
        return !decision.mustPull;
      };
      expect(await opens()).toBe(true);
      at(HOUR);
      expect(await opens()).toBe(true);
      at(HOUR + 1);
      expect(await opens()).toBe(false);
      await manager.recordImagePulled('app', 'ref', recorded);
      expect(await opens()).toBe(true);
      at(2 * HOUR + 1);
      expect(await opens()).toBe(true);
      at(2 * HOUR + 2);
      expect(await opens()).toBe(false);
    },
  );

  it.each(proofs)(
    'does not count $name that a clock ahead has stamped, once it is put right',
    async ({ recorded, pod }) => {
      const manager = await openAtNoon();
      at(1_000 * HOUR);
      await manager.recordImagePulled('app', 'ref', recorded);
      expect(await manager.mustAttemptImagePull('app', 'ref', pod)).toBe(false);
      at(0);
      expect(await manager.mustAttemptImagePull('app', 'ref', pod)).toBe(true);
      await manager.recordImagePulled('app', 'ref', recorded);
      expect(await manager.mustAttemptImagePull('app', 'ref', pod)).toBe(false);
      at(HOUR + 1);
      expect(await manager.mustAttemptImagePull('app', 'ref', pod)).toBe(true);
    },
  );

  it('does not mind a clock that is put back by a little', async () => {
    const manager = await openAtNoon();
    await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: [A] });
    at(-1_000);
    expect(await manager.mustAttemptImagePull('app', 'ref', { secrets: [A] })).toBe(false);
  });

  it('lets a copy inherit the age of the proof that it matched', async () => {
    const manager = await openAtNoon();
    await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: [A] });
    at(HOUR / 2);
    expect(await manager.mustAttemptImagePull('app', 'ref', { secrets: [COPY] })).toBe(false);
    expect(await manager.mustAttemptImagePull('app', 'ref', { secrets: [ROTATED] })).toBe(false);
    at(HOUR);
    expect(await manager.mustAttemptImagePull('app', 'ref', { secrets: [COPY] })).toBe(false);
    expect(await manager.mustAttemptImagePull('app', 'ref', { secrets: [ROTATED] })).toBe(false);
    at(HOUR + 1);
    expect(await manager.mustAttemptImagePull('app', 'ref', { secrets: [COPY] })).toBe(true);
    expect(await manager.mustAttemptImagePull('app', 'ref', { secrets: [ROTATED] })).toBe(true);
  });

  it('lets each proof age on its own', async () => {
    const manager = await openAtNoon();
    await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: [A] });
    at(HOUR / 2);
    await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: [secret('b')] });
    at(HOUR + 1);
    expect(await manager.mustAttemptImagePull('app', 'ref', { secrets: [A] })).toBe(true);
    expect(await manager.mustAttemptImagePull('app', 'ref', { secrets: [secret('b')] })).toBe(
      false,
    );
    expect(await manager.mustAttemptImagePull('app', 'ref', { secrets: [A, secret('b')] })).toBe(
      false,
    );
  });

  it('is nothing to the policy', async () => {
    const manager = await openAtNoon({ policy: { kind: 'NeverVerify' } });
    await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: [A] });
    at(10 * HOUR);
    expect(await manager.mustAttemptImagePull('app', 'ref')).toBe(false);
  });

  it('takes proofs of unknown age for too old', async () => {
    if (store === 'memory') return;
    vi.useFakeTimers({ toFake: ['Date'], now: NOON });
    const options = await optionsOf(shapeOf(store, 0, 31));
    const before = await open(options);
    await before.recordImagePulled('app', 'ref', { kubernetesSecrets: [A] });
    await before.recordImagePulled('public', 'ref', { nodePodsAccessible: true });
    await before.close();
    const manager = await open({ ...options, reverifyAfter: HOUR });
    expect(await manager.mustAttemptImagePull('app', 'ref', { secrets: [A] })).toBe(true);
    expect(await manager.mustAttemptImagePull('public', 'ref')).toBe(true);
    await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: [A] });
    expect(await manager.mustAttemptImagePull('app', 'ref', { secrets: [A] })).toBe(false);
    await manager.close();
    // The times are kept, and matter only to who asks for them.
    at(HOUR + 1);
    const after = await open({ ...options, reverifyAfter: HOUR });
    expect(await after.mustAttemptImagePull('app', 'ref', { secrets: [A] })).toBe(true);
    await after.close();
    const without = await open(options);
    expect(await without.mustAttemptImagePull('app', 'ref', { secrets: [A] })).toBe(false);
  });
});

import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { errorCode, PullManagerError } from '../../src/errors.ts';
import type { PullManager } from '../../src/pull-manager.ts';
import type { PodCredentials } from '../../src/records/record.ts';
import { account, secret } from '../support/credentials.ts';
import { emptied, openEngine, openForAll, settles, WORKER_SHAPES } from '../support/engines.ts';

const A = secret('a');
const FAILED = 'ERR_PULLMANAGER_CREDENTIALS_SOURCE_FAILED';

describe.each(WORKER_SHAPES)('sources of pod credentials in an engine with $name', (shape) => {
  let manager: PullManager;

  beforeAll(async () => {
    manager = await openForAll(shape);
    return () => manager.close();
  });

  beforeEach(async () => {
    await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: [A] });
    return () => emptied(manager);
  });

  it.each([
    { name: 'at once', source: () => ({ secrets: [A] }) },
    { name: 'later', source: async () => ({ secrets: [A] }) },
    {
      name: 'much later',
      source: () =>
        new Promise<PodCredentials>((resolve) => {
          setImmediate(() => resolve({ secrets: [A] }));
        }),
    },
  ])('may answer $name', async ({ source }) => {
    expect(await manager.mustAttemptImagePull('app', 'ref', source)).toBe(false);
    const request = { image: 'app', imageRef: 'ref', credentials: source };
    const decisions = await manager.decideBatch([request, request]);
    expect(decisions.map(({ mustPull }) => mustPull)).toEqual([false, false]);
  });

  it.each([
    { name: 'an error', thrown: new Error('no keyring') },
    { name: 'an error of ours', thrown: new PullManagerError('STORE_UNAVAILABLE', 'not here') },
    { name: 'a text', thrown: 'no keyring' },
    { name: 'nothing', thrown: undefined },
  ])('that throw $name make the question fail with it', async ({ thrown }) => {
    const { error: before } = manager.stats().decisions;
    const sources = [
      (): PodCredentials => {
        throw thrown;
      },
      async (): Promise<PodCredentials> => {
        throw thrown;
      },
    ];
    for (const source of sources) {
      const asked = manager.mustAttemptImagePull('app', 'ref', source);
      const outcome = await asked.then(
        () => 'answered',
        (error: unknown) => ({ error }),
      );
      expect(outcome).toEqual({ error: thrown });
      if (thrown instanceof Error) expect((outcome as { error: Error }).error).toBe(thrown);
      const decision = await manager.decide('app', 'ref', source);
      expect(decision).toMatchObject({ mustPull: true, reason: 'error', cause: { code: FAILED } });
      expect(decision.cause!.cause).toBe(thrown);
      const [batched] = await manager.decideBatch([
        { image: 'app', imageRef: 'ref', credentials: source },
      ]);
      expect(batched).toMatchObject({ reason: 'error', cause: { code: FAILED } });
    }
    expect(manager.stats().decisions.error).toBe(before + 6);
  });

  it.each([
    { name: 'null', answer: null },
    { name: 'nothing', answer: undefined },
    { name: 'an empty object', answer: {} },
    { name: 'a service account too many', answer: { serviceAccount: account('x'), secrets: [] } },
  ])('that answer $name present nothing that opens', async ({ answer }) => {
    const decision = await manager.decide('app', 'ref', () => answer as never);
    expect(decision).toMatchObject({ mustPull: true, reason: 'mustAuthenticate' });
  });

  it.each([
    { name: 'a text', answer: 'secret', path: 'credentials' },
    { name: 'a list', answer: [A], path: 'credentials' },
    { name: 'secrets that are no list', answer: { secrets: A }, path: 'credentials.secrets' },
    { name: 'a hole', answer: { secrets: new Array(1) }, path: 'credentials.secrets[0]' },
    { name: 'null as secret', answer: { secrets: [A, null] }, path: 'credentials.secrets[1]' },
    {
      name: 'a secret without hash',
      answer: { secrets: [{ uid: '', namespace: '', name: '' }] },
      path: 'credentials.secrets[0].credentialHash',
    },
    {
      name: 'a number as hash',
      answer: { secrets: [{ ...A, credentialHash: 5 }] },
      path: 'credentials.secrets[0].credentialHash',
    },
    {
      name: 'an account that is a text',
      answer: { serviceAccount: 'me' },
      path: 'credentials.serviceAccount',
    },
    {
      name: 'an account without uid',
      answer: { serviceAccount: { namespace: 'n', name: 'n' } },
      path: 'credentials.serviceAccount.uid',
    },
  ])('that present $name are an error that says where', async ({ answer, path }) => {
    const lazy = await manager.decide('app', 'ref', () => answer as never);
    const eager = manager.decideSync('app', 'ref', answer as never);
    for (const decision of [lazy, eager]) {
      expect(decision).toMatchObject({ mustPull: true, reason: 'error' });
      expect(decision!.cause).toMatchObject({
        code: 'ERR_PULLMANAGER_INVALID_ARGUMENT',
        argument: path,
      });
      expect(decision!.cause!.message).not.toContain('hash-');
    }
    expect(await manager.mustAttemptImagePull('app', 'ref', () => answer as never)).toBe(true);
    expect(await manager.mustAttemptImagePull('app', 'ref', answer as never)).toBe(true);
    expect(await manager.mustAttemptImagePull('app', 'unknown', answer as never)).toBe(false);
  });

  it('are left alone where they do not matter, however broken', async () => {
    await manager.recordImagePulled('public', 'ref', { nodePodsAccessible: true });
    const broken = (): PodCredentials => {
      throw new Error('asked');
    };
    expect(await manager.mustAttemptImagePull('public', 'ref', broken)).toBe(false);
    expect(await manager.mustAttemptImagePull('other', 'ref', broken)).toBe(true);
    expect(await manager.mustAttemptImagePull('app', 'unknown', broken)).toBe(false);
    expect(await manager.mustAttemptImagePull('app', '', broken)).toBe(true);
    expect(await manager.mustAttemptImagePull('Bad Name', 'ref', broken)).toBe(true);
  });

  it('that never answer are given up by the signal of the call', async () => {
    const aborter = new AbortController();
    const never = (): Promise<PodCredentials> => new Promise(() => {});
    const waiting = manager.decide('app', 'ref', never, { signal: aborter.signal });
    aborter.abort(new Error('enough'));
    const decision = await settles('an aborted decision', waiting);
    expect(decision).toMatchObject({ mustPull: true, reason: 'error' });
    expect(decision.cause).toMatchObject({ code: 'ERR_PULLMANAGER_ABORTED', name: 'AbortError' });
    const late = await manager.decide('app', 'ref', never, { signal: aborter.signal });
    expect(late.cause?.code).toBe('ERR_PULLMANAGER_ABORTED');
  });

  it.each([0, 1, 2, 3, 50])(
    'that never answer are given up by close %d turns later',
    async (turns) => {
      const own = await openEngine(shape);
      await own.recordImagePulled('app', 'ref', { kubernetesSecrets: [A] });
      const never = (): Promise<PodCredentials> => new Promise(() => {});
      const waiting = own.decide('app', 'ref', never);
      const asked = own.mustAttemptImagePull('app', 'ref', never);
      for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve));
      await settles('closing', own.close());
      expect((await settles('the decision', waiting)).cause?.code).toBe('ERR_PULLMANAGER_CLOSED');
      expect(await settles('the question', asked)).toBe(true);
    },
  );

  it('that answer after they were given up change nothing', async () => {
    const aborter = new AbortController();
    let answer: (credentials: PodCredentials) => void = () => {};
    const source = (): Promise<PodCredentials> =>
      new Promise((resolve) => {
        answer = resolve;
        aborter.abort();
      });
    const decision = await manager.decide('app', 'ref', source, { signal: aborter.signal });
    expect(errorCode(decision.cause)).toBe('ERR_PULLMANAGER_ABORTED');
    answer({ secrets: [{ ...A, credentialHash: 'hash-late' }] });
    await new Promise((resolve) => setImmediate(resolve));
    const record = await manager.getImagePulledRecord('ref');
    expect(Object.values(record!.credentialMapping)).toEqual([{ kubernetesSecrets: [A] }]);
  });

  it('may ask the manager themselves', async () => {
    const source = async (): Promise<PodCredentials> => {
      await manager.recordPullIntent('inner');
      await manager.decide('app', 'ref', { secrets: [A] });
      return { secrets: [A] };
    };
    const asked = manager.mustAttemptImagePull('app', 'ref', source);
    expect(await settles('a question', asked)).toBe(false);
  });
});

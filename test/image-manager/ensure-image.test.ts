import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { credentialHash } from '../../src/credentials/credential-hash.ts';
import type { PullCredential } from '../../src/credentials/pull-credential.ts';
import { EnsureImageError } from '../../src/image-manager/ensure-image-error.ts';
import { ImageManager } from '../../src/image-manager/image-manager.ts';
import type { EnsureImageRequest } from '../../src/image-manager/request.ts';
import type { PullPolicy } from '../../src/images/pull-policy.ts';
import { ImageRuntimeError } from '../../src/runtime/image-runtime.ts';
import {
  type Bench,
  failed,
  gate,
  intentsOf,
  openBench,
  PRIVATE,
  PRIVATE_ID,
  PUBLIC,
  PUBLIC_ID,
  secretOf,
} from './kit.ts';

let bench: Bench;
beforeEach(async () => {
  bench = await openBench();
});
afterEach(async () => {
  await bench[Symbol.asyncDispose]();
});

function request(
  user: string | undefined,
  pullPolicy: PullPolicy = 'IfNotPresent',
  image: string = PRIVATE,
): EnsureImageRequest {
  const credentials = user === undefined ? [] : [secretOf(user)];
  return { image, pullPolicy, podUid: `pod-${user}`, credentials };
}

async function errorOf(promise: Promise<unknown>): Promise<EnsureImageError> {
  const error: unknown = await promise.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  expect(error).toBeInstanceOf(EnsureImageError);
  return error as EnsureImageError;
}

describe('credentials that never come', () => {
  it('are not waited for once their caller has gone', async () => {
    await using small = await openBench({}, { maxPending: 2 });
    const { images } = small;
    await images.ensureImage(request('a'));
    for (let i = 0; i < 4; i++) {
      const controller = new AbortController();
      const { signal } = controller;
      const asked = gate();
      const credentials = (): Promise<never> => {
        asked.open();
        return new Promise(() => {});
      };
      const ensured = images.ensureImage({ ...request('a'), credentials }, { signal });
      await asked.promise;
      controller.abort();
      await expect(ensured).rejects.toMatchObject({ name: 'AbortError' });
    }
    const credentials = async (): Promise<PullCredential[]> => [secretOf('a')];
    const ensured = await images.ensureImage({ ...request('a'), credentials });
    expect(ensured).toMatchObject({ pulled: false });
  });
});

describe('what each pull policy does', () => {
  it.each<[policy: PullPolicy, present: boolean, proven: boolean, outcome: string]>([
    ['Always', false, false, 'pull'],
    ['Always', true, true, 'pull'],
    ['IfNotPresent', false, false, 'pull'],
    ['IfNotPresent', true, true, 'use'],
    ['IfNotPresent', true, false, 'pull'],
    ['Never', false, false, 'ErrImageNeverPull'],
    ['Never', true, true, 'use'],
    ['Never', true, false, 'ErrImageNeverPull'],
  ])('%s, present %s, proven %s: %s', async (policy, present, proven, outcome) => {
    const { images, runtime, pullManager } = bench;
    if (present) await images.ensureImage(request(proven ? 'a' : 'b'));
    let decisions = 0;
    pullManager.on('decision', () => decisions++);
    runtime.calls.length = 0;
    const answer = images.ensureImage(request('a', policy));
    if (outcome === 'ErrImageNeverPull') {
      expect((await errorOf(answer)).code).toBe(outcome);
      expect(runtime.pulls).toEqual([]);
    } else {
      expect(await answer).toEqual({ imageRef: PRIVATE_ID, pulled: outcome === 'pull' });
      expect(runtime.pulls).toHaveLength(outcome === 'pull' ? 1 : 0);
    }
    expect(decisions).toBe(policy === 'Always' || !present ? 0 : 1);
    expect(await intentsOf(pullManager)).toEqual([]);
  });

  it('uses a preloaded image without a pull, as the default policy has it', async () => {
    bench.runtime.have(PRIVATE, PRIVATE_ID);
    expect(await bench.images.ensureImage(request(undefined, 'Never'))).toEqual({
      imageRef: PRIVATE_ID,
      pulled: false,
    });
  });

  it('asks the runtime for the default tag, and records under the requested text', async () => {
    bench.runtime.registry.set('busybox:latest', { id: 'sha256:busybox' });
    bench.runtime.onPull = async (image, auth) => {
      expect(await intentsOf(bench.pullManager)).toEqual(['busybox']);
      return bench.runtime.pullNow(image, auth);
    };
    await bench.images.ensureImage(request(undefined, 'IfNotPresent', 'busybox'));
    expect(bench.runtime.calls).toEqual(['status busybox:latest', 'pull busybox:latest -']);
    const record = await bench.pullManager.getImagePulledRecord('sha256:busybox');
    expect(Object.keys(record!.credentialMapping)).toEqual(['docker.io/library/busybox']);
  });
});

describe('who is let in', () => {
  it.each(['sha256:0123456789abcdef', 'sha256:0'])(
    'takes %s for an image name, not for the id of a private image',
    async (image) => {
      await using exempting = await openBench(
        {},
        { policy: { kind: 'NeverVerifyAllowlistedImages', allowlist: ['docker.io/library/*'] } },
      );
      const { runtime, images } = exempting;
      // As containerd does, the runtime finds an image by the beginning of its id.
      const id = 'sha256:0123456789abcdef';
      runtime.onStatus = async (name) =>
        id.startsWith(name) ? { id, repoTags: [PRIVATE], repoDigests: [] } : undefined;
      const error = await errorOf(images.ensureImage(request(undefined, 'Never', image)));
      expect(error.code).toBe('ErrImageNeverPull');
      expect(runtime.calls).toEqual([`status docker.io/library/${image}`]);
    },
  );

  it('asks the registry once for each tenant, and not again', async () => {
    const { images, runtime } = bench;
    await images.ensureImage(request('a'));
    await images.ensureImage(request('b'));
    await images.ensureImage(request('a'));
    await images.ensureImage(request('b', 'Never'));
    expect(runtime.pulls).toEqual([`pull ${PRIVATE} a`, `pull ${PRIVATE} b`]);
  });

  it('refuses who has no rights, under every policy, and tells under none that it is there', async () => {
    const { images, pullManager } = bench;
    await images.ensureImage(request('a'));
    for (const policy of ['Always', 'IfNotPresent', 'Never'] as const) {
      const { code } = await errorOf(
        images.ensureImage({ ...request('c', policy), podUid: policy }),
      );
      expect(code).toBe(policy === 'Never' ? 'ErrImageNeverPull' : 'ErrImagePull');
    }
    expect(await intentsOf(pullManager)).toEqual([]);
  });

  it('answers the very same for an absent image and one that may not be used', async () => {
    const { images, runtime } = bench;
    const told = async (credentials: EnsureImageRequest['credentials']): Promise<string> => {
      const error = await errorOf(
        images.ensureImage({
          ...request('c', 'Never'),
          ...(credentials === undefined ? {} : { credentials }),
        }),
      );
      return inspect([error.name, error.code, error.message, error.image, error.cause]);
    };
    const broken = async (): Promise<never> => {
      throw new Error('no lookup');
    };
    const absent = [await told([secretOf('c')]), await told(broken)];
    await images.ensureImage(request('a'));
    expect(runtime.images.has(PRIVATE_ID)).toBe(true);
    expect([await told([secretOf('c')]), await told(broken)]).toEqual(absent);
  });

  it('lets everybody use what was pulled anonymously or with credentials of the node', async () => {
    const { images, runtime } = bench;
    await images.ensureImage(request(undefined, 'IfNotPresent', PUBLIC));
    expect(await images.ensureImage(request('z', 'Never', PUBLIC))).toEqual({
      imageRef: PUBLIC_ID,
      pulled: false,
    });
    const node: PullCredential = {
      auth: { username: 'a', password: 'x' },
      source: { kind: 'node' },
    };
    await images.ensureImage({ ...request(undefined), credentials: [node] });
    expect((await images.ensureImage(request('c', 'Never'))).pulled).toBe(false);
    expect(runtime.pulls).toHaveLength(2);
  });

  it('records a service account without a hash, and lets it in again', async () => {
    const account: PullCredential = {
      auth: { username: 'a', password: 'token-1' },
      source: { kind: 'serviceAccount', uid: 'u', namespace: 'n', name: 'builder' },
    };
    await bench.images.ensureImage({ ...request(undefined), credentials: [account] });
    const record = await bench.pullManager.getImagePulledRecord(PRIVATE_ID);
    expect(Object.values(record!.credentialMapping)).toEqual([
      { kubernetesServiceAccounts: [{ uid: 'u', namespace: 'n', name: 'builder' }] },
    ]);
    const renewed = { ...account, auth: { username: 'a', password: 'token-2' } };
    const again = await bench.images.ensureImage({ ...request(undefined), credentials: [renewed] });
    expect(again.pulled).toBe(false);
  });

  it('tries credentials in order, and records only the one that worked', async () => {
    const credentials = ['x', 'b', 'a'].map(secretOf);
    await bench.images.ensureImage({ ...request(undefined), credentials });
    expect(bench.runtime.pulls).toEqual([`pull ${PRIVATE} x`, `pull ${PRIVATE} b`]);
    const record = await bench.pullManager.getImagePulledRecord(PRIVATE_ID);
    const [proven] = Object.values(record!.credentialMapping);
    expect(proven!.kubernetesSecrets?.map(({ namespace }) => namespace)).toEqual(['team-b']);
  });

  it('is not fooled by a moved tag: the new image needs a proof of its own', async () => {
    const { images, runtime } = bench;
    await images.ensureImage(request('a'));
    runtime.registry.set(PRIVATE, { id: 'sha256:moved', users: ['b'] });
    await images.ensureImage(request('b', 'Always'));
    expect((await errorOf(images.ensureImage(request('a', 'Never')))).code).toBe(
      'ErrImageNeverPull',
    );
  });
});

describe('looking up credentials', () => {
  it('asks only where the answer depends on it, and once', async () => {
    let asked = 0;
    const credentials = async (): Promise<readonly PullCredential[]> => {
      asked++;
      return [secretOf('a')];
    };
    const { images, runtime } = bench;
    runtime.have(PUBLIC, PUBLIC_ID);
    await images.ensureImage({ ...request(undefined, 'IfNotPresent', PUBLIC), credentials });
    expect(asked).toBe(0);
    await images.ensureImage({ ...request('b') });
    // Asked for the decision, and used again for the pull.
    await images.ensureImage({ ...request(undefined), credentials });
    expect(asked).toBe(1);
  });

  it('reports a lookup that fails, and neither pulls nor leaves an intent', async () => {
    const cause = new Error('no connection to the cluster');
    const error = await errorOf(
      bench.images.ensureImage({ ...request(undefined), credentials: () => Promise.reject(cause) }),
    );
    expect(error.code).toBe('ErrImageCredentials');
    expect((error.cause as Error).cause).toBe(cause);
    expect(bench.runtime.pulls).toEqual([]);
    expect(await intentsOf(bench.pullManager)).toEqual([]);
  });

  it('refuses what is no list of credentials, naming the place', async () => {
    const bad = [{ ...secretOf('a'), source: { kind: 'secret', uid: 1 } }];
    const error = await errorOf(
      bench.images.ensureImage({ ...request(undefined), credentials: async () => bad as never }),
    );
    expect((error.cause as Error).message).toContain('request.credentials[0].source.uid');
  });
});

describe('failures', () => {
  it('is not fooled by a request that changes while it is answered', async () => {
    const allowlist = ['registry.example.com/public/tool'];
    const policy = { kind: 'NeverVerifyAllowlistedImages', allowlist } as const;
    await using exempting = await openBench({}, { policy });
    const { images, runtime } = exempting;
    await images.ensureImage(request('a'));
    const given = { ...request(undefined, 'Never') };
    runtime.onStatus = async (name) => {
      Object.assign(given, { image: PUBLIC });
      return runtime.found(name);
    };
    expect((await errorOf(images.ensureImage(given))).code).toBe('ErrImageNeverPull');
  });

  it('records the credential that was presented, not what has become of it since', async () => {
    const { images, runtime, pullManager } = bench;
    for (const isFunction of [false, true]) {
      const image = isFunction ? PRIVATE : 'registry.example.com/team-a/other:1';
      runtime.registry.set(image, { id: image, users: ['a'] });
      const presented = { auth: { ...secretOf('a').auth }, source: { ...secretOf('a').source } };
      const list = [presented];
      runtime.onPull = async (name, auth) => {
        const id = runtime.pullNow(name, auth);
        Object.assign(presented.auth, secretOf('c').auth);
        Object.assign(presented.source, secretOf('c').source);
        list.length = 0;
        return id;
      };
      const credentials = isFunction ? async () => list : list;
      await images.ensureImage({ ...request('a', 'Always', image), credentials });
      const { credentialMapping } = (await pullManager.getImagePulledRecord(image))!;
      const secrets = Object.values(credentialMapping).map((entry) => entry.kubernetesSecrets);
      const { auth, source } = secretOf('a');
      const { kind: _, ...coordinates } = source;
      expect(secrets).toEqual([[{ ...coordinates, credentialHash: credentialHash(auth) }]]);
    }
  });

  it('lets nobody in by an answer of the pull manager that is none', async () => {
    const { images, runtime, pullManager } = bench;
    runtime.have(PRIVATE, PRIVATE_ID);
    pullManager.mustAttemptImagePull = async () => undefined as never;
    expect((await errorOf(images.ensureImage(request('a', 'Never')))).code).toBe(
      'ErrImageNeverPull',
    );
  });

  it.each([
    ['let in', 'a'],
    ['refused', 'z'],
  ])('asks once for a pod that is %s', async (_, user) => {
    const { images, pullManager } = bench;
    await images.ensureImage(request('a', 'Always'));
    const decisions = (): number => {
      const { decisionsLocal, decisionsRemote } = pullManager.stats();
      return decisionsLocal + decisionsRemote;
    };
    // The first after a change asks a worker; the second is answered at once.
    for (let i = 0; i < 2; i++) {
      const before = decisions();
      await images.ensureImage(request(user, 'Never')).catch(() => {});
      expect(decisions() - before).toBe(1);
    }
  });

  it('asks `mustAttemptImagePull`, and nothing else, whether a pod may use a copy', async () => {
    const { images, runtime, pullManager } = bench;
    runtime.have(PRIVATE, PRIVATE_ID);
    await images.ensureImage(request('a', 'Always'));
    expect((await images.ensureImage(request('a', 'Never'))).pulled).toBe(false);
    const { auth, source } = secretOf('a');
    const { kind: _, ...coordinates } = source;
    const secrets = [
      {
        ...(coordinates as { uid: string; namespace: string; name: string }),
        credentialHash: credentialHash(auth),
      },
    ];
    expect(pullManager.decideSync(PRIVATE, PRIVATE_ID, { secrets })?.mustPull).toBe(false);
    // As a caller does who is stricter than the records.
    pullManager.mustAttemptImagePull = async () => true;
    const { code } = await errorOf(images.ensureImage(request('a', 'Never')));
    expect(code).toBe('ErrImageNeverPull');
  });

  it('does not reveal presence by credentials that can be read only once', async () => {
    const { images, runtime } = bench;
    const codes: string[] = [];
    for (const isPresent of [false, true]) {
      if (isPresent) runtime.have(PRIVATE, PRIVATE_ID);
      let reads = 0;
      const credential = {
        ...secretOf('z'),
        get source() {
          if (reads++ > 0) throw new Error('read again');
          return secretOf('z').source;
        },
      };
      const asked = { ...request('z', 'Never'), credentials: [credential] };
      codes.push((await errorOf(images.ensureImage(asked))).code);
    }
    expect(codes).toEqual(['ErrImageNeverPull', 'ErrImageNeverPull']);
  });

  it('names the image that is none', async () => {
    const error = await errorOf(
      bench.images.ensureImage(request('a', 'IfNotPresent', 'UPPER/Case')),
    );
    expect(error.code).toBe('ErrInvalidImageName');
    expect(error.image).toBe('UPPER/Case');
    expect(bench.runtime.calls).toEqual([]);
  });

  it.each([null, false, '', 0, 'sha256:text', {}])(
    'takes a status of %j neither for an image nor for the absence of one',
    async (status) => {
      const { images, runtime, pullManager } = bench;
      runtime.onStatus = async () => status as never;
      // As careless as can be.
      pullManager.mustAttemptImagePull = async () => false;
      for (const pullPolicy of ['IfNotPresent', 'Never'] as const) {
        const { code } = await errorOf(images.ensureImage(request('a', pullPolicy)));
        expect(code).toBe('ErrImageInspect');
      }
      const checked = images.check({ image: PRIVATE, credentials: [secretOf('a')] });
      await expect(checked).rejects.toMatchObject({ code: 'ErrImageInspect' });
      expect(runtime.pulls).toEqual([]);
    },
  );

  it('rejects a request during whose decision the image manager is closed', async () => {
    const { images, pullManager } = bench;
    await images.ensureImage(request('a', 'Always'));
    // The first after a change asks a worker; the second is answered at once.
    await images.ensureImage(request('a'));
    pullManager.on('decision', () => void images.close());
    await expect(images.ensureImage(request('a'))).rejects.toMatchObject({
      code: 'ERR_PULLMANAGER_CLOSED',
    });
  });

  it('does not take a runtime that cannot say for one that has not', async () => {
    bench.runtime.onStatus = () => Promise.reject(failed('timeout', 'deadline exceeded'));
    const error = await errorOf(bench.images.ensureImage(request('a')));
    expect(error.code).toBe('ErrImageInspect');
    expect(error.message).toContain(PRIVATE);
    expect(bench.runtime.pulls).toEqual([]);
  });

  it.each([
    [
      'RegistryUnavailable: connection refused',
      'RegistryUnavailable',
      'the registry is unavailable: connection refused',
    ],
    [
      'SignatureValidationFailed: no key',
      'SignatureValidationFailed',
      'the signature validation failed: no key',
    ],
    ['something RegistryUnavailable', 'ErrImagePull', 'something RegistryUnavailable'],
  ])('tells the kubelet reason of %s', async (text, code, message) => {
    bench.runtime.onPull = () => Promise.reject(failed('other', text));
    const error = await errorOf(bench.images.ensureImage(request('a')));
    expect(error.code).toBe(code);
    expect(error.message).toContain(message);
    expect(error.cause).toBeInstanceOf(ImageRuntimeError);
  });

  it('tells all texts where several credentials failed', async () => {
    bench.runtime.onPull = (_, auth) => Promise.reject(failed('denied', `no ${auth?.username}`));
    const credentials = [secretOf('x'), secretOf('y')];
    const error = await errorOf(bench.images.ensureImage({ ...request(undefined), credentials }));
    expect(error.message).toContain('no x; no y');
    expect((error.cause as AggregateError).errors).toHaveLength(2);
  });

  it('shows no secret of a runtime that repeats what it was given', async () => {
    const { username, password } = secretOf('a').auth;
    bench.runtime.onPull = async (_, auth) => {
      throw Object.assign(new Error(`refused ${auth?.username}:${auth?.password}`), { auth });
    };
    const error = await errorOf(bench.images.ensureImage(request('a')));
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain(password);
    expect(error.message).toContain('refused');
    expect(username).toBe('a');
  });

  it('answers an image without an id with an error, and keeps the intent of such a pull', async () => {
    bench.runtime.onStatus = async () => ({ id: '', repoTags: [], repoDigests: [] });
    expect((await errorOf(bench.images.ensureImage(request('a')))).code).toBe('ErrImageInspect');
    bench.runtime.onPull = async () => '';
    const error = await errorOf(bench.images.ensureImage(request('a', 'Always')));
    expect(error.code).toBe('ErrImagePull');
    expect(await intentsOf(bench.pullManager)).toEqual([PRIVATE]);
  });

  it.each([
    ['no object', null, 'request'],
    ['an unknown policy', { ...request('a'), pullPolicy: 'Sometimes' }, 'request.pullPolicy'],
    ['no image', { ...request('a'), image: undefined }, 'request.image'],
    ['no pod', { ...request('a'), podUid: 7 }, 'request.podUid'],
    [
      'a secret that is nobody’s',
      {
        ...request('a'),
        credentials: [{ auth: {}, source: { kind: 'secret', uid: '', namespace: '', name: '' } }],
      },
      'request.credentials[0].source',
    ],
    ['credentials that are none', { ...request('a'), credentials: 'a:b' }, 'request.credentials'],
    [
      'a password that is no text',
      { ...request('a'), credentials: [{ auth: { password: 1 }, source: { kind: 'node' } }] },
      'request.credentials[0].auth.password',
    ],
  ])('refuses %s', async (_, given, argument) => {
    await expect(bench.images.ensureImage(given as never)).rejects.toMatchObject({
      code: 'ERR_PULLMANAGER_INVALID_ARGUMENT',
      argument,
    });
  });
});

describe('one intent and one outcome', () => {
  it('has the intent on record when the runtime is asked', async () => {
    let seen: string[] = [];
    bench.runtime.onPull = async (image, auth) => {
      seen = await intentsOf(bench.pullManager);
      return bench.runtime.pullNow(image, auth);
    };
    await bench.images.ensureImage(request('a'));
    expect(seen).toEqual([PRIVATE]);
    expect(await intentsOf(bench.pullManager)).toEqual([]);
  });

  it('does not pull where the intent cannot be recorded', async () => {
    bench.pullManager.recordPullIntent = () => Promise.reject(new Error('disk full'));
    const error = await errorOf(bench.images.ensureImage(request('a')));
    expect(error.code).toBe('ErrImagePullIntent');
    expect(bench.runtime.pulls).toEqual([]);
  });

  it('lets the pod in whose proof could not be recorded, and keeps the intent', async () => {
    bench.pullManager.recordImagePulled = () => Promise.reject(new Error('disk full'));
    expect((await bench.images.ensureImage(request('a'))).imageRef).toBe(PRIVATE_ID);
    expect(await intentsOf(bench.pullManager)).toEqual([PRIVATE]);
  });
});

describe('aborts', () => {
  it('ends at once, also where the runtime does not listen', async () => {
    const pulling = gate();
    const answer = gate<string>();
    bench.runtime.onPull = () => {
      pulling.open();
      return answer.promise;
    };
    const controller = new AbortController();
    const ensured = bench.images.ensureImage(request('a'), { signal: controller.signal });
    await pulling.promise;
    controller.abort();
    await expect(ensured).rejects.toMatchObject({ name: 'AbortError' });
    expect(await intentsOf(bench.pullManager)).toEqual([PRIVATE]);
    answer.open(bench.runtime.pullNow(PRIVATE, secretOf('a').auth));
  });

  it('takes an answer that comes soon after the abort for what it is', async () => {
    const pulling = gate();
    bench.runtime.onPull = (image, auth, signal) =>
      new Promise((resolve) => {
        pulling.open();
        signal!.addEventListener('abort', () => resolve(bench.runtime.pullNow(image, auth)));
      });
    const controller = new AbortController();
    const ensured = bench.images.ensureImage(request('a'), { signal: controller.signal });
    await pulling.promise;
    controller.abort();
    await expect(ensured).rejects.toMatchObject({ name: 'AbortError' });
    await bench.images.close();
    expect(await intentsOf(bench.pullManager)).toEqual([]);
    const decision = await bench.pullManager.mustAttemptImagePull(PRIVATE, PRIVATE_ID, {
      secrets: (await bench.pullManager.getImagePulledRecord(PRIVATE_ID))!.credentialMapping[
        'registry.example.com/team-a/app'
      ]!.kubernetesSecrets!,
    });
    expect(decision).toBe(false);
  });

  it('end a request with a code, also where the runtime fails at the same moment', async () => {
    for (let turns = 0; turns < 10; turns++) {
      const controller = new AbortController();
      bench.runtime.onStatus = async () => {
        void (async () => {
          for (let i = 0; i < turns; i++) await Promise.resolve();
          controller.abort();
        })();
        throw new Error('gone');
      };
      const ensured = bench.images.ensureImage(request('a'), { signal: controller.signal });
      await expect(ensured).rejects.toMatchObject({
        code: expect.stringMatching(/^(ERR_PULLMANAGER_ABORTED|ErrImageInspect)$/),
      });
    }
  });

  describe.each(['lookup', 'lookup for a decision', 'status', 'decision', 'intents'] as const)(
    '%s never answers',
    (part) => {
      it.each(['abort', 'close'] as const)('ends by %s', async (end) => {
        const asked = gate();
        const never = (): Promise<never> => {
          asked.open();
          return new Promise(() => {});
        };
        const { images, runtime, pullManager } = bench;
        if (part !== 'lookup') await images.ensureImage(request('b'));
        const { length: pulls } = runtime.pulls;
        if (part === 'status') runtime.onStatus = never;
        if (part === 'decision') pullManager.mustAttemptImagePull = never;
        if (part === 'intents') pullManager.listImagePullIntents = never;
        const manager = part === 'intents' ? new ImageManager({ pullManager, runtime }) : images;
        const controller = new AbortController();
        const credentials = part.startsWith('lookup') ? never : [secretOf('a')];
        const ensured = manager.ensureImage(
          { ...request(undefined), credentials },
          end === 'abort' ? { signal: controller.signal } : {},
        );
        await asked.promise;
        if (end === 'abort') controller.abort();
        else void manager.close();
        await expect(ensured).rejects.toMatchObject({
          code: end === 'abort' ? 'ERR_PULLMANAGER_ABORTED' : 'ERR_PULLMANAGER_CLOSED',
        });
        expect(runtime.pulls).toHaveLength(pulls);
      });
    },
  );
});

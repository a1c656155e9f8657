import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { COMPATIBILITY_LEVELS, type CompatibilityLevel } from '../../src/compatibility.ts';
import type { PullManagerOptions } from '../../src/options.ts';
import { neverVerifyAllowlistedPullPolicy } from '../../src/policies/enforcer.ts';
import { PullManager } from '../../src/pull-manager.ts';
import type { ImagePullCredentials, PodCredentials } from '../../src/records/record.ts';
import { AttachedThread } from '../support/attached-thread.ts';
import { account, secret, secrets } from '../support/credentials.ts';
import {
  emptied,
  intentsOf,
  open,
  openEngine,
  openForAll,
  optionsOf,
  shapeOf,
} from '../support/engines.ts';

const SHAPES = [
  shapeOf('memory', 0, 31),
  shapeOf('memory', 1, 31),
  shapeOf('journal', 0, 31),
  shapeOf('journal', 1, 31),
];
const A = secret('a');
const B = secret('b');
const COPIED_A = secret('copy', { credentialHash: A.credentialHash });
const ROTATED_A = { ...A, credentialHash: 'hash-new' };
const NO_HASH = { ...A, credentialHash: '' };
const ACCOUNT = account('a');

function isAtLeast(level: CompatibilityLevel, other: CompatibilityLevel): boolean {
  return COMPATIBILITY_LEVELS.indexOf(level) >= COMPATIBILITY_LEVELS.indexOf(other);
}

describe.each(SHAPES)('in an engine with $name', (shape) => {
  describe.each(COMPATIBILITY_LEVELS)('at %s', (compatibility) => {
    // What is settled in the calling thread needs no workers: starting them takes long.
    const itHere = it.runIf(shape.workerCount === 0);
    let shared: PullManager;
    beforeAll(async () => {
      shared = await openForAll(shape, { compatibility });
    });
    afterAll(() => shared.close());

    /** An engine of its own where there are options, else the common one, emptied. */
    const openAt = async (options?: PullManagerOptions): Promise<PullManager> => {
      if (options !== undefined) return openEngine(shape, { compatibility, ...options });
      await emptied(shared);
      return shared;
    };
    const recordsMatches = isAtLeast(compatibility, 'v1.34');
    const isLazy = isAtLeast(compatibility, 'v1.35');
    const keysAreTyped = isAtLeast(compatibility, 'v1.36');

    /** Asks in all three ways, which must agree; a match is recorded by the first. */
    async function mustPull(
      manager: PullManager,
      image: string,
      imageRef: string,
      pod: PodCredentials,
    ): Promise<boolean> {
      const first = await manager.mustAttemptImagePull(image, imageRef, pod);
      const answers = [
        await manager.decide(image, imageRef, () => pod),
        (await manager.decideBatch([{ image, imageRef, credentials: pod }]))[0]!,
        // The second answer may come from what the first has noted of the record.
        manager.decideSync(image, imageRef, pod)!,
        manager.decideSync(image, imageRef, pod)!,
      ];
      expect(answers.map((answer) => answer.mustPull)).toEqual(new Array(4).fill(first));
      return first;
    }

    async function recorded(manager: PullManager): Promise<Record<string, ImagePullCredentials>> {
      return (await manager.getImagePulledRecord('ref'))!.credentialMapping;
    }

    it('files proofs under its own keys, also those of matches', async () => {
      const manager = await openAt();
      expect(manager.handle.compatibility).toBe(compatibility);
      const spellings = [
        ['ubuntu:22.04', 'docker.io/library/ubuntu', 'ubuntu'],
        ['docker.io/ubuntu', 'docker.io/library/ubuntu', 'docker.io/ubuntu'],
        ['team/app:1', 'docker.io/team/app', 'team/app'],
        ['index.docker.io/team/app', 'docker.io/team/app', 'index.docker.io/team/app'],
        [`registry.io:5000/app:1@sha256:${'0'.repeat(64)}`, 'registry.io:5000/app', undefined],
      ] as const;
      for (const [image] of spellings) {
        await manager.recordPullIntent(image);
        await manager.recordImagePulled(image, 'ref', { kubernetesSecrets: [A] });
      }
      expect(await intentsOf(manager)).toEqual([]);
      const keys = spellings.map(([, full, typed = full]) => (keysAreTyped ? typed : full));
      expect(Object.keys(await recorded(manager)).sort()).toEqual([...new Set(keys)].sort());
      for (const [image, full, typed = full] of spellings) {
        expect(await mustPull(manager, image, 'ref', { secrets: [A] })).toBe(false);
        expect(await mustPull(manager, image, 'ref', { secrets: [COPIED_A] })).toBe(false);
        const proof = (await recorded(manager))[keysAreTyped ? typed : full]!;
        expect(proof.kubernetesSecrets).toEqual(recordsMatches ? [A, COPIED_A] : [A]);
      }
      // Of a name as typed, another spelling proves nothing.
      expect(await mustPull(manager, 'docker.io/library/ubuntu', 'ref', { secrets: [A] })).toBe(
        keysAreTyped,
      );
      expect(Object.keys(await recorded(manager))).toHaveLength(keysAreTyped ? 5 : 3);
    });

    it('wants names that can be parsed, whatever the key', async () => {
      const manager = await openAt();
      await manager.recordImagePulled('app', 'ref', { nodePodsAccessible: true });
      for (const image of ['Bad Name', 'registry.io/UPPER:1', '0'.repeat(64), '']) {
        await expect(manager.recordImagePulled(image, 'ref', null)).rejects.toMatchObject({
          code: 'ERR_PULLMANAGER_IMAGE_NAME_INVALID',
        });
        expect(await manager.decide(image, 'ref')).toMatchObject({
          reason: 'error',
          cause: { code: 'ERR_PULLMANAGER_IMAGE_NAME_INVALID' },
        });
      }
    });

    it.each([
      { name: 'the recorded secret', recorded: [A], pod: [A], opens: true },
      { name: 'the same content elsewhere', recorded: [A], pod: [COPIED_A], opens: true },
      { name: 'new content in the same place', recorded: [A], pod: [ROTATED_A], opens: true },
      { name: 'another secret', recorded: [A], pod: [B], opens: false },
      { name: 'an empty hash in the same place', recorded: [A], pod: [NO_HASH], opens: true },
      { name: 'a hash where none was known', recorded: [NO_HASH], pod: [A], opens: true },
      {
        name: 'an empty hash elsewhere',
        recorded: [NO_HASH],
        pod: [{ ...COPIED_A, credentialHash: '' }],
        opens: false,
      },
      { name: 'a later secret', recorded: [B], pod: [A, B], opens: true },
    ])('$name opens: $opens', async ({ recorded: list, pod, opens }) => {
      const manager = await openAt();
      await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: list });
      const before = await manager.getImagePulledRecord('ref');
      expect(await mustPull(manager, 'app', 'ref', { secrets: pod })).toBe(!opens);
      const [proof] = Object.values(await recorded(manager));
      if (recordsMatches && opens) expect(proof!.kubernetesSecrets).toContainEqual(pod.at(-1));
      else expect(await manager.getImagePulledRecord('ref')).toEqual(before);
    });

    it.each([0, 99, 100, 101])('learns as it should beside %d secrets', async (count) => {
      const manager = await openAt();
      const list = secrets(count);
      const last = list.at(-1) ?? A;
      const copy = secret('zz', { credentialHash: last.credentialHash });
      const rotated = { ...last, credentialHash: 'hash-new' };
      await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: list });
      const hasRoom = recordsMatches && count < 100;
      const known = count > 0;
      // Without recording there is no limit either.
      const rotatedOpens = known && (hasRoom || !recordsMatches);
      expect(await mustPull(manager, 'app', 'ref', { secrets: [rotated] })).toBe(!rotatedOpens);
      const afterRotation =
        (await recorded(manager))['docker.io/library/app'] ?? (await recorded(manager)).app ?? {};
      const expected = hasRoom && known ? [...list.slice(0, -1), rotated] : list;
      expect(afterRotation.kubernetesSecrets ?? []).toEqual(expected);

      await manager.pruneUnknownRecords([], new Date(8.64e15));
      await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: list });
      expect(await mustPull(manager, 'app', 'ref', { secrets: [copy] })).toBe(!known);
      const [proof] = Object.values(await recorded(manager));
      const learned = hasRoom && known ? [...list, copy] : list;
      expect(proof!.kubernetesSecrets ?? []).toEqual(learned);
    });

    it('knows service accounts only from v1.34', async () => {
      const manager = await openAt();
      const hasAccounts = recordsMatches;
      await manager.recordImagePulled('app', 'ref', { kubernetesServiceAccounts: [ACCOUNT] });
      const [alone] = Object.values(await recorded(manager));
      expect(alone).toEqual(hasAccounts ? { kubernetesServiceAccounts: [ACCOUNT] } : {});
      expect(await mustPull(manager, 'app', 'ref', { serviceAccount: ACCOUNT })).toBe(!hasAccounts);
      await manager.recordImagePulled('app', 'ref', {
        kubernetesSecrets: [A],
        kubernetesServiceAccounts: [account('b')],
      });
      const [both] = Object.values(await recorded(manager));
      expect(both).toEqual({
        kubernetesSecrets: [A],
        ...(hasAccounts ? { kubernetesServiceAccounts: [ACCOUNT, account('b')] } : {}),
      });
      expect(await mustPull(manager, 'app', 'ref', { serviceAccount: account('b') })).toBe(
        !hasAccounts,
      );
      await expect(
        manager.recordImagePulled('app', 'ref', {
          kubernetesServiceAccounts: [{ uid: 1 } as never],
        }),
      ).rejects.toMatchObject({ code: 'ERR_PULLMANAGER_INVALID_ARGUMENT' });
    });

    describe('a source of credentials', () => {
      const NEEDED = [
        { name: 'the lists decide', image: 'app', imageRef: 'ref', lazily: 1 },
        { name: 'the image is not on the node', image: 'app', imageRef: '', lazily: 0 },
        { name: 'nobody pulled it', image: 'app', imageRef: 'unknown', lazily: 0 },
        { name: 'the name has no proof', image: 'other', imageRef: 'ref', lazily: 0 },
        { name: 'everybody may use it', image: 'public', imageRef: 'ref', lazily: 0 },
        { name: 'the name is none', image: 'Bad Name', imageRef: 'ref', lazily: 0 },
      ] as const;

      it.each(NEEDED)('is asked as its kubelet does where $name', async (given) => {
        const manager = await openAt();
        await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: [A] });
        await manager.recordImagePulled('public', 'ref', { nodePodsAccessible: true });
        const { image, imageRef, lazily } = given;
        const plain = await manager.decide(image, imageRef, { secrets: [A] });
        let asked = 0;
        const source = async (): Promise<PodCredentials> => {
          asked++;
          return { secrets: [A] };
        };
        expect(await manager.mustAttemptImagePull(image, imageRef, source)).toBe(plain.mustPull);
        expect(await manager.decide(image, imageRef, source)).toEqual(plain);
        const [batched] = await manager.decideBatch([{ image, imageRef, credentials: source }]);
        expect(batched).toEqual(plain);
        expect(asked).toBe(isLazy ? 3 * lazily : 3);
      });

      it.each(NEEDED)('passes on its failure where $name, if it was asked', async (given) => {
        const manager = await openAt();
        await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: [A] });
        await manager.recordImagePulled('public', 'ref', { nodePodsAccessible: true });
        const { image, imageRef, lazily } = given;
        const thrown = { not: 'an error' };
        const source = (): never => {
          throw thrown;
        };
        const counted = manager.stats().decisions.error;
        const asking = manager.mustAttemptImagePull(image, imageRef, source);
        const isAsked = !isLazy || lazily === 1;
        if (isAsked) await expect(asking).rejects.toBe(thrown);
        else expect(await asking).toBe((await manager.decide(image, imageRef)).mustPull);
        const decision = await manager.decide(image, imageRef, source);
        if (isAsked) {
          expect(decision).toMatchObject({
            mustPull: true,
            reason: 'error',
            cause: { code: 'ERR_PULLMANAGER_CREDENTIALS_SOURCE_FAILED', cause: thrown },
          });
          // Nothing is counted where there is no image to decide on.
          const failures = manager.stats().decisions.error - counted;
          expect(failures).toBe(imageRef === '' ? 0 : 2);
        }
      });

      it('is asked under a policy that exempts the image only where it is asked always', async () => {
        const manager = await openAt({ policy: { kind: 'NeverVerify' } });
        let asked = 0;
        const source = (): PodCredentials => {
          asked++;
          return {};
        };
        expect(await manager.mustAttemptImagePull('app', 'ref', source)).toBe(false);
        expect(asked).toBe(isLazy ? 0 : 1);
        const broken = (): PodCredentials => 5 as never;
        expect(await manager.mustAttemptImagePull('app', 'ref', broken)).toBe(!isLazy);
        const nested = (() => () => ({})) as never;
        expect(await manager.mustAttemptImagePull('app', 'ref', nested)).toBe(!isLazy);
      });

      it('that never answers is given up by the signal and by close', async () => {
        const manager = await openAt({});
        await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: [A] });
        const never = (): Promise<PodCredentials> => new Promise(() => {});
        const aborter = new AbortController();
        const aborted = manager.decide('app', 'ref', never, { signal: aborter.signal });
        aborter.abort();
        expect((await aborted).cause?.code).toBe('ERR_PULLMANAGER_ABORTED');
        const waiting = manager.decide('app', 'ref', never);
        await manager.close();
        expect((await waiting).cause?.code).toBe('ERR_PULLMANAGER_CLOSED');
        const late = await manager.decide('app', 'ref', never);
        expect(late.cause?.code).toBe('ERR_PULLMANAGER_CLOSED');
      });
    });

    it('reads a policy given as data at its own level, in attached threads too', async () => {
      const policy = {
        kind: 'NeverVerifyAllowlistedImages',
        allowlist: ['registry.io/exact', 'docker.io/library/*', { glob: 'r.io/team-*/app' }],
      } as const;
      const manager = await openAt({ policy });
      const attached = await PullManager.attach(structuredClone(manager.handle));
      const own = await PullManager.attach(manager.handle, { policy });
      for (const each of [manager, attached, own]) {
        const exempts = async (image: string): Promise<boolean> =>
          !(await each.mustAttemptImagePull(image, 'ref'));
        expect(await exempts('registry.io/exact')).toBe(true);
        expect(await exempts('registry.io/exact:1')).toBe(isLazy);
        expect(await exempts('docker.io/library/ubuntu:1')).toBe(true);
        expect(await exempts('ubuntu:1')).toBe(compatibility === 'v1.35');
        expect(await exempts('r.io/team-a/app')).toBe(true);
        // A glob is about names, at the levels too that compare plain entries with all that is typed.
        expect(await exempts('r.io/team-a/app:1')).toBe(true);
        expect(await exempts('r.io/team-a/b:1-app')).toBe(false);
        expect(await exempts('r.io/team-a/b/app')).toBe(false);
      }
      await attached.close();
      await own.close();
    });

    itHere('refuses or takes short names on the list as its kubelet does', async () => {
      const policy = { kind: 'NeverVerifyAllowlistedImages', allowlist: ['ubuntu'] } as const;
      if (keysAreTyped) {
        const manager = await openAt({ policy });
        expect(await manager.mustAttemptImagePull('ubuntu:22.04', 'ref')).toBe(false);
        return;
      }
      await expect(openAt({ policy })).rejects.toMatchObject({
        code: 'ERR_PULLMANAGER_ALLOWLIST_PATTERN_INVALID',
        pattern: 'ubuntu',
      });
    });

    itHere('leaves an enforcer the level that it was built with', async () => {
      const level = compatibility === 'v1.35' ? 'v1.34' : 'v1.35';
      const manager = await openAt({
        policy: neverVerifyAllowlistedPullPolicy(['docker.io/library/*'], level),
      });
      const attached = await PullManager.attach(structuredClone(manager.handle));
      for (const each of [manager, attached]) {
        expect(await each.mustAttemptImagePull('ubuntu', 'ref')).toBe(level !== 'v1.35');
      }
      await attached.close();
    });

    itHere('verifies rotated secrets where that is asked for', async () => {
      const manager = await openAt({ rotatedSecrets: 'verify' });
      await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: [A] });
      expect(await mustPull(manager, 'app', 'ref', { secrets: [ROTATED_A] })).toBe(true);
      expect(await mustPull(manager, 'app', 'ref', { secrets: [NO_HASH] })).toBe(true);
      expect(await mustPull(manager, 'app', 'ref', { secrets: [COPIED_A] })).toBe(false);
      expect(await mustPull(manager, 'app', 'ref', { secrets: [ROTATED_A, A] })).toBe(false);
    });

    itHere('forgets proofs that are too old where that is asked for', async () => {
      const manager = await openAt({ reverifyAfter: 1e12 });
      await manager.recordImagePulled('app', 'ref', {
        kubernetesSecrets: [A],
        kubernetesServiceAccounts: [ACCOUNT],
      });
      expect(await mustPull(manager, 'app', 'ref', { secrets: [A] })).toBe(false);
      expect(await mustPull(manager, 'app', 'ref', { secrets: [ROTATED_A] })).toBe(false);
      const [proof] = Object.values(await recorded(manager));
      const provenAtMs = expect.any(Number);
      expect(proof!.kubernetesSecrets).toEqual([
        { ...(recordsMatches ? ROTATED_A : A), provenAtMs },
      ]);
    });

    it('reconciles intents that were left over', async () => {
      const options = { ...(await optionsOf(shapeOf('journal', shape.workerCount, 31))) };
      const before = await open({ ...options, compatibility });
      await before.recordPullIntent('ubuntu:22.04');
      await before.recordPullIntent('Bad Name');
      await before.close();
      const images = [{ id: 'ref', repoTags: ['ubuntu:22.04', 'Bad Name'], repoDigests: [] }];
      const imageService = { listImages: async () => images };
      const manager = await open({ ...options, compatibility, imageService });
      expect(await intentsOf(manager)).toEqual(['Bad Name']);
      expect(await recorded(manager)).toEqual({});
      expect(await mustPull(manager, 'ubuntu:22.04', 'ref', { secrets: [A] })).toBe(true);
    });
  });

  it('what one level recorded the next reads, as far as it has the same keys', async () => {
    const options = await optionsOf(shapeOf('journal', shape.workerCount, 31));
    const v135 = await open({ ...options, compatibility: 'v1.35' });
    await v135.recordImagePulled('ubuntu', 'ref', { kubernetesServiceAccounts: [ACCOUNT] });
    await v135.recordImagePulled('registry.io/app', 'ref', { kubernetesSecrets: [A] });
    await v135.close();
    const v136 = await open({ ...options, compatibility: 'v1.36' });
    const pod = { serviceAccount: ACCOUNT, secrets: [A] };
    expect(await v136.mustAttemptImagePull('ubuntu', 'ref', pod)).toBe(true);
    expect(await v136.mustAttemptImagePull('docker.io/library/ubuntu', 'ref', pod)).toBe(false);
    expect(await v136.mustAttemptImagePull('registry.io/app:2', 'ref', pod)).toBe(false);
    await v136.close();
    const v133 = await open({ ...options, compatibility: 'v1.33' });
    expect(await v133.mustAttemptImagePull('ubuntu', 'ref', pod)).toBe(true);
    expect(await v133.mustAttemptImagePull('registry.io/app:2', 'ref', pod)).toBe(false);
    // What it does not know it does not touch.
    const record = await v133.getImagePulledRecord('ref');
    expect(record!.credentialMapping['docker.io/library/ubuntu']).toEqual({
      kubernetesServiceAccounts: [ACCOUNT],
    });
  });
});

describe('a thread that attaches', () => {
  it('decides and records at the level of the engine', async () => {
    const manager = await openEngine(shapeOf('memory', 1, 31), { compatibility: 'v1.36' });
    const thread = await AttachedThread.start();
    await thread.run('attach', manager.handle);
    await thread.call('recordImagePulled', 'ubuntu:22.04', 'ref', { kubernetesSecrets: [A] });
    const record = await manager.getImagePulledRecord('ref');
    expect(Object.keys(record!.credentialMapping)).toEqual(['ubuntu']);
    const asked = ['mustAttemptImagePull', 'docker.io/library/ubuntu', 'ref', { secrets: [A] }];
    expect(await thread.call(...(asked as [string]))).toBe(true);
    expect(await manager.mustAttemptImagePull('ubuntu', 'ref', { secrets: [A] })).toBe(false);
  });

  it.each(['compatibility', 'policyCompatibility'])('needs a %s in its handle', async (field) => {
    const manager = await openEngine(shapeOf('memory', 0, 31));
    for (const wrong of [undefined, 'v1.32', 'toString']) {
      const attaching = PullManager.attach({ ...manager.handle, [field]: wrong });
      await expect(attaching).rejects.toMatchObject({
        code: 'ERR_PULLMANAGER_INVALID_ARGUMENT',
        argument: `handle.${field}`,
      });
    }
  });
});

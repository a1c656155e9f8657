import { inspect } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Decision } from '../../src/engine/decision.ts';
import { normalizedImageName } from '../../src/images/image-name.ts';
import type { DecisionReason } from '../../src/metrics/stats.ts';
import type { ImagePullPolicyEnforcer, VerificationPolicy } from '../../src/policies/enforcer.ts';
import type { PullManager } from '../../src/pull-manager.ts';
import type { ImagePullCredentials, PodCredentials } from '../../src/records/record.ts';
import { account, secret, secrets, unique } from '../support/credentials.ts';
import { openForAll, PolicyByImage, SHAPES } from '../support/engines.ts';

/** One question in one situation. In names of images, `*` is a text of its own for each run. */
interface Case {
  readonly name: string;
  /** @default 'registry.io/*&#47;app:1' */
  readonly image?: string;
  /** What was recorded before for the image reference, by image. */
  readonly pulled?: readonly (readonly [image: string, credentials: ImagePullCredentials | null])[];
  /** A pull of the image is under way. */
  readonly intent?: boolean;
  readonly policy?: VerificationPolicy | ImagePullPolicyEnforcer;
  readonly pod?: PodCredentials;
  readonly expected: DecisionReason;
  /** How often the pod's credentials are needed. */
  readonly asked: 0 | 1;
  /** What is recorded for the image afterwards, where the decision changes it. */
  readonly recorded?: ImagePullCredentials;
  /** Code of the decision's cause. */
  readonly cause?: string;
}

const APP = 'registry.io/*/app:1';
const A = secret('a');
const B = secret('b');
const ROTATED_A = { ...A, credentialHash: 'hash-new' };
const COPIED_A = secret('copy', { credentialHash: A.credentialHash });
const ACCOUNT = account('a');
const NO_HASH = { ...A, credentialHash: '' };
const NEVER = { kind: 'NeverVerify' } as const;
const ALWAYS = { kind: 'AlwaysVerify' } as const;
const PRELOADED = { kind: 'NeverVerifyPreloadedImages' } as const;
const ALLOWLISTED = {
  kind: 'NeverVerifyAllowlistedImages',
  allowlist: ['registry.io/*', 'docker.io/library/busybox'],
} as const;
const ALLOWLISTED_OTHER = {
  kind: 'NeverVerifyAllowlistedImages',
  allowlist: ['registry.io:5000/*', 'registry.io/app'],
} as const;

function enforcer(answer: () => unknown): ImagePullPolicyEnforcer {
  return { requireCredentialVerificationForImage: answer as () => boolean };
}

const allowed = { expected: 'credentialPolicyAllowed', asked: 0 } as const;
const found = { expected: 'credentialRecordFound', asked: 1 } as const;
const refusedUnasked = { expected: 'mustAuthenticate', asked: 0 } as const;
const refused = { expected: 'mustAuthenticate', asked: 1 } as const;
const badName = {
  expected: 'error',
  asked: 0,
  cause: 'ERR_PULLMANAGER_IMAGE_NAME_INVALID',
} as const;

function recording(...list: (typeof A)[]): Pick<Case, 'pulled'> {
  return { pulled: [[APP, { kubernetesSecrets: list }]] };
}

const NAMES: readonly Case[] = [
  { name: 'an image that nobody pulled counts as preloaded', ...allowed },
  {
    name: 'an image that nobody pulled needs proof under AlwaysVerify',
    policy: ALWAYS,
    ...refusedUnasked,
  },
  { name: 'a pull under way makes an image need proof', intent: true, ...refusedUnasked },
  { name: 'a pull under way is nothing to NeverVerify', intent: true, policy: NEVER, ...allowed },
  {
    name: 'a pull under way is nothing to an allow list',
    intent: true,
    policy: ALLOWLISTED,
    ...allowed,
  },
  { name: 'a record is nothing to NeverVerify', ...recording(A), policy: NEVER, ...allowed },
  {
    name: 'a record is nothing to an allow list',
    ...recording(A),
    policy: ALLOWLISTED,
    ...allowed,
  },
  {
    name: 'what is not on the allow list needs proof though nobody pulled it',
    policy: ALLOWLISTED_OTHER,
    ...refusedUnasked,
  },
  {
    name: 'the allow list compares the normalised name',
    image: 'busybox:1.36',
    policy: ALLOWLISTED,
    ...allowed,
  },
  {
    name: 'what is not on the allow list is compared with the record',
    ...recording(A),
    policy: ALLOWLISTED_OTHER,
    pod: { secrets: [A] },
    ...found,
  },
  {
    name: 'a record of another name proves nothing',
    pulled: [['registry.io/*/other', { nodePodsAccessible: true }]],
    ...refusedUnasked,
  },
  {
    name: 'a record without any name proves nothing',
    pulled: [[APP, null]],
    pod: { secrets: [A] },
    ...refusedUnasked,
  },
  {
    name: 'a record makes an image need proof though the pull is over',
    pulled: [['registry.io/*/other', null]],
    policy: PRELOADED,
    ...refusedUnasked,
  },
  {
    name: 'a name that cannot be parsed and that nobody pulled counts as preloaded',
    image: 'Bad Name *',
    ...allowed,
  },
  {
    name: 'a name that cannot be parsed is no error before there is a record',
    image: 'Bad Name *',
    policy: ALWAYS,
    ...refusedUnasked,
  },
  {
    name: 'a name that cannot be parsed needs proof while it is pulled',
    image: 'Bad Name *',
    intent: true,
    ...refusedUnasked,
  },
  {
    name: 'a name that cannot be parsed is an error where there is a record',
    image: 'Bad Name *',
    pulled: [[APP, { nodePodsAccessible: true }]],
    ...badName,
  },
  {
    name: 'a name that cannot be parsed is an error under AlwaysVerify where there is a record',
    image: 'Bad Name *',
    policy: ALWAYS,
    pulled: [[APP, { nodePodsAccessible: true }]],
    ...badName,
  },
  {
    name: 'a name that cannot be parsed is on no allow list',
    image: 'registry.io/*/UPPER',
    policy: ALLOWLISTED,
    pulled: [[APP, { nodePodsAccessible: true }]],
    ...badName,
  },
  {
    name: 'NeverVerify is asked before the name is parsed',
    image: 'Bad Name *',
    policy: NEVER,
    pulled: [[APP, { nodePodsAccessible: true }]],
    ...allowed,
  },
  {
    name: 'an empty name is an error where there is a record',
    image: '',
    pulled: [[APP, { nodePodsAccessible: true }]],
    ...badName,
  },
  {
    name: 'tag and digest do not matter',
    image: `registry.io/*/app@sha256:${'0'.repeat(64)}`,
    pulled: [['registry.io/*/app:2', { kubernetesSecrets: [A] }]],
    pod: { secrets: [A] },
    ...found,
  },
  {
    name: 'short and full spelling are one name',
    image: 'team/*-app',
    pulled: [['index.docker.io/team/*-app:7', { kubernetesSecrets: [A] }]],
    pod: { secrets: [A] },
    ...found,
  },
];

const PROOFS: readonly Case[] = [
  {
    name: 'node-wide access opens an image to a pod without credentials',
    pulled: [[APP, { nodePodsAccessible: true }]],
    ...found,
    asked: 0,
  },
  {
    name: 'node-wide access absorbs lists given with it',
    pulled: [[APP, { nodePodsAccessible: true, kubernetesSecrets: [A] }]],
    ...found,
    asked: 0,
  },
  {
    name: 'an empty entry proves nothing',
    pulled: [[APP, {}]],
    pod: { secrets: [A] },
    ...refusedUnasked,
  },
  {
    name: 'an entry of empty lists proves nothing',
    pulled: [
      [APP, { nodePodsAccessible: false, kubernetesSecrets: [], kubernetesServiceAccounts: [] }],
    ],
    ...refusedUnasked,
  },
  { name: 'a pod without credentials is refused', ...recording(A), ...refused },
  {
    name: 'a pod with an empty list is refused',
    ...recording(A),
    pod: { secrets: [] },
    ...refused,
  },
  { name: 'the recorded secret opens', ...recording(A), pod: { secrets: [A] }, ...found },
  { name: 'any recorded secret opens', ...recording(A, B), pod: { secrets: [B] }, ...found },
  {
    name: 'any of the secrets of the pod opens',
    ...recording(B),
    pod: { secrets: [A, B] },
    ...found,
  },
  { name: 'another secret does not open', ...recording(A), pod: { secrets: [B] }, ...refused },
  {
    name: 'the content of a recorded secret opens under other coordinates, which are recorded',
    ...recording(A),
    pod: { secrets: [COPIED_A] },
    ...found,
    recorded: { kubernetesSecrets: [A, COPIED_A] },
  },
  {
    name: 'new content of a recorded secret opens, and replaces the old',
    ...recording(A, B),
    pod: { secrets: [ROTATED_A] },
    ...found,
    recorded: { kubernetesSecrets: [ROTATED_A, B] },
  },
  ...(['uid', 'namespace', 'name'] as const).map((field) => ({
    name: `another ${field} is another secret`,
    ...recording(A),
    pod: { secrets: [{ ...ROTATED_A, [field]: 'other' }] },
    ...refused,
  })),
  {
    name: 'secrets without hash are equal by their coordinates only',
    ...recording(NO_HASH),
    pod: { secrets: [{ ...COPIED_A, credentialHash: '' }] },
    ...refused,
  },
  {
    name: 'a secret recorded without hash opens by its coordinates',
    ...recording(NO_HASH),
    pod: { secrets: [NO_HASH] },
    ...found,
  },
  {
    name: 'a secret recorded without hash gets the hash it opens with',
    ...recording(NO_HASH),
    pod: { secrets: [A] },
    ...found,
    recorded: { kubernetesSecrets: [A] },
  },
  {
    name: 'an empty hash under equal coordinates replaces a good one',
    ...recording(A),
    pod: { secrets: [NO_HASH] },
    ...found,
    recorded: { kubernetesSecrets: [NO_HASH] },
  },
  {
    name: 'the first secret of the pod that matches is the one recorded',
    ...recording(A, B),
    pod: { secrets: [ROTATED_A, { ...B, credentialHash: 'hash-newer' }] },
    ...found,
    recorded: { kubernetesSecrets: [ROTATED_A, B] },
  },
  {
    name: 'a later secret is not looked at once one has matched',
    ...recording(A, B),
    pod: { secrets: [B, ROTATED_A] },
    ...found,
  },
  {
    name: 'recorded secrets are compared in their order, coordinates and content alike',
    ...recording(A, B),
    pod: { secrets: [{ ...A, credentialHash: B.credentialHash }] },
    ...found,
    recorded: { kubernetesSecrets: [{ ...A, credentialHash: B.credentialHash }, B] },
  },
  {
    name: 'a secret recorded exactly so changes nothing, though another one has the same content',
    ...recording(A, COPIED_A),
    pod: { secrets: [COPIED_A] },
    ...found,
  },
];

const FULL = secrets(100);
const LAST_ROTATED = { ...FULL[98]!, credentialHash: 'hash-new' };
const COPIED = secret('zz', { credentialHash: FULL[98]!.credentialHash });

const LIMITS: readonly Case[] = [
  {
    name: 'a copy is recorded beside 99 secrets',
    ...recording(...FULL.slice(0, 99)),
    pod: { secrets: [COPIED] },
    ...found,
    recorded: { kubernetesSecrets: [...FULL.slice(0, 99), COPIED] },
  },
  {
    name: 'a copy opens beside 100 secrets, and is not recorded',
    ...recording(...FULL),
    pod: { secrets: [COPIED] },
    ...found,
  },
  {
    name: 'a copy opens beside 101 secrets, and is not recorded',
    ...recording(...secrets(101)),
    pod: { secrets: [COPIED] },
    ...found,
  },
  {
    name: 'new content opens among 99 secrets',
    ...recording(...FULL.slice(0, 99)),
    pod: { secrets: [LAST_ROTATED] },
    ...found,
    recorded: { kubernetesSecrets: [...FULL.slice(0, 98), LAST_ROTATED] },
  },
  {
    name: 'new content does not open among 100 secrets',
    ...recording(...FULL),
    pod: { secrets: [LAST_ROTATED] },
    ...refused,
  },
  {
    name: 'new content does not open among 101 secrets',
    ...recording(...secrets(101)),
    pod: { secrets: [LAST_ROTATED] },
    ...refused,
  },
  {
    name: 'the scan goes on past new content among 100 secrets',
    ...recording(...FULL),
    pod: { secrets: [LAST_ROTATED, FULL[99]!] },
    ...found,
  },
  {
    name: 'content is still compared among 100 secrets though the coordinates are of another',
    ...recording(...FULL),
    pod: { secrets: [{ ...FULL[3]!, credentialHash: FULL[50]!.credentialHash }] },
    ...found,
  },
];

function accountOnly(...list: (typeof ACCOUNT)[]): Pick<Case, 'pulled'> {
  return { pulled: [[APP, { kubernetesServiceAccounts: list }]] };
}

const ACCOUNTS: readonly Case[] = [
  {
    name: 'the recorded service account opens',
    ...accountOnly(ACCOUNT, account('b')),
    pod: { serviceAccount: account('b') },
    ...found,
  },
  ...(['uid', 'namespace', 'name'] as const).map((field) => ({
    name: `another ${field} is another service account`,
    ...accountOnly(ACCOUNT),
    pod: { serviceAccount: { ...ACCOUNT, [field]: 'other' } },
    ...refused,
  })),
  {
    name: 'a service account is no secret',
    ...accountOnly(ACCOUNT),
    pod: { secrets: [{ ...ACCOUNT, credentialHash: '' }] },
    ...refused,
  },
  {
    name: 'a service account opens beside secrets that do not',
    pulled: [[APP, { kubernetesSecrets: [A], kubernetesServiceAccounts: [ACCOUNT] }]],
    pod: { secrets: [B], serviceAccount: ACCOUNT },
    ...found,
  },
  {
    name: 'secrets come before the service account',
    pulled: [[APP, { kubernetesSecrets: [A], kubernetesServiceAccounts: [ACCOUNT] }]],
    pod: { secrets: [ROTATED_A], serviceAccount: ACCOUNT },
    ...found,
    recorded: { kubernetesSecrets: [ROTATED_A], kubernetesServiceAccounts: [ACCOUNT] },
  },
  {
    name: 'a service account opens where 100 secrets refuse new content',
    pulled: [[APP, { kubernetesSecrets: FULL, kubernetesServiceAccounts: [ACCOUNT] }]],
    pod: { secrets: [LAST_ROTATED], serviceAccount: ACCOUNT },
    ...found,
  },
];

const ENFORCERS: readonly Case[] = [
  {
    name: 'a policy that throws exempts nothing',
    policy: enforcer(() => {
      throw new Error('no answer');
    }),
    ...refusedUnasked,
  },
  ...[undefined, null, 0, '', 'no', Promise.resolve(false)].map((answer) => ({
    name: `a policy that answers ${inspect(answer)} exempts nothing`,
    policy: enforcer(() => answer),
    ...refusedUnasked,
  })),
  {
    name: 'a policy of the caller exempts',
    policy: enforcer(() => false),
    intent: true,
    ...allowed,
  },
  {
    name: 'a policy of the caller demands proof',
    policy: enforcer(() => true),
    ...recording(A),
    pod: { secrets: [A] },
    ...found,
  },
];

const CASES = [...NAMES, ...PROOFS, ...LIMITS, ...ACCOUNTS, ...ENFORCERS];

/** A case, set up under names of its own. */
class Scene {
  readonly image: string;
  readonly imageRef = unique('sha256:');
  asked = 0;
  readonly #manager: PullManager;
  readonly #case: Case;

  private constructor(manager: PullManager, given: Case, tag: string) {
    this.#manager = manager;
    this.#case = given;
    this.image = (given.image ?? APP).replaceAll('*', tag);
  }

  static async of(manager: PullManager, policies: PolicyByImage, given: Case): Promise<Scene> {
    const tag = unique('t');
    const scene = new Scene(manager, given, tag);
    policies.set(scene.image, given.policy ?? PRELOADED);
    for (const [image, credentials] of given.pulled ?? []) {
      await manager.recordImagePulled(image.replaceAll('*', tag), scene.imageRef, credentials);
    }
    if (given.intent === true) await manager.recordPullIntent(scene.image);
    return scene;
  }

  readonly source = (): PodCredentials => {
    this.asked++;
    return this.#case.pod ?? {};
  };

  /** The record must be as the case says, and as before where it says nothing. */
  async expectRecord(before: unknown): Promise<void> {
    const record = await this.#manager.getImagePulledRecord(this.imageRef);
    if (this.#case.recorded === undefined) {
      expect(record).toEqual(before);
      return;
    }
    const name = normalizedImageName(this.image);
    expect(record!.credentialMapping).toEqual({ [name]: this.#case.recorded });
  }
}

function expectDecision(decision: Decision, { expected, cause }: Case): void {
  const mustPull = expected === 'mustAuthenticate' || expected === 'error';
  expect(decision).toMatchObject({ mustPull, reason: expected });
  expect(decision.cause?.code).toBe(cause);
  expect(decision.detail).toMatch(/^[A-Z].*\.$/);
  expect(decision.detail).not.toContain('hash-');
}

describe.each(SHAPES)('decisions of an engine with $name', (shape) => {
  const policies = new PolicyByImage();
  let manager: PullManager;

  beforeAll(async () => {
    manager = await openForAll(shape, { policy: policies });
    return () => manager.close();
  });

  async function counted(act: () => Promise<unknown>): Promise<Record<string, number>> {
    const before = manager.stats().decisions;
    await act();
    const after = manager.stats().decisions;
    const entries = Object.entries(after).map(([reason, count]) => [
      reason,
      count - before[reason as DecisionReason],
    ]);
    return Object.fromEntries(entries.filter(([, count]) => count !== 0)) as Record<string, number>;
  }

  it.each(CASES)('$name', async (given) => {
    const mustPull = given.expected === 'mustAuthenticate' || given.expected === 'error';

    const one = await Scene.of(manager, policies, given);
    const record = await manager.getImagePulledRecord(one.imageRef);
    const counts = await counted(async () => {
      expectDecision(await manager.decide(one.image, one.imageRef, one.source), given);
    });
    expect(counts).toEqual({ [given.expected]: 1 });
    expect(one.asked).toBe(given.asked);
    await one.expectRecord(record);

    const two = await Scene.of(manager, policies, given);
    const answer = await manager.mustAttemptImagePull(two.image, two.imageRef, two.source);
    expect(answer).toBe(mustPull);
    expect(two.asked).toBe(given.asked);

    const three = await Scene.of(manager, policies, given);
    const known = await manager.decide(three.image, three.imageRef);
    expect(known.mustPull || given.asked === 0).toBe(true);
    const sync = manager.decideSync(three.image, three.imageRef, given.pod);
    expect(sync === undefined).toBe(given.recorded !== undefined);
    const decision =
      sync ??
      (
        await manager.decideBatch([
          { image: three.image, imageRef: three.imageRef, credentials: given.pod ?? {} },
        ])
      )[0]!;
    expectDecision(decision, given);
    expect(await manager.mustAttemptImagePull(three.image, three.imageRef, given.pod)).toBe(
      mustPull,
    );
  });

  it('an empty image reference must be pulled, which is counted nowhere', async () => {
    const counts = await counted(async () => {
      let asked = 0;
      const source = (): PodCredentials => {
        asked++;
        return {};
      };
      policies.set('never', NEVER);
      const expected = { mustPull: true, reason: 'mustAuthenticate' };
      expect(manager.decideSync('never', '')).toMatchObject(expected);
      expect(await manager.decide('never', '', source)).toMatchObject(expected);
      expect(await manager.mustAttemptImagePull('never', '', source)).toBe(true);
      expect(await manager.mustAttemptImagePull('never', '')).toBe(true);
      expect(await manager.decideBatch([{ image: 'never', imageRef: '' }])).toMatchObject([
        expected,
      ]);
      expect(asked).toBe(0);
    });
    expect(counts).toEqual({});
    const { decisionsLocal, decisionsRemote } = manager.stats();
    await manager.decide('never', '');
    expect(manager.stats()).toMatchObject({ decisionsLocal, decisionsRemote });
  });

  it('a batch answers requests of all kinds in their order', async () => {
    const scenes: [Case, Scene][] = [];
    for (const given of CASES) scenes.push([given, await Scene.of(manager, policies, given)]);
    // Every second one is known to the replica, every third one asks lazily.
    for (const [i, [, scene]] of scenes.entries()) {
      if (i % 2 === 0) await manager.decide(scene.image, scene.imageRef);
    }
    const requests = scenes.map(([given, { image, imageRef, source }], i) => ({
      image,
      imageRef,
      credentials: i % 3 === 0 ? source : (given.pod ?? {}),
    }));
    requests.splice(7, 0, { image: 'x', imageRef: '', credentials: {} });
    const decisions = await manager.decideBatch(requests);
    expect(decisions).toHaveLength(requests.length);
    expect(decisions.splice(7, 1)).toMatchObject([{ reason: 'mustAuthenticate' }]);
    for (const [i, [given, scene]] of scenes.entries()) {
      expectDecision(decisions[i]!, given);
      if (i % 3 === 0) expect(scene.asked).toBe(given.asked);
    }
    expect(await manager.decideBatch([])).toEqual([]);
  });
});

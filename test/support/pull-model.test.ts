import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { COMPATIBILITY_LEVELS, KUBELET_BEHAVIOUR } from '../../src/compatibility.ts';
import { errorCode } from '../../src/errors.ts';
import type { VerificationPolicy } from '../../src/policies/enforcer.ts';
import { PullManager } from '../../src/pull-manager.ts';
import type {
  ImagePullCredentials,
  ImagePulledRecord,
  ImagePullSecret,
  PodCredentials,
} from '../../src/records/record.ts';
import { mergeModelCredentials, normalized } from '../../src/storm/model-credentials.ts';
import { decideOn, MATCH_WRITE_LIMIT, mustVerify } from '../../src/storm/model-decision.ts';
import { Random } from '../../src/util/random.ts';
import { type ModelOperation, PullModel } from './pull-model.ts';

const IMAGE = 'docker.io/library/nginx:1';
const NAME = 'docker.io/library/nginx';
const REF = 'sha256:1';

function secret(uid: string, credentialHash: string, namespace = 'a'): ImagePullSecret {
  return { uid, namespace, name: 'pull', credentialHash };
}

function pulled(credentials: ImagePullCredentials | null, image = IMAGE): ModelOperation[] {
  return [
    { op: 'intent', image },
    { op: 'pulled', image, imageRef: REF, credentials },
  ];
}

function modelAfter(operations: readonly ModelOperation[], policy?: VerificationPolicy): PullModel {
  const model = new PullModel({ now: () => 1_000, ...(policy ? { policy } : {}) });
  for (const operation of operations) model.apply(operation);
  return model;
}

function proofOf(model: PullModel, name = NAME): ImagePullCredentials | undefined {
  const answer = model.apply({ op: 'get', imageRef: REF });
  return answer.kind === 'record' ? answer.record?.credentialMapping[name] : undefined;
}

describe('intents and counters', () => {
  const intents = (model: PullModel): unknown => model.apply({ op: 'listIntents' });

  it.each<{ name: string; operations: ModelOperation[]; left: string[] }>([
    {
      name: 'an intent stays until its pull ends',
      operations: [{ op: 'intent', image: 'x' }],
      left: ['x'],
    },
    {
      name: 'one outcome of two pulls leaves the intent',
      operations: [
        { op: 'intent', image: 'x' },
        { op: 'intent', image: 'x' },
        { op: 'failed', image: 'x' },
      ],
      left: ['x'],
    },
    {
      name: 'the last outcome removes it',
      operations: [
        { op: 'intent', image: 'x' },
        { op: 'intent', image: 'x' },
        { op: 'failed', image: 'x' },
        { op: 'failed', image: 'x' },
      ],
      left: [],
    },
    {
      name: 'a failure without an intent is fine',
      operations: [{ op: 'failed', image: 'x' }],
      left: [],
    },
    {
      name: 'after a restart a pair of intent and failure removes what was left over',
      operations: [
        { op: 'intent', image: 'x' },
        { op: 'restart', images: [] },
        { op: 'intent', image: 'x' },
        { op: 'failed', image: 'x' },
      ],
      left: [],
    },
    {
      name: 'an unparsable image keeps its intent when its record cannot be written',
      operations: [
        { op: 'intent', image: 'A B' },
        { op: 'pulled', image: 'A B', imageRef: REF, credentials: null },
      ],
      left: ['A B'],
    },
  ])('$name', ({ operations, left }) => {
    expect(intents(modelAfter(operations))).toEqual({ kind: 'intents', images: left });
  });
});

describe('decisions', () => {
  const own = secret('1', 'h1');
  const bySecret: ImagePullCredentials = { kubernetesSecrets: [own] };
  const account = { uid: '9', namespace: 'a', name: 'sa' };

  it.each<{
    name: string;
    before: ModelOperation[];
    ask: Partial<{ image: string; imageRef: string; secrets: ImagePullSecret[]; account: boolean }>;
    policy?: VerificationPolicy;
    reason: string;
  }>([
    {
      name: 'an empty reference must be pulled',
      before: [],
      ask: { imageRef: '' },
      reason: 'mustAuthenticate',
    },
    { name: 'a preloaded image is free', before: [], ask: {}, reason: 'credentialPolicyAllowed' },
    {
      name: 'an image whose pull has begun is not',
      before: [{ op: 'intent', image: IMAGE }],
      ask: {},
      reason: 'mustAuthenticate',
    },
    {
      name: 'a left-over intent protects as well',
      before: [
        { op: 'intent', image: IMAGE },
        { op: 'restart', images: [] },
      ],
      ask: {},
      reason: 'mustAuthenticate',
    },
    {
      name: 'the intent of another spelling does not',
      before: [{ op: 'intent', image: 'nginx:1' }],
      ask: {},
      reason: 'credentialPolicyAllowed',
    },
    {
      name: 'always-verify demands proof of a preloaded image',
      before: [],
      ask: {},
      policy: { kind: 'AlwaysVerify' },
      reason: 'mustAuthenticate',
    },
    {
      name: 'never-verify frees everything',
      before: pulled(bySecret),
      ask: {},
      policy: { kind: 'NeverVerify' },
      reason: 'credentialPolicyAllowed',
    },
    {
      name: 'never-verify does not free what cannot be read',
      before: [...pulled(bySecret), { op: 'damage', imageRef: REF, kind: 'corrupt' }],
      ask: {},
      policy: { kind: 'NeverVerify' },
      reason: 'error',
    },
    {
      name: 'a node-wide record opens to anybody',
      before: pulled({ nodePodsAccessible: true }),
      ask: {},
      reason: 'credentialRecordFound',
    },
    {
      name: 'a pull by unknown means proves nothing',
      before: pulled(null),
      ask: { secrets: [own] },
      reason: 'mustAuthenticate',
    },
    {
      name: 'another name on the same reference has no proof',
      before: pulled(bySecret),
      ask: { image: 'registry.io/twin:1', secrets: [own] },
      reason: 'mustAuthenticate',
    },
    {
      name: 'the short form of a name is the same name',
      before: pulled(bySecret),
      ask: { image: 'nginx:2', secrets: [own] },
      reason: 'credentialRecordFound',
    },
    {
      name: 'the same secret',
      before: pulled(bySecret),
      ask: { secrets: [own] },
      reason: 'credentialRecordFound',
    },
    {
      name: 'the same content elsewhere',
      before: pulled(bySecret),
      ask: { secrets: [secret('2', 'h1', 'b')] },
      reason: 'credentialRecordFound',
    },
    {
      name: 'other content at the same place',
      before: pulled(bySecret),
      ask: { secrets: [secret('1', 'h2')] },
      reason: 'credentialRecordFound',
    },
    {
      name: 'another secret',
      before: pulled(bySecret),
      ask: { secrets: [secret('2', 'h2')] },
      reason: 'mustAuthenticate',
    },
    {
      name: 'two empty hashes are not equal',
      before: pulled({ kubernetesSecrets: [secret('1', '')] }),
      ask: { secrets: [secret('2', '')] },
      reason: 'mustAuthenticate',
    },
    {
      name: 'the second of two secrets',
      before: pulled(bySecret),
      ask: { secrets: [secret('3', 'h3'), own] },
      reason: 'credentialRecordFound',
    },
    {
      name: 'a recorded service account',
      before: pulled({ kubernetesServiceAccounts: [account] }),
      ask: { account: true },
      reason: 'credentialRecordFound',
    },
    {
      name: 'an account that came together with secrets is kept (W3)',
      before: [
        ...pulled(bySecret),
        ...pulled({ kubernetesSecrets: [secret('2', 'h2')], kubernetesServiceAccounts: [account] }),
      ],
      ask: { account: true },
      reason: 'credentialRecordFound',
    },
  ])('$name: $reason', ({ before, ask, policy, reason }) => {
    const answer = modelAfter(before, policy).apply({
      op: 'decide',
      image: ask.image ?? IMAGE,
      imageRef: ask.imageRef ?? REF,
      credentials: {
        secrets: ask.secrets ?? [],
        ...(ask.account ? { serviceAccount: account } : {}),
      },
    });
    const isFree = reason === 'credentialPolicyAllowed' || reason === 'credentialRecordFound';
    expect(answer).toEqual({ kind: 'decision', mustPull: !isFree, reason });
  });

  it('writes a matched secret down, and leaves the limit of 100 alone', () => {
    const model = modelAfter(pulled(bySecret));
    const rotated = secret('1', 'h2');
    model.apply({ op: 'decide', image: IMAGE, imageRef: REF, credentials: { secrets: [rotated] } });
    expect(proofOf(model)).toEqual({ kubernetesSecrets: [rotated] });

    for (const [count, isFound] of [
      [MATCH_WRITE_LIMIT - 1, true],
      [MATCH_WRITE_LIMIT, false],
    ] as const) {
      const secrets = Array.from({ length: count }, (_, i) => secret(`${i}`, `h${i}`));
      const record = new Map([[NAME, { kubernetesSecrets: secrets }]]);
      const view = {
        image: IMAGE,
        policy: { kind: 'AlwaysVerify' } as const,
        record,
        isIntended: false,
      };
      // Rotated at the limit: refused. The same content elsewhere: let in, but not written.
      expect(decideOn({ ...view, credentials: { secrets: [secret('5', 'new')] } }).mustPull).toBe(
        !isFound,
      );
      const copied = decideOn({ ...view, credentials: { secrets: [secret('x', 'h5')] } });
      expect(copied.mustPull).toBe(false);
      expect(copied.learned !== undefined).toBe(isFound);
    }
  });
});

describe('policies', () => {
  const allowlist = ['registry.io/team/app', 'registry.io:5000/team/*'];
  const policy: VerificationPolicy = { kind: 'NeverVerifyAllowlistedImages', allowlist };

  it.each([
    ['registry.io/team/app', false],
    ['registry.io/team/app2', true],
    ['registry.io:5000/team/a/b', false],
    ['registry.io:5000/team', true],
    [undefined, true],
  ])('the allow list on %s: verify %s', (name, verifies) => {
    expect(mustVerify(policy, name, false)).toBe(verifies);
    expect(mustVerify(policy, name, true)).toBe(verifies);
  });
});

describe('merging', () => {
  const one = secret('1', 'h1');

  it.each<{
    name: string;
    entry: ImagePullCredentials | undefined;
    given: ImagePullCredentials | null;
    result: ImagePullCredentials | undefined;
  }>([
    {
      name: 'null changes nothing',
      entry: { kubernetesSecrets: [one] },
      given: null,
      result: undefined,
    },
    {
      name: 'empty lists change nothing',
      entry: undefined,
      given: { kubernetesSecrets: [] },
      result: undefined,
    },
    {
      name: 'node-wide is never narrowed',
      entry: { nodePodsAccessible: true },
      given: { kubernetesSecrets: [one] },
      result: undefined,
    },
    {
      name: 'node-wide drops the lists',
      entry: { kubernetesSecrets: [one] },
      given: { nodePodsAccessible: true },
      result: { nodePodsAccessible: true },
    },
    {
      name: 'the same secret changes nothing',
      entry: { kubernetesSecrets: [one] },
      given: { kubernetesSecrets: [{ ...one }] },
      result: undefined,
    },
    {
      name: 'a new hash replaces the old one',
      entry: { kubernetesSecrets: [one] },
      given: { kubernetesSecrets: [secret('1', 'h2')] },
      result: { kubernetesSecrets: [secret('1', 'h2')] },
    },
    {
      name: 'a first entry is sorted and free of duplicates (W4)',
      entry: undefined,
      given: { kubernetesSecrets: [secret('2', 'x', 'b'), one, secret('2', 'y', 'b')] },
      result: { kubernetesSecrets: [one, secret('2', 'y', 'b')] },
    },
  ])('$name', ({ entry, given, result }) => {
    expect(mergeModelCredentials(entry, given)).toEqual(result);
  });

  it('sorts by namespace, name and uid in UTF-8 order', () => {
    // U+FF5E is above the surrogates in UTF-16 and below them in UTF-8.
    const secrets = ['\u{1f600}', '～', 'b', 'a'].map((namespace) => secret('1', 'h', namespace));
    const sorted = normalized({ kubernetesSecrets: secrets }).kubernetesSecrets;
    expect(sorted?.map(({ namespace }) => namespace)).toEqual(['a', 'b', '～', '\u{1f600}']);
  });

  it('is idempotent', () => {
    const place = fc.record({
      uid: fc.constantFrom('1', '2'),
      namespace: fc.constantFrom('a', 'b'),
      name: fc.constant('n'),
      credentialHash: fc.constantFrom('', 'x', 'y'),
    });
    const list = fc.array(place, { maxLength: 4 });
    fc.assert(
      fc.property(list, list, (first, second) => {
        const entry = normalized({ kubernetesSecrets: first });
        const unique = normalized({ kubernetesSecrets: second });
        const merged = mergeModelCredentials(entry, unique);
        if (merged !== undefined) expect(mergeModelCredentials(merged, unique)).toBeUndefined();
      }),
    );
  });
});

describe('pruning and restarts', () => {
  it.each([
    { name: 'older and not listed', untilMs: 1_001, imageRefs: [], pruned: 1 },
    { name: 'as old as the cut-off', untilMs: 1_000, imageRefs: [], pruned: 0 },
    { name: 'listed', untilMs: 9_999, imageRefs: [REF], pruned: 0 },
  ])('$name: $pruned pruned', ({ untilMs, imageRefs, pruned: count }) => {
    const answer = modelAfter(pulled(null)).apply({ op: 'prune', imageRefs, untilMs });
    expect(answer).toEqual({ kind: 'pruned', pruned: count, kept: 1 - count });
  });

  it('turns a left-over intent that the runtime lists into a record without proof', () => {
    const model = modelAfter([
      { op: 'intent', image: IMAGE },
      { op: 'intent', image: 'nginx:1' },
      { op: 'restart', images: [{ id: REF, repoTags: [IMAGE], repoDigests: [] }] },
    ]);
    expect(model.apply({ op: 'listIntents' })).toEqual({ kind: 'intents', images: ['nginx:1'] });
    expect(model.apply({ op: 'get', imageRef: REF })).toEqual({
      kind: 'record',
      record: { imageRef: REF, lastUpdatedTime: new Date(1_000), credentialMapping: {} },
    });
  });

  it('never overwrites what cannot be read for the moment (W8)', () => {
    const model = modelAfter([
      ...pulled({ kubernetesSecrets: [secret('1', 'h1')] }),
      { op: 'damage', imageRef: REF, kind: 'unreadable' },
    ]);
    const [, write] = pulled({ nodePodsAccessible: true });
    expect(model.apply(write!)).toEqual({ kind: 'failed', error: 'unreadable' });
    model.apply({ op: 'repair', imageRef: REF });
    expect(proofOf(model)).toEqual({ kubernetesSecrets: [secret('1', 'h1')] });
  });
});

describe('at each compatibility level', () => {
  it.each(COMPATIBILITY_LEVELS)('%s answers a random history as the engine does', async (level) => {
    const random = new Random(7, COMPATIBILITY_LEVELS.indexOf(level));
    const pick = <T>(list: readonly T[]): T => list[random.below(list.length)]!;
    const places = ['1', '2', '3'];
    const secrets = places.flatMap((place) => ['', 'h1', 'h2'].map((hash) => secret(place, hash)));
    const accounts = places.map((uid) => ({ uid, namespace: 'n', name: 'a' }));
    const images = ['ubuntu:1', 'docker.io/ubuntu', 'docker.io/library/ubuntu', 'r.io/a:1', 'Bad'];
    const refs = ['ref1', 'ref2', ''];
    const policy: VerificationPolicy = {
      kind: 'NeverVerifyAllowlistedImages',
      allowlist: ['r.io/b', 'docker.io/library/*'],
    };
    for (const given of [policy, { kind: 'NeverVerifyPreloadedImages' } as const]) {
      const model = new PullModel({ policy: given, behaviour: KUBELET_BEHAVIOUR[level] });
      await using manager = await PullManager.open({
        store: { kind: 'memory' },
        workerCount: 0,
        policy: given,
        compatibility: level,
      });
      for (let step = 0; step < 1500; step++) {
        const image = pick(images);
        let imageRef = pick(refs);
        const list = random.below(3) > 0 ? [pick(secrets)] : [pick(secrets), pick(secrets)];
        const serviceAccount = pick(accounts);
        if (random.below(4) === 0) {
          imageRef ||= 'ref1';
          const proof: ImagePullCredentials = {
            ...(random.below(3) > 0 ? { kubernetesSecrets: list } : {}),
            ...(random.below(3) === 0 ? { kubernetesServiceAccounts: [serviceAccount] } : {}),
          };
          const credentials = random.below(9) === 0 ? null : proof;
          const written = model.apply({ op: 'pulled', image, imageRef, credentials });
          const code = await manager.recordImagePulled(image, imageRef, credentials).then(
            () => 'done',
            (error: unknown) => errorCode(error),
          );
          expect(code === 'done').toBe(written.kind === 'done');
          continue;
        }
        const credentials: PodCredentials = {
          secrets: list,
          ...(random.below(3) === 0 ? { serviceAccount } : {}),
        };
        const expected = model.apply({ op: 'decide', image, imageRef, credentials });
        const source = random.below(2) === 0 ? credentials : () => credentials;
        const { mustPull, reason } = await manager.decide(image, imageRef, source);
        expect([step, { kind: 'decision', mustPull, reason }]).toEqual([step, expected]);
        const { records } = await manager.listImagePulledRecords();
        const listed = model.apply({ op: 'listRecords' });
        const byRef = (all: readonly ImagePulledRecord[]): [string, unknown][] =>
          all
            .map((record): [string, unknown] => [record.imageRef, { ...record.credentialMapping }])
            .sort(([a], [b]) => (a < b ? -1 : 1));
        if (listed.kind === 'records') expect(byRef(records)).toEqual(byRef(listed.records));
      }
    }
  });
});

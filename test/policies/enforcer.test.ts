import { describe, expect, it } from 'vitest';
import { AllowlistPatternError, PullManagerError } from '../../src/errors.ts';
import {
  alwaysVerifyImagePullPolicy,
  createImagePullCredentialVerificationPolicy,
  type ImagePullPolicyEnforcer,
  neverVerifyAllowlistedPullPolicy,
  neverVerifyImagePullPolicy,
  neverVerifyPreloadedPullPolicy,
  type VerificationPolicy,
} from '../../src/policies/enforcer.ts';

const ALLOWLIST = ['registry.io/team/*', 'registry.io/one/app', 'docker.io/library/ubuntu'];

const IMAGES = ['registry.io/team/app:v1', 'registry.io/other/app', 'ubuntu', 'Not A Name', ''];

function verdicts(enforcer: ImagePullPolicyEnforcer): boolean[] {
  return IMAGES.flatMap((image) =>
    [false, true].map((pulled) => enforcer.requireCredentialVerificationForImage(image, pulled)),
  );
}

function errorOf(run: () => unknown): PullManagerError {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(PullManagerError);
    return error as PullManagerError;
  }
  throw new Error('nothing was thrown');
}

describe('the verification policy', () => {
  const cases: {
    policy: VerificationPolicy;
    direct: ImagePullPolicyEnforcer;
    wanted: boolean[];
  }[] = [
    {
      policy: { kind: 'NeverVerify' },
      direct: neverVerifyImagePullPolicy(),
      wanted: [false, false, false, false, false, false, false, false, false, false],
    },
    {
      policy: { kind: 'NeverVerifyPreloadedImages' },
      direct: neverVerifyPreloadedPullPolicy(),
      wanted: [false, true, false, true, false, true, false, true, false, true],
    },
    {
      policy: { kind: 'NeverVerifyAllowlistedImages', allowlist: ALLOWLIST },
      direct: neverVerifyAllowlistedPullPolicy(ALLOWLIST),
      wanted: [false, false, true, true, false, false, true, true, true, true],
    },
    {
      policy: { kind: 'AlwaysVerify' },
      direct: alwaysVerifyImagePullPolicy(),
      wanted: [true, true, true, true, true, true, true, true, true, true],
    },
  ];

  it.each(cases)('$policy.kind gives its verdicts', ({ policy, direct, wanted }) => {
    expect(verdicts(direct)).toEqual(wanted);
    expect(verdicts(createImagePullCredentialVerificationPolicy(policy))).toEqual(wanted);
  });

  it.each(cases)('$policy.kind is rebuilt from a clone of its policy', ({ policy, wanted }) => {
    const made = createImagePullCredentialVerificationPolicy(policy);
    const rebuilt = createImagePullCredentialVerificationPolicy(structuredClone(made.policy));
    expect(rebuilt.policy).toEqual(policy);
    expect(verdicts(rebuilt)).toEqual(wanted);
  });
});

describe('an unknown policy', () => {
  it.each([['Sometimes'], [''], ['neververify'], ['constructor'], ['Never Verify\n']])(
    'is refused by name: %j',
    (kind) => {
      const policy = { kind } as unknown as VerificationPolicy;
      const error = errorOf(() => createImagePullCredentialVerificationPolicy(policy));
      expect(error.code).toBe('ERR_PULLMANAGER_POLICY_UNKNOWN');
      expect(error.message).toMatch(
        /^unknown image pull credential verification policy: ("|Sometimes|neververify|constructor)/,
      );
    },
  );
});

describe('a malformed policy', () => {
  it.each([
    [undefined, 'policy'],
    [null, 'policy'],
    ['NeverVerify', 'policy'],
    [{}, 'policy.kind'],
    [{ kind: 1 }, 'policy.kind'],
    [{ kind: 'NeverVerifyAllowlistedImages' }, 'policy.allowlist'],
    [{ kind: 'NeverVerifyAllowlistedImages', allowlist: null }, 'policy.allowlist'],
    [{ kind: 'NeverVerifyAllowlistedImages', allowlist: 'registry.io/*' }, 'policy.allowlist'],
    [
      { kind: 'NeverVerifyAllowlistedImages', allowlist: ['registry.io/*', 7] },
      'policy.allowlist[1]',
    ],
    [
      { kind: 'NeverVerifyAllowlistedImages', allowlist: Object.assign([], { length: 1 }) },
      'policy.allowlist[0]',
    ],
  ])('is refused with the path of the fault: %j', (policy, argument) => {
    const run = () => createImagePullCredentialVerificationPolicy(policy as VerificationPolicy);
    const error = errorOf(run);
    expect(error.code).toBe('ERR_PULLMANAGER_INVALID_ARGUMENT');
    expect(error.argument).toBe(argument);
  });

  it('is refused for one bad pattern among good ones', () => {
    const allowlist = ['registry.io/*', 'registry.io/app*', '*'];
    const error = errorOf(() =>
      createImagePullCredentialVerificationPolicy({
        kind: 'NeverVerifyAllowlistedImages',
        allowlist,
      }),
    );
    expect(error).toBeInstanceOf(AllowlistPatternError);
    expect(error.pattern).toBe('registry.io/app*');
  });
});

function verifies(allowlist: readonly string[], image: string): boolean {
  const enforcer = neverVerifyAllowlistedPullPolicy(allowlist);
  return enforcer.requireCredentialVerificationForImage(image, true);
}

describe('an allow-list policy', () => {
  const digest = `sha256:${'a'.repeat(64)}`;
  it.each([
    { name: 'an exact name', pattern: 'registry.io/a', image: 'registry.io/a', verify: false },
    { name: 'its tag', pattern: 'registry.io/a', image: 'registry.io/a:v1', verify: false },
    {
      name: 'its digest',
      pattern: 'registry.io/a',
      image: `registry.io/a@${digest}`,
      verify: false,
    },
    { name: 'a longer name', pattern: 'registry.io/a', image: 'registry.io/ab', verify: true },
    { name: 'a deeper name', pattern: 'registry.io/a', image: 'registry.io/a/b', verify: true },
    { name: 'one level', pattern: 'registry.io/*', image: 'registry.io/a', verify: false },
    { name: 'any depth', pattern: 'registry.io/*', image: 'registry.io/a/b/c:v1', verify: false },
    {
      name: 'another host',
      pattern: 'registry.io/*',
      image: 'registry.io.evil.com/a',
      verify: true,
    },
    { name: 'a port', pattern: 'registry.io/*', image: 'registry.io:5000/a', verify: true },
    { name: 'host case', pattern: 'registry.io/*', image: 'REGISTRY.io/a', verify: true },
    { name: 'capital host', pattern: 'TEST.io/a', image: 'TEST.io/a:1', verify: false },
    { name: 'the folder itself', pattern: 'registry.io/a/*', image: 'registry.io/a', verify: true },
    { name: 'short names', pattern: 'docker.io/library/*', image: 'ubuntu', verify: false },
    { name: 'hub names', pattern: 'docker.io/*', image: 'team/app', verify: false },
    {
      name: 'old hub host',
      pattern: 'docker.io/*',
      image: 'index.docker.io/team/app',
      verify: false,
    },
    { name: 'short prefix', pattern: 'team/*', image: 'team/app', verify: true },
    { name: 'unparsable image', pattern: 'registry.io/*', image: 'registry.io/A', verify: true },
    { name: 'empty image', pattern: 'registry.io/*', image: '', verify: true },
    {
      name: 'bad prefix',
      pattern: 'registry.io/Bad Path/*',
      image: 'registry.io/Bad Path/x',
      verify: true,
    },
    { name: 'URL prefix', pattern: 'https://registry.io/*', image: 'registry.io/x', verify: true },
  ])('compares normalised names: $name', ({ pattern, image, verify }) => {
    expect(verifies([pattern], image)).toBe(verify);
  });

  it('verifies everything with an empty list', () => {
    expect(verifies([], 'ubuntu')).toBe(true);
  });

  it('verifies what is no text', () => {
    expect(verifies(['registry.io/*'], undefined as unknown as string)).toBe(true);
  });

  it('keeps its own copy of the list', () => {
    const allowlist = ['registry.io/a'];
    const enforcer = neverVerifyAllowlistedPullPolicy(allowlist);
    allowlist[0] = 'registry.io/b';
    allowlist.push('registry.io/c');
    const verify = (image: string) => enforcer.requireCredentialVerificationForImage(image, true);
    expect(verify('registry.io/a')).toBe(false);
    expect(verify('registry.io/b')).toBe(true);
    expect(verify('registry.io/c')).toBe(true);
    expect(enforcer.policy).toEqual({
      kind: 'NeverVerifyAllowlistedImages',
      allowlist: ['registry.io/a'],
    });
  });
});

import { describe, expect, it } from 'vitest';
import {
  COMPATIBILITY_LEVELS,
  type CompatibilityLevel,
  KUBELET_BEHAVIOUR,
} from '../../src/compatibility.ts';
import { AllowlistPatternError } from '../../src/errors.ts';
import {
  type AllowlistEntry,
  validateAllowlistImagesPatterns,
} from '../../src/policies/allowlist.ts';
import {
  createImagePullCredentialVerificationPolicy,
  neverVerifyAllowlistedPullPolicy,
} from '../../src/policies/enforcer.ts';

const HEX64 = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';
const DIGEST = `sha256:${HEX64}`;

function reasonOf(entry: AllowlistEntry, level: CompatibilityLevel | undefined): string {
  try {
    validateAllowlistImagesPatterns([entry], level);
    return 'accepted';
  } catch (error) {
    expect(error).toBeInstanceOf(AllowlistPatternError);
    return (error as AllowlistPatternError).reason ?? '';
  }
}

const FULL = 'must be a full image name, registry host included, without tag and digest';
const UNTAGGED = 'must be an image name without tag and digest';
const NO_NAME = 'not an image name';
const STRAY = "a wildcard is allowed only at the end, as '/*'";
const SPACE = 'leading or trailing white space is not allowed';

/** The pattern table: verdict up to v1.35, and from v1.36. */
const TABLE: readonly (readonly [pattern: string, before: string, from136?: string])[] = [
  ['registry.io/team/app', 'accepted'],
  ['registry.io:5000/team/*', 'accepted'],
  ['registry.io/*', 'accepted'],
  ['TEST.io/team/app', 'accepted'],
  ['team/*', 'accepted'],
  ['https://registry.io/*', 'accepted'],
  ['registry.io/Bad Path/*', 'accepted'],
  ['ubuntu', FULL, 'accepted'],
  ['team/app', FULL, 'accepted'],
  ['docker.io/ubuntu', FULL, 'accepted'],
  ['registry.io/team/app:v1', FULL, UNTAGGED],
  [`registry.io/team/app@${DIGEST}`, FULL, UNTAGGED],
  ['ubuntu:22.04', FULL, UNTAGGED],
  [`${HEX64}:v1`, FULL, UNTAGGED],
  ['registry.io/', NO_NAME],
  ['registry.io/Team/app', NO_NAME],
  [HEX64, NO_NAME],
  ['*', STRAY],
  ['registry.io/app*', STRAY],
  ['registry.io/*/app', STRAY],
  ['*.registry.io/app', STRAY],
  ['registry.io/**', STRAY],
  ['/*', 'at least the registry host is required'],
  ['', 'the pattern is too short'],
  [' registry.io/app', SPACE],
  ['registry.io/app ', SPACE],
  [' ', SPACE],
];

const PATTERNS = TABLE.map(([pattern, before, from136 = before]) => ({ pattern, before, from136 }));

describe.each(COMPATIBILITY_LEVELS)('at %s the pattern', (level) => {
  it.each(PATTERNS)('$pattern has its verdict', ({ pattern, before, from136 }) => {
    expect(reasonOf(pattern, level)).toBe(level === 'v1.36' ? from136 : before);
  });
});

describe('without a level the pattern', () => {
  it.each(PATTERNS)('$pattern has the verdict of v1.35', ({ pattern, before }) => {
    expect(reasonOf(pattern, undefined)).toBe(before);
  });
});

/** Whether an entry exempts an image, at v1.33 and v1.34, at v1.35, at v1.36. */
type Row = readonly [
  entry: AllowlistEntry,
  image: string,
  raw: boolean,
  v135: boolean,
  v136: boolean,
];

const MATCHES: readonly Row[] = [
  ['registry.io/team/app', 'registry.io/team/app', true, true, true],
  ['registry.io/team/app', 'registry.io/team/app:v1', false, true, true],
  ['registry.io/team/app', `registry.io/team/app@${DIGEST}`, false, true, true],
  ['registry.io/team/app', 'registry.io/team/app2', false, false, false],
  ['registry.io:5000/team/*', 'registry.io:5000/team/app:v1', true, true, true],
  ['registry.io:5000/team/*', 'registry.io/team/app:v1', false, false, false],
  ['registry.io/*', 'registry.io/app', true, true, true],
  ['registry.io/*', `registry.io/a/b/c:v1@${DIGEST}`, true, true, true],
  ['registry.io/*', 'registry.io:5000/app', false, false, false],
  ['registry.io/*', 'REGISTRY.io/app', false, false, false],
  ['registry.io/a/*', 'registry.io/a', false, false, false],
  ['registry.io/a/*', 'registry.io/a:v1', false, false, false],
  ['TEST.io/team/app', 'TEST.io/team/app:v1', false, true, true],
  ['TEST.io/team/app', 'TEST.io/team/app', true, true, true],
  // A prefix of short names matches nothing up to v1.35, and short names from v1.36.
  ['team/*', 'team/app', false, false, true],
  ['team/*', 'team/app:v1', false, false, true],
  ['team/*', 'docker.io/team/app', false, false, false],
  ['library/*', 'ubuntu', false, false, false],
  // Prefixes that no image name begins with never match, whatever is typed.
  ['https://registry.io/*', 'https://registry.io/app', false, false, false],
  ['https://registry.io/*', 'registry.io/app', false, false, false],
  ['registry.io/Bad Path/*', 'registry.io/Bad Path/app', false, false, false],
  ['registry.io/app:v1/*', 'registry.io/app:v1/x', false, false, false],
  // What is no image name: raw text is compared all the same.
  ['registry.io/*', 'registry.io/UPPER', true, false, false],
  ['registry.io/*', 'registry.io/Bad Path/app', true, false, false],
  ['registry.io/*', 'registry.io/', true, false, false],
  ['registry.io/*', '', false, false, false],
  ['registry.io/*', ' registry.io/app', false, false, false],
  // Spellings of one image.
  ['docker.io/library/ubuntu', 'ubuntu:22.04', false, true, false],
  ['docker.io/library/ubuntu', 'ubuntu', false, true, false],
  ['docker.io/library/*', 'ubuntu', false, true, false],
  ['docker.io/library/*', 'docker.io/ubuntu', false, true, false],
  ['docker.io/library/*', 'docker.io/library/ubuntu:22.04', true, true, true],
  ['docker.io/*', 'docker.io/ubuntu', true, true, true],
  ['docker.io/*', 'team/app', false, true, false],
  ['docker.io/*', 'index.docker.io/team/app', false, true, false],
  ['index.docker.io/*', 'index.docker.io/team/app', true, false, true],
  ['index.docker.io/*', 'docker.io/team/app', false, false, false],
  ['localhost/*', 'localhost/app:1', true, true, true],
  ['[::1]:5000/*', '[::1]:5000/app:1', true, true, true],
  // Globs: the same text, so a tag counts up to v1.34.
  [{ glob: 'registry.io/team-*/app' }, 'registry.io/team-a/app', true, true, true],
  [{ glob: 'registry.io/team-*/app' }, 'registry.io/team-a/app:v1', true, true, true],
  [{ glob: 'registry.io/team-*/app' }, `registry.io/team-a/app@${DIGEST}`, true, true, true],
  [{ glob: 'registry.io/team-*/*' }, 'registry.io/team-a/app:v1', true, true, true],
  [{ glob: 'registry.io/team-*/app' }, 'registry.io/team-a/b/app', false, false, false],
  [{ glob: 'registry.io/**' }, 'registry.io/UPPER', false, false, false],
  [{ glob: 'docker.io/library/u*' }, 'ubuntu:22.04', true, true, false],
  [{ glob: 'registry.io/team/*-public' }, 'registry.io/team/secret:x-public', false, false, false],
  [{ glob: 'registry.io/lib?app' }, 'registry.io/lib:app', false, false, false],
];

describe.each(COMPATIBILITY_LEVELS)('at %s the entry', (level) => {
  it.each(MATCHES)('%j exempts %j as it should', (entry, image, raw, v135, v136) => {
    const expected = { 'v1.33': raw, 'v1.34': raw, 'v1.35': v135, 'v1.36': v136 }[level];
    const direct = neverVerifyAllowlistedPullPolicy([entry], level);
    const policy = { kind: 'NeverVerifyAllowlistedImages', allowlist: [entry] } as const;
    const created = createImagePullCredentialVerificationPolicy(policy, level);
    for (const enforcer of [direct, created]) {
      expect(enforcer.compatibility).toBe(level);
      for (const pulled of [false, true]) {
        expect(enforcer.requireCredentialVerificationForImage(image, pulled)).toBe(!expected);
      }
    }
  });

  it('exempts nothing that is no text', () => {
    const enforcer = neverVerifyAllowlistedPullPolicy(['undefined.io/*'], level);
    for (const image of [undefined, null, 5, {}, ['undefined.io/a']]) {
      expect(enforcer.requireCredentialVerificationForImage(image as never, false)).toBe(true);
    }
  });
});

describe('exact entries from v1.36', () => {
  it.each([
    ['ubuntu', 'ubuntu:22.04', true],
    ['ubuntu', 'docker.io/library/ubuntu', false],
    ['team/app', 'team/app:1', true],
    ['docker.io/ubuntu', 'docker.io/ubuntu', true],
    ['docker.io/ubuntu', 'ubuntu', false],
  ])('%s exempts %s: %s', (entry, image, exempt) => {
    const enforcer = neverVerifyAllowlistedPullPolicy([entry], 'v1.36');
    expect(enforcer.requireCredentialVerificationForImage(image, true)).toBe(!exempt);
  });
});

describe('an unknown level', () => {
  it.each(['v1.32', 'v1.37', '', 'constructor', null, 5])('is refused: %j', (level) => {
    const refused = expect.objectContaining({
      code: 'ERR_PULLMANAGER_INVALID_ARGUMENT',
      argument: 'compatibility',
    });
    expect(() => validateAllowlistImagesPatterns([], level as never)).toThrow(refused);
    expect(() => neverVerifyAllowlistedPullPolicy([], level as never)).toThrow(refused);
    expect(() =>
      createImagePullCredentialVerificationPolicy({ kind: 'NeverVerify' }, level as never),
    ).toThrow(refused);
  });
});

describe('the levels', () => {
  it('are those of the contract, oldest first', () => {
    expect(COMPATIBILITY_LEVELS).toEqual(['v1.33', 'v1.34', 'v1.35', 'v1.36']);
  });

  it('differ as the reference does', () => {
    const table = COMPATIBILITY_LEVELS.map((level) => {
      const behaviour = KUBELET_BEHAVIOUR[level];
      return [
        behaviour.recordKey,
        behaviour.allowlistCompares,
        behaviour.allowlistHolds,
        behaviour.recordsMatches,
        behaviour.asksSourcesLazily,
        behaviour.hasServiceAccounts,
        behaviour.writesVersion,
      ];
    });
    const full = 'normalizedName';
    const typed = 'nameAsTyped';
    expect(table).toEqual([
      [full, 'rawText', full, false, false, false, 'v1alpha1'],
      [full, 'rawText', full, true, false, true, 'v1alpha1'],
      [full, full, full, true, true, true, 'v1beta1'],
      [typed, typed, typed, true, true, true, 'v1beta1'],
    ]);
  });
});

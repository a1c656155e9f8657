import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { COMPATIBILITY_LEVELS } from '../../src/compatibility.ts';
import { AllowlistPatternError, PullManagerError } from '../../src/errors.ts';
import { IMAGE_TEXT } from '../../src/images/image-text.ts';
import {
  type AllowlistEntry,
  validateAllowlistImagesPatterns,
} from '../../src/policies/allowlist.ts';
import {
  createImagePullCredentialVerificationPolicy,
  neverVerifyAllowlistedPullPolicy,
} from '../../src/policies/enforcer.ts';
import {
  GLOB_EXPANSIONS_MAX,
  GLOB_LENGTH_MAX,
  GLOB_STARS_MAX,
  GLOB_TEXT_LENGTH_MAX,
  ImageGlob,
} from '../../src/policies/glob.ts';

const FULL = IMAGE_TEXT.normalizedName;

function matches(glob: string, text: string): boolean {
  return new ImageGlob(glob, FULL).matches(text);
}

describe('a glob', () => {
  it.each([
    ['registry.io/app', 'registry.io/app', true],
    ['registry.io/app', 'registry.io/app2', false],
    ['registry.io/app', 'registryxio/app', false],
    ['registry.io/team-*/app', 'registry.io/team-a/app', true],
    ['registry.io/team-*/app', 'registry.io/team-a-b/app', true],
    ['registry.io/team-*/app', 'registry.io/team-/app', true],
    ['registry.io/team-*/app', 'registry.io/team/app', false],
    ['registry.io/team-*/app', 'registry.io/team-a/b/app', false],
    ['registry.io/team-*/app', 'registry.io/team-a/app/x', false],
    ['registry.io/team-*/app', 'registry.io/x/team-a/app', false],
    ['registry.io/team-*/app', 'evil.io/registry.io/team-a/app', false],
    ['registry.io/team-*/app', 'Registry.io/team-a/app', false],
    ['registry.io/*', 'registry.io/a', true],
    ['registry.io/*', 'registry.io', false],
    ['registry.io/*', 'registry.io/', false],
    ['registry.io/*', 'registry.io/a/b', false],
    ['registry.io/*', 'registry.io:5000/a', false],
    ['registry.io/*-app-*', 'registry.io/my-app-1', true],
    ['registry.io/*-app-*', 'registry.io/my-app', false],
    ['registry.io/?', 'registry.io/a', true],
    ['registry.io/?', 'registry.io/ab', false],
    ['registry.io/a?c', 'registry.io/a/c', false],
    ['registry.io/{a,b}', 'registry.io/b', true],
    ['registry.io/{a,b}', 'registry.io/c', false],
    ['registry.io/{a,b}', 'registry.io/{a,b}', false],
    ['registry.io/{team-*,core}/x', 'registry.io/team-1/x', true],
    ['registry.io/{team-*,core}/x', 'registry.io/core/x', true],
    ['registry.io/{team-*,core}/x', 'registry.io/core-1/x', false],
    ['{a,b}.io/x', 'b.io/x', true],
    ['{a,b}.io/x', 'c.io/x', false],
    ['registry.io/**', 'registry.io/a', true],
    ['registry.io/**', 'registry.io/a/b/c', true],
    ['registry.io/**', 'registry.io', false],
    ['registry.io/**', 'registry.io/', false],
    ['registry.io/**/app', 'registry.io/app', true],
    ['registry.io/**/app', 'registry.io/a/b/app', true],
    ['registry.io/**/app', 'registry.io/a/b/myapp', false],
    ['registry.io/**/b/**', 'registry.io/b', false],
    ['registry.io/**/b/**', 'registry.io/b/b', true],
    ['registry.io/**/b/**', 'registry.io/a/b/c', true],
    ['registry.io/**/**', 'registry.io/a', true],
    ['*.example.com/app', 'a.example.com/app', true],
    ['*.example.com/app', 'a.b.example.com/app', true],
    ['*.example.com/app', '.example.com/app', true],
    ['*.example.com/app', 'example.com/app', false],
    ['*.example.com/app', 'evil.io/a.example.com/app', false],
    ['registry.io:*/app', 'registry.io:5000/app', true],
    ['registry.io:*/app', 'registry.io/app', false],
    // Nothing but names: raw text must not slip through.
    ['registry.io/**', 'registry.io/../other', false],
    ['registry.io/**', 'registry.io/./other', false],
    ['registry.io/**', 'registry.io//other', false],
    ['registry.io/*/**', 'registry.io/a/', false],
  ])('%s against %s: %s', (glob, text, expected) => {
    expect(matches(glob, text)).toBe(expected);
  });

  const alphabet = 'a glob has only letters, digits, . _ - : / * ? {a,b}';
  const host = 'at least the registry host is required';
  const braces = 'braces are closed within their component and not nested, commas are in braces';
  const alternatives = 'braces hold two or more alternatives, none empty';
  const notName = 'not an image name, whatever it stands for';
  const full = 'must be a full image name, registry host included, without tag and digest';
  const own = "'**' must be a component of its own";
  it.each([
    ['', 'the pattern is too short'],
    [' registry.io/app', 'leading or trailing white space is not allowed'],
    ['registry.io/app\u00a0', 'leading or trailing white space is not allowed'],
    ['registry.io/a b', alphabet],
    ['!registry.io/app', alphabet],
    ['registry.io/!(app)', alphabet],
    ['registry.io/@(a|b)', alphabet],
    ['registry.io/+(a)', alphabet],
    ['registry.io/(a|b)', alphabet],
    ['registry.io/[a-z]', alphabet],
    ['registry.io/[[:alpha:]]', alphabet],
    ['[::1]:5000/app', alphabet],
    ['registry.io/a\\*', alphabet],
    ['registry.io/a\n', 'leading or trailing white space is not allowed'],
    ['registry.io/a\0b', alphabet],
    ['registry.io/é*', alphabet],
    ['registry.io/$&', alphabet],
    ['registry.io', host],
    ['registry.io:5000', host],
    ['app', host],
    ['*', host],
    ['**', host],
    ['**/app', host],
    ['*/app', host],
    ['*.*/app', host],
    ['*:*/app', host],
    ['?.?/app', host],
    ['/app', host],
    ['team-*/app', host],
    ['localhos?/app', host],
    ['{registry.io,team}/app', host],
    ['registry.io/{a}', alternatives],
    ['registry.io/{}', alternatives],
    ['registry.io/{a,}', alternatives],
    ['registry.io/{1..3}', alternatives],
    ['registry.io/{a,{b,c}}', braces],
    ['registry.io/{a,b', braces],
    ['registry.io/a,b', braces],
    ['registry.io/a}', braces],
    ['registry.io/{a,b/c}', braces],
    ['registry.io/a**', own],
    ['registry.io/***', own],
    ['registry.io/{**,a}', own],
    ['registry.io/', notName],
    ['registry.io//app', notName],
    ['registry.io/../app', notName],
    ['registry.io/.*', notName],
    ['registry.io/Team-*', notName],
    ['registry.io/app-', notName],
    ['registry.io/{a..c,d}', notName],
    ['https://registry.io/*', notName],
    ['registry.io/app:v1', full],
    ['registry.io/app:*', full],
    ['registry.io/app:v{1,2}', full],
    [`registry.io/app@sha256:${'0'.repeat(64)}`, full],
  ])('is refused: %j, %s', (glob, reason) => {
    for (const level of COMPATIBILITY_LEVELS) {
      const run = (): void => validateAllowlistImagesPatterns(['a.io/b', { glob }], level);
      expect(run).toThrow(AllowlistPatternError);
      expect(run).toThrow(expect.objectContaining({ pattern: glob, reason }));
    }
  });

  it('must be normalised up to v1.35, as plain entries must', () => {
    for (const glob of ['docker.io/ubuntu*', 'docker.io/*', 'index.docker.io/team/*']) {
      expect(() => validateAllowlistImagesPatterns([{ glob }], 'v1.35')).toThrow(full);
      expect(validateAllowlistImagesPatterns([{ glob }], 'v1.36')).toBeUndefined();
    }
  });

  it.each([
    [GLOB_LENGTH_MAX, true],
    [GLOB_LENGTH_MAX + 1, false],
  ])('may have %d characters: %s', (length, isFine) => {
    // The host may be long, the path has a limit of its own.
    const glob = `${'a.'.repeat(length).slice(0, length - 6)}b.io/c`;
    expect(glob).toHaveLength(length);
    if (isFine) expect(matches(glob, glob)).toBe(true);
    else expect(() => matches(glob, glob)).toThrow(AllowlistPatternError);
  });

  it.each([
    [GLOB_STARS_MAX, true],
    [GLOB_STARS_MAX + 1, false],
  ])('may have %d stars in a component: %s', (stars, isFine) => {
    const run = (): boolean => matches(`registry.io/${'a*'.repeat(stars)}/x*`, 'registry.io/a');
    if (isFine) expect(run()).toBe(false);
    else expect(run).toThrow(`at most ${GLOB_STARS_MAX}`);
  });

  it('may stand for so many names by its braces, and no more', () => {
    const pairs = Math.log2(GLOB_EXPANSIONS_MAX);
    const glob = (count: number): string => `registry.io/${'{a,b}'.repeat(count)}`;
    expect(matches(glob(pairs), `registry.io/${'b'.repeat(pairs)}`)).toBe(true);
    expect(() => matches(glob(pairs + 1), 'x')).toThrow(`at most ${GLOB_EXPANSIONS_MAX}`);
    expect(() => matches(`registry.io/{${'a,'.repeat(240)}b}`, 'x')).toThrow('at most');
    expect(() => matches(glob(90), 'x')).toThrow('at most');
  });

  it('matches no text that is longer than any name in use', () => {
    const text = (length: number): string => `registry.io/${'a'.repeat(length - 12)}`;
    expect(matches('registry.io/*', text(GLOB_TEXT_LENGTH_MAX))).toBe(true);
    expect(matches('registry.io/*', text(GLOB_TEXT_LENGTH_MAX + 1))).toBe(false);
  });

  it.each([
    'registry.io/*a*b',
    'registry.io/{a,aa}{a,aa}{a,aa}{a,aa}{a,aa}{a,aa}*b*c',
    'registry.io/{*a,a*}{a,aa}b',
    `registry.io/${'**/*a*b/'.repeat(30)}**/c`,
    `registry.io/${'**/'.repeat(120)}b`,
    `registry.io/${'?'.repeat(200)}*b*`,
  ])('ends on whatever text it is given: %s', (glob) => {
    const built = new ImageGlob(glob, FULL);
    const room = GLOB_TEXT_LENGTH_MAX - 'registry.io/'.length;
    // Each text is one on which a naive matcher would try all ways to divide it.
    for (const unit of ['a', 'aa/', 'a/', 'ab', 'aab/', 'a.', '\n']) {
      const text = `registry.io/${unit.repeat(room)}`.slice(0, GLOB_TEXT_LENGTH_MAX);
      expect(built.matches(text)).toBe(oracle(glob, text));
    }
  });

  const component = fc
    .array(fc.constantFrom('a', 'b', 'ab', '*', '?', '{a,b}', '{ab,b*}', '-', '.'), {
      minLength: 1,
      maxLength: 4,
    })
    .map((parts) => parts.join(''));
  const path = fc.array(fc.oneof(component, fc.constant('**')), { minLength: 1, maxLength: 4 });
  const text = fc
    .array(fc.array(fc.constantFrom('a', 'b', '-', '.'), { maxLength: 4 }), {
      minLength: 1,
      maxLength: 4,
    })
    .map((parts) => parts.map((part) => part.join('')).join('/'));

  it('matches what its language says and nothing else, as long as it is accepted', () => {
    let accepted = 0;
    fc.assert(
      fc.property(path, fc.array(text, { minLength: 20, maxLength: 20 }), (components, texts) => {
        const glob = `r.io/${components.join('/')}`;
        let built: ImageGlob;
        try {
          built = new ImageGlob(glob, FULL);
        } catch (error) {
          expect(error).toBeInstanceOf(AllowlistPatternError);
          return;
        }
        accepted++;
        for (const tried of texts) {
          const name = `r.io/${tried}`;
          expect([glob, name, built.matches(name)]).toEqual([glob, name, oracle(glob, name)]);
        }
      }),
      { numRuns: 2000 },
    );
    expect(accepted).toBeGreaterThan(200);
  });

  it('is an error with a code for any text at all', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (glob) => {
        try {
          validateAllowlistImagesPatterns([{ glob }]);
        } catch (error) {
          expect(error).toBeInstanceOf(AllowlistPatternError);
          expect((error as AllowlistPatternError).pattern).toBe(glob);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

/** The language, read off its definition, with every partial result kept: no backtracking. */
function oracle(glob: string, text: string): boolean {
  const parts = text.split('/');
  if (parts.some((part) => part === '' || part === '.' || part === '..')) return false;
  const globs = glob.split('/');
  const known = new Map<string, boolean>();
  const rest = (g: number, t: number): boolean => {
    const key = `${g} ${t}`;
    let answer = known.get(key);
    if (answer === undefined) {
      if (g === globs.length) answer = t === parts.length;
      else if (globs[g] === '**') {
        const isLast = g === globs.length - 1;
        answer = isLast ? t < parts.length : rest(g + 1, t) || (t < parts.length && rest(g, t + 1));
      } else {
        answer = t < parts.length && isOne(globs[g]!, parts[t]!) && rest(g + 1, t + 1);
      }
      known.set(key, answer);
    }
    return answer;
  };
  return rest(0, 0);
}

/** Whether one component is what one component of a glob says. */
function isOne(glob: string, text: string): boolean {
  let ends = new Set([0]);
  for (const token of glob.match(/\{[^}]*\}|./g) ?? []) {
    const next = new Set<number>();
    for (const end of ends) {
      if (token === '*') for (let i = end; i <= text.length; i++) next.add(i);
      else if (token === '?') next.add(end + 1);
      else if (token.startsWith('{')) {
        for (const alternative of token.slice(1, -1).split(',')) {
          for (let i = end; i <= text.length; i++) {
            if (isOne(alternative, text.slice(end, i))) next.add(i);
          }
        }
      } else if (text.startsWith(token, end)) next.add(end + 1);
    }
    ends = new Set([...next].filter((end) => end <= text.length));
  }
  return ends.has(text.length);
}

describe('an entry that is a glob', () => {
  it.each([
    [[{}], 'patterns[0].glob'],
    [[{ glob: 5 }], 'patterns[0].glob'],
    [['a.io/b', { glob: undefined }], 'patterns[1].glob'],
    [[{ glob: 'a.io/*', not: 'a.io/b' }], 'patterns[0]'],
    [[['a.io/*']], 'patterns[0]'],
  ])('must have that form: %j', (entries, argument) => {
    expect(() => validateAllowlistImagesPatterns(entries as AllowlistEntry[])).toThrow(
      expect.objectContaining({ code: 'ERR_PULLMANAGER_INVALID_ARGUMENT', argument }),
    );
    expect(() => validateAllowlistImagesPatterns(entries as AllowlistEntry[])).toThrow(
      PullManagerError,
    );
  });

  it('is never read out of a plain entry', () => {
    for (const pattern of ['registry.io/team-*/app', 'registry.io/{a,b}', 'registry.io/a?']) {
      expect(() => validateAllowlistImagesPatterns([pattern])).toThrow(AllowlistPatternError);
    }
  });

  it('is copied, frozen, and rebuilt from a clone of its policy', () => {
    const entry = { glob: 'registry.io/team-*/app' };
    const made = neverVerifyAllowlistedPullPolicy(['a.io/b', entry], 'v1.36');
    entry.glob = 'registry.io/**';
    const { policy } = made;
    expect(policy).toEqual({
      kind: 'NeverVerifyAllowlistedImages',
      allowlist: ['a.io/b', { glob: 'registry.io/team-*/app' }],
    });
    const { allowlist } = policy as { allowlist: readonly AllowlistEntry[] };
    expect(Object.isFrozen(allowlist) && Object.isFrozen(allowlist[1])).toBe(true);
    const rebuilt = createImagePullCredentialVerificationPolicy(
      structuredClone(policy),
      made.compatibility,
    );
    for (const enforcer of [made, rebuilt]) {
      expect(enforcer.requireCredentialVerificationForImage('registry.io/team-a/app:1', true)).toBe(
        false,
      );
      expect(enforcer.requireCredentialVerificationForImage('registry.io/other', true)).toBe(true);
    }
  });
});

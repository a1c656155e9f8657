import fc from 'fast-check';
import picomatch from 'picomatch';
import { describe, expect, it } from 'vitest';
import { AllowlistPatternError, PullManagerError } from '../../src/errors.ts';
import { Allowlist, validateAllowlistImagesPatterns } from '../../src/policies/allowlist.ts';

function failureOf(pattern: string): AllowlistPatternError | undefined {
  try {
    validateAllowlistImagesPatterns([pattern]);
    return undefined;
  } catch (error) {
    expect(error).toBeInstanceOf(AllowlistPatternError);
    return error as AllowlistPatternError;
  }
}

const HEX64 = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';

describe('a pattern', () => {
  it.each([
    ['registry.io/team/app'],
    ['registry.io:5000/team/app'],
    ['registry.io:5000/team/*'],
    ['registry.io/*'],
    ['TEST.io/team/app'],
    ['localhost/app'],
    ['docker.io/library/ubuntu'],
    ['team/*'],
    ['https://registry.io/*'],
    ['registry.io/Bad Path/*'],
    [`docker.io/library/${HEX64}`],
  ])('is accepted: %s', (pattern) => {
    expect(failureOf(pattern)).toBeUndefined();
  });

  const space = 'leading or trailing white space is not allowed';
  const short = 'the pattern is too short';
  const stray = "a wildcard is allowed only at the end, as '/*'";
  const host = 'at least the registry host is required';
  const noName = 'not an image name';
  const notFull = 'must be a full image name, registry host included, without tag and digest';
  it.each([
    ['ubuntu', notFull],
    ['team/app', notFull],
    ['docker.io/ubuntu', notFull],
    ['index.docker.io/library/ubuntu', notFull],
    ['registry.io/team/app:v1', notFull],
    [`registry.io/team/app@sha256:${HEX64}`, notFull],
    [`registry.io/team/app:v1@sha256:${HEX64}`, notFull],
    ['registry.io/', noName],
    ['registry.io/Team/app', noName],
    [HEX64, noName],
    ['*', stray],
    ['registry.io/app*', stray],
    ['registry.io/*/app', stray],
    ['registry.io/*/*', stray],
    ['*.registry.io/app', stray],
    ['*.registry.io/*', stray],
    ['registry.io/**', stray],
    ['**', stray],
    ['/*', host],
    ['', short],
    [' registry.io/app', space],
    ['registry.io/app ', space],
    ['registry.io/* ', space],
    [' ', space],
    ['\t*', space],
  ])('is refused: %j, %s', (pattern, reason) => {
    const failure = failureOf(pattern);
    expect(failure?.pattern).toBe(pattern);
    expect(failure?.reason).toBe(reason);
    expect(failure?.code).toBe('ERR_PULLMANAGER_ALLOWLIST_PATTERN_INVALID');
  });

  // Go's unicode.IsSpace, not JavaScript's idea of white space.
  const spaces = [
    0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x20, 0x85, 0xa0, 0x1680, 0x2000, 0x2005, 0x200a, 0x2028, 0x2029,
    0x202f, 0x205f, 0x3000,
  ];
  it.each(spaces)('must not be surrounded by U+%i', (code) => {
    const character = String.fromCharCode(code);
    expect(failureOf(`${character}registry.io/*`)?.reason).toBe(space);
    expect(failureOf(`registry.io/a${character}`)?.reason).toBe(space);
  });

  it.each([0x08, 0x0e, 0x1f, 0x84, 0x86, 0x180e, 0x1fff, 0x200b, 0x2060, 0xfeff])(
    'is not trimmed of U+%i, which is no white space',
    (code) => {
      const character = String.fromCharCode(code);
      expect(failureOf(`${character}registry.io/*`)).toBeUndefined();
      expect(failureOf(`registry.io/a${character}`)?.reason).toBe(noName);
    },
  );

  it('has the error of the image name as its cause', () => {
    expect(failureOf('registry.io/Team/app')?.cause).toMatchObject({ reason: 'uppercase' });
  });
});

describe('a list of patterns', () => {
  it('may be empty', () => {
    expect(validateAllowlistImagesPatterns([])).toBeUndefined();
  });

  it('is refused for its first bad pattern', () => {
    const run = () => validateAllowlistImagesPatterns(['registry.io/*', 'ubuntu', '*']);
    expect(run).toThrow(expect.objectContaining({ pattern: 'ubuntu' }));
  });

  it.each([
    [undefined, 'patterns'],
    [null, 'patterns'],
    ['registry.io/*', 'patterns'],
    [{ 0: 'registry.io/*', length: 1 }, 'patterns'],
    [[null], 'patterns[0]'],
    [['registry.io/*', ['registry.io/*']], 'patterns[1]'],
  ])('must be an array of strings: %j', (patterns, argument) => {
    const run = () => validateAllowlistImagesPatterns(patterns as string[]);
    expect(run).toThrow(PullManagerError);
    expect(run).toThrow(
      expect.objectContaining({ code: 'ERR_PULLMANAGER_INVALID_ARGUMENT', argument }),
    );
  });
});

describe('matching', () => {
  const prefixes = ['registry.io/', 'registry.io/team/', 'registry.io:5000/a/', 'a.io/b-c/', 'x/'];
  const names = (
    'registry.io/a registry.io/a/b registry.io/team/app registry.io/team/x/y/z ' +
    'registry.io/teams/app registry.io:5000/a/b registry.io:5000/ab registry.iox/a ' +
    'a.io/b-c/d a.io/b-cd a.io/b/c x/y docker.io/x/y A.io/b-c/d'
  ).split(' ');

  it('of a prefix agrees with picomatch, asked for any depth', () => {
    for (const prefix of prefixes) {
      const allowlist = new Allowlist([`${prefix}*`]);
      const glob = picomatch(`${prefix}**`, { dot: true });
      for (const name of names)
        expect([name, allowlist.includes(name)]).toEqual([name, glob(name)]);
    }
  });

  it('of a prefix reaches deeper than the same text as a glob', () => {
    const allowlist = new Allowlist(['registry.io/*']);
    const glob = picomatch('registry.io/*');
    expect([allowlist.includes('registry.io/a'), glob('registry.io/a')]).toEqual([true, true]);
    expect([allowlist.includes('registry.io/a/b'), glob('registry.io/a/b')]).toEqual([true, false]);
  });

  it('of a prefix leaves out its own folder, unlike a glob for any depth', () => {
    const allowlist = new Allowlist(['a.io/b/*']);
    const glob = picomatch('a.io/b/**', { dot: true });
    expect([allowlist.includes('a.io/b'), glob('a.io/b')]).toEqual([false, true]);
  });

  it.each([
    ['registry.io/{a,b}/*'],
    ['registry.io/@(a|b)/*'],
    ['!registry.io/*'],
    ['registry.?o/*'],
  ])('takes no character but the final wildcard as special: %s', (pattern) => {
    const allowlist = new Allowlist([pattern]);
    expect(allowlist.includes('registry.io/a/x')).toBe(false);
    expect(allowlist.includes('other.io/a/x')).toBe(false);
  });

  it('of an empty list finds nothing', () => {
    expect(new Allowlist([]).includes('undefined')).toBe(false);
  });

  const segment = fc.constantFrom('a', 'b', 'a-b', 'ab', 'a.b', 'b0');
  const path = fc.array(segment, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));

  it('equals trying every pattern in turn', () => {
    const exactNames = fc.array(path, { maxLength: 5 });
    const prefixPaths = fc.array(path, { maxLength: 8 });
    fc.assert(
      fc.property(exactNames, prefixPaths, path, (exact, prefixed, tried) => {
        const patterns = [...exact.map((p) => `r.io/${p}`), ...prefixed.map((p) => `r.io/${p}/*`)];
        const name = `r.io/${tried}`;
        const wanted = patterns.some((pattern) =>
          pattern.endsWith('/*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern,
        );
        expect(new Allowlist(patterns).includes(name)).toBe(wanted);
      }),
      { numRuns: 5000 },
    );
  });
});

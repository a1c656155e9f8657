import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ImageNameError, type ImageNameErrorReason, PullManagerError } from '../../src/errors.ts';
import {
  normalizedImageName,
  parseImageName,
  trimImageTagDigest,
} from '../../src/images/image-name.ts';

const EMPTY_SHA256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
const EMPTY_DIGEST = `sha256:${EMPTY_SHA256}`;
const ABC_SHA256 = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';

type Answer =
  | { name: string; tag: string; digest: string }
  | { reason: ImageNameErrorReason; cause: string };

function answerOf(image: string): Answer {
  try {
    return parseImageName(image);
  } catch (error) {
    const { reason, message } = errorOf(error);
    const separator = message.indexOf(': ', image.length > 120 ? 140 : image.length);
    return { reason, cause: message.slice(separator + 2) };
  }
}

function errorOf(error: unknown): ImageNameError {
  expect(error).toBeInstanceOf(ImageNameError);
  return error as ImageNameError;
}

function reasonOf(image: string): ImageNameErrorReason | undefined {
  try {
    parseImageName(image);
    return undefined;
  } catch (error) {
    return errorOf(error).reason;
  }
}

/** One answer of the reference's own parser. The tag is as written: no default. */
interface RecordedAnswer {
  in: string;
  name?: string;
  tag?: string;
  digest?: string;
  error?: string;
}

function recordedAnswers(): RecordedAnswer[] {
  const url = new URL('../fixtures/image-names.jsonl', import.meta.url);
  const lines = readFileSync(url, 'utf8').split('\n');
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as RecordedAnswer);
}

/** The reason for each of the reference's error texts. */
function reasonOfCause(cause: string): ImageNameErrorReason {
  if (cause.includes('cannot specify 64-byte hexadecimal strings')) return 'hex64';
  if (cause.includes('must be lowercase')) return 'uppercase';
  const reasons: Record<string, ImageNameErrorReason> = {
    'invalid reference format': 'format',
    'repository name must not be more than 255 characters': 'too-long',
    'unsupported digest algorithm': 'digest-algorithm',
    'invalid checksum digest length': 'digest-length',
    'invalid checksum digest format': 'digest-format',
  };
  const reason = reasons[cause];
  if (reason === undefined) throw new Error(`no reason for ${cause}`);
  return reason;
}

describe('the answers of the reference parser', () => {
  const answers = recordedAnswers();

  it('are all there', () => {
    expect(answers).toHaveLength(1680);
  });

  it('are given for every recorded name', () => {
    const wrong: unknown[] = [];
    for (const { in: image, name, tag, digest, error } of answers) {
      const got = answerOf(image);
      const wanted =
        error === undefined
          ? { name, tag: tag ?? (digest === undefined ? 'latest' : ''), digest: digest ?? '' }
          : { reason: reasonOfCause(error), cause: error };
      if (JSON.stringify(got) !== JSON.stringify(wanted)) wrong.push({ image, got, wanted });
    }
    expect(wrong).toEqual([]);
  });
});

describe('the table of the specification', () => {
  const names: [image: string, name: string, tag: string, digest: string, asTyped: string][] = [
    ['ubuntu', 'docker.io/library/ubuntu', 'latest', '', 'ubuntu'],
    ['ubuntu:22.04', 'docker.io/library/ubuntu', '22.04', '', 'ubuntu'],
    [`ubuntu@${EMPTY_DIGEST}`, 'docker.io/library/ubuntu', '', EMPTY_DIGEST, 'ubuntu'],
    [`ubuntu:22.04@${EMPTY_DIGEST}`, 'docker.io/library/ubuntu', '22.04', EMPTY_DIGEST, 'ubuntu'],
    ['library/ubuntu', 'docker.io/library/ubuntu', 'latest', '', 'library/ubuntu'],
    ['docker.io/ubuntu', 'docker.io/library/ubuntu', 'latest', '', 'docker.io/ubuntu'],
    [
      'docker.io/library/ubuntu',
      'docker.io/library/ubuntu',
      'latest',
      '',
      'docker.io/library/ubuntu',
    ],
    ['index.docker.io/ubuntu:1', 'docker.io/library/ubuntu', '1', '', 'index.docker.io/ubuntu'],
    ['index.docker.io/user/repo', 'docker.io/user/repo', 'latest', '', 'index.docker.io/user/repo'],
    [
      'registry-1.docker.io/library/ubuntu',
      'registry-1.docker.io/library/ubuntu',
      'latest',
      '',
      'registry-1.docker.io/library/ubuntu',
    ],
    ['user/repo', 'docker.io/user/repo', 'latest', '', 'user/repo'],
    ['docker.io/library', 'docker.io/library/library', 'latest', '', 'docker.io/library'],
    ['docker.io', 'docker.io/library/docker.io', 'latest', '', 'docker.io'],
    ['localhost', 'docker.io/library/localhost', 'latest', '', 'localhost'],
    ['localhost:5000', 'docker.io/library/localhost', '5000', '', 'localhost'],
    ['localhost/x', 'localhost/x', 'latest', '', 'localhost/x'],
    ['localhost:5000/x', 'localhost:5000/x', 'latest', '', 'localhost:5000/x'],
    ['myhost/x', 'docker.io/myhost/x', 'latest', '', 'myhost/x'],
    ['myhost:80/x', 'myhost:80/x', 'latest', '', 'myhost:80/x'],
    ['myhost:80', 'docker.io/library/myhost', '80', '', 'myhost'],
    ['MyHost/x', 'MyHost/x', 'latest', '', 'MyHost/x'],
    ['DOCKER.IO/ubuntu', 'DOCKER.IO/ubuntu', 'latest', '', 'DOCKER.IO/ubuntu'],
    ['User/repo', 'User/repo', 'latest', '', 'User/repo'],
    ['docker.io:443/ubuntu', 'docker.io:443/ubuntu', 'latest', '', 'docker.io:443/ubuntu'],
    ['127.0.0.1:5000/x/y', '127.0.0.1:5000/x/y', 'latest', '', '127.0.0.1:5000/x/y'],
    ['[::1]:5000/x:1', '[::1]:5000/x', '1', '', '[::1]:5000/x'],
    ['gcr.io/a/b/c:3.1', 'gcr.io/a/b/c', '3.1', '', 'gcr.io/a/b/c'],
    ['a_b.c/x', 'a_b.c/x', 'latest', '', 'a_b.c/x'],
    ['foo.bar:1', 'docker.io/library/foo.bar', '1', '', 'foo.bar'],
    ['a__b', 'docker.io/library/a__b', 'latest', '', 'a__b'],
    ['a--b', 'docker.io/library/a--b', 'latest', '', 'a--b'],
    ['ubuntu:Latest', 'docker.io/library/ubuntu', 'Latest', '', 'ubuntu'],
    [`ubuntu:${'t'.repeat(128)}`, 'docker.io/library/ubuntu', 't'.repeat(128), '', 'ubuntu'],
    [EMPTY_DIGEST, 'docker.io/library/sha256', EMPTY_SHA256, '', 'sha256'],
    [`${ABC_SHA256}:tag`, `docker.io/library/${ABC_SHA256}`, 'tag', '', ABC_SHA256],
    [
      `docker.io/${ABC_SHA256}`,
      `docker.io/library/${ABC_SHA256}`,
      'latest',
      '',
      `docker.io/${ABC_SHA256}`,
    ],
    ['a'.repeat(247), `docker.io/library/${'a'.repeat(247)}`, 'latest', '', 'a'.repeat(247)],
    [
      `example.com/${'a'.repeat(255)}`,
      `example.com/${'a'.repeat(255)}`,
      'latest',
      '',
      `example.com/${'a'.repeat(255)}`,
    ],
    [
      'docker.io/taghere/image:taghere',
      'docker.io/taghere/image',
      'taghere',
      '',
      'docker.io/taghere/image',
    ],
  ];
  it.each(names)('%s is %s', (image, name, tag, digest, asTyped) => {
    expect(parseImageName(image)).toEqual({ name, tag, digest });
    expect(normalizedImageName(image)).toBe(name);
    expect(trimImageTagDigest(image)).toBe(asTyped);
  });

  const errors: [image: string, reason: ImageNameErrorReason][] = [
    ['[fe80::1%eth0]/x', 'format'],
    ['a___b', 'format'],
    ['a..b', 'format'],
    ['a_', 'format'],
    ['Ubuntu', 'uppercase'],
    ['user/Repo', 'uppercase'],
    ['ubuntu:', 'format'],
    ['ubuntu:-x', 'format'],
    [`ubuntu:${'t'.repeat(129)}`, 'format'],
    ['ubuntu@sha256:e3b0', 'format'],
    [`ubuntu@${EMPTY_DIGEST.slice(0, -1)}`, 'digest-length'],
    [`ubuntu@sha256:${EMPTY_SHA256.toUpperCase()}`, 'digest-format'],
    [`ubuntu@SHA256:${EMPTY_SHA256}`, 'uppercase'],
    ['ubuntu@sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709', 'digest-algorithm'],
    [ABC_SHA256, 'hex64'],
    ['https://example.com/x', 'format'],
    ['foo/', 'format'],
    ['/foo', 'format'],
    ['foo//bar', 'format'],
    ['', 'format'],
    [' ubuntu', 'format'],
    ['ubuntu*', 'format'],
    ['a'.repeat(248), 'too-long'],
    [`example.com/${'a'.repeat(256)}`, 'too-long'],
    ['example.com/User/repo', 'uppercase'],
    ['myhost:port/x', 'format'],
  ];
  it.each(errors)('%s is an error: %s', (image, reason) => {
    expect(reasonOf(image)).toBe(reason);
    for (const parse of [normalizedImageName, trimImageTagDigest]) {
      expect(() => parse(image)).toThrow(ImageNameError);
    }
  });
});

describe('hosts', () => {
  it.each([
    ['[]/x'],
    ['[]:80/x'],
    ['[a]b/x'],
    ['[a/x'],
    ['[a]:/x'],
    ['a.:80/x'],
    ['-a.b/x'],
    ['a-.b/x'],
    ['a.-b/x'],
    ['a.b-/x'],
    ['a..b/x'],
    ['.a/x'],
    [':80/x'],
    ['a.b:/x'],
    ['a.b:8x/x'],
    ['a.b:8:0/x'],
  ])('are refused: %s', (image) => {
    expect(reasonOf(image)).toBe('format');
  });

  it.each([['[a:]/x'], ['[:]/x'], ['[aF:9]:080/x'], ['a--b.c/x'], ['9.9/x'], ['A-B:1/x']])(
    'are kept as typed: %s',
    (image) => {
      expect(normalizedImageName(image)).toBe(image);
    },
  );
});

describe('digests', () => {
  it.each([
    ['sha256', 64],
    ['sha384', 96],
    ['sha512', 128],
  ])('%s has exactly %i digits', (algorithm, length) => {
    const digest = `${algorithm}:${'0'.repeat(length)}`;
    expect(parseImageName(`x@${digest}`).digest).toBe(digest);
    expect(reasonOf(`x@${digest}0`)).toBe('digest-length');
    expect(reasonOf(`x@${digest.slice(0, -1)}`)).toBe('digest-length');
  });

  it('have at least 32 digits to count as digests at all', () => {
    expect(reasonOf(`x@sha256:${'0'.repeat(31)}`)).toBe('format');
    expect(reasonOf(`x@sha256:${'0'.repeat(32)}`)).toBe('digest-length');
  });

  it('with capitals in the algorithm are malformed where a tag shields them', () => {
    expect(reasonOf(`x:1@Md5:${'0'.repeat(32)}`)).toBe('digest-format');
    expect(reasonOf(`x@Md5:${'0'.repeat(32)}`)).toBe('uppercase');
  });

  it('do not make a name of 64 digits an identifier', () => {
    expect(trimImageTagDigest(`${ABC_SHA256}@${EMPTY_DIGEST}`)).toBe(ABC_SHA256);
  });
});

describe('errors', () => {
  it('carry the image, the code and the text of the reference', () => {
    const error = errorThrownBy(() => parseImageName('Ubuntu'));
    expect(error.code).toBe('ERR_PULLMANAGER_IMAGE_NAME_INVALID');
    expect(error.image).toBe('Ubuntu');
    expect(error.message).toBe(
      'couldn\'t parse image name "Ubuntu": ' +
        'invalid reference format: repository name (library/Ubuntu) must be lowercase',
    );
  });

  it('show no control characters and stay short', () => {
    const { message } = errorThrownBy(() => parseImageName(`A\n\u001b[31m${'x'.repeat(1e5)}`));
    expect(message).not.toMatch(/\p{Cc}/u);
    expect(message.length).toBeLessThan(1000);
  });

  it.each([[undefined], [null], [7], [{}], [['ubuntu']], [new String('ubuntu')]])(
    'name the argument where it is no string: %o',
    (value) => {
      for (const parse of [parseImageName, normalizedImageName, trimImageTagDigest]) {
        const error = pullManagerErrorThrownBy(() => parse(value as string));
        expect(error.code).toBe('ERR_PULLMANAGER_INVALID_ARGUMENT');
        expect(error.argument).toBe('image');
      }
    },
  );
});

function pullManagerErrorThrownBy(run: () => unknown): PullManagerError {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(PullManagerError);
    return error as PullManagerError;
  }
  throw new Error('nothing was thrown');
}

function errorThrownBy(run: () => unknown): ImageNameError {
  return errorOf(pullManagerErrorThrownBy(run));
}

describe('Unicode', () => {
  it.each<[string, ImageNameErrorReason]>([
    ['\u00e9', 'format'],
    ['\u00c9', 'uppercase'],
    ['\u00c9/x', 'format'],
    ['x\u{1f600}', 'format'],
    ['x\u0000', 'format'],
    ['x\n', 'format'],
    ['x:1\n', 'format'],
    ['\ud800', 'format'],
    ['\ufeffx', 'format'],
    // The Kelvin sign and the dotted capital I are the capitals of ASCII letters.
    ['\u212a', 'uppercase'],
    ['\u212a/x', 'uppercase'],
    ['x:\u212a', 'uppercase'],
    ['\u0130/x', 'uppercase'],
    ['x:\u0130', 'uppercase'],
    ['\u0131/x', 'format'],
    ['A_b/c', 'uppercase'],
  ])('%j is an error: %s', (image, reason) => {
    expect(reasonOf(image)).toBe(reason);
  });
});

describe('hostile input', () => {
  const million = 1_000_000;
  it.each<[string, string, ImageNameErrorReason | undefined]>([
    ['one component', 'a'.repeat(million), 'too-long'],
    ['dashes', `a${'-'.repeat(million)}`, 'format'],
    ['separators', 'a-'.repeat(million / 2), 'format'],
    ['underscores', 'a_'.repeat(million / 2), 'format'],
    ['slashes', '/'.repeat(million), 'format'],
    ['components', `${'a/'.repeat(million / 2)}a`, 'too-long'],
    ['host labels', `${'a.'.repeat(million / 2)}a/x`, undefined],
    ['host dashes', `a.${'-'.repeat(million)}/x`, 'format'],
    ['a port', `a:${'1'.repeat(million)}/x`, undefined],
    ['brackets', `[${':'.repeat(million)}/x`, 'format'],
    ['a tag', `x:${'t'.repeat(million)}`, 'format'],
    ['a digest', `x@sha256:${'a'.repeat(million)}`, 'digest-length'],
    ['an algorithm', `x@${'a.'.repeat(million / 2)}`, 'format'],
    ['capitals', 'A'.repeat(million), 'uppercase'],
    ['NUL', '\0'.repeat(million), 'format'],
    ['emoji', '\u{1f600}'.repeat(million / 2), 'format'],
    ['lone surrogates', '\ud800'.repeat(million), 'format'],
  ])('of a million characters is answered in linear time: %s', (_name, image, reason) => {
    const startMs = performance.now();
    expect(reasonOf(image)).toBe(reason);
    // Quadratic work on a million characters takes minutes.
    expect(performance.now() - startMs).toBeLessThan(2000);
  });
});

// A second implementation, by the regular expressions of the reference.
const ALNUM = '[a-z0-9]+';
const COMPONENT = `${ALNUM}(?:(?:[._]|__|[-]+)${ALNUM})*`;
const LABEL = '(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])';
const DOMAIN = `(?:${LABEL}(?:\\.${LABEL})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?`;
const PATH = `${COMPONENT}(?:/${COMPONENT})*`;
const TAG = '[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}';
const DIGEST = '[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}';
const REFERENCE_RE = new RegExp(`^((?:${DOMAIN}/)?${PATH})(?::(${TAG}))?(?:@(${DIGEST}))?$`);
const NAME_RE = new RegExp(`^(?:(${DOMAIN})/)?(${PATH})$`);

function lowerCase(text: string): string {
  return Array.from(text, (c) => (c === '\u0130' ? 'i' : c.toLowerCase())).join('');
}

function splitByReference(image: string): [domain: string, rest: string] {
  const slash = image.indexOf('/');
  if (slash === -1) return ['docker.io', `library/${image}`];
  const left = image.slice(0, slash);
  let [domain, rest] = ['docker.io', image];
  if (left === 'index.docker.io') rest = image.slice(slash + 1);
  else if (left === 'localhost' || /[.:]/.test(left) || lowerCase(left) !== left) {
    [domain, rest] = [left, image.slice(slash + 1)];
  }
  if (domain === 'docker.io' && !rest.includes('/')) rest = `library/${rest}`;
  return [domain, rest];
}

function answerByReference(image: string): Answer | ImageNameErrorReason {
  if (/^[a-f0-9]{64}$/.test(image)) return 'hex64';
  const [domain, rest] = splitByReference(image);
  const remote = rest.split(':', 1)[0]!;
  if (lowerCase(remote) !== remote) return 'uppercase';
  const text = `${domain}/${rest}`;
  const match = REFERENCE_RE.exec(text);
  if (match === null) return REFERENCE_RE.test(lowerCase(text)) ? 'uppercase' : 'format';
  const [, name = '', tag = '', digest = ''] = match;
  if (NAME_RE.exec(name)![2]!.length > 255) return 'too-long';
  if (digest !== '') {
    const [algorithm = '', hex = ''] = digest.split(':');
    const length = { sha256: 64, sha384: 96, sha512: 128 }[algorithm];
    if (length === undefined) return /[A-Z]/.test(algorithm) ? 'digest-format' : 'digest-algorithm';
    if (hex.length !== length) return 'digest-length';
    if (/[A-F]/.test(hex)) return 'digest-format';
  }
  return { name, tag: tag === '' && digest === '' ? 'latest' : tag, digest };
}

const fragment = fc.oneof(
  fc.constantFrom(...'a b9 Z 0 . - -- _ __ ___ : / @ [ ] :: +'.split(' ')),
  fc.constantFrom('localhost', 'docker.io', 'index.docker.io', 'library', 'registry.io:5000'),
  fc.constantFrom('[::1]:80', 'sha256', 'SHA256', 'sha384', 'sha512', 'md5', 'sha256+b64'),
  fc.constantFrom('a'.repeat(32), 'f'.repeat(64), 'F'.repeat(64), 'c'.repeat(96), 'd'.repeat(128)),
  fc.constantFrom('t'.repeat(127), 'z'.repeat(247), 'z'.repeat(255), 'latest', 'a_b.c', ':tag'),
  fc.constantFrom(`@sha256:${'a'.repeat(64)}`, `@sha512:${'a'.repeat(128)}`),
  fc.constantFrom(
    '\u212a',
    '\u0130',
    '\u00e9',
    '\u00c9',
    '\u{1f600}',
    '\ud83d',
    '\0',
    '\n',
    ' ',
    '*',
  ),
);
const fragments = fc.array(fragment, { maxLength: 8 }).map((parts) => parts.join(''));
const wellFormed = fc
  .tuple(
    fc.constantFrom('', '', 'docker.io/', 'index.docker.io/', 'a.b:1/', 'Host/', 'a_b.c/', '[::]/'),
    fc.stringMatching(new RegExp(`^${PATH}$`)),
    fc.oneof(fc.constant(''), fc.stringMatching(new RegExp(`^:${TAG}$`))),
    fc.oneof(
      fc.constant(''),
      fc.stringMatching(new RegExp(`^@${DIGEST}$`)),
      fc.stringMatching(/^@sha256:[0-9a-f]{64}$/),
    ),
  )
  .map((parts) => parts.join(''));
const anyImage = fc.oneof(
  { arbitrary: fragments, weight: 5 },
  { arbitrary: wellFormed, weight: 4 },
  { arbitrary: fc.string({ unit: 'binary' }), weight: 1 },
);

describe('any text', () => {
  it('gets the answer of the regular expressions', () => {
    fc.assert(
      fc.property(anyImage, (image) => {
        const wanted = answerByReference(image);
        if (typeof wanted === 'string') expect(reasonOf(image)).toBe(wanted);
        else expect(parseImageName(image)).toEqual(wanted);
      }),
      { numRuns: 20_000 },
    );
  });

  it('that is a name has a normalised name that is its own normalised name', () => {
    fc.assert(
      fc.property(wellFormed, (image) => {
        fc.pre(reasonOf(image) === undefined);
        const name = normalizedImageName(image);
        expect(parseImageName(name)).toEqual({ name, tag: 'latest', digest: '' });
        expect(trimImageTagDigest(name)).toBe(name);
      }),
      { numRuns: 5000 },
    );
  });

  it('that is a name keeps its normalised name when tag and digest are trimmed', () => {
    fc.assert(
      fc.property(wellFormed, (image) => {
        fc.pre(reasonOf(image) === undefined);
        const trimmed = trimImageTagDigest(image);
        expect(image.startsWith(trimmed)).toBe(true);
        fc.pre(!/^[0-9a-f]{64}$/.test(trimmed));
        expect(normalizedImageName(trimmed)).toBe(normalizedImageName(image));
      }),
      { numRuns: 5000 },
    );
  });
});

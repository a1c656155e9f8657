import { Buffer } from 'node:buffer';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  CREDENTIAL_LENGTH_MAX,
  checkUsable,
  DOCKER_CONFIG_BYTES_MAX,
  type DockerConfigForm,
  decodeBase64,
  PULL_SECRET_BYTES_MAX,
  parseDockerConfig,
} from '../../src/credentials/docker-config.ts';
import { JsonInputError } from '../../src/credentials/json-input.ts';

const SECRET = 's3cr3t-value';

function parse(document: unknown, form: DockerConfigForm = 'config.json', isTrusted = false) {
  const text = typeof document === 'string' ? document : JSON.stringify(document);
  return parseDockerConfig(Buffer.from(text), form, { isTrusted });
}

/** The only entry of `auths`, as an ordinary object. */
function entry(value: unknown): Record<string, unknown> {
  return { ...parse({ auths: { 'reg.io': value } }).entries[0]!.auth };
}

function reasonOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(JsonInputError);
    return (error as JsonInputError).reason;
  }
  throw new Error('was accepted');
}

const base64 = (text: string) => Buffer.from(text).toString('base64');

describe('a docker config', () => {
  it('has users and passwords, as they are or as base64', () => {
    expect(entry({ username: 'u', password: 'p' })).toEqual({ username: 'u', password: 'p' });
    expect(entry({ auth: base64('u:p') })).toEqual({ username: 'u', password: 'p' });
    expect(entry({ auth: base64('u:p').replace(/=+$/, '') })).toEqual({
      username: 'u',
      password: 'p',
    });
  });

  it('splits auth at the first colon', () => {
    expect(entry({ auth: base64('u:p:q') })).toEqual({ username: 'u', password: 'p:q' });
    expect(entry({ auth: base64(':p') })).toEqual({ password: 'p' });
    expect(entry({ auth: base64('u:') })).toEqual({ username: 'u' });
  });

  it('prefers auth to user and password, and keeps the email', () => {
    const value = { auth: base64('u:p'), username: 'x', password: 'y', email: 'a@b.c' };
    expect(entry(value)).toEqual({ username: 'u', password: 'p', email: 'a@b.c' });
  });

  it('takes null for a missing value, and fields in any letter case', () => {
    expect(entry(null)).toEqual({});
    expect(entry({ Username: 'u', PASSWORD: 'p', auth: null })).toEqual({
      username: 'u',
      password: 'p',
    });
    expect(parse({ Auths: { 'reg.io': {} } }).entries).toHaveLength(1);
    expect(parse({ auths: null }).entries).toEqual([]);
    expect(parse('null').entries).toEqual([]);
  });

  it('has the entries at the top in the older form', () => {
    const { entries } = parse({ 'reg.io': { auth: base64('u:p') } }, 'dockercfg');
    expect(entries.map(({ location, path }) => [location, path()])).toEqual([
      ['reg.io', 'it["reg.io"]'],
    ]);
  });

  it('decodes whatever pair of texts was encoded', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme' }).filter((text) => !text.includes(':')),
        fc.string({ unit: 'grapheme' }),
        fc.boolean(),
        (username, password, isPadded) => {
          const auth = base64(`${username}:${password}`);
          const { username: user = '', password: pass = '' } = entry({
            auth: isPadded ? auth : auth.replace(/=+$/, ''),
          });
          expect([user, pass]).toEqual([username, password]);
        },
      ),
    );
  });

  const malformed: readonly (readonly [name: string, document: unknown, reason: string])[] = [
    ['no JSON', `{"auths": {"reg.io": {"password": "${SECRET}"`, 'it is not JSON'],
    ['nothing at all', '', 'it is not JSON'],
    ['more behind the end', '{} x', 'it is not JSON'],
    ['a byte order mark', '\ufeff{}', 'it is not JSON'],
    ['a list', [], 'it must be an object'],
    ['a text', JSON.stringify(SECRET), 'it must be an object'],
    ['auths that are a list', { auths: [] }, 'auths must be an object'],
    ['auths that are a text', { auths: SECRET }, 'auths must be an object'],
    [
      'an entry that is a text',
      { auths: { 'reg.io': SECRET } },
      'auths["reg.io"] must be an object',
    ],
    [
      'a password that is a number',
      { auths: { 'reg.io': { password: 12345 } } },
      'auths["reg.io"].password must be a string',
    ],
    [
      'auth that is no base64',
      { auths: { a: {}, 'reg.io': { auth: `!${SECRET}` } } },
      'auths["reg.io"].auth is not base64',
    ],
    [
      'auth without a colon',
      { auths: { 'reg.io': { auth: base64(SECRET) } } },
      'auths["reg.io"].auth is not base64 of user:password',
    ],
    [
      'auth that is no UTF-8',
      { auths: { 'reg.io': { auth: Buffer.from([0x75, 0x3a, 0xff]).toString('base64') } } },
      'auths["reg.io"].auth is not base64 of UTF-8',
    ],
    [
      'a password in the location',
      { auths: { [`https://user:${SECRET}@reg.io`]: { auth: '!' } } },
      'auths["…@reg.io"].auth is not base64',
    ],
  ];

  for (const [name, document, reason] of malformed) {
    it(`is refused with ${name}, by its place and without its values`, () => {
      expect(reasonOf(() => parse(document))).toBe(reason);
    });
  }

  it('is refused where it is not UTF-8', () => {
    const bytes = Buffer.from([0x7b, 0xff, 0x7d]);
    const reason = reasonOf(() => parseDockerConfig(bytes, 'config.json', { isTrusted: false }));
    expect(reason).toBe('it is not UTF-8');
  });

  it('has a limit of bytes', () => {
    const fill = (size: number) => `{}${' '.repeat(size - 2)}`;
    for (const [isTrusted, bytesMax] of [
      [true, DOCKER_CONFIG_BYTES_MAX],
      [false, PULL_SECRET_BYTES_MAX],
    ] as const) {
      expect(parse(fill(bytesMax), 'config.json', isTrusted).entries).toEqual([]);
      const reason = reasonOf(() => parse(fill(bytesMax + 1), 'config.json', isTrusted));
      expect(reason).toBe(`it has more than ${bytesMax} bytes`);
    }
  });

  it('is not led astray by names that objects have', () => {
    const document =
      '{"auths":{"__proto__":{"username":"u"},"constructor":{"auth":"dTpw"}},"__proto__":{"auths":{"x":{}}}}';
    expect(parse(document).entries.map(({ location }) => location)).toEqual([
      '__proto__',
      'constructor',
    ]);
    expect(entry(JSON.parse('{"__proto__":{"username":"u"}}'))).toEqual({});
  });

  it('is refused, not overflowed, however deep it nests', () => {
    const depth = 500_000;
    const deep = `{"auths":{"reg.io":{"auth":${'['.repeat(depth)}${']'.repeat(depth)}}}}`;
    expect(reasonOf(() => parse(deep))).toBe('auths["reg.io"].auth must be a string');
  });

  it('works with ten thousand entries', () => {
    const auths = Object.fromEntries(
      Array.from({ length: 10_000 }, (_, i) => [`reg-${i}.io`, { auth: base64(`u${i}:p`) }]),
    );
    expect(parse({ auths }).entries).toHaveLength(10_000);
  });

  it('has helpers and tokens only where it is trusted', () => {
    const document = {
      auths: { 'reg.io': { identitytoken: 'i', registrytoken: 'r', username: 'u' } },
      credHelpers: { 'gcr.io': 'gcloud' },
      credsStore: 'desktop',
    };
    const own = parse(document, 'config.json', true);
    expect(own.helpers).toEqual([['gcr.io', 'gcloud']]);
    expect(own.defaultHelper).toBe('desktop');
    expect({ ...own.entries[0]!.auth }).toEqual({
      username: 'u',
      identityToken: 'i',
      registryToken: 'r',
    });
    const tenants = parse(document);
    expect(tenants.helpers).toEqual([]);
    expect(tenants.defaultHelper).toBe('');
    expect({ ...tenants.entries[0]!.auth }).toEqual({ username: 'u' });
  });

  it('does not let the name of a helper lead elsewhere', () => {
    for (const helper of ['../evil', 'a/b', '-x', 'a b', 'a\0b', '.']) {
      const reason = reasonOf(() =>
        parse({ credHelpers: { 'reg.io': helper } }, 'config.json', true),
      );
      expect(reason).toBe('credHelpers["reg.io"] is not the name of a credential helper');
    }
  });

  it('does not show what it holds when it is printed', () => {
    const config = parse({ auths: { 'reg.io': { username: 'u', password: SECRET } } });
    expect(inspect(config, { depth: 9, showHidden: true })).not.toContain(SECRET);
    expect(JSON.stringify(config)).not.toContain(SECRET);
    expect(JSON.stringify(config)).toContain('[redacted]');
    expect(config.entries[0]!.auth.password).toBe(SECRET);
  });
});

describe('base64', () => {
  /** RFC 4648 by arithmetic on characters, line breaks skipped; `undefined` where it is none. */
  function independent(text: string): string | undefined {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
    const digits = Array.from(text).filter((c) => c !== '\n' && c !== '\r');
    const end = digits.indexOf('=');
    const padding = end === -1 ? [] : digits.splice(end);
    if (padding.some((c) => c !== '=') || digits.some((c) => !alphabet.includes(c)))
      return undefined;
    const over = digits.length % 4;
    if (over === 1 || (padding.length > 0 && (over === 0 || padding.length !== 4 - over))) {
      return undefined;
    }
    const bits = digits.map((c) => alphabet.indexOf(c).toString(2).padStart(6, '0')).join('');
    const bytes = bits.match(/[01]{8}/g) ?? [];
    return Buffer.from(bytes.map((byte) => Number.parseInt(byte, 2))).toString('hex');
  }

  it('agrees with an independent decoder on what is base64 and what is not', () => {
    const text = fc.string({
      unit: fc.constantFrom('A', 'b', '9', '+', '/', '=', '=', '\n', '\r', ' ', '-', '_', 'é'),
      maxLength: 12,
    });
    fc.assert(
      fc.property(text, (given) => {
        expect(decodeBase64(given)?.toString('hex')).toBe(independent(given));
      }),
      { numRuns: 20_000 },
    );
  });
});

describe('a credential', () => {
  const cases: readonly (readonly [name: string, value: string])[] = [
    ['a NUL', 'a\0b'],
    ['a line feed', 'a\n'],
    ['a carriage return', 'a\r'],
    ['an escape', '\u001b[31m'],
    ['a delete', 'a\u007f'],
  ];
  for (const [name, value] of cases) {
    it(`is refused with ${name} in it`, () => {
      for (const field of ['username', 'password', 'identityToken']) {
        const reason = reasonOf(() => checkUsable({ [field]: value }, 'auths["reg.io"]'));
        expect(reason).toBe(
          `the ${field} of auths["reg.io"] has a control character, for example a line break`,
        );
      }
    });
  }

  it('has a limit of length', () => {
    checkUsable({ password: 'x'.repeat(CREDENTIAL_LENGTH_MAX) }, 'it');
    const reason = reasonOf(() =>
      checkUsable({ password: 'x'.repeat(CREDENTIAL_LENGTH_MAX + 1) }, 'it'),
    );
    expect(reason).toBe('the password of it has more than 65536 characters');
    expect(reasonOf(() => checkUsable({ username: 'x'.repeat(2 ** 20) }, 'it'))).toContain(
      'username',
    );
  });

  it('may have any other characters', () => {
    checkUsable({ username: 'pässwörd:日本😀', password: '"<>&\\' }, 'it');
  });
});

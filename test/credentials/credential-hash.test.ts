import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { credentialHash } from '../../src/credentials/credential-hash.ts';
import type { RegistryAuth } from '../../src/credentials/pull-credential.ts';

/** A second encoder, byte by byte over the UTF-8, sharing nothing with the first. */
function goEncoded(value: string): string {
  const shortEscapes = new Map([
    [0x08, '\\b'],
    [0x09, '\\t'],
    [0x0a, '\\n'],
    [0x0c, '\\f'],
    [0x0d, '\\r'],
    [0x22, '\\"'],
    [0x5c, '\\\\'],
  ]);
  let encoded = '"';
  for (const character of Buffer.from(value, 'utf8').toString('utf8')) {
    const point = character.codePointAt(0)!;
    const isEscaped = point < 0x20 || [0x3c, 0x3e, 0x26, 0x2028, 0x2029].includes(point);
    const long = `\\u${point.toString(16).padStart(4, '0')}`;
    encoded += shortEscapes.get(point) ?? (isEscaped ? long : character);
  }
  return `${encoded}"`;
}

function expectedHash(auth: RegistryAuth): string {
  const fields = [
    'username',
    'password',
    'auth',
    'email',
    'serverAddress',
    'identityToken',
    'registryToken',
  ] as const;
  const members = fields
    .filter((field) => (auth[field] ?? '') !== '')
    .map((field) => `${goEncoded(field.toLowerCase())}:${goEncoded(auth[field]!)}`);
  return createHash('sha256')
    .update(`{${members.join(',')}}`, 'utf8')
    .digest('hex');
}

describe('credentialHash', () => {
  it('is the known hash of a user and password', () => {
    expect(credentialHash({ username: 'user', password: 'password' })).toBe(
      'a55436fc140d516560d072c5fe8700385ce9f41629abf65c1edcbcb39fac691d',
    );
  });

  it('is the hash of an empty object where there is no field', () => {
    const empty = '44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a';
    expect(credentialHash({})).toBe(empty);
    expect(credentialHash({ username: '', password: '' })).toBe(empty);
  });

  it('does not depend on the order in which fields were set, nor on other fields', () => {
    const other = { password: 'password', username: 'user', other: 'x' } as RegistryAuth;
    expect(credentialHash(other)).toBe(credentialHash({ username: 'user', password: 'password' }));
  });

  it('is empty where a field is no text, or the credential is none', () => {
    for (const bad of [
      { username: 1 },
      { password: null },
      { email: ['a'] },
      null,
      undefined,
      {
        get username(): string {
          throw new Error('no');
        },
      },
    ]) {
      expect(credentialHash(bad as unknown as RegistryAuth)).toBe('');
    }
  });

  it('agrees with an independent encoder on any texts', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string({ unit: 'grapheme' }),
      fc.array(fc.integer({ min: 0, max: 0xffff })).map((units) => String.fromCharCode(...units)),
      fc.string({
        unit: fc.constantFrom(
          '<',
          '>',
          '&',
          '"',
          '\\',
          '\u2028',
          '\u2029',
          '\b',
          '\u007f',
          '\u0000',
          '\ud800',
          '/',
        ),
      }),
    );
    const auth = fc.record(
      {
        username: text,
        password: text,
        auth: text,
        email: text,
        serverAddress: text,
        identityToken: text,
        registryToken: text,
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(auth, (given) => {
        expect(credentialHash(given)).toBe(expectedHash(given));
      }),
      { numRuns: 2000 },
    );
  });

  it('sees that a credential has changed since it was hashed', () => {
    const auth: { username: string; password: string } = { username: 'user', password: 'one' };
    const first = credentialHash(auth);
    expect(credentialHash(auth)).toBe(first);
    auth.password = 'two';
    expect(credentialHash(auth)).toBe(credentialHash({ username: 'user', password: 'two' }));
    expect(credentialHash(auth)).not.toBe(first);
  });
});

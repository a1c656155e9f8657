import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { withoutSecrets } from '../../src/runtime/without-secrets.ts';

const PASSWORD = 'p&ss/wörd "1"';
const AUTH = { username: 'alice', password: PASSWORD };
const base64 = (text: string) => Buffer.from(text).toString('base64');

describe('withoutSecrets', () => {
  it.each([
    ['as it is', PASSWORD],
    ['in base64', base64(PASSWORD)],
    ['in base64 without padding', base64(PASSWORD).replace(/=+$/, '')],
    ['in the base64 of URLs', Buffer.from(PASSWORD).toString('base64url')],
    ['as a part of a URL', encodeURIComponent(PASSWORD)],
    ['in a form', encodeURIComponent(PASSWORD).replaceAll('%20', '+')],
    ['with small hexadecimal digits', encodeURIComponent(PASSWORD).toLowerCase()],
    ['in JSON', JSON.stringify(PASSWORD).slice(1, -1)],
    ['in JSON of Go', JSON.stringify(PASSWORD).slice(1, -1).replace('&', '\\u0026')],
    ['with the user', `alice:${PASSWORD}`],
    ['with the user in base64', base64(`alice:${PASSWORD}`)],
  ])('takes a password out that is repeated %s', (_name, form) => {
    expect(withoutSecrets(`got <${form}>: denied`, AUTH)).toBe('got <[redacted]>: denied');
  });

  it.each([
    ['auth', { auth: base64('alice:secret-1') }, base64('alice:secret-1')],
    ['the password in auth', { auth: base64('alice:secret-1') }, 'secret-1'],
    ['identityToken', { identityToken: 'identity-token-1' }, 'identity-token-1'],
    ['registryToken', { registryToken: 'registry-token-1' }, 'registry-token-1'],
  ])('takes %s out', (_name, auth, secret) => {
    expect(withoutSecrets(`refused ${secret}.`, auth)).toBe('refused [redacted].');
  });

  it('leaves no part of a secret behind that begins with another', () => {
    const auth = { password: 'abcd', identityToken: 'abcdefgh' };
    expect(withoutSecrets('x abcdefgh y', auth)).toBe('x [redacted] y');
  });

  it.each(['a', 'ai', 'led'])('withholds a text with the short secret %j', (password) => {
    expect(withoutSecrets('failed to pull', { password })).toBe(
      '[left out: it contains a credential]',
    );
  });

  it.each([
    [
      'a header',
      'sent Authorization: Basic YTpi to host',
      'sent Authorization: [redacted] to host',
    ],
    ['a header of JSON', '{"Authorization":"Bearer abc.def"}', '{"Authorization":"[redacted]"}'],
    [
      'a header as Go prints it',
      'map[Authorization:[Basic YTpi] Host:[h]]',
      'map[Authorization:[[redacted]] Host:[h]]',
    ],
    ['a token', 'presented bearer eyJhbGciOi.J9-x_', 'presented bearer [redacted]'],
    ['a user in a URL', 'Get "https://bob:pw@reg.io/v2/"', 'Get "https://[redacted]@reg.io/v2/"'],
    ['a token of JSON', '{"access_token": "abc"}', '{"access_token": "[redacted]"}'],
    [
      'a signed URL',
      'Get "https://s3/x?X-Amz-Signature=ab12&ns=docker.io": EOF',
      'Get "https://s3/x?X-Amz-Signature=[redacted]&ns=docker.io": EOF',
    ],
  ])('takes the value out of %s, whoever it belongs to', (_name, text, expected) => {
    expect(withoutSecrets(text)).toBe(expected);
  });

  it.each([
    'pull access denied: authorization failed: no basic auth credentials',
    'basic credentials are wrong, bearer challenge expected',
    'unexpected status from GET request to https://r.io/token?scope=repository%3Aa%3Apull&service=r: 401 Unauthorized',
    'failed to resolve reference "r.io/team/app:v1": not found',
  ])('leaves prose and names as they are: %s', (text) => {
    expect(withoutSecrets(text, { username: 'alice', password: 'hunter22' })).toBe(text);
  });

  it('escapes what could change a terminal', () => {
    expect(withoutSecrets('a\u001b[31m\n\u202eb\ud800')).toBe(
      'a\\u{1b}[31m\\u{a}\\u{202e}b\\u{d800}',
    );
  });

  it('shows at most 1,024 characters, and says how many there were', () => {
    expect(withoutSecrets('x'.repeat(1024))).toBe('x'.repeat(1024));
    expect(withoutSecrets('x'.repeat(1025))).toBe(`${'x'.repeat(1024)}… (1025 characters)`);
  });

  it('withholds a text that is too long to be searched', () => {
    expect(withoutSecrets(' '.repeat(16_384))).not.toContain('left out');
    expect(withoutSecrets(' '.repeat(16_385))).toBe('[16385 characters left out]');
  });

  it('is done at once with texts that are made to be slow', () => {
    for (const piece of ['authorization', 'a-', 'a://', '?a', '"token":"', 'basic ', '\\"', '=']) {
      expect(withoutSecrets(piece.repeat(16_384 / piece.length), AUTH)).toContain('characters)');
    }
  });

  it('takes out a secret that is as long as the text', () => {
    const password = 'p.'.repeat(8_000);
    expect(withoutSecrets(`got ${password} of ${password}`.slice(0, 16_384), { password })).toMatch(
      /^got \[redacted\] of p\./,
    );
    const text = `user:${password}`;
    expect(withoutSecrets(text, { username: 'user', password })).toBe('[redacted]');
  });

  it.each([
    ['a URL', 'https://u:a@b/c-rest@host/'],
    ['a query', 'https://host/?x=1&a=b&rest-of-it'],
    ['a header', 'Authorization: one; two-of-it'],
  ])('takes a secret out whole that looks in part like %s', (_name, text) => {
    for (const password of ['a@b/c-rest', 'a=b&rest-of-it', 'one; two-of-it']) {
      if (!text.includes(password)) continue;
      expect(withoutSecrets(text, { password })).not.toMatch(/rest|two/);
    }
  });

  it('takes out a password in a URL that has an @ in it', () => {
    expect(withoutSecrets('Get "https://bob:p@w@reg.io/v2/"')).toBe(
      'Get "https://[redacted]@reg.io/v2/"',
    );
  });

  it('lets no secret through, whatever it is and wherever it stands', () => {
    const text = fc.string({ unit: 'binary', maxLength: 40 });
    fc.assert(
      fc.property(fc.string({ minLength: 1, maxLength: 30 }), text, text, (password, a, b) => {
        const shown = withoutSecrets(`${a}${password}${b}`, { username: 'u', password });
        const gaps = shown.split(/\[redacted\]|\[left out: it contains a credential\]/);
        expect(gaps.some((gap) => gap.includes(password))).toBe(false);
      }),
    );
  });
});

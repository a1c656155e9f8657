/** Compares with the kubelet's own keyring: see test/fixtures/credentials/README.md. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { credentialHash } from '../../src/credentials/credential-hash.ts';
import type { PullSecret } from '../../src/credentials/pod-identity.ts';
import { secretCredentials } from '../../src/credentials/secret-keyring.ts';
import { errorCode, PULL_MANAGER_ERROR_CODES } from '../../src/errors.ts';

interface Found {
  readonly secret: string;
  readonly username: string;
  readonly password: string;
  readonly email: string;
  readonly hash: string;
}

interface Question {
  readonly secrets: readonly {
    readonly name: string;
    readonly type: string;
    readonly config: string;
  }[];
  readonly images: readonly string[];
  readonly answer: { readonly invalid?: boolean; readonly found?: readonly (readonly Found[])[] };
}

const EXPECTED = new URL('../fixtures/credentials/expected.jsonl', import.meta.url);
const questions = readFileSync(EXPECTED, 'utf8')
  .trimEnd()
  .split('\n')
  .map((line) => JSON.parse(line) as Question);

function secretsOf({ secrets }: Question): readonly PullSecret[] {
  return secrets.map(({ name, type, config }) => ({
    uid: `u-${name}`,
    namespace: 'n',
    name,
    type,
    data: { '.dockerconfigjson': config, '.dockercfg': config },
  }));
}

/** What the kubelet would send and no registry accepts, is refused here. */
function isRefused(found: readonly Found[]): boolean {
  return found.some(({ username, password, email }) =>
    /\p{Cc}/u.test(`${username}${password}${email}`),
  );
}

function foundFor(secrets: readonly PullSecret[], image: string): readonly Found[] {
  return secretCredentials(secrets, image).map(({ auth, source }) => ({
    secret: source.kind === 'node' ? '' : source.name,
    username: auth.username ?? '',
    password: auth.password ?? '',
    email: auth.email ?? '',
    hash: credentialHash(auth),
  }));
}

function codeOf(run: () => unknown): string | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    return errorCode(error);
  }
}

describe('the credentials of pull secrets', () => {
  it("are the kubelet's, in its order, with its hashes", () => {
    let lookups = 0;
    let hits = 0;
    for (const [line, question] of questions.entries()) {
      const secrets = secretsOf(question);
      for (const [i, image] of question.images.entries()) {
        const expected = question.answer.found?.[i];
        if (expected === undefined || isRefused(expected)) continue;
        expect(foundFor(secrets, image), `line ${line + 1}, ${image}`).toEqual(expected);
        lookups++;
        if (expected.length > 0) hits++;
      }
    }
    expect(lookups).toBeGreaterThan(3_000);
    expect(hits).toBeGreaterThan(1_500);
  });

  it('are refused as a whole where the kubelet refuses a secret', () => {
    const invalid = questions.filter(({ answer }) => answer.invalid);
    expect(invalid.length).toBeGreaterThan(20);
    for (const question of invalid) {
      const code = codeOf(() => secretCredentials(secretsOf(question), question.images[0]!));
      expect(code).toBe(PULL_MANAGER_ERROR_CODES.CREDENTIALS_INVALID);
    }
  });

  it('are refused where they have control characters, which no registry takes', () => {
    let refused = 0;
    for (const question of questions) {
      for (const [i, image] of question.images.entries()) {
        if (!isRefused(question.answer.found?.[i] ?? [])) continue;
        const code = codeOf(() => secretCredentials(secretsOf(question), image));
        expect(code).toBe(PULL_MANAGER_ERROR_CODES.CREDENTIALS_INVALID);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(100);
  });

  it("hash as the kubelet's do, whatever characters they have", () => {
    for (const { hash, ...auth } of questions.flatMap(({ answer }) => answer.found?.flat() ?? [])) {
      expect(credentialHash(auth)).toBe(hash);
    }
  });
});

/** Docker's configurations of credentials: the node's own and those in secrets of tenants. */
import {
  checkUsable,
  type DockerConfig,
  decodeBase64,
  parseDockerConfig,
} from '../../../../src/credentials/docker-config.ts';
import { JsonInputError } from '../../../../src/credentials/json-input.ts';
import type { Random } from '../../../../src/util/random.ts';
import { happens, ODD_NAMES, oddText, pick } from '../choice.ts';
import { attempt, type FuzzTarget, mustHold, type Verdict } from '../target.ts';
import { jsonText, mapOf, objectOf, type Rule, textRule } from './json-grammar.ts';
import { nested, numbered, repeated } from './shapes.ts';

const base64Rule: Rule = (random) => {
  const text = happens(random, 0.9) ? `${oddText(random)}:${oddText(random)}` : oddText(random);
  const encoded = Buffer.from(text).toString(pick(random, ['base64', 'base64', 'base64url']));
  return jsonText(happens(random, 0.2) ? encoded.replace(/.{3}/g, '$&\n') : encoded);
};
const AUTH = objectOf(
  {
    username: textRule,
    password: textRule,
    email: textRule,
    auth: base64Rule,
    identitytoken: textRule,
    registryToken: textRule,
  },
  0.6,
);
const AUTHS = mapOf(AUTH, locationOf);
const HELPER: Rule = (random) =>
  jsonText(pick(random, ['ecr-login', '', '../x', 'a b', '__proto__', 'x'.repeat(200)]));
const CONFIG = objectOf(
  { auths: AUTHS, credHelpers: mapOf(HELPER, locationOf), credsStore: HELPER },
  0.4,
);

export const dockerConfig: FuzzTarget = {
  name: 'docker-config',
  unit: 'configurations',
  modules: ['src/credentials/docker-config', 'src/credentials/json-input'],
  words: [
    '"auths":{',
    '"AUTHS":{',
    '"auth":"dTpw"',
    '"__proto__":{"username":"u"}',
    '=',
    '==',
    '\\n',
    '\\u0000',
    '\xff',
    '\ufeff',
    'null',
    '{}',
  ],
  make: (random) => Buffer.from((happens(random, 0.3) ? AUTHS : CONFIG)(random)),
  feed,
  worstCases: [
    repeated('base64', 'AAAA', '{"auths":{"a":{"auth":"', '"}}}'),
    repeated('base64 with a wrong end', 'AAAA', '{"auths":{"a":{"auth":"', '!"}}}'),
    repeated('line breaks in base64', 'A\\n', '{"auths":{"a":{"auth":"', '"}}}'),
    repeated('padding', '=', '{"auths":{"a":{"auth":"', '"}}}'),
    repeated('at signs', '@', '{"auths":{"', '":{"auth":"!"}}}'),
    repeated('a long location', 'a', '{"auths":{"', '":{"auth":"!"}}}'),
    numbered('entries', (i) => `"${i}.io":{"auth":"dTpw"}`, '{"auths":{', '}}'),
    numbered('helpers', (i) => `"${i}.io":"a"`, '{"credHelpers":{', '}}'),
    repeated('an entry again and again', '"a":{},', '{"auths":{', '"a":{}}}'),
    repeated('a field in two letter cases', '"auths":{},"AUTHS":{},', '{', '"a":{}}'),
    nested('brackets', '[', ']', '{"auths":', '}'),
    nested('braces', '{"auths":', '}', '', ''),
  ],
};

function feed(input: Buffer): Verdict {
  let verdict: Verdict = 'refused';
  for (const form of ['config.json', 'dockercfg'] as const) {
    for (const isTrusted of [true, false]) {
      const parsed = attempt(() => parseDockerConfig(input, form, { isTrusted }), isRefusal);
      if ('refusal' in parsed) continue;
      verdict = 'accepted';
      checkConfig(parsed.value, JSON.parse(input.toString()), form, isTrusted);
    }
  }
  const text = input.toString('latin1');
  const bytes = decodeBase64(text);
  if (bytes !== undefined) {
    const again = bytes.toString('base64').replace(/=+$/, '');
    const given = text.replaceAll(/[\r\n=]/g, '');
    // The last character may have bits that count for nothing.
    mustHold(again.slice(0, -1) === given.slice(0, -1), 'base64 is decoded to something else');
  }
  return verdict;
}

/** Every entry is there, under its own name, and what a tenant may not say was not heard. */
function checkConfig(
  config: DockerConfig,
  document: unknown,
  form: string,
  isTrusted: boolean,
): void {
  const { entries, helpers, defaultHelper } = config;
  if (form === 'dockercfg') {
    const names = Object.keys(document ?? {});
    mustHold(
      names.join('\n') === entries.map(({ location }) => location).join('\n'),
      'entries are lost',
    );
  }
  for (const { auth, path } of entries) {
    mustHold(JSON.stringify(auth) === '"[redacted]"', 'a credential shows itself');
    for (const value of Object.values(auth))
      mustHold(typeof value === 'string', 'a credential is no text');
    if (!isTrusted) {
      mustHold(
        auth.identityToken === undefined && auth.registryToken === undefined,
        'a tenant sets a token',
      );
    }
    attempt(() => checkUsable(auth, path()), isRefusal);
  }
  if (!isTrusted)
    mustHold(helpers.length === 0 && defaultHelper === '', 'a tenant names a program');
  for (const [, helper] of helpers)
    mustHold(!/[/\s\0]/.test(helper), 'a helper is no part of a file name');
}

function isRefusal(error: unknown): boolean {
  return error instanceof JsonInputError;
}

function locationOf(random: Random): string {
  if (happens(random, 0.2)) return pick(random, ODD_NAMES);
  const host = pick(random, [
    'registry.example.com',
    'https://index.docker.io/v1/',
    '*.r.io:5000',
    'user:pw@r.io/x',
  ]);
  return happens(random, 0.2) ? host + oddText(random) : host;
}

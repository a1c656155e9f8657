/** What programs that know credentials answer, and what the node's configuration says of them. */
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DockerHelpers } from '../../../../src/credentials/docker-helper.ts';
import { JsonInputError } from '../../../../src/credentials/json-input.ts';
import { parseProviderConfig } from '../../../../src/credentials/provider-config.ts';
import { parseProviderResponse } from '../../../../src/credentials/provider-response.ts';
import type { ProgramRunner } from '../../../../src/credentials/run-program.ts';
import { PullManagerError } from '../../../../src/errors.ts';
import { happens, oddText, pick } from '../choice.ts';
import { attempt, type FuzzTarget, mustHold, type Verdict } from '../target.ts';
import { listOf, mapOf, objectOf, oneOf, type Rule, textRule } from './json-grammar.ts';
import { nested, numbered, repeated, upTo } from './shapes.ts';

const API = 'credentialprovider.kubelet.k8s.io/v1';
const DURATIONS = ['1h', '0s', '1h30m', '.5s', '1.s', '300ms', '9999999h', '-1s', '1', '5µs', 'h'];
const DURATION = oneOf(...DURATIONS);
const RESPONSE = objectOf(
  {
    apiVersion: oneOf(API),
    kind: oneOf('CredentialProviderResponse'),
    cacheKeyType: oneOf('Image', 'Registry', 'Global', '__proto__'),
    cacheDuration: DURATION,
    auth: mapOf(objectOf({ username: textRule, password: textRule })),
  },
  0.03,
);
const CONFIG = objectOf(
  {
    kind: oneOf('CredentialProviderConfig'),
    apiVersion: oneOf('kubelet.config.k8s.io/v1'),
    providers: listOf(
      objectOf(
        {
          name: oneOf('ecr', 'gcr', '..', 'a/b'),
          matchImages: listOf(oneOf('*.example.com', 'r.io:5000/x', '[::1]', '%zz')),
          defaultCacheDuration: DURATION,
          apiVersion: oneOf(API, 'credentialprovider.kubelet.k8s.io/v1beta1'),
          args: listOf(textRule),
          env: listOf(objectOf({ name: textRule, value: textRule })),
          tokenAttributes: objectOf(
            {
              serviceAccountTokenAudience: textRule,
              cacheType: oneOf('Token', 'ServiceAccount'),
              requireServiceAccount: () => 'true',
              requiredServiceAccountAnnotationKeys: listOf(textRule),
              optionalServiceAccountAnnotationKeys: listOf(textRule),
            },
            0.1,
          ),
        },
        0.05,
      ),
    ),
  },
  0.02,
);
const HELPER_ANSWER = objectOf({ ServerURL: textRule, Username: textRule, Secret: textRule }, 0.05);
const PROVIDER = `{"name":"a","matchImages":["a.b"],"defaultCacheDuration":"1h","apiVersion":"${API}"`;
const CONFIG_START =
  '{"kind":"CredentialProviderConfig","apiVersion":"kubelet.config.k8s.io/v1","providers":[';
const TOKENS_START = `${CONFIG_START}${PROVIDER},"tokenAttributes":{"serviceAccountTokenAudience":"a","cacheType":"Token","requireServiceAccount":true,"requiredServiceAccountAnnotationKeys":[`;
const RESPONSE_START = `{"apiVersion":"${API}","kind":"CredentialProviderResponse",`;
/** A configuration is no longer. */
const CONFIG_BYTES_MAX = (1 << 20) - 1_024;

let helpers: DockerHelpers | undefined;
let answer: Buffer = Buffer.alloc(0);

export const providerAnswers: FuzzTarget = {
  name: 'provider-answers',
  unit: 'answers and configurations',
  modules: [
    'src/credentials/provider-',
    'src/credentials/docker-helper',
    'src/credentials/go-duration',
    'src/credentials/json-input',
  ],
  words: [
    ...DURATIONS,
    '"auth":{',
    '"__proto__":{}',
    '\\u0000',
    '\xff',
    'null',
    '""',
    '<token>',
    '1s',
  ],
  async open(directory) {
    const path = join(directory, 'docker-credential-fuzz');
    await writeFile(path, '');
    await chmod(path, 0o700);
    const runner = {
      run: async () => ({ exitCode: 0, output: answer }),
    } as unknown as ProgramRunner;
    helpers = new DockerHelpers(runner, directory, { cacheMs: 0, now: () => 0 });
  },
  make(random) {
    const rule: Rule = pick(random, [RESPONSE, CONFIG, HELPER_ANSWER]);
    return Buffer.from(happens(random, 0.97) ? rule(random) : oddText(random));
  },
  feed,
  worstCases: [
    numbered(
      'entries',
      (i) => `"${i}.io":{"username":"u","password":"p"}`,
      `${RESPONSE_START}"auth":{`,
      '}}',
    ),
    repeated('unknown fields', '"a":1,', '{', '"b":1}'),
    repeated('a time of many parts', '1s', `${RESPONSE_START}"cacheDuration":"`, '"}'),
    repeated('a time of many digits', '1', `${RESPONSE_START}"cacheDuration":"`, '"}'),
    repeated('a time of many dots', '1.', `${RESPONSE_START}"cacheDuration":"`, '"}'),
    upTo(
      CONFIG_BYTES_MAX,
      numbered(
        'providers',
        (i) => PROVIDER.replace('"a"', `"${i}"`).concat('}'),
        CONFIG_START,
        ']}',
      ),
    ),
    upTo(
      CONFIG_BYTES_MAX,
      numbered('annotations', (i) => `"${i}"`, TOKENS_START, ']}}]}'),
    ),
    upTo(
      CONFIG_BYTES_MAX,
      numbered('arguments', (i) => `"${i}"`, `${CONFIG_START}${PROVIDER},"args":[`, ']}]}'),
    ),
    upTo(
      CONFIG_BYTES_MAX,
      numbered(
        'patterns',
        (i) => `"*.${i}.io"`,
        `${CONFIG_START}{"name":"a","defaultCacheDuration":"1h","apiVersion":"${API}","matchImages":[`,
        ']}]}',
      ),
    ),
    nested('brackets', '[', ']', `${RESPONSE_START}"auth":`, '}'),
  ],
};

async function feed(input: Buffer): Promise<Verdict> {
  const response = attempt(() => parseProviderResponse(input, API), isRefusal);
  const config = attempt(() => parseProviderConfig(input), isRefusal);
  if ('value' in response) {
    const { entries, cacheMs } = response.value;
    const { auth } = JSON.parse(input.toString()) as { auth?: object | null };
    mustHold(entries.length === Object.keys(auth ?? {}).length, 'entries are lost');
    mustHold(cacheMs === undefined || Number.isFinite(cacheMs), 'a time is no number');
    mustHold(!JSON.stringify(entries).includes('password'), 'a credential shows itself');
  }
  if ('value' in config) {
    mustHold(config.value.length > 0, 'a configuration without providers passes');
    for (const { name, defaultCacheMs } of config.value) {
      mustHold(!/[/\0]/.test(name) && name !== '..', 'a name leads elsewhere');
      mustHold(defaultCacheMs >= 0, 'a time is negative');
    }
  }
  const isHelped = await helperTakes(input);
  return 'value' in response || 'value' in config || isHelped ? 'accepted' : 'refused';
}

async function helperTakes(input: Buffer): Promise<boolean> {
  answer = input;
  helpers!.clear();
  try {
    const auth = await helpers!.get('fuzz', 'r.io', new AbortController().signal);
    mustHold(
      auth === undefined || JSON.stringify(auth) === '"[redacted]"',
      'a credential shows itself',
    );
    return auth !== undefined;
  } catch (error) {
    const isRight =
      error instanceof PullManagerError &&
      error.code === 'ERR_PULLMANAGER_CREDENTIAL_PROVIDER_FAILED';
    if (!isRight) throw error;
    return false;
  }
}

function isRefusal(error: unknown): boolean {
  return error instanceof JsonInputError;
}

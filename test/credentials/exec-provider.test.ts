import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  CredentialLookup,
  type CredentialLookupOptions,
} from '../../src/credentials/credential-lookup.ts';
import type { PodServiceAccount } from '../../src/credentials/pod-identity.ts';
import { PULL_MANAGER_ERROR_CODES as CODES } from '../../src/errors.ts';
import { linesOf, temporaryDirectory, writeProgram } from './programs.ts';

const SECRET = 's3cr3t-value';
const V1 = 'credentialprovider.kubelet.k8s.io/v1';
const TOKENS = {
  serviceAccountTokenAudience: 'reg.io',
  cacheType: 'ServiceAccount',
  requireServiceAccount: true,
};

interface Provider {
  readonly lookup: CredentialLookup;
  readonly directory: string;
  /** Requests that the program was given, in order. */
  requests(): readonly Record<string, unknown>[];
}

function response(fields: object = {}): string {
  return JSON.stringify({
    kind: 'CredentialProviderResponse',
    apiVersion: V1,
    cacheKeyType: 'Registry',
    auth: { 'reg.io': { username: 'u', password: SECRET } },
    ...fields,
  });
}

function answering(fields: object = {}): string {
  return `cat <<'END'\n${response(fields)}\nEND`;
}

/** A lookup with one provider, which does what `script` says. */
async function provider(
  script: string,
  settings: object = {},
  options: CredentialLookupOptions = {},
): Promise<Provider> {
  const directory = temporaryDirectory();
  const log = join(directory, 'log');
  writeProgram(directory, 'ecr', `request=$(cat); echo "$request" >> '${log}'\n${script}`);
  const providerConfigFile = join(directory, 'providers.json');
  writeFileSync(providerConfigFile, JSON.stringify(configOf(settings)));
  const lookup = await CredentialLookup.open({
    providerConfigFile,
    providerBinDir: directory,
    ...options,
  });
  onTestFinished(() => lookup.close());
  const requests = () => linesOf(log).map((line) => JSON.parse(line) as Record<string, unknown>);
  return { lookup, directory, requests };
}

function configOf(settings: object): unknown {
  const one = {
    name: 'ecr',
    matchImages: ['*.io'],
    defaultCacheDuration: '0s',
    apiVersion: V1,
    ...settings,
  };
  return {
    kind: 'CredentialProviderConfig',
    apiVersion: 'kubelet.config.k8s.io/v1',
    providers: [one],
  };
}

function account(fields: Partial<PodServiceAccount> = {}): PodServiceAccount {
  return { uid: 'a-1', namespace: 'team', name: 'puller', token: () => 'a-token', ...fields };
}

async function found(
  { lookup }: Provider,
  image = 'reg.io/app',
  serviceAccount?: PodServiceAccount,
): Promise<unknown> {
  const request = serviceAccount === undefined ? { image } : { image, serviceAccount };
  const credentials = await lookup.pullCredentials(request);
  return credentials.map(({ auth, source }) => ({ auth: { ...auth }, source }));
}

const OF_NODE = { auth: { username: 'u', password: SECRET }, source: { kind: 'node' } };
const OF_ACCOUNT = {
  auth: { username: 'u', password: SECRET },
  source: { kind: 'serviceAccount', uid: 'a-1', namespace: 'team', name: 'puller' },
};

describe('an exec credential provider', () => {
  it("is asked for the normalised name without tag, and what it has is the node's", async () => {
    const one = await provider(answering());
    expect(await found(one, 'reg.io/team/app:1.2')).toEqual([OF_NODE]);
    expect(one.requests()).toEqual([
      { kind: 'CredentialProviderRequest', apiVersion: V1, image: 'reg.io/team/app' },
    ]);
  });

  for (const version of ['v1', 'v1beta1', 'v1alpha1']) {
    it(`can speak ${version}`, async () => {
      const apiVersion = `credentialprovider.kubelet.k8s.io/${version}`;
      const one = await provider(answering({ apiVersion }), { apiVersion });
      expect(await found(one)).toEqual([OF_NODE]);
      expect(one.requests()[0]!.apiVersion).toBe(apiVersion);
    });
  }

  it('is run with its arguments, and its variables beside those of this process', async () => {
    const script = `[ "$1 $2 $X" = "get --all y" ] && [ -n "$PATH" ] || exit 3\n${answering()}`;
    const settings = { args: ['get', '--all'], env: [{ name: 'X', value: 'y' }] };
    expect(await found(await provider(script, settings))).toEqual([OF_NODE]);
  });

  it('is not asked about images that it is not meant for', async () => {
    const one = await provider('exit 3');
    expect(await found(one, 'a.reg.io/app')).toEqual([]);
    expect(await found(one, 'reg.io:5000/app')).toEqual([]);
    expect(one.requests()).toEqual([]);
  });

  it('counts only for the locations that it names, in the order of the keyring', async () => {
    const auth = {
      '*.io': { username: 'glob', password: '' },
      'reg.io/other': { username: 'other', password: '' },
      'reg.io': { username: 'host', password: '' },
      'reg.io/team': { username: 'team', password: '' },
    };
    const one = await provider(answering({ auth }));
    expect(await found(one, 'reg.io/team/app')).toEqual(
      ['team', 'host', 'glob'].map((username) => ({
        auth: { username },
        source: { kind: 'node' },
      })),
    );
  });

  it('can have nothing', async () => {
    expect(await found(await provider(answering({ auth: null })))).toEqual([]);
    expect(await found(await provider(answering({ auth: {} })))).toEqual([]);
  });

  describe('keeps an answer', () => {
    const cases: readonly (readonly [
      type: string,
      again: readonly string[],
      anew: readonly string[],
    ])[] = [
      ['Image', ['reg.io/app:2'], ['reg.io/other', 'rag.io/app']],
      ['Registry', ['reg.io/app', 'reg.io/other'], ['rag.io/app']],
      ['Global', ['reg.io/other', 'rag.io/app'], []],
    ];
    for (const [cacheKeyType, again, anew] of cases) {
      it(`for the ${cacheKeyType}`, async () => {
        const one = await provider(answering({ cacheKeyType, cacheDuration: '1h' }));
        await found(one);
        for (const image of again) await found(one, image);
        expect(one.requests()).toHaveLength(1);
        for (const image of anew) await found(one, image);
        expect(one.requests()).toHaveLength(1 + anew.length);
      });
    }

    it('as long as it says, or as the configuration says', async () => {
      for (const [fields, settings, durationMs] of [
        [{ cacheDuration: '2s' }, { defaultCacheDuration: '1h' }, 2_000],
        [{}, { defaultCacheDuration: '3s' }, 3_000],
        [{ cacheDuration: null }, { defaultCacheDuration: '3s' }, 3_000],
      ] as const) {
        let nowMs = 0;
        const one = await provider(answering(fields), settings, { now: () => nowMs });
        await found(one);
        nowMs = durationMs - 1;
        await found(one);
        expect(one.requests()).toHaveLength(1);
        nowMs = durationMs;
        await found(one);
        expect(one.requests()).toHaveLength(2);
      }
    });

    it('not at all where its time is nothing', async () => {
      for (const cacheDuration of ['0s', '-1s']) {
        const one = await provider(answering({ cacheDuration }), { defaultCacheDuration: '1h' });
        await found(one);
        await found(one);
        expect(one.requests()).toHaveLength(2);
      }
    });
  });

  it('is asked once for equal calls at the same time', async () => {
    const one = await provider(answering());
    const all = await Promise.all(Array.from({ length: 20 }, () => found(one)));
    for (const each of all) expect(each).toEqual([OF_NODE]);
    expect(one.requests()).toHaveLength(1);
  });

  it('goes on for others when one of equal calls aborts', async () => {
    const directory = temporaryDirectory();
    const go = join(directory, 'go');
    const one = await provider(`while [ ! -e '${go}' ]; do sleep 0.02; done\n${answering()}`);
    const abort = new AbortController();
    const leaving = one.lookup.pullCredentials({ image: 'reg.io/app' }, { signal: abort.signal });
    const staying = found(one);
    await expect.poll(() => one.requests().length).toBe(1);
    abort.abort();
    await expect(leaving).rejects.toMatchObject({ code: CODES.ABORTED });
    writeFileSync(go, '');
    expect(await staying).toEqual([OF_NODE]);
    expect(one.requests()).toHaveLength(1);
  });

  describe('with service account tokens', () => {
    it("is given a token for its audience, and what it has is the account's", async () => {
      const one = await provider(answering(), { tokenAttributes: TOKENS });
      const audiences: string[] = [];
      const token = (audience: string) => {
        audiences.push(audience);
        return Promise.resolve('the-token');
      };
      expect(await found(one, 'reg.io/app', account({ token }))).toEqual([OF_ACCOUNT]);
      expect(audiences).toEqual(['reg.io']);
      expect(one.requests()).toEqual([
        {
          kind: 'CredentialProviderRequest',
          apiVersion: V1,
          image: 'reg.io/app',
          serviceAccountToken: 'the-token',
        },
      ]);
    });

    it('is told the annotations that it wants, and no others', async () => {
      const tokenAttributes = {
        ...TOKENS,
        requiredServiceAccountAnnotationKeys: ['role'],
        optionalServiceAccountAnnotationKeys: ['zone', 'absent'],
      };
      const one = await provider(answering(), { tokenAttributes });
      const annotations = { zone: 'z', role: 'r', secret: 's' };
      await found(one, 'reg.io/app', account({ annotations }));
      expect(one.requests()[0]!.serviceAccountAnnotations).toEqual({ role: 'r', zone: 'z' });
    });

    it('is not asked for accounts that lack an annotation, nor for pods without account', async () => {
      const tokenAttributes = { ...TOKENS, requiredServiceAccountAnnotationKeys: ['role'] };
      const one = await provider('exit 3', { tokenAttributes });
      expect(await found(one, 'reg.io/app', account())).toEqual([]);
      expect(await found(one)).toEqual([]);
      expect(one.requests()).toEqual([]);
    });

    it("is asked for pods without account where it allows them; then it is the node's", async () => {
      const tokenAttributes = { ...TOKENS, requireServiceAccount: false };
      const one = await provider(answering(), { tokenAttributes });
      expect(await found(one)).toEqual([OF_NODE]);
      expect(one.requests()[0]).not.toHaveProperty('serviceAccountToken');
    });

    it('never gives one account what another was given', async () => {
      const one = await provider(answering({ cacheDuration: '1h', cacheKeyType: 'Global' }), {
        tokenAttributes: {
          ...TOKENS,
          requireServiceAccount: false,
          optionalServiceAccountAnnotationKeys: ['role'],
        },
      });
      const accounts = [
        account(),
        account({ uid: 'a-2' }),
        account({ namespace: 'other' }),
        account({ name: 'other' }),
        account({ annotations: { role: 'r' } }),
      ];
      for (const each of accounts) await found(one, 'reg.io/app', each);
      await found(one);
      expect(one.requests()).toHaveLength(accounts.length + 1);
      for (const each of accounts) await found(one, 'reg.io/other', each);
      expect(one.requests()).toHaveLength(accounts.length + 1);
    });

    it('never joins calls with different tokens', async () => {
      const one = await provider(answering(), { tokenAttributes: TOKENS });
      await Promise.all(
        ['t-1', 't-2', 't-1'].map((token) =>
          found(one, 'reg.io/app', account({ token: () => token })),
        ),
      );
      const tokens = one.requests().map(({ serviceAccountToken }) => serviceAccountToken);
      expect(tokens).toHaveLength(2);
      expect(new Set(tokens)).toEqual(new Set(['t-1', 't-2']));
    });

    it('keeps an answer for the token alone where the configuration says so', async () => {
      for (const [cacheType, asked] of [
        ['Token', 2],
        ['ServiceAccount', 1],
      ] as const) {
        const tokenAttributes = { ...TOKENS, cacheType };
        const one = await provider(answering({ cacheDuration: '1h' }), { tokenAttributes });
        for (const token of ['t-1', 't-2', 't-1']) {
          await found(one, 'reg.io/app', account({ token: () => token }));
        }
        expect(one.requests()).toHaveLength(asked);
      }
    });

    it('may give the token back as the password only where it is kept for the token alone', async () => {
      const auth = { 'reg.io': { username: 'u', password: SECRET } };
      const given = account({ token: () => SECRET });
      const echo = (cacheType: string) =>
        provider(answering({ auth }), { tokenAttributes: { ...TOKENS, cacheType } });
      expect(await found(await echo('Token'), 'reg.io/app', given)).toEqual([OF_ACCOUNT]);
      await expect(found(await echo('ServiceAccount'), 'reg.io/app', given)).rejects.toMatchObject({
        code: CODES.CREDENTIAL_PROVIDER_FAILED,
        reason: expect.stringContaining('the token itself'),
      });
    });

    const tokens: readonly (readonly [name: string, token: () => unknown, reason: RegExp])[] = [
      [
        'throws',
        () => {
          throw new Error(SECRET);
        },
        /the token source of the account failed$/,
      ],
      [
        'rejects',
        () => Promise.reject(new Error(SECRET)),
        /the token source of the account failed$/,
      ],
      ['gives nothing', () => '', /there is no token for "reg.io"$/],
      ['gives no text', () => ({}), /there is no token for "reg.io"$/],
      ['never answers', () => new Promise(() => {}), /there was no token within 200 ms$/],
    ];
    for (const [name, token, reason] of tokens) {
      it(`is not run where the token source ${name}`, async () => {
        const one = await provider(
          answering(),
          { tokenAttributes: TOKENS },
          { programTimeoutMs: 200 },
        );
        const given = account({ token: token as () => string });
        const error: unknown = await found(one, 'reg.io/app', given).catch(
          (cause: unknown) => cause,
        );
        expect(error).toMatchObject({
          code: CODES.CREDENTIAL_PROVIDER_FAILED,
          reason: expect.stringMatching(reason),
        });
        expect((error as Error).message).not.toContain(SECRET);
        expect(one.requests()).toEqual([]);
      });
    }
  });

  const failures: readonly (readonly [name: string, script: string, reason: string | RegExp])[] = [
    ['exits with 3', `echo ${SECRET} >&2; ${answering()}\nexit 3`, 'ended with exit code 3'],
    ['dies', 'kill -9 $$', 'ended by SIGKILL'],
    ['hangs', 'sleep 1000', 'did not answer within 300 ms'],
    ['writes garbage', `echo '${SECRET}'`, /it is not JSON$/],
    ['writes nothing', 'true', /it is not JSON$/],
    ['writes YAML', `echo 'kind: ${SECRET}'`, /it is not JSON$/],
    ['writes 100 MB', 'head -c 100000000 /dev/zero', 'wrote more than 1048576 bytes'],
    [
      'answers in another version',
      answering({ apiVersion: 'credentialprovider.kubelet.k8s.io/v1beta1' }),
      /its apiVersion is "credentialprovider.kubelet.k8s.io\/v1beta1", not "/,
    ],
    [
      'answers in no version',
      answering({ apiVersion: SECRET }),
      /its apiVersion is something else, not "/,
    ],
    [
      'answers with another kind',
      answering({ kind: SECRET }),
      /its kind is not "CredentialProviderResponse"$/,
    ],
    ['answers with an unknown field', answering({ [SECRET]: 1 }), /it has an unknown field$/],
    [
      'answers with an unknown field in an entry',
      answering({ auth: { 'reg.io': { [SECRET]: 1 } } }),
      /auth entry 0 has an unknown field$/,
    ],
    [
      'answers with a number as the password',
      answering({ auth: { 'reg.io': { password: 1 } } }),
      /auth entry 0.password must be a string$/,
    ],
    [
      'answers with a NUL in the password',
      answering({ auth: { 'reg.io': { password: `${SECRET}\0` } } }),
      /the password of auth entry 0 has a control character/,
    ],
    [
      'answers with a password of 100,000 characters',
      answering({ auth: { 'reg.io': { password: 'x'.repeat(100_000) } } }),
      /has more than 65536 characters$/,
    ],
    ['answers with a list of credentials', answering({ auth: [] }), /auth must be an object$/],
    [
      'does not say for what it holds',
      answering({ cacheKeyType: undefined }),
      /cacheKeyType is none of Image, Registry, Global$/,
    ],
    [
      'says that it holds for something else',
      answering({ cacheKeyType: SECRET }),
      /cacheKeyType is none of/,
    ],
    [
      'says that it holds for __proto__',
      answering({ cacheKeyType: '__proto__' }),
      /cacheKeyType is none of/,
    ],
    [
      'says no time for which it holds',
      answering({ cacheDuration: '12' }),
      /cacheDuration is not a time$/,
    ],
    [
      'says a number as the time',
      answering({ cacheDuration: 12 }),
      /cacheDuration must be a string$/,
    ],
  ];
  for (const [name, script, reason] of failures) {
    it(`that ${name} fails by its path, and shows nothing of what it wrote`, async () => {
      const options = name === 'hangs' ? { programTimeoutMs: 300 } : {};
      const one = await provider(script, { defaultCacheDuration: '1h' }, options);
      const error: unknown = await found(one).catch((cause: unknown) => cause);
      expect(error).toMatchObject({
        code: CODES.CREDENTIAL_PROVIDER_FAILED,
        path: join(one.directory, 'ecr'),
        reason: typeof reason === 'string' ? reason : expect.stringMatching(reason),
      });
      expect(String(error)).not.toContain(SECRET);
      expect((error as Error).cause).toBeUndefined();
      // Failures are not kept.
      await expect(found(one)).rejects.toMatchObject({ code: CODES.CREDENTIAL_PROVIDER_FAILED });
    });
  }

  it('is taken away with its answers when the configuration changes', async () => {
    const one = await provider(answering({ cacheDuration: '1h' }));
    await found(one);
    const file = join(one.directory, 'providers.json');
    writeFileSync(file, JSON.stringify(configOf({ matchImages: ['rag.io'] })));
    expect(await found(one)).toEqual([]);
    writeFileSync(file, JSON.stringify(configOf({})));
    expect(await found(one)).toEqual([OF_NODE]);
    expect(one.requests()).toHaveLength(2);
    writeFileSync(file, '{');
    await expect(found(one)).rejects.toMatchObject({
      code: CODES.CREDENTIALS_INVALID,
      path: file,
      reason: 'it is not JSON',
    });
  });
});

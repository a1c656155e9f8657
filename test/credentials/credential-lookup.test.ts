import { spawnSync } from 'node:child_process';
import { renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  CredentialLookup,
  type CredentialLookupOptions,
  type CredentialRequest,
} from '../../src/credentials/credential-lookup.ts';
import type { PullSecret } from '../../src/credentials/pod-identity.ts';
import { PULL_MANAGER_ERROR_CODES as CODES } from '../../src/errors.ts';
import { linesOf, temporaryDirectory, writeProgram } from './programs.ts';

const SECRET = 's3cr3t-value';
const V1 = 'credentialprovider.kubelet.k8s.io/v1';

function secret(auths: unknown, fields: Partial<PullSecret> = {}): PullSecret {
  const content = Buffer.from(JSON.stringify({ auths })).toString('base64');
  return {
    uid: 's-1',
    namespace: 'team',
    name: 'pull',
    type: 'kubernetes.io/dockerconfigjson',
    data: { '.dockerconfigjson': content },
    ...fields,
  };
}

async function open(options: CredentialLookupOptions = {}): Promise<CredentialLookup> {
  const lookup = await CredentialLookup.open(options);
  onTestFinished(() => lookup.close());
  return lookup;
}

/** Who the credentials are of, in order. */
async function found(
  lookup: CredentialLookup,
  request: Partial<CredentialRequest> = {},
): Promise<readonly string[]> {
  const credentials = await lookup.pullCredentials({ image: 'reg.io/app', ...request });
  return credentials.map(({ auth, source }) => {
    const of = source.kind === 'node' ? '' : ` of ${source.namespace}/${source.name} ${source.uid}`;
    return `${auth.username} from ${source.kind}${of}`;
  });
}

function providerFiles(directory: string, user: string): CredentialLookupOptions {
  const answer = {
    kind: 'CredentialProviderResponse',
    apiVersion: V1,
    cacheKeyType: 'Image',
    auth: { 'reg.io': { username: user, password: 'p' } },
  };
  writeProgram(directory, 'prov', `cat > /dev/null; echo '${JSON.stringify(answer)}'`);
  const providerConfigFile = join(directory, 'providers.json');
  const providers = ['prov'].map((name) => ({
    name,
    matchImages: ['reg.io'],
    defaultCacheDuration: '1h',
    apiVersion: V1,
    tokenAttributes: {
      serviceAccountTokenAudience: 'x',
      cacheType: 'Token',
      requireServiceAccount: false,
    },
  }));
  const config = {
    kind: 'CredentialProviderConfig',
    apiVersion: 'kubelet.config.k8s.io/v1',
    providers,
  };
  writeFileSync(providerConfigFile, JSON.stringify(config));
  return { providerConfigFile, providerBinDir: directory };
}

describe('the credentials of a pod', () => {
  it("are those of its secrets, then the node's, then those of providers", async () => {
    const directory = temporaryDirectory();
    const file = join(directory, 'config.json');
    writeFileSync(file, JSON.stringify({ auths: { 'reg.io/app': { username: 'file' } } }));
    const lookup = await open({ nodeConfigFiles: [file], ...providerFiles(directory, 'provider') });
    const secrets = [secret({ 'reg.io': { username: 'secret' } })];
    const serviceAccount = { uid: 'a-1', namespace: 'team', name: 'acc', token: () => 't' };
    expect(await found(lookup, { secrets, serviceAccount })).toEqual([
      'secret from secret of team/pull s-1',
      'file from node',
      'provider from serviceAccount of team/acc a-1',
    ]);
    expect(await found(lookup)).toEqual(['file from node', 'provider from node']);
  });

  it('are by location across secrets, and of one location in the order of the secrets', async () => {
    const lookup = await open();
    const secrets = [
      secret({ 'reg.io': { username: 'one' } }, { name: 'a' }),
      secret(
        { 'reg.io/app': { username: 'two' }, 'https://reg.io/v1/': { username: 'three' } },
        { name: 'b' },
      ),
    ];
    expect(await found(lookup, { secrets })).toEqual([
      'two from secret of team/b s-1',
      'one from secret of team/a s-1',
      'three from secret of team/b s-1',
    ]);
  });

  it('are looked up for the normalised name, without tag and digest', async () => {
    const lookup = await open();
    const secrets = [secret({ 'docker.io/library/app': { username: 'hub' } })];
    for (const image of ['app', 'app:1', `docker.io/app@sha256:${'0'.repeat(64)}`]) {
      expect(await found(lookup, { image, secrets })).toHaveLength(1);
    }
    await expect(found(lookup, { image: 'NO/way:', secrets })).rejects.toMatchObject({
      code: CODES.IMAGE_NAME_INVALID,
    });
  });

  it('are none where there is nothing', async () => {
    expect(await found(await open())).toEqual([]);
  });

  it('can come from the older form and from bytes', async () => {
    const lookup = await open();
    const auths = { 'reg.io': { username: 'u' } };
    const type = 'kubernetes.io/dockercfg';
    const bytes = new TextEncoder().encode(JSON.stringify(auths));
    expect(
      await found(lookup, { secrets: [secret({}, { type, data: { '.dockercfg': bytes } })] }),
    ).toHaveLength(1);
  });

  it('do not come from secrets of other types, without their key, or with nothing in it', async () => {
    const lookup = await open();
    const auths = { 'reg.io': { username: 'u' } };
    for (const fields of [
      { type: 'Opaque' },
      { type: 'kubernetes.io/dockercfg' },
      { type: '__proto__' },
      { data: {} },
      { data: Object.create({ '.dockerconfigjson': 'e30=' }) as Record<string, string> },
      { data: { '.dockerconfigjson': '' } },
    ]) {
      expect(await found(lookup, { secrets: [secret(auths, fields)] })).toEqual([]);
    }
  });

  it('do not come from helpers that a secret names, and none is run', async () => {
    const directory = temporaryDirectory();
    const log = join(directory, 'log');
    writeProgram(directory, 'docker-credential-evil', `echo ran >> '${log}'`);
    const lookup = await open({ helperPath: directory });
    const content = JSON.stringify({ credsStore: 'evil', credHelpers: { 'reg.io': 'evil' } });
    const data = { '.dockerconfigjson': Buffer.from(content) };
    expect(await found(lookup, { secrets: [secret({}, { data })] })).toEqual([]);
    expect(linesOf(log)).toEqual([]);
  });

  const malformed: readonly (readonly [name: string, data: string | Uint8Array, reason: string])[] =
    [
      ['no base64', '!', 'data[".dockerconfigjson"] is not base64'],
      ['no JSON', Buffer.from(`{"auths": "${SECRET}`), 'it is not JSON'],
      [
        'a malformed entry for another registry',
        Buffer.from(`{"auths":{"other.io":{"auth":"${SECRET}!"}}}`),
        'auths["other.io"].auth is not base64',
      ],
      [
        'a line break in its password',
        Buffer.from(
          JSON.stringify({ auths: { 'reg.io': { username: 'u', password: `${SECRET}\n` } } }),
        ),
        'the password of auths["reg.io"] has a control character, for example a line break',
      ],
      [
        'a password of nearly 1 MB',
        Buffer.from(JSON.stringify({ auths: { 'reg.io': { password: 'x'.repeat(1_000_000) } } })),
        'the password of auths["reg.io"] has more than 65536 characters',
      ],
    ];
  for (const [name, content, reason] of malformed) {
    it(`are refused altogether where a secret has ${name}`, async () => {
      const lookup = await open();
      const bad = secret({}, { name: 'bad', data: { '.dockerconfigjson': content } });
      const secrets = [secret({ 'reg.io': { username: 'u' } }), bad];
      const error: unknown = await found(lookup, { secrets }).catch((cause: unknown) => cause);
      expect(error).toMatchObject({
        code: CODES.CREDENTIALS_INVALID,
        message: `the pull secret "team/bad" is not valid: ${reason}`,
        argument: 'secrets[1]',
        reason,
      });
      expect(inspect(error, { depth: 9, showHidden: true })).not.toContain(SECRET);
    });
  }

  it('are not refused for a line break in an entry for another registry', async () => {
    const lookup = await open();
    const auths = { 'reg.io': { username: 'u' }, 'other.io': { username: 'v', password: 'p\n' } };
    expect(await found(lookup, { secrets: [secret(auths)] })).toHaveLength(1);
  });

  const wrong: readonly (readonly [name: string, request: object, argument: string])[] = [
    ['secrets that are no list', { secrets: {} }, 'secrets'],
    ['a secret that is none', { secrets: [null] }, 'secrets[0]'],
    ['a secret without a uid', { secrets: [{ ...secret({}), uid: undefined }] }, 'secrets[0].uid'],
    ['a secret without data', { secrets: [{ ...secret({}), data: undefined }] }, 'secrets[0].data'],
    [
      'an account without a name',
      { serviceAccount: { uid: 'a', namespace: 'b', name: '', token: () => '' } },
      'serviceAccount.name',
    ],
    [
      'an account without a token source',
      { serviceAccount: { uid: 'a', namespace: 'b', name: 'c', token: SECRET } },
      'serviceAccount.token',
    ],
    [
      'annotations that are numbers',
      {
        serviceAccount: {
          uid: 'a',
          namespace: 'b',
          name: 'c',
          token: () => '',
          annotations: { x: 1 },
        },
      },
      'serviceAccount.annotations["x"]',
    ],
  ];
  for (const [name, request, argument] of wrong) {
    it(`are refused with ${name}`, async () => {
      await expect(found(await open(), request)).rejects.toMatchObject({
        code: CODES.INVALID_ARGUMENT,
        argument,
      });
    });
  }

  it('show nothing of themselves when they are printed', async () => {
    const lookup = await open();
    const auths = { 'reg.io': { username: SECRET, password: SECRET, email: SECRET } };
    const credentials = await lookup.pullCredentials({
      image: 'reg.io/app',
      secrets: [secret(auths)],
    });
    for (const printed of [
      inspect({ lookup, credentials }, { depth: 20, showHidden: true }),
      JSON.stringify({ lookup, credentials }),
    ]) {
      expect(printed).not.toContain(SECRET);
    }
    expect(JSON.stringify(credentials)).toContain('[redacted]');
    expect(credentials[0]!.auth.password).toBe(SECRET);
    expect({ ...credentials[0]!.auth }).toEqual(auths['reg.io']);
  });
});

describe("the node's docker config files", () => {
  function file(content: string, name = 'config.json'): string {
    const path = join(temporaryDirectory(), name);
    writeFileSync(path, content);
    return path;
  }
  const config = (username: string) => JSON.stringify({ auths: { 'reg.io': { username } } });

  it('count in their order, and one that is not there holds nothing', async () => {
    const older = file(JSON.stringify({ 'reg.io': { username: 'older' } }), '.dockercfg');
    const lookup = await open({
      nodeConfigFiles: [file(config('one')), '/nowhere/config.json', older],
    });
    expect(await found(lookup)).toEqual(['one from node', 'older from node']);
  });

  it('can have identity tokens', async () => {
    const content = { auths: { 'reg.io': { identitytoken: 'i' } } };
    const lookup = await open({ nodeConfigFiles: [file(JSON.stringify(content))] });
    const [credential] = await lookup.pullCredentials({ image: 'reg.io/app' });
    expect({ ...credential!.auth }).toEqual({ identityToken: 'i' });
  });

  it('are read again when they are written, replaced, removed or made', async () => {
    const path = file(config('one'));
    const lookup = await open({ nodeConfigFiles: [path] });
    expect(await found(lookup)).toEqual(['one from node']);
    writeFileSync(path, config('two'));
    expect(await found(lookup)).toEqual(['two from node']);
    renameSync(file(config('six')), path);
    expect(await found(lookup)).toEqual(['six from node']);
    rmSync(path);
    expect(await found(lookup)).toEqual([]);
    writeFileSync(path, config('ten'));
    expect(await found(lookup)).toEqual(['ten from node']);
  });

  it('are read again after a change that keeps length and time', async () => {
    const path = file(config('one'));
    const past = new Date('2020-01-01T00:00:00Z');
    utimesSync(path, past, past);
    const lookup = await open({ nodeConfigFiles: [path] });
    expect(await found(lookup)).toEqual(['one from node']);
    writeFileSync(path, config('two'));
    utimesSync(path, past, past);
    expect(await found(lookup)).toEqual(['two from node']);
  });

  it('work with ten thousand entries', async () => {
    const auths = Object.fromEntries(
      Array.from({ length: 10_000 }, (_, i) => [`reg-${i}.io`, { username: `u${i}` }]),
    );
    const lookup = await open({ nodeConfigFiles: [file(JSON.stringify({ auths }))] });
    expect(await found(lookup, { image: 'reg-7777.io/app' })).toEqual(['u7777 from node']);
  });

  it('are refused where they are damaged, at the opening and later', async () => {
    const path = file(config('one'));
    const lookup = await open({ nodeConfigFiles: [path] });
    writeFileSync(path, `{"auths":{"reg.io":{"auth":"${SECRET}!"}}}`);
    const expected = {
      code: CODES.CREDENTIALS_INVALID,
      path,
      message: `the docker config file "${path}" is not valid: auths["reg.io"].auth is not base64`,
    };
    await expect(found(lookup)).rejects.toMatchObject(expected);
    await expect(open({ nodeConfigFiles: [path] })).rejects.toMatchObject(expected);
    writeFileSync(path, config('two'));
    expect(await found(lookup)).toEqual(['two from node']);
  });

  it('are refused where they are no files', async () => {
    const directory = temporaryDirectory();
    const pipe = join(directory, 'pipe');
    spawnSync('mkfifo', [pipe]);
    for (const path of [directory, pipe, '/dev/null']) {
      await expect(open({ nodeConfigFiles: [path] })).rejects.toMatchObject({
        code: CODES.CREDENTIALS_INVALID,
        path,
        reason: 'it is not a regular file',
      });
    }
    const below = join(pipe, 'config.json');
    await expect(open({ nodeConfigFiles: [below] })).rejects.toMatchObject({
      code: CODES.CREDENTIALS_INVALID,
      reason: 'it cannot be read: ENOTDIR',
    });
  });
});

describe('a credential lookup', () => {
  const options: readonly (readonly [name: string, options: object, argument: string])[] = [
    ['files that are no list', { nodeConfigFiles: '/x' }, 'nodeConfigFiles'],
    ['a file without a name', { nodeConfigFiles: [''] }, 'nodeConfigFiles'],
    ['a NUL in a file name', { nodeConfigFiles: ['a\0b'] }, 'nodeConfigFiles'],
    ['a provider configuration without programs', { providerConfigFile: '/x' }, 'providerBinDir'],
    ['provider programs without a configuration', { providerBinDir: '/x' }, 'providerConfigFile'],
    ['a search path that is none', { helperPath: 1 }, 'helperPath'],
    ['no time', { programTimeoutMs: 0 }, 'programTimeoutMs'],
    ['a time that is no number', { programTimeoutMs: Number.NaN }, 'programTimeoutMs'],
    ['a time that no timer takes', { programTimeoutMs: 2 ** 31 }, 'programTimeoutMs'],
    ['a negative time', { helperCacheMs: -1 }, 'helperCacheMs'],
  ];
  for (const [name, given, argument] of options) {
    it(`is refused with ${name}`, async () => {
      await expect(CredentialLookup.open(given)).rejects.toMatchObject({
        code: CODES.INVALID_ARGUMENT,
        argument,
      });
    });
  }

  it('is refused where the provider configuration or a program is not there', async () => {
    const directory = temporaryDirectory();
    const given = providerFiles(directory, 'u');
    rmSync(join(directory, 'prov'));
    await expect(open(given)).rejects.toMatchObject({
      code: CODES.CREDENTIALS_INVALID,
      path: given.providerConfigFile,
      reason: `"${join(directory, 'prov')}" is not a program`,
    });
    rmSync(given.providerConfigFile!);
    await expect(open(given)).rejects.toMatchObject({
      code: CODES.CREDENTIALS_INVALID,
      reason: 'there is no such file',
    });
  });

  it('ends what runs when it is closed, and answers nothing afterwards', async () => {
    const directory = temporaryDirectory();
    const log = join(directory, 'log');
    writeProgram(directory, 'docker-credential-slow', `echo ran >> '${log}'; sleep 1000`);
    const path = join(directory, 'config.json');
    writeFileSync(path, JSON.stringify({ credsStore: 'slow' }));
    const lookup = await open({ nodeConfigFiles: [path], helperPath: directory });
    const asked = found(lookup);
    const settled = expect(asked).rejects.toMatchObject({ code: CODES.CLOSED });
    await expect.poll(() => linesOf(log)).toEqual(['ran']);
    await lookup.close();
    await settled;
    await expect(found(lookup)).rejects.toMatchObject({ code: CODES.CLOSED });
    await lookup.close();
  });

  it('aborts by the signal, before and while a program runs', async () => {
    const directory = temporaryDirectory();
    const log = join(directory, 'log');
    writeProgram(directory, 'docker-credential-slow', `echo ran >> '${log}'; sleep 1000`);
    const path = join(directory, 'config.json');
    writeFileSync(path, JSON.stringify({ credsStore: 'slow' }));
    const lookup = await open({ nodeConfigFiles: [path], helperPath: directory });
    const request = { image: 'reg.io/app' };
    await expect(
      lookup.pullCredentials(request, { signal: AbortSignal.abort() }),
    ).rejects.toMatchObject({ code: CODES.ABORTED });
    const abort = new AbortController();
    const settled = expect(
      lookup.pullCredentials(request, { signal: abort.signal }),
    ).rejects.toMatchObject({ name: 'AbortError', code: CODES.ABORTED });
    await expect.poll(() => linesOf(log)).toEqual(['ran']);
    abort.abort();
    await settled;
  });
});

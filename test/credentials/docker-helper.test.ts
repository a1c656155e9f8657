import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  CredentialLookup,
  type CredentialLookupOptions,
} from '../../src/credentials/credential-lookup.ts';
import { PULL_MANAGER_ERROR_CODES as CODES } from '../../src/errors.ts';
import { linesOf, temporaryDirectory, writeProgram } from './programs.ts';

const SECRET = 's3cr3t-value';

interface Helped {
  readonly lookup: CredentialLookup;
  readonly log: string;
  readonly directory: string;
}

/** A lookup whose node config names the helper `test`, which does what `script` says. */
async function helped(
  script: string,
  config: unknown = { credsStore: 'test' },
  options: CredentialLookupOptions = {},
): Promise<Helped> {
  const directory = temporaryDirectory();
  const log = join(directory, 'log');
  const nodeConfigFile = join(directory, 'config.json');
  writeFileSync(nodeConfigFile, JSON.stringify(config));
  writeProgram(
    directory,
    'docker-credential-test',
    `server=$(cat); echo "$1 $server" >> '${log}'\n${script}`,
  );
  const lookup = await CredentialLookup.open({
    nodeConfigFiles: [nodeConfigFile],
    helperPath: `/nowhere:${directory}`,
    ...options,
  });
  onTestFinished(() => lookup.close());
  return { lookup, log, directory };
}

async function auths({ lookup }: Helped, image = 'reg.io/app'): Promise<unknown> {
  const found = await lookup.pullCredentials({ image });
  return found.map(({ auth, source }) => {
    expect(source).toEqual({ kind: 'node' });
    return { ...auth };
  });
}

const ANSWER = `echo '{"ServerURL":"x","Username":"u","Secret":"${SECRET}"}'`;
const NOT_FOUND = "echo 'credentials not found in native keychain'; exit 1";

describe('a docker credential helper', () => {
  it('is asked for the registry, and its answer is the first credential', async () => {
    const config = { auths: { 'reg.io': { username: 'file' } }, credsStore: 'test' };
    const helper = await helped(ANSWER, config);
    expect(await auths(helper)).toEqual([
      { username: 'u', password: SECRET },
      { username: 'file' },
    ]);
    expect(linesOf(helper.log)).toEqual(['get reg.io']);
  });

  it('is given the port, and Docker Hub as docker calls it', async () => {
    const helper = await helped(ANSWER);
    await auths(helper, 'reg.io:5000/team/app');
    await auths(helper, 'ubuntu');
    expect(linesOf(helper.log)).toEqual(['get reg.io:5000', 'get https://index.docker.io/v1/']);
  });

  it('gives an identity token where the user is <token>', async () => {
    const helper = await helped(`echo '{"Username":"<token>","Secret":"${SECRET}"}'`);
    expect(await auths(helper)).toEqual([{ identityToken: SECRET }]);
  });

  it('has nothing where it says so', async () => {
    expect(await auths(await helped(NOT_FOUND))).toEqual([]);
    expect(await auths(await helped('echo {}'))).toEqual([]);
  });

  it('is chosen by the registry where one is named for it', async () => {
    const config = {
      credHelpers: { 'reg.io': 'test', 'https://index.docker.io/v1/': 'test' },
      credsStore: 'missing',
    };
    const helper = await helped(ANSWER, config);
    await auths(helper);
    await auths(helper, 'docker.io/team/app');
    expect(linesOf(helper.log)).toHaveLength(2);
    await expect(auths(helper, 'other.io/app')).rejects.toMatchObject({
      code: CODES.CREDENTIAL_PROVIDER_FAILED,
      path: 'docker-credential-missing',
      reason: 'is not on the search path',
    });
  });

  it('is not asked at all where none is named', async () => {
    const helper = await helped(ANSWER, { credHelpers: { 'other.io': 'test' } });
    expect(await auths(helper)).toEqual([]);
    expect(linesOf(helper.log)).toEqual([]);
  });

  it('is asked once for calls at the same time, and not again for a while', async () => {
    let nowMs = 0;
    const options = { now: () => nowMs, helperCacheMs: 1_000 };
    const helper = await helped(ANSWER, { credsStore: 'test' }, options);
    await Promise.all(Array.from({ length: 20 }, () => auths(helper)));
    nowMs = 999;
    await auths(helper);
    expect(linesOf(helper.log)).toHaveLength(1);
    nowMs = 1_000;
    await auths(helper);
    expect(linesOf(helper.log)).toHaveLength(2);
  });

  it('is asked each time where nothing is to be kept', async () => {
    const helper = await helped(ANSWER, { credsStore: 'test' }, { helperCacheMs: 0 });
    await auths(helper);
    await auths(helper);
    expect(linesOf(helper.log)).toHaveLength(2);
  });

  it('that fails is asked again', async () => {
    const helper = await helped(
      `[ $(wc -l < "$0.log") -gt 1 ] || exit 3\n${ANSWER}`.replace('$0.log', '$(dirname "$0")/log'),
    );
    await expect(auths(helper)).rejects.toMatchObject({ code: CODES.CREDENTIAL_PROVIDER_FAILED });
    expect(await auths(helper)).toHaveLength(1);
  });

  const failures: readonly (readonly [name: string, script: string, reason: string | RegExp])[] = [
    ['exits with 3', `echo ${SECRET} >&2; echo ${SECRET}; exit 3`, 'ended with exit code 3'],
    ['dies', 'kill -9 $$', 'ended by SIGKILL'],
    ['writes garbage', `echo 'garbage ${SECRET}'`, /cannot be used: it is not JSON$/],
    ['writes nothing', 'true', /cannot be used: it is not JSON$/],
    ['writes a list', `echo '["${SECRET}"]'`, /cannot be used: it must be an object$/],
    [
      'writes a number as the secret',
      `echo '{"Username":"u","Secret":7}'`,
      /Secret must be a string$/,
    ],
    [
      'writes a secret with a line break',
      `echo '{"Username":"u","Secret":"${SECRET}\\u000a"}'`,
      /control character/,
    ],
    ['writes too much', `yes ${SECRET} | head -c 100000000`, 'wrote more than 1048576 bytes'],
    ['hangs', 'sleep 1000', 'did not answer within 300 ms'],
  ];
  for (const [name, script, reason] of failures) {
    it(`that ${name} fails by its path, and shows nothing of what it wrote`, async () => {
      const options = name === 'hangs' ? { programTimeoutMs: 300 } : {};
      const helper = await helped(script, { credsStore: 'test' }, options);
      const error: unknown = await auths(helper).catch((cause: unknown) => cause);
      expect(error).toMatchObject({
        code: CODES.CREDENTIAL_PROVIDER_FAILED,
        path: join(helper.directory, 'docker-credential-test'),
        reason: typeof reason === 'string' ? reason : expect.stringMatching(reason),
      });
      expect(String(error)).not.toContain(SECRET);
      expect((error as Error).cause).toBeUndefined();
    });
  }

  it('that fails is passed over and reported where there is another credential', async () => {
    const warnings: unknown[] = [];
    const logger = {
      debug: () => {},
      info: () => {},
      warn: (message: string, fields?: unknown) => warnings.push([message, fields]),
      error: () => {},
    };
    const config = { auths: { 'reg.io': { username: 'file' } }, credsStore: 'test' };
    const helper = await helped(`echo ${SECRET}; exit 3`, config, { logger });
    expect(await auths(helper)).toEqual([{ username: 'file' }]);
    const path = join(helper.directory, 'docker-credential-test');
    expect(warnings).toEqual([
      [
        `the credential program "${path}" ended with exit code 3`,
        { code: CODES.CREDENTIAL_PROVIDER_FAILED, path },
      ],
    ]);
  });

  it('that fails is not made up for by an empty entry, such as docker leaves behind', async () => {
    const helper = await helped('exit 3', { auths: { 'reg.io': {} }, credsStore: 'test' });
    await expect(auths(helper)).rejects.toMatchObject({ code: CODES.CREDENTIAL_PROVIDER_FAILED });
  });
});

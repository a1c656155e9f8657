/**
 * Docker's credential helpers: programs `docker-credential-X` that are given a registry and answer with
 * what is stored for it.
 *
 * Source: docker/docker-credential-helpers client and credentials packages.
 */
import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { checkUsable } from './docker-config.ts';
import { ExpiringCache } from './expiring-cache.ts';
import { JoinedCalls } from './joined-calls.ts';
import { fieldsOf, JsonInputError, parseJson, textOf } from './json-input.ts';
import type { RegistryAuth } from './pull-credential.ts';
import { redactedAuth } from './redacted-auth.ts';
import { type ProgramRunner, programFailed } from './run-program.ts';

/** Answers that are kept. */
const HELPER_ANSWERS_MAX = 256;
/** Docker Hub, as helpers know it. */
const DEFAULT_SERVER = 'https://index.docker.io/v1/';
/** The user name of an answer that is an identity token. */
const TOKEN_USER = '<token>';
/** What a helper writes, with an exit code of 1, that has nothing. */
const NOT_FOUND = 'credentials not found in native keychain';

/** `none`: the helper has nothing; kept like an answer. */
type HelperAnswer = RegistryAuth | 'none';

/** The helpers on one search path. */
export class DockerHelpers {
  readonly #runner: ProgramRunner;
  readonly #directories: readonly string[];
  readonly #cacheMs: number;
  readonly #answers: ExpiringCache<HelperAnswer>;
  readonly #calls = new JoinedCalls<HelperAnswer>();

  /** @param searchPath Directories separated by `:`. */
  constructor(
    runner: ProgramRunner,
    searchPath: string,
    options: { readonly cacheMs: number; readonly now: () => number },
  ) {
    this.#runner = runner;
    this.#directories = searchPath.split(':').filter((directory) => directory !== '');
    this.#cacheMs = options.cacheMs;
    this.#answers = new ExpiringCache(HELPER_ANSWERS_MAX, options.now);
  }

  /**
   * What the helper `docker-credential-<helper>` has for a registry, if anything.
   *
   * @param host Of an image name, with its port.
   * @throws `CREDENTIAL_PROVIDER_FAILED`; `QUEUE_FULL`; `ABORTED`; `CLOSED`.
   */
  async get(helper: string, host: string, signal: AbortSignal): Promise<RegistryAuth | undefined> {
    const key = `${helper} ${host}`;
    const known = this.#answers.get(key);
    const answer =
      known ??
      (await this.#calls.run(
        key,
        (shared) => this.#ask(key, helper, host, shared),
        signal,
        'asking a credential helper',
      ));
    return answer === 'none' ? undefined : answer;
  }

  /** Forgets all answers. */
  clear(): void {
    this.#answers.clear();
  }

  async #ask(
    key: string,
    helper: string,
    host: string,
    signal: AbortSignal,
  ): Promise<HelperAnswer> {
    const program = `docker-credential-${helper}`;
    const path = await this.#find(program);
    const server = host === 'docker.io' ? DEFAULT_SERVER : host;
    const { exitCode, output } = await this.#runner.run(
      { path, args: ['get'], env: process.env, input: server },
      signal,
    );
    const answer = readAnswer(path, exitCode, output);
    this.#answers.set(key, answer, this.#cacheMs);
    return answer;
  }

  async #find(program: string): Promise<string> {
    for (const directory of this.#directories) {
      // Never a bare name, which would be searched for once more.
      const path = resolve(directory, program);
      if (await isExecutableFile(path)) return path;
    }
    throw programFailed(program, 'is not on the search path');
  }
}

/** Whether there is a file that this process may run. */
export async function isExecutableFile(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}

function readAnswer(path: string, exitCode: number, output: Buffer): HelperAnswer {
  if (exitCode !== 0) {
    if (output.toString('latin1').trim() === NOT_FOUND) return 'none';
    throw programFailed(path, `ended with exit code ${exitCode}`);
  }
  try {
    const fields = fieldsOf(parseJson(output), 'it');
    const username = textOf(fields.get('username'), 'Username');
    const secret = textOf(fields.get('secret'), 'Secret');
    if (username === '' && secret === '') return 'none';
    const isToken = username === TOKEN_USER;
    const auth = redactedAuth(isToken ? { identityToken: secret } : { username, password: secret });
    checkUsable(auth, 'the answer');
    return auth;
  } catch (error) {
    if (!(error instanceof JsonInputError)) throw error;
    throw programFailed(path, `gave an answer that cannot be used: ${error.reason}`);
  }
}

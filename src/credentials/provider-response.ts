/**
 * What an exec credential provider answers, `CredentialProviderResponse`.
 *
 * Source: kubelet credentialprovider API, v1, v1beta1 and v1alpha1, which are alike here.
 */
import { quote } from '../errors.ts';
import { checkUsable } from './docker-config.ts';
import { parseGoDuration } from './go-duration.ts';
import { JsonInputError, membersOf, parseJson, textOf } from './json-input.ts';
import type { RegistryAuth } from './pull-credential.ts';
import { redactedAuth } from './redacted-auth.ts';

/** Credentials by location. */
export type ProvidedEntries = readonly (readonly [location: string, auth: RegistryAuth])[];

/** An answer. */
export interface ProviderResponse {
  readonly entries: ProvidedEntries;
  /** For which images it holds: `Image`, `Registry` or `Global`; not checked yet. */
  readonly cacheKeyType: string;
  /** How long it holds; absent: as the configuration says. */
  readonly cacheMs: number | undefined;
}

const RESPONSE_FIELDS: ReadonlySet<string> = new Set([
  'kind',
  'apiVersion',
  'cacheKeyType',
  'cacheDuration',
  'auth',
]);
const AUTH_FIELDS: ReadonlySet<string> = new Set(['username', 'password']);
const API_VERSION = /^[\w.-]{1,64}\/\w{1,32}$/;

/** Throws `JsonInputError`, which shows nothing of the answer but what can be no secret. */
export function parseProviderResponse(output: Buffer, apiVersion: string): ProviderResponse {
  const fields = new Map(membersOf(parseJson(output), 'it'));
  const answered = textOf(fields.get('apiVersion'), 'apiVersion');
  if (answered !== apiVersion) {
    const shown = API_VERSION.test(answered) ? quote(answered) : 'something else';
    throw new JsonInputError(`its apiVersion is ${shown}, not ${quote(apiVersion)}`);
  }
  if (fields.get('kind') !== 'CredentialProviderResponse') {
    throw new JsonInputError('its kind is not "CredentialProviderResponse"');
  }
  checkKnown(fields, RESPONSE_FIELDS, 'it');
  return {
    entries: membersOf(fields.get('auth'), 'auth').map(([location, value], i) => {
      const path = `auth entry ${i}`;
      const auth = new Map(membersOf(value, path));
      checkKnown(auth, AUTH_FIELDS, path);
      const entry = redactedAuth({
        username: textOf(auth.get('username'), `${path}.username`),
        password: textOf(auth.get('password'), `${path}.password`),
      });
      checkUsable(entry, path);
      return [location, entry] as const;
    }),
    cacheKeyType: textOf(fields.get('cacheKeyType'), 'cacheKeyType'),
    cacheMs: cacheMsOf(fields.get('cacheDuration')),
  };
}

function checkKnown(
  fields: ReadonlyMap<string, unknown>,
  known: ReadonlySet<string>,
  path: string,
): void {
  for (const name of fields.keys()) {
    if (!known.has(name)) throw new JsonInputError(`${path} has an unknown field`);
  }
}

function cacheMsOf(value: unknown): number | undefined {
  if (value === undefined || value === null) return undefined;
  const durationMs = parseGoDuration(textOf(value, 'cacheDuration'));
  if (durationMs === undefined) throw new JsonInputError('cacheDuration is not a time');
  return durationMs;
}

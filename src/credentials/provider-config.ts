/**
 * The kubelet's configuration of exec credential providers, `CredentialProviderConfig`, as JSON.
 *
 * Source: kubernetes pkg/kubelet/apis/config (CredentialProviderConfig),
 * pkg/credentialprovider/plugin/config.go.
 */
import { quote } from '../errors.ts';
import { parseGoDuration } from './go-duration.ts';
import {
  booleanOf,
  itemsOf,
  JsonInputError,
  memberPath,
  parseJson,
  strictFieldsOf,
  textOf,
} from './json-input.ts';
import { parseLocation, type RegistryLocation } from './registry-location.ts';

/** Bytes of a configuration. */
export const PROVIDER_CONFIG_BYTES_MAX: number = 2 ** 20;

const CONFIG_KIND = 'CredentialProviderConfig';
const CONFIG_VERSIONS: ReadonlySet<string> = new Set(
  ['v1', 'v1beta1', 'v1alpha1'].map((version) => `kubelet.config.k8s.io/${version}`),
);
/** The version whose requests can carry service account tokens. */
const TOKEN_VERSION = 'credentialprovider.kubelet.k8s.io/v1';
const PROVIDER_VERSIONS: ReadonlySet<string> = new Set([
  TOKEN_VERSION,
  'credentialprovider.kubelet.k8s.io/v1beta1',
  'credentialprovider.kubelet.k8s.io/v1alpha1',
]);

/** How a provider wants service account tokens. */
export interface TokenAttributes {
  readonly audience: string;
  /** Whether its answers hold for the account, or only for the token that they were given for. */
  readonly cacheType: 'ServiceAccount' | 'Token';
  /** Whether pods without a service account are passed over. */
  readonly requireServiceAccount: boolean;
  /** Accounts that lack one of these annotations are passed over. */
  readonly requiredAnnotationKeys: readonly string[];
  readonly optionalAnnotationKeys: readonly string[];
}

/** One provider: a program, and the images that it is asked about. */
export interface ProviderSettings {
  /** The file name of the program. */
  readonly name: string;
  readonly matchImages: readonly RegistryLocation[];
  /** For answers that do not say how long they hold; 0: only once. */
  readonly defaultCacheMs: number;
  /** Of its requests and answers. */
  readonly apiVersion: string;
  readonly args: readonly string[];
  readonly env: readonly (readonly [name: string, value: string])[];
  /** Absent: it is not given tokens, and what it answers is the node's. */
  readonly tokenAttributes: TokenAttributes | undefined;
}

/** Throws `JsonInputError`. */
export function parseProviderConfig(bytes: Uint8Array): readonly ProviderSettings[] {
  if (bytes.length > PROVIDER_CONFIG_BYTES_MAX) {
    throw new JsonInputError(`it has more than ${PROVIDER_CONFIG_BYTES_MAX} bytes`);
  }
  const config = strictFieldsOf(parseJson(bytes), 'it', ['kind', 'apiVersion', 'providers']);
  if (config.get('kind') !== CONFIG_KIND) {
    throw new JsonInputError(`kind must be ${quote(CONFIG_KIND)}`);
  }
  checkVersion(config.get('apiVersion'), 'apiVersion', CONFIG_VERSIONS);
  const providers = itemsOf(config.get('providers'), 'providers').map((value, i) =>
    providerOf(value, `providers[${i}]`),
  );
  if (providers.length === 0) throw new JsonInputError('providers must not be empty');
  const names = providers.map(({ name }) => name);
  const repeated = firstRepeated(names);
  if (repeated !== undefined) {
    throw new JsonInputError(`providers has two of the name ${quote(repeated)}`);
  }
  return providers;
}

const PROVIDER_FIELDS = [
  'name',
  'matchImages',
  'defaultCacheDuration',
  'apiVersion',
  'args',
  'env',
  'tokenAttributes',
];

function providerOf(value: unknown, path: string): ProviderSettings {
  const fields = strictFieldsOf(value, path, PROVIDER_FIELDS);
  const apiVersion = checkVersion(
    fields.get('apiVersion'),
    `${path}.apiVersion`,
    PROVIDER_VERSIONS,
  );
  const tokenAttributes = tokenAttributesOf(
    fields.get('tokenAttributes'),
    `${path}.tokenAttributes`,
  );
  if (tokenAttributes !== undefined && apiVersion !== TOKEN_VERSION) {
    throw new JsonInputError(
      `${path}.tokenAttributes needs the apiVersion ${quote(TOKEN_VERSION)}`,
    );
  }
  return {
    name: nameOf(fields.get('name'), `${path}.name`),
    matchImages: patternsOf(fields.get('matchImages'), `${path}.matchImages`),
    defaultCacheMs: cacheMsOf(fields.get('defaultCacheDuration'), `${path}.defaultCacheDuration`),
    apiVersion,
    args: textsOf(fields.get('args'), `${path}.args`),
    env: itemsOf(fields.get('env'), `${path}.env`).map((item, i) =>
      variableOf(item, `${path}.env[${i}]`),
    ),
    tokenAttributes,
  };
}

function checkVersion(value: unknown, path: string, known: ReadonlySet<string>): string {
  const version = textOf(value, path);
  if (known.has(version)) return version;
  throw new JsonInputError(`${path} must be one of ${[...known].join(', ')}`);
}

function nameOf(value: unknown, path: string): string {
  const name = textOf(value, path);
  if (name === '' || name === '.' || name === '..' || /[/ \0]/.test(name)) {
    throw new JsonInputError(`${path} must be the name of a file, without slashes and spaces`);
  }
  return name;
}

function patternsOf(value: unknown, path: string): readonly RegistryLocation[] {
  const patterns = textsOf(value, path).map((text, i) => {
    const location = parseLocation(text);
    if (location === undefined)
      throw new JsonInputError(`${path}[${i}] is not a registry location`);
    return location;
  });
  if (patterns.length === 0) throw new JsonInputError(`${path} must not be empty`);
  return patterns;
}

function cacheMsOf(value: unknown, path: string): number {
  const durationMs = parseGoDuration(textOf(value, path));
  if (durationMs !== undefined && durationMs >= 0) return durationMs;
  throw new JsonInputError(`${path} must be a time such as "12h" or "0s", not less than 0`);
}

function textsOf(value: unknown, path: string): readonly string[] {
  return itemsOf(value, path).map((item, i) => {
    const text = textOf(item, `${path}[${i}]`);
    // Neither arguments nor variables of a program can hold it.
    if (text.includes('\0')) throw new JsonInputError(`${path}[${i}] must not have a NUL`);
    return text;
  });
}

function variableOf(value: unknown, path: string): readonly [string, string] {
  const fields = strictFieldsOf(value, path, ['name', 'value']);
  const [name, text] = textsOf([fields.get('name'), fields.get('value')], path);
  if (name === '' || name!.includes('=')) {
    throw new JsonInputError(`${path}.name must be the name of a variable`);
  }
  return [name!, text!];
}

const TOKEN_FIELDS = [
  'serviceAccountTokenAudience',
  'cacheType',
  'requireServiceAccount',
  'requiredServiceAccountAnnotationKeys',
  'optionalServiceAccountAnnotationKeys',
];

function tokenAttributesOf(value: unknown, path: string): TokenAttributes | undefined {
  if (value === undefined || value === null) return undefined;
  const fields = strictFieldsOf(value, path, TOKEN_FIELDS);
  const audience = textOf(
    fields.get('serviceAccountTokenAudience'),
    `${path}.serviceAccountTokenAudience`,
  );
  if (audience === '') {
    throw new JsonInputError(`${path}.serviceAccountTokenAudience must not be empty`);
  }
  const cacheType = fields.get('cacheType');
  if (cacheType !== 'ServiceAccount' && cacheType !== 'Token') {
    throw new JsonInputError(`${path}.cacheType must be "ServiceAccount" or "Token"`);
  }
  const attributes = {
    audience,
    cacheType,
    requireServiceAccount: booleanOf(
      fields.get('requireServiceAccount'),
      `${path}.requireServiceAccount`,
    ),
    requiredAnnotationKeys: annotationKeysOf(fields, 'requiredServiceAccountAnnotationKeys', path),
    optionalAnnotationKeys: annotationKeysOf(fields, 'optionalServiceAccountAnnotationKeys', path),
  } as const;
  checkAnnotationKeys(attributes, path);
  return attributes;
}

function annotationKeysOf(
  fields: ReadonlyMap<string, unknown>,
  name: string,
  path: string,
): readonly string[] {
  return textsOf(fields.get(name), `${path}.${name}`);
}

function checkAnnotationKeys(attributes: TokenAttributes, path: string): void {
  const { requireServiceAccount, requiredAnnotationKeys, optionalAnnotationKeys } = attributes;
  if (!requireServiceAccount && requiredAnnotationKeys.length > 0) {
    throw new JsonInputError(
      `${path}.requireServiceAccount must be true where annotations are required`,
    );
  }
  const keys = [...requiredAnnotationKeys, ...optionalAnnotationKeys];
  const wrong = keys.includes('') ? '' : firstRepeated(keys);
  if (wrong !== undefined) {
    throw new JsonInputError(
      `${memberPath(path, wrong)} is no annotation key, or is there more than once`,
    );
  }
}

/** The first text that was there before, if any. Linear: there may be very many. */
function firstRepeated(texts: readonly string[]): string | undefined {
  const seen = new Set<string>();
  return texts.find((text) => seen.size === seen.add(text).size);
}

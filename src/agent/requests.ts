/** What clients ask for: the JSON of requests, checked. */
import {
  type PodServiceAccount,
  PULL_SECRET_KEYS,
  type PullSecret,
} from '../credentials/pod-identity.ts';
import { PullManagerError, quote } from '../errors.ts';
import { PULL_POLICIES, type PullPolicy } from '../images/pull-policy.ts';
import { Fields } from './fields.ts';

/** What a pod brings along. */
export interface PodBaggage {
  readonly secrets: readonly PullSecret[];
  readonly serviceAccount?: PodServiceAccount;
}

/** The body of `POST /v1/ensure`. */
export interface EnsureBody extends PodBaggage {
  readonly image: string;
  readonly pullPolicy: PullPolicy;
  readonly podUid: string;
}

/** The body of `POST /v1/check`. */
export interface CheckBody extends PodBaggage {
  readonly image: string;
  /** Absent: that of the image on the node. */
  readonly imageRef: string | undefined;
}

const BAGGAGE = ['secrets', 'serviceAccount'] as const;
const DEFAULT_SECRET_TYPE = 'kubernetes.io/dockerconfigjson';

/** Errors: `INVALID_ARGUMENT` naming the field. */
export function parseEnsure(body: unknown): EnsureBody {
  const fields = new Fields(body, '', ['image', 'pullPolicy', 'podUid', ...BAGGAGE]);
  return {
    image: fields.name('image'),
    pullPolicy: fields.choice('pullPolicy', PULL_POLICIES),
    podUid: fields.name('podUid'),
    ...baggageOf(fields),
  };
}

/** Errors: `INVALID_ARGUMENT` naming the field. */
export function parseCheck(body: unknown): CheckBody {
  const fields = new Fields(body, '', ['image', 'imageRef', ...BAGGAGE]);
  return {
    image: fields.name('image'),
    imageRef: fields.optionalText('imageRef'),
    ...baggageOf(fields),
  };
}

/** The body of `POST /v1/collect`: an object without fields. Errors: `INVALID_ARGUMENT`. */
export function parseCollect(body: unknown): void {
  void new Fields(body, '', []);
}

function baggageOf(fields: Fields): PodBaggage {
  const secrets = fields
    .list('secrets')
    .map((secret, i) => secretOf(secret, `${fields.path('secrets')}[${i}]`));
  const account = fields.get('serviceAccount');
  if (account === undefined) return { secrets };
  return { secrets, serviceAccount: accountOf(account, fields.path('serviceAccount')) };
}

function secretOf(value: unknown, path: string): PullSecret {
  const fields = new Fields(value, path, ['uid', 'namespace', 'name', 'type', 'data']);
  const types = [...PULL_SECRET_KEYS.keys()];
  const isGiven = fields.get('type') !== undefined;
  const type = isGiven ? fields.choice('type', types) : DEFAULT_SECRET_TYPE;
  const key = PULL_SECRET_KEYS.get(type)!;
  return {
    uid: fields.name('uid'),
    namespace: fields.name('namespace'),
    name: fields.name('name'),
    type,
    data: { [key]: contentOf(fields, key) },
  };
}

/**
 * The content of a secret: base64 of the file, the file's JSON itself, or `data` as the Kubernetes API
 * has it.
 */
function contentOf(fields: Fields, key: string): string | Uint8Array {
  const data = fields.get('data');
  if (typeof data === 'string') return data;
  if (typeof data !== 'object' || data === null || Array.isArray(data)) {
    throw fields.wrong('data', 'must be a string in base64, or an object');
  }
  if (!Object.hasOwn(data, key)) return Buffer.from(textOf(data, fields));
  const content = (data as Record<string, unknown>)[key];
  if (typeof content === 'string') return content;
  throw fields.wrong(`data[${quote(key)}]`, 'must be a string in base64');
}

function textOf(data: object, fields: Fields): string {
  try {
    return JSON.stringify(data);
  } catch {
    // The parser of JSON takes any depth; this does not.
    throw fields.wrong('data', 'is nested too deeply');
  }
}

function accountOf(value: unknown, path: string): PodServiceAccount {
  const known = ['uid', 'namespace', 'name', 'annotations', 'token', 'tokens'];
  const fields = new Fields(value, path, known);
  const token = fields.optionalText('token');
  const tokens = fields.optionalTexts('tokens') ?? {};
  const annotations = fields.optionalTexts('annotations');
  return {
    uid: fields.name('uid'),
    namespace: fields.name('namespace'),
    name: fields.name('name'),
    ...(annotations === undefined ? {} : { annotations }),
    token: (audience) => {
      const found = Object.hasOwn(tokens, audience) ? tokens[audience] : token;
      if (found !== undefined) return found;
      const argument = fields.path('tokens');
      throw new PullManagerError(
        'CREDENTIALS_INVALID',
        `${argument} lacks a token for the audience ${quote(audience)}, which a credential provider wants`,
        { argument },
      );
    },
  };
}

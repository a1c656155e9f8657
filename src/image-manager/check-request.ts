/** Checks of what callers pass to an image manager. Messages name the field, never its value. */
import {
  type PullCredential,
  type PullCredentialsSource,
  REGISTRY_AUTH_FIELDS,
} from '../credentials/pull-credential.ts';
import { isText, textProblem } from '../engine/arguments.ts';
import { invalidArgument, type PullManagerError } from '../errors.ts';
import { PULL_POLICIES } from '../images/pull-policy.ts';
import type { CheckImageRequest, EnsureImageRequest } from './request.ts';

const COORDINATES = ['uid', 'namespace', 'name'] as const;
/** More than that are a mistake, and each would be a trip to a registry. */
const CREDENTIALS_MAX = 10_000;

type Fields = Readonly<Record<string, unknown>>;

const NO_CREDENTIALS: readonly PullCredential[] = [];

/** The request, each field read once. Throws `INVALID_ARGUMENT`. */
export function checkedRequest(request: EnsureImageRequest): Required<EnsureImageRequest> {
  if (typeof request !== 'object' || request === null) {
    throw invalidArgument('request', 'must be an object');
  }
  const { image, pullPolicy, podUid, credentials = NO_CREDENTIALS } = request;
  const problem = textProblem('request.image', image) ?? textProblem('request.podUid', podUid);
  if (problem !== undefined) throw problem;
  if (!PULL_POLICIES.includes(pullPolicy)) {
    throw invalidArgument('request.pullPolicy', `must be one of ${PULL_POLICIES.join(', ')}`);
  }
  if (typeof credentials !== 'function') checkPullCredentials(credentials);
  return { image, pullPolicy, podUid, credentials };
}

/** The question, each field read once. Throws `INVALID_ARGUMENT`. */
export function checkedQuestion(
  request: CheckImageRequest,
): CheckImageRequest & { readonly credentials: PullCredentialsSource } {
  if (typeof request !== 'object' || request === null) {
    throw invalidArgument('request', 'must be an object');
  }
  const { image, imageRef, credentials = NO_CREDENTIALS } = request;
  const problem =
    textProblem('request.image', image) ??
    (imageRef === undefined ? undefined : textProblem('request.imageRef', imageRef));
  if (problem !== undefined) throw problem;
  if (typeof credentials !== 'function') checkPullCredentials(credentials);
  return imageRef === undefined ? { image, credentials } : { image, imageRef, credentials };
}

/** The credentials, if they are some. Throws `INVALID_ARGUMENT`. */
export function checkPullCredentials(value: unknown): readonly PullCredential[] {
  if (!Array.isArray(value)) throw invalidArgument('request.credentials', 'must be an array');
  if (value.length > CREDENTIALS_MAX) {
    throw invalidArgument('request.credentials', `must have at most ${CREDENTIALS_MAX} entries`);
  }
  for (let i = 0; i < value.length; i++) checkCredential(value[i], i);
  return value as PullCredential[];
}

function checkCredential(value: unknown, index: number): void {
  const { auth, source } = fieldsOf(value, index, '');
  const authFields = fieldsOf(auth, index, '.auth');
  if (!isRegistryAuth(authFields)) throw authProblem(authFields, index);
  const sourceFields = fieldsOf(source, index, '.source');
  const { kind, uid, namespace, name } = sourceFields;
  if (kind === 'node') return;
  if (kind !== 'secret' && kind !== 'serviceAccount') {
    throw invalidArgument(nameOf(index, '.source.kind'), 'must be secret, serviceAccount or node');
  }
  if (!isText(uid) || !isText(namespace) || !isText(name)) {
    throw coordinatesProblem({ uid, namespace, name }, index);
  }
  // All such secrets would be one, and a proof by one of them a proof by all.
  if (uid === '' && namespace === '' && name === '') {
    throw invalidArgument(nameOf(index, '.source'), 'must have a uid, a namespace or a name');
  }
}

/**
 * Field by field, and not in a loop over their names, which costs more than all other checks
 * (docs/decisions.md). What is wrong with a field is found out in a loop once something is.
 */
function isRegistryAuth(auth: Fields): boolean {
  return (
    isTextOrAbsent(auth.username) &&
    isTextOrAbsent(auth.password) &&
    isTextOrAbsent(auth.auth) &&
    isTextOrAbsent(auth.email) &&
    isTextOrAbsent(auth.serverAddress) &&
    isTextOrAbsent(auth.identityToken) &&
    isTextOrAbsent(auth.registryToken)
  );
}

function isTextOrAbsent(value: unknown): boolean {
  return value === undefined || typeof value === 'string';
}

function authProblem(auth: Fields, index: number): PullManagerError {
  const field = REGISTRY_AUTH_FIELDS.find((name) => !isTextOrAbsent(auth[name]));
  return invalidArgument(
    nameOf(index, `.auth${field === undefined ? '' : `.${field}`}`),
    'must be a string',
  );
}

function coordinatesProblem(coordinates: Fields, index: number): PullManagerError {
  const problems = COORDINATES.map((field) =>
    textProblem(nameOf(index, `.source.${field}`), coordinates[field]),
  );
  return problems.find((problem) => problem !== undefined)!;
}

function nameOf(index: number, field: string): string {
  return `request.credentials[${index}]${field}`;
}

function fieldsOf(value: unknown, index: number, field: string): Fields {
  if (typeof value !== 'object' || value === null) {
    throw invalidArgument(nameOf(index, field), 'must be an object');
  }
  return value as Fields;
}

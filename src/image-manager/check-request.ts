/** Checks of what callers pass to an image manager. Messages name the field, never its value. */
import { type PullCredential, REGISTRY_AUTH_FIELDS } from '../credentials/pull-credential.ts';
import { textProblem } from '../engine/arguments.ts';
import { invalidArgument } from '../errors.ts';
import { PULL_POLICIES } from '../images/pull-policy.ts';
import type { CheckImageRequest, EnsureImageRequest } from './request.ts';

const COORDINATES = ['uid', 'namespace', 'name'] as const;
/** More than that are a mistake, and each would be a trip to a registry. */
const CREDENTIALS_MAX = 10_000;

/** The request, each field read once. Throws `INVALID_ARGUMENT`. */
export function checkedRequest(request: EnsureImageRequest): EnsureImageRequest {
  if (typeof request !== 'object' || request === null) {
    throw invalidArgument('request', 'must be an object');
  }
  const { image, pullPolicy, podUid, credentials } = request;
  const problem = textProblem('request.image', image) ?? textProblem('request.podUid', podUid);
  if (problem !== undefined) throw problem;
  if (!PULL_POLICIES.includes(pullPolicy)) {
    throw invalidArgument('request.pullPolicy', `must be one of ${PULL_POLICIES.join(', ')}`);
  }
  const checked = { image, pullPolicy, podUid };
  if (credentials === undefined) return checked;
  if (typeof credentials !== 'function') checkPullCredentials(credentials);
  return { ...checked, credentials };
}

/** The question, each field read once. Throws `INVALID_ARGUMENT`. */
export function checkedQuestion(request: CheckImageRequest): CheckImageRequest {
  if (typeof request !== 'object' || request === null) {
    throw invalidArgument('request', 'must be an object');
  }
  const { image, imageRef, credentials } = request;
  const problem =
    textProblem('request.image', image) ??
    (imageRef === undefined ? undefined : textProblem('request.imageRef', imageRef));
  if (problem !== undefined) throw problem;
  if (credentials !== undefined && typeof credentials !== 'function') {
    checkPullCredentials(credentials);
  }
  return {
    image,
    ...(imageRef !== undefined && { imageRef }),
    ...(credentials !== undefined && { credentials }),
  };
}

/** The credentials, if they are some. Throws `INVALID_ARGUMENT`. */
export function checkPullCredentials(value: unknown): readonly PullCredential[] {
  if (!Array.isArray(value)) throw invalidArgument('request.credentials', 'must be an array');
  if (value.length > CREDENTIALS_MAX) {
    throw invalidArgument('request.credentials', `must have at most ${CREDENTIALS_MAX} entries`);
  }
  for (let i = 0; i < value.length; i++) checkCredential(value[i], `request.credentials[${i}]`);
  return value as PullCredential[];
}

function checkCredential(value: unknown, argument: string): void {
  const { auth, source } = fieldsOf(value, argument);
  const authFields = fieldsOf(auth, `${argument}.auth`);
  for (const field of REGISTRY_AUTH_FIELDS) {
    const text = authFields[field];
    if (text !== undefined && typeof text !== 'string') {
      throw invalidArgument(`${argument}.auth.${field}`, 'must be a string');
    }
  }
  const sourceFields = fieldsOf(source, `${argument}.source`);
  const { kind } = sourceFields;
  if (kind === 'node') return;
  if (kind !== 'secret' && kind !== 'serviceAccount') {
    throw invalidArgument(`${argument}.source.kind`, 'must be secret, serviceAccount or node');
  }
  for (const field of COORDINATES) {
    const problem = textProblem(`${argument}.source.${field}`, sourceFields[field]);
    if (problem !== undefined) throw problem;
  }
  // All such secrets would be one, and a proof by one of them a proof by all.
  if (COORDINATES.every((field) => sourceFields[field] === '')) {
    throw invalidArgument(`${argument}.source`, 'must have a uid, a namespace or a name');
  }
}

function fieldsOf(value: unknown, argument: string): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) {
    throw invalidArgument(argument, 'must be an object');
  }
  return value as Record<string, unknown>;
}

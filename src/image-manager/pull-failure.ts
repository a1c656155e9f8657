/** Why a pull failed: one error for each credential that was tried, and what users are told. */
import type { RegistryAuth } from '../credentials/pull-credential.ts';
import { quote } from '../errors.ts';
import { ImageRuntimeError, isUnanswered } from '../runtime/image-runtime.ts';
import { withoutSecrets } from '../runtime/without-secrets.ts';
import { EnsureImageError, type EnsureImageErrorCode } from './ensure-image-error.ts';

/** Reasons that a runtime puts before its text, and what users are told in their place. */
const REASONS: readonly (readonly [code: EnsureImageErrorCode, because: string])[] = [
  ['RegistryUnavailable', 'the registry is unavailable'],
  ['SignatureValidationFailed', 'the signature validation failed'],
];

/**
 * Whatever a runtime rejected with, as an error that can be passed on. One that is not an
 * `ImageRuntimeError` may hold anything, so only its text is kept, without the secrets it was given.
 * Once the call is aborted such an error says nothing of what became of it.
 */
export function runtimeErrorOf(
  error: unknown,
  auth: RegistryAuth | undefined,
  signal: AbortSignal,
): ImageRuntimeError {
  try {
    if (error instanceof ImageRuntimeError) return error;
    const reason = withoutSecrets(textOf(error), auth);
    const answered = !signal.aborted && !isUnanswered(error);
    return new ImageRuntimeError('other', reason, { answered, reason });
  } catch {
    // A proxy, or an object with a getter that throws.
    const reason = 'the runtime failed with an error that cannot be read';
    return new ImageRuntimeError('other', reason, { answered: false, reason });
  }
}

/**
 * The error of `ensureImage` after all attempts have failed: `cause` is that of the one attempt, or an
 * `AggregateError` of all. A reason that the runtime puts first decides the code.
 *
 * Source: kubernetes pkg/kubelet/images/image_manager.go, evalCRIPullErr.
 */
export function pullFailureOf(
  image: string,
  errors: readonly ImageRuntimeError[],
): EnsureImageError {
  const cause = errors.length > 1 ? new AggregateError(errors, 'no credential worked') : errors[0];
  const text = [...new Set(errors.map(({ reason, message }) => reason ?? message))].join('; ');
  for (const [code, because] of REASONS) {
    if (!text.startsWith(code)) continue;
    const rest = text.slice(code.length);
    const message = `image pull failed for ${quote(image)} because ${because}${rest}`;
    return new EnsureImageError(code, message, { image, cause });
  }
  const message = `pulling image ${quote(image)} failed: ${text}`;
  return new EnsureImageError('ErrImagePull', message, { image, cause });
}

/** gRPC clients have the server's text as `details`, and their own words around it as `message`. */
function textOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return `a value of type ${typeof error}`;
  const { details, message } = error as { details?: unknown; message?: unknown };
  if (typeof details === 'string' && details !== '') return details;
  return typeof message === 'string' ? message : 'an error without a message';
}

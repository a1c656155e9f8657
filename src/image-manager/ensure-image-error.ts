/** How `ensureImage` fails. */
import { quote } from '../errors.ts';

/** Upstream's reasons, under upstream's names, and those of pullwarden itself. */
export type EnsureImageErrorCode =
  /** The text is not an image name. */
  | 'ErrInvalidImageName'
  /** The runtime could not be asked whether it has the image. */
  | 'ErrImageInspect'
  /** Policy `Never`, and the image is absent or may not be used: which, is not told. */
  | 'ErrImageNeverPull'
  /** An earlier pull for this pod failed a short time ago. */
  | 'ErrImagePullBackOff'
  /** The pull failed; `cause` says how, as an `ImageRuntimeError` where the runtime is a CRI client. */
  | 'ErrImagePull'
  /** The runtime says that the registry is unavailable. */
  | 'RegistryUnavailable'
  /** The runtime says that a signature is not valid. */
  | 'SignatureValidationFailed'
  /** The credentials could not be looked up; nothing was pulled. */
  | 'ErrImageCredentials'
  /** The pull could not be recorded, so it was not begun. */
  | 'ErrImagePullIntent';

/** An image could not be ensured. The message names the image, and never a secret. */
export class EnsureImageError extends Error {
  readonly code: EnsureImageErrorCode;
  /** The image as it was requested. */
  readonly image: string;
  /** With `ErrImagePullBackOff`: how long until the pod may try again. */
  declare readonly retryAfterMs?: number;

  constructor(
    code: EnsureImageErrorCode,
    message: string,
    options: {
      readonly image: string;
      readonly cause?: unknown;
      readonly retryAfterMs?: number;
    },
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'EnsureImageError';
    this.code = code;
    this.image = options.image;
    if (options.retryAfterMs !== undefined) this.retryAfterMs = options.retryAfterMs;
  }
}

/** The image is absent, or this pod may not use it: one and the same error. */
export function neverPull(image: string): EnsureImageError {
  const message = `Container image ${quote(image)} may not be used without a pull, and the pull policy is Never`;
  return new EnsureImageError('ErrImageNeverPull', message, { image });
}

/** The credentials could not be looked up. */
export function credentialsFailed(image: string, cause: unknown): EnsureImageError {
  const message = `the credentials for image ${quote(image)} could not be looked up`;
  return new EnsureImageError('ErrImageCredentials', message, { image, cause });
}

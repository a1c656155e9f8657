/** What of an error may stand in a log: nothing that others wrote, which may have secrets in it. */
import { errorCode, PullManagerError } from '../errors.ts';
import { EnsureImageError } from '../image-manager/ensure-image-error.ts';

/** Fields of an error for a log line. */
export interface ErrorFields {
  readonly name: string;
  readonly code?: string;
  /** Of pullwarden's own errors: those name what was given, and no secret. */
  readonly message?: string;
  /** Where an error of others was made. */
  readonly at?: readonly string[];
}

const FRAMES_MAX = 8;

/** Fields of any thrown value. */
export function describeUnknown(error: unknown): ErrorFields {
  if (!(error instanceof Error)) return { name: typeof error };
  const code = errorCode(error);
  const fields = { name: error.name, ...(code === undefined ? {} : { code }) };
  const isOwn = error instanceof PullManagerError || error instanceof EnsureImageError;
  return isOwn ? { ...fields, message: error.message } : { ...fields, at: framesOf(error) };
}

/** The stack without what precedes it: the message. */
function framesOf({ stack = '', message }: Error): string[] {
  const messageAt = stack.indexOf(message);
  // A message of many lines may have some that look like frames.
  const rest = messageAt === -1 ? '' : stack.slice(messageAt + message.length);
  return rest
    .split('\n')
    .filter((line) => /^\s+at /.test(line))
    .slice(0, FRAMES_MAX)
    .map((line) => line.trim());
}

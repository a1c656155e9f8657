/** Checks of what callers pass to a pull manager. */
import { invalidArgument, type PullManagerError } from '../errors.ts';
import { TEXT_LENGTH_MAX } from '../protocol/frames.ts';
import { wellFormed } from '../util/well-formed.ts';

/** Whether `textProblem` finds nothing. */
export function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length <= TEXT_LENGTH_MAX;
}

/** What is wrong with an image or an image reference; `undefined` where nothing is. */
export function textProblem(argument: string, value: unknown): PullManagerError | undefined {
  if (typeof value !== 'string') return invalidArgument(argument, 'must be a string');
  if (value.length <= TEXT_LENGTH_MAX) return undefined;
  return invalidArgument(argument, `must have at most ${TEXT_LENGTH_MAX} characters`);
}

/** The image references of a caller's list, as the owners spell them. */
export function listedRefs(imageRefs: unknown): string[] {
  const isIterable =
    typeof imageRefs === 'object' && imageRefs !== null && Symbol.iterator in imageRefs;
  if (!isIterable) throw invalidArgument('imageRefs', 'must be an iterable of strings');
  return Array.from(imageRefs as Iterable<unknown>, (imageRef, i) => {
    const problem = textProblem(`imageRefs[${i}]`, imageRef);
    if (problem !== undefined) throw problem;
    return wellFormed(imageRef as string);
  });
}

/** The signal of a call's options, where there is one. */
export function signalOf(options: { readonly signal?: AbortSignal }): AbortSignal | undefined {
  if (typeof options !== 'object' || options === null) {
    throw invalidArgument('options', 'must be an object');
  }
  const { signal } = options;
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw invalidArgument('options.signal', 'must be an AbortSignal');
  }
  return signal;
}

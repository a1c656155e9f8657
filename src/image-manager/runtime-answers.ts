/** What a runtime of the caller's own may answer, checked: records are kept under these texts. */

import type { RuntimeImage } from '../images/image-service.ts';
import { TEXT_LENGTH_MAX } from '../protocol/frames.ts';
import { type ImageRuntime, ImageRuntimeError } from '../runtime/image-runtime.ts';
import { untilAborted } from '../util/until-aborted.ts';

/** What the runtime says of a name: the id, `undefined` where it has none, `null`: it does not say. */
export type SeenRef = string | undefined | null;

/** What the runtime has under a name; rejects as soon as the signal is aborted. */
export function imageStatus(
  runtime: ImageRuntime,
  runtimeName: string,
  signal: AbortSignal,
): Promise<RuntimeImage | undefined> {
  const asked = runtime.imageStatus(runtimeName, signal);
  if (runtime.endsOnAbort === true) return asked;
  // One of the caller's own may answer without a promise.
  return untilAborted(Promise.resolve(asked), signal, (reason) => reason);
}

/** Asks the runtime for the id of a name. Never rejects; an abort is no answer. */
export async function seenRef(
  runtime: ImageRuntime,
  runtimeName: string,
  signal: AbortSignal,
): Promise<SeenRef> {
  try {
    const status = await imageStatus(runtime, runtimeName, signal);
    return status === undefined ? undefined : idOf(status);
  } catch {
    return null;
  }
}

/** The id of an image that the runtime has; throws an `ImageRuntimeError` where it is none. */
export function idOf(image: RuntimeImage): string {
  return checkedId((image as RuntimeImage | null)?.id, true);
}

/** The id that a pull has given. Without one, what was pulled is not known. */
export function pulledIdOf(id: string): string {
  return checkedId(id, false);
}

/** The ids of all images that the runtime has; throws where one has none: the list is not complete. */
export function listedIdsOf(images: readonly RuntimeImage[]): string[] {
  if (!Array.isArray(images)) throw protocolError('listed no array', true);
  return images.map(idOf);
}

function checkedId(id: unknown, answered: boolean): string {
  if (typeof id !== 'string' || id === '' || id.length > TEXT_LENGTH_MAX) {
    throw protocolError('answered an image without an id', answered);
  }
  return id;
}

function protocolError(problem: string, answered: boolean): ImageRuntimeError {
  return new ImageRuntimeError('protocol', `the runtime ${problem}`, { answered });
}

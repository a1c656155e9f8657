/** What the runtime is asked for: the requested image with the default tag. */
import { ImageNameError } from '../errors.ts';
import { parseImageName } from '../images/image-name.ts';
import { BoundedCache } from '../util/bounded-cache.ts';
import { EnsureImageError } from './ensure-image-error.ts';

const TAG_DEFAULT = 'latest';
/** A node has hundreds of images, which are asked for again and again. */
const LATELY_MAX = 4_096;
const lately = new BoundedCache<string, string>(LATELY_MAX);
/** An image name like any other; but runtimes look for images whose id begins so. */
const LIKE_AN_ID = /^sha\d+:[0-9a-f]+$/i;

/**
 * The requested text, with `:latest` where it has neither tag nor digest; otherwise as typed, but for
 * what a runtime would take for an id: `sha256:ab` is asked for under its full name
 * `docker.io/library/sha256:ab`, by which policies and records know it. Else it would be whichever
 * image has that id. Throws `ImageNameError`.
 *
 * Source: kubernetes pkg/kubelet/images/image_manager.go, applyDefaultImageTag.
 */
export function withDefaultTag(image: string): string {
  let runtimeName = lately.get(image);
  if (runtimeName === undefined) {
    runtimeName = tagged(image);
    lately.set(image, runtimeName);
  }
  return runtimeName;
}

function tagged(image: string): string {
  const { name, tag, digest } = parseImageName(image);
  if (LIKE_AN_ID.test(image)) return `${name}:${tag}`;
  return digest === '' && !image.endsWith(`:${tag}`) ? `${image}:${TAG_DEFAULT}` : image;
}

/** The same for the image of a request. Throws `ErrInvalidImageName`. */
export function requestedName(image: string): string {
  try {
    return withDefaultTag(image);
  } catch (cause) {
    if (!(cause instanceof ImageNameError)) throw cause;
    throw new EnsureImageError('ErrInvalidImageName', cause.message, { image, cause });
  }
}

/** The same for a text that may be no image name: that is asked for as it is. */
export function runtimeNameOf(image: string): string {
  try {
    return withDefaultTag(image);
  } catch (error) {
    if (error instanceof ImageNameError) return image;
    throw error;
  }
}

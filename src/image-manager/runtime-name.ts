/** What the runtime is asked for: the requested image with the default tag. */
import { ImageNameError } from '../errors.ts';
import { parseImageName } from '../images/image-name.ts';

const TAG_DEFAULT = 'latest';

/**
 * The requested text, with `:latest` where it has neither tag nor digest; otherwise as typed.
 * Throws `ImageNameError`.
 *
 * Source: kubernetes pkg/kubelet/images/image_manager.go, applyDefaultImageTag.
 */
export function withDefaultTag(image: string): string {
  const { tag, digest } = parseImageName(image);
  return digest === '' && !image.endsWith(`:${tag}`) ? `${image}:${TAG_DEFAULT}` : image;
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

/** What of an image counts where images are compared; it differs between kubelet versions. */
import { normalizedImageName, trimImageTagDigest } from './image-name.ts';

/** The part of an image that counts. Throws `IMAGE_NAME_INVALID` where it needs an image name. */
export type ImageText = (image: string) => string;

/**
 * `rawText`: everything as typed, whether it is an image name or not; `normalizedName`: registry host
 * and full path; `nameAsTyped`: what is typed without tag and digest.
 */
export const IMAGE_TEXT: Readonly<Record<'rawText' | 'normalizedName' | 'nameAsTyped', ImageText>> =
  {
    rawText: (image) => image,
    normalizedName: normalizedImageName,
    nameAsTyped: trimImageTagDigest,
  };

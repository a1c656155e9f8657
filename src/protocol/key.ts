/** A text as an owner knows it: a key of the store, with the hashes that place it in shared memory. */
import { fnv1 } from '../locks/stripe.ts';

export interface Key {
  readonly text: string;
  /** FNV-1 of its UTF-8 bytes: stripe and version slot. Signed 32 bit. */
  readonly hash: number;
  /** A second, independent hash; with the first it identifies the text in shared tables. */
  readonly check: number;
}

/** `seed` is the engine's: who chooses image names must not be able to choose their hashes. */
export function keyOf(text: string, seed: number): Key {
  return { text, hash: fnv1(text) | 0, check: checkHash(text, seed) };
}

/** A multiplicative hash of the UTF-16 units, seeded and unrelated to FNV. Signed 32 bit. */
function checkHash(text: string, seed: number): number {
  let hash = seed ^ text.length;
  for (let i = 0; i < text.length; i++) {
    hash = Math.imul(hash ^ text.charCodeAt(i), 0x5bd1e995);
    hash ^= hash >>> 15;
  }
  return hash;
}

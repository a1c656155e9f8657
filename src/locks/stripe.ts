/**
 * Which stripe a key belongs to, and which worker owns a stripe.
 *
 * Source: kubernetes pkg/kubelet/images/pullmanager/locks.go: FNV-1 (not FNV-1a), 32 bit, of the
 * key's UTF-8 bytes. Unlike the reference up to v1.36.0 the modulus is the real number of stripes.
 */

export const STRIPE_COUNT_MAX = 31;

const FNV_OFFSET_BASIS = 0x811c9dc5;
const FNV_PRIME = 0x01000193;
const REPLACEMENT = 0xfffd;

/** FNV-1 32 bit over the UTF-8 bytes of `text`; lone surrogates count as U+FFFD. Unsigned. */
export function fnv1(text: string): number {
  let hash = FNV_OFFSET_BASIS;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    // Kept small for the usual text, which is ASCII throughout.
    if (unit >= 0x80) return fnv1Utf8(text, i, hash);
    hash = Math.imul(hash, FNV_PRIME) ^ unit;
  }
  return hash >>> 0;
}

/** Goes on from the first character that is not ASCII. */
function fnv1Utf8(text: string, from: number, begun: number): number {
  let hash = begun;
  for (let i = from; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) {
      hash = Math.imul(hash, FNV_PRIME) ^ unit;
      continue;
    }
    let point = unit;
    if (unit >= 0xd800 && unit <= 0xdfff) {
      const low = unit < 0xdc00 ? text.charCodeAt(i + 1) : Number.NaN;
      if (low >= 0xdc00 && low <= 0xdfff) {
        point = ((unit - 0xd800) << 10) + (low - 0xdc00) + 0x10000;
        i++;
      } else {
        point = REPLACEMENT;
      }
    }
    if (point < 0x800) {
      hash = Math.imul(hash, FNV_PRIME) ^ (0xc0 | (point >> 6));
    } else {
      if (point < 0x10000) {
        hash = Math.imul(hash, FNV_PRIME) ^ (0xe0 | (point >> 12));
      } else {
        hash = Math.imul(hash, FNV_PRIME) ^ (0xf0 | (point >> 18));
        hash = Math.imul(hash, FNV_PRIME) ^ (0x80 | ((point >> 12) & 0x3f));
      }
      hash = Math.imul(hash, FNV_PRIME) ^ (0x80 | ((point >> 6) & 0x3f));
    }
    hash = Math.imul(hash, FNV_PRIME) ^ (0x80 | (point & 0x3f));
  }
  return hash >>> 0;
}

/** The number of stripes that a request for `size` of them gets: 1 to 31, as in the reference. */
export function clampStripeCount(size: number): number {
  return Math.max(1, Math.min(STRIPE_COUNT_MAX, Math.trunc(size) || 1));
}

/** 0-based stripe of a key. */
export function stripeOf(key: string, stripeCount: number): number {
  return fnv1(key) % stripeCount;
}

/** 0-based worker that owns a stripe. */
export function ownerOf(stripeIndex: number, workerCount: number): number {
  return stripeIndex % workerCount;
}

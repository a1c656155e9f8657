/**
 * JSON as Go writes it by default.
 *
 * Source: Go encoding/json (appendString with escapeHTML), since Go 1.22 with `\b` and `\f`.
 */
import { wellFormed } from './well-formed.ts';

/** What may have to be changed; most texts have none of it, and looking is cheaper than writing. */
const SPECIAL = /[\p{Cc}\p{Cs}"\\<>&\u2028\u2029]/u;
/** What JavaScript writes plainly and Go escapes. */
const ESCAPED_BY_GO = /[<>&\u2028\u2029]/g;

/**
 * A JSON string, byte for byte as Go's once it is UTF-8: `<`, `>`, `&`, U+2028 and U+2029 are
 * escaped. A lone surrogate, which no UTF-8 can carry, is written as U+FFFD.
 */
export function goString(text: string): string {
  if (!SPECIAL.test(text)) return `"${text}"`;
  return JSON.stringify(wellFormed(text)).replace(
    ESCAPED_BY_GO,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

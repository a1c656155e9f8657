/** Texts of strangers on a terminal: made harmless, measured, and cut to a width. */

/**
 * What could change a terminal's state or a line's direction, what ends a line or a field, halves of
 * characters, and the backslash, so that what is escaped can be told from what only looks so.
 */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\\]/gu;

/** The text with everything unprintable as `\u{…}`, and a backslash as two. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (character) =>
    character === '\\' ? '\\\\' : `\\u{${character.codePointAt(0)!.toString(16)}}`,
  );
}

/**
 * A message with everything unprintable as `\u{…}`. Backslashes stay as they are: what a message
 * quotes is escaped already.
 */
export function harmless(message: string): string {
  return message.replace(UNPRINTABLE, (character) =>
    character === '\\' ? character : printable(character),
  );
}

/** A copy of a tree of plain objects whose texts, those of keys too, are all `harmless`. */
export function harmlessTexts<T>(value: T): T {
  if (typeof value === 'string') return harmless(value) as T;
  if (Array.isArray(value)) return value.map(harmlessTexts) as T;
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(([key, item]) => [harmless(key), harmlessTexts(item)]);
  return Object.fromEntries(entries) as T;
}

/** Emoji, and the letters of East Asia, which take two columns. */
const WIDE =
  /[\p{Emoji_Presentation}\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}]/u;
const COMBINING = /\p{M}/u;
const PLAIN_ASCII = /^[\x20-\x7e]*$/;

/** Columns that a printable text takes on a terminal. */
export function displayWidth(text: string): number {
  if (PLAIN_ASCII.test(text)) return text.length;
  let width = 0;
  for (const character of text) width += columnsOf(character);
  return width;
}

/** The text, or as much of its beginning as fits with `…` behind. `width` is at least 1. */
export function truncated(text: string, width: number): string {
  if (displayWidth(text) <= width) return text;
  let cut = '';
  let used = 0;
  for (const character of text) {
    used += columnsOf(character);
    // The last column is for the mark.
    if (used >= width) break;
    cut += character;
  }
  return `${cut}…`;
}

/** The text, or as much of its beginning and end as fits around `…`. `width` is at least 1. */
export function truncatedInMiddle(text: string, width: number): string {
  if (displayWidth(text) <= width) return text;
  const characters = Array.from(text);
  const tailWidth = (width - 1) >> 1;
  let tail = '';
  let used = 0;
  for (let i = characters.length - 1; i >= 0; i--) {
    const character = characters[i]!;
    used += columnsOf(character);
    if (used > tailWidth) break;
    tail = character + tail;
  }
  return truncated(text, width - tailWidth) + tail;
}

function columnsOf(character: string): number {
  if (WIDE.test(character)) return 2;
  return COMBINING.test(character) ? 0 : 1;
}

/** Numbers on command lines; each throws and names the flag where the text is none. */

/** A number that is not negative. */
export function numberOf(flag: string, text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value >= 0 && text.trim() !== '') return value;
  throw new Error(`--${flag} must be a number, not ${text}`);
}

/** Undefined where the flag is not given. */
export function wholeNumber(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d+$/.test(text)) return Number(text);
  throw new Error(`--${flag} must be a whole number, not ${text}`);
}

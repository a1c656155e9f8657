/** Keys that a JSON text gives twice, which `JSON.parse` does not tell: it keeps the last. */

const TOKEN = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\]:]/gs;

/**
 * The first key that an object of a JSON text has twice.
 *
 * @param text Well-formed JSON.
 */
export function duplicateKey(text: string): string | undefined {
  /** Keys of the objects that are open, the innermost last; undefined for lists. */
  const open: (Set<string> | undefined)[] = [];
  let last = '';
  for (const [token] of text.matchAll(TOKEN)) {
    if (token === '{') open.push(new Set());
    else if (token === '[') open.push(undefined);
    else if (token === '}' || token === ']') open.pop();
    else if (token === ':') {
      const keys = open.at(-1)!;
      const key = JSON.parse(last) as string;
      if (keys.has(key)) return key;
      keys.add(key);
    }
    last = token;
  }
  return undefined;
}

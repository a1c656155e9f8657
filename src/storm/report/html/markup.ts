/** HTML from templates in which everything that is put in is escaped, unless it is HTML already. */

/** A piece of HTML. */
export class Markup {
  readonly text: string;

  private constructor(text: string) {
    this.text = text;
  }

  /** Takes a text as it is: for what is no text of others, such as a file of ours. */
  static trusted(text: string): Markup {
    return new Markup(text);
  }
}

/** What a template takes; nothing is written for undefined. */
export type Fill = string | number | Markup | readonly Markup[] | undefined;

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Characters that HTML and XML cannot hold, or should not. */
const IMPOSSIBLE = /[^\P{Cc}\t\n\r]|[\p{Cs}\ufffe\uffff]/gu;

/** A text that neither ends nor begins anything in HTML or XML, also within an attribute. */
export function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ESCAPES[character]!).replace(IMPOSSIBLE, '\ufffd');
}

/** A template of HTML. */
export function html(parts: TemplateStringsArray, ...fills: readonly Fill[]): Markup {
  let text = parts[0]!;
  for (const [i, fill] of fills.entries()) text += written(fill) + parts[i + 1]!;
  return Markup.trusted(text);
}

function written(fill: Fill): string {
  if (fill === undefined) return '';
  if (typeof fill === 'string') return escaped(fill);
  if (typeof fill === 'number') return String(fill);
  if (fill instanceof Markup) return fill.text;
  return fill.map(({ text }) => text).join('');
}

/** An object as JSON that may stand within a `script` element. */
export function embeddedJson(value: unknown): Markup {
  // A "<" could end the element, or begin a comment that hides its end.
  return Markup.trusted(JSON.stringify(value).replaceAll('<', '\\u003c'));
}

/**
 * XML as far as reports of ours use it, read strictly: what is not well-formed is an error. Entities
 * are the five of XML and characters by number.
 */
export interface Element {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: readonly Element[];
  /** What is directly in it. */
  readonly text: string;
}

/** The elements within another, those of a name where one is given. */
export function elementsOf({ children }: Element, name?: string): readonly Element[] {
  return name === undefined ? children : children.filter((child) => child.name === name);
}

/** The root of a document. */
export function parseXml(text: string): Element {
  // Characters that XML 1.0 has no way to write.
  const impossible = /[^\P{Cc}\t\n\r\u0080-\u009f]|[\p{Cs}\ufffe\uffff]/u.exec(text);
  if (impossible !== null) throw new Error(`impossible character at ${impossible.index}`);
  const reader = new Reader(text);
  reader.take(/<\?xml version="1\.0" encoding="UTF-8"\?>\s*/y);
  const root = reader.element();
  reader.take(/\s*$/y);
  return root;
}

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** What a sticky pattern matches here. */
  take(pattern: RegExp): RegExpExecArray {
    const match = this.#optional(pattern);
    if (match === null)
      throw new Error(`not well-formed at ${this.#text.slice(this.#at, this.#at + 80)}`);
    return match;
  }

  element(): Element {
    const [, name = ''] = this.take(/<([A-Za-z][\w-]*)/y);
    const attributes: Record<string, string> = {};
    for (;;) {
      const match = this.#optional(/\s+([A-Za-z][\w-]*)="([^"<]*)"/y);
      if (match === null) break;
      const [, key = '', value = ''] = match;
      if (Object.hasOwn(attributes, key)) throw new Error(`${key} twice in ${name}`);
      // A reader turns white space in an attribute into blanks.
      attributes[key] = decoded(value.replaceAll(/[\t\n\r]/g, ' '));
    }
    if (this.#optional(/\s*\/>/y) !== null) return { name, attributes, children: [], text: '' };
    this.take(/\s*>/y);
    const children: Element[] = [];
    let text = '';
    for (;;) {
      text += decoded(this.take(/[^<]*/y)[0]);
      if (this.#optional(/<\/([A-Za-z][\w-]*)\s*>/y, name) !== null) break;
      children.push(this.element());
    }
    return { name, attributes, children, text };
  }

  #optional(pattern: RegExp, wanted?: string): RegExpExecArray | null {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text);
    if (match === null) return null;
    if (wanted !== undefined && match[1] !== wanted) throw new Error(`${match[1]} ends ${wanted}`);
    this.#at = pattern.lastIndex;
    return match;
  }
}

const ENTITIES: Readonly<Record<string, string>> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
};

function decoded(text: string): string {
  if (text.includes(']]>')) throw new Error('"]]>" within a text');
  return text.replaceAll(/&([^;]*);?/g, (whole, name: string) => {
    const number = /^#(\d+)$/.exec(name)?.[1];
    if (number !== undefined) return String.fromCodePoint(Number(number));
    if (!Object.hasOwn(ENTITIES, name) || !whole.endsWith(';')) throw new Error(`entity ${whole}`);
    return ENTITIES[name]!;
  });
}

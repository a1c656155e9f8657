/** A terminal's screen, as far as programs of ours use one: what is on it after some bytes. */

/** Throws at an escape code that it does not know, rather than to show a wrong screen. */
export class Screen {
  readonly columns: number;
  readonly rows: number;
  #lines: string[][] = [[]];
  #row = 0;
  #column = 0;
  #begun = '';
  isCursorShown = true;
  /** Screens as they were at the end of each write of a block, oldest first. */
  readonly seen: string[] = [];

  constructor(columns: number, rows: number) {
    this.columns = columns;
    this.rows = rows;
  }

  /** What is on it, without blanks at the ends. */
  get text(): string {
    const lines = this.#lines.slice(-this.rows).map((cells) => {
      return Array.from(cells, (cell) => cell ?? ' ')
        .join('')
        .trimEnd();
    });
    return lines.join('\n').trimEnd();
  }

  /** Line, from the top of what is shown, and column of the cursor; both from 0. */
  get cursor(): { readonly row: number; readonly column: number } {
    return { row: this.#row - this.#top, column: this.#column };
  }

  /** An escape code may come in pieces: its beginning waits for the rest. */
  write(bytes: string): void {
    const all = this.#begun + bytes;
    this.#begun = /\p{Cc}(?:\[[?0-9;]*)?$/u.exec(all.replace(/[\r\n]$/, ' '))?.[0] ?? '';
    const whole = all.slice(0, all.length - this.#begun.length);
    for (const [, code, text] of whole.matchAll(/(\p{Cc}\[[?0-9;]*[A-Za-z])|([\s\S])/gu)) {
      if (code !== undefined) this.#escape(code.slice(2));
      else this.#put(text!);
    }
  }

  get #top(): number {
    return Math.max(0, this.#lines.length - this.rows);
  }

  #put(character: string): void {
    if (character === '\r') this.#column = 0;
    else if (character === '\n') this.#lineFeed();
    else {
      if (this.#column === this.columns) {
        this.#column = 0;
        this.#lineFeed();
      }
      if (character < ' ') throw new Error(`control character ${JSON.stringify(character)}`);
      this.#lines[this.#row]![this.#column++] = character;
    }
  }

  #lineFeed(): void {
    this.#row++;
    while (this.#lines.length <= this.#row) this.#lines.push([]);
  }

  #escape(code: string): void {
    const count = Number.parseInt(code, 10) || 1;
    if (code.endsWith('m')) return;
    switch (code.replace(/^\d+(?=A)/, '')) {
      case 'A':
        this.#row = Math.max(this.#top, this.#row - count);
        return;
      case 'K':
        this.#lines[this.#row]!.length = Math.min(this.#column, this.#lines[this.#row]!.length);
        return;
      case '2K':
        this.#lines[this.#row] = [];
        return;
      case 'J':
        this.#escape('K');
        for (let row = this.#row + 1; row < this.#lines.length; row++) this.#lines[row] = [];
        return;
      case '?25l':
        this.isCursorShown = false;
        return;
      case '?25h':
        this.isCursorShown = true;
        this.seen.push(this.text);
        return;
      default:
        throw new Error(`escape code ${JSON.stringify(code)}`);
    }
  }
}

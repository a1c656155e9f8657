/** A few lines that are rewritten in place on a terminal, for long work. */
import type { Terminal } from './live-line.ts';
import { displayWidth } from './text.ts';

/** A terminal of several lines. */
export interface BlockTerminal extends Terminal {
  readonly rows?: number | undefined;
}

const HIDE_CURSOR = '\u001b[?25l';
const SHOW_CURSOR = '\u001b[?25h';
const ERASE_REST_OF_LINE = '\u001b[K';
const ERASE_BELOW = '\u001b[J';
const COLUMNS_DEFAULT = 80;
const ROWS_DEFAULT = 24;

/** A line as text alone, and as it is written, with colours. */
export interface BlockLine {
  readonly plain: string;
  readonly painted: string;
}

/**
 * Lines that replace each other. The cursor rests below them, and is hidden only within a single write:
 * a process that ends at any moment, however it ends, leaves the terminal as it should be.
 */
export class LiveBlock {
  readonly #terminal: BlockTerminal;
  /** Widths of the lines that are shown. */
  #shown: readonly number[] = [];

  constructor(terminal: BlockTerminal) {
    this.#terminal = terminal;
  }

  /** Columns that a line may take. The last one stays empty: some terminals break the line there. */
  get width(): number {
    return (this.#terminal.columns || COLUMNS_DEFAULT) - 1;
  }

  /** Shows these lines in place of the last ones; as many as the terminal is high. */
  show(lines: readonly BlockLine[]): void {
    const fitting = lines.slice(0, Math.max(1, (this.#terminal.rows || ROWS_DEFAULT) - 1));
    // Each line is overwritten and only its rest erased, in one write: nothing flickers.
    const text = fitting.map(({ painted }) => `${painted}${ERASE_REST_OF_LINE}\r\n`).join('');
    this.#terminal.write(`${HIDE_CURSOR}${this.#toTop()}${text}${ERASE_BELOW}${SHOW_CURSOR}`);
    this.#shown = fitting.map(({ plain }) => displayWidth(plain));
  }

  /** Removes the lines. */
  clear(): void {
    if (this.#shown.length > 0) this.#terminal.write(`${this.#toTop()}${ERASE_BELOW}`);
    this.#shown = [];
  }

  /** To the beginning of the first line that is shown. */
  #toTop(): string {
    // A terminal that became narrower has broken the lines that are too long for it.
    const columns = this.#terminal.columns || COLUMNS_DEFAULT;
    let rows = 0;
    for (const width of this.#shown) rows += Math.max(1, Math.ceil(width / columns));
    return rows === 0 ? '\r' : `\r\u001b[${rows}A`;
  }
}

/** A line that is rewritten in place on a terminal, for long work. */

/** The part of a terminal that is written to. */
export interface Terminal {
  readonly columns?: number | undefined;
  write(text: string): unknown;
}

/** When a line is shown. */
export interface LiveLineTimes {
  /** Until it is shown at first. @default 500 */
  readonly delayMs?: number;
  /** From one text to the next. @default 250 */
  readonly intervalMs?: number;
}

const ERASE_LINE = '\r\u001b[2K';
const COLUMNS_DEFAULT = 80;

/** Shows how far work is. */
export class LiveLine {
  readonly #terminal: Terminal | undefined;
  readonly #intervalMs: number;
  #nextMs: number;
  #isShown = false;

  /** @param terminal - undefined: nothing is ever shown. */
  constructor(
    terminal: Terminal | undefined,
    { delayMs = 500, intervalMs = 250 }: LiveLineTimes = {},
  ) {
    this.#terminal = terminal;
    this.#intervalMs = intervalMs;
    this.#nextMs = performance.now() + delayMs;
  }

  /** Shows a text in place of the last one, where it is time to; else `text` is not called. */
  update(text: (nowMs: number) => string): void {
    const nowMs = performance.now();
    if (this.#terminal === undefined || nowMs < this.#nextMs) return;
    this.#nextMs = nowMs + this.#intervalMs;
    this.#isShown = true;
    // The last column stays empty: some terminals break the line there.
    const width = (this.#terminal.columns || COLUMNS_DEFAULT) - 1;
    this.#terminal.write(ERASE_LINE + text(nowMs).slice(0, width));
  }

  /** Removes the line. */
  clear(): void {
    if (this.#isShown) this.#terminal?.write(ERASE_LINE);
    this.#isShown = false;
  }
}

/** A live line on stderr for long work: rewritten in place on a terminal, absent elsewhere. */
const FIRST_MS = 500;
const INTERVAL_MS = 250;
const ERASE_LINE = '\r\u001b[2K';

/** Shows how far work is, once it has taken a moment. */
export class Progress {
  readonly #isLive: boolean;
  #nextMs = performance.now() + FIRST_MS;
  #isShown = false;

  /** @param wanted - false: never shown. @default on a terminal */
  constructor(wanted: boolean) {
    this.#isLive = wanted && process.stderr.isTTY === true;
  }

  update(text: () => string): void {
    if (!this.#isLive || performance.now() < this.#nextMs) return;
    this.#nextMs = performance.now() + INTERVAL_MS;
    this.#isShown = true;
    process.stderr.write(ERASE_LINE + text());
  }

  /** Removes the line. */
  clear(): void {
    if (this.#isShown) process.stderr.write(ERASE_LINE);
    this.#isShown = false;
  }
}

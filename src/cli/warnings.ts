/** What is said on stderr beside the result. */
import { formatCount } from '../terminal/format.ts';
import { printable } from '../terminal/text.ts';

/** One line on stderr, harmless whatever it names. */
export function warn(text: string): void {
  process.stderr.write(`pullwarden: ${printable(text)}\n`);
}

const PROBLEMS_SHOWN = 20;

/** Reports the first problems on stderr, and counts the rest. */
export class ProblemReport {
  readonly #all: string[] = [];
  #count = 0;
  readonly #keeps: boolean;

  /** @param keeps - whether all problems are kept, for `--json`. */
  constructor(keeps: boolean) {
    this.#keeps = keeps;
  }

  /** What was reported, if it is kept. */
  get all(): readonly string[] {
    return this.#all;
  }

  add(problem: string): void {
    this.#count++;
    if (this.#keeps) this.#all.push(problem);
    if (this.#count <= PROBLEMS_SHOWN) warn(problem);
  }

  /** Says how many there were beyond those shown. */
  end(): void {
    const hidden = this.#count - PROBLEMS_SHOWN;
    if (hidden > 0) warn(`${formatCount(hidden)} more of this kind, not shown`);
  }
}

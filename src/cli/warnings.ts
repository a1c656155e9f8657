/** What is said on stderr beside the result. */
import type { Problem } from '../records-tools/items.ts';
import { formatCount } from '../terminal/format.ts';
import { printable } from '../terminal/text.ts';

/** One line on stderr, harmless whatever it names. */
export function warn(text: string): void {
  process.stderr.write(`pullwarden: ${printable(text)}\n`);
}

const PROBLEMS_SHOWN = 20;

/** Reports the first problems on stderr, and counts the rest. */
export class ProblemReport {
  readonly #kept: Problem[] | undefined;
  #count = 0;

  /** @param keeps - whether all problems are kept, for `--json`. */
  constructor(keeps: boolean) {
    this.#kept = keeps ? [] : undefined;
  }

  /** What was reported; nothing where it is not kept. */
  get all(): readonly Problem[] {
    return this.#kept ?? [];
  }

  add(problem: Problem): void {
    this.#count++;
    this.#kept?.push(problem);
    if (this.#count <= PROBLEMS_SHOWN) warn(problem.message);
  }

  /** Says how many there were beyond those shown. */
  end(): void {
    const hidden = this.#count - PROBLEMS_SHOWN;
    if (hidden > 0) warn(`${formatCount(hidden)} more of this kind, not shown`);
  }
}

/** What is said on stderr beside the result. */

import { quote } from '../errors.ts';
import type { Problem } from '../records-tools/items.ts';
import { formatCount, plural } from '../terminal/format.ts';
import { harmless } from '../terminal/text.ts';

/** One line on stderr, harmless whatever it names. */
export function warn(text: string): void {
  process.stderr.write(`pullwarden: ${harmless(text)}\n`);
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

const KEYS_SHOWN = 3;

/** Reports what a store has no place for: a line a kind, however many records are concerned. */
export class LossReport {
  readonly #kinds = new Map<string, { count: number; keys: string[] }>();
  readonly #kept: Problem[] | undefined;

  /** @param keeps - whether all losses are kept, for `--json`. */
  constructor(keeps: boolean) {
    this.#kept = keeps ? [] : undefined;
  }

  /** A problem for each record; nothing where they are not kept. */
  get all(): readonly Problem[] {
    return this.#kept ?? [];
  }

  add(key: string, losses: readonly string[]): void {
    this.#kept?.push({ message: `${quote(key)} is kept without ${losses.join('; ')}` });
    for (const kind of losses) {
      const seen = this.#kinds.get(kind) ?? { count: 0, keys: [] };
      this.#kinds.set(kind, seen);
      if (seen.count++ < KEYS_SHOWN) seen.keys.push(quote(key));
    }
  }

  end(): void {
    for (const [kind, { count, keys }] of this.#kinds) {
      const hidden = count - keys.length;
      const more = hidden === 0 ? '' : ` and ${formatCount(hidden)} more, --json names all`;
      const where = `${keys.join(', ')}${more}`;
      warn(
        `${plural(count, 'record')} kept without ${kind}, no place for it in the store: ${where}`,
      );
    }
  }
}

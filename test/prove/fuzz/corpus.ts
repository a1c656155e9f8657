/**
 * Inputs that are kept: interesting ones, and every one that ever failed.
 *
 * `test/fixtures/fuzz/<target>.jsonl` has one a line, see `CorpusLine`.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Verdict } from './target.ts';

/** One of `text`, `hex` and `parts` is there. */
interface CorpusLine {
  readonly name: string;
  /** What must become of it; absent: either. */
  readonly verdict?: Verdict;
  readonly text?: string;
  readonly hex?: string;
  /** Texts and how many times each. */
  readonly parts?: readonly (readonly [text: string, times: number])[];
}

export interface CorpusEntry {
  readonly name: string;
  readonly verdict: Verdict | undefined;
  readonly input: Buffer;
}

const CORPORA = 'test/fixtures/fuzz';

/** The same from the sources and from where they are compiled to, which is below the root. */
export function rootDirectory(): string {
  let directory = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(directory, CORPORA))) {
    const parent = dirname(directory);
    if (parent === directory) throw new Error(`there is no ${CORPORA} above the proof`);
    directory = parent;
  }
  return directory;
}

/** The corpus of a target; empty where it has none. */
export function readCorpus(target: string): readonly CorpusEntry[] {
  const path = join(rootDirectory(), CORPORA, `${target}.jsonl`);
  if (!existsSync(path)) return [];
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const { name, verdict, text, hex, parts } = JSON.parse(line) as CorpusLine;
      const whole = text ?? parts?.map(([part, times]) => part.repeat(times)).join('');
      const input = whole === undefined ? Buffer.from(hex!, 'hex') : Buffer.from(whole);
      return { name, verdict, input };
    });
}

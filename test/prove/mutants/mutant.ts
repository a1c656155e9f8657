/** Engines that are wrong in one place: a line of the source, replaced in the compiled code. */
import * as fs from 'node:fs';
import { join } from 'node:path';
import type { Focus } from '../simulation/config.ts';

/** Says whether an engine is wrong. */
export type DetectorName = 'simulation' | 'durability';

export interface Mutant {
  readonly name: string;
  /** Below `src/`. */
  readonly file: string;
  /** Is there exactly once, in the source and in what the compiler makes of it. */
  readonly find: string;
  readonly replace: string;
  readonly detector: DetectorName;
  /** Which engines show it soonest. */
  readonly focus?: Focus;
}

/** Parts of a compiled tree. */
const PARTS = ['src', 'workers', 'test'];

/** Why a mutant is none any more; undefined where its line is there exactly once. */
export function rotOf(mutant: Mutant, sources: string): string | undefined {
  return problemOf(mutant, join(sources, 'src', mutant.file));
}

/** Copies a compiled tree and makes the copy wrong. Throws where the line is not there exactly once. */
export function mutate(mutant: Mutant, tree: string, copy: string): void {
  const file = join('src', mutant.file.replace(/\.ts$/, '.js'));
  const problem = problemOf(mutant, join(tree, file));
  if (problem !== undefined) throw new Error(problem);
  for (const part of PARTS) fs.cpSync(join(tree, part), join(copy, part), { recursive: true });
  const code = fs.readFileSync(join(tree, file), 'utf8');
  fs.writeFileSync(
    join(copy, file),
    code.replace(mutant.find, () => mutant.replace),
  );
}

function problemOf({ name, find }: Mutant, path: string): string | undefined {
  const count = fs.readFileSync(path, 'utf8').split(find).length - 1;
  return count === 1 ? undefined : `${name}: ${count} times in ${path}: ${find}`;
}

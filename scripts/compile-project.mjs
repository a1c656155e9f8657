/**
 * Compiles a project of TypeScript into a directory, with what its sources read at run time.
 *
 *   node scripts/compile-project.mjs PROJECT DIRECTORY
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { COMPILER, copyReadAtRunTime, ROOT } from './build.mjs';

/** Throws where the compiler finds an error. Paths are from the root of the project. */
export function compileProject(project, directory) {
  const out = resolve(ROOT, directory);
  const args = [COMPILER, '-p', resolve(ROOT, project), '--outDir', out];
  const { status, error } = spawnSync(process.execPath, args, { stdio: ['ignore', 2, 2] });
  if (error) throw error;
  if (status !== 0) throw new Error(`the compiler ended with ${status}`);
  copyReadAtRunTime(out);
}

/** Compiles into a directory of its own below `build/`; `remove` it afterwards. */
export function compileAside(project) {
  mkdirSync(join(ROOT, 'build'), { recursive: true });
  const out = mkdtempSync(join(ROOT, 'build', 'aside-'));
  const remove = () => rmSync(out, { recursive: true, force: true });
  try {
    compileProject(project, out);
  } catch (error) {
    remove();
    throw error;
  }
  return { out, remove };
}

if (process.argv[1] && fileURLToPath(import.meta.url) === process.argv[1]) {
  const [project, directory] = process.argv.slice(2);
  if (directory === undefined) throw new Error('usage: compile-project.mjs PROJECT DIRECTORY');
  compileProject(project, directory);
}

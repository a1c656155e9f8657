/**
 * Builds `dist/` from `src/` and `workers/`, file for file, with `tsc`.
 *
 * The compiler writes beside `dist/` and the result is moved into place in one step: a failed build
 * leaves the last good one, and files whose source is gone do not linger (they would be published).
 *
 *   node scripts/build.mjs
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

export const ROOT = fileURLToPath(new URL('..', import.meta.url));
const DIST = join(ROOT, 'dist');
/** What the last good build was made from. Kept out of `dist/`, which is published. */
const STAMP = join(ROOT, 'node_modules', '.cache', 'pullwarden', 'build-stamp');
const INPUTS = ['src', 'workers', 'tsconfig.json', 'tsconfig.build.json'];
export const COMPILER = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
/** What of the sources is neither compiled nor left out: files that are read at run time. */
const READ_AT_RUN_TIME = /\.(proto|css|client\.js)$/;
const EXECUTABLE = 'src/cli/main.js';

/** Path, size and time of every input, one a line: differs as soon as any source does. */
function fingerprint() {
  const lines = [];
  const visit = (path) => {
    const stats = statSync(join(ROOT, path), { throwIfNoEntry: false });
    if (stats === undefined) return;
    if (!stats.isDirectory()) {
      lines.push(`${path} ${stats.size} ${stats.mtimeMs}`);
      return;
    }
    for (const name of readdirSync(join(ROOT, path)).sort()) visit(`${path}/${name}`);
  };
  for (const path of INPUTS) visit(path);
  return `${lines.join('\n')}\n`;
}

/** Copies what is read at run time beside the compiled sources. */
export function copyReadAtRunTime(staging) {
  for (const path of readdirSync(join(ROOT, 'src'), { recursive: true })) {
    if (READ_AT_RUN_TIME.test(path)) cpSync(join(ROOT, 'src', path), join(staging, 'src', path));
  }
}

/** Whether `dist/` is there and made from the sources as they are now. */
export function isBuilt() {
  return (
    existsSync(join(DIST, 'src')) &&
    existsSync(STAMP) &&
    readFileSync(STAMP, 'utf8') === fingerprint()
  );
}

/** Whether the compiler is installed; it is not after `npm install --omit=dev`. */
export function hasCompiler() {
  return existsSync(COMPILER);
}

/** Builds, with the compiler's messages on stderr; answers the compiler's exit code. */
export function build() {
  // Taken before: a source that changes while the compiler runs must count as newer.
  const stamp = fingerprint();
  const staging = join(ROOT, `.dist-${process.pid}`);
  const previous = join(ROOT, `.dist-${process.pid}-previous`);
  try {
    const args = [COMPILER, '-p', join(ROOT, 'tsconfig.build.json'), '--outDir', staging];
    const result = spawnSync(process.execPath, args, { cwd: ROOT, stdio: ['ignore', 2, 2] });
    if (result.error) throw result.error;
    if (result.status !== 0) return result.status ?? 1;
    copyReadAtRunTime(staging);
    if (existsSync(join(staging, EXECUTABLE))) chmodSync(join(staging, EXECUTABLE), 0o755);
    if (existsSync(DIST)) renameSync(DIST, previous);
    renameSync(staging, DIST);
    mkdirSync(join(STAMP, '..'), { recursive: true });
    writeFileSync(STAMP, stamp);
    return 0;
  } finally {
    rmSync(staging, { recursive: true, force: true });
    rmSync(previous, { recursive: true, force: true });
  }
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  if (!hasCompiler()) {
    process.stderr.write('build: the compiler is not installed: run npm install first\n');
    process.exitCode = 1;
  } else {
    process.exitCode = build();
  }
}

/**
 * Writes `docs/api/` from the docstrings of the entry points, or checks that it is what they say.
 *
 *   node scripts/api-docs.mjs            writes it
 *   node scripts/api-docs.mjs --check    exit code 1 if it is out of date
 *
 * The generator is run from the registry at fixed versions, beside and not among the dependencies:
 * it needs the interface of an older compiler than the one that builds.
 */
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from './build.mjs';

const TOOLS = ['typedoc@0.28.20', 'typedoc-plugin-markdown@4.14.1', 'typescript@6.0.3'];
const TARGET = join(ROOT, 'docs', 'api');
const TIMEOUT_MS = 300_000;

function generate(directory) {
  const packages = TOOLS.map((tool) => `--package=${tool}`);
  const args = ['exec', '--yes', ...packages, '--', 'typedoc', '--out', directory];
  const { status, signal, error } = spawnSync('npm', args, {
    cwd: ROOT,
    timeout: TIMEOUT_MS,
    env: { ...process.env, NO_COLOR: '1' },
    stdio: ['ignore', 2, 2],
    shell: process.platform === 'win32',
  });
  if (error) throw error;
  if (status !== 0) throw new Error(`typedoc: exit ${signal ?? status}, its messages are above`);
}

/** Content by path, of every file under a directory. */
function contents(directory) {
  if (!existsSync(directory)) return new Map();
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  return new Map(
    files.map((file) => {
      const path = join(file.parentPath, file.name);
      return [path.slice(directory.length + 1), readFileSync(path, 'utf8')];
    }),
  );
}

function differences(expected, actual) {
  const paths = new Set([...expected.keys(), ...actual.keys()]);
  return [...paths].sort().flatMap((path) => {
    if (!actual.has(path)) return [`missing: docs/api/${path}`];
    if (!expected.has(path)) return [`stray: docs/api/${path}`];
    return expected.get(path) === actual.get(path) ? [] : [`out of date: docs/api/${path}`];
  });
}

function main() {
  const scratch = realpathSync(mkdtempSync(join(tmpdir(), 'pullwarden-api-')));
  try {
    const generated = join(scratch, 'api');
    generate(generated);
    const expected = contents(generated);
    if (expected.size === 0) throw new Error('typedoc wrote nothing');
    for (const [path, text] of expected) {
      if (text.includes(ROOT) || text.includes(scratch)) throw new Error(`local path in ${path}`);
    }
    if (process.argv.includes('--check')) {
      const found = differences(expected, contents(TARGET));
      if (found.length > 0) {
        throw new Error(`run npm run docs:api and commit the result\n${found.join('\n')}`);
      }
      console.log(`docs/api is up to date (${expected.size} files)`);
    } else {
      rmSync(TARGET, { recursive: true, force: true });
      cpSync(generated, TARGET, { recursive: true });
      console.log(`docs/api: ${expected.size} files`);
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

try {
  main();
} catch (error) {
  console.error(`api-docs: ${error.message}`);
  process.exitCode = 1;
}

/**
 * Makes a checkout ready to run: installs what is missing, builds what is older than its sources.
 * Runs before `npm test`, `npm run storm` and others, so that each works as the very first command
 * on a fresh clone. Silent, and a few tens of milliseconds, when there is nothing to do.
 *
 *   node scripts/ensure-ready.mjs             install and build
 *   node scripts/ensure-ready.mjs --prepare   only build, and only where the compiler is installed
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { build, hasCompiler, isBuilt, ROOT } from './build.mjs';

const NODE_MINIMUM = [20, 19];

function readJson(...path) {
  try {
    return JSON.parse(readFileSync(join(ROOT, ...path), 'utf8'));
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw new Error(`${path.join('/')} cannot be read: ${error.message}`, { cause: error });
  }
}

/** Compares what is installed with the lockfile: the first difference, or `undefined`. */
function missingDependency() {
  const installed = readJson('node_modules', '.package-lock.json')?.packages;
  if (installed === undefined) return 'node_modules is missing';
  const locked = readJson('package-lock.json')?.packages;
  if (locked === undefined) return 'package-lock.json is missing';
  const manifest = readJson('package.json');
  for (const kind of ['dependencies', 'devDependencies']) {
    for (const [name, range] of Object.entries(manifest[kind] ?? {})) {
      if (locked['']?.[kind]?.[name] !== range) return `${name} ${range} is not in the lockfile`;
    }
  }
  for (const [path, { version, optional, peer }] of Object.entries(locked)) {
    if (path === '') continue;
    const present = installed[path];
    // Binaries for other platforms are locked but never installed.
    if (present === undefined && (optional || peer)) continue;
    if (present?.version !== version) return `${path.replace('node_modules/', '')} ${version}`;
  }
  return undefined;
}

function install() {
  // Under npm, the very same npm; `npm_execpath` may also be that of another package manager.
  const npmCli = process.env.npm_execpath;
  const viaNode = npmCli?.endsWith('npm-cli.js');
  const command = viaNode ? process.execPath : 'npm';
  // Spelled out because settings of an outer `npm run --silent` or `NODE_ENV` are inherited.
  const args = ['install', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'];
  const result = spawnSync(command, viaNode ? [npmCli, ...args] : args, {
    cwd: ROOT,
    stdio: ['ignore', 2, 2], // stdout belongs to the command that follows
    shell: !viaNode && process.platform === 'win32',
  });
  if (result.error) throw new Error(`npm could not be started: ${result.error.message}`);
  return result.status ?? 1;
}

function say(text) {
  process.stderr.write(`pullwarden: ${text}\n`);
}

function ensureReady(onlyPrepare) {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < NODE_MINIMUM[0] || (major === NODE_MINIMUM[0] && minor < NODE_MINIMUM[1])) {
    say(`needs Node ${NODE_MINIMUM.join('.')} or newer, this is ${process.version}`);
    return 1;
  }
  if (!onlyPrepare) {
    const reason = missingDependency();
    if (reason !== undefined) {
      say(`installing dependencies (${reason})`);
      const status = install();
      if (status !== 0) {
        say(`npm install failed with exit code ${status}; its messages are above`);
        return status;
      }
    }
  }
  if (isBuilt()) return 0;
  if (onlyPrepare && !hasCompiler()) {
    say('not built: the compiler is left out of this installation');
    return 0;
  }
  say('building dist');
  const status = build();
  if (status !== 0) say(`the build failed with exit code ${status}; its messages are above`);
  return status;
}

try {
  process.exitCode = ensureReady(process.argv.includes('--prepare'));
} catch (error) {
  say(error.message);
  process.exitCode = 1;
}

/**
 * Checks the package as its users get it: packs it, looks at what is inside, installs the tarball in
 * an empty project and uses it from there, on this Node and on a newer one.
 *
 * Convention: every block of README.md fenced as `js` is a complete ES module. It is saved as a
 * `.mjs` file in that project, run in an empty directory, and must exit with 0.
 *
 *   node scripts/check-package.mjs [--keep]     --keep leaves the temporary project for a look
 */
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, posix } from 'node:path';
import { isBuilt, ROOT } from './build.mjs';
import { readmeSnippets } from './readme-snippets.mjs';

const SNIPPET_TIMEOUT_MS = 60_000;
const CONFORMANCE_TIMEOUT_MS = 300_000;
/** Tests of the conformance suite for the two stores of the example, each with every law. */
const CONFORMANCE_TESTS_MIN = 2 * 20;
const INSTALL_TIMEOUT_MS = 300_000;
const NEWER_NODES = [24, 22, 26];
/** Run from a directory of its own: as a dependency it would bring a second compiler. */
const TYPES_CHECKER = '@arethetypeswrong/cli@0.18.5';

/** What `files` promises, and nothing else. */
const EXPECTED = [
  /^(package\.json|README\.md|CHANGELOG\.md|LICENSE|NOTICE)$/,
  /^(src|workers)\/[\w./-]+\.(ts|proto|css|client\.js)$/,
  /^dist\/(src|workers)\/[\w./-]+\.(js|d\.ts|js\.map|d\.ts\.map|proto|css)$/,
  /^docs\/([\w./-]+\.md|[\w-]+\.schema\.json)$/,
  /^data\/[\w.-]+\.(tsv|jsonl|json|txt)$/,
  /^examples\/[\w./-]+\.(mjs|service)$/,
  /^examples\/ci\/[\w-]+\.(json|yml)$/,
];
const REQUIRED = [
  'package.json',
  'README.md',
  'CHANGELOG.md',
  'LICENSE',
  'dist/src/index.js',
  'dist/src/index.d.ts',
  'dist/src/cli/main.js',
  'dist/src/runtime/cri/cri.proto',
  'dist/src/storm/report/html/page.client.js',
  'dist/src/storm/report/html/page.css',
  'dist/src/testing/index.js',
  'dist/src/testing/index.d.ts',
  'docs/scenario.schema.json',
  'examples/ci/storm.json',
  'examples/file-store/file-store.mjs',
  'data/official-images.tsv',
];

/** Records through two workers with a cache each, and finds the record again after a restart. */
const STORE_SNIPPET = `
import assert from 'node:assert';
import { PullManager } from 'pullwarden';
const [, , directory] = process.argv;
const store = { module: './file-store/cached-file-store.mjs', options: { directory } };
const image = 'registry.example.com/team/app:1';
for (const round of [0, 1]) {
  const manager = await PullManager.open({ store, workerCount: 2 });
  if (round === 0) {
    await manager.recordPullIntent(image);
    await manager.recordImagePulled(image, 'sha256:1', { nodePodsAccessible: true });
  }
  assert.equal(await manager.mustAttemptImagePull(image, 'sha256:1'), false);
  assert.deepEqual((await manager.listImagePullIntents()).records, []);
  assert.equal((await manager.listImagePulledRecords()).records.length, 1);
  await manager.close();
}
`;

const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
const scratch = realpathSync(mkdtempSync(join(tmpdir(), 'pullwarden-package-')));
let failures = 0;

/** Runs a check, prints one line about it, and goes on whatever it says. */
function check(name, body) {
  try {
    const note = body();
    console.log(`ok    ${name}${note ? ` (${note})` : ''}`);
    return true;
  } catch (error) {
    failures++;
    console.log(`FAIL  ${name}\n${error.message.replace(/^/gm, '      ')}`);
    return false;
  }
}

function run(command, args, { cwd, timeout = SNIPPET_TIMEOUT_MS, path } = {}) {
  const env = { ...process.env, NO_COLOR: '1' };
  // Settings of the npm that runs this script must not reach the npm of the user's project.
  for (const name of Object.keys(env)) if (/^npm_/i.test(name)) delete env[name];
  if (path !== undefined) env.PATH = `${path}:${env.PATH}`;
  const options = { cwd, env, timeout, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] };
  const { status, signal, error, stdout, stderr } = spawnSync(command, args, options);
  const what = `${command} ${args.join(' ')}`;
  if (error) throw new Error(`${what}: ${error.message}`);
  if (status !== 0) throw new Error(`${what}: exit ${signal ?? status}\n${stdout}${stderr}`.trim());
  return stdout;
}

function npmInstall(cwd, ...packages) {
  const args = ['install', '--no-audit', '--no-fund', '--loglevel=error', ...packages];
  run('npm', args, { cwd, timeout: INSTALL_TIMEOUT_MS });
}

function project(name) {
  const directory = join(scratch, name);
  mkdirSync(directory);
  writeFileSync(join(directory, 'package.json'), '{ "private": true, "type": "module" }\n');
  return directory;
}

function checkContents(files) {
  const paths = new Set(files.map((file) => file.path));
  const problems = [];
  for (const path of paths) {
    const isTest = /(^|\/)(test|bench|scripts)\/|\.(test|bench)\./.test(path);
    if (isTest || !EXPECTED.some((pattern) => pattern.test(path))) problems.push(`stray: ${path}`);
  }
  for (const path of REQUIRED) if (!paths.has(path)) problems.push(`missing: ${path}`);
  for (const path of paths) {
    const source = /^(?:src|workers)\/.*(?<!\.d)\.ts$/.test(path);
    const built = `dist/${path.replace(/\.ts$/, '.js')}`;
    if (source && !paths.has(built)) problems.push(`not built: ${path}`);
    // A browser's script is copied as it is.
    const origin = path.replace(/^dist\//, '').replace(/(?<!\.client)\.js$/, '.ts');
    if (/^dist\/.*\.js$/.test(path) && !paths.has(origin)) problems.push(`no source for: ${path}`);
    if (path.endsWith('.map')) problems.push(...strayMapSources(path, paths));
    if (readFileSync(join(ROOT, path), 'utf8').includes(ROOT)) problems.push(`local path: ${path}`);
  }
  for (const path of Object.values(manifest.bin)) {
    const text = paths.has(path) ? readFileSync(join(ROOT, path), 'utf8') : '';
    if (!text.startsWith('#!/usr/bin/env node')) problems.push(`no "#!" line: ${path}`);
  }
  if (problems.length > 0) throw new Error(problems.join('\n'));
}

function strayMapSources(path, paths) {
  const map = JSON.parse(readFileSync(join(ROOT, path), 'utf8'));
  return map.sources
    .map((source) => posix.join(posix.dirname(path), map.sourceRoot ?? '', source))
    .filter((source) => !paths.has(source))
    .map((source) => `${path} points to ${source}, which is not in the package`);
}

/** A newer Node, installed from the registry: `{ version, path }`, or an error. */
function newerNode() {
  const current = Number(process.versions.node.split('.')[0]);
  const name = `node-${process.platform}-${process.arch}`;
  const attempts = [];
  for (const major of NEWER_NODES.filter((candidate) => candidate > current)) {
    const directory = project(`node-${major}`);
    try {
      npmInstall(directory, `${name}@${major}`);
      const path = join(directory, 'node_modules', name, 'bin', 'node');
      return { version: run(path, ['--version']).trim(), path };
    } catch (error) {
      attempts.push(error.message);
    }
  }
  throw new Error(`no Node newer than ${process.version} could be had\n${attempts.join('\n')}`);
}

function checkOn({ version, path }, consumer, snippets) {
  check(`pullwarden --version, ${version}`, () => {
    const args = ['--no-install', 'pullwarden', '--version'];
    const answer = run('npx', args, { cwd: consumer, path: dirname(path) }).trim();
    if (!answer.includes(manifest.version)) throw new Error(`answered ${JSON.stringify(answer)}`);
    return answer;
  });
  check(`import and require, ${version}`, () => {
    const code =
      "import { PullManager } from 'pullwarden'; import { createRequire } from 'module';";
    const rest = "const same = createRequire(import.meta.url)('pullwarden').PullManager;";
    const last = 'if (typeof PullManager !== "function" || same !== PullManager) process.exit(1);';
    writeFileSync(join(consumer, 'entry.mjs'), `${code}\n${rest}\n${last}\n`);
    run(path, ['entry.mjs'], { cwd: consumer });
  });
  check(`the example store under node:test, ${version}`, () => {
    const args = ['--test', '--test-reporter=tap', 'file-store/conformance.mjs'];
    const report = run(path, args, { cwd: consumer, timeout: CONFORMANCE_TIMEOUT_MS });
    const passed = Number(/^# pass (\d+)$/m.exec(report)?.[1]);
    if (!(passed >= CONFORMANCE_TESTS_MIN))
      throw new Error(`only ${passed} tests passed\n${report}`);
    return `${passed} tests`;
  });
  check(`the example store in an engine, ${version}`, () => {
    const directory = mkdtempSync(join(consumer, 'records-'));
    writeFileSync(join(consumer, 'engine.mjs'), STORE_SNIPPET);
    run(path, ['engine.mjs', directory], { cwd: consumer });
  });
  for (const [index, { line, code }] of snippets.entries()) {
    check(`README.md line ${line}, ${version}`, () => {
      const directory = mkdtempSync(join(consumer, `snippet-${index + 1}-`));
      writeFileSync(join(directory, 'snippet.mjs'), code);
      run(path, ['snippet.mjs'], { cwd: directory });
    });
  }
}

function checkTypes(consumer) {
  const code = `import { PullManager, cachedAccessor } from 'pullwarden';
import type { AccessorFactory, Decision, PullManagerOptions, PullRecordsAccessor } from 'pullwarden';
import { accessorSuite } from 'pullwarden/testing';
import { describe, it } from 'node:test';
declare function openStore(options: unknown): Promise<PullRecordsAccessor>;
export const factory: AccessorFactory = async (options) =>
  cachedAccessor(await openStore(options), { pulledMax: 500 });
accessorSuite({
  name: 'mine',
  runner: { describe, it },
  open: async () => ({ accessor: await openStore({}) }),
});
const options: PullManagerOptions = { store: { kind: 'memory' }, workerCount: 0 };
await using manager: PullManager = await PullManager.open(options);
const decision: Decision = await manager.decide('docker.io/library/busybox', 'sha256:1');
export const mustPull: boolean = decision.mustPull;
`;
  // Declarations are checked too, but only ours count: dependencies answer for their own.
  const compilerOptions = {
    target: 'es2023',
    lib: ['es2023', 'esnext.disposable'],
    module: 'nodenext',
    moduleResolution: 'nodenext',
    strict: true,
    types: ['node'],
    noEmit: true,
    skipLibCheck: false,
  };
  writeFileSync(join(consumer, 'consumer.ts'), code);
  const config = JSON.stringify({ compilerOptions, files: ['consumer.ts'] });
  writeFileSync(join(consumer, 'tsconfig.json'), config);
  const compiler = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
  try {
    run(process.execPath, [compiler, '-p', '.', '--pretty', 'false'], { cwd: consumer });
  } catch (error) {
    const ours = error.message
      .split('\n')
      .filter((line) => /^(consumer\.ts|node_modules\/pullwarden\/|error )/.test(line));
    if (ours.length > 0) throw new Error(ours.join('\n'), { cause: error });
  }
}

function main() {
  if (!isBuilt()) throw new Error('dist is not up to date: run npm run build first');
  const packArgs = ['pack', '--json', '--ignore-scripts', '--pack-destination', scratch];
  const [packed] = JSON.parse(run('npm', packArgs, { cwd: ROOT }));
  const tarball = join(scratch, packed.filename);
  check('the package holds what it promises', () => {
    checkContents(packed.files);
    return `${packed.files.length} files, ${Math.round(packed.size / 1024)} KB packed`;
  });
  const consumer = project('consumer');
  const types = `@types/node@${manifest.devDependencies['@types/node']}`;
  if (check('installs in an empty project', () => npmInstall(consumer, tarball, types))) {
    check('types resolve', () => checkTypes(consumer));
    const example = join(consumer, 'node_modules', 'pullwarden', 'examples', 'file-store');
    cpSync(example, join(consumer, 'file-store'), { recursive: true });
    const snippets = readSnippets();
    check('README.md has runnable snippets', () => {
      if (snippets.length === 0) throw new Error('no block fenced as js');
      return snippets.length;
    });
    checkOn({ version: process.version, path: process.execPath }, consumer, snippets);
    let newer;
    check('a newer Node', () => {
      newer = newerNode();
      return newer.version;
    });
    if (newer) checkOn(newer, consumer, snippets);
  }
  check('types are right for ES modules', () => {
    const tools = project('tools');
    npmInstall(tools, TYPES_CHECKER);
    const attw = join(tools, 'node_modules', '.bin', 'attw');
    run(attw, [tarball, '--profile', 'esm-only', '--no-emoji'], { cwd: tools });
  });
}

function readSnippets() {
  const path = join(ROOT, 'README.md');
  return existsSync(path) ? readmeSnippets(readFileSync(path, 'utf8')) : [];
}

try {
  main();
} catch (error) {
  failures++;
  console.error(`check-package: ${error.message}`);
} finally {
  if (process.argv.includes('--keep')) console.log(`kept ${scratch}`);
  else rmSync(scratch, { recursive: true, force: true });
}
process.exitCode = failures > 0 ? 1 : 0;

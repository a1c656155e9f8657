import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, it } from 'vitest';
import type { StormResult } from '../../src/storm/result-schema.ts';
import { isOpenIn } from '../support/cli.ts';
import { PROGRAM } from '../support/program.ts';
import { inTime, until } from '../support/wait.ts';

const SMALL = ['--ops', '3000', '--concurrency', '16', '--tenants', '100', '--records', '300'];
const directory = mkdtempSync(join(tmpdir(), 'pullwarden-cli-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Temporary stores that are there now. */
function leftStores(): string[] {
  return readdirSync(directory).filter((name) => name.startsWith('pullwarden-storm-'));
}

interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  return spawn(process.execPath, [...PROGRAM, ...args], {
    env: { ...process.env, NO_COLOR: '', FORCE_COLOR: undefined, TMPDIR: directory, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

async function finish(child: ReturnType<typeof start>): Promise<Outcome> {
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout, stderr };
}

function run(...args: readonly string[]): Promise<Outcome> {
  return finish(start(args));
}

describe('the command', () => {
  it('shows help with defaults and an example', async () => {
    const help = await run('--help');
    expect(help).toMatchObject({ code: 0, stderr: '' });
    expect(help.stdout).toContain('Examples:');
    const storm = await run('storm', '--help');
    expect(storm).toMatchObject({ code: 0, stderr: '' });
    for (const text of [
      'Examples:',
      '(default: 10,000)',
      '(default: 10 s)',
      'node-restart',
      '--no-color',
    ]) {
      expect(storm.stdout).toContain(text);
    }
    for (const line of storm.stdout.split('\n')) expect(line.length).toBeLessThan(101);
  });

  it('shows its version', async () => {
    const manifest = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
    const { version } = JSON.parse(manifest) as { version: string };
    expect(await run('--version')).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
  });

  it.each([
    [['strom'], 'unknown command "strom" (did you mean "storm"?)'],
    [['storm', 'smoek'], '"smoek" is not known (did you mean "smoke"?)'],
    [['storm', '--sed', '1'], 'unknown flag --sed (did you mean "--seed"?)'],
    [['storm', '--ops', '0'], '--ops must be at least 1'],
    [['storm', '--compatibility', 'v1.32'], "--compatibility must be one of 'v1.33', 'v1.34'"],
    [['storm', '--threshold', 'decide.p98<2ms'], 'did you mean "decide.p'],
  ])('%j is wrong usage', async (args, message) => {
    const { code, stdout, stderr } = await run(...args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(message);
    expect(stderr.trim().split('\n')).toHaveLength(2);
  });

  it('needs a command', async () => {
    expect(await run()).toMatchObject({ code: 2 });
  });
});

describe('storm', () => {
  it.each(['journal', 'memory'])('passes on the store %s', async (store) => {
    const args = ['storm', 'mixed', ...SMALL, '--store', store, '--seed', '7', '--json'];
    const { code, stdout, stderr } = await run(...args);
    expect(stderr).toBe('');
    const result = JSON.parse(stdout) as StormResult;
    expect(result).toMatchObject({
      schema: 'pullwarden.storm/2',
      scenario: 'mixed',
      seed: 7,
      wrongDecisions: 0,
      wrongRecords: 0,
      errors: 0,
      restarts: 1,
      prunings: 10,
      passed: true,
    });
    expect(code).toBe(0);
    expect(result.operations).toBeGreaterThanOrEqual(3_000);
    const { decide, recordPullIntent } = result.latencyNs;
    for (const { p50, p90, p99, p999, max } of [decide, recordPullIntent]) {
      const sorted = [p50, p90, p99, p999, max].sort((a, b) => a - b);
      expect([p50, p90, p99, p999, max]).toEqual(sorted);
      expect(p50).toBeGreaterThan(0);
    }
    const decided = Object.values(result.decisions).reduce((a, b) => a + b);
    expect(decided).toBeGreaterThan(2_000);
    // Nothing that was made for the run is left.
    expect(leftStores()).toEqual([]);
  });

  it.each(['v1.33', 'v1.34', 'v1.36'])('passes at compatibility %s', async (level) => {
    const policy = ['--policy', 'NeverVerifyAllowlistedImages', '--compatibility', level];
    const where = ['--store', 'memory', '--workers', '0', '--seed', '7', '--json'];
    const { code, stdout } = await run('storm', 'mixed', ...SMALL, ...policy, ...where);
    const result = JSON.parse(stdout) as StormResult;
    expect(result).toMatchObject({ wrongDecisions: 0, wrongRecords: 0, passed: true });
    expect(result.command).toContain(`--compatibility ${level}`);
    expect(code).toBe(0);
  });

  it('prints a summary, without colours and without progress on a pipe', async () => {
    const { code, stdout, stderr } = await run('storm', 'rollout', ...SMALL, '--workers', '0');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^pullwarden storm rollout {2}seed \d+\n/);
    expect(stdout).toContain('PASSED: every decision was right');
    expect(stdout).not.toContain('\u001b');
  });

  it('fails with 99 when a threshold is crossed, and says which', async () => {
    const args = ['--threshold', 'decide.p50<1ns', '--threshold', 'wrongDecisions==0'];
    const { code, stdout } = await run('storm', 'mixed', ...SMALL, ...args);
    expect(code).toBe(99);
    expect(stdout).toMatch(/threshold +decide\.p50<1ns crossed/);
    expect(stdout).toMatch(/threshold +wrongDecisions==0 kept/);
    expect(stdout).toContain('FAILED: 1 threshold crossed');
  });

  it('reads a scenario and images of the user', async () => {
    const images = join(directory, 'images.txt');
    writeFileSync(images, 'registry.example/a:1\nregistry.example/b:1\n');
    const file = join(directory, 'mine.json');
    writeFileSync(
      file,
      JSON.stringify({ extends: 'gc', operations: 500, images, store: 'memory' }),
    );
    const { code, stdout } = await run('storm', file, '--json', '--seed', '3');
    rmSync(images);
    rmSync(file);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ scenario: file, images: 2, store: 'memory' });
  });

  it('refuses a store that is in use already', async () => {
    const store = `journal:${join(directory, 'kept')}`;
    const args = ['storm', 'mixed', ...SMALL, '--store', store];
    expect((await run(...args)).code).toBe(0);
    const { code, stderr } = await run(...args);
    rmSync(join(directory, 'kept'), { recursive: true });
    expect(code).toBe(2);
    expect(stderr).toMatch(/--store: holds \d+ records/);
  });

  it('cannot run where the store cannot be opened', async () => {
    const { code, stdout, stderr } = await run('storm', '--store', 'journal:/dev/null/x');
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/^pullwarden: ERR_PULLMANAGER_\w+: /);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });

  it('prints what there is on Ctrl-C, and closes the store', async () => {
    const child = start(['storm', 'mixed', '--duration', '60s', '--records', '100', '--json']);
    // Its temporary store appears when the storm begins.
    const outcome = finish(child);
    while (leftStores().length === 0) {
      await new Promise((resolve) => {
        setTimeout(resolve, 50);
      });
    }
    child.kill('SIGINT');
    const { code, stdout } = await outcome;
    expect(code).toBe(130);
    expect(JSON.parse(stdout)).toMatchObject({ interrupted: true, wrongDecisions: 0 });
    expect(leftStores()).toEqual([]);
  });

  it('does not crash when nobody reads on', async () => {
    const child = start(['storm', 'mixed', ...SMALL]);
    child.stdout.destroy();
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const [code] = (await once(child, 'exit')) as [number | null];
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });

  it.each([
    ['waits for what never comes', 'export default () => new Promise(() => {});', 1],
    ['never is loaded', 'await new Promise(() => {});', 1],
    ['ends the process', 'process.exit(0);', 1],
    ['throws', "export default () => { throw new Error('boom'); };", 2],
    ['exports nothing', 'export const x = 1;', 2],
  ])('has not passed where the scenario %s', async (_, text, expected) => {
    const file = join(directory, 'scenario.mjs');
    writeFileSync(file, text);
    const { code, stdout, stderr } = await run('storm', file);
    expect({ code, stdout }).toEqual({ code: expected, stdout: '' });
    expect(stderr).toMatch(/^pullwarden: /);
  });

  it('ends although the scenario has left a timer', async () => {
    const file = join(directory, 'scenario.mjs');
    const own = '{ concurrency: 2, operations: 50, store: "memory", workers: 0, records: 10 }';
    writeFileSync(file, `setInterval(() => {}, 1000);\nexport default ${own};`);
    const { code, stdout, stderr } = await run('storm', file, '--threshold', 'decide.p99<1ns');
    expect({ code, stderr }).toEqual({ code: 99, stderr: '' });
    expect(stdout).toContain('FAILED');
  });

  it('is interrupted while a scenario loads', async () => {
    const file = join(directory, 'scenario.mjs');
    writeFileSync(
      file,
      `setInterval(() => {}, 1000); process.stderr.write('loading\\n');
      export default () => new Promise(() => {});`,
    );
    const child = start(['storm', file]);
    const outcome = finish(child);
    await once(child.stderr, 'data');
    child.kill('SIGINT');
    const { code, stderr } = await outcome;
    expect({ code, stderr }).toEqual({ code: 130, stderr: 'loading\npullwarden: interrupted\n' });
  });

  it('is interrupted while it waits for a trace from a pipe', async () => {
    const pipe = join(directory, 'pipe');
    execFileSync('mkfifo', [pipe]);
    const child = start(['storm', '--replay', pipe]);
    const outcome = finish(child);
    await until('the pipe is open', () => isOpenIn(child, pipe));
    child.kill('SIGINT');
    const { code, stderr } = await inTime('the storm', outcome);
    expect({ code, stderr }).toEqual({ code: 130, stderr: 'pullwarden: interrupted\n' });
  });

  it('leaves nothing half-way where its terminal closes, or when told to end twice', async () => {
    const report = join(directory, 'report.html');
    for (const [first, second] of [['SIGHUP'], ['SIGINT', 'SIGTERM']] as const) {
      const args = ['--duration', '60s', '--records', '100', '--json', '--html', report];
      const child = start(['storm', 'mixed', ...args]);
      const outcome = finish(child);
      while (leftStores().length === 0) await sleep(50);
      child.kill(first);
      if (second !== undefined) child.kill(second);
      const { code, stdout } = await outcome;
      expect(code).toBe(130);
      expect(leftStores()).toEqual([]);
      expect(readdirSync(directory).filter((name) => name.endsWith('.partial'))).toEqual([]);
      if (second !== undefined) continue;
      expect(JSON.parse(stdout)).toMatchObject({ interrupted: true });
      expect(readFileSync(report, 'utf8')).toContain('INTERRUPTED');
    }
  });

  it('gives a command that a shell takes as it is', async () => {
    const file = join(directory, "a $(false) 'b'.json");
    const own = { concurrency: 2, operations: 50, store: 'memory', workers: 0, records: 10 };
    writeFileSync(file, JSON.stringify({ ...own, verify: false }));
    const { stdout } = await run('storm', file, '--verify', '--json', '--seed', '1');
    const { command } = JSON.parse(stdout) as StormResult;
    const shown = execFileSync('sh', ['-c', command.replace(/^pullwarden/, "printf '%s\\n'")]);
    expect(shown.toString().trim().split('\n')).toEqual(['storm', file, '--seed', '1', '--verify']);
  });
});

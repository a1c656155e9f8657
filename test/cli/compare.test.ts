/** `pullwarden compare`, with results that never were measured. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Comparison } from '../../src/storm/compare/comparison.ts';
import type { StormResult } from '../../src/storm/result-schema.ts';
import { inTurns, resultOf } from '../storm/compare/kit.ts';
import { newDirectory } from '../storm/trace/kit.ts';
import { runCli } from '../support/cli.ts';

const METRIC = 'cpuPerOperation';
const FIVE = [1_000, 1_010, 1_020, 1_030, 1_040];
const LOAD = { model: 'closed', concurrency: { from: 64, to: 64 } } as const;

const times = (factor: number): number[] => FIVE.map((value) => value * factor);

async function filesOf(
  a: readonly number[],
  b: readonly number[],
): Promise<{ directory: string; paths: [string, string] }> {
  const directory = await newDirectory();
  const closed = (results: readonly StormResult[]): string =>
    results.map((result) => `${JSON.stringify({ ...result, load: LOAD })}\n`).join('');
  const [ofA, ofB] = inTurns(METRIC, a, b);
  const paths: [string, string] = [join(directory, 'a.jsonl'), join(directory, 'b.jsonl')];
  await writeFile(paths[0], closed(ofA));
  await writeFile(paths[1], closed(ofB));
  return { directory, paths };
}

describe('compare', () => {
  it.each([
    { name: 'what got worse', b: times(1.2), code: 99, said: 'FAILED: worse by more than 10 %' },
    { name: 'what stayed', b: times(1), code: 0, said: 'PASSED: no change for the worse' },
    { name: 'what got better', b: times(0.7), code: 0, said: 'better' },
    { name: 'too few runs', b: [2_000], code: 1, said: 'FAILED: too few runs to tell' },
  ])('says by its exit code: $name', async ({ b, code, said }) => {
    const { paths } = await filesOf(FIVE, b);
    const outcome = await runCli(['compare', ...paths]);
    expect(outcome.stderr).toBe('');
    expect(outcome.stdout).toContain(said);
    expect(outcome.code).toBe(code);
  });

  it('takes a limit and other metrics', async () => {
    const { paths } = await filesOf(FIVE, times(1.2));
    expect((await runCli(['compare', ...paths, '--max-regression', '30%'])).code).toBe(0);
    expect((await runCli(['compare', ...paths, '--max-regression', '0.05'])).code).toBe(99);
    const metric = await runCli(['compare', ...paths, '--metric', 'cpu*']);
    expect(metric.code).toBe(99);
    const none = await runCli(['compare', ...paths, '--metric', 'decide.p50']);
    expect(none.stderr).toContain('decide.p50 was measured on neither side');
    expect(none.code).toBe(2);
  });

  it('prints one JSON object, and writes Markdown', async () => {
    const { directory, paths } = await filesOf(FIVE, times(1.2));
    const markdown = join(directory, 'report.md');
    const { stdout } = await runCli(['compare', ...paths, '--json', '--markdown', markdown]);
    const comparison = JSON.parse(stdout) as Comparison;
    expect(comparison).toMatchObject({
      schema: 'pullwarden.comparison/1',
      scenario: 'mixed',
      a: { label: paths[0], runCount: 5 },
      regressions: [METRIC],
      passed: false,
    });
    const text = await readFile(markdown, 'utf8');
    expect(text).toContain('### ❌ pullwarden compare: mixed');
    expect(text).toMatch(
      /\| cpuPerOperation \\\* \| 1.02 µs \| 1.22 µs \| \+20.0 % \| .* \| worse \|/,
    );
  });

  it.each([
    { name: 'no files', args: [], said: 'A and B are missing' },
    { name: 'one file', args: ['a.json'], said: 'B is missing' },
    { name: 'a file that is not there', args: ['/no/a', '/no/b'], said: '"/no/a" cannot be read' },
    {
      name: 'a limit that is none',
      args: ['a', 'b', '--max-regression', 'much'],
      said: '--max-regression "much" is no share above 0 and below 1: write 10% or 0.1',
    },
    { name: 'a limit of all', args: ['a', 'b', '--max-regression', '100%'], said: 'is no share' },
  ])('refuses $name', async ({ args, said }) => {
    const { code, stdout, stderr } = await runCli(['compare', ...args]);
    expect(stderr).toContain(said);
    expect(stdout).toBe('');
    expect(code).toBe(2);
  });

  it('refuses another machine unless it is told to', async () => {
    const { directory, paths } = await filesOf(FIVE, FIVE);
    const elsewhere = resultOf(METRIC, FIVE, { load: LOAD, machine: { cpu: 'Other CPU' } });
    const other = join(directory, 'other.json');
    await writeFile(other, JSON.stringify(elsewhere, null, 2));
    const refused = await runCli(['compare', paths[0], other]);
    expect(refused.stderr).toContain('B was measured on another machine than A: cpu "Test CPU"');
    expect(refused.code).toBe(2);
    const forced = await runCli(['compare', paths[0], other, '--force']);
    expect(forced.stdout).toContain('note  B was measured on another machine');
    expect(forced.code).toBe(0);
  });

  it('lets no text of a result out of its place', async () => {
    const { directory, paths } = await filesOf(FIVE, times(1.2));
    const hostile = 'x\n# PASSED | \u001b[31m<b>';
    const texts = await Promise.all(paths.map((path) => readFile(path, 'utf8')));
    for (const [i, text] of texts.entries()) {
      const results = text
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as StormResult);
      const changed = results.map((result) =>
        JSON.stringify({
          ...result,
          scenario: hostile,
          stages: [{ name: hostile }],
          machine: { ...result.machine, cpu: hostile },
        }),
      );
      await writeFile(paths[i]!, changed.join('\n'));
    }
    const markdown = join(directory, 'c.md');
    const { stdout, code } = await runCli(['compare', ...paths, '--markdown', markdown]);
    expect(code).toBe(99);
    for (const text of [stdout, await readFile(markdown, 'utf8')]) {
      expect(text).not.toMatch(/^# PASSED/m);
      expect(text).not.toContain('\u001b');
    }
  });

  it('replaces no file that it reads', async () => {
    const { paths } = await filesOf(FIVE, FIVE);
    const before = await readFile(paths[1], 'utf8');
    const { code, stderr } = await runCli(['compare', ...paths, '--html', paths[1]]);
    expect({ code, stderr }).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--html and B name one file'),
    });
    expect(await readFile(paths[1], 'utf8')).toBe(before);
  });
});

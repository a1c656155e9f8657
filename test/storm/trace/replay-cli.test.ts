/** `storm --replay` and `compare` as commands. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseResults } from '../../../src/storm/compare/read-results.ts';
import { runCli } from '../../support/cli.ts';
import { newDirectory, recordStorm } from './kit.ts';

describe('storm --replay', () => {
  it('plays a trace against every store, and passes', async () => {
    const trace = await recordStorm(3, { storm: { operations: 1_500 } });
    // The last of the four that were planned may come too late to be made.
    const recordedPrunings = (await readFile(trace, 'utf8')).match(/"op":"prune"/g)!.length;
    expect(recordedPrunings).toBeGreaterThanOrEqual(2);
    const hashes = new Set<string>();
    for (const store of ['journal', 'kubelet', 'memory']) {
      const args = ['storm', '--replay', trace, '--store', store, '--speed', '5', '--seed', '1'];
      const { code, stdout, stderr } = await runCli([...args, '--json']);
      expect(stderr).toBe('');
      const [result] = parseResults(stdout, 'stdout');
      expect(result).toMatchObject({
        scenario: 'replay',
        store,
        wrongDecisions: 0,
        wrongRecords: 0,
        errors: 0,
        passed: true,
        load: { model: 'open' },
        verified: { isOn: true, unverifiable: 0 },
        command: `pullwarden storm --seed 1 --replay ${trace} --speed 5 --store ${store}`,
      });
      expect(code).toBe(0);
      const { description, arrivals, operations, stages, verified, decisions, prunings } = result!;
      expect(description).toMatch(/^[\d,]+ operations recorded at 20\S+Z$/);
      expect(arrivals!.started).toBe(arrivals!.scheduled);
      expect(stages.map(({ name }) => name)).toEqual(['replay']);
      expect(verified.exact + verified.either).toBe(
        Object.values(decisions).reduce((sum, count) => sum + count, 0),
      );
      expect(operations).toBeGreaterThan(1_000);
      expect(prunings).toBe(recordedPrunings);
      hashes.add(result!.scenarioHash);
    }
    expect(hashes.size).toBe(3);
  });

  it('is the same storm wherever the same trace is', async () => {
    const trace = await recordStorm(4, { storm: { operations: 300 } });
    const other = join(await newDirectory(), 'deeper', 'copy.jsonl');
    await mkdir(dirname(other));
    await writeFile(other, await readFile(trace));
    const hashOf = async (path: string): Promise<string> => {
      const args = ['storm', '--replay', path, '--store', 'memory', '--speed', '20', '--json'];
      const { stdout } = await runCli(args);
      return parseResults(stdout, 'stdout')[0]!.scenarioHash;
    };
    expect(await hashOf(other)).toBe(await hashOf(trace));
  });

  it.each([
    { name: 'a rate', args: ['--rate', '10'], said: 'the storm: rate does not fit a replay' },
    { name: 'records', args: ['--records', '5'], said: 'the storm: records does not fit a replay' },
    { name: 'a scenario beside it', args: ['gc'], said: '--replay plays a trace, and no scenario' },
    { name: 'a speed of nothing', args: ['--speed', '0'], said: '--speed must be from 0.001' },
  ])('refuses $name', async ({ args, said }) => {
    const { code, stderr } = await runCli(['storm', '--replay', '/nowhere.jsonl', ...args]);
    expect(stderr).toContain(said);
    expect(code).toBe(2);
  });

  it('refuses what is no trace, and a speed without one', async () => {
    const path = join(await newDirectory(), 'no-trace.jsonl');
    await writeFile(path, '{"schema":"pullwarden.trace/1","startedAt":"x"}\n');
    const empty = await runCli(['storm', '--replay', path]);
    expect(empty.stderr).toContain('--replay has no operations in it');
    expect(empty.code).toBe(2);
    const missing = await runCli(['storm', '--replay', '/nowhere.jsonl']);
    expect(missing.stderr).toContain('"/nowhere.jsonl" cannot be read: ENOENT');
    expect(missing.code).toBe(2);
    const speed = await runCli(['storm', 'smoke', '--speed', '2']);
    expect(speed.stderr).toContain('speed is that of a replay');
    expect(speed.code).toBe(2);
  });
});

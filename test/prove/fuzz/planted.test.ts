/** Fuzzing finds what was planted, and nothing where nothing was. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { guardedJob } from './guarded-job.ts';
import type { JobResult, Work } from './job.ts';
import { failureOf } from './report.ts';

const directory = mkdtempSync(join(tmpdir(), 'pullwarden-fuzz-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const FUZZ = { kind: 'fuzz', seed: 7, seconds: 3 } as const;
const entry = new URL('../../fixtures/fuzz/worker.mjs', import.meta.url);
const module = new URL('../../fixtures/fuzz/planted.ts', import.meta.url).href;

function run(target: string, work: Work = FUZZ, hangMs = 60_000): Promise<JobResult> {
  return guardedJob({ module, target, work, directory }, { entry, hangMs, heapMiB: 96 });
}

function textOf({ found }: JobResult): string {
  return Buffer.from(found[0]!.input).toString('latin1');
}

describe('fuzzing', () => {
  it('finds nothing where nothing is wrong', async () => {
    const result = await run('honest', { ...FUZZ, seconds: 1 });
    expect(result.found).toEqual([]);
    expect(result.fedCount).toBeGreaterThan(0);
    expect(result.acceptedCount).toBe(result.fedCount);
  });

  it('finds an exception that is no refusal, by the shortest input', async () => {
    const result = await run('throws');
    expect(result.found).toHaveLength(1);
    expect(result.found[0]!.what).toMatch(/^threw TypeError: /);
    expect(textOf(result)).toBe('7!');
  });

  it('finds a prototype that was changed, and who did it', async () => {
    const result = await run('pollutes');
    expect(result.found).toHaveLength(1);
    expect(result.found[0]!.what).toBe('prototype pollution: Object.prototype[polluted] was added');
    expect(textOf(result)).toBe('__proto__');
  });

  it('finds an input that hangs, and does not hang', async () => {
    const result = await run('hangs', FUZZ, 2_000);
    expect(result.found).toHaveLength(1);
    expect(result.found[0]!.what).toBe('an input takes more than 2 s');
    expect(textOf(result)).toContain('5a');
  });

  it('finds an input that takes all memory, and goes on', async () => {
    const result = await run('remembers');
    expect(result.found).toHaveLength(1);
    expect(result.found[0]!.what).toBe('an input takes more than 96 MiB');
    expect(textOf(result)).toContain('3a');
  });

  it('finds an input that takes memory beside the heap', async () => {
    const result = await run('reserves');
    expect(result.found[0]!.what).toMatch(/^\d+ bytes take \d+ bytes of memory, more than \d+$/);
  });

  it('is led by coverage to what chance does not find', async () => {
    const result = await run('maze', { ...FUZZ, seconds: 30 });
    expect(result.found[0]?.what).toBe('the maze has a way out');
    expect(textOf(result)).toBe('keyk');
    expect(result.keptCount).toBeGreaterThan(0);
  });

  it('finds time that is worse than linear', async () => {
    const result = await run('quadratic', { kind: 'growth' });
    expect(result.found[0]!.what).toMatch(
      /^the time for letters grows with the power [12]\.\d\d of/,
    );
    expect((await run('linear', { kind: 'growth' })).found).toEqual([]);
  });

  it('says of what it found how to have it again', async () => {
    const found = { what: 'w', detail: 'd', input: Buffer.from('a!') };
    const short = failureOf('throws', 7, directory, found, 0);
    expect(short.replay).toBe('npm run prove -- fuzz --seed 7 -- --target throws --input 6121');
    const long = failureOf('throws', 7, directory, { ...found, input: Buffer.alloc(999) }, 1);
    expect(long.replay).toMatch(/ --target throws --file \/.*throws-1\.input$/);
    const again = await run('throws', { kind: 'one', input: Buffer.from('xx7!x') });
    expect(textOf(again)).toBe('7!');
  });
});

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseCommandArgs } from '../../src/cli/args.ts';
import { REPORT_FLAGS, ReportFiles } from '../../src/cli/report-files.ts';
import { madeUpResult } from '../support/storm-results.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'pullwarden-reports-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function begin(...args: string[]): Promise<ReportFiles> {
  return ReportFiles.begin(parseCommandArgs(args, REPORT_FLAGS));
}

describe('the reports that flags ask for', () => {
  it('are written after the storm, each in place of what was there', async () => {
    const [html, markdown, junit] = ['a.html', 'a.md', 'a.xml'].map((name) =>
      join(directory, name),
    );
    writeFileSync(html!, 'old');
    const files = await begin('--html', html!, '--markdown', markdown!, '--junit', junit!);
    expect(readFileSync(html!, 'utf8')).toBe('old');
    await files.write(madeUpResult());
    await files.discard();
    expect(readFileSync(html!, 'utf8')).toMatch(/^<!doctype html>/);
    expect(readFileSync(markdown!, 'utf8')).toMatch(/^### pullwarden storm/);
    expect(readFileSync(junit!, 'utf8')).toMatch(/^<\?xml /);
    expect(readdirSync(directory)).toHaveLength(3);
  });

  it('are given up where there is no result', async () => {
    const files = await begin('--html', join(directory, 'a.html'));
    await files.discard();
    expect(readdirSync(directory)).toEqual([]);
  });

  it('are found to be impossible before the storm, and leave nothing', async () => {
    const bad = join(directory, 'none', 'a.xml');
    await expect(begin('--html', join(directory, 'a.html'), '--junit', bad)).rejects.toThrow(
      `cannot write "${bad}": ENOENT`,
    );
    expect(readdirSync(directory)).toEqual([]);
  });

  it.each([
    [['--html', ''], '--html needs the name of a file'],
    [['--html', 'a', '--junit', 'a'], '--html and --junit name one file: a'],
  ])('are not written for %j', async (args, message) => {
    await expect(begin(...args)).rejects.toThrow(message);
  });
});

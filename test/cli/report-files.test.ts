import { linkSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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

  it('never replace what the storm reads, however it is called', async () => {
    const [trace, other] = [join(directory, 'trace.jsonl'), join(directory, 'link.jsonl')];
    writeFileSync(trace, 'trace');
    linkSync(trace, other);
    const args = parseCommandArgs(['--html', other], REPORT_FLAGS);
    await expect(ReportFiles.begin(args, [{ what: '--replay', path: trace }])).rejects.toThrow(
      '--html and --replay name one file',
    );
    await (await begin('--html', '/dev/null', '--junit', '/dev/null')).discard();
  });

  it('are written although another cannot be', async () => {
    const [junit, markdown] = [join(directory, 'a.xml'), join(directory, 'a.md')];
    const files = await begin('--html', '/dev/full', '--markdown', markdown, '--junit', junit);
    await expect(files.write(madeUpResult())).rejects.toThrow('cannot write "/dev/full": ENOSPC');
    await files.discard();
    expect(readdirSync(directory).sort()).toEqual(['a.md', 'a.xml']);
  });

  it.each([
    [['--html', ''], '--html needs the name of a file'],
    [['--html', 'a', '--junit', 'a'], '--html and --junit name one file: a'],
    [['--html', 'a', '--junit', './b/../a'], '--html and --junit name one file: a'],
  ])('are not written for %j', async (args, message) => {
    await expect(begin(...args)).rejects.toThrow(message);
  });
});

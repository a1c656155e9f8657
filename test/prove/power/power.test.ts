import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { skippedReport } from '../common/skipped.ts';
import {
  EVENT,
  encodeEvent,
  openEventLog,
  readEventLog,
  type StormEvent,
  stormEvent,
  withoutAcksAfterCut,
} from '../crashes/log.ts';
import { copyProblem, cutProblem } from './disk.ts';

const RUNNER = fileURLToPath(new URL('../../../scripts/prove.mjs', import.meta.url));
const LOG_STORE = fileURLToPath(new URL('../../fixtures/stores/log-store.mjs', import.meta.url));

const probe = mkdtempSync(`${tmpdir()}/pullwarden-power-`);
const problem = cutProblem(`${probe}/cuts`) ?? copyProblem(`${probe}/copies`);
afterAll(() => rmSync(probe, { recursive: true, force: true }));

/** Runs the proof on a module that is honest, or not. */
async function prove(
  mode: string,
  own: readonly string[],
): Promise<{ code: number; output: string }> {
  const args = [RUNNER, 'power', '--seed', '7', '--', '--store', `module:${LOG_STORE}?${mode}`];
  const child = spawn(process.execPath, [...args, ...own], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  const [code] = (await once(child, 'close')) as [number];
  const directory = /what it left is in (\S+)/.exec(output)?.[1];
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
  return { code, output };
}

const NAME = problem === undefined ? 'a power cut' : `a power cut (skipped: ${problem})`;

describe.skipIf(problem !== undefined)(NAME, { timeout: 300_000 }, () => {
  it('finds nothing in a store that flushes before it answers', async () => {
    const { code, output } = await prove('honest', ['--cuts', '2', '--snapshots', '4']);
    expect(output).toMatch(/module: power cuts +2 +cuts +0/);
    expect(output).toMatch(/module: snapshots under load +4 +copies +0/);
    expect(code).toBe(0);
  });

  it.each([
    { form: 'a power cut', args: ['--cuts', '6', '--snapshots', '0'] },
    { form: 'a copy of its disk', args: ['--cuts', '0', '--snapshots', '12'] },
  ])('finds out by $form a store that flushes after it answers', async ({ args }) => {
    const { code, output } = await prove('flushesLate', args);
    expect(output).toMatch(/FAILED: module: .*loss/);
    expect(code).toBe(1);
  });
});

describe('what is answered behind a cut', () => {
  it('is not relied on, and what was answered before it is', () => {
    const kinds = (events: readonly StormEvent[]): number[] => events.map(({ event }) => event);
    const { START, ACK, REJECT, CUT } = EVENT;
    const lived = [START, ACK, START, START].map((event) => stormEvent(event));
    const late = [ACK, REJECT, START].map((event) => stormEvent(event));
    expect(withoutAcksAfterCut([...lived, ...late])).toEqual([...lived, ...late]);
    const cut = withoutAcksAfterCut([...lived, stormEvent(CUT), ...late]);
    expect(kinds(cut)).toEqual([START, ACK, START, START, REJECT, REJECT, START]);
  });

  it('begins with a mark in the log', () => {
    const directory = mkdtempSync(`${tmpdir()}/pullwarden-mark-`);
    const path = `${directory}/events`;
    openEventLog(path)(stormEvent(EVENT.START));
    appendFileSync(path, encodeEvent(stormEvent(EVENT.CUT)));
    expect(readEventLog(path)).toEqual([stormEvent(EVENT.START), stormEvent(EVENT.CUT)]);
    rmSync(directory, { recursive: true });
  });
});

describe('what cannot be done here', () => {
  it('shows in its row, and fails where everything has to be there', () => {
    const skipped = skippedReport('power', 'journal: cuts', 'needs root', false);
    expect(skipped.rows).toMatchObject([{ skipped: 'needs root', failures: 0 }]);
    expect(skipped.failures).toEqual([]);
    const failed = skippedReport('power', 'journal: cuts', 'needs root', true);
    expect(failed.rows).toMatchObject([{ skipped: 'needs root', failures: 1 }]);
    expect(failed.failures).toMatchObject([{ detail: 'needs root' }]);
  });
});

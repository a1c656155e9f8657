import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { runCli } from '../support/cli.ts';
import { describeWithout } from '../support/describe-without.ts';
import { inTerminal, NO_TERMINAL, type SessionOptions } from '../support/terminal-session.ts';

const MAIN = 'src/cli/main.ts';
const STORM = [
  'storm',
  'smoke',
  '--duration',
  '4s',
  '--rate',
  '200',
  '--seed',
  '7',
  '--workers',
  '1',
];

function storm(args: readonly string[], options?: SessionOptions): ReturnType<typeof inTerminal> {
  return inTerminal(MAIN, [...STORM, ...args], options);
}

/** A screen without what differs from run to run: figures, bars, padding, and the latest event. */
function shapeOf(screen: string): string {
  return screen
    .replaceAll(/[\d.,]+ (ns|µs|ms|s)\b/g, 'TIME')
    .replaceAll(/[\d,]*\d/g, 'N')
    .replaceAll(/[░▏▎▍▌▋▊▉█]{4,}/g, 'BAR')
    .replaceAll(/[▁▂▃▄▅▆▇█]+/g, 'RATES')
    .replaceAll(/ +/g, ' ')
    .replace(/^event .*$/m, 'event EVENT');
}

describeWithout(NO_TERMINAL, 'a storm on a real terminal', () => {
  it('shows how it goes in one place, and then only its result', async () => {
    const { screen, code } = await storm([], { rows: 50 });
    expect(code, screen.text).toBe(0);
    const running = screen.seen.filter((seen) => seen.includes('ops/s'));
    expect(running.length).toBeGreaterThanOrEqual(3);
    for (const seen of running) expect(seen.split('\n')).toHaveLength(7);
    expect(shapeOf(running.at(-1)!)).toMatchSnapshot();
    expect(screen.text).toMatch(/^pullwarden storm smoke {2}seed 7\n/);
    expect(screen.text).not.toContain('ops/s');
    expect(screen.isCursorShown).toBe(true);
  });

  it('prints what there is after Ctrl-C, and leaves a usable terminal', async () => {
    let isTyped = false;
    const { screen, code } = await storm(['--duration', '60s'], {
      columns: 60,
      rows: 50,
      type: ({ text }) => {
        if (isTyped || !text.includes('ops/s')) return undefined;
        isTyped = true;
        return '\u0003';
      },
    });
    expect(code).toBe(130);
    expect(screen.text).toContain('INTERRUPTED');
    expect(screen.isCursorShown).toBe(true);
  });

  it('shows nothing with --no-progress', async () => {
    const { screen, code } = await storm(['--no-progress', '--duration', '1s']);
    expect(code).toBe(0);
    expect(screen.seen).toEqual([]);
  });

  it('shows nothing where the errors go elsewhere, but plain lines with --progress', async () => {
    const quiet = await runCli([...STORM, '--duration', '1s']);
    expect(quiet).toMatchObject({ code: 0, stderr: '' });
    const told = await runCli([...STORM, '--progress', '--json']);
    expect(told.code).toBe(0);
    expect(told.stderr).toMatch(
      /^[\d.]+ m?s {2}running {2}\d+ % {2}[\d,]+ ops\/s {2}decide p50 .* wrong/m,
    );
    expect(told.stderr).not.toContain('\u001b');
    JSON.parse(told.stdout);
  });

  it('writes the reports that it is asked for', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'pullwarden-reports-'));
    try {
      const [html, markdown, junit] = ['a.html', 'a.md', 'a.xml'].map((name) =>
        join(directory, name),
      );
      const reports = ['--html', html!, '--markdown', markdown!, '--junit', junit!];
      const { code } = await runCli([
        ...STORM,
        '--duration',
        '2s',
        ...reports,
        '--threshold',
        'decide.p99<1ns',
      ]);
      expect(code).toBe(99);
      expect(readFileSync(html!, 'utf8')).toContain('<strong>FAILED</strong>: 1 threshold crossed');
      expect(readFileSync(markdown!, 'utf8')).toMatch(/^### pullwarden storm `smoke`: FAILED\n/);
      expect(readFileSync(junit!, 'utf8')).toContain('<failure type="ThresholdCrossed"');
      expect(readdirSync(directory)).toHaveLength(3);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});

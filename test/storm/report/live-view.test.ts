import { describe, expect, it } from 'vitest';
import {
  blockLines,
  type LiveMode,
  LiveView,
  liveMode,
} from '../../../src/storm/report/live-view.ts';
import { displayWidth } from '../../../src/terminal/text.ts';
import { progressAt, RUNNING } from '../../support/progress.ts';
import { Screen } from '../../support/screen.ts';

/** A view on a screen, and a clock that stands still unless it is moved. */
function viewOn(screen: Screen, mode: LiveMode): { view: LiveView; clock: { nowMs: number } } {
  const clock = { nowMs: 0 };
  return { view: new LiveView(screen, mode, undefined, () => clock.nowMs), clock };
}

describe('when a storm is shown', () => {
  it.each([
    ['a terminal', { isTTY: true }, {}, undefined, 'block'],
    [
      'a terminal that cannot move its cursor',
      { isTTY: true },
      { TERM: 'dumb' },
      undefined,
      'lines',
    ],
    ['no terminal', {}, {}, undefined, 'none'],
    ['no terminal, but --progress', {}, {}, true, 'lines'],
    ['a terminal, but --no-progress', { isTTY: true }, {}, false, 'none'],
  ] as const)('on %s', (_name, stream, environment, wanted, expected) => {
    expect(liveMode(stream, environment, wanted)).toBe(expected);
  });
});

describe('the block', () => {
  it('shows the storm at 80 columns', () => {
    const rates = [5, 9, 9, 10, 12, 4, 9, 9].map((thousands) => thousands * 1_000);
    const text = blockLines(RUNNING, 24_812, rates, 79).map(({ plain }) => plain);
    expect(text).toMatchInlineSnapshot(`
      [
        "12.3 s  run 2 of 5  surge (2 of 3)",
        "█████████████████████▌░░░░░░░░░░░░░░░░░░░░░░░░░░░░  43 %  16.4 s left",
        "rate     24,812 ops/s  25,000 requests/s wanted  ▄▆▆▇█▃▆▆",
        "decide   p50 1.20 µs   p99 38.0 µs",
        "write    p50 310 µs    p99 1.80 ms",
        "health   0 wrong  0 errors and 3 expected  lag 12.0 µs",
        "event    worker killed",
      ]
    `);
  });

  it('shows the storm at 40 columns', () => {
    const text = blockLines(RUNNING, 24_812, [1, 2], 39).map(({ plain }) => plain);
    expect(text).toMatchInlineSnapshot(`
      [
        "12.3 s  run 2 of 5  surge (2 of 3)",
        "████████▋░░░░░░░░░░░  43 %  16.4 s left",
        "rate     24,812 ops/s",
        "decide   p50 1.20 µs   p99 38.0 µs",
        "write    p50 310 µs    p99 1.80 ms",
        "health   0 wrong  0 errors  lag 12.0 µs",
        "event    worker killed",
      ]
    `);
  });

  it.each([1, 5, 9, 10, 20, 33, 79, 200])('is never wider than %d columns', (width) => {
    const progress = {
      ...RUNNING,
      stage: { ...RUNNING.stage, name: '段'.repeat(50) },
      lastEvent: 'e'.repeat(300),
      expectedErrors: 1e9,
    };
    for (const { plain } of blockLines(progress, 1e9, Array(300).fill(1), width)) {
      expect(displayWidth(plain)).toBeLessThanOrEqual(width);
    }
  });

  it('keeps its height while a storm runs, whatever there is to say', () => {
    const quiet = progressAt(0, { decideNs: { p50: 0, p99: 0 }, writeNs: { p50: 0, p99: 0 } });
    expect(blockLines(quiet, 0, [], 79)).toHaveLength(blockLines(RUNNING, 1, [1], 79).length);
  });

  it('lets no text of a scenario reach the terminal as a code', () => {
    const stage = { ...RUNNING.stage, name: '\u001b[2J' };
    for (const { painted } of blockLines({ ...RUNNING, stage }, 1, [], 79)) {
      expect(painted).not.toContain('\u001b');
    }
  });

  it('paints what is wrong', () => {
    const wrong = { ...RUNNING, wrong: 2, errors: 1 };
    const paint = (format: string, text: string): string => `<${format}>${text}</>`;
    const [health] = blockLines(wrong, 1, [], 79, paint).filter(({ plain }) => /wrong/.test(plain));
    expect(health!.painted).toContain('<red>2 wrong</><red>  1 errors</>');
  });
});

describe('a live view', () => {
  it('is drawn at once, then once a second, and when a phase begins', () => {
    const screen = new Screen(80, 24);
    const { view, clock } = viewOn(screen, 'block');
    view.update(progressAt(0, { phase: 'filling', operations: 0 }));
    expect(screen.text).toContain('filling the store');
    clock.nowMs = 200;
    view.update(progressAt(0));
    expect(screen.text).toContain('running');
    for (let ms = 100; ms < 1_000; ms += 100) {
      clock.nowMs = 200 + ms;
      view.update(progressAt(ms));
    }
    expect(screen.seen).toHaveLength(2);
    clock.nowMs = 1_200;
    view.update(progressAt(1_000));
    expect(screen.seen).toHaveLength(3);
    expect(screen.text).toContain('1.0 s  running');
    expect(screen.text).toMatch(/rate +1,000 ops\/s/);
    view.clear();
    expect(screen.text).toBe('');
  });

  it('shows the rate since the last time, and begins anew with the next run', () => {
    const screen = new Screen(80, 24);
    const { view, clock } = viewOn(screen, 'block');
    const step = (elapsedMs: number, operations: number, run = 1): void => {
      clock.nowMs += 1_000;
      view.update(progressAt(elapsedMs, { operations, run: { number: run, of: 2 } }));
    };
    step(0, 0);
    step(1_000, 500);
    step(2_000, 4_500);
    expect(screen.text).toMatch(/rate +4,000 ops\/s +▂█/);
    step(10, 5, 2);
    expect(screen.text).toMatch(/rate +1,000 ops\/s$/m);
  });

  it('writes plain lines where they are wanted', () => {
    const written: string[] = [];
    const clock = { nowMs: 0 };
    const terminal = { columns: 20, write: (text: string) => written.push(text) };
    const view = new LiveView(terminal, 'lines', undefined, () => clock.nowMs);
    view.update(RUNNING);
    view.update(RUNNING);
    clock.nowMs = 1_000;
    view.update({ ...RUNNING, phase: 'checking' });
    view.clear();
    expect(written).toEqual([
      '12.3 s  run 2 of 5  surge (2 of 3)  43 %  24,812 ops/s  decide p50 1.20 µs p99 38.0 µs  ' +
        'write p50 310 µs p99 1.80 ms  lag 12.0 µs  0 errors  0 wrong  16.4 s left  worker killed\n',
      '12.3 s  checking what is stored  run 2 of 5\n',
    ]);
  });

  it('writes nothing where nothing is wanted', () => {
    const screen = new Screen(80, 24);
    const { view } = viewOn(screen, 'none');
    view.update(RUNNING);
    view.clear();
    expect(screen.text).toBe('');
    expect(screen.seen).toEqual([]);
  });
});

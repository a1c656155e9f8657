import { expect, it } from 'vitest';
import { describeWithout } from '../../support/describe-without.ts';
import { inTerminal, NO_TERMINAL, type SessionOptions } from '../../support/terminal-session.ts';

function live(end: string, options?: SessionOptions): ReturnType<typeof inTerminal> {
  return inTerminal('test/fixtures/live-storm.ts', [end], options);
}

const INTERRUPT = '\u0003';

describeWithout(NO_TERMINAL, 'the live view on a real terminal', () => {
  it('changes in place, and leaves nothing but the result', async () => {
    const { screen, code } = await live('end');
    expect(code).toBe(0);
    const [first, ...others] = screen.seen;
    expect(first).toMatch(/^0 ms {2}filling the store\n░+ +0 %$/);
    expect(others.length).toBeGreaterThanOrEqual(4);
    for (const seen of others.slice(0, -1)) {
      // One block at the top of the screen, never a second one below.
      expect(seen.split('\n')).toHaveLength(7);
      expect(seen).toMatch(/^[\d.]+ m?s {2}running\n/);
    }
    expect(others.at(-1)).toMatch(/^2\.5 s {2}checking what is stored\n/);
    // The terminal echoes nothing else.
    expect(screen.text).toBe('the result');
    expect(screen.isCursorShown).toBe(true);
  });

  it('fits a narrow terminal', async () => {
    const { screen, code } = await live('end', { columns: 40, rows: 10 });
    expect(code).toBe(0);
    for (const seen of screen.seen.slice(1, -1)) expect(seen.split('\n')).toHaveLength(7);
    expect(screen.text).toBe('the result');
  });

  it.each([
    ['throws', 'throw', 1, /it broke/],
    ['is killed', 'kill', 128 + 9, /event {4}–$/],
  ])('leaves a usable terminal where the program %s', async (_name, end, expected, text) => {
    const { screen, code } = await live(end);
    expect(code).toBe(expected);
    expect(screen.isCursorShown).toBe(true);
    expect(screen.text).toMatch(/running/);
    expect(screen.text).toMatch(text);
    // What comes next, such as a prompt, begins on a line of its own.
    expect(screen.cursor.column).toBe(0);
  });

  it('leaves a usable terminal after Ctrl-C', async () => {
    let isTyped = false;
    const { screen, code } = await live('wait', {
      type: ({ text }) => {
        if (isTyped || !text.includes('running')) return undefined;
        isTyped = true;
        return INTERRUPT;
      },
    });
    expect(code).toBe(130);
    expect(screen.isCursorShown).toBe(true);
  });

  it('is plain lines where the terminal cannot move its cursor', async () => {
    const { bytes, code } = await live('end', { env: { TERM: 'dumb' } });
    expect(code).toBe(0);
    expect(bytes).not.toContain('\u001b');
    const lines = bytes.trimEnd().split('\r\n');
    expect(lines.length).toBeGreaterThanOrEqual(5);
    expect(lines[0]).toBe('0 ms  filling the store');
    expect(lines.at(-1)).toBe('the result');
  });
});

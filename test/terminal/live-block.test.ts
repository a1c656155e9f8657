import { describe, expect, it } from 'vitest';
import { progressBar, sparkline } from '../../src/terminal/bars.ts';
import { LiveBlock } from '../../src/terminal/live-block.ts';
import { Screen } from '../support/screen.ts';

function lines(...texts: string[]): { plain: string; painted: string }[] {
  return texts.map((text) => ({ plain: text, painted: `\u001b[1m${text}\u001b[22m` }));
}

describe('a live block', () => {
  it('replaces its lines, and leaves nothing of longer ones or of more of them', () => {
    const screen = new Screen(20, 10);
    const block = new LiveBlock(screen);
    screen.write('before\r\n');
    block.show(lines('first line', 'second line', 'third'));
    expect(screen.text).toBe('before\nfirst line\nsecond line\nthird');
    block.show(lines('1', 'second'));
    expect(screen.text).toBe('before\n1\nsecond');
    block.clear();
    expect(screen.text).toBe('before');
    expect(screen.cursor).toEqual({ row: 1, column: 0 });
  });

  it('rests below its lines with the cursor shown, so that any end leaves a usable terminal', () => {
    const written: string[] = [];
    const screen = new Screen(20, 10);
    const terminal = {
      columns: 20,
      rows: 10,
      write: (text: string) => {
        written.push(text);
        screen.write(text);
        expect(screen.isCursorShown).toBe(true);
      },
    };
    const block = new LiveBlock(terminal);
    block.show(lines('a', 'b'));
    block.show(lines('c', 'd'));
    expect(screen.cursor).toEqual({ row: 2, column: 0 });
    // One write a time: a terminal never draws half of it.
    expect(written).toHaveLength(2);
  });

  it('finds its first line again where a narrower terminal has broken lines', () => {
    const screen = new Screen(10, 10);
    const terminal = { columns: 20, rows: 10, write: (text: string) => screen.write(text) };
    const block = new LiveBlock(terminal);
    // Already as narrow as it is about to say: as if the lines had been broken since.
    block.show(lines('0123456789abc', 'x'));
    expect(screen.text).toBe('0123456789\nabc\nx');
    terminal.columns = 10;
    block.show(lines('new'));
    expect(screen.text).toBe('new');
  });

  it('shows no more lines than fit, so that it never scrolls', () => {
    const screen = new Screen(20, 4);
    const block = new LiveBlock(screen);
    for (let round = 0; round < 3; round++) block.show(lines('a', 'b', 'c', 'd', 'e'));
    expect(screen.text).toBe('a\nb\nc');
  });

  it('writes nothing to clear where nothing is shown', () => {
    const written: string[] = [];
    new LiveBlock({ write: (text) => written.push(text) }).clear();
    expect(written).toEqual([]);
  });
});

describe('drawings of characters', () => {
  it.each([
    ['nothing', [], 5, ''],
    ['zeros', [0, 0], 5, '▁▁'],
    ['from 0 to the largest', [0, 1, 2, 3, 4, 5, 6, 7], 8, '▁▂▃▄▅▆▇█'],
    ['the last ones', [7, 0, 7], 2, '▁█'],
    ['no room', [1, 2], 0, ''],
  ])('a sparkline of %s', (_name, values, width, expected) => {
    expect(sparkline(values, width)).toBe(expected);
  });

  it.each([
    [0, '░░░░'],
    [0.5, '██░░'],
    [0.53, '██▏░'],
    [1, '████'],
    [-1, '░░░░'],
    [2, '████'],
  ])('a bar of %d', (share, expected) => {
    expect(progressBar(share, 4)).toBe(expected);
  });
});

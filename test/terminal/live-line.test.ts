import { describe, expect, it, vi } from 'vitest';
import { LiveLine } from '../../src/terminal/live-line.ts';

describe('a live line', () => {
  it('is shown after its delay, at most once an interval, and cut to the terminal', () => {
    const now = vi.spyOn(performance, 'now');
    try {
      const written: string[] = [];
      now.mockReturnValue(1_000);
      const line = new LiveLine({ columns: 6, write: (text) => written.push(text) });
      const at = (ms: number, text: string): void => {
        now.mockReturnValue(1_000 + ms);
        line.update(() => text);
      };
      at(499, 'early');
      at(500, 'first-text');
      at(749, 'too soon');
      at(750, 'two');
      line.clear();
      line.clear();
      expect(written).toEqual(['\r\u001b[2Kfirst', '\r\u001b[2Ktwo', '\r\u001b[2K']);
    } finally {
      now.mockRestore();
    }
  });

  it('does no work where there is no terminal', () => {
    const line = new LiveLine(undefined, { delayMs: 0 });
    const text = vi.fn(() => 'text');
    line.update(text);
    line.clear();
    expect(text).not.toHaveBeenCalled();
  });
});

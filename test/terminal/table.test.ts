import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Column, tableLines } from '../../src/terminal/table.ts';
import { displayWidth, printable, truncated } from '../../src/terminal/text.ts';

const COLUMNS: readonly Column[] = [
  { title: 'NAME', shrinks: true },
  { title: 'COUNT', align: 'right' },
  { title: 'REF', shrinks: true },
];

describe('a table', () => {
  it('is aligned, and cut to the width of the terminal from its widest column on', () => {
    const rows = [
      ['short', '1', 'sha256:0123456789abcdef'],
      ['a-name-of-some-length', '1000', 'x'],
    ];
    expect([...tableLines(COLUMNS, rows, 40)]).toEqual(
      [
        'NAME             COUNT  REF',
        'short                1  sha256:01234567…',
        'a-name-of-some…   1000  x',
      ].map((line) => line),
    );
  });

  it('is tab-separated and whole elsewhere', () => {
    expect([...tableLines(COLUMNS, [['a\tb', '1', 'x'.repeat(300)]], undefined)]).toEqual([
      'NAME\tCOUNT\tREF',
      `a\\u{9}b\t1\t${'x'.repeat(300)}`,
    ]);
  });

  it('is never wider than the terminal, where its columns can shrink so far', () => {
    const cell = fc.string({ unit: 'grapheme', maxLength: 60 });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(cell, cell)),
        fc.integer({ min: 25, max: 80 }),
        (rows, width) => {
          const given = rows.map(([name, ref]) => [name, '12345', ref]);
          for (const line of tableLines(COLUMNS, given, width)) {
            expect(displayWidth(line)).toBeLessThanOrEqual(width);
          }
        },
      ),
    );
  });
});

describe('a text on a terminal', () => {
  it('has nothing in it that could change the terminal, and can be told apart', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (a, b) => {
        expect(printable(a)).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
        if (a !== b) expect(printable(a)).not.toBe(printable(b));
      }),
    );
  });

  it('takes two columns for an emoji, none for an accent', () => {
    expect(displayWidth('🦊')).toBe(2);
    expect(displayWidth('e\u0301')).toBe(1);
    expect(displayWidth('漢字')).toBe(4);
    expect(truncated('🦊🦊🦊', 5)).toBe('🦊🦊…');
    expect(truncated('🦊🦊', 4)).toBe('🦊🦊');
    expect(truncated('abc', 1)).toBe('…');
  });
});

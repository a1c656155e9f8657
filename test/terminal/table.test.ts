import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Column, tableLines } from '../../src/terminal/table.ts';
import {
  displayWidth,
  harmless,
  printable,
  truncated,
  truncatedInMiddle,
} from '../../src/terminal/text.ts';

const COLUMNS: readonly Column[] = [
  { title: 'NAME', shrinksTo: 8 },
  { title: 'COUNT', align: 'right' },
  { title: 'REF', shrinksTo: 8 },
];

describe('a table', () => {
  it('is aligned, and cut to the width of the terminal from its widest column on, in the middle', () => {
    const rows = [
      ['short', '1', 'sha256:0123456789abcdef'],
      ['a-name-of-some-length', '1000', 'x'],
    ];
    expect([...tableLines(COLUMNS, rows, 40)]).toEqual(
      [
        'NAME             COUNT  REF',
        'short                1  sha256:0…9abcdef',
        'a-name-…-length   1000  x',
      ].map((line) => line),
    );
  });

  it('shortens cells, then cuts them as far as they may be, and leaves out columns where that is too little', () => {
    const columns: readonly Column[] = [
      { title: 'KEY', shrinksTo: 8, shortened: (cell) => cell.replace('sha256:', '') },
      { title: 'FIRST', dropped: 1 },
      { title: 'LAST', dropped: 2 },
    ];
    const lines = (width: number): string[] => [
      ...tableLines(columns, [['sha256:abcdefghijkl', 'x', 'y']], width),
    ];
    expect(lines(32)[1]).toBe('sha256:abcdefghijkl  x      y');
    expect(lines(25)[1]).toBe('abcdefghijkl  x      y');
    expect(lines(22)).toEqual(['KEY        FIRST  LAST', 'abcd…ijkl  x      y']);
    expect(lines(15)).toEqual(['KEY        LAST', 'abcd…ijkl  y']);
    expect(lines(8)).toEqual(['KEY', 'abcd…jkl']);
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
    expect(truncatedInMiddle('🦊🦊🦊🦊', 6)).toBe('🦊…🦊');
    expect(truncatedInMiddle('abcdef', 6)).toBe('abcdef');
    expect(truncatedInMiddle('abc', 1)).toBe('…');
  });

  it('is escaped once where it was quoted before', () => {
    expect(harmless('"a\\u{1b}"\u001b\n')).toBe('"a\\u{1b}"\\u{1b}\\u{a}');
  });
});

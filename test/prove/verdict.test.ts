import { describe, expect, it } from 'vitest';
import type { ProofReport, ProofRow } from './proof.ts';
import { checkedReport, summaryOf } from './verdict.ts';

const FAILURE = { what: 'lost', detail: 'a record', replay: 'again' };

function reportOf(...rows: readonly Partial<ProofRow>[]): ProofReport {
  const full = rows.map((row) => ({ what: 'x', count: 0, unit: 'x', failures: 0, ...row }));
  return { rows: full, failures: [] };
}

describe('checkedReport', () => {
  it.each([
    { name: 'no rows', report: reportOf() },
    { name: 'rows that count nothing', report: reportOf({ count: 0 }, { count: 0 }) },
  ])('fails a proof with $name', ({ report }) => {
    const { failures } = checkedReport(report, 'again');
    expect(failures).toEqual([
      expect.objectContaining({ what: 'nothing was done', replay: 'again' }),
    ]);
  });

  it.each([
    { name: 'counts something', report: reportOf({ count: 0 }, { count: 1 }) },
    { name: 'says why nothing was done', report: reportOf({ skipped: 'no strace' }) },
    { name: 'has failed anyhow', report: { ...reportOf(), failures: [FAILURE] } },
  ])('leaves a proof as it is that $name', ({ report }) => {
    expect(checkedReport(report, 'again')).toBe(report);
  });
});

describe('summaryOf', () => {
  const done = reportOf({ count: 3 });
  const skipped = reportOf({ skipped: 'no strace' });

  it('says that nothing was found, and how much was left out', () => {
    expect(summaryOf([done])).toEqual(['NOTHING FOUND']);
    expect(summaryOf([done, skipped])).toEqual(['NOTHING FOUND; 1 row skipped']);
  });

  it('does not say so where nothing was looked at', () => {
    expect(summaryOf([skipped, skipped])).toEqual(['NOTHING DONE; 2 rows skipped']);
  });

  it('says what failed, how to see it again, and how much', () => {
    expect(summaryOf([{ ...done, failures: [FAILURE] }, skipped])).toEqual([
      'failed: lost',
      '  again: again',
      'FAILED: 1; 1 row skipped',
    ]);
  });
});

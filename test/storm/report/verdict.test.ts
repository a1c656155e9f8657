import { describe, expect, it } from 'vitest';
import { htmlReport } from '../../../src/storm/report/html/report.ts';
import { junitReport } from '../../../src/storm/report/junit.ts';
import { markdownReport } from '../../../src/storm/report/markdown.ts';
import { formatSummary } from '../../../src/storm/report/summary.ts';
import { formatLimit, formatMetric, stormVerdict } from '../../../src/storm/report/verdict.ts';
import { failedResult, madeUpResult } from '../../support/storm-results.ts';

const ARRIVALS = madeUpResult().arrivals!;
const CHECKED = { isOn: true, exact: 9, either: 1, unverifiable: 0 };
const UNCHECKED = { isOn: false, exact: 0, either: 0, unverifiable: 0 };

describe('the verdict on a storm', () => {
  it.each([
    [
      'one that passed',
      madeUpResult({}, { verified: CHECKED }),
      'PASSED',
      /^every decision was right, and what is stored is what was acknowledged$/,
    ],
    [
      'one with decisions that nobody can judge',
      madeUpResult({}, { verified: { ...CHECKED, unverifiable: 2 } }),
      'PASSED',
      /^every decision that could be judged was right.*; 2 decisions could not be judged$/,
    ],
    [
      'one that was too much for the machine',
      madeUpResult({}, { arrivals: { ...ARRIVALS, started: ARRIVALS.scheduled * 0.98 } }),
      'PASSED',
      /was right.*; the rate was not reached: requests came faster/,
    ],
    [
      'one that played half a trace',
      madeUpResult({}, { verified: CHECKED, replayed: { lacks: ['the recording was cut off'] } }),
      'PASSED',
      /was right.*; the recording was cut off/,
    ],
    [
      'one that nobody checked',
      madeUpResult({}, { verified: UNCHECKED }),
      'PASSED',
      /decisions were not checked$/,
    ],
    [
      'one with all faults',
      failedResult(),
      'FAILED',
      /^2 wrong decisions; 1 wrong record; 3 failed operations; 1 threshold crossed; 80 decisions could not be judged$/,
    ],
    [
      'one that was interrupted',
      madeUpResult({}, { interrupted: true }),
      'INTERRUPTED',
      /^it was interrupted/,
    ],
    [
      'one that was wrong and then interrupted',
      failedResult({}, { interrupted: true }),
      'FAILED',
      /wrong decisions.*it was interrupted/,
    ],
    [
      'one that failed for a reason that this version does not know',
      madeUpResult({}, { passed: false }),
      'FAILED',
      /./,
    ],
    [
      'one that ended before its time',
      { ...madeUpResult(), passed: false, failure: 'the engine hung' },
      'FAILED',
      /^the engine hung; 80 decisions could not be judged$/,
    ],
  ] as const)('of %s', (_name, result, word, reasons) => {
    const verdict = stormVerdict(result);
    expect(verdict.word).toBe(word);
    expect(verdict.reasons.join('; ')).toMatch(reasons);
    // All reports say the same.
    expect(htmlReport(result).includes(`<strong>${word}</strong>`)).toBe(true);
    expect(markdownReport(result)).toMatch(new RegExp(`^### .*: ${word}\n`));
    expect(junitReport(result).includes(`<system-out>${word}: `)).toBe(true);
    // The terminal wraps it.
    const summary = formatSummary(result).replaceAll('\n', ' ');
    expect(summary).toContain(` ${word}: ${verdict.reasons.join('; ')} `);
  });
});

describe('a metric', () => {
  it.each([
    [1_234_567, 'ns', '1.23 ms'],
    [1_500_000, 'bytes', '1.50 MB'],
    [0.5, 'share', '50.0 %'],
    [12_345, 'count', '12,345'],
    [0.125, 'count', '0.125'],
    [Number.NaN, 'ns', 'none'],
  ] as const)('%d %s reads %s', (value, unit, expected) => {
    expect(formatMetric(value, unit)).toBe(expected);
  });

  it('has its limit with the comparison of its rule', () => {
    const [threshold] = madeUpResult().thresholds;
    expect(formatLimit({ ...threshold!, rule: '*.p99 <= 2ms' })).toBe('<= 2.00 ms');
  });
});

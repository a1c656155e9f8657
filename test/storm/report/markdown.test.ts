import { describe, expect, it } from 'vitest';
import { markdownReport } from '../../../src/storm/report/markdown.ts';
import { failedResult, madeUpResult } from '../../support/storm-results.ts';

const HOSTILE =
  '@octocat `<img src=x onerror=alert(1)>` | [a](https://example.com) `@octocat` ``c`` #1\n# x';

describe('the report as Markdown', () => {
  it('says how a storm went', () => {
    expect(markdownReport(madeUpResult())).toMatchSnapshot();
  });

  it('says what is wrong', () => {
    const text = markdownReport(failedResult());
    expect(text).toMatch(/^### pullwarden storm `mixed`: FAILED\n/);
    expect(text).toContain('2 wrong decisions; 1 wrong record; 3 failed operations');
    expect(text).toMatch(/^\| `\*\.p99<1ms` \| `recordImagePulled\.p99` .* ✕ \*\*crossed\*\* \|$/m);
    expect(text).toContain(
      'given `use (credentialRecordFound)`, possible `pull (mustAuthenticate)`',
    );
    expect(text).toContain('- and 1 more');
    expect(text).toContain('- `the record of sha256:12 is missing`');
  });

  it('says that a storm was interrupted', () => {
    const text = markdownReport(madeUpResult({}, { interrupted: true, passed: false }));
    expect(text).toMatch(/^### .*: INTERRUPTED\n/);
  });

  it('has no word of a load where requests wait for nobody', () => {
    const text = markdownReport(madeUpResult({ model: 'closed' }));
    expect(text).not.toMatch(/lag|requests/);
    expect(text).toContain('| latency of | count |');
  });

  it('leaves texts of others as they are, and harmless', () => {
    const [threshold] = madeUpResult().thresholds;
    const text = markdownReport(
      failedResult(
        {},
        {
          scenario: HOSTILE,
          command: HOSTILE,
          storeLabel: HOSTILE,
          thresholds: [{ ...threshold!, rule: HOSTILE, metric: HOSTILE }],
          problems: [HOSTILE],
        },
      ),
    );
    // What is not code: between code spans of any fence.
    const outside = text.replaceAll(/(`+)(?!`).*?(?<!`)\1(?!`)/g, '');
    expect(outside).not.toMatch(/octocat|<img|example\.com|#1/);
    expect(text.match(/octocat/g)!.length).toBeGreaterThan(5);
    // No row of a table is broken in two, or has a cell more.
    const [row] = text.split('\n').filter((line) => line.startsWith('|') && /octocat/.test(line));
    expect(row!.replaceAll('\\|', '').match(/\|/g)).toHaveLength(6);
  });
});

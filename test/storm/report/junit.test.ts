import { describe, expect, it } from 'vitest';
import { junitReport } from '../../../src/storm/report/junit.ts';
import { failedResult, madeUpResult } from '../../support/storm-results.ts';
import { type Element, elementsOf, parseXml } from '../../support/xml.ts';

/** The one suite of a report, after a look at what readers of JUnit reports rely on. */
function suiteOf(text: string): Element {
  const root = parseXml(text);
  expect(root.name).toBe('testsuites');
  const [suite, ...others] = elementsOf(root);
  expect(others).toEqual([]);
  const cases = elementsOf(suite!, 'testcase');
  const count = (name: string): number =>
    elementsOf(suite!).flatMap((one) => elementsOf(one, name)).length;
  for (const { attributes } of [root, suite!]) {
    expect(attributes).toMatchObject({
      tests: String(cases.length),
      failures: String(count('failure')),
      errors: String(count('error')),
      time: expect.stringMatching(/^\d+\.\d{3}$/),
    });
  }
  expect(suite!.attributes).toMatchObject({
    name: expect.any(String),
    skipped: '0',
    hostname: expect.any(String),
    timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$/),
  });
  // The order that strict schemas ask for.
  const order = elementsOf(suite!).map(({ name }) => name);
  expect(order).toEqual(['properties', ...cases.map(() => 'testcase'), 'system-out', 'system-err']);
  const times = cases.map(({ attributes }) => Number(attributes.time));
  expect(times.reduce((sum, time) => sum + time, 0)).toBeCloseTo(Number(suite!.attributes.time), 2);
  for (const one of cases) {
    expect(one.attributes).toMatchObject({
      name: expect.stringMatching(/./),
      classname: suite!.attributes.name,
    });
    for (const child of elementsOf(one)) {
      expect(child.attributes).toMatchObject({
        type: expect.stringMatching(/./),
        message: expect.stringMatching(/./),
      });
    }
  }
  expect(new Set(cases.map(({ attributes }) => attributes.name)).size).toBe(cases.length);
  return suite!;
}

/** Names of tests with what became of them. */
function outcomes(suite: Element): Record<string, string> {
  return Object.fromEntries(
    elementsOf(suite, 'testcase').map((one) => {
      const [child] = elementsOf(one);
      const outcome = child === undefined ? 'passed' : `${child.name}: ${child.attributes.message}`;
      return [one.attributes.name!, outcome];
    }),
  );
}

describe('the report as JUnit XML', () => {
  it('has a test for each threshold and for each thing that must not happen', () => {
    expect(outcomes(suiteOf(junitReport(madeUpResult())))).toEqual({
      'the storm ran to its end': 'passed',
      'no failed operation': 'passed',
      'no wrong decision': 'passed',
      'no wrong record': 'passed',
      'decide.p99<2ms': 'passed',
      'operationsPerSecond>10k': 'passed',
    });
  });

  it('says what failed, and why', () => {
    const suite = suiteOf(junitReport(failedResult()));
    expect(outcomes(suite)).toMatchObject({
      'no failed operation': 'failure: 3 failed operations',
      'no wrong decision': 'failure: 2 wrong decisions',
      'no wrong record': 'failure: 1 wrong record',
      '*.p99<1ms: recordImagePulled.p99': expect.stringMatching(
        /^failure: recordImagePulled\.p99 is [\d.]+ ms, wanted < 1\.00 ms$/,
      ),
    });
    const [wrong] = elementsOf(suite, 'testcase')
      .filter(({ attributes }) => attributes.name === 'no wrong decision')
      .flatMap((one) => elementsOf(one));
    expect(wrong!.text).toContain('registry.example/team-1/app:7');
  });

  it('has an error where a storm was interrupted', () => {
    const suite = suiteOf(junitReport(madeUpResult({}, { interrupted: true, passed: false })));
    expect(outcomes(suite)['the storm ran to its end']).toMatch(/^error: interrupted/);
  });

  it('does not say that decisions were right which nobody checked', () => {
    const verified = { isOn: false, exact: 0, either: 0, unverifiable: 0 };
    const tests = outcomes(suiteOf(junitReport(madeUpResult({}, { verified }))));
    expect(Object.keys(tests)).not.toContain('no wrong decision');
    // Some mistakes show without a check, and fail the storm.
    const seen = madeUpResult({}, { verified, wrongRecords: 1, problems: ['x'], passed: false });
    expect(outcomes(suiteOf(junitReport(seen)))['no wrong record']).toMatch(/^failure: /);
  });

  it('holds any text', () => {
    const hostile = `a"b'<c>&d]]>\u0000\u0008\u001b\n\t\ud800é漢\uffff<!--`;
    const seen = `a"b'<c>&d]]>\ufffd\ufffd\ufffd\n\t\ufffdé漢\ufffd<!--`;
    const [threshold] = madeUpResult().thresholds;
    const result = failedResult(
      {},
      {
        scenario: hostile,
        problems: [hostile],
        command: hostile,
        thresholds: [{ ...threshold!, rule: hostile, metric: hostile, passed: false }],
      },
    );
    const suite = suiteOf(junitReport(result));
    expect(suite.attributes.name).toBe(`pullwarden storm ${seen}`);
    expect(Object.keys(outcomes(suite))).toContain(seen);
    const failures = elementsOf(suite, 'testcase').flatMap((one) => elementsOf(one));
    expect(failures.map(({ text }) => text)).toContain(seen);
  });
});

/** The result of a storm as a JUnit report, which CI systems show as tests. */
import { formatCount, plural } from '../../terminal/format.ts';
import type { StormResult } from '../result-schema.ts';
import { escaped } from './html/markup.ts';
import { failureOf, formatLimit, formatMetric, stormVerdict } from './verdict.ts';

interface Case {
  readonly name: string;
  readonly seconds?: number;
  /** Undefined where the test passed. */
  readonly failure?: { readonly type: string; readonly message: string; readonly text?: string };
  /** The test could not be judged. */
  readonly error?: { readonly type: string; readonly message: string };
}

/**
 * The result as JUnit XML: one suite with one test for each threshold, and one each for wrong decisions,
 * wrong records, failed operations and the end of the storm.
 */
export function junitReport(result: StormResult): string {
  const cases = [...safetyCases(result), ...result.thresholds.map(thresholdCase)];
  const failures = cases.filter(({ failure }) => failure !== undefined).length;
  const errors = cases.filter(({ error }) => error !== undefined).length;
  const suite = `pullwarden storm ${result.scenario}`;
  const seconds = (result.durationMs / 1_000).toFixed(3);
  const counts = `tests="${cases.length}" failures="${failures}" errors="${errors}"`;
  // Without fraction and zone, as strict readers want it; it is UTC.
  const timestamp = result.startedAt.slice(0, 19);
  const lines = [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="pullwarden" ${counts} time="${seconds}">`,
    `  <testsuite name="${attribute(suite)}" ${counts} skipped="0" time="${seconds}" ` +
      `timestamp="${attribute(timestamp)}" hostname="localhost">`,
    '    <properties>',
    ...properties(result).map(
      ([name, value]) => `      <property name="${name}" value="${attribute(value)}"/>`,
    ),
    '    </properties>',
    ...cases.map((one) => caseText(one, suite)),
    `    <system-out>${escaped(output(result))}</system-out>`,
    '    <system-err></system-err>',
    '  </testsuite>',
    '</testsuites>',
  ];
  return `${lines.join('\n')}\n`;
}

function safetyCases(result: StormResult): Case[] {
  const { wrongDecisions, wrongRecords, errors, interrupted, verified } = result;
  const wrong = result.wrong.map(({ method, image, tenant, given, possible }) => {
    return `${method} of ${image} for tenant ${tenant}: given ${given}, possible ${possible.join(' or ')}`;
  });
  const codes = Object.entries(result.errorCodes).map(([name, count]) => `${name}: ${count}`);
  const failure = failureOf(result);
  const ended = { type: 'Interrupted', message: 'interrupted: the rest was not run' };
  const unfinished =
    failure === undefined ? interrupted && ended : { type: 'Failed', message: failure };
  const cases: Case[] = [
    {
      name: 'the storm ran to its end',
      seconds: result.durationMs / 1_000,
      ...(unfinished && { error: unfinished }),
    },
    {
      name: 'no failed operation',
      ...failed('FailedOperation', errors, 'failed operation', codes),
    },
  ];
  // What was not checked must not look as if it had passed.
  if (!verified.isOn && wrongDecisions + wrongRecords === 0) return cases;
  return [
    ...cases,
    {
      name: 'no wrong decision',
      ...failed('WrongDecision', wrongDecisions, 'wrong decision', wrong),
    },
    {
      name: 'no wrong record',
      ...failed('WrongRecord', wrongRecords, 'wrong record', result.problems),
    },
  ];
}

function failed(
  type: string,
  count: number,
  noun: string,
  lines: readonly string[],
): Pick<Case, 'failure'> | undefined {
  if (count === 0) return undefined;
  return { failure: { type, message: plural(count, noun), text: lines.join('\n') } };
}

function thresholdCase(threshold: StormResult['thresholds'][number]): Case {
  const { rule, metric, actual, unit, passed } = threshold;
  const name = rule.startsWith(metric) ? rule : `${rule}: ${metric}`;
  if (passed) return { name };
  const value = formatMetric(actual, unit);
  const message = `${metric} is ${value}, wanted ${formatLimit(threshold)}`;
  return { name, failure: { type: 'ThresholdCrossed', message } };
}

function caseText({ name, seconds = 0, failure, error }: Case, suite: string): string {
  const start = `    <testcase classname="${attribute(suite)}" name="${attribute(name)}" time="${seconds.toFixed(3)}"`;
  const [element, why] = failure === undefined ? ['error', error] : ['failure', failure];
  if (why === undefined) return `${start}/>`;
  const text = failure?.text ?? '';
  return `${start}>
      <${element} type="${why.type}" message="${attribute(why.message)}">${escaped(text)}</${element}>
    </testcase>`;
}

function properties(result: StormResult): [string, string][] {
  const { seed, scenarioHash, storeLabel, policy, command, machine } = result;
  return [
    ['seed', String(seed)],
    ['scenario', scenarioHash],
    ['store', storeLabel],
    ['policy', policy],
    ['command', command],
    ['machine', `${machine.cpu}, ${machine.cores} cores, ${machine.platform}`],
    ['node', machine.node],
    ['pullwarden', machine.pullwarden],
  ];
}

function output(result: StormResult): string {
  const { word, reasons } = stormVerdict(result);
  return (
    `${word}: ${reasons.join('; ')}\n` +
    `${formatCount(result.operations)} operations, ` +
    `${formatCount(result.operationsPerSecond)} a second\n`
  );
}

/** Line breaks in an attribute are read as blanks unless they are written as numbers. */
function attribute(text: string): string {
  return escaped(text).replace(/[\t\n\r]/g, (character) => `&#${character.charCodeAt(0)};`);
}

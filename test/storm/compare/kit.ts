/** Results of storms that never ran. */
import { RESULT_SCHEMA, type StormResult } from '../../../src/storm/result-schema.ts';
import type { Random } from '../../../src/util/random.ts';

/** Those fields of a result that a comparison reads. */
export type Fields = Partial<
  Omit<StormResult, 'machine'> & { machine: Partial<StormResult['machine']> }
>;

const MACHINE = {
  cpu: 'Test CPU',
  cores: 2,
  memoryBytes: 8e9,
  platform: 'linux 6.1.0 x64',
  node: 'v20.20.2',
  pullwarden: '0.1.0',
};
const LOAD = { model: 'open', ratePerSecond: { from: 100, to: 100 }, callersMax: 64 } as const;

/** No two results begin at one moment: they would be one measurement. */
let startedCount = 0;

/** A result with these values of one metric, a value a run. */
export function resultOf(
  metric: string,
  values: readonly number[],
  fields: Fields = {},
): StormResult {
  const result = {
    schema: RESULT_SCHEMA,
    scenario: 'mixed',
    scenarioHash: 'abc',
    store: 'journal',
    workers: 1,
    seed: 1,
    startedAt: new Date(Date.UTC(2026, 0, 1) + startedCount++).toISOString(),
    load: LOAD,
    stages: [{ name: 'mixed' }],
    wrongDecisions: 0,
    wrongRecords: 0,
    errors: 0,
    interrupted: false,
    passed: true,
    runs: values.map((value) => ({ [metric]: value })),
    ...fields,
    machine: { ...MACHINE, ...fields.machine },
  };
  return result as unknown as StormResult;
}

/** Results of both sides in turns, of one run each. */
export function inTurns(
  metric: string,
  a: readonly number[],
  b: readonly number[],
): [StormResult[], StormResult[]] {
  const at = (minute: number): Fields => ({
    startedAt: new Date(Date.UTC(2026, 0, 1, 0, minute)).toISOString(),
  });
  return [
    a.map((value, i) => resultOf(metric, [value], at(2 * i))),
    b.map((value, i) => resultOf(metric, [value], at(2 * i + 1))),
  ];
}

/** Values around `centre` that differ by a factor, as those of a shared machine do. */
export function noisy(random: Random, count: number, centre: number, deviation: number): number[] {
  return Array.from({ length: count }, () => {
    const radius = Math.sqrt(-2 * Math.log(1 - random.share()));
    return centre * Math.exp(deviation * radius * Math.cos(2 * Math.PI * random.share()));
  });
}

import { describe, expect, it } from 'vitest';
import { parseResults, readResults } from '../../../src/storm/compare/read-results.ts';
import { resultOf } from './kit.ts';

const RESULT = resultOf('decide.p50', [1, 2]);

function parse(...lines: readonly object[]) {
  return parseResults(lines.map((line) => JSON.stringify(line)).join('\n'), 'a.jsonl');
}

describe('results', () => {
  it('are read one by one, or several as lines', () => {
    expect(parseResults(JSON.stringify(RESULT, null, 2), 'a.json')).toEqual([RESULT]);
    const other = resultOf('decide.p50', [1, 2]);
    expect(parse(RESULT, other)).toEqual([RESULT, other]);
    expect(parseResults(`${JSON.stringify(RESULT)}\n\n`, 'a.json')).toEqual([RESULT]);
  });

  it.each([
    { name: 'nothing', text: ' \n', said: 'a.jsonl is empty' },
    { name: 'a text', text: 'hello', said: 'a.jsonl: line 1 is not JSON' },
    {
      name: 'what npm wrote in front',
      text: `\n> pullwarden@0.1.0 storm\n> node scripts/storm.mjs\n\n${JSON.stringify(RESULT)}\n`,
      said: 'a.jsonl: line 2 is not JSON: npm has written lines of its own there; use "npm run --silent"',
    },
    {
      name: 'half a line at the end',
      text: `${JSON.stringify(RESULT)}\n{"schema":`,
      said: 'a.jsonl: line 2 is not JSON',
    },
    { name: 'a list', text: '[]', said: "is no result of a storm: write one with 'storm --json'" },
    {
      name: 'an older version',
      text: '{"schema":"pullwarden.storm/1"}',
      said: 'has the schema "pullwarden.storm/1", and pullwarden.storm/2 is needed',
    },
  ])('are not $name', ({ text, said }) => {
    expect(() => parseResults(text, 'a.jsonl')).toThrow(said);
  });

  it.each([
    { name: 'interrupted', fields: { interrupted: true }, said: 'of a storm that was interrupted' },
    {
      name: 'of a storm with wrong decisions',
      fields: { wrongDecisions: 2 },
      said: 'of a storm that failed: 2 wrong decisions, 0 wrong records, 0 errors',
    },
    { name: 'of failed operations', fields: { errors: 1 }, said: '1 errors' },
    {
      name: 'with a stage that cannot be',
      fields: { stages: [{ name: 'x |\n# PASSED' }] } as never,
      said: 'is damaged: a stage has no name that a stage can have',
    },
    { name: 'of no time', fields: { startedAt: '<b>' }, said: 'is damaged: startedAt is no time' },
    {
      name: 'with a negative figure',
      fields: { runs: [{ 'decide.p50': -1 }] },
      said: 'runs has something else in it than numbers by name',
    },
    { name: 'without runs', fields: { runs: [] }, said: 'is damaged: runs is no list of runs' },
    {
      name: 'with runs of something else',
      fields: { runs: [{ 'decide.p50': 'fast' }] },
      said: 'runs has something else in it than numbers by name',
    },
    {
      name: 'without a machine',
      fields: { machine: { cpu: 7 } },
      said: 'is damaged: machine.cpu is no text',
    },
    { name: 'without load', fields: { load: {} }, said: 'load.model is neither open nor closed' },
  ])('are refused where they are $name', ({ fields, said }) => {
    expect(() =>
      parse({ ...RESULT, ...fields, machine: { ...RESULT.machine, ...fields.machine } }),
    ).toThrow(said);
  });

  it('of one file are of one scenario and one machine', () => {
    const other = { ...RESULT, scenarioHash: 'def', scenario: 'gc' };
    expect(() => parse(RESULT, other)).toThrow(
      'a.jsonl: line 2 is of another scenario than the first: gc',
    );
    const elsewhere = { ...RESULT, machine: { ...RESULT.machine, cores: 64 } };
    expect(() => parse(RESULT, elsewhere)).toThrow(
      'a.jsonl: line 2 is of another machine than the first: cores "2" and "64"',
    );
  });

  it('are refused where one measurement counts twice', () => {
    expect(() => parse(RESULT, resultOf('decide.p50', [1]), RESULT)).toThrow(
      'a.jsonl: line 3 is the same measurement as a.jsonl: line 1',
    );
  });

  it('have no figure without an end', () => {
    const text = JSON.stringify(RESULT).replace('"decide.p50":1', '"decide.p50":1e999');
    expect(() => parseResults(text, 'a.json')).toThrow('something else in it than numbers');
  });

  it('that crossed a threshold are results all the same', () => {
    expect(parse({ ...RESULT, passed: false })).toHaveLength(1);
  });

  it('name the file that cannot be read', async () => {
    await expect(readResults('/nowhere/a.json')).rejects.toThrow(
      '"/nowhere/a.json" cannot be read: ENOENT',
    );
  });
});

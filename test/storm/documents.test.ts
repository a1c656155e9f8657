/** docs/storm.md, docs/storm-result.md and the schema: what they say is so. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { type JsonSchema, scenarioSchema } from '../../src/storm/scenario-schema.ts';
import { loadScenario, parseScenario, withOwn } from '../../src/storm/scenarios.ts';
import { runScenario } from '../../src/storm/storm.ts';
import { newDirectory } from '../support/record-sets.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const document = (name: string): string =>
  readFileSync(new URL(`../../docs/${name}`, import.meta.url), 'utf8');
const blocksOf = (language: string): string[] =>
  Array.from(
    document('storm.md').matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'gm')),
    ([, block]) => block!,
  );

/** Problems of a value under the part of JSON schema that ours uses. */
function problemsOf(schema: JsonSchema, value: unknown, at = ''): string[] {
  const { anyOf, properties, items, required = [], pattern, minimum, maximum } = schema;
  const options = schema.enum as unknown[] | undefined;
  if (Array.isArray(anyOf)) {
    const all = anyOf.map((option: JsonSchema) => problemsOf(option, value, at));
    return all.find((problems) => problems.length === 0) ?? all.flat();
  }
  if (options !== undefined) return options.includes(value) ? [] : [`${at} is no choice`];
  const type = Array.isArray(value) ? 'array' : typeof value;
  const isType = type === schema.type || (schema.type === 'integer' && Number.isInteger(value));
  if (!isType) return [`${at} is no ${String(schema.type)}`];
  if (typeof value === 'string' && typeof pattern === 'string') {
    return new RegExp(pattern).test(value) ? [] : [`${at} does not match`];
  }
  if (typeof value === 'number') {
    const isIn = value >= ((minimum as number) ?? value) && value <= ((maximum as number) ?? value);
    return isIn ? [] : [`${at} is out of range`];
  }
  if (Array.isArray(value)) {
    return value.flatMap((item, index) => problemsOf(items as JsonSchema, item, `${at}[${index}]`));
  }
  if (typeof value !== 'object' || value === null) return [];
  const known = properties as Readonly<Record<string, JsonSchema>>;
  const missing = (required as string[]).filter((key) => !(key in value));
  return [
    ...missing.map((key) => `${at} lacks ${key}`),
    ...Object.entries(value).flatMap(([key, item]) =>
      key in known ? problemsOf(known[key]!, item, `${at}.${key}`) : [`${at}.${key} is unknown`],
    ),
  ];
}

describe('the schema', () => {
  it('is published as the tables have it', () => {
    expect(JSON.parse(document('scenario.schema.json'))).toEqual(scenarioSchema());
  });

  it.each([
    '{"rate": "20k/s", "duration": "3s", "thresholds": ["decide.p99<1ms"], "verify": false}',
    '{"stages": [{"duration": "1s", "rate": {"from": 0, "to": 5}}], "seed": 0, "skew": 1.5}',
    '{"events": [{"at": "50%", "do": "prune"}, {"at": "1s", "do": "restart"}]}',
    '{"mix": {"pull": 1, "decide": 0.5}, "policy": "AlwaysVerify", "compatibility": "v1.36"}',
  ])('and the parser both take %s', (text) => {
    expect(problemsOf(scenarioSchema(), JSON.parse(text))).toEqual([]);
    expect(() => parseScenario(text, 'f')).not.toThrow();
  });

  it.each([
    '{"rat": 1}',
    '{"rate": "20k/d"}',
    '{"rate": 0}',
    '{"duration": 5}',
    '{"duration": "5"}',
    '{"tenants": 1.5}',
    '{"decisionShare": 2}',
    '{"stages": [{"rate": 5}]}',
    '{"stages": [{"duration": "1s", "rate": {"from": 1}}]}',
    '{"events": [{"at": "50%", "do": "explode"}]}',
    '{"events": [{"at": 50, "do": "prune"}]}',
    '{"mix": {"all": 1}}',
    '{"arrivals": "odd"}',
    '{"thresholds": [1]}',
    '{"compatibility": "v1.1"}',
  ])('and the parser both refuse %s', (text) => {
    expect(problemsOf(scenarioSchema(), JSON.parse(text))).not.toEqual([]);
    expect(() => parseScenario(text, 'f')).toThrow();
  });
});

describe('docs/storm.md', () => {
  it.each([
    ...blocksOf('json').map((block) => ({ block, name: 'example.json' })),
    ...blocksOf('js').map((block) => ({ block, name: 'example.mjs' })),
  ])('has a scenario that runs: $name', async ({ block, name }) => {
    const file = join(newDirectory(), name);
    writeFileSync(file, block);
    const { parameters, ...scenario } = await loadScenario(file, 1);
    if (name.endsWith('.json')) expect(problemsOf(scenarioSchema(), JSON.parse(block))).toEqual([]);
    const small = { store: 'journal', records: 100, tenants: 50, prunings: 1, thresholds: [] };
    const limit = parameters.stages.length > 0 ? { duration: 600 } : { operations: 500 };
    const result = await runScenario({
      scenario: { ...scenario, parameters: withOwn(parameters, { ...small, ...limit }) },
      seed: 1,
      command: '',
    });
    expect(result).toMatchObject({
      wrongDecisions: 0,
      wrongRecords: 0,
      errors: 0,
      failure: undefined,
    });
    expect(result.stages.length).toBeGreaterThanOrEqual(1);
  });

  it('has commands that are right', () => {
    const commands = blocksOf('sh').flatMap((block) => block.trim().split('\n'));
    expect(commands.length).toBeGreaterThan(3);
    const loader = import.meta.resolve('tsx');
    for (const command of commands) {
      const line = `${command} --ops 100 --records 50 --tenants 20 --workers 0`.replace(
        'pullwarden',
        `'${process.execPath}' --import '${loader}' '${MAIN}'`,
      );
      // A threshold may be crossed on a busy machine: then the code is 99.
      const output = execFileSync('sh', ['-c', `${line} || test $? = 99`], { encoding: 'utf8' });
      expect(output).toContain('pullwarden');
    }
  });
});

describe('docs/storm-result.md', () => {
  it('names every field', async () => {
    const result = await runScenario({
      scenario: {
        name: 'tiny',
        description: '',
        parameters: parseScenario(
          '{"store":"memory","workers":0,"operations":200,"records":50,"tenants":20,"rate":"50k/s"}',
          'tiny',
        ).parameters,
      },
      seed: 1,
      command: '',
    });
    const text = document('storm-result.md');
    const named = new Set(Array.from(text.matchAll(/`(\w+)`/g), ([, name]) => name));
    expect(Object.keys(result).filter((field) => !named.has(field))).toEqual([]);
    const row = result.intervals[0] ?? {};
    expect(Object.keys(row).filter((field) => !named.has(field))).toEqual([]);
    const inner = [result.arrivals!, result.machine, result.cpu, result.memory, result.verified];
    const fields = inner.flatMap((value) => Object.keys(value));
    expect(fields.filter((field) => !named.has(field))).toEqual([]);
    expect(JSON.parse(JSON.stringify(result))).toMatchObject({ schema: 'pullwarden.storm/2' });
  });
});

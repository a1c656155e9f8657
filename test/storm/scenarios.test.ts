import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { DEFAULT_PARAMETERS, SCENARIO_NAMES } from '../../src/storm/built-in.ts';
import { parseImageList, readImageList } from '../../src/storm/image-list.ts';
import { PARAMETER_NAMES, PARAMETERS, parseParameter } from '../../src/storm/parameters.ts';
import {
  builtInScenario,
  loadScenario,
  parseScenario,
  withOwn,
} from '../../src/storm/scenarios.ts';
import { callersMax, stagesOf } from '../../src/storm/stages.ts';
import { parseStore, prepareStore } from '../../src/storm/store.ts';
import { nearest } from '../../src/util/suggest.ts';

const usage = (message: RegExp) =>
  expect.objectContaining({
    code: 'ERR_PULLMANAGER_INVALID_ARGUMENT',
    message: expect.stringMatching(message),
  });

describe('scenarios', () => {
  it('has the built-in ones', () => {
    expect(new Set(SCENARIO_NAMES)).toEqual(
      new Set(['smoke', 'rollout', 'node-restart', 'credential-rotation', 'gc', 'mixed']),
    );
    for (const name of SCENARIO_NAMES) {
      const { parameters } = builtInScenario(name);
      expect(Object.keys(parameters).sort()).toEqual([...PARAMETER_NAMES].sort());
      for (const key of PARAMETER_NAMES) {
        const value = parameters[key];
        const { kind } = PARAMETERS[key];
        if (value === undefined || kind === 'list') continue;
        const given = kind === 'duration' ? `${Number(value)}ms` : value;
        expect(parseParameter(key, given, key)).toEqual(value);
      }
    }
  });

  it('takes no event that would never happen', () => {
    const event = (own: object) =>
      JSON.stringify({ rate: 10, events: [{ at: '3s', do: 'restart' }], ...own });
    const stages = [{ duration: '1s' }, { duration: '2s' }];
    for (const own of [{ duration: '3s' }, { stages }]) {
      expect(() => parseScenario(event(own), 'late.json')).toThrow(
        'late.json: events[0].at lies behind the end, which comes after 3000 ms',
      );
    }
    for (const own of [{ duration: '4s' }, { stages, duration: '6s' }, { operations: 10 }]) {
      expect(parseScenario(event(own), 'late.json').parameters.events).toHaveLength(1);
    }
  });

  it('takes no key twice', () => {
    const rules = '"thresholds": ["decide.p99<1ns"], "tenants": 3, "\\u0074hresholds": []';
    expect(() => parseScenario(`{${rules}}`, 'twice.json')).toThrow(
      'twice.json: thresholds is given twice',
    );
    const nested = '{"stages": [{"duration": "1s", "mix": {"pull": 1, "decide": 1, "pull": 2}}]}';
    expect(() => parseScenario(nested, 'twice.json')).toThrow('pull is given twice');
    const text = '{"description": "a {\\"tenants\\": 1} : [", "tenants": 3, "mix": {"pull": 1}}';
    expect(parseScenario(text, 'once.json').parameters.tenants).toBe(3);
  });

  it('reads a file', () => {
    const text = JSON.stringify({
      extends: 'gc',
      description: 'mine',
      operations: 5_000,
      tenants: 7,
      store: 'memory',
      thresholds: ['decide.p99<2ms'],
    });
    const { name, description, parameters } = parseScenario(text, 'mine.json');
    expect({ name, description }).toEqual({ name: 'mine.json', description: 'mine' });
    expect(parameters).toEqual({
      ...builtInScenario('gc').parameters,
      operations: 5_000,
      duration: undefined,
      tenants: 7,
      store: 'memory',
      thresholds: ['decide.p99<2ms'],
    });
    expect(parseScenario('{}', 'x').parameters).toEqual(DEFAULT_PARAMETERS);
  });

  it.each([
    ['[]', /mine\.json: must hold one object/],
    ['{', /mine\.json: is not JSON/],
    ['{"tenantz": 1}', /mine\.json: tenantz is not known \(did you mean "tenants"\?\)/],
    [`{"${'a'.repeat(5_000)}": 1}`, /^mine\.json: "a{120}…" \(5000 characters\) is not known$/],
    ['{"\\u001b[2J": 1}', /^mine\.json: "\\u001b\[2J" is not known$/],
    ['{"__proto__": 1}', /mine\.json: __proto__ is not known/],
    ['{"extends": "gcc"}', /extends must be a built-in scenario \(did you mean "gc"\?\)/],
    ['{"duration": "10"}', /duration "10" is no time/],
    ['{"duration": 10}', /is no time/],
    ['{"tenants": 0}', /tenants must be from 1/],
    ['{"tenants": 1.5}', /is not a whole number/],
    ['{"tenants": "many"}', /is not a whole number/],
    ['{"decisionShare": 1.1}', /must be from 0 to 1/],
    ['{"policy": "AlwaysVerfy"}', /did you mean "AlwaysVerify"/],
    ['{"thresholds": [1]}', /list of texts/],
    ['{"store": ""}', /must be a text/],
    ['{"description": 1}', /must be a text/],
    ['{"duration": "10sec"}', /"10sec" is no time: .* \(did you mean "s"\?\)/],
    ['{"rate": "20k/sec"}', /"20k\/sec" is no rate: .* \(did you mean "s"\?\)/],
    ['{"rate": 0}', /must be from 0\.001/],
    ['{"arrivals": "poison"}', /did you mean "poisson"/],
    ['{"verify": "no"}', /must be true or false/],
    ['{"stages": [{}]}', /stages\[0\] lacks duration/],
    ['{"stages": {}}', /stages must be a list/],
    [
      '{"stages": [{"duration": "1s", "rat": 1}]}',
      /stages\[0\]\.rat is not known \(did you mean "rate"\?\)/,
    ],
    ['{"stages": [{"duration": "1s", "rate": {"from": 1}}]}', /stages\[0\]\.rate lacks to/],
    ['{"stages": [{"duration": "1s", "name": "a b"}]}', /stages\[0\]\.name must be/],
    [
      '{"stages": [{"duration": "1s", "name": "a"}, {"duration": "1s", "name": "a"}]}',
      /stages\[1\]\.name is taken/,
    ],
    [
      '{"stages": [{"duration": "1s", "rate": 1}, {"duration": "1s", "concurrency": 1}]}',
      /stages\[0\]\.rate does not fit/,
    ],
    ['{"events": [{"at": "3s", "do": "prunes"}]}', /is no event \(did you mean "prune"\?\)/],
    ['{"events": [{"at": "101%", "do": "prune"}]}', /must be at most 100%/],
    ['{"events": [{"at": 3, "do": "prune"}]}', /is no time/],
    [`{"mix": {"${'a'.repeat(5_000)}": 1}}`, /mix\."a{120}…" \(5000 characters\) is not known$/],
    ['{"publicShare": {"toString": 0}}', /publicShare an object is not a number$/],
    ['{"seed": [{"toString": 0}]}', /seed a list is not a whole number$/],
    ['{"rate": {"toString": 0}}', /rate an object is no rate/],
    ['{"duration": {"toString": 0}}', /duration an object is no time/],
    ['{"extends": {"toString": 0}}', /extends must be a built-in scenario$/],
    ['{"compatibility": {"toString": 0}}', /compatibility/],
    ['{"mix": {"decideAll": 1}}', /mix\.decideAll is not known/],
    ['{"mix": {"decide": 0}}', /mix has no weight above 0/],
    ['{"mix": {"decide": 1}, "decisionShare": 0.5}', /give one of them/],
    ['{"workerKills": 1, "workers": 0}', /workers must be at least 1/],
  ])('refuses %s', (text, message) => {
    expect(() => parseScenario(text, 'mine.json')).toThrow(usage(message));
  });

  it('suggests the name that was meant, and names the file that is not there', async () => {
    const refused = (name: string, message: RegExp): Promise<void> =>
      expect(loadScenario(name, 1)).rejects.toThrow(usage(message));
    await refused('smok', /"smok" is not known \(did you mean "smoke"\?\)/);
    await refused('constructor', /is not known$/);
    await refused('./none.json', /none\.json: cannot be read \(ENOENT\)/);
    await refused('./none.mjs', /none\.mjs: cannot be read \(ENOENT\)/);
  });

  describe('as modules', () => {
    const directory = mkdtempSync(join(tmpdir(), 'pullwarden-test-'));
    afterAll(() => rmSync(directory, { recursive: true }));
    const module = (name: string, text: string): string => {
      writeFileSync(join(directory, name), text);
      return join(directory, name);
    };

    it('are an object, or a function of the seed', async () => {
      const plain = module('plain.mjs', "export default { extends: 'gc', tenants: 9 };");
      expect((await loadScenario(plain, 1)).parameters).toMatchObject({ prunings: 60, tenants: 9 });
      const made = module(
        'made.mjs',
        'export default async ({ seed }) => ({ tenants: seed % 100, rate: 5 });',
      );
      expect((await loadScenario(made, 1_234)).parameters).toMatchObject({ tenants: 34, rate: 5 });
    });

    it.each([
      ['key.mjs', 'export default { tenant: 1 };', /key\.mjs: tenant is not known/],
      ['none.mjs', 'export const tenants = 1;', /none\.mjs: must hold one object/],
      ['throws.mjs', "throw new Error('not today');", /throws\.mjs: cannot be read .*not today/],
      ['syntax.mjs', 'export default {', /syntax\.mjs: cannot be read/],
    ])('refuses %s', async (name, text, message) => {
      await expect(loadScenario(module(name, text), 1)).rejects.toThrow(usage(message));
    });
  });
});

describe('a load', () => {
  const own = (text: string) => parseScenario(text, 'f').parameters;
  const loads = (text: string) => stagesOf(own(text), 'f').map(({ load }) => load);

  it('is open by default, and closed where there are callers but no rate', () => {
    const steady = { from: 10_000, to: 10_000 };
    expect(loads('{}')).toEqual([{ model: 'open', ratePerSecond: steady, callersMax: 256 }]);
    const four = { from: 4, to: 4 };
    expect(loads('{"concurrency": 4}')).toEqual([{ model: 'closed', concurrency: four }]);
    expect(loads('{"concurrency": 4, "rate": "1.2k/m"}')).toEqual([
      { model: 'open', ratePerSecond: { from: 20, to: 20 }, callersMax: 4 },
    ]);
  });

  it('moves in stages', () => {
    const text = `{"concurrency": 3, "stages": [
      {"duration": "1s", "concurrency": {"from": 1, "to": 9}}, {"name": "b", "duration": "2s"}]}`;
    expect(stagesOf(own(text), 'f').map(({ name, durationMs }) => [name, durationMs])).toEqual([
      ['stage-1', 1_000],
      ['b', 2_000],
    ]);
    expect(loads(text)).toEqual([
      { model: 'closed', concurrency: { from: 1, to: 9 } },
      { model: 'closed', concurrency: { from: 3, to: 3 } },
    ]);
    expect(callersMax(own(text))).toBe(9);
  });

  it('of stages is moved by what is said later', () => {
    const { parameters } = builtInScenario('rollout');
    const rates = (said: Parameters<typeof withOwn>[1]) =>
      stagesOf(withOwn(parameters, said), 'rollout').map(({ load, durationMs }) => [
        durationMs,
        load.model === 'open' ? load.ratePerSecond.to : load.concurrency.to,
      ]);
    expect(rates({})).toEqual([
      [3_000, 1_000],
      [4_000, 5_000],
      [3_000, 1_000],
    ]);
    expect(rates({ rate: 2_000, duration: 1_000 })).toEqual([
      [300, 400],
      [400, 2_000],
      [300, 400],
    ]);
    expect(rates({ concurrency: 7 }).map(([, load]) => load)).toEqual([7, 7, 7]);
  });

  it('ends: by its time, its operations or its stages', () => {
    const durations = (text: string) => stagesOf(own(text), 'f').map((stage) => stage.durationMs);
    expect(durations('{"operations": 5}')).toEqual([Number.POSITIVE_INFINITY]);
    expect(durations('{"operations": 5, "duration": "3s"}')).toEqual([3_000]);
    expect(durations('{"extends": "rollout", "stages": []}')).toEqual([10_000]);
    expect(durations('{"operations": 5, "stages": [{"duration": "1s"}]}')).toEqual([1_000]);
  });
});

describe('image lists', () => {
  it('ships 9,849 references', async () => {
    const list = await readImageList();
    expect(list).toHaveLength(9_849);
    expect(list[0]).toEqual({
      image: 'docker.io/library/adminer:5',
      name: 'docker.io/library/adminer',
    });
  });

  it('reads names with tags, plain references, comments and CRLF', () => {
    const text = `# x\r\nregistry.io/a\t1 2\r\n\r\nnginx\r\nnginx@sha256:${'a'.repeat(64)}\r\nnginx`;
    expect(
      parseImageList(text, 'f').map(({ image, name }) => `${name} ${image.slice(0, 15)}`),
    ).toEqual([
      'registry.io/a registry.io/a:1',
      'registry.io/a registry.io/a:2',
      'docker.io/library/nginx nginx',
      'docker.io/library/nginx nginx@sha256:aa',
    ]);
  });

  it.each([
    ['ok\nNot OK', /f:2: couldn't parse image name "Not OK"/],
    ['a\t1 b:c', /f:1: .*"a:b:c"/],
    ['\n#\n', /holds no image/],
  ])('refuses %j', (text, message) => {
    expect(() => parseImageList(text, 'f')).toThrow(usage(message));
  });

  it('names the file that is not there', async () => {
    await expect(readImageList('/none')).rejects.toThrow(
      usage(/--images \/none: cannot be read \(ENOENT\)/),
    );
  });
});

describe('stores', () => {
  it('knows kinds and paths', () => {
    expect(parseStore('journal')).toEqual({ kind: 'journal' });
    expect(parseStore('lmdb:/a:b')).toEqual({ kind: 'lmdb', path: '/a:b' });
    expect(parseStore('memory')).toEqual({ kind: 'memory' });
  });

  it.each([
    ['jurnal', /did you mean "journal"/],
    ['memory:x', /takes no path/],
    ['journal:', /lacks a path/],
    ['', /is no store/],
  ])('refuses %j', (text, message) => {
    expect(() => parseStore(text)).toThrow(usage(message));
  });

  it('removes what it made, and nothing else', () => {
    const directory = mkdtempSync(join(tmpdir(), 'pullwarden-test-'));
    writeFileSync(join(directory, 'mine'), '');
    const given = prepareStore(`journal:${directory}`);
    given.remove();
    expect(() => rmSync(join(directory, 'mine'))).not.toThrow();
    rmSync(directory, { recursive: true });
    const made = prepareStore('journal');
    expect(made.label).toBe('journal (temporary)');
    made.remove();
    made.remove();
  });
});

describe('nearest', () => {
  it.each([
    ['smoek', 'smoke'],
    ['SMOKE', 'smoke'],
    ['rolout', 'rollout'],
    ['xyz', undefined],
    ['', undefined],
  ])('%s: %s', (given, meant) => {
    expect(nearest(given, SCENARIO_NAMES)).toBe(meant);
  });
});

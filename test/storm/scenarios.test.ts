import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseImageList, readImageList } from '../../src/storm/image-list.ts';
import { PARAMETER_NAMES, parseParameter } from '../../src/storm/parameters.ts';
import {
  DEFAULT_PARAMETERS,
  loadScenario,
  parseScenario,
  SCENARIO_NAMES,
} from '../../src/storm/scenarios.ts';
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
      const { parameters } = loadScenario(name);
      expect(Object.keys(parameters).sort()).toEqual([...PARAMETER_NAMES].sort());
      for (const key of PARAMETER_NAMES) {
        const value = parameters[key];
        const given = key === 'duration' ? `${String(value)}ms` : value;
        if (value !== undefined) expect(parseParameter(key, given, key)).toEqual(value);
      }
    }
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
      ...loadScenario('gc').parameters,
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
  ])('refuses %s', (text, message) => {
    expect(() => parseScenario(text, 'mine.json')).toThrow(usage(message));
  });

  it('suggests the name that was meant, and names the file that is not there', () => {
    expect(() => loadScenario('smok')).toThrow(
      usage(/"smok" is not known \(did you mean "smoke"\?\)/),
    );
    expect(() => loadScenario('constructor')).toThrow(usage(/is not known$/));
    expect(() => loadScenario('./none.json')).toThrow(
      usage(/none\.json: cannot be read \(ENOENT\)/),
    );
  });
});

describe('image lists', () => {
  it('ships 9,849 references', () => {
    const list = readImageList();
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

  it('names the file that is not there', () => {
    expect(() => readImageList('/none')).toThrow(
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

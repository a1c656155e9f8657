import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MUTANTS, mutantNamed } from './catalogue.ts';
import { type Mutant, mutate, rotOf } from './mutant.ts';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

describe('the catalogue of planted errors', () => {
  it.each(MUTANTS)('"$name" is about a line that is there once', (mutant) => {
    expect(rotOf(mutant, ROOT)).toBeUndefined();
    expect(mutant.replace).not.toBe(mutant.find);
  });

  it('has no two of one name', () => {
    expect(new Set(MUTANTS.map(({ name }) => name)).size).toBe(MUTANTS.length);
  });

  it('gives none for a name that it does not have', () => {
    expect(mutantNamed(MUTANTS[0]!.name)).toBe(MUTANTS[0]);
    expect(() => mutantNamed('no such')).toThrow('no mutant is called no such');
  });

  it('says of a line that is gone, or there twice, what is wrong', () => {
    const [some] = MUTANTS;
    expect(rotOf({ ...some!, find: 'no such line' }, ROOT)).toContain('0 times');
    expect(rotOf({ ...some!, find: 'this' }, ROOT)).toMatch(/\d+ times/);
  });
});

describe('a mutated copy', () => {
  let directory: string;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'pullwarden-mutant-'));
    for (const part of ['src', 'workers', 'test']) {
      mkdirSync(join(directory, 'tree', part), { recursive: true });
    }
    writeFileSync(join(directory, 'tree', 'src', 'a.js'), 'before();\nright();\n');
  });

  afterEach(() => rmSync(directory, { recursive: true }));

  const mutant: Mutant = {
    name: 'm',
    file: 'a.ts',
    find: 'right();',
    replace: "wrong('$&');",
    detector: 'simulation',
  };

  it('differs in that line alone, and the original not at all', () => {
    const tree = join(directory, 'tree');
    cpSync(tree, join(directory, 'kept'), { recursive: true });
    mutate(mutant, tree, join(directory, 'copy'));
    const read = (copy: string): string => readFileSync(join(directory, copy, 'src/a.js'), 'utf8');
    expect(read('copy')).toBe("before();\nwrong('$&');\n");
    expect(read('tree')).toBe(read('kept'));
  });

  it('is not made where the line is not there exactly once', () => {
    const tree = join(directory, 'tree');
    const gone = { ...mutant, find: 'gone();' };
    expect(() => mutate(gone, tree, join(directory, 'copy'))).toThrow('0 times');
  });
});

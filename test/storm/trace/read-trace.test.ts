import { describe, expect, it } from 'vitest';
import { readTrace } from '../../../src/trace/read-trace.ts';
import { parse, play } from './kit.ts';

const HEADER = '{"schema":"pullwarden.trace/1","startedAt":"2026-01-01T00:00:00.000Z"}';
const SECRET = '{"uid":"u1","namespace":"ns1","name":"n1","credentialHash":"h1"}';
const CREDENTIALS = `{"op":"credentials","number":1,"secrets":[${SECRET}]}`;

const asked = (at: number, rest = ''): string =>
  `{"at":${at},"op":"decide","image":"a:1","imageRef":"r1"${rest}}`;

describe('a trace', () => {
  it.each([
    { name: 'nothing', lines: [''], said: 'is empty' },
    { name: 'a text', lines: ['hello'], said: 'is no trace' },
    { name: 'other JSON', lines: ['{"a":1}'], said: 'its first line has no schema' },
    {
      name: 'another version',
      lines: ['{"schema":"pullwarden.trace/2"}'],
      said: 'has the schema "pullwarden.trace/2", and not pullwarden.trace/1',
    },
    { name: 'no object', lines: [HEADER, '7'], said: 'line 2 is no object' },
    { name: 'an unknown op', lines: [HEADER, '{"op":"x"}'], said: 'line 2 has the unknown op "x"' },
    {
      name: 'no time',
      lines: [HEADER, '{"op":"intent","image":"a"}'],
      said: 'at must be a number',
    },
    { name: 'a negative time', lines: [HEADER, asked(-1)], said: 'at must be at least 0' },
    { name: 'no image', lines: [HEADER, '{"at":1,"op":"intent"}'], said: 'image must be a text' },
    {
      name: 'credentials that nobody gave',
      lines: [HEADER, CREDENTIALS, asked(1, ',"credentials":2')],
      said: 'line 3 credentials must be the number of an earlier line',
    },
    {
      name: 'credentials in disorder',
      lines: [HEADER, '{"op":"credentials","number":3}'],
      said: 'must have the number 1',
    },
    {
      name: 'half a secret',
      lines: [HEADER, '{"op":"credentials","number":1,"secrets":[{"uid":"u"}]}'],
      said: 'has something else in secrets',
    },
    {
      name: 'a damaged line in the middle',
      lines: [HEADER, asked(1), '{"at":2,"op":"dec', asked(3)],
      said: 'trace.jsonl: line 3 is not JSON',
    },
    {
      name: 'something after the end',
      lines: [HEADER, '{"op":"end","at":1,"operations":0,"dropped":0}', asked(3)],
      said: 'line 3 comes after the end',
    },
    {
      name: 'a batch of nothing',
      lines: [HEADER, '{"at":1,"op":"decideBatch","requests":[null]}'],
      said: 'has a request that is no object',
    },
  ])('is not $name', async ({ lines, said }) => {
    await expect(parse(...lines)).rejects.toThrow(said);
  });

  it('may end in the middle of a line', async () => {
    const { operations, isWhole } = await parse(HEADER, asked(1), '{"at":2,"op":"dec');
    expect(operations).toHaveLength(1);
    expect(isWhole).toBe(false);
  });

  it('is put in the order of its times', async () => {
    const { operations } = await parse(HEADER, asked(5), asked(1), asked(3));
    expect(operations.map(({ at }) => at)).toEqual([1, 3, 5]);
  });

  it('names the file that cannot be read', async () => {
    await expect(readTrace('/nowhere/trace.jsonl')).rejects.toThrow(
      '"/nowhere/trace.jsonl" cannot be read: ENOENT',
    );
  });
});

describe('a replay', () => {
  const intent = '{"at":1,"op":"intent","image":"a:1"}';
  const pulled = (at: number, ref: string, credentials: number | null): string =>
    `{"at":${at},"op":"pulled","image":"a:1","imageRef":"${ref}","credentials":${credentials}}`;
  const ask = (at: number, ref: string, rest = ''): string =>
    `{"at":${at},"op":"decide","image":"a:1","imageRef":"${ref}"${rest}}`;

  it('tells the references of one image apart', async () => {
    const trace = await parse(
      HEADER,
      CREDENTIALS,
      intent,
      pulled(2, 'r1', 1),
      ask(100, 'r1', ',"credentials":1'),
      // The image has a new content, of which nothing is recorded: it counts as preloaded.
      ask(101, 'r2', ',"credentials":1'),
      '{"at":102,"op":"intent","image":"a:1"}',
      ask(202, 'r2', ',"credentials":1'),
      pulled(303, 'r2', null),
      ask(403, 'r2', ',"credentials":1'),
      ask(403, 'r1', ',"credentials":1'),
    );
    const { state, replayed, universe } = await play(trace, { speed: 4 });
    expect(universe.images).toEqual(['a:1', 'a:1']);
    expect(state.wrong).toEqual([]);
    expect(state.problems).toEqual([]);
    const { exact, either } = state.counts;
    expect(exact + either).toBe(5);
    expect(state.counts).toMatchObject({ wrongDecisions: 0, unverifiable: 0, operations: 9 });
    expect(replayed).toMatchObject({ started: 9, scheduled: 9, unplayable: 0 });
  });

  it('leaves out what began before the recording, and what nobody can judge', async () => {
    const accounts =
      '[{"uid":"u","namespace":"n","name":"a"},{"uid":"u","namespace":"n","name":"b"}]';
    const trace = await parse(
      HEADER,
      CREDENTIALS,
      `{"op":"credentials","number":2,"serviceAccounts":${accounts}}`,
      pulled(1, 'r1', 1),
      '{"at":2,"op":"failed","image":"a:1"}',
      '{"at":3,"op":"intent","image":"a:1"}',
      pulled(4, 'r1', 2),
      '{"at":5,"op":"decide","image":"NO NAME","imageRef":"r1"}',
    );
    const { state, replayed } = await play(trace);
    expect(replayed).toMatchObject({ started: 1, scheduled: 1, unplayable: 4 });
    expect(state.counts).toMatchObject({ errors: 0, wrongRecords: 0 });
  });

  it('counts who presents a secret without a hash as unverifiable', async () => {
    const trace = await parse(
      HEADER,
      '{"op":"credentials","number":1,"secrets":[{"uid":"u1","namespace":"ns1","name":"n1","credentialHash":""}]}',
      ask(1, 'r1', ',"credentials":1'),
      ask(2, ''),
    );
    const { state } = await play(trace);
    expect(state.counts).toMatchObject({ unverifiable: 1, exact: 1, wrongDecisions: 0 });
  });

  it('records several service accounts of one name by several pulls', async () => {
    const accounts =
      '[{"uid":"u","namespace":"n","name":"a"},{"uid":"u","namespace":"n","name":"b"}]';
    const trace = await parse(
      HEADER,
      `{"op":"credentials","number":1,"serviceAccounts":${accounts}}`,
      '{"op":"credentials","number":2,"serviceAccounts":[{"uid":"u","namespace":"n","name":"b"}]}',
      '{"op":"record","imageRef":"r1","name":"docker.io/library/a","credentials":1}',
      ask(1, 'r1', ',"credentials":2'),
    );
    const { state, left } = await play(trace);
    expect(left).toBe(0);
    expect(state.wrong).toEqual([]);
    expect(state.problems).toEqual([]);
    expect(state.counts).toMatchObject({ exact: 1 });
  });
});

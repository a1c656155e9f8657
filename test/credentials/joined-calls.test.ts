import { describe, expect, it } from 'vitest';
import { JoinedCalls } from '../../src/credentials/joined-calls.ts';
import { PULL_MANAGER_ERROR_CODES as CODES } from '../../src/errors.ts';

interface Call {
  readonly key: string;
  readonly signal: AbortSignal;
  readonly resolve: (answer: string) => void;
  readonly reject: (error: Error) => void;
}

/** Joined calls that end when the test says so. */
function scripted() {
  const started: Call[] = [];
  const calls = new JoinedCalls<string>();
  const run = (key: string, signal?: AbortSignal) =>
    calls.run(
      key,
      (own) =>
        new Promise<string>((resolve, reject) => {
          started.push({ key, signal: own, resolve, reject });
        }),
      signal,
      'a test',
    );
  return { started, run };
}

describe('joined calls', () => {
  it('are one where they are equal and at the same time', async () => {
    const { started, run } = scripted();
    const answers = [run('a'), run('a'), run('b')];
    expect(started.map(({ key }) => key)).toEqual(['a', 'b']);
    started[0]!.resolve('x');
    started[1]!.resolve('y');
    expect(await Promise.all(answers)).toEqual(['x', 'x', 'y']);
    const later = run('a');
    started[2]!.resolve('z');
    expect(await later).toBe('z');
  });

  it('fail together, and the next one starts anew', async () => {
    const { started, run } = scripted();
    const settled = Promise.allSettled([run('a'), run('a')]);
    started[0]!.reject(new Error('no'));
    expect((await settled).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    const later = run('a');
    started[1]!.resolve('x');
    expect(await later).toBe('x');
  });

  it('are aborted when the last caller has left, and not before', async () => {
    const { started, run } = scripted();
    const [first, second] = [new AbortController(), new AbortController()];
    const settled = Promise.allSettled([run('a', first.signal), run('a', second.signal)]);
    first.abort();
    await expect(run('b', first.signal)).rejects.toMatchObject({ code: CODES.ABORTED });
    expect(started.map(({ signal }) => signal.aborted)).toEqual([false]);
    second.abort();
    for (const one of await settled) expect(one).toMatchObject({ reason: { code: CODES.ABORTED } });
    expect(started[0]!.signal.aborted).toBe(true);
    // The call that is being aborted is not joined.
    const later = run('a');
    expect(started).toHaveLength(2);
    started[0]!.reject(new Error('aborted'));
    started[1]!.resolve('x');
    expect(await later).toBe('x');
  });
});

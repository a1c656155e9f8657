/** The command line of the soak, with a soak that is none. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { main } from './run.ts';
import { type SoakOptions, type SoakReport, soak } from './soak.ts';

vi.mock('./soak.ts', { spy: true });

const FAILED: SoakReport = {
  minutes: 1.5,
  operations: 1,
  imagesSeen: 1,
  workersKilled: 0,
  threadsAttached: 0,
  reopened: 0,
  pruned: 0,
  troubles: 0,
  wrongCount: 1,
  wrong: ['a stranger to registry.io/a is told credentialRecordFound'],
  failures: {},
  atSeconds: [],
  series: [],
  flatness: [],
};
const ARGS = '--minutes 1.5 --store lmdb --workers 3 --callers 5 --images 70'.split(' ');
const AGAIN = /^ {2}again: npm run soak -- (.*)$/m;

let printed: string;

beforeEach(() => {
  printed = '';
  vi.spyOn(console, 'log').mockImplementation((line: string) => {
    printed += `${line}\n`;
  });
});

afterEach(() => {
  vi.restoreAllMocks();
});

/** What the soak was told to do, without where it does it. */
function told(call: number): Partial<SoakOptions> {
  const { store, minutes, seed, workerCount, callers, images } =
    vi.mocked(soak).mock.calls[call]![0];
  const kind = 'kind' in store ? { kind: store.kind } : store;
  return { store: kind as SoakOptions['store'], minutes, seed, workerCount, callers, images };
}

describe('a soak that fails', () => {
  it.each([
    { name: 'a wrong answer', end: () => Promise.resolve(FAILED) },
    { name: 'an engine that hangs', end: () => Promise.reject(new Error('closing hangs')) },
  ])('ends with one command that does the same again: $name', async ({ end }) => {
    vi.mocked(soak).mockReset().mockImplementation(end);
    const code = await main(ARGS).catch(() => 2);
    expect(code).not.toBe(0);
    const [, again = ''] = AGAIN.exec(printed) ?? [];
    await main(again.split(' ')).catch(() => 2);
    expect(told(0)).toMatchObject({ store: { kind: 'lmdb' }, workerCount: 3, images: 70 });
    expect(told(1)).toEqual(told(0));
  });

  it('says nothing of it where nothing failed, or where it was called in a wrong way', async () => {
    const flatness = [{ name: 'heap', unit: 'bytes', early: 1, late: 1, growth: 0 } as const];
    vi.mocked(soak)
      .mockReset()
      .mockResolvedValue({
        ...FAILED,
        wrongCount: 0,
        wrong: [],
        flatness: flatness.map((one) => ({ ...one, allowed: 1, isFlat: true })),
      });
    expect(await main(ARGS)).toBe(0);
    await expect(main(['--store', 'paper'])).rejects.toThrow('--store must be');
    expect(printed).not.toMatch(AGAIN);
  });
});

import { describe, expect, it } from 'vitest';
import { KUBELET_BEHAVIOUR } from '../../../src/compatibility.ts';
import { checkHistory, type Verdict } from './checker.ts';
import type { Entry } from './history.ts';

const RULES = {
  policy: { kind: 'NeverVerifyPreloadedImages' },
  behaviour: KUBELET_BEHAVIOUR['v1.35'],
} as const;

/** So many pulls of one image that begin before any is answered. */
function verdictOfPulls(count: number): Verdict['kind'] {
  const entries = Array.from(
    { length: count },
    (_, i): Entry => ({
      caller: 'c',
      call: { op: 'intent', image: 'registry.example.com/app:1' },
      start: i,
      end: count + i,
      answer: { kind: 'done' },
    }),
  );
  const nothing = { troubles: [], startedAtMs: 0, clock: [], holds: [] };
  return checkHistory({ entries, ...nothing }, RULES).kind;
}

describe('calls that run at a time', () => {
  it('are decided while they are few', () => {
    expect(verdictOfPulls(5)).toBe('fine');
  });

  it('are not decided where they are too many to follow', () => {
    expect(verdictOfPulls(21)).toBe('undecided');
  });
});

import { describe, expect, it } from 'vitest';
import { KUBELET_BEHAVIOUR } from '../../../src/compatibility.ts';
import type { StormDecision } from '../../../src/storm/engine.ts';
import { Ledger } from '../../../src/storm/ledger.ts';
import { Recorder } from '../../../src/storm/recorder.ts';
import { ReplayDecisions } from '../../../src/storm/replay/replay-decisions.ts';
import { TraceUniverse } from '../../../src/storm/replay/trace-universe.ts';
import { StormState } from '../../../src/storm/state.ts';
import { Verifier } from '../../../src/storm/verifier.ts';
import { parse } from './kit.ts';

const BEHAVIOUR = KUBELET_BEHAVIOUR['v1.35'];
const HEADER = '{"schema":"pullwarden.trace/1","startedAt":"2026-01-01T00:00:00.000Z"}';
const ABSENT = { image: 'a:1', imageRef: '' };
const PRESENT = { image: 'a:1', imageRef: 'r1' };

const USE: StormDecision = { mustPull: false, reason: 'credentialPolicyAllowed' };
const PULL: StormDecision = { mustPull: true, reason: 'mustAuthenticate' };
const TROUBLE = { mustPull: true, reason: 'error', cause: new Error('no room') } as StormDecision;
const CONTRADICTION: StormDecision = { mustPull: true, reason: 'credentialRecordFound' };

/** Asks one question, alone and in a batch, of an engine that has one answer. */
async function ask(
  question: typeof ABSENT,
  answer: StormDecision,
  isVerified: boolean,
): Promise<StormState<TraceUniverse>> {
  const asked = `{"at":1,"op":"decide","image":"${question.image}","imageRef":"${question.imageRef}"}`;
  const universe = new TraceUniverse(await parse(HEADER, asked), BEHAVIOUR);
  const ledger = new Ledger(universe);
  const verifier = new Verifier(ledger, { kind: 'AlwaysVerify' }, 2, BEHAVIOUR);
  const recorder = new Recorder();
  const engine = { decide: async () => answer, decideBatch: async () => [answer] };
  const state = new StormState({
    universe,
    ledger,
    verifier,
    shapes: [],
    recorder,
    engine: engine as unknown as StormState['engine'],
  });
  state.isVerified = isVerified;
  const meter = { record: () => {}, recordService: () => {}, recordLag: () => {} };
  const decisions = new ReplayDecisions({ state, universe, meter }, [true], 2);
  await decisions.decide(question, 0, 0);
  await decisions.decideBatch([question], 1, 0);
  expect(decisions.freeCount).toBe(2);
  recorder.close();
  return state;
}

describe.each([
  ['what is not on the node', ABSENT],
  ['what is on the node', PRESENT],
])('a decision about %s', (_name, question) => {
  it.each([
    ['right', PULL, { exact: 2, wrongDecisions: 0, errors: 0, wrongRecords: 0 }],
    ['wrong', USE, { exact: 0, wrongDecisions: 2, errors: 0, wrongRecords: 0 }],
    ['no answer', TROUBLE, { exact: 0, wrongDecisions: 0, errors: 2, wrongRecords: 0 }],
    ['contradictory', CONTRADICTION, { exact: 0, wrongDecisions: 2, errors: 0, wrongRecords: 2 }],
  ])('that is %s', async (_verdict, answer, counts) => {
    const state = await ask(question, answer, true);
    expect(state.counts).toMatchObject(counts);
    expect(state.wrong).toHaveLength(counts.wrongDecisions);
  });

  it.each([
    ['right', PULL, 0],
    ['wrong', USE, 0],
    ['no answer', TROUBLE, 2],
  ])('that is %s, and nobody checks', async (_verdict, answer, errors) => {
    const { counts } = await ask(question, answer, false);
    expect(counts).toMatchObject({ exact: 0, either: 0, wrongDecisions: 0, errors });
  });
});

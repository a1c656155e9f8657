/** Runs a storm that is a replay: brings the engine to the state of the trace, plays it, checks the end. */
import { KUBELET_BEHAVIOUR } from '../../compatibility.ts';
import { invalidArgument } from '../../errors.ts';
import { formatCount, plural } from '../../terminal/format.ts';
import type { Trace } from '../../trace/read-trace.ts';
import { EngineLife } from '../engine-life.ts';
import { withTimeout } from '../events.ts';
import { Ledger } from '../ledger.ts';
import { ProgressMeter } from '../progress.ts';
import { Recorder } from '../recorder.ts';
import { policyOf, refuseUsedStore, type StormInput, type StormRun } from '../run.ts';
import type { Stage } from '../stages.ts';
import { StallError, unlessStalled } from '../stall.ts';
import { StormState } from '../state.ts';
import { Timeline } from '../timeline.ts';
import { Verifier } from '../verifier.ts';
import { Replay, slotsOf } from './replay.ts';
import { FILLERS, fillFromTrace } from './replay-fill.ts';
import { TraceUniverse } from './trace-universe.ts';

/** What a replay needs besides its parameters. */
export interface ReplayInput
  extends Pick<
    StormInput,
    'isDurable' | 'onProgress' | 'open' | 'parameters' | 'run' | 'scenario' | 'signal'
  > {
  readonly trace: Trace;
  readonly timeResolutionMs?: number;
}

/** What a replay gave. */
export interface ReplayRun extends StormRun<TraceUniverse> {
  /** Operations and records of the trace that were left out: see `Replay.unplayableCount`. */
  readonly leftOut: number;
}

const CALLERS = 1_024;
const PROGRESS_INTERVAL_MS = 200;

/** Carries out a replay. Rejects where the engine cannot be opened, or its store is not empty. */
export async function runReplay(input: ReplayInput): Promise<ReplayRun> {
  const { parameters, trace } = input;
  if (trace.operations.length === 0) throw invalidArgument('--replay', 'has no operations in it');
  const behaviour = KUBELET_BEHAVIOUR[parameters.compatibility];
  const universe = new TraceUniverse(trace, behaviour);
  const ledger = new Ledger(universe, Date.now, input.timeResolutionMs);
  const callersMax = parameters.concurrency ?? CALLERS;
  const policy = policyOf(parameters.policy, universe);
  const slots = slotsOf(trace, Math.max(callersMax, FILLERS));
  const verifier = new Verifier(ledger, policy, slots, behaviour);
  const engine = await input.open([], policy);
  const recorder = new Recorder(true, 1);
  const state = new StormState({ universe, ledger, verifier, shapes: [], recorder, engine });
  state.isVerified = parameters.verify;
  state.operationsMax = parameters.operations ?? Number.POSITIVE_INFINITY;
  const stop = (): void => state.stop();
  input.signal?.addEventListener('abort', stop, { once: true });
  if (input.signal?.aborted) stop();
  try {
    await refuseUsedStore(engine);
    return await play(input, state, stageOf(input, callersMax), callersMax);
  } catch (error) {
    recorder.close();
    // The first error counts.
    await withTimeout('closing the engine', state.engine.close()).catch(() => {});
    throw error;
  } finally {
    input.signal?.removeEventListener('abort', stop);
  }
}

async function play(
  input: ReplayInput,
  state: StormState<TraceUniverse>,
  stage: Stage,
  callersMax: number,
): Promise<ReplayRun> {
  const { onProgress, parameters, run = { number: 1, of: 1 }, signal, trace } = input;
  const { recorder, universe } = state;
  const life = new EngineLife(state, input);
  const parts = { state, universe, meter: recorder };
  const meter = new ProgressMeter(state, [stage], { operationsMax: state.operationsMax, run });
  let phase: 'filling' | 'running' | 'checking' = 'filling';
  let startedMs = performance.now();
  const report = (): void => onProgress?.(meter.take(phase, startedMs));
  const timer = onProgress === undefined ? undefined : setInterval(report, PROGRESS_INTERVAL_MS);
  try {
    const filled = fillFromTrace(trace, parts);
    const unfilled = await unlessStalled(filled, () => state.counts.operations);
    if (input.isDurable) await life.reopen();
    recorder.reset();
    Object.assign(state.counts, { operations: 0, decisions: 0 });
    const before = state.engine.stats();
    const startedAtMs = Date.now();
    phase = 'running';
    const replay = new Replay(trace, parts, { speed: parameters.speed, callersMax });
    state.arrivals = replay;
    const timeline = new Timeline(state, [stage], parameters.interval);
    startedMs = performance.now();
    timeline.begin(startedMs);
    const deadline = setTimeout(() => state.stop(), parameters.duration ?? FOREVER_MS);
    try {
      await unlessStalled(replay.run(startedMs), () => replay.moves);
    } catch (error) {
      if (!(error instanceof StallError)) throw error;
      // What was measured so far is a result all the same.
      state.failure ??= error;
      state.stop();
    } finally {
      clearTimeout(deadline);
    }
    const ended = timeline.end();
    const elapsedMs = performance.now() - startedMs;
    phase = 'checking';
    await life.finish();
    return {
      state,
      stages: [stage],
      timeline: ended,
      startedAtMs,
      elapsedMs,
      wasInterrupted: signal?.aborted ?? false,
      engines: life.closed,
      before,
      leftOut: unfilled + replay.unplayableCount,
      close: () => recorder.close(),
    };
  } finally {
    clearInterval(timer);
  }
}

/** One line about what is played, and what of it is not. */
export function describeReplay(trace: Trace, leftOut: number): string {
  const { header, operations } = trace;
  const played = `${plural(operations.length, 'operation')} recorded at ${header.startedAt}`;
  return [played, ...lacksOf(trace, leftOut)].join('; ');
}

/** What a replay did not do that the recorded one had done, as far as that is known. */
export function lacksOf({ dropped, isWhole }: Trace, leftOut: number): string[] {
  const remarks: string[] = [];
  if (leftOut > 0) remarks.push(`${formatCount(leftOut)} left out, as nothing can be said of them`);
  if (dropped > 0)
    remarks.push(`${formatCount(dropped)} missing: they came too fast to be recorded`);
  if (!isWhole) remarks.push('the recording was cut off');
  return remarks;
}

/** The longest that a timer waits. */
const FOREVER_MS = 0x7fff_ffff;

/** A trace as a stage: how often operations come on average. */
function stageOf({ parameters, scenario, trace }: ReplayInput, callersMax: number): Stage {
  const { operations } = trace;
  const recordedMs = operations.at(-1)!.at - operations[0]!.at;
  const playedMs = Math.max(1, recordedMs / parameters.speed);
  const perSecond = (operations.length / playedMs) * 1_000;
  return {
    name: scenario,
    durationMs: Math.min(playedMs, parameters.duration ?? Number.POSITIVE_INFINITY),
    load: { model: 'open', ratePerSecond: { from: perSecond, to: perSecond }, callersMax },
    requests: parameters,
  };
}

/** Runs a storm that is a replay: brings the engine to the state of the trace, and plays it. */
import { KUBELET_BEHAVIOUR } from '../../compatibility.ts';
import { invalidArgument } from '../../errors.ts';
import { formatCount, plural } from '../../terminal/format.ts';
import type { Trace } from '../../trace/read-trace.ts';
import { type CourseInput, runCourse, type StormRun } from '../course.ts';
import type { Stage } from '../stages.ts';
import type { StormState } from '../state.ts';
import { Replay, slotsOf } from './replay.ts';
import { FILLERS, fillFromTrace } from './replay-fill.ts';
import type { ReplayContext } from './replay-state.ts';
import { TraceUniverse } from './trace-universe.ts';

/** What a replay needs besides its parameters. */
export interface ReplayInput extends CourseInput {
  readonly trace: Trace;
}

/** What a replay gave. */
export interface ReplayRun extends StormRun<TraceUniverse> {
  /** Operations and records of the trace that were left out: see `Replay.unplayableCount`. */
  readonly leftOut: number;
}

const CALLERS = 1_024;

/** Carries out a replay. Rejects where the engine cannot be opened, or its store is not empty. */
export async function runReplay(input: ReplayInput): Promise<ReplayRun> {
  const { parameters, trace } = input;
  if (trace.operations.length === 0) throw invalidArgument('--replay', 'has no operations in it');
  const universe = new TraceUniverse(trace, KUBELET_BEHAVIOUR[parameters.compatibility]);
  const callersMax = parameters.concurrency ?? CALLERS;
  let leftOut = 0;
  let replay: Replay | undefined;
  const run = await runCourse(input, {
    universe,
    stages: [stageOf(input, callersMax)],
    shapes: [],
    isOpen: true,
    slots: slotsOf(trace, Math.max(callersMax, FILLERS)),
    limitMs: parameters.duration ?? Number.POSITIVE_INFINITY,
    async fill(state) {
      leftOut += await fillFromTrace(trace, contextOf(state));
    },
    async drive(state, { begin }) {
      replay = new Replay(trace, contextOf(state), { speed: parameters.speed, callersMax });
      state.arrivals = replay;
      await replay.run(begin());
      leftOut += replay.unplayableCount;
    },
    moves: () => replay?.moves,
  });
  return { ...run, leftOut };
}

function contextOf(state: StormState<TraceUniverse>): ReplayContext {
  return { state, universe: state.universe, meter: state.recorder };
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

/** Runs a storm of made-up requests: fills the engine and lets the callers loose. */
import { KUBELET_BEHAVIOUR } from '../compatibility.ts';
import { ArrivalTimes } from './arrivals.ts';
import { Caller } from './caller.ts';
import { type CourseControl, type CourseInput, runCourse, type StormRun } from './course.ts';
import { EventLine } from './event-line.ts';
import type { KillWorker } from './events.ts';
import { FILL_CALLERS, fill } from './fill.ts';
import type { ImageReference } from './image-list.ts';
import { OpenLoad } from './open-load.ts';
import type { StormParameters } from './parameters.ts';
import { BATCH_SIZE, Plan, SHARED_PLAN, shapesOf } from './plan.ts';
import { callersMax, isOpen, type Stage, stagesOf } from './stages.ts';
import type { StormState } from './state.ts';
import { Universe } from './universe.ts';

/** What a run needs besides its parameters. */
export interface StormInput extends CourseInput {
  readonly images: readonly ImageReference[];
  /** Ends one of the engine's threads. Without it nothing is killed. */
  readonly killWorker?: KillWorker | undefined;
}

/** Carries out a storm. Rejects where the engine cannot be opened, or its store is not empty. */
export async function runStorm(input: StormInput): Promise<StormRun<Universe>> {
  const { parameters } = input;
  const universe = new Universe(input.images, {
    ...parameters,
    behaviour: KUBELET_BEHAVIOUR[parameters.compatibility],
    minimumImages: minimumImages(parameters),
  });
  const stages = stagesOf(parameters, input.scenario);
  const callers = callersMax(parameters);
  const fillers = Math.min(FILL_CALLERS.MAX, Math.max(callers, FILL_CALLERS.MIN));
  const requests = stages.map((stage) => stage.requests);
  let activeCallers = 0;
  return runCourse(input, {
    universe,
    stages,
    shapes: shapesOf(universe, requests),
    isOpen: isOpen(parameters),
    slots: Math.max(callers, fillers) * BATCH_SIZE,
    limitMs: durationOf(stages),
    fill: (state, onShare) => fill(state, parameters, fillers, onShare),
    async drive(state, control) {
      const { events, run } = prepared(input, state, stages, control);
      const startedMs = control.begin();
      state.load?.begin(startedMs);
      events.begin(startedMs);
      activeCallers = callers;
      await run();
      activeCallers = 0;
      await events.end();
    },
    moves(state) {
      const isWaiting = state.gate === undefined && state.parkedCount < activeCallers;
      return isWaiting ? movesOf(state) : undefined;
    },
  });
}

/** Changes with every operation that is answered, and with every caller that comes or goes. */
function movesOf({ counts, parkedCount }: StormState): number {
  return counts.operations + counts.errors + parkedCount / (1 << 20);
}

/** The callers of a storm, and what happens to it meanwhile. */
function prepared(
  { isDurable, killWorker, open, parameters }: StormInput,
  state: StormState,
  stages: readonly Stage[],
  { engineClosed }: CourseControl,
): { readonly events: EventLine; readonly run: () => Promise<unknown> } {
  const callerCount = callersMax(parameters);
  const load = openLoad(parameters, state, stages, callerCount);
  const durationMs = durationOf(stages);
  const base = { parameters, durationMs, callerCount, open, isDurable, killWorker };
  const events = new EventLine(state, { ...base, onClose: engineClosed });
  state.parkedCount = 0;
  state.load = load;
  state.arrivals = load;
  const requests = load === undefined ? callerCount : { plan: load.plan, openPulls: [] };
  const callers = Array.from(
    { length: callerCount },
    (_, number) => new Caller(state, number, requests),
  );
  return { events, run: () => Promise.all(callers.map((caller) => caller.run())) };
}

function openLoad(
  { arrivals: spacing, seed }: StormInput['parameters'],
  state: StormState,
  stages: readonly Stage[],
  callerCount: number,
): OpenLoad | undefined {
  const open = stages.flatMap(({ durationMs, load }) =>
    load.model === 'open' ? [{ durationMs, ratePerSecond: load.ratePerSecond }] : [],
  );
  if (open.length === 0) return undefined;
  const plan = new Plan(state.shapes[0]!, SHARED_PLAN, 1);
  return new OpenLoad(new ArrivalTimes(open, { spacing, seed }), plan, callerCount);
}

function durationOf(stages: readonly Stage[]): number {
  return stages.reduce((sum, stage) => sum + stage.durationMs, 0);
}

function minimumImages(parameters: StormParameters): number {
  // Some images share their reference or are never pulled.
  const pulled = 1 - parameters.preloadedShare;
  return Math.ceil(((parameters.records ?? 0) / Math.max(0.1, pulled)) * 1.1);
}

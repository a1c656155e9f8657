/** The course of every storm, made up or replayed: open, fill, begin again, make load, check what is left. */
import { KUBELET_BEHAVIOUR } from '../compatibility.ts';
import { PullManagerError } from '../errors.ts';
import type { EngineStats } from '../metrics/stats.ts';
import type { PolicyName, VerificationPolicy } from '../policies/enforcer.ts';
import type { OpenEngine, StormEngine } from './engine.ts';
import { EngineLife } from './engine-life.ts';
import { withTimeout } from './events.ts';
import type { Keyspace } from './keyspace.ts';
import { Ledger } from './ledger.ts';
import type { StormParameters } from './parameters.ts';
import type { PlanShape } from './plan.ts';
import { type Progress, ProgressMeter } from './progress.ts';
import { Recorder } from './recorder.ts';
import type { Stage } from './stages.ts';
import { StallError, unlessStalled } from './stall.ts';
import { StormState } from './state.ts';
import { Timeline, type TimelineResult } from './timeline.ts';
import { Verifier } from './verifier.ts';

/** What every run needs besides what it does. */
export interface CourseInput {
  /** Name of the scenario, which a storm of one stage calls it by. */
  readonly scenario: string;
  readonly parameters: StormParameters & { readonly seed: number };
  readonly open: OpenEngine;
  /** Whether the store keeps anything beyond the life of an engine. */
  readonly isDurable: boolean;
  /** The store keeps times in such steps, rounded down. @default 1 */
  readonly timeResolutionMs?: number;
  /** Ends the storm early; what there is so far is the result. */
  readonly signal?: AbortSignal | undefined;
  /** Which run it is of how many. @default the only one */
  readonly run?: Progress['run'];
  /** Called now and then. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/** What one kind of storm does where another does something else. */
export interface Course<U extends Keyspace> {
  readonly universe: U;
  readonly stages: readonly Stage[];
  /** One for each stage whose requests are made up. */
  readonly shapes: readonly PlanShape[];
  /** Requests come when they come, whether or not others were answered. */
  readonly isOpen: boolean;
  /** Decisions that are checked at the same time, at most. */
  readonly slots: number;
  /** Load is stopped after this time. */
  readonly limitMs: number;
  /** Writes what the storm begins with. */
  fill(state: StormState<U>, onShare: (share: number) => void): Promise<void>;
  /** Makes the load; resolves when all of it is answered. */
  drive(state: StormState<U>, control: CourseControl): Promise<void>;
  /** Changes with everything in the load that begins or is answered; undefined while nothing is to be answered. */
  moves(state: StormState<U>): number | undefined;
}

/** For what makes load. */
export interface CourseControl {
  /** Starts the clock; answers when that was, on the clock of `performance.now`. To be called once. */
  readonly begin: () => number;
  /** The engine was closed in the middle of the storm. */
  readonly engineClosed: (stats: EngineStats) => void;
}

/** What a run gave; `close` frees what lives outside the heap. */
export interface StormRun<U extends Keyspace = Keyspace> {
  readonly state: StormState<U>;
  readonly stages: readonly Stage[];
  readonly timeline: TimelineResult;
  /** When the callers began, in milliseconds since 1970. */
  readonly startedAtMs: number;
  readonly elapsedMs: number;
  readonly wasInterrupted: boolean;
  /** Counters of every engine that was closed, in order. */
  readonly engines: readonly EngineStats[];
  /** Counters of the first engine when the callers began. */
  readonly before: EngineStats;
  close(): void;
}

/** Names on the allow list; the model compares them one by one. */
const ALLOWLIST_MAX = 50;
const PROGRESS_INTERVAL_MS = 200;
const TIMER_MS_MAX = 0x7fff_ffff;

/** Runs a storm. Rejects where the engine cannot be opened, or its store is not empty. */
export async function runCourse<U extends Keyspace>(
  input: CourseInput,
  course: Course<U>,
): Promise<StormRun<U>> {
  const { parameters, signal } = input;
  const { universe, stages, shapes, isOpen, slots } = course;
  const ledger = new Ledger(universe, Date.now, input.timeResolutionMs);
  const policy = policyOf(parameters.policy, universe);
  const behaviour = KUBELET_BEHAVIOUR[parameters.compatibility];
  const verifier = new Verifier(ledger, policy, slots, behaviour);
  const engine = await input.open([], policy);
  const recorder = new Recorder(isOpen, stages.length);
  const state = new StormState({ universe, ledger, verifier, shapes, recorder, engine });
  state.isVerified = parameters.verify;
  const stop = (): void => state.stop();
  signal?.addEventListener('abort', stop, { once: true });
  if (signal?.aborted) stop();
  try {
    await refuseUsedStore(engine);
    return await run(input, state, course);
  } catch (error) {
    recorder.close();
    // The first error counts.
    await withTimeout('closing the engine', state.engine.close()).catch(() => {});
    throw error;
  } finally {
    signal?.removeEventListener('abort', stop);
  }
}

async function run<U extends Keyspace>(
  input: CourseInput,
  state: StormState<U>,
  { stages, limitMs, ...course }: Course<U>,
): Promise<StormRun<U>> {
  const { onProgress, parameters, signal, run: number = { number: 1, of: 1 } } = input;
  const { recorder } = state;
  const operationsMax = parameters.operations ?? Number.POSITIVE_INFINITY;
  const life = new EngineLife(state, input);
  const meter = new ProgressMeter(state, stages, { operationsMax, run: number });
  let phase: Progress['phase'] = 'filling';
  let startedMs = performance.now();
  const report = (): void => onProgress?.(meter.take(phase, startedMs));
  const timer = onProgress === undefined ? undefined : setInterval(report, PROGRESS_INTERVAL_MS);
  let deadline: NodeJS.Timeout | undefined;
  try {
    const filled = course.fill(state, (share) => {
      meter.fillShare = share;
    });
    await unlessStalled(filled, () => state.counts.operations);
    if (input.isDurable) await life.reopen();
    recorder.reset();
    Object.assign(state.counts, { operations: 0, decisions: 0 });
    state.operationsMax = operationsMax;
    const before = state.engine.stats();
    const startedAtMs = Date.now();
    phase = 'running';
    const timeline = new Timeline(state, stages, parameters.interval);
    const driven = course.drive(state, {
      begin() {
        startedMs = performance.now();
        timeline.begin(startedMs);
        deadline = setTimeout(() => state.stop(), Math.min(TIMER_MS_MAX, limitMs));
        return startedMs;
      },
      engineClosed(stats) {
        life.count(stats);
        timeline.engineClosed(stats);
      },
    });
    try {
      await unlessStalled(driven, () => course.moves(state));
    } catch (error) {
      if (!(error instanceof StallError)) throw error;
      // What was measured so far is a result all the same.
      state.failure ??= error;
      state.stop();
    }
    clearTimeout(deadline);
    const ended = timeline.end();
    const elapsedMs = performance.now() - startedMs;
    phase = 'checking';
    await life.finish();
    return {
      state,
      stages,
      timeline: ended,
      startedAtMs,
      elapsedMs,
      wasInterrupted: signal?.aborted ?? false,
      engines: life.closed,
      before,
      close: () => recorder.close(),
    };
  } finally {
    clearTimeout(deadline);
    clearInterval(timer);
  }
}

/** The policy of a name; the allow list covers some repositories and one registry. */
function policyOf(name: PolicyName, universe: Pick<Keyspace, 'names'>): VerificationPolicy {
  if (name !== 'NeverVerifyAllowlistedImages') return { kind: name };
  const exact = universe.names.filter((_, index) => index % 10 === 3).slice(0, ALLOWLIST_MAX);
  return { kind: name, allowlist: [...exact, 'registry.example/team-1/*'] };
}

/** Rejects with `INVALID_ARGUMENT` where somebody's records could be in the store. */
async function refuseUsedStore(engine: StormEngine): Promise<void> {
  const { records, intents } = engine.stats();
  if (records === 0 && intents === 0) return;
  throw new PullManagerError(
    'INVALID_ARGUMENT',
    `--store: holds ${records} records and ${intents} intents already; a storm writes made-up ones, so give it an empty store`,
    { argument: '--store' },
  );
}

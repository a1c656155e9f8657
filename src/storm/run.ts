/** Runs a storm: fills the engine, lets the callers loose, and checks what is left in the end. */

import { KUBELET_BEHAVIOUR } from '../compatibility.ts';
import { PullManagerError } from '../errors.ts';
import type { EngineStats } from '../metrics/stats.ts';
import type { PolicyName, VerificationPolicy } from '../policies/enforcer.ts';
import { ArrivalTimes } from './arrivals.ts';
import { Caller } from './caller.ts';
import type { OpenEngine, StormEngine } from './engine.ts';
import { EngineLife } from './engine-life.ts';
import { EventLine } from './event-line.ts';
import { type KillWorker, withTimeout } from './events.ts';
import { FILL_CALLERS, fill } from './fill.ts';
import type { ImageReference } from './image-list.ts';
import type { Keyspace } from './keyspace.ts';
import { Ledger } from './ledger.ts';
import { OpenLoad } from './open-load.ts';
import type { StormParameters } from './parameters.ts';
import { BATCH_SIZE, Plan, SHARED_PLAN, shapesOf } from './plan.ts';
import { type Progress, ProgressMeter } from './progress.ts';
import { Recorder } from './recorder.ts';
import { callersMax, isOpen, type Stage, stagesOf } from './stages.ts';
import { StallError, unlessStalled } from './stall.ts';
import { StormState } from './state.ts';
import { Timeline, type TimelineResult } from './timeline.ts';
import { Universe } from './universe.ts';
import { Verifier } from './verifier.ts';

/** What a run needs besides its parameters. */
export interface StormInput {
  /** Name of the scenario, which a storm of one stage calls it by. */
  readonly scenario: string;
  readonly parameters: StormParameters & { readonly seed: number };
  readonly images: readonly ImageReference[];
  readonly open: OpenEngine;
  /** Ends one of the engine's threads. Without it nothing is killed. */
  readonly killWorker?: KillWorker | undefined;
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

/** What a run gave; `close` frees what lives outside the heap. */
export interface StormRun<U extends Keyspace = Universe> {
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

/** Carries out a storm. Rejects where the engine cannot be opened, or its store is not empty. */
export async function runStorm(input: StormInput): Promise<StormRun> {
  const { parameters } = input;
  const behaviour = KUBELET_BEHAVIOUR[parameters.compatibility];
  const universe = new Universe(input.images, {
    ...parameters,
    behaviour,
    minimumImages: minimumImages(parameters),
  });
  const stages = stagesOf(parameters, input.scenario);
  const ledger = new Ledger(universe, Date.now, input.timeResolutionMs);
  const callers = callersMax(parameters);
  const fillers = Math.min(FILL_CALLERS.MAX, Math.max(callers, FILL_CALLERS.MIN));
  const policy = policyOf(parameters.policy, universe);
  const verifier = new Verifier(ledger, policy, Math.max(callers, fillers) * BATCH_SIZE, behaviour);
  const shapes = shapesOf(
    universe,
    stages.map(({ requests }) => requests),
  );
  const engine = await input.open([], policy);
  const recorder = new Recorder(isOpen(parameters), stages.length);
  const state = new StormState({ universe, ledger, verifier, shapes, recorder, engine });
  state.isVerified = parameters.verify;
  try {
    await refuseUsedStore(engine);
    return await new Storm(input, state, stages).run(fillers);
  } catch (error) {
    recorder.close();
    // The first error counts.
    await withTimeout('closing the engine', state.engine.close()).catch(() => {});
    throw error;
  }
}

/** The policy of a name; the allow list covers some repositories and one registry. */
export function policyOf(name: PolicyName, universe: Pick<Keyspace, 'names'>): VerificationPolicy {
  if (name !== 'NeverVerifyAllowlistedImages') return { kind: name };
  const exact = universe.names.filter((_, index) => index % 10 === 3).slice(0, ALLOWLIST_MAX);
  return { kind: name, allowlist: [...exact, 'registry.example/team-1/*'] };
}

class Storm {
  readonly #input: StormInput;
  readonly #state: StormState;
  readonly #stages: readonly Stage[];
  readonly #meter: ProgressMeter;
  readonly #life: EngineLife;
  #startedMs = 0;
  #phase: Progress['phase'] = 'filling';

  constructor(input: StormInput, state: StormState, stages: readonly Stage[]) {
    this.#input = input;
    this.#state = state;
    this.#stages = stages;
    this.#life = new EngineLife(state, input);
    const operationsMax = input.parameters.operations ?? Number.POSITIVE_INFINITY;
    const { run = { number: 1, of: 1 } } = input;
    this.#meter = new ProgressMeter(state, stages, { operationsMax, run });
  }

  async run(fillers: number): Promise<StormRun> {
    const { onProgress, parameters, signal } = this.#input;
    const state = this.#state;
    const stop = (): void => state.stop();
    signal?.addEventListener('abort', stop, { once: true });
    if (signal?.aborted) stop();
    this.#startedMs = performance.now();
    const report = (): void => onProgress?.(this.#meter.take(this.#phase, this.#startedMs));
    const timer = onProgress === undefined ? undefined : setInterval(report, PROGRESS_INTERVAL_MS);
    try {
      const filled = fill(state, parameters, fillers, (share) => {
        this.#meter.fillShare = share;
      });
      await unlessStalled(filled, () => state.counts.operations);
      if (this.#input.isDurable) await this.#life.reopen();
      state.recorder.reset();
      state.counts.operations = 0;
      const before = state.engine.stats();
      const startedAtMs = Date.now();
      this.#phase = 'running';
      const timeline = await this.#drive();
      const elapsedMs = performance.now() - this.#startedMs;
      this.#phase = 'checking';
      await this.#life.finish();
      return {
        state,
        stages: this.#stages,
        timeline,
        startedAtMs,
        elapsedMs,
        wasInterrupted: signal?.aborted ?? false,
        engines: this.#life.closed,
        before,
        close: () => state.recorder.close(),
      };
    } finally {
      clearInterval(timer);
      signal?.removeEventListener('abort', stop);
    }
  }

  async #drive(): Promise<TimelineResult> {
    const { isDurable, killWorker, open, parameters } = this.#input;
    const state = this.#state;
    const callerCount = callersMax(parameters);
    const durationMs = this.#stages.reduce((sum, stage) => sum + stage.durationMs, 0);
    const load = this.#openLoad(callerCount);
    const timeline = new Timeline(state, this.#stages, parameters.interval);
    const onClose = (stats: EngineStats): void => {
      this.#life.count(stats);
      timeline.engineClosed(stats);
    };
    const options = { parameters, durationMs, callerCount, open, isDurable, killWorker, onClose };
    const events = new EventLine(state, options);
    state.parkedCount = 0;
    state.operationsMax = parameters.operations ?? Number.POSITIVE_INFINITY;
    state.load = load;
    state.arrivals = load;
    const requests = load === undefined ? callerCount : { plan: load.plan, openPulls: [] };
    const callers = Array.from(
      { length: callerCount },
      (_, number) => new Caller(state, number, requests),
    );
    this.#startedMs = performance.now();
    load?.begin(this.#startedMs);
    timeline.begin(this.#startedMs);
    events.begin(this.#startedMs);
    const deadline = setTimeout(() => state.stop(), Math.min(0x7fff_ffff, durationMs));
    try {
      const ran = Promise.all(callers.map((caller) => caller.run()));
      await unlessStalled(ran, () => (this.#isWaiting(callerCount) ? movesOf(state) : undefined));
      await events.end();
    } catch (error) {
      if (!(error instanceof StallError)) throw error;
      // What was measured so far is a result all the same.
      state.failure ??= error;
      state.stop();
    } finally {
      clearTimeout(deadline);
    }
    return timeline.end();
  }

  /** Whether an operation is under way that the engine is to answer. */
  #isWaiting(callerCount: number): boolean {
    const { gate, parkedCount } = this.#state;
    return gate === undefined && parkedCount < callerCount;
  }

  #openLoad(callerCount: number): OpenLoad | undefined {
    const { arrivals: spacing, seed } = this.#input.parameters;
    const stages = this.#stages.flatMap(({ durationMs, load }) =>
      load.model === 'open' ? [{ durationMs, ratePerSecond: load.ratePerSecond }] : [],
    );
    if (stages.length === 0) return undefined;
    const plan = new Plan(this.#state.shapes[0]!, SHARED_PLAN, 1);
    return new OpenLoad(new ArrivalTimes(stages, { spacing, seed }), plan, callerCount);
  }
}

/** Changes with every operation that is answered, and with every caller that comes or goes. */
function movesOf({ counts, parkedCount }: StormState): number {
  return counts.operations + counts.errors + parkedCount / (1 << 20);
}

function minimumImages(parameters: StormParameters): number {
  // Some images share their reference or are never pulled.
  const pulled = 1 - parameters.preloadedShare;
  return Math.ceil(((parameters.records ?? 0) / Math.max(0.1, pulled)) * 1.1);
}

/** Rejects with `INVALID_ARGUMENT` where somebody's records could be in the store. */
export async function refuseUsedStore(engine: StormEngine): Promise<void> {
  const { records, intents } = engine.stats();
  if (records === 0 && intents === 0) return;
  throw new PullManagerError(
    'INVALID_ARGUMENT',
    `--store: holds ${records} records and ${intents} intents already; a storm writes made-up ones, so give it an empty store`,
    { argument: '--store' },
  );
}

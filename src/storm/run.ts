/** Runs a storm: fills the engine, lets the callers loose, and checks what is left in the end. */

import { KUBELET_BEHAVIOUR } from '../compatibility.ts';
import { PullManagerError } from '../errors.ts';
import type { EngineStats } from '../metrics/stats.ts';
import type { PolicyName, VerificationPolicy } from '../policies/enforcer.ts';
import { hashNumbers } from '../util/random.ts';
import { Caller } from './caller.ts';
import type { OpenEngine, StormEngine } from './engine.ts';
import { checkListings, prune, restart, withTimeout } from './events.ts';
import type { ImageReference } from './image-list.ts';
import { Ledger } from './ledger.ts';
import type { StormParameters } from './parameters.ts';
import { BATCH_SIZE, PlanShape } from './plan.ts';
import { Recorder } from './recorder.ts';
import { StormState } from './state.ts';
import { IMAGE_KIND, Universe } from './universe.ts';
import { Verifier } from './verifier.ts';

/** What a run needs besides its parameters. */
export interface StormInput {
  readonly parameters: StormParameters & { readonly seed: number };
  readonly images: readonly ImageReference[];
  readonly open: OpenEngine;
  /** Whether the store keeps anything beyond the life of an engine. */
  readonly isDurable: boolean;
  /** The store keeps times in such steps, rounded down. @default 1 */
  readonly timeResolutionMs?: number;
  /** Ends the storm early; what there is so far is the result. */
  readonly signal?: AbortSignal | undefined;
  /** Called now and then while the callers run. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/** How far a storm is. */
export interface Progress {
  readonly phase: 'filling' | 'running' | 'checking';
  readonly elapsedMs: number;
  /** From 0 to 1. */
  readonly share: number;
  readonly state: StormState;
}

/** What a run gave; `close` frees what lives outside the heap. */
export interface StormRun {
  readonly state: StormState;
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
const FILL_CALLERS_MAX = 512;
const PROGRESS_INTERVAL_MS = 200;

/** Carries out a storm. Rejects where the engine cannot be opened, hangs, or its store is not empty. */
export async function runStorm(input: StormInput): Promise<StormRun> {
  const { parameters } = input;
  const behaviour = KUBELET_BEHAVIOUR[parameters.compatibility];
  const universe = new Universe(input.images, {
    ...parameters,
    behaviour,
    minimumImages: minimumImages(parameters),
  });
  const ledger = new Ledger(universe, Date.now, input.timeResolutionMs);
  const fillers = Math.min(FILL_CALLERS_MAX, Math.max(parameters.concurrency, 256));
  const slots = Math.max(parameters.concurrency, fillers) * BATCH_SIZE;
  const policy = policyOf(parameters.policy, universe);
  const verifier = new Verifier(ledger, policy, slots, behaviour);
  const recorder = new Recorder();
  const shape = new PlanShape(universe, parameters);
  const engine = await input.open([], policy);
  const state = new StormState({ ledger, verifier, shape, recorder, engine });
  try {
    await refuseUsedStore(engine);
    const storm = new Storm(input, state);
    return await storm.run(fillers);
  } catch (error) {
    recorder.close();
    // The first error counts.
    await state.engine.close().catch(() => {});
    throw error;
  }
}

/** The policy of a name; the allow list covers some repositories and one registry. */
function policyOf(name: PolicyName, universe: Universe): VerificationPolicy {
  if (name !== 'NeverVerifyAllowlistedImages') return { kind: name };
  const exact = universe.names.filter((_, index) => index % 10 === 3).slice(0, ALLOWLIST_MAX);
  return { kind: name, allowlist: [...exact, 'registry.example/team-1/*'] };
}

class Storm {
  readonly #input: StormInput;
  readonly #state: StormState;
  readonly #engines: EngineStats[] = [];
  #startedMs = 0;
  #deadlineMs = Number.POSITIVE_INFINITY;

  constructor(input: StormInput, state: StormState) {
    this.#input = input;
    this.#state = state;
  }

  async run(fillers: number): Promise<StormRun> {
    const { parameters, signal } = this.#input;
    const state = this.#state;
    const stop = (): void => {
      state.isStopping = true;
    };
    signal?.addEventListener('abort', stop, { once: true });
    if (signal?.aborted) stop();
    this.#startedMs = performance.now();
    let phase: Progress['phase'] = 'filling';
    const timer = setInterval(() => this.#report(phase), PROGRESS_INTERVAL_MS);
    try {
      await this.#fill(fillers);
      if (this.#input.isDurable) await this.#reopen();
      state.recorder.reset();
      state.counts.operations = 0;
      const before = state.engine.stats();
      phase = 'running';
      this.#startedMs = performance.now();
      if (parameters.duration !== undefined) {
        this.#deadlineMs = this.#startedMs + parameters.duration;
      }
      await this.#drive();
      const elapsedMs = performance.now() - this.#startedMs;
      phase = 'checking';
      await this.#finish();
      return {
        state,
        elapsedMs,
        wasInterrupted: signal?.aborted ?? false,
        engines: this.#engines,
        before,
        close: () => state.recorder.close(),
      };
    } finally {
      clearInterval(timer);
      signal?.removeEventListener('abort', stop);
    }
  }

  async #fill(fillers: number): Promise<void> {
    const state = this.#state;
    const { universe } = state;
    const pulls = fillPulls(universe, this.#input.parameters.records);
    let next = 0;
    const fill = async (number: number): Promise<void> => {
      const caller = new Caller(state, number);
      while (next < pulls.length && !state.isStopping) {
        const image = pulls[next++]!;
        const isPrivate = universe.kindOfImage[image] === IMAGE_KIND.PRIVATE;
        const { tenants } = universe;
        const choice = hashNumbers(universe.seed, 0xf1, image);
        const tenant = tenants.memberOf(universe.ownerOf(image, choice), choice);
        await caller.fill(image, isPrivate ? tenants.credential(tenant, 0) : tenants.anonymous);
      }
    };
    await Promise.all(Array.from({ length: fillers }, (_, number) => fill(number)));
  }

  async #drive(): Promise<void> {
    const { parameters } = this.#input;
    const state = this.#state;
    const { concurrency, operations } = parameters;
    const events = new EventLine(this.#input, state, (stats) => this.#engines.push(stats));
    const deadline = setTimeout(
      () => {
        state.isStopping = true;
      },
      Math.min(0x7fff_ffff, this.#deadlineMs - this.#startedMs),
    );
    try {
      state.parkedCount = 0;
      events.begin(this.#startedMs);
      state.operationsMax = operations ?? Number.POSITIVE_INFINITY;
      const callers = Array.from({ length: concurrency }, (_, number) => new Caller(state, number));
      await Promise.all(callers.map((caller) => caller.run()));
      await events.end();
    } finally {
      clearTimeout(deadline);
    }
  }

  /** Everything is answered: what is listed must be what the ledger holds, now and after reopening. */
  async #finish(): Promise<void> {
    const { isDurable } = this.#input;
    const state = this.#state;
    await checkListings(state);
    await withTimeout('closing the engine', state.engine.close());
    this.#engines.push(state.engine.stats());
    if (!isDurable) return;
    await this.#reopen();
    await checkListings(state);
    await withTimeout('closing the engine', state.engine.close());
  }

  /** A new engine on the same store: its counters begin at 0. */
  async #reopen(): Promise<void> {
    const state = this.#state;
    await withTimeout('closing the engine', state.engine.close());
    state.engine = await this.#input.open([], state.verifier.policy);
    // The runtime lists nothing: every left-over intent stays.
    state.ledger.restart(() => false, Date.now());
  }

  #report(phase: Progress['phase']): void {
    const { onProgress, parameters } = this.#input;
    const elapsedMs = performance.now() - this.#startedMs;
    const { operations = Number.POSITIVE_INFINITY, duration = Number.POSITIVE_INFINITY } =
      parameters;
    const done = this.#state.counts.operations / operations;
    const share = phase === 'running' ? Math.min(1, Math.max(done, elapsedMs / duration)) : 0;
    onProgress?.({ phase, elapsedMs, share, state: this.#state });
  }
}

/** The events of a storm in order: each begins when its share of the time or operations is over. */
class EventLine {
  readonly #input: StormInput;
  readonly #state: StormState;
  readonly #onClose: (stats: EngineStats) => void;
  readonly #events: { readonly at: number; readonly isRestart: boolean }[] = [];
  #next = 0;
  #startedMs = 0;
  #running: Promise<void> | undefined;
  #error: unknown;

  constructor(input: StormInput, state: StormState, onClose: (stats: EngineStats) => void) {
    this.#input = input;
    this.#state = state;
    this.#onClose = onClose;
    const { prunings, restarts } = input.parameters;
    for (let i = 0; i < prunings; i++)
      this.#events.push({ at: (i + 0.5) / prunings, isRestart: false });
    for (let i = 0; i < restarts; i++)
      this.#events.push({ at: (i + 1) / (restarts + 1), isRestart: true });
    this.#events.sort((a, b) => a.at - b.at);
  }

  begin(startedMs: number): void {
    this.#startedMs = startedMs;
    this.#state.onTick = () => this.#tick();
    this.#schedule();
  }

  /** Waits for the event under way; rejects with what went wrong in any of them. */
  async end(): Promise<void> {
    this.#next = this.#events.length;
    await this.#running;
    if (this.#error !== undefined) throw this.#error;
  }

  #schedule(): void {
    const { duration = Number.POSITIVE_INFINITY, operations = Number.POSITIVE_INFINITY } =
      this.#input.parameters;
    const at = this.#events[this.#next]?.at ?? Number.POSITIVE_INFINITY;
    this.#state.nextTickOperations = at * operations;
    this.#state.nextTickMs = this.#startedMs + at * duration;
  }

  #tick(): void {
    const state = this.#state;
    state.nextTickOperations = Number.POSITIVE_INFINITY;
    state.nextTickMs = Number.POSITIVE_INFINITY;
    const number = this.#next;
    const event = this.#events[number];
    if (event === undefined || this.#running !== undefined) return;
    this.#next++;
    const work = event.isRestart
      ? restart(state, {
          event: number,
          open: this.#input.open,
          isDurable: this.#input.isDurable,
          callerCount: this.#input.parameters.concurrency,
          onClose: this.#onClose,
        })
      : prune(state, number, this.#input.parameters.prunedShare);
    this.#running = work.then(
      () => this.#over(),
      (error: unknown) => {
        this.#error = error;
        state.isStopping = true;
        this.#over();
      },
    );
  }

  #over(): void {
    this.#running = undefined;
    this.#schedule();
  }
}

function minimumImages(parameters: StormParameters): number {
  // Some images share their reference or are never pulled.
  const pulled = 1 - parameters.preloadedShare;
  return Math.ceil(((parameters.records ?? 0) / Math.max(0.1, pulled)) * 1.1);
}

/** One image for each reference that is pulled at all, the most popular first. */
function fillPulls(universe: Universe, records: number | undefined): number[] {
  const pulls: number[] = [];
  const seen = new Set<number>();
  for (const image of universe.byPopularity) {
    if (pulls.length >= (records ?? Number.POSITIVE_INFINITY)) break;
    const ref = universe.refOfImage[image]!;
    if (universe.kindOfImage[image] === IMAGE_KIND.PRELOADED || seen.has(ref)) continue;
    seen.add(ref);
    pulls.push(image);
  }
  return pulls;
}

async function refuseUsedStore(engine: StormEngine): Promise<void> {
  const { records, intents } = engine.stats();
  if (records === 0 && intents === 0) return;
  throw new PullManagerError(
    'INVALID_ARGUMENT',
    `--store: holds ${records} records and ${intents} intents already; a storm writes made-up ones, so give it an empty store`,
    { argument: '--store' },
  );
}

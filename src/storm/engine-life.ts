/** The engines of one run, one after the other on the same store. */
import type { EngineStats } from '../metrics/stats.ts';
import type { OpenEngine, StormEngine } from './engine.ts';
import { withTimeout } from './events.ts';
import type { Keyspace } from './keyspace.ts';
import { checkListings } from './listing-check.ts';
import type { StormState } from './state.ts';

/** Opens the engine of a state again, and brings it to its end. */
export class EngineLife {
  /** Counters of every engine that was closed, in order. */
  readonly closed: EngineStats[] = [];
  readonly #state: StormState<Keyspace>;
  readonly #open: OpenEngine;
  readonly #isDurable: boolean;
  #countedEngine: StormEngine | undefined;

  constructor(
    state: StormState<Keyspace>,
    options: { readonly open: OpenEngine; readonly isDurable: boolean },
  ) {
    this.#state = state;
    this.#open = options.open;
    this.#isDurable = options.isDurable;
  }

  /** Keeps the counters of the engine, which is closed, once. */
  count(stats: EngineStats): void {
    if (this.#state.engine === this.#countedEngine) return;
    this.#countedEngine = this.#state.engine;
    this.closed.push(stats);
  }

  /** A new engine on the same store: its counters begin at 0. */
  async reopen(): Promise<void> {
    const state = this.#state;
    await withTimeout('closing the engine', state.engine.close());
    state.engine = await this.#open([], state.verifier.policy);
    // The runtime lists nothing: every left-over intent stays.
    state.ledger.restart(() => false, Date.now());
  }

  /** Everything is answered: what is listed must be what the ledger holds, now and after reopening. */
  async finish(): Promise<void> {
    const state = this.#state;
    try {
      // After a restart that failed there is no engine to ask.
      if (state.failure === undefined) await checkListings(state);
      await withTimeout('closing the engine', state.engine.close());
      this.count(state.engine.stats());
      if (!this.#isDurable || state.failure !== undefined) return;
      await this.reopen();
      await checkListings(state);
      await withTimeout('closing the engine', state.engine.close());
    } catch (error) {
      // What was measured so far is a result all the same.
      state.failure ??= error;
      await withTimeout('closing the engine', state.engine.close()).catch(() => {});
      this.count(state.engine.stats());
    }
  }
}

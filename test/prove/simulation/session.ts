/** One engine, many histories: each is run, recorded and checked. */
import { KUBELET_BEHAVIOUR } from '../../../src/compatibility.ts';
import type { PodCredentials } from '../../../src/records/record.ts';
import type { ModelImage } from '../../support/pull-model.ts';
import { inTime } from '../../support/wait.ts';
import { Caller } from './caller.ts';
import { checkHistory, type Verdict } from './checker.ts';
import type { Config } from './config.ts';
import type { Counts } from './counts.ts';
import { Disturber } from './disturber.ts';
import { SimulatedEngine } from './engine.ts';
import { type Entry, EventCount, type History } from './history.ts';
import type { Rules } from './model-state.ts';
import type { Act, Phase, Program } from './program.ts';
import { OFFERS, type Universe, universesOf } from './universe.ts';

/** A call that takes this long will never be answered. */
const HANG_MS = 30_000;
/** More ends of pulls than a history begins. */
const CLEANUP_ROUNDS = 64;
/** Later than any record, whatever the clock does. */
const FOREVER_MS = 4_000_000_000_000;

/** What a history was like, and whether it can be. */
export interface Outcome {
  readonly verdict: Verdict;
  readonly history: History;
  readonly universe: Universe;
}

export class Session {
  readonly #config: Config;
  readonly #engine: SimulatedEngine;
  readonly #events: EventCount;
  readonly #counts: Counts;
  readonly #rules: Rules;
  #serial = 0;

  private constructor(config: Config, engine: SimulatedEngine, events: EventCount, counts: Counts) {
    this.#config = config;
    this.#engine = engine;
    this.#events = events;
    this.#counts = counts;
    this.#rules = { policy: config.policy, behaviour: KUBELET_BEHAVIOUR[config.level] };
  }

  /** Adds what it does to `counts`. */
  static async open(config: Config, directory: string, counts: Counts): Promise<Session> {
    const events = new EventCount();
    return new Session(
      config,
      await SimulatedEngine.open(config, directory, events),
      events,
      counts,
    );
  }

  /** Runs a program on keys of its own. Rejects with `HangError` where the engine hangs. */
  async run(program: Program): Promise<Outcome[]> {
    return inTime('a call', this.#run(program), HANG_MS);
  }

  async close(): Promise<void> {
    await inTime('closing the engine', this.#engine.close(), HANG_MS);
  }

  async #run({ phases, listed }: Program): Promise<Outcome[]> {
    const count = Math.max(...phases.map(({ histories }) => histories.length));
    const tags = Array.from({ length: count }, () => `h${(this.#serial++).toString(36)}x`);
    const universes = universesOf(tags);
    const startedAtMs = Date.now();
    const { disturbances } = this.#counts;
    const entries: Entry[][] = universes.map(() => []);
    const disturber = new Disturber(this.#engine, this.#events, disturbances, async () => {
      for (const [history, universe] of universes.entries()) {
        entries[history]!.push(...(await this.#known(universe)));
      }
    });
    for (const [index, phase] of phases.entries()) {
      if (index > 0) {
        const restart = await this.#restart(index - 1, listed[index - 1]!, universes);
        for (const own of entries) own.push(restart);
      }
      const recorded = await this.#runPhase(phase, universes, disturber);
      for (const [history, own] of recorded.entries()) entries[history]!.push(...own);
    }
    const last = await Promise.all(universes.map((universe) => this.#finish(universe)));
    for (const [history, own] of last.entries()) entries[history]!.push(...own);
    const { troubles, clock, holds } = disturber;
    return entries.map((own, index) => {
      const history = { entries: own, troubles, startedAtMs, clock, holds };
      return this.#outcomeOf(history, universes[index]!);
    });
  }

  #outcomeOf(history: History, universe: Universe): Outcome {
    const verdict = checkHistory(history, this.#rules);
    const { entries } = history;
    this.#counts.operations += entries.length;
    this.#counts.decisions += entries.filter(({ call }) => call.op === 'decide').length;
    if (verdict.kind === 'fine') this.#counts.explained++;
    if (verdict.kind === 'undecided') this.#counts.undecided++;
    return { verdict, history, universe };
  }

  /** By history, what its callers did. */
  async #runPhase(
    { histories, disturbances }: Phase,
    universes: readonly Universe[],
    disturber: Disturber,
  ): Promise<Entry[][]> {
    let isDone = false;
    const disturbing = disturber.run(disturbances, () => isDone);
    const calling = histories.map(async (callers, history) => {
      const recorded = callers.map((acts, index) =>
        this.#runCaller(acts, index, universes[history]!),
      );
      return (await Promise.all(recorded)).flat();
    });
    const entries = await Promise.all(calling);
    isDone = true;
    await disturbing;
    return entries;
  }

  async #runCaller(
    acts: readonly Act[],
    index: number,
    universe: Universe,
  ): Promise<readonly Entry[]> {
    const place = this.#config.callers[index]!;
    const name = `${index + 1} ${place}`;
    const { thread } = this.#engine;
    if (place === 'thread') return thread!.run(name, universe, acts);
    const caller = new Caller(name, this.#engine.managerAt(place), universe, this.#events);
    await caller.run(acts);
    return caller.entries;
  }

  async #restart(
    index: number,
    listed: readonly (number | undefined)[],
    universes: readonly Universe[],
  ): Promise<Entry> {
    const found = universes.flatMap((universe) => listedOf(universe, listed));
    const start = this.#events.next();
    await this.#engine.restart(this.#config.reshaped[index]!, found);
    this.#counts.disturbances.restart++;
    const call = { op: 'restart', images: found } as const;
    return { caller: 'restart', call, start, end: this.#events.next(), answer: { kind: 'done' } };
  }

  /** What the replicas say of everything, without a trip. */
  async #known(universe: Universe): Promise<Entry[]> {
    const callers = (['opener', 'beside'] as const).map(
      (place) =>
        new Caller(`known ${place}`, this.#engine.managerAt(place), universe, this.#events),
    );
    for (const caller of callers) {
      for (const credentials of OFFERS.slice(0, 2)) {
        await this.#askReplica(caller, universe, credentials);
      }
    }
    return callers.flatMap(({ entries }) => entries);
  }

  /** All that it remembers: costs no trip. */
  async #askReplica(
    caller: Caller,
    { images, imageRefs }: Universe,
    credentials: PodCredentials = OFFERS[0]!,
  ): Promise<void> {
    const call = { op: 'decide', how: 'sync', credentials } as const;
    for (const imageRef of imageRefs) {
      for (const image of images) await caller.call({ ...call, image, imageRef });
    }
  }

  /** Looks at what is left, and ends it: which shows what the counters were. */
  async #finish(universe: Universe): Promise<Entry[]> {
    const { images, imageRefs, spared } = universe;
    const { opener } = this.#engine;
    const caller = new Caller('last', opener, universe, this.#events);
    const beside = new Caller('beside', this.#engine.managerAt('beside'), universe, this.#events);
    await caller.call({ op: 'listRecords' });
    for (const one of [caller, beside]) {
      const call = { op: 'decide', imageRef: imageRefs[0]!, credentials: OFFERS[0]! } as const;
      await Promise.all(images.map((image) => one.call({ ...call, how: 'decide', image })));
      await this.#askReplica(one, universe);
    }
    for (let round = 0; round < CLEANUP_ROUNDS; round++) {
      const intents = await caller.call({ op: 'listIntents' });
      if (intents?.kind !== 'intents' || intents.images.length === 0) break;
      const ending = intents.images.map((image) => caller.call({ op: 'failed', image }));
      await Promise.all(ending);
    }
    await caller.call({ op: 'prune', listed: spared, untilMs: FOREVER_MS });
    await caller.call({ op: 'listRecords' });
    return [...caller.entries, ...beside.entries];
  }
}

/** What the runtime lists of a universe. */
function listedOf(
  { images, imageRefs }: Universe,
  listed: readonly (number | undefined)[],
): ModelImage[] {
  // Each image on one reference at most: of two, a restart would keep what it happens to see last.
  const named = new Set<number>();
  const found: ModelImage[] = [];
  for (const [ref, image] of listed.entries()) {
    if (image === undefined || named.has(image)) continue;
    named.add(image);
    found.push({ id: imageRefs[ref]!, repoTags: [images[image]!], repoDigests: [] });
  }
  return found;
}

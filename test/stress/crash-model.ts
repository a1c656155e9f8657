/**
 * Follows the logs of one store's lives and says, each time the store was looked at, what of it
 * cannot be.
 */
import { EVENT, OPERATION, type StormEvent } from './crash-log.ts';
import {
  beginPull,
  endPull,
  findMatch,
  type IntentState,
  intentText,
  isRecord,
  missingProofs,
  NO_INTENT,
  pruneRecord,
  type RecordState,
  recordPulled,
  recordText,
  restartIntent,
  seenRecord,
} from './crash-states.ts';
import { type Dump, wrongAnswers } from './crash-sweep.ts';
import {
  credentialsOf,
  IMAGE_COUNT,
  imageNameOf,
  imageOf,
  PRUNE_CLASSES,
  podCredentialsOf,
  refOf,
  runtimeImageIndexes,
} from './crash-universe.ts';
import { type CrashWorlds, type KeyOperation, KeyWorlds } from './crash-worlds.ts';

/** Something that must not be. */
export interface Finding {
  /**
   * `loss`: what was acknowledged is gone. `revival`: what was acknowledged to be gone is there.
   * `invention`: something is there that never was. `half`: a record is not whole. `order`: an
   * intent went before its record was there. `access`: a wrong answer to a tenant. `count`: the
   * engine miscounts what it has.
   */
  readonly kind: 'loss' | 'revival' | 'invention' | 'half' | 'order' | 'access' | 'count';
  readonly message: string;
}

/** The end of a life, as the parent saw it. */
export interface LifeEnd {
  /** No operation of that life ended later. */
  readonly timeMs: number;
}

/** Operations on keys of both kinds. */
interface Started {
  readonly event: StormEvent;
  readonly images: readonly number[];
  readonly refs: readonly number[];
}

/** When and how an operation ended. */
interface Outcome {
  readonly timeMs: number;
  readonly isAcknowledged: boolean;
}

const ADOPTED_BASE = 0x8000_0000;

/** All that is known of one store. */
export class CrashModel {
  /** Acknowledged writes that were followed so far. */
  acknowledged = 0;
  /** Intents and records that were compared so far. */
  compared = 0;
  readonly #timeResolutionMs: number;
  readonly #intents = new Map<number, KeyWorlds<IntentState>>();
  readonly #records = new Map<number, KeyWorlds<RecordState>>();
  readonly #running = new Map<number, Started>();
  /** The last events of each key, to explain a finding. */
  readonly #histories = new Map<string, string[]>();
  /** The worlds at the last crash, where nothing happened since. */
  #crash:
    | {
        readonly pulls: readonly Started[];
        readonly intents: ReadonlyMap<number, CrashWorlds<IntentState>>;
        readonly records: ReadonlyMap<number, CrashWorlds<RecordState>>;
      }
    | undefined;

  /** @param timeResolutionMs The store keeps times in such steps, rounded down. */
  constructor(timeResolutionMs = 1) {
    this.#timeResolutionMs = timeResolutionMs;
  }

  /**
   * Follows one life to its end.
   *
   * @param dump What the store held when it was open, where the life got that far.
   * @param runtimeSeed Where the life asked a runtime for its images at open.
   */
  follow(
    events: readonly StormEvent[],
    dump: Dump | undefined,
    runtimeSeed: number | undefined,
    end: LifeEnd,
  ): Finding[] {
    const findings = this.advance(events, dump, runtimeSeed, end);
    this.crash();
    return findings;
  }

  /** Follows a part of a life. Operations that it starts and does not end were never answered. */
  advance(
    events: readonly StormEvent[],
    dump: Dump | undefined,
    runtimeSeed: number | undefined,
    end: LifeEnd,
  ): Finding[] {
    const findings: Finding[] = [];
    const outcomes = outcomesOf(events);
    const running = this.#running;
    for (const event of events) {
      switch (event.event) {
        case EVENT.OPENING:
          if (runtimeSeed !== undefined) this.#startAdoption(runtimeSeed, event, end);
          break;
        case EVENT.READY:
          for (const id of running.keys()) this.#finish(id, true);
          if (dump !== undefined) findings.push(...this.#check(dump, runtimeSeed !== undefined));
          this.#crash = undefined;
          break;
        case EVENT.START:
          running.set(event.id, this.#start(event, outcomes.get(event.id), end));
          break;
        case EVENT.ACK:
          this.acknowledged++;
          this.#finish(event.id, true);
          break;
        case EVENT.REJECT:
          this.#finish(event.id, false);
          break;
        case EVENT.VIOLATION: {
          const { image, ref } = event;
          const message = `a foreign tenant was let in under load: ${imageOf(image)} ${refOf(ref)}`;
          findings.push({ kind: 'access', message });
          break;
        }
      }
    }
    return findings;
  }

  /** The process ends, in whatever way. */
  crash(): void {
    const intents = new Map<number, CrashWorlds<IntentState>>();
    const records = new Map<number, CrashWorlds<RecordState>>();
    for (const [image, worlds] of this.#intents) intents.set(image, worlds.crash(restartIntent));
    for (const [ref, worlds] of this.#records)
      records.set(
        ref,
        worlds.crash((state) => state),
      );
    const running = Array.from(this.#running.values());
    this.#running.clear();
    for (const { images, refs } of running) this.#note(images, refs, 'killed');
    const pulls = running.filter(({ event }) => event.operation === OPERATION.PULLED);
    this.#crash = { pulls, intents, records };
  }

  /** Compares a store that is open and at rest with what it may hold. */
  check(dump: Dump): Finding[] {
    return this.#check(dump, true, true);
  }

  /** Pulls in flight, of images of which it is certain. */
  certainPulls(): Map<number, number> {
    const certain = new Map<number, number>();
    for (const [image, worlds] of this.#intents) {
      const [state, ...others] = worlds.states;
      if (others.length === 0 && state!.isStored) certain.set(image, state!.count);
    }
    return certain;
  }

  #intentsOf(image: number): KeyWorlds<IntentState> {
    let worlds = this.#intents.get(image);
    if (worlds === undefined) {
      worlds = new KeyWorlds(NO_INTENT, intentText);
      this.#intents.set(image, worlds);
    }
    return worlds;
  }

  #recordsOf(ref: number): KeyWorlds<RecordState> {
    let worlds = this.#records.get(ref);
    if (worlds === undefined) {
      worlds = new KeyWorlds<RecordState>(undefined, recordText);
      this.#records.set(ref, worlds);
    }
    return worlds;
  }

  #start(event: StormEvent, outcome: Outcome | undefined, end: LifeEnd): Started {
    const { operation, id, image, ref } = event;
    const isAnswered = outcome?.isAcknowledged === true;
    const toMs = outcome?.timeMs ?? end.timeMs;
    const images: number[] = [];
    const refs: number[] = [];
    if (operation === OPERATION.INTENT) {
      this.#intentsOf(image).start(once(id, beginPull(isAnswered)));
      images.push(image);
    }
    if (operation === OPERATION.FAILED || operation === OPERATION.PULLED) {
      this.#intentsOf(image).start(once(id, endPull(isAnswered)));
      images.push(image);
    }
    if (operation === OPERATION.PULLED) {
      const credentials = credentialsOf(event.credentials);
      const effect = recordPulled(
        imageNameOf(image),
        credentials,
        this.#kept(event.timeMs),
        this.#kept(toMs),
      );
      this.#recordsOf(ref).start(once(id, effect));
      refs.push(ref);
    }
    if (operation === OPERATION.MATCH) {
      const { secrets = [] } = podCredentialsOf(event.credentials);
      const [secret] = secrets;
      if (secret !== undefined) {
        const name = imageNameOf(image);
        const credentials = { kubernetesSecrets: [secret] };
        const effects = [
          findMatch(name, credentials),
          recordPulled(name, credentials, this.#kept(event.timeMs), this.#kept(toMs)),
        ];
        this.#recordsOf(ref).start({ id, effects, isOptional: true });
        refs.push(ref);
      }
    }
    if (operation === OPERATION.PRUNE) {
      for (let key = event.unlisted; key < IMAGE_COUNT; key += PRUNE_CLASSES) {
        this.#recordsOf(key).start(once(id, pruneRecord(this.#kept(event.timeMs))));
        refs.push(key);
      }
    }
    this.#note(images, refs, `start ${textOf(event)}`);
    return { event, images, refs };
  }

  #finish(id: number, isAcknowledged: boolean): void {
    const started = this.#running.get(id);
    if (started === undefined) return;
    this.#running.delete(id);
    const { images, refs, event } = started;
    this.#note(images, refs, `${isAcknowledged ? 'ack' : 'reject'} ${textOf(event)}`);
    const worlds = [
      ...images.map((image) => this.#intentsOf(image)),
      ...refs.map((ref) => this.#recordsOf(ref)),
    ];
    for (const key of worlds) {
      if (isAcknowledged) key.acknowledge(id);
      else key.reject(id);
    }
  }

  /** A time as the store keeps it. */
  #kept(timeMs: number): number {
    return Math.floor(timeMs / this.#timeResolutionMs) * this.#timeResolutionMs;
  }

  /** What reconciliation at open may do: adopt each left-over intent whose image the runtime has. */
  #startAdoption(seed: number, opening: StormEvent, end: LifeEnd): void {
    this.#crash = undefined;
    for (const image of runtimeImageIndexes(seed)) {
      const intents = this.#intentsOf(image);
      if (!intents.states.some(({ isStored }) => isStored)) continue;
      const id = ADOPTED_BASE + image;
      const effect = recordPulled(
        imageNameOf(image),
        null,
        this.#kept(opening.timeMs),
        this.#kept(end.timeMs),
      );
      intents.start(once(id, endPull(true)));
      this.#recordsOf(image).start({ id, effects: [effect], isOptional: true });
      this.#note([image], [image], 'adoption at open');
      this.#running.set(id, {
        event: { ...opening, id, image, ref: image },
        images: [image],
        refs: [image],
      });
    }
  }

  #check(dump: Dump, wasAdopted: boolean, isRunning = false): Finding[] {
    const findings: Finding[] = [];
    const known = new Set<string>();
    const intents = new Set(dump.intents);
    const records = new Map<string, RecordState>();
    for (const record of dump.records) {
      try {
        records.set(record.imageRef, seenRecord(record));
      } catch (error) {
        const problem = (error as Error).message;
        findings.push({ kind: 'half', message: `${problem}: ${JSON.stringify(record)}` });
      }
    }
    if (this.#crash !== undefined && !wasAdopted)
      findings.push(...this.#checkOrder(intents, records));
    for (let key = 0; key < IMAGE_COUNT; key++) {
      known.add(imageOf(key)).add(refOf(key));
      this.#checkIntent(key, intents.has(imageOf(key)), findings);
      this.#checkRecord(key, records.get(refOf(key)), findings);
    }
    for (const key of [...intents, ...records.keys()]) {
      if (known.has(key)) continue;
      findings.push({ kind: 'invention', message: `nobody ever named ${JSON.stringify(key)}` });
    }
    for (const message of wrongAnswers(dump, isRunning)) findings.push({ kind: 'access', message });
    const counted = `${dump.intents.length} intents, ${dump.records.length} records`;
    if (dump.counted !== counted) {
      const message = `the engine counts ${dump.counted}, it lists ${counted}`;
      findings.push({ kind: 'count', message });
    }
    this.compared += intents.size + records.size;
    return findings;
  }

  #checkIntent(image: number, isStored: boolean, findings: Finding[]): void {
    const wasNamed = this.#intents.has(image);
    if (!wasNamed && !isStored) return;
    const expected = this.#intentsOf(image);
    const agrees = (state: IntentState): boolean => state.isStored === isStored;
    if (expected.observe(agrees, (state) => state)) {
      this.#note([image], [], isStored ? 'seen' : 'seen absent');
      return;
    }
    findings.push({
      kind: isStored ? (wasNamed ? 'revival' : 'invention') : 'loss',
      message: `the intent of ${imageOf(image)} is ${isStored ? 'there' : 'gone'}${this.#history(`i${image}`)}`,
    });
    expected.reset({ isStored, count: 0 });
  }

  #checkRecord(ref: number, seen: RecordState, findings: Finding[]): void {
    const wasNamed = this.#records.has(ref);
    if (!wasNamed && seen === undefined) return;
    const expected = this.#recordsOf(ref);
    if (expected.observe(isRecord(seen), () => seen)) {
      this.#note([], [ref], `seen ${recordText(seen)}`);
      return;
    }
    const states = expected.states;
    const isLoss = states.every((state) => missingProofs(state, seen).length > 0);
    const isRevival = wasNamed && states.every((state) => state === undefined);
    const example = states[0];
    const missing = states.length === 1 ? missingProofs(example, seen) : [];
    findings.push({
      kind: isLoss ? 'loss' : isRevival ? 'revival' : 'invention',
      message:
        `the record of ${refOf(ref)} is in none of ${states.length} possible states` +
        `${missing.length > 0 ? `, missing: ${missing.join('; ')}` : ''}\n` +
        `    found:    ${recordText(seen)}\n` +
        states
          .slice(0, 8)
          .map((state) => `    possible: ${recordText(state)}\n`)
          .join('') +
        this.#history(`r${ref}`),
    });
    expected.reset(seen);
  }

  /** Where an intent can only be gone because a pull under way ended it, that pull's record is there. */
  #checkOrder(intents: ReadonlySet<string>, records: ReadonlyMap<string, RecordState>): Finding[] {
    const findings: Finding[] = [];
    const required = new Map<number, number[]>();
    for (const { event } of this.#crash!.pulls) {
      const { id, image, ref } = event;
      const isStored = intents.has(imageOf(image));
      const agrees = (state: IntentState): boolean => state.isStored === isStored;
      if (this.#crash!.intents.get(image)?.mustHaveHappened(id, agrees) !== true) continue;
      required.set(ref, [...(required.get(ref) ?? []), id]);
    }
    for (const [ref, ids] of required) {
      const seen = records.get(refOf(ref));
      const states = this.#crash!.records.get(ref)?.statesWith(ids) ?? [];
      if (states.some(isRecord(seen))) continue;
      const message = `an intent is gone, the record of its pull is not at ${refOf(ref)}`;
      findings.push({ kind: 'order', message: message + this.#history(`r${ref}`) });
    }
    return findings;
  }

  #note(images: readonly number[], refs: readonly number[], text: string): void {
    const keys = [...images.map((image) => `i${image}`), ...refs.map((ref) => `r${ref}`)];
    for (const key of keys) {
      const lines = this.#histories.get(key) ?? [];
      lines.push(text);
      if (lines.length > 24) lines.shift();
      this.#histories.set(key, lines);
    }
  }

  #history(key: string): string {
    const lines = this.#histories.get(key) ?? ['nothing was ever started here'];
    return `\n    last events of the key:${lines.map((line) => `\n      ${line}`).join('')}`;
  }
}

function once<S>(id: number, effect: (state: S) => readonly S[]): KeyOperation<S> {
  return { id, effects: [effect], isOptional: false };
}

function outcomesOf(events: readonly StormEvent[]): Map<number, Outcome> {
  const outcomes = new Map<number, Outcome>();
  for (const { event, id, timeMs } of events) {
    if (event !== EVENT.ACK && event !== EVENT.REJECT) continue;
    outcomes.set(id, { timeMs, isAcknowledged: event === EVENT.ACK });
  }
  return outcomes;
}

const NAMES = ['open', 'intent', 'pulled', 'failed', 'match', 'prune'];

function textOf(event: StormEvent): string {
  const { operation, id, image, ref, credentials, unlisted, timeMs } = event;
  const name = `#${id} ${NAMES[operation]}`;
  if (operation === OPERATION.PRUNE) return `${name} class ${unlisted} until ${timeMs}`;
  const given = operation === OPERATION.PULLED || operation === OPERATION.MATCH;
  if (!given) return `${name} ${image}`;
  return `${name} ${image} ref ${ref} ${JSON.stringify(credentialsOf(credentials))} at ${timeMs}`;
}

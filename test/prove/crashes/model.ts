/**
 * Follows the logs of one store's lives and says, each time the store was looked at, what of it
 * cannot be.
 */

import type { KeyWorlds } from '../common/worlds.ts';
import { KeyHistories, textOf } from './key-histories.ts';
import { type CrashedKeys, KnownKeys } from './known-keys.ts';
import { ANSWER, EVENT, FOREIGN, OPERATION, type StormEvent } from './log.ts';
import { adoptionOf, type KeyOperations, keyOperationsOf, type Outcome } from './operations.ts';
import { Refusals } from './refusals.ts';
import {
  type IntentState,
  isRecord,
  missingProofs,
  type RecordState,
  recordText,
  seenRecord,
} from './states.ts';
import { type Dump, wrongAnswers } from './sweep.ts';
import { IMAGE_COUNT, imageOf, refOf, runtimeImageIndexes } from './universe.ts';

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
  /** All of its events, where only a part of them is followed. */
  readonly events?: readonly StormEvent[];
}

/** An operation that runs. */
interface Started {
  readonly event: StormEvent;
  readonly parts: KeyOperations;
}

const ADOPTED_BASE = 0x8000_0000;

/** All that is known of one store. */
export class CrashModel {
  /** Acknowledged writes that were followed so far. */
  acknowledged = 0;
  /** Intents and records that were compared so far. */
  compared = 0;
  /** Refusals that were held against a store after a crash. */
  refusals = 0;
  readonly #timeResolutionMs: number;
  readonly #keys = new KnownKeys();
  readonly #running = new Map<number, Started>();
  readonly #refusals = new Refusals();
  readonly #histories = new KeyHistories();
  /** The worlds at the last crash, where nothing happened since. */
  #crash: (CrashedKeys & { readonly pulls: readonly Started[] }) | undefined;

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
    const outcomes = outcomesOf(end.events ?? events);
    const running = this.#running;
    for (const event of events) {
      switch (event.event) {
        case EVENT.OPENING:
          if (runtimeSeed !== undefined) this.#startAdoption(runtimeSeed, event, end);
          break;
        case EVENT.READY:
          for (const id of running.keys()) findings.push(...this.#finish(id, true));
          if (dump !== undefined) findings.push(...this.#check(dump, runtimeSeed !== undefined));
          this.#crash = undefined;
          break;
        case EVENT.START:
          this.#start(event, outcomes.get(event.id), end);
          break;
        case EVENT.ACK:
          this.acknowledged++;
          if (event.operation === OPERATION.LOOK && event.credentials === FOREIGN) {
            this.#refusals.answer(event.id, event.unlisted === ANSWER.REFUSED);
          }
          findings.push(...this.#finish(event.id, true));
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
    this.#refusals.crash(
      (image, ref) =>
        this.#keys.intent(image).states.some(({ isStored, count }) => !isStored && count > 0) &&
        (!this.#keys.knowsRecord(ref) || this.#keys.record(ref).states.includes(undefined)),
    );
    const keys = this.#keys.crash();
    const running = Array.from(this.#running.values());
    this.#running.clear();
    for (const { parts } of running) this.#note(parts, 'killed');
    const pulls = running.filter(({ event }) => event.operation === OPERATION.PULLED);
    this.#crash = keys === undefined ? undefined : { ...keys, pulls };
  }

  /** From here to `crash`, the crash may have been at any moment. Follow the parts with `advance`. */
  openWindow(): void {
    this.#keys.openWindow();
    this.#refusals.openWindow();
  }

  /** Begins with what a store holds. */
  begin(dump: Dump): void {
    this.#keys.begin(dump);
  }

  /** Compares a store that is open and at rest with what it may hold. */
  check(dump: Dump): Finding[] {
    return this.#check(dump, true, true);
  }

  /** Pulls in flight, of images of which it is certain. */
  certainPulls(): Map<number, number> {
    return this.#keys.certainPulls();
  }

  #start(event: StormEvent, outcome: Outcome | undefined, end: LifeEnd): void {
    const { operation, id, image, ref, credentials } = event;
    const parts = keyOperationsOf(event, outcome, end.timeMs, (timeMs) => this.#kept(timeMs));
    if (operation === OPERATION.LOOK && credentials === FOREIGN) this.#refusals.ask(id, image, ref);
    this.#run(event, parts, `start ${textOf(event)}`);
  }

  #run(event: StormEvent, parts: KeyOperations, note: string): void {
    const { operation, id } = event;
    this.#running.set(id, { event, parts });
    for (const [image, part] of parts.intents) this.#keys.intent(image).start(part);
    for (const [ref, part] of parts.records) this.#keys.record(ref).start(part);
    if (operation !== OPERATION.INTENT) {
      const records = operation === OPERATION.PRUNE ? [...parts.records.keys()] : [];
      this.#refusals.beginRemoval(id, { intents: [...parts.intents.keys()], records });
    }
    this.#note(parts, note);
  }

  #finish(id: number, isAcknowledged: boolean): Finding[] {
    const started = this.#running.get(id);
    if (started === undefined) return [];
    this.#running.delete(id);
    this.#refusals.endRemoval(id);
    const { parts, event } = started;
    this.#note(parts, `${isAcknowledged ? 'ack' : 'reject'} ${textOf(event)}`);
    const findings: Finding[] = [];
    const finish = (key: string, worlds: KeyWorlds<IntentState> | KeyWorlds<RecordState>): void => {
      if (!isAcknowledged) worlds.reject(id);
      else if (!worlds.acknowledge(id)) {
        const message = `an answer that no state of the store gives${this.#histories.of(key)}`;
        findings.push({ kind: 'access', message });
      }
    };
    for (const image of parts.intents.keys()) finish(`i${image}`, this.#keys.intent(image));
    for (const ref of parts.records.keys()) finish(`r${ref}`, this.#keys.record(ref));
    return findings;
  }

  /** A time as the store keeps it. */
  #kept(timeMs: number): number {
    return Math.floor(timeMs / this.#timeResolutionMs) * this.#timeResolutionMs;
  }

  #startAdoption(seed: number, opening: StormEvent, end: LifeEnd): void {
    this.#crash = undefined;
    const [fromMs, toMs] = [this.#kept(opening.timeMs), this.#kept(end.timeMs)];
    for (const image of runtimeImageIndexes(seed)) {
      if (!this.#keys.intent(image).states.some(({ isStored }) => isStored)) continue;
      const id = ADOPTED_BASE + image;
      const event = { ...opening, id, image, ref: image };
      this.#run(event, adoptionOf(id, image, fromMs, toMs), 'adoption at open');
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
    this.#checkRefusals(intents, records, findings);
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
    const wasNamed = this.#keys.knowsIntent(image);
    if (!wasNamed && !isStored) return;
    const expected = this.#keys.intent(image);
    const agrees = (state: IntentState): boolean => state.isStored === isStored;
    if (expected.observe(agrees, (state) => state)) {
      this.#histories.note([image], [], isStored ? 'seen' : 'seen absent');
      return;
    }
    findings.push({
      kind: isStored ? (wasNamed ? 'revival' : 'invention') : 'loss',
      message: `the intent of ${imageOf(image)} is ${isStored ? 'there' : 'gone'}${this.#histories.of(`i${image}`)}`,
    });
    expected.reset({ isStored, count: 0 });
  }

  #checkRecord(ref: number, seen: RecordState, findings: Finding[]): void {
    const wasNamed = this.#keys.knowsRecord(ref);
    if (!wasNamed && seen === undefined) return;
    const expected = this.#keys.record(ref);
    if (expected.observe(isRecord(seen), () => seen)) {
      this.#histories.note([], [ref], `seen ${recordText(seen)}`);
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
        this.#histories.of(`r${ref}`),
    });
    expected.reset(seen);
  }

  #checkRefusals(
    intents: ReadonlySet<string>,
    records: ReadonlyMap<string, RecordState>,
    findings: Finding[],
  ): void {
    // A pull that is only counted protects as well: what a worker that died had deleted, it had not counted.
    const isCounted = (image: number): boolean =>
      this.#keys.intent(image).states.some(({ count }) => count > 0);
    const broken = this.#refusals.broken(
      (image) => intents.has(imageOf(image)) || isCounted(image),
      (ref) => records.has(refOf(ref)),
    );
    for (const { image, ref } of broken) {
      const message = `a stranger was refused ${imageOf(image)} ${refOf(ref)} and is let in now`;
      const histories = this.#histories.of(`i${image}`) + this.#histories.of(`r${ref}`);
      findings.push({ kind: 'access', message: message + histories });
    }
    this.refusals += this.#refusals.count;
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
      findings.push({ kind: 'order', message: message + this.#histories.of(`r${ref}`) });
    }
    return findings;
  }

  #note({ intents, records }: KeyOperations, text: string): void {
    this.#histories.note([...intents.keys()], [...records.keys()], text);
  }
}

function outcomesOf(events: readonly StormEvent[]): Map<number, Outcome> {
  const outcomes = new Map<number, Outcome>();
  for (const { event, id, timeMs, unlisted: answer } of events) {
    if (event !== EVENT.ACK && event !== EVENT.REJECT) continue;
    outcomes.set(id, { timeMs, isAcknowledged: event === EVENT.ACK, answer });
  }
  return outcomes;
}

/**
 * The ledger of a storm: which writes were called and answered when, and hence what each key may
 * hold. The verifier checks decisions against it.
 *
 * Everything runs in the thread that calls the engine, so all calls and answers have one order,
 * counted by `clock`. A write that overlaps others may take effect before or after them; the
 * registers work that out key by key, for each tenant's proof on its own.
 */
import type { Keyspace } from './keyspace.ts';
import type { Learning, LearningEnd, PruneWrite, PullWrite, Readers } from './ledger-writes.ts';
import { leaveAstray } from './ledger-writes.ts';
import { type Register, SEEN, type Write } from './register.ts';
import type { Credential, SecretNumbers } from './tenants.ts';
import { IntentTrack, LEFT_OVER, RecordTrack } from './tracks.ts';

/** All keys of a storm. */
export class Ledger {
  readonly universe: Keyspace;
  readonly intents: readonly IntentTrack[];
  readonly records: readonly RecordTrack[];
  /** The last event about each record, and about each intent. */
  readonly recordEvents: Float64Array;
  readonly intentEvents: Float64Array;
  /** By image: see `Verifier`; reset to 0 by every event about the image or its record. */
  readonly shortcuts: Uint8Array;
  /** Number of the last event. */
  clock = 0;
  readers: Readers | undefined;
  readonly #timeResolutionMs: number;
  readonly #now: () => number;

  /** @param timeResolutionMs The store keeps times in such steps, rounded down. */
  constructor(universe: Keyspace, now: () => number = Date.now, timeResolutionMs = 1) {
    this.universe = universe;
    this.#timeResolutionMs = timeResolutionMs;
    this.#now = () => this.#kept(now());
    this.intents = universe.images.map(() => new IntentTrack());
    this.records = universe.refs.map(() => new RecordTrack());
    this.recordEvents = new Float64Array(this.records.length);
    this.intentEvents = new Float64Array(this.intents.length);
    this.shortcuts = new Uint8Array(this.intents.length);
  }

  beginIntent(image: number): void {
    const intent = this.#leaveIntent(image);
    intent.pendingIntents++;
    this.#enterIntent(image);
  }

  endIntent(image: number, isDone: boolean): void {
    const intent = this.#leaveIntent(image);
    intent.pendingIntents--;
    if (isDone) {
      intent.count++;
      // From here on the counter says whether there is an intent.
      intent.leftOver = LEFT_OVER.NO;
    } else {
      intent.isLost = true;
    }
    this.#enterIntent(image);
  }

  /** The worker that was to note an intent was killed: whether it did is not known. */
  loseIntent(image: number): void {
    const intent = this.#leaveIntent(image);
    intent.pendingIntents--;
    intent.unsure++;
    this.#enterIntent(image);
  }

  beginFailure(image: number): void {
    const intent = this.#leaveIntent(image);
    intent.pendingFailures++;
    this.#enterIntent(image);
  }

  endFailure(image: number, isDone: boolean): void {
    const intent = this.#leaveIntent(image);
    intent.pendingFailures--;
    if (isDone) intent.count--;
    else intent.isLost = true;
    this.#enterIntent(image);
  }

  /** The worker that was to note a failure was killed. */
  loseFailure(image: number): void {
    const intent = this.#leaveIntent(image);
    intent.pendingFailures--;
    intent.count--;
    intent.unsure++;
    this.#enterIntent(image);
  }

  /** @param credential What opened the image; null: unknown circumstances. */
  beginPull(image: number, credential: Credential | null): PullWrite {
    const ref = this.universe.refOfImage[image]!;
    const record = this.#leaveRecord(ref);
    this.intents[image]!.pendingPulls++;
    const isAlone = record.pendingWrites === 0 && record.removals.length === 0;
    this.#beginRecordWrite(record);
    const name = this.universe.nameOfImage[image]!;
    let isChange = false;
    const writes: Write[] = [];
    const write = (register: Register, value: number): void => {
      const isNews = isAlone && register.isSettled && register.value !== value;
      if (isNews && record.exists.isSettled) isChange ||= this.#isNarrow(record, name);
      const begun = { start: this.clock, end: Number.POSITIVE_INFINITY, value, isMaybe: false };
      writes.push(begun);
      record.write(register, begun);
    };
    if (credential !== null) {
      const track = record.nameTrackFor(name);
      if (this.universe.isNodeWide(image, credential)) {
        write(track.nodeWide, 1);
      } else {
        for (const index of credential.provenSecrets) {
          const { place, hash } = credential.secrets[index]!;
          write(record.placeFor(track.secrets, place), hash);
        }
        if (credential.isAccountProven) {
          write(record.placeFor(track.accounts, credential.account), 1);
        }
      }
    }
    write(record.exists, 1);
    this.#enterRecord(ref);
    this.readers?.writeBegan(ref);
    return { image, ref, writes, startedMs: this.#now(), isChange };
  }

  endPull(pull: PullWrite, isDone: boolean): void {
    const record = this.#leaveRecord(pull.ref);
    const intent = this.intents[pull.image]!;
    intent.pendingPulls--;
    if (isDone) intent.count--;
    else intent.isLost = true;
    if (isDone) for (const write of pull.writes) write.end = this.clock;
    else leaveAstray(pull.writes, record.strays);
    if (isDone && pull.isChange) {
      record.updatedFromMs = Math.max(record.updatedFromMs, pull.startedMs);
    }
    this.#endRecordWrite(pull.ref, record);
  }

  /** A worker that was to record a pull was killed: what it did of it is not known. */
  losePull(pull: PullWrite): void {
    const record = this.#leaveRecord(pull.ref);
    const intent = this.intents[pull.image]!;
    intent.pendingPulls--;
    intent.count--;
    intent.unsure++;
    leaveAstray(pull.writes, record.lost);
    this.#endRecordWrite(pull.ref, record);
  }

  /** The killed workers are replaced: what they have not done of their work never happens. */
  endLost(): void {
    for (const [ref, record] of this.records.entries()) {
      if (record.lost.length === 0) continue;
      this.#leaveRecord(ref);
      this.#endTimes(record);
      for (const write of record.lost.splice(0)) write.end = this.clock;
      this.#settleRecord(ref, record);
    }
  }

  /** A decision may add a secret that it matched to the record. */
  beginLearning(ref: number, name: number, secret: SecretNumbers): Learning {
    const record = this.#leaveRecord(ref);
    this.#beginRecordWrite(record);
    const place = record.placeFor(record.nameTrackFor(name).secrets, secret.place);
    const end = Number.POSITIVE_INFINITY;
    const proof = { start: this.clock, end, value: secret.hash, isMaybe: true };
    // A record that was pruned in between comes back.
    const existence = { start: this.clock, end, value: 1, isMaybe: true };
    record.write(place, proof);
    record.write(record.exists, existence);
    this.#enterRecord(ref);
    return { ref, secret, place, proof, existence };
  }

  endLearning(learning: Learning, how: LearningEnd): void {
    const record = this.#leaveRecord(learning.ref);
    learning.proof.end = this.clock;
    learning.existence.end = this.clock;
    if (how === 'stray') leaveAstray([learning.proof, learning.existence], record.strays);
    if (how === 'never') {
      learning.place.remove(learning.proof);
      record.exists.remove(learning.existence);
    }
    this.#endRecordWrite(learning.ref, record);
  }

  /**
   * @param isListed By reference: whether the runtime still has it.
   * @param cutOffMs Not in the future.
   */
  beginPrune(isListed: Uint8Array, cutOffMs: number): PruneWrite {
    const untilMs = this.#kept(cutOffMs);
    const removals: { ref: number; write: Write }[] = [];
    for (let ref = 0; ref < this.records.length; ref++) {
      const record = this.records[ref]!;
      if (isListed[ref] === 1) continue;
      const isQuiet = record.exists.isSettled && record.pendingWrites === 0;
      // Records that come into being from now on are younger than the cut-off.
      if (isQuiet && (record.exists.value === 0 || record.updatedFromMs >= untilMs)) continue;
      this.#leaveRecord(ref);
      const isSure = isQuiet && record.updatedToMs < untilMs;
      const end = Number.POSITIVE_INFINITY;
      const write: Write = { start: this.clock, end, value: 0, isMaybe: !isSure };
      record.removals.push(write);
      for (const register of record.registers()) record.write(register, write);
      if (record.pendingWrites > 0) record.isTangled = true;
      removals.push({ ref, write });
      this.#enterRecord(ref);
      this.readers?.writeBegan(ref);
    }
    return { removals };
  }

  /**
   * @returns How many records surely went, how many may have gone, and the references of those of
   * which it is not known.
   */
  endPrune(prune: PruneWrite): { sure: number; possible: number; unsure: number[] } {
    let sure = 0;
    const unsure: number[] = [];
    for (const { ref, write } of prune.removals) {
      const record = this.#leaveRecord(ref);
      write.end = this.clock;
      record.removals.splice(record.removals.indexOf(write), 1);
      if (write.isMaybe) unsure.push(ref);
      else sure++;
      this.#settleRecord(ref, record);
    }
    return { sure, possible: prune.removals.length, unsure };
  }

  /**
   * The engine was closed and opened again on the same store; no operation is under way.
   *
   * @param isListed By image: whether the runtime lists this very text.
   */
  restart(isListed: (image: number) => boolean, startedMs: number): void {
    for (let image = 0; image < this.intents.length; image++) {
      const before = this.intents[image]!;
      const ref = this.universe.refOfImage[image]!;
      const record = this.#leaveRecord(ref);
      const mayBePresent = before.mayBePresent();
      const mayBeAbsent = before.mayBeAbsent(0);
      before.count = 0;
      before.pendingIntents = 0;
      before.pendingFailures = 0;
      before.pendingPulls = 0;
      before.unsure = 0;
      before.isLost = false;
      before.leftOver = LEFT_OVER.NO;
      if (mayBePresent) before.leftOver = mayBeAbsent ? LEFT_OVER.UNKNOWN : LEFT_OVER.YES;
      if (mayBePresent && isListed(image)) {
        const end = this.clock;
        const isNew = record.exists.isSettled && record.exists.value === 0;
        record.write(record.exists, { start: end, end, value: 1, isMaybe: mayBeAbsent });
        if (isNew) record.updatedFromMs = this.#kept(startedMs);
        before.leftOver = LEFT_OVER.NO;
        this.#endTimes(record);
      }
      const strays = [...record.strays.splice(0), ...record.lost.splice(0)];
      if (strays.length > 0) this.#endTimes(record);
      for (const write of strays) write.end = this.clock;
      this.#settleRecord(ref, record);
    }
  }

  /** A store that keeps nothing was closed. */
  forget(): void {
    for (const record of this.records) {
      for (const register of record.registers()) {
        register.value = 0;
        register.writes = undefined;
      }
      record.unsettled.clear();
      record.isTangled = false;
      record.pendingWrites = 0;
      record.removals.length = 0;
      record.strays.length = 0;
      record.lost.length = 0;
      record.updatedFromMs = Number.NEGATIVE_INFINITY;
      record.updatedToMs = Number.NEGATIVE_INFINITY;
    }
    for (const intent of this.intents) Object.assign(intent, new IntentTrack());
    this.shortcuts.fill(0);
    this.clock++;
  }

  /** A read that began after event `since` saw a value: from now on nothing older is there. */
  observe(ref: number, register: Register, value: number, since: number): void {
    if (register.isSettled) return;
    const record = this.records[ref]!;
    const isExistence = register === record.exists;
    if (isExistence) this.#leaveImages(ref);
    this.clock++;
    record.write(register, { start: since + 0.5, end: this.clock, value, isMaybe: false });
    if (isExistence) this.#enterImages(ref, record);
  }

  /** An intent was listed, or not, while no operation was under way. */
  observeIntent(image: number, isPresent: boolean): void {
    const intent = this.#leaveIntent(image);
    if (intent.leftOver === LEFT_OVER.UNKNOWN) {
      intent.leftOver = isPresent ? LEFT_OVER.YES : LEFT_OVER.NO;
    }
    this.#enterIntent(image);
  }

  /** Whether the record of a reference may be missing at this moment. */
  mayLackRecord(record: RecordTrack): boolean {
    return (record.exists.possible(0, this.clock) & SEEN.ABSENT) !== 0;
  }

  /** Forgets what no read under way can see any more. */
  settle(ref: number): void {
    this.records[ref]!.settle(this.readers?.oldestRead(ref, this.clock) ?? this.clock);
  }

  #leaveIntent(image: number): IntentTrack {
    const intent = this.intents[image]!;
    intent.leave(this.clock);
    this.clock++;
    return intent;
  }

  #enterIntent(image: number): void {
    const intent = this.intents[image]!;
    const record = this.records[this.universe.refOfImage[image]!]!;
    this.intentEvents[image] = this.clock;
    this.shortcuts[image] = 0;
    intent.enter(this.mayLackRecord(record), record.isTangled);
  }

  #leaveRecord(ref: number): RecordTrack {
    this.#leaveImages(ref);
    this.clock++;
    return this.records[ref]!;
  }

  #enterRecord(ref: number): void {
    const record = this.records[ref]!;
    this.recordEvents[ref] = this.clock;
    this.#enterImages(ref, record);
  }

  #leaveImages(ref: number): void {
    for (const image of this.universe.imagesOfRef[ref]!) this.intents[image]!.leave(this.clock);
  }

  #enterImages(ref: number, record: RecordTrack): void {
    const mayLackRecord = this.mayLackRecord(record);
    for (const image of this.universe.imagesOfRef[ref]!) {
      this.shortcuts[image] = 0;
      this.intents[image]!.enter(mayLackRecord, record.isTangled);
    }
  }

  #beginRecordWrite(record: RecordTrack): void {
    record.pendingWrites++;
    if (record.removals.length === 0) return;
    record.isTangled = true;
    for (const removal of record.removals) removal.isMaybe = true;
  }

  #endRecordWrite(ref: number, record: RecordTrack): void {
    record.pendingWrites--;
    this.#endTimes(record);
    this.#settleRecord(ref, record);
  }

  /** A time as the store keeps it. */
  #kept(timeMs: number): number {
    return Math.floor(timeMs / this.#timeResolutionMs) * this.#timeResolutionMs;
  }

  #endTimes(record: RecordTrack): void {
    record.updatedToMs = Math.max(record.updatedToMs, this.#now());
  }

  #settleRecord(ref: number, record: RecordTrack): void {
    if (record.pendingWrites === 0 && record.removals.length === 0) record.isTangled = false;
    this.settle(ref);
    this.#enterRecord(ref);
  }

  /** Whether a new proof for a name surely changes the record. */
  #isNarrow(record: RecordTrack, name: number): boolean {
    if (record.exists.value === 0) return true;
    const nodeWide = record.nameTrack(name)?.nodeWide;
    return nodeWide === undefined || (nodeWide.isSettled && nodeWide.value === 0);
  }
}

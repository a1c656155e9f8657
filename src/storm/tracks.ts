/**
 * What the verifier knows of each key: the pulled record of a reference, taken apart into
 * registers, and the intent of an image.
 */
import { Register, type Write } from './register.ts';

/** Proofs for one name of a record. */
export class NameTrack {
  readonly name: number;
  readonly nodeWide: Register = new Register();
  /** By place: the number of the secret's content. */
  readonly secrets: Map<number, Register> = new Map();
  /** By place: 1 where the account is recorded. */
  readonly accounts: Map<number, Register> = new Map();

  constructor(name: number) {
    this.name = name;
  }
}

/** The pulled record of one reference. */
export class RecordTrack {
  readonly exists: Register = new Register();
  readonly names: NameTrack[] = [];
  /** Registers with more than one possible value. */
  readonly unsettled: Set<Register> = new Set();
  /** Writes under way that may change it: pulls, and decisions that may learn a secret. */
  pendingWrites = 0;
  /** Writes whose call failed: they may take effect at any time until the engine is closed. */
  readonly strays: Write[] = [];
  /** Writes whose worker was killed: they may take effect until it is replaced. */
  readonly lost: Write[] = [];
  /** Removals under way. */
  readonly removals: Write[] = [];
  /**
   * Whether a removal met a write: then it is not known which of the pulls under way have their
   * record still before them.
   */
  isTangled = false;
  /** Bounds of `lastUpdatedTime`, in milliseconds since 1970. */
  updatedFromMs: number = Number.NEGATIVE_INFINITY;
  updatedToMs: number = Number.NEGATIVE_INFINITY;
  nameTrack(name: number): NameTrack | undefined {
    for (const track of this.names) if (track.name === name) return track;
    return undefined;
  }

  /** Adds a write to a register. */
  write(register: Register, write: Write): void {
    register.add(write);
    this.unsettled.add(register);
  }

  /** A register that comes into being; removals under way concern it too. */
  adopt(register: Register): Register {
    for (const removal of this.removals) this.write(register, removal);
    return register;
  }

  /** The track of a name, made where there is none. */
  nameTrackFor(name: number): NameTrack {
    const known = this.nameTrack(name);
    if (known !== undefined) return known;
    const track = new NameTrack(name);
    this.adopt(track.nodeWide);
    this.names.push(track);
    return track;
  }

  /** The register of a place, made where there is none. */
  placeFor(places: Map<number, Register>, place: number): Register {
    const known = places.get(place);
    if (known !== undefined) return known;
    const register = this.adopt(new Register());
    places.set(place, register);
    return register;
  }

  /** Every register of this record. */
  *registers(): Generator<Register> {
    yield this.exists;
    for (const { nodeWide, secrets, accounts } of this.names) {
      yield nodeWide;
      yield* secrets.values();
      yield* accounts.values();
    }
  }

  /** Forgets values that no read can see that began after event `since`. */
  settle(since: number): void {
    for (const register of this.unsettled) {
      if (register.settle(since)) this.unsettled.delete(register);
    }
  }
}

/** Whether a left-over intent of an earlier run is there; counts once no pull has begun since. */
export const LEFT_OVER = { NO: 0, YES: 1, UNKNOWN: 2 } as const;

/**
 * The intent of one image.
 *
 * The number of pulls in flight lies between bounds that follow from the calls that began and
 * ended. `isUnprotected` and `isProtected` are about one moment: there may be no pulled record, and
 * at the same time there may be no intent, or one. Keeping the two apart from the record's own
 * register is what makes a gap between record and intent visible, which must never be seen.
 */
export class IntentTrack {
  /** Ended intents minus ended outcomes. */
  count = 0;
  /** Pulls beyond `count` that may be in flight: a worker was killed over their intent or outcome. */
  unsure = 0;
  pendingIntents = 0;
  pendingFailures = 0;
  pendingPulls = 0;
  leftOver: number = LEFT_OVER.NO;
  /** An operation failed half-way: nothing is known until the next start. */
  isLost = false;
  isUnprotected = true;
  isProtected = false;
  /** Last event up to which the flag held, once it no longer does. */
  lastUnprotected = 0;
  lastProtected = -1;

  /** Whether there may be no intent now, where `ended` of the calls under way may be through. */
  mayBeAbsent(endedOutcomes: number): boolean {
    return this.isLost || (this.leftOver !== LEFT_OVER.YES && this.count - endedOutcomes <= 0);
  }

  mayBePresent(): boolean {
    return (
      this.isLost ||
      this.leftOver !== LEFT_OVER.NO ||
      this.count + this.unsure + this.pendingIntents > 0
    );
  }

  /** Before an event: remembers up to when the flags held. */
  leave(clock: number): void {
    if (this.isUnprotected) this.lastUnprotected = clock;
    if (this.isProtected) this.lastProtected = clock;
  }

  /** After an event: works the flags out again. */
  enter(mayLackRecord: boolean, isTangled: boolean): void {
    // A pull under way that has not written its record has not given up its intent either.
    const ended = this.pendingFailures + (isTangled ? this.pendingPulls : 0);
    this.isUnprotected = mayLackRecord && this.mayBeAbsent(ended);
    this.isProtected = mayLackRecord && this.mayBePresent();
  }
}

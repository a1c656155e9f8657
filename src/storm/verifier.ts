/**
 * Checks every decision of a storm against what the ledger says was possible while it was made.
 *
 * Where no write of the deciding keys overlapped the decision, exactly one answer is right. Where
 * one did, the answers before and after it are. Nothing else is: a decision that missed an
 * acknowledged write, that saw neither the intent nor the record of a pull, or that went back behind
 * what an earlier decision had seen, is wrong. Each decision is computed from one moment, so a
 * missing record and a missing intent count together only where both may be missing at once.
 *
 * One thing is taken more loosely than it could be: after a removal that overlapped a write, each
 * part of the record may or may not be gone, in any mixture. Such records are few, and the storm
 * reads them once the pruning is over, which settles them.
 */
import { KUBELET_BEHAVIOUR, type KubeletBehaviour } from '../compatibility.ts';
import { IMAGE_TEXT } from '../images/image-text.ts';
import type { VerificationPolicy } from '../policies/enforcer.ts';
import { ANSWER, VERDICT } from './answers.ts';
import type { Ledger } from './ledger.ts';
import type { Learning, LearningEnd, Readers } from './ledger-writes.ts';
import { MATCH_WRITE_LIMIT, mustVerify } from './model-decision.ts';
import { type Register, SEEN } from './register.ts';
import type { Credential, SecretNumbers } from './tenants.ts';
import type { NameTrack } from './tracks.ts';

const NONE = -1;

/**
 * Shortcut of an image: its record is there, and its lists decide. Any other shortcut but 0 is the
 * one answer, whoever asks.
 */
const SECRETS_DECIDE = 128;

/** Checks decisions; each one under way has a slot of its own. */
export class Verifier implements Readers {
  readonly ledger: Ledger;
  readonly #policy: VerificationPolicy;
  readonly behaviour: KubeletBehaviour;
  /** By image: whether the policy demands proof of a preloaded image, and of a pulled one. */
  readonly #verifiesUnknown: Uint8Array;
  readonly #verifiesPulled: Uint8Array;
  readonly #imageOf: Int32Array;
  readonly #sinceOf: Float64Array;
  readonly #masks: Uint8Array;
  readonly #credentials: (Credential | undefined)[];
  readonly #learnings: (Learning[] | undefined)[];
  /** 1 where only settled registers were looked at when the decision began. */
  readonly #isPlain: Uint8Array;
  /** By image: what `SECRETS_DECIDE` is about. */
  readonly #tracks: (NameTrack | undefined)[];
  /** Decisions about one reference are chained. */
  readonly #first: Int32Array;
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #openReads = new Set<{ readonly since: number }>();
  /** Details of the last evaluation; see `#evaluate`. */
  #matchable = 0;
  #learnable = 0;
  #sources = 0;
  #isSmall = true;
  #areSettled = true;
  /** Rises when a worker is killed, and when it has been replaced: odd in between. */
  disturbance = 0;
  readonly #disturbanceOf: Uint32Array;

  /** @param slotCount Decisions that may be under way at one time. */
  constructor(
    ledger: Ledger,
    policy: VerificationPolicy,
    slotCount: number,
    behaviour: KubeletBehaviour = KUBELET_BEHAVIOUR['v1.35'],
  ) {
    this.ledger = ledger;
    this.#policy = policy;
    this.behaviour = behaviour;
    const { universe } = ledger;
    const verifies = (isPulled: boolean): Uint8Array => {
      const compared = IMAGE_TEXT[behaviour.allowlistCompares];
      const byText = new Map<string, number>();
      return Uint8Array.from(universe.images, (image) => {
        const text = compared(image);
        const known = byText.get(text) ?? Number(mustVerify(policy, text, isPulled));
        byText.set(text, known);
        return known;
      });
    };
    this.#verifiesUnknown = verifies(false);
    this.#verifiesPulled = verifies(true);
    this.#imageOf = new Int32Array(slotCount).fill(NONE);
    this.#sinceOf = new Float64Array(slotCount);
    this.#disturbanceOf = new Uint32Array(slotCount);
    this.#masks = new Uint8Array(slotCount);
    this.#credentials = new Array<Credential | undefined>(slotCount).fill(undefined);
    this.#learnings = new Array<Learning[] | undefined>(slotCount).fill(undefined);
    this.#isPlain = new Uint8Array(slotCount);
    this.#tracks = new Array<NameTrack | undefined>(universe.images.length).fill(undefined);
    this.#first = new Int32Array(universe.refs.length).fill(NONE);
    this.#next = new Int32Array(slotCount).fill(NONE);
    this.#previous = new Int32Array(slotCount).fill(NONE);
    ledger.readers = this;
  }

  get policy(): VerificationPolicy {
    return this.#policy;
  }

  /** Whether a worker was killed or missing since `disturbance` was as given. */
  isDisturbed(since: number): boolean {
    return this.disturbance !== since || (since & 1) === 1;
  }

  /** A decision is about to be asked for. */
  begin(slot: number, image: number, credential: Credential): void {
    const { ledger } = this;
    const ref = ledger.universe.refOfImage[image]!;
    this.#imageOf[slot] = image;
    this.#sinceOf[slot] = ledger.clock;
    this.#disturbanceOf[slot] = this.disturbance;
    this.#credentials[slot] = credential;
    const first = this.#first[ref]!;
    this.#next[slot] = first;
    this.#previous[slot] = NONE;
    if (first !== NONE) this.#previous[first] = slot;
    this.#first[ref] = slot;
    this.#masks[slot] = this.#evaluate(slot);
    this.#isPlain[slot] = Number(this.#areSettled);
    if (this.#learnable !== 0) this.#beginLearnings(slot);
  }

  /**
   * The decision was answered.
   *
   * @param answer One of `ANSWER`, or the two bits of a plain yes or no.
   * @returns One of `VERDICT`. After `WRONG`, `describe` tells more until the slot is used again.
   */
  end(slot: number, answer: number): number {
    const { ledger } = this;
    const image = this.#imageOf[slot]!;
    const ref = ledger.universe.refOfImage[image]!;
    const since = this.#sinceOf[slot]!;
    this.#leaveChain(slot, ref);
    let mask = this.#masks[slot]!;
    const isQuiet = ledger.recordEvents[ref]! <= since && ledger.intentEvents[image]! <= since;
    if (this.#isPlain[slot] === 0 || !isQuiet) {
      mask = this.#evaluate(slot);
      this.#masks[slot] = mask;
      const seen = mask & answer;
      this.#endLearnings(slot, seen);
      if (seen === ANSWER.RECORD_FOUND) this.#observe(slot, ref, since);
      ledger.settle(ref);
      if (seen !== 0 && ledger.intents[image]!.isLost) return VERDICT.UNVERIFIABLE;
    }
    if ((mask & answer) === 0) return VERDICT.WRONG;
    // A plain "no" leaves open why, but not what.
    return (mask & ~answer) === 0 ? VERDICT.EXACT : VERDICT.EITHER;
  }

  /**
   * The decision failed or was called off: nothing is concluded from it.
   *
   * @param learning Whether it may add a secret to the record all the same.
   */
  cancel(slot: number, learning: LearningEnd = 'stray'): void {
    const { ledger } = this;
    this.#leaveChain(slot, ledger.universe.refOfImage[this.#imageOf[slot]!]!);
    for (const begun of this.#learnings[slot] ?? []) ledger.endLearning(begun, learning);
    this.#learnings[slot] = undefined;
  }

  /** Bits of the answers that were possible for the slot's decision. */
  possibleAnswers(slot: number): number {
    return this.#masks[slot]!;
  }

  /** A read of many records begins; pass the result to `endRead`. */
  beginRead(): { readonly since: number } {
    const read = { since: this.ledger.clock };
    this.#openReads.add(read);
    return read;
  }

  endRead(read: { readonly since: number }): void {
    this.#openReads.delete(read);
  }

  oldestRead(ref: number, clock: number): number {
    let oldest = clock;
    for (const { since } of this.#openReads) if (since < oldest) oldest = since;
    for (let slot = this.#first[ref]!; slot !== NONE; slot = this.#next[slot]!) {
      if (this.#sinceOf[slot]! < oldest) oldest = this.#sinceOf[slot]!;
    }
    return oldest;
  }

  writeBegan(ref: number): void {
    for (let slot = this.#first[ref]!; slot !== NONE; slot = this.#next[slot]!) {
      this.#evaluate(slot);
      // Each secret is registered at most once for a decision, so this ends.
      if (this.#learnable !== 0) this.#beginLearnings(slot);
    }
  }

  /**
   * Answers that are possible for a decision between its begin and now, as bits.
   *
   * Also sets `#matchable` and `#learnable`, bits by index of the offered secret: those that may
   * match, and those that the engine may then write; `#sources`, how many different things may
   * have given a "found"; `#isSmall`, whether the list is surely below the limit; `#areSettled`,
   * whether every register that was looked at has one value.
   */
  #evaluate(slot: number): number {
    const { ledger } = this;
    const image = this.#imageOf[slot]!;
    this.#matchable = 0;
    this.#learnable = 0;
    this.#sources = 0;
    this.#isSmall = true;
    this.#areSettled = true;
    const shortcut = ledger.shortcuts[image]!;
    if (shortcut === SECRETS_DECIDE) {
      return this.#evaluateLists(this.#tracks[image]!, slot, this.#sinceOf[slot]!);
    }
    const since = this.#sinceOf[slot]!;
    const ref = ledger.universe.refOfImage[image]!;
    const isQuiet = ledger.recordEvents[ref]! <= since && ledger.intentEvents[image]! <= since;
    return shortcut !== 0 && isQuiet ? shortcut : this.#evaluateRecord(slot, image, since);
  }

  #evaluateRecord(slot: number, image: number, since: number): number {
    const { ledger } = this;
    const { universe } = ledger;
    const ref = universe.refOfImage[image]!;
    const record = ledger.records[ref]!;
    const existence = this.#see(record.exists, 1, since);
    let mask = 0;
    if ((existence & SEEN.ABSENT) !== 0) {
      mask = this.#evaluateAbsence(image, since);
      // Of the intent the present counts, so nothing may have happened since.
      const isQuiet = ledger.recordEvents[ref]! <= since && ledger.intentEvents[image]! <= since;
      const isOne = mask === MUST || mask === ALLOWED;
      if (isQuiet && isOne && this.#areSettled) ledger.shortcuts[image] = mask;
    }
    if ((existence & SEEN.VALUE) === 0) return mask;
    const name = record.nameTrack(universe.nameOfImage[image]!);
    if (this.#verifiesPulled[image] === 0 || name === undefined) {
      const answer = this.#verifiesPulled[image] === 0 ? ALLOWED : MUST;
      if (this.#areSettled) ledger.shortcuts[image] = answer;
      return mask | answer;
    }
    const nodeWide = this.#see(name.nodeWide, 1, since);
    if (this.#areSettled) {
      this.#tracks[image] = name;
      const isNodeWide = nodeWide === SEEN.VALUE;
      ledger.shortcuts[image] = isNodeWide ? ANSWER.RECORD_FOUND : SECRETS_DECIDE;
    }
    if ((nodeWide & SEEN.VALUE) !== 0) {
      mask |= ANSWER.RECORD_FOUND;
      this.#sources++;
    }
    return (nodeWide & SEEN.ABSENT) === 0 ? mask : mask | this.#evaluateLists(name, slot, since);
  }

  /** Answers where there is no record, by whether there is an intent at the same moment. */
  #evaluateAbsence(image: number, since: number): number {
    const intent = this.ledger.intents[image]!;
    if (intent.isLost) this.#areSettled = false;
    let mask = 0;
    if (intent.isUnprotected || intent.lastUnprotected >= since) {
      mask |= this.#verifiesUnknown[image] === 1 ? MUST : ALLOWED;
    }
    if (intent.isProtected || intent.lastProtected >= since) {
      mask |= this.#verifiesPulled[image] === 1 ? MUST : ALLOWED;
    }
    return mask;
  }

  #evaluateLists(name: NameTrack, slot: number, since: number): number {
    const { secrets, account } = this.#credentials[slot]!;
    let mask = 0;
    for (let index = 0; index < secrets.length; index++) {
      const matches = this.#evaluateSecret(name, secrets[index]!, index, since);
      if ((matches & CAN_MATCH) !== 0) {
        mask |= ANSWER.RECORD_FOUND;
        this.#sources++;
        this.#matchable |= 1 << index;
      }
      if ((matches & CAN_MISS) === 0) return mask;
    }
    if (account !== NONE) {
      const seen = this.#see(name.accounts.get(account), 1, since);
      if ((seen & SEEN.VALUE) !== 0) {
        mask |= ANSWER.RECORD_FOUND;
        this.#sources++;
      }
      if ((seen & SEEN.ABSENT) === 0) return mask;
    }
    return mask | MUST;
  }

  #evaluateSecret(name: NameTrack, secret: SecretNumbers, index: number, since: number): number {
    const { place, hash, places } = secret;
    const { recordsMatches } = this.behaviour;
    const own = this.#see(name.secrets.get(place), hash, since);
    const size = name.secrets.size < MATCH_WRITE_LIMIT ? BELOW : this.#sizeOf(name, since);
    if (size !== BELOW) this.#isSmall = false;
    let matches = 0;
    let canMiss = false;
    if ((own & SEEN.VALUE) !== 0) matches |= CAN_MATCH;
    if ((own & SEEN.OTHER) !== 0 && !recordsMatches) {
      matches |= CAN_MATCH;
    } else if ((own & SEEN.OTHER) !== 0) {
      if ((size & BELOW) !== 0) {
        matches |= CAN_MATCH;
        this.#learnable |= 1 << index;
      }
      if ((size & AT_LIMIT) !== 0) canMiss = true;
    }
    if ((own & SEEN.ABSENT) !== 0) canMiss = true;
    // The same content in another tenant's secret opens the image as well.
    for (let at = 0; places.length > 1 && at < places.length; at++) {
      const other = places[at]!;
      if (other === place) continue;
      const seen = this.#see(name.secrets.get(other), hash, since);
      if ((seen & SEEN.VALUE) === 0) continue;
      matches |= CAN_MATCH;
      if (recordsMatches && own !== SEEN.VALUE && (size & BELOW) !== 0)
        this.#learnable |= 1 << index;
      if (seen === SEEN.VALUE) canMiss = false;
    }
    return canMiss ? matches | CAN_MISS : matches;
  }

  #see(register: Register | undefined, value: number, since: number): number {
    if (register === undefined) return SEEN.ABSENT;
    if (!register.isSettled) this.#areSettled = false;
    return register.possible(value, since);
  }

  /** Whether the list may be below the limit of writes while matching, or may not. */
  #sizeOf(name: NameTrack, since: number): number {
    let surely = 0;
    let possibly = 0;
    for (const place of name.secrets.values()) {
      const seen = this.#see(place, 0, since);
      if ((seen & SEEN.OTHER) !== 0) possibly++;
      if ((seen & SEEN.ABSENT) === 0) surely++;
    }
    if (possibly < MATCH_WRITE_LIMIT) return BELOW;
    return surely >= MATCH_WRITE_LIMIT ? AT_LIMIT : BELOW | AT_LIMIT;
  }

  #beginLearnings(slot: number): void {
    const { ledger } = this;
    const image = this.#imageOf[slot]!;
    const ref = ledger.universe.refOfImage[image]!;
    const { secrets } = this.#credentials[slot]!;
    const learnable = this.#learnable;
    let hasBegun = false;
    for (let index = 0; index < secrets.length; index++) {
      const secret = secrets[index]!;
      if ((learnable & (1 << index)) === 0) continue;
      this.#learnings[slot] ??= [];
      if (this.#learnings[slot].some((learning) => learning.secret === secret)) continue;
      const name = ledger.universe.nameOfImage[image]!;
      this.#learnings[slot].push(ledger.beginLearning(ref, name, secret));
      hasBegun = true;
    }
    if (hasBegun) this.writeBegan(ref);
  }

  #endLearnings(slot: number, seen: number): void {
    const learnings = this.#learnings[slot];
    if (learnings === undefined) return;
    this.#learnings[slot] = undefined;
    const { secrets } = this.#credentials[slot]!;
    for (const learning of learnings) {
      const bit = 1 << secrets.indexOf(learning.secret);
      // Whether it was written or was there already shows only together: see `#observe`.
      const isRuledOut =
        (seen & ANSWER.RECORD_FOUND) === 0 || (this.#sources === 1 && this.#matchable !== bit);
      this.ledger.endLearning(learning, isRuledOut ? 'never' : 'maybe');
    }
  }

  /**
   * A "found" that only one thing can have given shows that it was there. For a secret: that the
   * record held this very content or was made to, some time during the decision, unless the worker
   * died that was to: the decision stands without it.
   */
  #observe(slot: number, ref: number, since: number): void {
    const { ledger } = this;
    const record = ledger.records[ref]!;
    const name = record.nameTrack(ledger.universe.nameOfImage[this.#imageOf[slot]!]!)!;
    const { secrets, account } = this.#credentials[slot]!;
    const sources = this.#sources;
    ledger.observe(ref, record.exists, 1, since);
    if (sources !== 1) return;
    const matchable = this.#matchable;
    if (matchable === 0) {
      const register = name.nodeWide.possible(1, since) & SEEN.VALUE ? name.nodeWide : undefined;
      const seen = register ?? name.accounts.get(account);
      if (seen !== undefined) ledger.observe(ref, seen, 1, since);
    } else if (
      this.#isSmall &&
      this.behaviour.recordsMatches &&
      !this.isDisturbed(this.#disturbanceOf[slot]!)
    ) {
      const { place, hash } = secrets[31 - Math.clz32(matchable)]!;
      const register = name.secrets.get(place);
      if (register !== undefined) ledger.observe(ref, register, hash, since);
    }
  }

  #leaveChain(slot: number, ref: number): void {
    const next = this.#next[slot]!;
    const previous = this.#previous[slot]!;
    if (previous === NONE) this.#first[ref] = next;
    else this.#next[previous] = next;
    if (next !== NONE) this.#previous[next] = previous;
  }
}

const ALLOWED = ANSWER.POLICY_ALLOWED;
const MUST = ANSWER.MUST_AUTHENTICATE;
const CAN_MATCH = 1;
const CAN_MISS = 2;
const BELOW = 1;
const AT_LIMIT = 2;

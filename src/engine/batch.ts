/**
 * One batch of requests: what it touches, and what it does to that. Knows no locks, links or
 * versions; the owner takes it from step to step.
 */
import type { Awaitable, OwnedAccessor, RecordWrite } from '../accessors/accessor.ts';
import { type PullManagerError, storeError } from '../errors.ts';
import { REQUEST } from '../protocol/frames.ts';
import type { Key } from '../protocol/key.ts';
import type { OwnerLink, OwnerRequest } from '../protocol/owner-link.ts';
import { mergePulled } from '../records/merge.ts';
import { PulledRecord } from '../records/record.ts';
import type { InFlightTable } from './in-flight-table.ts';

/** A pulled record during a batch. */
export interface PulledKey {
  readonly key: Key;
  /** As the store has it, and as the requests so far leave it. */
  stored: PulledRecord | undefined;
  current: PulledRecord | undefined;
  error: PullManagerError | undefined;
  /** Requests that changed it, and its version before they did, once that is published. */
  changes: number;
  versionBefore: number;
  /** The link that was told last what the record is now. */
  shownTo: OwnerLink | undefined;
}

/** An intent and its counter during a batch. */
export interface IntentKey {
  readonly key: Key;
  stored: boolean;
  current: boolean;
  storedCount: number;
  count: number;
  error: PullManagerError | undefined;
  /** The store was asked to write or to delete it. */
  isWritten: boolean;
}

/** What becomes of one request of a batch. */
export interface Step {
  readonly request: OwnerRequest | PruneRequest;
  readonly pulled: PulledKey | undefined;
  readonly intent: IntentKey | undefined;
  error: Error | undefined;
  /** The store was asked to write something for it. */
  wrote: boolean;
  /** A PULLED that changed its record. */
  changedRecord: boolean;
  /** A READ that was answered before the commit. */
  isAnswered: boolean;
  /** What a READ saw at its place in the batch. */
  seenRecord: PulledRecord | undefined;
  seenIntent: boolean;
}

/** A request of the owner itself: delete a record, if it is still older than the cut-off. */
export interface PruneRequest {
  readonly op: typeof PRUNE;
  readonly image: undefined;
  readonly imageRef: Key;
  readonly untilMs: number;
  done(outcome: PruneOutcome): void;
}

/** `gone`: somebody else has deleted it meanwhile. */
export type PruneOutcome = 'pruned' | 'kept' | 'gone' | Error;

export const PRUNE = 100;

/** What a store holds, in records and intents. */
interface Holding {
  records: number;
  intents: number;
}

/** Why a store cannot take a write, before it is asked to; undefined where nothing is known against it. */
export type WriteRefusal = (write: RecordWrite) => Error | undefined;

/** What is known of the store before a batch is applied. */
export interface StoreOutlook {
  readonly refusalOf?: WriteRefusal | undefined;
  /** A commit has failed just now: the store takes no write. */
  readonly failure?: Error | undefined;
  /**
   * The last commit failed, and some of it may be durable, though the store does not show it. So what
   * need not be written is written all the same: only what a commit has written is sure.
   */
  readonly isInDoubt?: boolean;
}

/** The writes of a batch so far. */
class Writes {
  readonly all: RecordWrite[] = [];
  /** Whether what the store shows may not be what it would show after a crash. */
  readonly areDue: boolean;
  readonly #refusalOf: WriteRefusal | undefined;

  constructor({ refusalOf, failure, isInDoubt = false }: StoreOutlook) {
    this.areDue = isInDoubt;
    this.#refusalOf = failure === undefined ? refusalOf : () => failure;
  }

  /** Adds a write for a step; false: the store refuses it, and the step fails. */
  add(step: Step, write: RecordWrite): boolean {
    step.error = this.#refusalOf?.(write);
    if (step.error === undefined) this.all.push(write);
    return step.error === undefined;
  }
}

/** Requests that are committed together. */
export class Batch {
  readonly steps: readonly Step[];
  readonly pulled: Map<string, PulledKey> = new Map();
  readonly intents: Map<string, IntentKey> = new Map();
  readonly #inFlight: InFlightTable;

  constructor(requests: readonly (OwnerRequest | PruneRequest)[], inFlight: InFlightTable) {
    this.#inFlight = inFlight;
    const steps: Step[] = new Array(requests.length);
    for (let i = 0; i < requests.length; i++) {
      const request = requests[i]!;
      steps[i] = {
        request,
        pulled: request.imageRef === undefined ? undefined : this.#pulledKey(request.imageRef),
        intent: request.image === undefined ? undefined : this.#intentKey(request.image),
        error: undefined,
        wrote: false,
        changedRecord: false,
        isAnswered: false,
        seenRecord: undefined,
        seenIntent: false,
      };
    }
    this.steps = steps;
  }

  /** The stripes that it touches, ascending. */
  stripes(stripeCount: number): number[] {
    let mask = 0;
    for (const { request } of this.steps) {
      if (request.imageRef !== undefined)
        mask |= 1 << ((request.imageRef.hash >>> 0) % stripeCount);
      if (request.image !== undefined) mask |= 1 << ((request.image.hash >>> 0) % stripeCount);
    }
    const stripes: number[] = [];
    for (let stripe = 0; stripe < stripeCount; stripe++) {
      if ((mask >>> stripe) & 1) stripes.push(stripe);
    }
    return stripes;
  }

  /** Reads what the batch touches. Waits only for a store that does not answer at once. */
  load(accessor: OwnedAccessor): Awaitable<unknown> {
    const loading: Promise<void>[] = [];
    for (const pulled of this.pulled.values()) {
      try {
        const found = accessor.getImagePulledRecord(pulled.key.text);
        if (found instanceof Promise) loading.push(loadPulled(pulled, found));
        else if (found !== undefined) pulled.stored = PulledRecord.from(found);
      } catch (error) {
        pulled.error = storeError('reading a pulled record', error);
      }
    }
    for (const intent of this.intents.values()) {
      intent.storedCount = this.#inFlight.get(intent.key);
      try {
        const found = accessor.imagePullIntentExists(intent.key.text);
        if (found instanceof Promise) loading.push(loadIntent(intent, found));
        else intent.stored = found;
      } catch (error) {
        intent.error = storeError('reading an intent', error);
      }
    }
    return loading.length === 0 ? undefined : Promise.all(loading);
  }

  /**
   * Reads it all again, after a commit of which the store may have kept a part; answers how much more
   * the store holds than it seemed to.
   */
  async reload(accessor: OwnedAccessor): Promise<Holding> {
    const before = this.#held();
    for (const pulled of this.pulled.values()) {
      pulled.stored = undefined;
      pulled.error = undefined;
    }
    for (const intent of this.intents.values()) {
      intent.stored = false;
      intent.error = undefined;
    }
    await this.load(accessor);
    const after = this.#held();
    return { records: after.records - before.records, intents: after.intents - before.intents };
  }

  /**
   * Works out what the requests do, in order. What needs a write that the store refuses fails with the
   * refusal, and the rest takes effect.
   */
  apply(nowMs: number, outlook: StoreOutlook): RecordWrite[] {
    const { failure } = outlook;
    const writes = new Writes(outlook);
    for (const pulled of this.pulled.values()) {
      pulled.current = pulled.stored;
      pulled.changes = 0;
    }
    for (const intent of this.intents.values()) {
      intent.current = intent.stored;
      intent.count = intent.storedCount;
      intent.isWritten = false;
    }
    for (const step of this.steps) {
      // What the store may have kept of it is not known to be durable.
      step.changedRecord = false;
      step.error = step.wrote ? failure : undefined;
      if (step.error !== undefined) continue;
      const from = writes.all.length;
      this.#applyOne(step, nowMs, writes);
      step.wrote = writes.all.length > from;
    }
    return writes.all;
  }

  #applyOne(step: Step, nowMs: number, writes: Writes): void {
    const { request, pulled, intent } = step;
    switch (request.op) {
      case REQUEST.INTENT: {
        // Durable already while a pull is under way: writing it again would change nothing. One that
        // is only found may stem from a commit that failed half-way.
        const isDurable =
          intent!.count > 0 && intent!.current && intent!.error === undefined && !writes.areDue;
        if (!isDurable) {
          if (!writes.add(step, { op: 'writeIntent', image: intent!.key.text })) return;
          intent!.current = true;
          intent!.isWritten = true;
        }
        intent!.count++;
        return;
      }
      case REQUEST.OUTCOME:
        this.#endPull(step, intent!, writes);
        return;
      case REQUEST.PULLED: {
        const { imageName, credentials } = request;
        // A damaged record protects nothing that a new one would not; any other trouble may pass,
        // and replacing what could not be read would lose other tenants' proofs.
        if (pulled!.error !== undefined && !isCorrupt(pulled!.error)) {
          step.error = pulled!.error;
          return;
        }
        const before = pulled!.current;
        const record = mergePulled(before, pulled!.key.text, imageName, credentials, nowMs);
        const isChanged = record !== before;
        if (isChanged || writes.areDue) {
          const isWhole = before === undefined || credentials === null || writes.areDue;
          const change = isWhole ? undefined : { imageName, credentials };
          if (!writes.add(step, { op: 'writePulled', record, change })) return;
        }
        if (isChanged) {
          pulled!.current = record;
          pulled!.changes++;
          step.changedRecord = true;
        }
        if (intent !== undefined) this.#endPull(step, intent, writes);
        return;
      }
      case REQUEST.READ:
        step.seenRecord = pulled?.current;
        step.seenIntent = intent !== undefined && isVisible(intent.current, intent.count);
        return;
      default: {
        const record = pulled!.current;
        if (record === undefined || record.updatedAtMs >= (request as PruneRequest).untilMs) return;
        if (!writes.add(step, { op: 'deletePulled', imageRef: pulled!.key.text })) return;
        pulled!.current = undefined;
        pulled!.changes++;
      }
    }
  }

  /** One pull of an image ends; with the last one its intent goes. */
  #endPull(step: Step, intent: IntentKey, writes: Writes): void {
    if (intent.count > 1) {
      intent.count--;
      return;
    }
    const isKnownAbsent = !intent.current && intent.error === undefined;
    // Counts were lost: other pulls of this image may be under way, so the intent must stay until
    // the next start reconciles it.
    const mustStay = !this.#inFlight.isComplete;
    if ((!isKnownAbsent || writes.areDue) && !mustStay) {
      if (!writes.add(step, { op: 'deleteIntent', image: intent.key.text })) return;
      intent.current = false;
      intent.isWritten = true;
    }
    intent.count = 0;
  }

  #held(): Holding {
    let records = 0;
    let intents = 0;
    for (const { stored } of this.pulled.values()) if (stored !== undefined) records++;
    for (const { stored } of this.intents.values()) if (stored) intents++;
    return { records, intents };
  }

  #pulledKey(key: Key): PulledKey {
    let found = this.pulled.get(key.text);
    if (found === undefined) {
      found = {
        key,
        stored: undefined,
        current: undefined,
        error: undefined,
        changes: 0,
        versionBefore: 0,
        shownTo: undefined,
      };
      this.pulled.set(key.text, found);
    }
    return found;
  }

  #intentKey(key: Key): IntentKey {
    let found = this.intents.get(key.text);
    if (found === undefined) {
      found = {
        key,
        stored: false,
        current: false,
        storedCount: 0,
        count: 0,
        error: undefined,
        isWritten: false,
      };
      this.intents.set(key.text, found);
    }
    return found;
  }
}

/** Whether an image counts as being pulled. */
export function isVisible(stored: boolean, count: number): boolean {
  return stored || count > 0;
}

/** Whether what replicas know of an intent may differ from what the batch has left. */
export function changesIntent(intent: IntentKey): boolean {
  const { current, count, stored, storedCount } = intent;
  return isReplacedUnread(intent) || isVisible(current, count) !== isVisible(stored, storedCount);
}

/** Whether an intent was written or deleted of which it is not known whether it was there. */
export function isReplacedUnread({ error, isWritten }: IntentKey): boolean {
  return error !== undefined && isWritten;
}

/** What has become of a record that was to be deleted. */
export function pruneOutcome({ error, wrote, pulled }: Step): PruneOutcome {
  const failure = error ?? pulled!.error;
  if (failure !== undefined) return failure;
  if (wrote) return 'pruned';
  return pulled!.current === undefined ? 'gone' : 'kept';
}

function isCorrupt(error: PullManagerError): boolean {
  return error.code === 'ERR_PULLMANAGER_RECORD_CORRUPT';
}

async function loadPulled(pulled: PulledKey, found: Promise<unknown>): Promise<void> {
  try {
    const record = await found;
    if (record !== undefined) pulled.stored = PulledRecord.from(record as PulledRecord);
  } catch (error) {
    pulled.error = storeError('reading a pulled record', error);
  }
}

async function loadIntent(intent: IntentKey, found: Promise<boolean>): Promise<void> {
  try {
    intent.stored = await found;
  } catch (error) {
    intent.error = storeError('reading an intent', error);
  }
}

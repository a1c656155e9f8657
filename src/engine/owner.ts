/**
 * What owns records: takes requests from the links of all host threads in batches, merges, commits
 * each batch with one flush, publishes the versions, and answers.
 *
 * The same code runs in a worker thread and, with `workerCount: 0`, in the calling thread. Every
 * batch goes: lock the stripes it touches, in ascending order → load → apply in order → commit →
 * publish → unlock → answer. Nothing is published, answered or counted before it is durable.
 */
import type { AccessorContext, OwnedAccessor, RecordWrite } from '../accessors/accessor.ts';
import { PullManagerError, storeError } from '../errors.ts';
import { fnv1 } from '../locks/stripe.ts';
import type { StripedLockSet } from '../locks/striped-lock-set.ts';
import { type SharedHistogram, type SharedMetrics, WORKER_ROW } from '../metrics/shared-metrics.ts';
import { REQUEST, STATE } from '../protocol/frames.ts';
import type { Key, OwnerCall, OwnerRequest } from '../protocol/owner-link.ts';
import { OwnerLink } from '../protocol/owner-link.ts';
import { mergePulled } from '../records/merge.ts';
import { PulledRecord } from '../records/record.ts';
import type { InFlightTable } from './in-flight-table.ts';
import { type Job, startJob } from './jobs.ts';
import { HOST_COUNT, type SharedState, WORKER } from './shared-state.ts';

/** Requests in one batch, and so in one commit. */
const BATCH_MAX = 4096;

/** A pulled record during a batch. */
interface PulledKey {
  readonly key: Key;
  /** As the store has it, and as the requests so far leave it. */
  stored: PulledRecord | undefined;
  current: PulledRecord | undefined;
  error: PullManagerError | undefined;
}

/** An intent and its counter during a batch. */
interface IntentKey {
  readonly key: Key;
  stored: boolean;
  current: boolean;
  storedCount: number;
  count: number;
  error: PullManagerError | undefined;
}

/** What becomes of one request of a batch. */
interface Step {
  readonly request: OwnerRequest | PruneRequest;
  readonly pulled: PulledKey | undefined;
  readonly intent: IntentKey | undefined;
  error: Error | undefined;
  /** The store was asked to write something for it. */
  wrote: boolean;
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
  done(outcome: 'pruned' | 'kept' | Error): void;
}

export const PRUNE = 100;

export interface OwnerOptions {
  readonly state: SharedState;
  readonly context: AccessorContext;
  readonly accessor: OwnedAccessor;
  readonly locks: StripedLockSet;
  readonly inFlight: InFlightTable;
  readonly metrics: SharedMetrics;
  /** Wall clock in milliseconds. */
  readonly now: () => number;
}

/** Owner of the stripes `s` with `s mod workerCount = workerIndex`. Used by one thread. */
export class Owner {
  readonly accessor: OwnedAccessor;
  readonly context: AccessorContext;
  readonly #state: SharedState;
  readonly #locks: StripedLockSet;
  readonly #inFlight: InFlightTable;
  readonly #metrics: SharedMetrics;
  readonly #row: Float64Array;
  readonly #batchSizes: SharedHistogram;
  readonly #latencies: SharedHistogram;
  readonly #now: () => number;
  readonly #links: OwnerLink[];
  readonly #jobs: Job[] = [];
  readonly #pulled = new Map<string, PulledKey>();
  readonly #intents = new Map<string, IntentKey>();
  #firstLink = 0;

  constructor(options: OwnerOptions) {
    const { state, context, metrics } = options;
    this.accessor = options.accessor;
    this.context = context;
    this.#state = state;
    this.#locks = options.locks;
    this.#inFlight = options.inFlight;
    this.#metrics = metrics;
    this.#row = metrics.workerRow(context.workerIndex);
    this.#batchSizes = metrics.batchSizes(context.workerIndex);
    this.#latencies = metrics.commitLatencies(context.workerIndex);
    this.#now = options.now;
    this.#links = Array.from(
      { length: HOST_COUNT },
      (_, host) => new OwnerLink(state, host, context.workerIndex, context.generation),
    );
  }

  /**
   * Claims the stripes and counts what the store holds. The claim is a compare-and-swap from an
   * older generation's, so of two owners for one stripe at most one gets on.
   */
  async start(): Promise<void> {
    const { workerIndex, workerCount, generation, stripeCount } = this.context;
    const claim = claimOf(workerIndex, generation);
    for (let stripe = workerIndex; stripe < stripeCount; stripe += workerCount) {
      const at = this.#state.stripesAt + stripe;
      const found = Atomics.load(this.#state.words, at);
      const isNewer = found === 0 || found < claim;
      const isSwapped =
        isNewer && Atomics.compareExchange(this.#state.words, at, found, claim) === found;
      if (!isSwapped) throw this.#fenced(stripe);
    }
    await this.#countStore();
    // The dead predecessor may have flushed what it never published: no replica may go on trusting
    // what it knows of our keys.
    if (generation > 1) {
      const { versions } = this.#state;
      for (let slot = 0; slot < versions.length; slot++) Atomics.add(versions, slot, 1);
    }
  }

  /** Sets the gauges. Where the store is everybody's, one owner counts it, and a replacement again. */
  async #countStore(): Promise<void> {
    const { workerIndex, generation } = this.context;
    const isOwn = this.accessor.listsOnlyOwnKeys;
    if (!isOwn && workerIndex > 0 && generation === 1) return;
    const { records, intents } = await this.accessor.count();
    const { RECORDS, INTENTS } = WORKER_ROW;
    const others = (field: number): number =>
      isOwn ? 0 : this.#metrics.workerSum(field) - this.#row[field]!;
    this.#row[RECORDS] = records - others(RECORDS);
    this.#row[INTENTS] = intents - others(INTENTS);
  }

  /** Whether `turn` would find something to do. */
  hasWork(): boolean {
    for (const job of this.#jobs) if (job.isReady()) return true;
    for (const link of this.#links) if (link.hasRequests() || link.canFlush()) return true;
    return false;
  }

  /** Whether answers wait until a host makes room for them. */
  waitsForHost(): boolean {
    return this.#jobs.length > 0 || this.#links.some((link) => link.hasBacklog);
  }

  /** Takes, commits and answers one batch. */
  async turn(): Promise<void> {
    const batch: OwnerRequest[] = [];
    const calls: OwnerCall[] = [];
    // A different host is first each time, so that none is starved by a full batch.
    this.#firstLink = (this.#firstLink + 1) % this.#links.length;
    for (let i = 0; i < this.#links.length; i++) {
      const link = this.#links[(this.#firstLink + i) % this.#links.length]!;
      if (batch.length >= BATCH_MAX || !link.hasRequests()) continue;
      const call = link.take(batch, BATCH_MAX);
      if (call !== undefined) calls.push(call);
    }
    if (batch.length > 0) await this.run(batch);
    for (const call of calls) this.#jobs.push(startJob(this, call));
    await this.#stepJobs();
    for (const link of this.#links) link.flush();
  }

  /** Runs requests as one batch. */
  async run(batch: readonly (OwnerRequest | PruneRequest)[]): Promise<void> {
    const steps = this.#prepare(batch);
    const stripes = stripesOf(steps, this.context.stripeCount);
    try {
      await this.#lock(stripes);
    } catch (error) {
      for (const step of steps) step.error = error as Error;
      this.#answer(steps);
      return;
    }
    try {
      await this.#load();
      const nowMs = this.#now();
      const writes = this.#apply(steps, nowMs, undefined);
      if (writes.length > 0) {
        const failure = await this.#commit(writes);
        // Nothing of the batch was written: only what needs no write takes effect.
        if (failure !== undefined) {
          this.#distrust(writes);
          await this.#reload();
          this.#apply(steps, nowMs, failure);
        }
      }
      this.#publish();
    } finally {
      for (const stripe of stripes) this.#locks.unlockStripe(stripe);
      this.#pulled.clear();
      this.#intents.clear();
    }
    this.#answer(steps);
  }

  #prepare(batch: readonly (OwnerRequest | PruneRequest)[]): Step[] {
    const steps: Step[] = new Array(batch.length);
    for (let i = 0; i < batch.length; i++) {
      const request = batch[i]!;
      steps[i] = {
        request,
        pulled: request.imageRef === undefined ? undefined : this.#pulledKey(request.imageRef),
        intent: request.image === undefined ? undefined : this.#intentKey(request.image),
        error: undefined,
        wrote: false,
        seenRecord: undefined,
        seenIntent: false,
      };
    }
    return steps;
  }

  #pulledKey(key: Key): PulledKey {
    let found = this.#pulled.get(key.text);
    if (found === undefined) {
      found = { key, stored: undefined, current: undefined, error: undefined };
      this.#pulled.set(key.text, found);
    }
    return found;
  }

  #intentKey(key: Key): IntentKey {
    let found = this.#intents.get(key.text);
    if (found === undefined) {
      found = { key, stored: false, current: false, storedCount: 0, count: 0, error: undefined };
      this.#intents.set(key.text, found);
    }
    return found;
  }

  async #lock(stripes: readonly number[]): Promise<void> {
    const locked: number[] = [];
    try {
      for (const stripe of stripes) {
        if (this.context.mayBlock) {
          this.#locks.lockStripe(stripe);
        } else {
          // The thread belongs to the host: somebody else on it may hold the stripe.
          while (!this.#locks.tryLockStripe(stripe)) {
            const unlock = await this.#locks.lockStripeAsync(stripe);
            unlock();
          }
        }
        locked.push(stripe);
      }
    } catch (error) {
      for (const stripe of locked) this.#locks.unlockStripe(stripe);
      this.#pulled.clear();
      this.#intents.clear();
      throw error;
    }
  }

  /** Reads what the batch touches. Waits only for a store that does not answer at once. */
  #load(): Promise<unknown> | undefined {
    const loading: Promise<void>[] = [];
    for (const pulled of this.#pulled.values()) {
      try {
        const found = this.accessor.getImagePulledRecord(pulled.key.text);
        if (found instanceof Promise) loading.push(loadPulled(pulled, found));
        else if (found !== undefined) pulled.stored = PulledRecord.from(found);
      } catch (error) {
        pulled.error = storeError('reading a pulled record', error);
      }
    }
    for (const intent of this.#intents.values()) {
      intent.storedCount = this.#inFlight.get(intent.key);
      try {
        const found = this.accessor.imagePullIntentExists(intent.key.text);
        if (found instanceof Promise) loading.push(loadIntent(intent, found));
        else intent.stored = found;
      } catch (error) {
        intent.error = storeError('reading an intent', error);
      }
    }
    return loading.length === 0 ? undefined : Promise.all(loading);
  }

  /** Reads it all again, after a commit of which the store may have kept a part. */
  async #reload(): Promise<void> {
    let records = 0;
    let intents = 0;
    for (const pulled of this.#pulled.values()) {
      records -= Number(pulled.stored !== undefined);
      pulled.stored = undefined;
      pulled.error = undefined;
    }
    for (const intent of this.#intents.values()) {
      intents -= Number(intent.stored);
      intent.stored = false;
      intent.error = undefined;
    }
    await this.#load();
    for (const pulled of this.#pulled.values()) records += Number(pulled.stored !== undefined);
    for (const intent of this.#intents.values()) intents += Number(intent.stored);
    this.#row[WORKER_ROW.RECORDS]! += records;
    this.#row[WORKER_ROW.INTENTS]! += intents;
  }

  /**
   * Works out what the requests do, in order. With `failure`, the store takes no writes: whatever
   * needs one fails with it, and the rest takes effect.
   */
  #apply(steps: readonly Step[], nowMs: number, failure: Error | undefined): RecordWrite[] {
    const writes: RecordWrite[] = [];
    for (const pulled of this.#pulled.values()) pulled.current = pulled.stored;
    for (const intent of this.#intents.values()) {
      intent.current = intent.stored;
      intent.count = intent.storedCount;
    }
    for (const step of steps) {
      // What the store may have kept of it is not known to be durable.
      step.error = step.wrote ? failure : undefined;
      if (step.error !== undefined) continue;
      const from = writes.length;
      this.#applyOne(step, nowMs, writes, failure);
      step.wrote = writes.length > from;
    }
    return writes;
  }

  #applyOne(step: Step, nowMs: number, writes: RecordWrite[], failure: Error | undefined): void {
    const { request, pulled, intent } = step;
    switch (request.op) {
      case REQUEST.INTENT: {
        // Durable already: writing it again would change nothing.
        if (!intent!.current || intent!.error !== undefined) {
          if (failure !== undefined) {
            step.error = failure;
            return;
          }
          writes.push({ op: 'writeIntent', image: intent!.key.text });
          intent!.current = true;
        }
        intent!.count++;
        return;
      }
      case REQUEST.OUTCOME:
        this.#endPull(step, intent!, writes, failure);
        return;
      case REQUEST.PULLED: {
        const { imageName, credentials } = request as OwnerRequest;
        // A damaged record protects nothing that a new one would not; any other trouble may pass,
        // and replacing what could not be read would lose other tenants' proofs.
        if (pulled!.error !== undefined && !isCorrupt(pulled!.error)) {
          step.error = pulled!.error;
          return;
        }
        const before = pulled!.current;
        const record = mergePulled(before, pulled!.key.text, imageName, credentials, nowMs);
        if (record !== before) {
          if (failure !== undefined) {
            step.error = failure;
            return;
          }
          const change =
            before === undefined || credentials === null ? undefined : { imageName, credentials };
          writes.push({ op: 'writePulled', record, change });
          pulled!.current = record;
        }
        if (intent !== undefined) this.#endPull(step, intent, writes, failure);
        return;
      }
      case REQUEST.READ:
        step.seenRecord = pulled?.current;
        step.seenIntent = intent !== undefined && isVisible(intent.current, intent.count);
        return;
      default: {
        const record = pulled!.current;
        if (record === undefined || record.updatedAtMs >= (request as PruneRequest).untilMs) return;
        if (failure !== undefined) {
          step.error = failure;
          return;
        }
        writes.push({ op: 'deletePulled', imageRef: pulled!.key.text });
        pulled!.current = undefined;
      }
    }
  }

  /** One pull of an image ends; with the last one its intent goes. */
  #endPull(step: Step, intent: IntentKey, writes: RecordWrite[], failure: Error | undefined): void {
    if (intent.count > 1) {
      intent.count--;
      return;
    }
    const isKnownAbsent = !intent.current && intent.error === undefined;
    // Counts were lost: other pulls of this image may be under way, so the intent must stay until
    // the next start reconciles it.
    const mustStay = !this.#inFlight.isComplete;
    if (!isKnownAbsent && !mustStay) {
      if (failure !== undefined) {
        step.error = failure;
        return;
      }
      writes.push({ op: 'deleteIntent', image: intent.key.text });
      intent.current = false;
    }
    intent.count = 0;
  }

  async #commit(writes: readonly RecordWrite[]): Promise<Error | undefined> {
    const { workerIndex, generation } = this.context;
    const generationAt = this.#state.workerAt(workerIndex) + WORKER.GENERATION;
    if (Atomics.load(this.#state.words, generationAt) !== generation) throw this.#fenced(undefined);
    const startedNs = process.hrtime.bigint();
    try {
      const done = this.accessor.commit(writes);
      if (done instanceof Promise) await done;
    } catch (error) {
      this.#row[WORKER_ROW.COMMIT_FAILURES]!++;
      return storeError('writing records', error);
    }
    this.#latencies.record(Number(process.hrtime.bigint() - startedNs));
    this.#batchSizes.record(writes.length);
    this.#row[WORKER_ROW.WRITTEN_BYTES] = this.accessor.writtenBytes;
    return undefined;
  }

  /** The store may have kept some of a failed batch: no replica may go on with what it knows. */
  #distrust(writes: readonly RecordWrite[]): void {
    const { versions, slotMask } = this.#state;
    for (const write of writes) {
      let text: string;
      if (write.op === 'writePulled') text = write.record.imageRef;
      else text = write.op === 'deletePulled' ? write.imageRef : write.image;
      Atomics.add(versions, fnv1(text) & slotMask, 1);
    }
  }

  /** Makes what the batch did visible: counters first, then the versions. */
  #publish(): void {
    const { versions, slotMask } = this.#state;
    const row = this.#row;
    for (const { key, stored, current } of this.#pulled.values()) {
      if (current === stored) continue;
      row[WORKER_ROW.RECORDS]! += Number(current !== undefined) - Number(stored !== undefined);
      Atomics.add(versions, key.hash & slotMask, 1);
    }
    for (const { key, stored, current, storedCount, count } of this.#intents.values()) {
      row[WORKER_ROW.INTENTS]! += Number(current) - Number(stored);
      if (count !== storedCount) this.#inFlight.set(key, count);
      if (isVisible(current, count) !== isVisible(stored, storedCount)) {
        Atomics.add(versions, key.hash & slotMask, 1);
      }
    }
  }

  #answer(steps: readonly Step[]): void {
    for (const step of steps) {
      const { request, error } = step;
      if (isPrune(request)) {
        const isGone = step.pulled!.current === undefined;
        request.done(error ?? step.pulled!.error ?? (isGone ? 'pruned' : 'kept'));
      } else if (error !== undefined) {
        request.link.fail(request, error);
      } else if (request.op === REQUEST.READ) {
        this.#answerRead(step, request);
      } else {
        request.link.finish(request);
      }
    }
  }

  #answerRead(step: Step, request: OwnerRequest): void {
    const { pulled, intent, seenRecord } = step;
    const error = pulled?.error ?? (seenRecord === undefined ? intent?.error : undefined);
    if (error !== undefined) {
      request.link.fail(request, error);
      return;
    }
    const { versions, slotMask } = this.#state;
    let flags = 0;
    let recordVersion = 0;
    let intentVersion = 0;
    if (pulled !== undefined) {
      // A later request of the batch may have changed it: right for this caller, but not to be kept.
      if (seenRecord === pulled.current) flags |= STATE.KEEP_RECORD;
      recordVersion = Atomics.load(versions, pulled.key.hash & slotMask);
    }
    if (intent !== undefined && intent.error === undefined) {
      flags |= STATE.KNOWS_INTENT;
      if (step.seenIntent) flags |= STATE.HAS_INTENT;
      if (step.seenIntent === isVisible(intent.current, intent.count)) flags |= STATE.KEEP_INTENT;
      intentVersion = Atomics.load(versions, intent.key.hash & slotMask);
    }
    request.link.answerState(request, flags, seenRecord, recordVersion, intentVersion);
  }

  async #stepJobs(): Promise<void> {
    const next = this.#jobs.findIndex((job) => job.isReady());
    if (next < 0) return;
    const [job] = this.#jobs.splice(next, 1);
    if (!(await job!.step())) this.#jobs.push(job!);
  }

  /** Whether a key belongs to this owner. */
  owns(text: string): boolean {
    const { workerIndex, workerCount, stripeCount } = this.context;
    return (fnv1(text) % stripeCount) % workerCount === workerIndex;
  }

  #fenced(stripeIndex: number | undefined): PullManagerError {
    const { workerIndex, generation } = this.context;
    return new PullManagerError(
      'WORKER_LOST',
      `worker ${workerIndex} of generation ${generation} no longer owns its stripes`,
      { workerIndex, stripeIndex },
    );
  }
}

function claimOf(workerIndex: number, generation: number): number {
  return ((workerIndex + 1) << 24) | (generation & 0xff_ffff);
}

function isVisible(stored: boolean, count: number): boolean {
  return stored || count > 0;
}

function isCorrupt(error: PullManagerError): boolean {
  return error.code === 'ERR_PULLMANAGER_RECORD_CORRUPT';
}

function isPrune(request: OwnerRequest | PruneRequest): request is PruneRequest {
  return request.op === PRUNE;
}

/** The stripes that a batch touches, ascending. */
function stripesOf(steps: readonly Step[], stripeCount: number): number[] {
  let mask = 0;
  for (const { request } of steps) {
    if (request.imageRef !== undefined) mask |= 1 << ((request.imageRef.hash >>> 0) % stripeCount);
    if (request.image !== undefined) mask |= 1 << ((request.image.hash >>> 0) % stripeCount);
  }
  const stripes: number[] = [];
  for (let stripe = 0; stripe < stripeCount; stripe++) {
    if ((mask >>> stripe) & 1) stripes.push(stripe);
  }
  return stripes;
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

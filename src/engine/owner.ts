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
import { fnv1, ownerOf, stripeOf } from '../locks/stripe.ts';
import type { StripedLockSet } from '../locks/striped-lock-set.ts';
import { type SharedHistogram, type SharedMetrics, WORKER_ROW } from '../metrics/shared-metrics.ts';
import { REQUEST, STATE } from '../protocol/frames.ts';
import type { OwnerCall, OwnerRequest } from '../protocol/owner-link.ts';
import { OwnerLink } from '../protocol/owner-link.ts';
import { HOST_COUNT, type SharedState, WORKER } from '../protocol/shared-state.ts';
import { raiseAll, UnpublishedSlots } from '../protocol/unpublished-slots.ts';
import {
  Batch,
  changesIntent,
  isReplacedUnread,
  isVisible,
  PRUNE,
  type PruneRequest,
  pruneOutcome,
  type Step,
  type WriteRefusal,
} from './batch.ts';
import type { InFlightTable } from './in-flight-table.ts';
import { type Job, startJob } from './jobs.ts';
import { StoreGauges } from './store-gauges.ts';

/** Requests in one batch, and so in one commit. */
const BATCH_MAX = 4096;

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
  readonly #unpublished: UnpublishedSlots;
  readonly #gauges: StoreGauges;
  readonly #row: Float64Array;
  readonly #batchSizes: SharedHistogram;
  readonly #latencies: SharedHistogram;
  readonly #now: () => number;
  readonly #refusalOf: WriteRefusal | undefined;
  readonly #links: OwnerLink[];
  readonly #jobs: Job[] = [];
  #firstLink = 0;
  /** The last commit failed; what it did to the store is not known before another one succeeds. */
  #isInDoubt = false;
  /** Why the owner cannot go on. */
  #failure: Error | undefined;

  constructor(options: OwnerOptions) {
    const { state, context, metrics } = options;
    this.accessor = options.accessor;
    this.context = context;
    this.#state = state;
    this.#locks = options.locks;
    this.#inFlight = options.inFlight;
    this.#unpublished = new UnpublishedSlots(state, context.workerIndex);
    this.#gauges = new StoreGauges({ ...options, locks: options.locks.handle });
    this.#row = metrics.workerRow(context.workerIndex);
    this.#batchSizes = metrics.batchSizes(context.workerIndex);
    this.#latencies = metrics.commitLatencies(context.workerIndex);
    this.#now = options.now;
    this.#refusalOf = this.accessor.refusalOf?.bind(this.accessor);
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
    // What the store holds may have changed with its opening, as that of a store in memory: no replica
    // may go on trusting what it knows of our keys.
    if (generation > 1) raiseAll(this.#state.versions);
    await this.#gauges.start();
  }

  /** Whether `turn` would find something to do. */
  hasWork(): boolean {
    if (this.#gauges.isRecountDue || this.accessor.hasForeignChanges === true) return true;
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
    if (this.accessor.hasForeignChanges === true) await this.#takeForeignChanges();
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
    if (this.#gauges.isRecountDue) await this.#gauges.recount();
  }

  /**
   * Runs requests as one batch. Rejects where the owner cannot go on: it may have written what it has
   * not published. A job that fails of it must not hide that.
   */
  async run(requests: readonly (OwnerRequest | PruneRequest)[]): Promise<void> {
    try {
      await this.#run(requests);
    } catch (error) {
      this.#failure ??= error as Error;
      throw error;
    }
  }

  async #run(requests: readonly (OwnerRequest | PruneRequest)[]): Promise<void> {
    const batch = new Batch(requests, this.#inFlight);
    const stripes = batch.stripes(this.context.stripeCount);
    try {
      await this.#lock(stripes);
    } catch (error) {
      for (const step of batch.steps) step.error = error as Error;
      this.#answer(batch);
      return;
    }
    try {
      await batch.load(this.accessor);
      const nowMs = this.#now();
      const refusalOf = this.#refusalOf;
      const writes = batch.apply(nowMs, { refusalOf, isInDoubt: this.#isInDoubt });
      if (writes.length > 0) this.#answerEarly(batch);
      this.#announce(batch);
      const failure = writes.length === 0 ? undefined : await this.#commit(writes);
      if (failure !== undefined) {
        this.#distrust(writes);
        const { records, intents } = await batch.reload(this.accessor);
        this.#gauges.add(records, intents);
        batch.apply(nowMs, { failure, isInDoubt: this.#isInDoubt });
      }
      this.#publish(batch);
      this.#unpublished.withdraw();
    } finally {
      this.#unlock(stripes);
    }
    this.#answer(batch);
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
      this.#unlock(locked);
      throw error;
    }
  }

  /** Frees all of them, even where one was taken away. */
  #unlock(stripes: readonly number[]): void {
    let failure: unknown;
    for (const stripe of stripes) {
      try {
        this.#locks.unlockStripe(stripe);
      } catch (error) {
        failure ??= error;
      }
    }
    if (failure !== undefined) throw failure;
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
      this.#isInDoubt = true;
      return storeError('writing records', error);
    }
    this.#isInDoubt = false;
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

  /** Somebody else wrote to the store: the replicas forget what they knew of those keys. */
  async #takeForeignChanges(): Promise<void> {
    const changed = this.accessor.takeForeignChanges?.() ?? [];
    if (changed.length === 0) return;
    const { versions, slotMask } = this.#state;
    if (changed === 'all') raiseAll(versions);
    else for (const key of changed) Atomics.add(versions, fnv1(key) & slotMask, 1);
    await this.#gauges.start();
  }

  /** Leaves word of what `publish` is to make visible, should this thread not come to it. */
  #announce({ pulled, intents }: Batch): void {
    const unpublished = this.#unpublished;
    for (const { key, stored, current } of pulled.values()) {
      if (current !== stored) unpublished.add(key.hash);
    }
    for (const intent of intents.values()) {
      if (changesIntent(intent)) unpublished.add(intent.key.hash);
    }
    unpublished.announce();
  }

  /** Makes what the batch did visible: counters first, then the versions. */
  #publish({ pulled, intents }: Batch): void {
    const { versions, slotMask } = this.#state;
    const gauges = this.#gauges;
    for (const found of pulled.values()) {
      const { key, stored, current, error } = found;
      if (current === stored) continue;
      if (error !== undefined) gauges.doubt();
      gauges.add(Number(current !== undefined) - Number(stored !== undefined), 0);
      found.versionBefore = Atomics.add(versions, key.hash & slotMask, 1);
    }
    for (const intent of intents.values()) {
      const { key, stored, current, storedCount, count } = intent;
      const isNews = changesIntent(intent);
      if (isReplacedUnread(intent)) gauges.doubt();
      gauges.add(0, Number(current) - Number(stored));
      if (count !== storedCount) this.#inFlight.set(key, count);
      if (isNews) Atomics.add(versions, key.hash & slotMask, 1);
    }
  }

  /**
   * Answers the reads that saw nothing of this batch: what they saw is durable and current, and need
   * not wait for the flush.
   */
  #answerEarly({ steps }: Batch): void {
    let any = false;
    for (const step of steps) {
      const { request, pulled, intent } = step;
      if (request.op !== REQUEST.READ || isPrune(request)) continue;
      const sawStored =
        step.seenRecord === pulled?.stored &&
        (intent === undefined || step.seenIntent === isVisible(intent.stored, intent.storedCount));
      if (!sawStored || pulled?.error !== undefined || intent?.error !== undefined) continue;
      this.#answerRead(step, request, STATE.KEEP_RECORD | STATE.KEEP_INTENT);
      step.isAnswered = true;
      any = true;
    }
    if (any) for (const link of this.#links) link.flush();
  }

  #answer({ steps }: Batch): void {
    for (const step of steps) {
      const { request, error } = step;
      if (isPrune(request)) {
        request.done(pruneOutcome(step));
      } else if (error !== undefined) {
        request.link.fail(request, error);
      } else if (request.op === REQUEST.READ && !step.isAnswered) {
        this.#answerRead(step, request, keepableNow(step));
        request.link.finish(request);
      } else {
        if (request.wantsState) this.#showRecord(step, request);
        request.link.finish(request);
      }
    }
  }

  /** Tells the host of a PULLED what the record is now: it has decided on it and is likely to again. */
  #showRecord({ pulled, changedRecord }: Step, request: OwnerRequest): void {
    const { key, current, stored, changes, versionBefore, error } = pulled!;
    if (current === undefined || pulled!.shownTo === request.link) return;
    pulled!.shownTo = request.link;
    // Sound whoever else raises the slot: that version was the record's until this batch.
    // Not over a damaged one, of which the host may know what was there before.
    if (changedRecord && changes === 1 && current !== stored && error === undefined) {
      request.link.answerMerged(request, versionBefore, current.updatedAtMs);
      return;
    }
    const { versions, slotMask } = this.#state;
    const version = Atomics.load(versions, key.hash & slotMask);
    request.link.answerState(request, STATE.KEEP_RECORD, current, version, 0);
  }

  /** `keepable`: what of the answer is the newest there is, as flags of a STATE. */
  #answerRead(step: Step, request: OwnerRequest, keepable: number): void {
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
      flags |= keepable & STATE.KEEP_RECORD;
      recordVersion = Atomics.load(versions, pulled.key.hash & slotMask);
    }
    if (intent !== undefined && intent.error === undefined) {
      if (step.seenIntent) flags |= STATE.HAS_INTENT;
      flags |= keepable & STATE.KEEP_INTENT;
      intentVersion = Atomics.load(versions, intent.key.hash & slotMask);
    }
    request.link.answerState(request, flags, seenRecord, recordVersion, intentVersion);
  }

  async #stepJobs(): Promise<void> {
    const next = this.#jobs.findIndex((job) => job.isReady());
    if (next < 0) return;
    const [job] = this.#jobs.splice(next, 1);
    if (!(await job!.step())) this.#jobs.push(job!);
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Whether a key belongs to this owner. */
  owns(text: string): boolean {
    const { workerIndex, workerCount, stripeCount } = this.context;
    return ownerOf(stripeOf(text, stripeCount), workerCount) === workerIndex;
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

/**
 * What of a read is still so after its batch. A later request may have changed it: then the answer is
 * right for this caller, but not to be kept.
 */
function keepableNow({ pulled, intent, seenRecord, seenIntent }: Step): number {
  let flags = 0;
  if (seenRecord === pulled?.current) flags |= STATE.KEEP_RECORD;
  if (intent !== undefined && seenIntent === isVisible(intent.current, intent.count)) {
    flags |= STATE.KEEP_INTENT;
  }
  return flags;
}

function isPrune(request: OwnerRequest | PruneRequest): request is PruneRequest {
  return request.op === PRUNE;
}

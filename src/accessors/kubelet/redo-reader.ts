/** Reads what a redo log holds, key by key. Changes nothing. */
import { errorCode, PULL_MANAGER_ERROR_CODES, PullManagerError } from '../../errors.ts';
import { unpackText } from '../../records/codec.ts';
import type { PulledRecord, RecordChange } from '../../records/record.ts';
import { type ReplayTarget, replayBatch } from '../journal/batch.ts';
import { corruptFile, decodeArray } from '../journal/file-header.ts';
import type { JournalFile } from '../journal/file-names.ts';
import type { Pacer } from '../journal/pacer.ts';
import { inspectSegment, limitsOf, loadSegment } from '../journal/recovery.ts';
import { SegmentScan } from '../journal/segment-scan.ts';
import { RecordPool } from '../journal/state.ts';
import type { Value } from './found-file.ts';
import type { RecordKind } from './layout.ts';
import { REDO_PLACING, REDO_WRITES } from './redo-log.ts';

/** A write that may not be in the key's file. */
export interface LoggedWrite {
  readonly sequence: number;
  /** The id of the file behind the key when it was logged. */
  readonly fileId: number;
  readonly effect: WriteEffect;
}

/** What a write does to its key: sets what it has, to nothing where there is no `value`, or changes it. */
export type WriteEffect =
  | { readonly value: Value | undefined }
  | { readonly change: RecordChange; readonly updatedAtMs: number };

/** What a redo log says of one key. */
export interface LoggedKey {
  readonly kind: RecordKind;
  readonly key: string;
  /** In their order. */
  writes: LoggedWrite[];
  /** Up to which sequence a file of that id has the writes. */
  readonly placed: Map<number, number>;
}

/**
 * The keys that have writes which may not be in their files, from the segments of one partition in
 * their order.
 *
 * @throws `STORE_CORRUPT` naming file and offset where something acknowledged may be missing,
 * `STORE_VERSION_UNSUPPORTED`.
 */
export async function readRedoLog(
  files: readonly JournalFile[],
  pacer: Pacer,
): Promise<LoggedKey[]> {
  const reading = new Reading();
  const segments = [];
  for (const file of files) if (!file.temporary) segments.push(await inspectSegment(file));
  const limits = limitsOf(segments);
  let next: number | undefined;
  for (const [i, { file, header }] of segments.entries()) {
    const limit = limits[i]!;
    if (header === undefined || header.firstSequence >= limit) continue;
    next ??= header.firstSequence;
    if (header.firstSequence !== next)
      throw corruptFile(file.path, 0, 'what comes before is missing');
    const segment = await loadSegment(file, false);
    const scan = new SegmentScan(segment, limit);
    for (let payload = scan.next(); payload !== undefined; payload = scan.next()) {
      reading.take(payload, file.path, scan);
      await pacer.pause();
    }
    if (limit !== Number.POSITIVE_INFINITY && scan.end !== 'limit') {
      throw corruptFile(
        file.path,
        scan.offset,
        'something is missing that a later file follows on',
      );
    }
    next = scan.sequence;
  }
  return reading.pending();
}

class Reading {
  readonly #keys = new Map<string, LoggedKey>();
  readonly #pool = new RecordPool();
  #doneUpTo = 0;

  take(payload: Buffer, path: string, scan: SegmentScan): void {
    const fields = decodeArray(payload, path, scan.batchOffset);
    try {
      // The scan is one further already.
      this.#take(fields, scan.sequence - 1);
    } catch (cause) {
      if (errorCode(cause) !== PULL_MANAGER_ERROR_CODES.RECORD_CORRUPT) throw cause;
      throw corruptFile(path, scan.batchOffset, 'a frame has an unknown shape', cause);
    }
  }

  pending(): LoggedKey[] {
    const pending: LoggedKey[] = [];
    for (const logged of this.#keys.values()) {
      logged.writes = logged.writes.filter(({ sequence }) => sequence > this.#doneUpTo);
      if (logged.writes.length > 0) pending.push(logged);
    }
    return pending;
  }

  #take(fields: unknown[], sequence: number): void {
    const [kind, doneUpTo] = fields;
    if (!Number.isSafeInteger(doneUpTo)) throw unknownShape();
    this.#doneUpTo = Math.max(this.#doneUpTo, doneUpTo as number);
    if (kind === REDO_WRITES) {
      const [, , ids, batch] = fields;
      if (!Array.isArray(ids) || !Array.isArray(batch)) throw unknownShape();
      let index = 0;
      const collect: Collect = (of, key, effect) => {
        const fileId: unknown = ids[index++];
        if (typeof fileId !== 'number') throw unknownShape();
        this.#key(of, key).writes.push({ sequence, fileId, effect });
      };
      replayBatch(new WriteCollector(collect), batch, this.#pool);
    } else if (kind === REDO_PLACING) {
      const covers = fields[2];
      for (let at = 3; at < fields.length; at += 3) {
        const [of, key, id] = fields.slice(at, at + 3);
        const isKnown = (of === 'intent' || of === 'pulled') && typeof id === 'number';
        if (!isKnown || typeof covers !== 'number') throw unknownShape();
        this.#key(of, unpackText(key)).placed.set(id, covers);
      }
    } else {
      throw unknownShape();
    }
  }

  #key(kind: RecordKind, key: string): LoggedKey {
    const id = `${kind} ${key}`;
    let logged = this.#keys.get(id);
    if (logged === undefined) {
      logged = { kind, key, writes: [], placed: new Map() };
      this.#keys.set(id, logged);
    }
    return logged;
  }
}

type Collect = (kind: RecordKind, key: string, effect: WriteEffect) => void;

/** Takes the writes of a replayed batch for what they do, without a state that they do it to. */
class WriteCollector implements ReplayTarget {
  readonly #collect: Collect;

  constructor(collect: Collect) {
    this.#collect = collect;
  }

  writeIntent(image: string): void {
    this.#collect('intent', image, { value: true });
  }

  deleteIntent(image: string): void {
    this.#collect('intent', image, { value: undefined });
  }

  writePulled(record: PulledRecord): void {
    this.#collect('pulled', record.imageRef, { value: record });
  }

  changePulled(imageRef: string, change: RecordChange, updatedAtMs: number): void {
    this.#collect('pulled', imageRef, { change, updatedAtMs });
  }

  deletePulled(imageRef: string): void {
    this.#collect('pulled', imageRef, { value: undefined });
  }
}

function unknownShape(): PullManagerError {
  const problem = 'a frame has an unknown shape';
  return new PullManagerError('RECORD_CORRUPT', problem, { reason: problem });
}

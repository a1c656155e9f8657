/**
 * What a storm did, in a file that survives the death of its process at any instant.
 *
 * Every operation leaves a START before its call and, if it got that far, an ACK or a REJECT after
 * its promise settled. Each event is one `write` of one fixed-size record to a file opened for
 * appending: the kernel has it when the call returns, so SIGKILL loses nothing that is behind it,
 * and no record is ever torn, because none crosses a page. An ACK that is missing makes a check
 * weaker, never wrong.
 *
 * | Offset | Type | Field |
 * | --- | --- | --- |
 * | 0 | u8 | event |
 * | 1 | u8 | operation |
 * | 4 | u32 | id of the operation, unique in the file |
 * | 8, 12 | u32 | image, image reference: indexes into the universe |
 * | 16 | u32 | credentials: a code of the universe |
 * | 20 | u32 | class of references left out by a prune; of an ACK of a look: its answer |
 * | 24 | f64 | wall clock in milliseconds; of a START of a prune: its cut-off |
 */
import * as fs from 'node:fs';

/** Kinds of events. */
export const EVENT = {
  /** The store is about to be opened. */
  OPENING: 1,
  /** It is open, and its content is in the dump. */
  READY: 2,
  START: 3,
  ACK: 4,
  REJECT: 5,
  /** The storm saw something that must not be. */
  VIOLATION: 6,
  CLOSING: 7,
  CLOSED: 8,
  /** Written from outside: whatever is acknowledged behind it may be gone. */
  CUT: 9,
} as const;

/** Kinds of operations. */
export const OPERATION = {
  INTENT: 1,
  PULLED: 2,
  FAILED: 3,
  /** A decision whose credentials may be recorded because they match. */
  MATCH: 4,
  PRUNE: 5,
  /** A decision that changes nothing. */
  LOOK: 6,
} as const;

/** Whether an operation changes what the store holds, as no question does. */
export function isWrite(operation: number): boolean {
  return operation !== OPERATION.MATCH && operation !== OPERATION.LOOK;
}

/** Answers to a look. */
export const ANSWER = {
  REFUSED: 1,
  /** The record proves access. */
  FOUND: 2,
  /** Neither intent nor record: the policy lets everybody in. */
  ALLOWED: 3,
} as const;

/** Credentials of a look that are foreign to the image, whichever they are. */
export const FOREIGN = 0xffff_ffff;

/** One event. Fields that do not apply are 0. */
export interface StormEvent {
  readonly event: number;
  readonly operation: number;
  readonly id: number;
  readonly image: number;
  readonly ref: number;
  readonly credentials: number;
  readonly unlisted: number;
  readonly timeMs: number;
}

/** Where a storm reports. */
export type EventSink = (event: StormEvent) => void;

const RECORD_BYTES = 32;

/** An event of the given kind, everything else 0. */
export function stormEvent(event: number, fields: Partial<StormEvent> = {}): StormEvent {
  const none = { operation: 0, id: 0, image: 0, ref: 0, credentials: 0, unlisted: 0, timeMs: 0 };
  return { ...none, ...fields, event };
}

/** An event as it is in a log. */
export function encodeEvent(
  event: StormEvent,
  record: Buffer = Buffer.alloc(RECORD_BYTES),
): Buffer {
  record.writeUInt8(event.event, 0);
  record.writeUInt8(event.operation, 1);
  record.writeUInt32LE(event.id, 4);
  record.writeUInt32LE(event.image, 8);
  record.writeUInt32LE(event.ref, 12);
  record.writeUInt32LE(event.credentials, 16);
  record.writeUInt32LE(event.unlisted, 20);
  record.writeDoubleLE(event.timeMs, 24);
  return record;
}

/** A sink that appends to a new file. */
export function openEventLog(path: string): EventSink {
  const fd = fs.openSync(path, 'ax');
  const record = Buffer.alloc(RECORD_BYTES);
  return (event) => {
    encodeEvent(event, record);
    if (fs.writeSync(fd, record) !== RECORD_BYTES) throw new Error('the event log is full');
  };
}

/**
 * What of a life can be relied on: behind a power cut, no answer. A real one lets none through; here a
 * flush that another one overtakes may return in peace from a disk that is gone.
 */
export function withoutAcksAfterCut(events: readonly StormEvent[]): readonly StormEvent[] {
  const cut = events.findIndex(({ event }) => event === EVENT.CUT);
  if (cut < 0) return events;
  const behind = events.slice(cut + 1).map((event) => {
    return event.event === EVENT.ACK ? { ...event, event: EVENT.REJECT } : event;
  });
  return [...events.slice(0, cut), ...behind];
}

/** Number of events in a log that may still grow. */
export function countEvents(path: string): number {
  const size = fs.statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  return Math.floor(size / RECORD_BYTES);
}

/** All events of a log; none where there is no file. */
export function readEventLog(path: string): StormEvent[] {
  if (!fs.existsSync(path)) return [];
  const bytes = fs.readFileSync(path);
  if (bytes.length % RECORD_BYTES !== 0) throw new Error(`${path} ends in a torn event`);
  const events: StormEvent[] = [];
  for (let at = 0; at < bytes.length; at += RECORD_BYTES) {
    events.push({
      event: bytes.readUInt8(at),
      operation: bytes.readUInt8(at + 1),
      id: bytes.readUInt32LE(at + 4),
      image: bytes.readUInt32LE(at + 8),
      ref: bytes.readUInt32LE(at + 12),
      credentials: bytes.readUInt32LE(at + 16),
      unlisted: bytes.readUInt32LE(at + 20),
      timeMs: bytes.readDoubleLE(at + 24),
    });
  }
  return events;
}

/** msgpack for the messages of a link. Decoded strings share no memory with the ring. */
import { Packr } from 'msgpackr';
import { outOfStep } from './ring.ts';

const packr = new Packr({ useRecords: false });

export function packMessage(value: unknown): Uint8Array {
  return packr.pack(value);
}

/**
 * `length`: how many of the bytes are the message's. @default all
 *
 * @throws `ENGINE_UNAVAILABLE` where they are none.
 */
export function unpackMessage(bytes: Uint8Array, length: number = bytes.length): unknown {
  try {
    return packr.unpack(bytes, length);
  } catch (cause) {
    throw outOfStep(cause);
  }
}

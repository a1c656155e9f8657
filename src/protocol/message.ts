/** msgpack for the messages of a link. Decoded strings share no memory with the ring. */
import { Packr } from 'msgpackr';

const packr = new Packr({ useRecords: false });

export function packMessage(value: unknown): Uint8Array {
  return packr.pack(value);
}

/** `length`: how many of the bytes are the message's. @default all */
export function unpackMessage(bytes: Uint8Array, length: number = bytes.length): unknown {
  return packr.unpack(bytes, length);
}

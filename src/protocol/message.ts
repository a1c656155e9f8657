/** msgpack for the messages of a link. Decoded strings share no memory with the ring. */
import { Packr } from 'msgpackr';

const packr = new Packr({ useRecords: false });

export function packMessage(value: unknown): Uint8Array {
  return packr.pack(value);
}

export function unpackMessage(bytes: Uint8Array): unknown {
  return packr.unpack(bytes);
}

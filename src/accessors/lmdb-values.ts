/** The keys and values of the lmdb store; what they look like is said in `lmdb.ts`. */
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { Packr } from 'msgpackr';
import { PullManagerError } from '../errors.ts';
import { decodeRecord, encodeRecord, packText, unpackText } from '../records/codec.ts';
import { PulledRecord } from '../records/record.ts';
import type { RecordWrite } from './accessor.ts';
import type { BinaryDatabase, Environment } from './lmdb-environment.ts';

const INTENT_VERSION = 1;
const CHECKSUM_BYTES = 4;
/** Marks the bytes of a text that UTF-8 cannot carry; no UTF-8 text has it. */
const NOT_UTF8: Buffer = Buffer.from([0xff]);

const packr = new Packr({ useRecords: false });

/** A write as LMDB takes it. */
export interface EncodedWrite {
  readonly database: BinaryDatabase;
  readonly key: Uint8Array;
  /** Undefined: remove. */
  readonly value: Uint8Array | undefined;
}

/** Throws `INVALID_ARGUMENT` for what could not be read back. */
export function encodeWrite(environment: Environment, write: RecordWrite): EncodedWrite {
  const { intents, pulled } = environment;
  switch (write.op) {
    case 'writeIntent': {
      const image = packText(write.image, 'image');
      const payload = packr.pack([INTENT_VERSION, image]);
      return { database: intents, key: hashKey(image), value: withChecksum(payload) };
    }
    case 'deleteIntent': {
      const image = packText(write.image, 'image');
      return { database: intents, key: hashKey(image), value: undefined };
    }
    case 'writePulled': {
      const imageRef = packText(write.record.imageRef, 'imageRef');
      const payload = encodeRecord(PulledRecord.from(write.record));
      return { database: pulled, key: hashKey(imageRef), value: withChecksum(payload) };
    }
    case 'deletePulled': {
      const imageRef = packText(write.imageRef, 'imageRef');
      return { database: pulled, key: hashKey(imageRef), value: undefined };
    }
  }
}

/** 32 bytes for any text; different texts stay different, lone surrogates included. */
export function hashKey(packed: string | Uint8Array): Buffer {
  const hash = createHash('sha256');
  if (typeof packed === 'string') hash.update(packed, 'utf8');
  else hash.update(NOT_UTF8).update(packed);
  return hash.digest();
}

function withChecksum(payload: Uint8Array): Uint8Array {
  // Memory of its own: the packer reuses its buffer, and LMDB may read this one from its thread.
  const value = Buffer.allocUnsafeSlow(CHECKSUM_BYTES + payload.byteLength);
  value.set(payload, CHECKSUM_BYTES);
  value.writeUInt32LE(crc32(payload), 0);
  return value;
}

/** A value without its checksum; throws `RECORD_CORRUPT` where that is wrong. */
function checkedPayload(value: Uint8Array): Uint8Array {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  const payload = bytes.subarray(CHECKSUM_BYTES);
  if (bytes.byteLength <= CHECKSUM_BYTES || bytes.readUInt32LE(0) !== crc32(payload)) {
    throw new PullManagerError('RECORD_CORRUPT', 'a stored value does not match its checksum');
  }
  return payload;
}

/** The image of a stored intent, or `RECORD_CORRUPT`. */
export function decodeIntent(value: Uint8Array): string {
  const [version, image, ...rest] = unpackArray(checkedPayload(value));
  if (version !== INTENT_VERSION || rest.length > 0) {
    throw new PullManagerError('RECORD_CORRUPT', 'a stored intent has an unknown version or shape');
  }
  return unpackText(image);
}

/** A stored pulled record, or `RECORD_CORRUPT`. */
export function decodePulled(value: Uint8Array): PulledRecord {
  return decodeRecord(checkedPayload(value));
}

function unpackArray(bytes: Uint8Array): unknown[] {
  let value: unknown;
  try {
    value = packr.unpack(bytes);
  } catch (cause) {
    throw new PullManagerError('RECORD_CORRUPT', 'a stored value is not msgpack', { cause });
  }
  if (!Array.isArray(value)) {
    throw new PullManagerError('RECORD_CORRUPT', 'a stored value is not an array');
  }
  return value;
}

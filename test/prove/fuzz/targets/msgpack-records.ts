/** Pulled records and intents as bytes, as the stores and the threads of an engine have them. */
import { crc32 } from 'node:zlib';
import { decodeIntent, decodePulled } from '../../../../src/accessors/lmdb-values.ts';
import { PullManagerError } from '../../../../src/errors.ts';
import { decodeRecord, encodeRecord } from '../../../../src/records/codec.ts';
import type { PulledRecord } from '../../../../src/records/record.ts';
import { happens, oddText } from '../choice.ts';
import { attempt, type FuzzTarget, mustHold, type Verdict } from '../target.ts';
import { anyValue, MSGPACK_WORDS, pack, packedRecordOf } from './packed-values.ts';

export const msgpackRecords: FuzzTarget = {
  name: 'msgpack-records',
  unit: 'packed records',
  modules: ['src/records/codec', 'src/accessors/lmdb-values', 'msgpackr/unpack'],
  words: [...MSGPACK_WORDS, 'a'],
  make(random) {
    if (happens(random, 0.2)) return pack([1, oddText(random)]);
    return pack(happens(random, 0.9) ? packedRecordOf(random) : anyValue(random));
  },
  feed,
  worstCases: [
    { name: 'arrays in arrays', make: (bytes) => Buffer.alloc(bytes, 0x91) },
    { name: 'maps in maps', make: (bytes) => Buffer.alloc(bytes, 0x81) },
    {
      name: 'long arrays in long arrays',
      make: (bytes) => Buffer.alloc(bytes, Buffer.from('dd00ffffff', 'hex')),
    },
    { name: 'a long text', make: (bytes) => pack([1, 'a'.repeat(bytes), 0]) },
    {
      name: 'a long text of another alphabet',
      make: (bytes) => pack([1, '界'.repeat(bytes / 3), 0]),
    },
    { name: 'many names', make: (bytes) => pack([1, '', 0, ...manyNames(bytes)]) },
    {
      name: 'many secrets',
      make: (bytes) => pack([1, '', 0, 'a', [0, manySecrets(bytes), null, null]]),
    },
    { name: 'a number of very many digits', make: (bytes) => bigNumber(bytes) },
  ],
};

function manyNames(bytes: number): unknown[] {
  return Array.from({ length: Math.floor(bytes / 14) }, (_, i) => [
    String(i).padStart(8, '0'),
    [1, null, null, null],
  ]).flat();
}

function manySecrets(bytes: number): unknown[] {
  return Array.from({ length: Math.floor(bytes / 20) }, () => [
    'uid',
    'namespace',
    'n',
    'h',
    null,
  ]).flat();
}

function bigNumber(bytes: number): Buffer {
  const head = Buffer.from([0xc9, 0, 0, 0, 0, 0x42]);
  head.writeUInt32BE(bytes, 1);
  return Buffer.concat([head, Buffer.alloc(bytes, 0x7f)]);
}

function feed(input: Buffer): Verdict {
  const decoded = attempt(() => decodeRecord(input), isDamage);
  const stored = Buffer.concat([Buffer.alloc(4), input]);
  stored.writeUInt32LE(crc32(input), 0);
  const pulled = attempt(() => decodePulled(stored), isDamage);
  const intent = attempt(() => decodeIntent(stored), isDamage);
  mustHold('value' in decoded === 'value' in pulled, 'one store takes it and another does not');
  if ('value' in intent) mustHold(typeof intent.value === 'string', 'an intent is no text');
  if ('value' in pulled) checkRecord(pulled.value);
  stored[0]! ^= 1;
  mustHold('refusal' in attempt(() => decodePulled(stored), isDamage), 'a wrong checksum passes');
  return 'value' in pulled || 'value' in intent ? 'accepted' : 'refused';
}

/** Every text is one, and the record can be written and read again. */
export function checkRecord(record: PulledRecord): void {
  const again = decodeRecord(encodeRecord(record));
  mustHold(
    JSON.stringify(again) === JSON.stringify(record),
    'a record is another when it is written and read',
  );
  for (const { imageName, credentials } of record.proofs) {
    mustHold(Object.isFrozen(credentials), 'credentials are not frozen');
    const { kubernetesSecrets = [], kubernetesServiceAccounts = [] } = credentials;
    const texts = [...kubernetesSecrets, ...kubernetesServiceAccounts].flatMap((proof) => [
      proof.uid,
      proof.namespace,
      proof.name,
    ]);
    mustHold(
      [imageName, ...texts].every((text) => typeof text === 'string'),
      'a text is none',
    );
  }
}

export function isDamage(error: unknown): boolean {
  return error instanceof PullManagerError && error.code === 'ERR_PULLMANAGER_RECORD_CORRUPT';
}

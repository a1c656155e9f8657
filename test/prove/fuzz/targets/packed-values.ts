/** msgpack: records as stores and threads hand them over, and anything else. */
import { Packr } from 'msgpackr';
import { packCredentials, packRecord } from '../../../../src/records/codec.ts';
import {
  compareUtf8,
  type ImagePullCredentials,
  type ImagePullSecret,
  PulledRecord,
} from '../../../../src/records/record.ts';
import type { Random } from '../../../../src/util/random.ts';
import { happens, oddText, pick, several } from '../choice.ts';

const packr = new Packr({ useRecords: false });

export function pack(value: unknown): Buffer {
  return Buffer.from(packr.pack(value));
}

export function credentialsOf(random: Random): ImagePullCredentials {
  const time = happens(random, 0.2) ? { provenAtMs: random.below(1e9) } : {};
  if (happens(random, 0.3)) return { nodePodsAccessible: happens(random, 0.8), ...time };
  const proof = (): Omit<ImagePullSecret, 'credentialHash'> => ({
    uid: oddText(random),
    namespace: oddText(random),
    name: oddText(random),
    ...time,
  });
  return {
    kubernetesSecrets: several(random, 3, () => ({ ...proof(), credentialHash: oddText(random) })),
    ...(happens(random, 0.3) && { kubernetesServiceAccounts: several(random, 2, proof) }),
  };
}

export function recordOf(random: Random): PulledRecord {
  const names = [...new Set(several(random, 4, () => oddText(random)))].sort(compareUtf8);
  const proofs = names.map((imageName) => ({ imageName, credentials: credentialsOf(random) }));
  return new PulledRecord(oddText(random), random.below(2 ** 31), proofs);
}

/** The packed form of a record, some part of which may be anything. */
export function packedRecordOf(random: Random): unknown {
  return damagedBy(packRecord(recordOf(random)), random);
}

export function packedCredentialsOf(random: Random): unknown {
  return damagedBy(packCredentials(credentialsOf(random)), random);
}

/** Now and then one part is replaced by any value. */
export function damagedBy(value: unknown, random: Random): unknown {
  if (!Array.isArray(value) || !happens(random, 0.4)) return value;
  const copy = [...(value as unknown[])];
  const at = random.below(copy.length + 1);
  copy[at] = happens(random, 0.5) ? damagedBy(copy[at], random) : anyValue(random);
  return copy;
}

/** What msgpack can carry and no record has. */
export function anyValue(random: Random, depth = 0): unknown {
  return pick(random, [
    () => null,
    () => undefined,
    () => happens(random, 0.5),
    () => random.below(10) - 5,
    () => Number.NaN,
    () => Number.POSITIVE_INFINITY,
    () => 1e300,
    () => 2n ** 63n,
    () => -(2n ** 62n),
    () => oddText(random),
    () => pick(random, ['length', 'map', 'constructor', '__proto__', '0', 'at']),
    () => Buffer.from(oddText(random), 'utf16le'),
    () => new Date(random.below(2 ** 31)),
    () => /a+/,
    () => new Set([1]),
    () => new Map([[oddText(random), 1]]),
    () => new Float64Array(1),
    () => new Error('x'),
    () => (depth > 2 ? [] : several(random, 4, () => anyValue(random, depth + 1))),
    () => nestedArrays(random.below(64)),
  ])();
}

function nestedArrays(depth: number): unknown {
  let value: unknown = [];
  for (let i = 0; i < depth; i++) value = [value];
  return value;
}

/** Tokens of msgpack: lengths that are not there, extensions, deep nesting. */
export const MSGPACK_WORDS: readonly Uint8Array[] = [
  'dd7fffffff',
  'ddffffffff',
  'dcffff',
  'df7fffffff',
  'deffff',
  'dbffffffff',
  'c6ffffffff',
  'c9ffffffff74',
  'c1',
  'c0',
  'd40000',
  'd47301',
  'd47892a16161',
  'd56500',
  'd6690000000191',
  'd67000000001',
  'd47240',
  '40',
  'c7086200000004a161',
  'cf8000000000000000',
  'cb7ff8000000000000',
  'cb7ff0000000000000',
  'd6ff00000001',
  '91'.repeat(40),
  '81'.repeat(40),
  'c70442ffffffff',
  'a3616161',
  'd9ff',
].map((hex) => Buffer.from(hex, 'hex'));

/** Changes an input in ways in which inputs go wrong. */
import type { Random } from '../../../src/util/random.ts';
import { happens, ODD_NAMES, pick } from './choice.ts';

/** Longer inputs are cut: what is slow with length has worst cases of its own. */
const BYTES_MAX = 8_192;
const CHANGES_MAX = 5;
const REPEATS_MAX = 64;
const EDGE_BYTES = [0x00, 0x01, 0x0a, 0x20, 0x22, 0x2f, 0x5c, 0x7f, 0x80, 0xc1, 0xdf, 0xfe, 0xff];
const NUMBERS = ['0', '-1', '1e308', '1e999', '9007199254740993', '18446744073709551616', '0.1'];

type Change = (input: Buffer, random: Random, words: readonly (string | Uint8Array)[]) => Buffer;

/** A changed copy; `other` is spliced in now and then. */
export function mutated(
  input: Uint8Array,
  other: Uint8Array,
  random: Random,
  words: readonly (string | Uint8Array)[],
): Buffer {
  let bytes: Buffer = Buffer.from(input);
  if (happens(random, 0.1)) bytes = spliced(bytes, Buffer.from(other), random);
  const changes = 1 + random.below(CHANGES_MAX);
  for (let i = 0; i < changes; i++) bytes = pick(random, CHANGES)(bytes, random, words);
  return bytes.subarray(0, BYTES_MAX);
}

const CHANGES: readonly Change[] = [
  (bytes, random) => withByte(bytes, random, (byte) => byte ^ (1 << random.below(8))),
  (bytes, random) => withByte(bytes, random, () => pick(random, EDGE_BYTES)),
  (bytes, random) => withByte(bytes, random, () => random.below(256)),
  (bytes, random) => replaced(bytes, chunkOf(bytes, random), Buffer.alloc(0)),
  (bytes, random) => bytes.subarray(0, random.below(bytes.length + 1)),
  (bytes, random, words) => inserted(bytes, random, Buffer.from(pick(random, words))),
  (bytes, random, words) =>
    replaced(bytes, chunkOf(bytes, random), Buffer.from(pick(random, words))),
  (bytes, random) => inserted(bytes, random, Buffer.from(pick(random, [...ODD_NAMES, ...NUMBERS]))),
  (bytes, random) => {
    const [from, end] = chunkOf(bytes, random);
    return inserted(bytes, random, bytes.subarray(from, end));
  },
  (bytes, random) => {
    const [from, end] = chunkOf(bytes, random);
    const chunk = bytes.subarray(from, end);
    const times = Math.min(REPEATS_MAX, Math.ceil(BYTES_MAX / (chunk.length + 1)));
    return replaced(
      bytes,
      [from, end],
      Buffer.concat(Array.from({ length: 1 + random.below(times) }, () => chunk)),
    );
  },
];

/** The beginning of one and the end of the other. */
function spliced(bytes: Buffer, other: Buffer, random: Random): Buffer {
  const head = bytes.subarray(0, random.below(bytes.length + 1));
  return Buffer.concat([head, other.subarray(random.below(other.length + 1))]);
}

function withByte(bytes: Buffer, random: Random, change: (byte: number) => number): Buffer {
  if (bytes.length === 0) return Buffer.from([change(0)]);
  const copy = Buffer.from(bytes);
  const at = random.below(copy.length);
  copy[at] = change(copy[at]!);
  return copy;
}

function chunkOf(bytes: Buffer, random: Random): [from: number, end: number] {
  const from = random.below(bytes.length + 1);
  return [from, from + random.below(Math.min(32, bytes.length - from) + 1)];
}

function replaced(bytes: Buffer, [from, end]: [number, number], by: Buffer): Buffer {
  return Buffer.concat([bytes.subarray(0, from), by, bytes.subarray(end)]);
}

function inserted(bytes: Buffer, random: Random, what: Buffer): Buffer {
  const at = random.below(bytes.length + 1);
  return replaced(bytes, [at, at], what);
}

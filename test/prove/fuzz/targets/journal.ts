/**
 * Journals on disk. The first byte says what the rest is: `b` the payload of a batch, `s` that of a
 * snapshot, both in frames whose checksums are right; `d` damage to the files of a good journal, four
 * bytes each: what is done, to which file, and where.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { RecordWrite } from '../../../../src/accessors/accessor.ts';
import { packBatch } from '../../../../src/accessors/journal/batch.ts';
import { MANIFEST_NAME } from '../../../../src/accessors/journal/file-names.ts';
import { inspectJournal, readJournal } from '../../../../src/accessors/journal/journal-reader.ts';
import { SnapshotFrameBuilder } from '../../../../src/accessors/journal/snapshot-format.ts';
import type { JournalState } from '../../../../src/accessors/journal/state.ts';
import { PullManagerError } from '../../../../src/errors.ts';
import { Random } from '../../../../src/util/random.ts';
import { happens, oddText, several } from '../choice.ts';
import { type FuzzTarget, mustHold, type Verdict, type WorstCase } from '../target.ts';
import {
  journalFilesOf,
  manifestOf,
  replaceFiles,
  segmentOf,
  snapshotOf,
} from './journal-files.ts';
import { checkRecord } from './msgpack-records.ts';
import {
  damagedBy,
  MSGPACK_WORDS,
  pack,
  packedCredentialsOf,
  packedRecordOf,
  recordOf,
} from './packed-values.ts';

const BATCHES = 4;
const BATCH_SEED = 1;
const DAMAGES_MAX = 4;
const DAMAGE_BYTES = 4;
/** Payloads are read as a whole. */
const PAYLOAD_BYTES_MAX = 1 << 20;
const REFUSALS: readonly string[] = [
  'ERR_PULLMANAGER_STORE_CORRUPT',
  'ERR_PULLMANAGER_STORE_VERSION_UNSUPPORTED',
];

let directory = '';
let manifest: Buffer = Buffer.alloc(0);
let good: ReadonlyMap<string, Buffer> = new Map();
/** What the good journal holds without its last batch, and with it. */
const states: string[] = [];

const WORST_CASES: readonly WorstCase[] = [
  {
    name: 'intents',
    make: (bytes) =>
      marked('b', pack(Array.from({ length: bytes / 8 }, (_, i) => [1, `i${i}`]).flat())),
  },
  { name: 'changes of one record', make: (bytes) => marked('b', pack(changes(bytes))) },
  { name: 'secrets of one name', make: (bytes) => marked('b', pack(secrets(bytes))) },
  { name: 'arrays in arrays', make: (bytes) => marked('b', Buffer.alloc(bytes, 0x91)) },
  {
    name: 'credentials nested deeply',
    make: (bytes) =>
      marked(
        'b',
        Buffer.concat([pack([4, 'a', 0, 'b']).fill(0x95, 0, 1), Buffer.alloc(bytes, 0x91)]),
      ),
  },
  {
    name: 'texts of a snapshot',
    make: (bytes) =>
      marked('s', pack([true, Array.from({ length: bytes / 8 }, (_, i) => `i${i}`), [], [], []])),
  },
  {
    name: 'names of a record of a snapshot',
    make: (bytes) =>
      marked(
        's',
        pack([
          true,
          ['a'],
          [[1, null, null, null]],
          [],
          ['r', 0, bytes >> 1, ...new Array(bytes & ~1).fill(0)],
        ]),
      ),
  },
];

export const journal: FuzzTarget = {
  name: 'journal',
  unit: 'journals',
  modules: ['src/accessors/journal/', 'src/records/codec'],
  words: [...MSGPACK_WORDS, 'length', 'map', '0'],
  async open(scratch) {
    directory = join(scratch, 'journal');
    manifest = await manifestOf(directory);
    const random = new Random(BATCH_SEED);
    const batches = Array.from({ length: BATCHES }, () => batchOf(random));
    states.length = 0;
    for (let missing = 1; missing >= 0; missing--) {
      const path = join(scratch, String(missing));
      await mkdir(path);
      good = await journalFilesOf(path, batches.slice(0, BATCHES - missing));
      await replaceFiles(directory, good);
      states.push(dump(await readJournal(directory)));
    }
    mustHold(states[0] !== states[1], 'the last batch of the good journal changes nothing');
  },
  make(random) {
    const kind = random.below(3);
    if (kind === 0) return marked('b', pack(packedBatchOf(random)));
    if (kind === 1) return marked('s', pack(packedSnapshotOf(random)));
    const count = 1 + random.below(DAMAGES_MAX);
    const bytes = Array.from({ length: count * DAMAGE_BYTES }, () => random.below(256));
    return marked('d', Buffer.from(bytes));
  },
  feed,
  worstCases: WORST_CASES.map((worst) => ({ ...worst, bytesMax: PAYLOAD_BYTES_MAX })),
};

async function feed(input: Buffer): Promise<Verdict> {
  const payload = input.subarray(1);
  const kind = String.fromCharCode(input[0] ?? 0);
  await replaceFiles(directory, kind === 'd' ? damagedFiles(payload) : filesOf(kind, payload));
  const state = await read();
  await inspected(state !== undefined);
  if (state === undefined) return 'refused';
  if (kind === 'd') mustHold(states.includes(dump(state)), 'damage changes what the journal holds');
  for (const intent of state.intents) mustHold(typeof intent === 'string', 'an intent is no text');
  for (const [key, record] of state.records) {
    mustHold(key === record.imageRef, 'a record is under another key');
    checkRecord(record);
  }
  return 'accepted';
}

async function read(): Promise<JournalState | undefined> {
  try {
    return await readJournal(directory);
  } catch (error) {
    if (error instanceof PullManagerError && REFUSALS.includes(error.code)) return undefined;
    throw error;
  }
}

/** Looking through it never fails, and finds damage where reading does. */
async function inspected(isReadable: boolean): Promise<void> {
  let isDamaged = false;
  try {
    for await (const { verdict } of inspectJournal(directory, 'label')) {
      if (verdict === 'undecodable') isDamaged = true;
    }
  } catch (error) {
    const isNewer = error instanceof PullManagerError && error.code === REFUSALS[1];
    if (!isNewer) throw error;
    isDamaged = true;
  }
  mustHold(isDamaged !== isReadable, 'looking through it and reading it do not agree');
}

function filesOf(kind: string, payload: Buffer): ReadonlyMap<string, Buffer> {
  const start: [string, Buffer] = [MANIFEST_NAME, manifest];
  if (kind !== 's') return new Map([start, segmentOf(payload)]);
  return new Map([start, segmentOf(undefined), snapshotOf(payload)]);
}

function damagedFiles(damages: Buffer): ReadonlyMap<string, Buffer> {
  const files = new Map<string, Buffer>(
    [...good].map(([name, bytes]) => [name, Buffer.from(bytes)]),
  );
  const names = [...files.keys()];
  for (
    let at = 0;
    at + DAMAGE_BYTES <= damages.length && at < DAMAGES_MAX * DAMAGE_BYTES;
    at += DAMAGE_BYTES
  ) {
    const [what = 0, which = 0, high = 0, low = 0] = damages.subarray(at);
    const name = names[which % names.length]!;
    files.set(name, damaged(files.get(name)!, what, (high << 8) | low));
  }
  return files;
}

/** Half of the damage is where the batches are: at the beginning. */
function damaged(bytes: Buffer, what: number, where: number): Buffer {
  if (bytes.length === 0) return bytes;
  const at = where % (what & 1 ? bytes.length : Math.min(bytes.length, 1_024));
  switch ((what >> 1) % 5) {
    case 0:
      bytes[at]! ^= 1 << (what >> 5);
      return bytes;
    case 1:
      return bytes.subarray(0, at);
    case 2:
      return Buffer.concat([
        bytes.subarray(0, at),
        bytes.subarray(at >> 1, at),
        bytes.subarray(at),
      ]);
    case 3:
      // Moved by some bytes, as long as it was.
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at >> 1)], bytes.length);
    default:
      bytes[at] = what;
      return bytes;
  }
}

function dump({ intents, records }: JournalState): string {
  return JSON.stringify([
    [...intents].sort(),
    [...records.values()].map((record) => JSON.stringify(record)).sort(),
  ]);
}

function marked(mark: string, payload: Buffer): Buffer {
  return Buffer.concat([Buffer.from(mark), payload]);
}

function batchOf(random: Random): RecordWrite[] {
  const key = (): string => `key-${random.below(1_000_000)}-${oddText(random)}`;
  const records = Array.from(
    { length: 1 + random.below(4) },
    (): RecordWrite => ({ op: 'writePulled', record: recordOf(random) }),
  );
  return [{ op: 'writeIntent', image: key() }, ...records, { op: 'deleteIntent', image: key() }];
}

function packedBatchOf(random: Random): unknown {
  const writes = several(random, 4, (): unknown[] => {
    switch (random.below(4)) {
      case 0:
        return [1 + random.below(2), oddText(random)];
      case 1:
        return [3, packedRecordOf(random)];
      case 2:
        return [
          4,
          oddText(random),
          random.below(2 ** 31),
          oddText(random),
          happens(random, 0.3) ? random.below(3) : packedCredentialsOf(random),
        ];
      default:
        return happens(random, 0.5) ? packBatch(batchOf(random)) : [5, oddText(random)];
    }
  });
  return happens(random, 0.3) ? damagedBy(writes.flat(), random) : writes.flat();
}

function packedSnapshotOf(random: Random): unknown {
  const builder = new SnapshotFrameBuilder();
  for (const image of several(random, 3, () => oddText(random))) builder.addIntent(image);
  for (const record of several(random, 3, () => recordOf(random))) builder.addRecord(record);
  return damagedBy(builder.take(), random);
}

function changes(bytes: number): unknown[] {
  return Array.from({ length: Math.floor(bytes / 24) }, (_, i) => [
    4,
    'ref',
    i,
    `name${i}`,
    [1, null, null, null],
  ]).flat();
}

/** One secret is added to the same record again and again. */
function secrets(bytes: number): unknown[] {
  return Array.from({ length: Math.floor(bytes / 40) }, (_, i) => [
    4,
    'ref',
    i,
    'name',
    [0, [`uid${i}`, 'namespace', 'name', 'hash', null], null, null],
  ]).flat();
}

/** Writes journals whose frames are in order, whatever is in them. */
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { RecordWrite } from '../../../../src/accessors/accessor.ts';
import { encodeFileHeader } from '../../../../src/accessors/journal/file-header.ts';
import { journalFilePath, MANIFEST_NAME } from '../../../../src/accessors/journal/file-names.ts';
import {
  FRAME_HEADER_BYTES,
  FRAME_KINDS,
  type FrameKind,
  frameBytesFor,
  sealFrame,
} from '../../../../src/accessors/journal/frame.ts';
import { openJournal } from '../../../../src/accessors/journal/journal-accessor.ts';
import {
  commitJournal,
  prepareJournal,
} from '../../../../src/accessors/journal/journal-directory.ts';
import { writeManifest } from '../../../../src/accessors/journal/manifest.ts';

const SALT = 0x5eed;
const SEGMENT_BYTES_LEAST = 4_096;
const TRAILER = 0x5a;
const FIRST = {
  layout: 1,
  partition: 0,
  partitionCount: 1,
  firstSequence: 1,
  flushed: true,
  salt: SALT,
} as const;

/** The only file of a journal of one partition that has no records. */
export async function manifestOf(directory: string): Promise<Buffer> {
  await mkdir(directory, { recursive: true });
  await writeManifest(directory, { layout: 1, partitionCount: 1, stripeCount: 31 });
  return readFile(join(directory, MANIFEST_NAME));
}

/** Makes a directory, which exists, hold these files and no others. */
export async function replaceFiles(
  directory: string,
  files: ReadonlyMap<string, Buffer>,
): Promise<void> {
  for (const name of await readdir(directory))
    if (!files.has(name)) await rm(join(directory, name));
  for (const [name, bytes] of files) await writeFile(join(directory, name), bytes);
}

/** A segment with one batch of this payload, if any. */
export function segmentOf(payload: Buffer | undefined): [name: string, bytes: Buffer] {
  const batch = payload === undefined ? Buffer.alloc(0) : frameOf(payload, FRAME_KINDS.BATCH, 1);
  const fileBytes = Math.max(SEGMENT_BYTES_LEAST, 1_024 + batch.length);
  const header = encodeFileHeader({ ...FIRST, kind: 'journal', number: 1, fileBytes });
  const bytes = Buffer.alloc(fileBytes);
  header.copy(bytes);
  batch.copy(bytes, header.length);
  return [journalFilePath('', 'journal', 1, 0, 1), bytes];
}

/** A snapshot with one frame of this payload. */
export function snapshotOf(payload: Buffer): [name: string, bytes: Buffer] {
  const header = encodeFileHeader({ ...FIRST, kind: 'snapshot', number: 1, fileBytes: 0 });
  const data = frameOf(payload, FRAME_KINDS.DATA, 0);
  const end = frameOf(Buffer.alloc(0), FRAME_KINDS.END, 1);
  return [journalFilePath('', 'snapshot', 1, 0, 1), Buffer.concat([header, data, end])];
}

function frameOf(payload: Buffer, kind: FrameKind, sequence: number): Buffer {
  const frame = Buffer.alloc(frameBytesFor(payload.length));
  frame.writeUInt32LE(payload.length, 4);
  payload.copy(frame, FRAME_HEADER_BYTES);
  frame[frame.length - 1] = TRAILER;
  sealFrame(frame, kind, sequence, SALT);
  return frame;
}

/** The files of a journal as an engine leaves it that did not close. */
export async function journalFilesOf(
  directory: string,
  batches: readonly (readonly RecordWrite[])[],
): Promise<ReadonlyMap<string, Buffer>> {
  const tuning = { segmentBytesMin: SEGMENT_BYTES_LEAST, segmentBytesMax: 2 * SEGMENT_BYTES_LEAST };
  const plan = await prepareJournal({
    path: directory,
    durability: 'flush',
    partitionCount: 1,
    stripeCount: 31,
    tuning,
  });
  const accessor = await openJournal(plan, {
    workerIndex: 0,
    workerCount: 1,
    stripeCount: 31,
    generation: 1,
    mayBlock: true,
  });
  await commitJournal(plan);
  for (const batch of batches) await accessor.commit(batch);
  // Before it is closed: an orderly close says that nothing can be missing.
  const files = new Map<string, Buffer>();
  for (const name of (await readdir(directory)).sort()) {
    if (name === MANIFEST_NAME || name.endsWith('.journal')) {
      files.set(name, await readFile(join(directory, name)));
    }
  }
  await accessor.close();
  return files;
}

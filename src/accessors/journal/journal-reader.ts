/**
 * A journal read without being opened: nothing in its directory is written, removed or begun, and
 * the layout stays as it is. The caller holds the directory's lock.
 */

import { readdir } from 'node:fs/promises';
import { errorCode, PULL_MANAGER_ERROR_CODES, type PullManagerError } from '../../errors.ts';
import { ownerOf, stripeOf } from '../../locks/stripe.ts';
import { type JournalFile, listJournalFiles, MANIFEST_NAME } from './file-names.ts';
import { checkNothingIsLost } from './journal-directory.ts';
import { type Manifest, readManifest } from './manifest.ts';
import { Pacer } from './pacer.ts';
import { recoverPartition } from './recovery.ts';
import { JournalState } from './state.ts';

/** Whether a directory holds a journal, whole or damaged. Rejects where it cannot be read. */
export async function isJournal(directory: string): Promise<boolean> {
  if ((await readdir(directory)).includes(MANIFEST_NAME)) return true;
  return (await listJournalFiles(directory)).length > 0;
}

/**
 * Everything a journal holds.
 *
 * @throws `STORE_CORRUPT`, `STORE_VERSION_UNSUPPORTED`; system errors as they are.
 */
export async function readJournal(directory: string): Promise<JournalState> {
  const state = new JournalState();
  const { manifest, files } = await readLayout(directory);
  for (let partition = 0; partition < (manifest?.partitionCount ?? 0); partition++) {
    await recoverPartition({
      directory,
      files: partitionOf(files, manifest!, partition),
      partitionCount: manifest!.partitionCount,
      state,
      pacer: new Pacer(true),
      flushes: false,
    });
  }
  return state;
}

/** Something seen while a journal was looked through. */
export type JournalSight =
  | { readonly kind: 'intent' | 'pulled'; readonly key: string; readonly isMisfiled: boolean }
  /** A file because of which the journal cannot be opened. */
  | {
      readonly kind: 'damage';
      readonly path: string;
      readonly offset?: number;
      readonly reason: string;
    }
  /** What a crash left, and the next opening clears away. */
  | {
      readonly kind: 'remark';
      readonly path: string;
      readonly offset?: number;
      readonly reason: string;
    };

/**
 * Looks through a journal, partition by partition; damage to one does not hide the others.
 *
 * @throws `STORE_VERSION_UNSUPPORTED`; system errors as they are.
 */
export async function* inspectJournal(directory: string): AsyncGenerator<JournalSight> {
  let layout: Layout;
  try {
    layout = await readLayout(directory);
  } catch (error) {
    yield damageOf(error, directory);
    return;
  }
  const { manifest, files } = layout;
  for (const { path, temporary, layout: number } of files) {
    if (temporary) {
      yield { kind: 'remark', path, reason: 'a file was being built when its writer ended' };
    } else if (number !== manifest?.layout) {
      yield { kind: 'remark', path, reason: 'a file belongs to a layout that is not in use' };
    }
  }
  for (let partition = 0; partition < (manifest?.partitionCount ?? 0); partition++) {
    yield* inspectPartition(directory, layout.files, manifest!, partition);
  }
}

async function* inspectPartition(
  directory: string,
  files: readonly JournalFile[],
  manifest: Manifest,
  partition: number,
): AsyncGenerator<JournalSight> {
  const { partitionCount, stripeCount } = manifest;
  const state = new JournalState();
  const sights: JournalSight[] = [];
  try {
    await recoverPartition({
      directory,
      files: partitionOf(files, manifest, partition),
      partitionCount,
      state,
      pacer: new Pacer(true),
      flushes: false,
      onTorn: (path, offset) => {
        const reason = 'the last batch was being written when its writer ended; it is void';
        sights.push({ kind: 'remark', path, offset, reason });
      },
    });
  } catch (error) {
    sights.push(damageOf(error, directory));
  }
  yield* sights;
  const isMisfiled = (key: string): boolean =>
    ownerOf(stripeOf(key, stripeCount), partitionCount) !== partition;
  for (const key of state.intents) yield { kind: 'intent', key, isMisfiled: isMisfiled(key) };
  for (const key of state.records.keys()) {
    yield { kind: 'pulled', key, isMisfiled: isMisfiled(key) };
  }
}

interface Layout {
  /** Undefined: a first start was cut short, and nothing was recorded. */
  readonly manifest: Manifest | undefined;
  readonly files: readonly JournalFile[];
}

async function readLayout(directory: string): Promise<Layout> {
  const manifest = await readManifest(directory);
  const files = await listJournalFiles(directory);
  if (manifest === undefined) await checkNothingIsLost(directory, files);
  return { manifest, files };
}

function partitionOf(
  files: readonly JournalFile[],
  { layout }: Manifest,
  partition: number,
): JournalFile[] {
  return files.filter((file) => file.layout === layout && file.partition === partition);
}

/** The sight of damage; throws what is none. */
function damageOf(error: unknown, directory: string): JournalSight {
  if (errorCode(error) !== PULL_MANAGER_ERROR_CODES.STORE_CORRUPT) throw error;
  const { path = directory, offset, reason, message } = error as PullManagerError;
  const where = offset === undefined ? {} : { offset };
  return { kind: 'damage', path, ...where, reason: reason ?? message };
}

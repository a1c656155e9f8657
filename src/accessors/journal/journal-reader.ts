/**
 * A journal read without being opened: nothing in its directory is written, removed or begun, and
 * the layout stays as it is. The caller holds the directory's lock.
 */

import { readdir } from 'node:fs/promises';
import { ownerOf, stripeOf } from '../../locks/stripe.ts';
import { damageOf, type Finding } from '../inspection.ts';
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

/**
 * Looks through a journal, partition by partition; damage to one does not hide the others.
 *
 * @param label - the location of what is in no place of its own: an intent, a record.
 * @throws `STORE_VERSION_UNSUPPORTED`; system errors as they are.
 */
export async function* inspectJournal(directory: string, label: string): AsyncGenerator<Finding> {
  let layout: Layout;
  try {
    layout = await readLayout(directory);
  } catch (error) {
    yield damageOf(error, directory);
    return;
  }
  const { manifest, files } = layout;
  for (const { path, temporary, layout: number } of files) {
    if (temporary) yield remark(path, 'a file was being built when its writer ended');
    else if (number !== manifest?.layout) {
      yield remark(path, 'a file belongs to a layout that is not in use');
    }
  }
  for (let partition = 0; partition < (manifest?.partitionCount ?? 0); partition++) {
    yield* inspectPartition(directory, label, layout, partition);
  }
}

async function* inspectPartition(
  directory: string,
  label: string,
  { manifest, files }: Layout,
  partition: number,
): AsyncGenerator<Finding> {
  const { partitionCount, stripeCount } = manifest!;
  const state = new JournalState();
  const findings: Finding[] = [];
  try {
    await recoverPartition({
      directory,
      files: partitionOf(files, manifest!, partition),
      partitionCount,
      state,
      pacer: new Pacer(true),
      flushes: false,
      onTorn: (path, offset) => {
        const reason = 'the last batch was being written when its writer ended; it is void';
        findings.push({ ...remark(path, reason), offset });
      },
    });
  } catch (error) {
    findings.push(damageOf(error, directory));
  }
  yield* findings;
  const entry = (kind: 'intent' | 'pulled', key: string): Finding => {
    if (ownerOf(stripeOf(key, stripeCount), partitionCount) === partition) {
      return { kind, verdict: 'valid', location: label, key };
    }
    const reason = 'it is in the files of a partition that is not its own';
    return { kind, verdict: 'misfiled', location: label, key, reason };
  };
  for (const key of state.intents) yield entry('intent', key);
  for (const key of state.records.keys()) yield entry('pulled', key);
}

/** What a crash left, and the next opening clears away. */
function remark(location: string, reason: string): Finding {
  return { kind: 'store', verdict: 'remark', location, reason };
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

/** The host's side of a kubelet store: makes the directory ready for the workers. */
import { lstat, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import {
  type CompatibilityLevel,
  KUBELET_BEHAVIOUR,
  type KubeletBehaviour,
} from '../../compatibility.ts';
import { quote, storeError } from '../../errors.ts';
import { makeDirectory } from '../directories.ts';
import { removeQuietly } from '../journal/file-io.ts';
import { Pacer } from '../journal/pacer.ts';
import type { JournalTuning } from '../journal/tuning.ts';
import { PlacedFiles } from './file-state.ts';
import { WATCH_DEFAULTS, type WatchTuning } from './foreign-watch.ts';
import { kubeletPaths, prepareDirectory, removeEmptyDirectories, unfit } from './layout.ts';
import { closeDirectories, type DirectoryIds, openDirectories } from './record-directory.ts';
import { replayRedoLogs, type UnappliedKey } from './redo-replay.ts';
import { WRITE_BEHIND_DEFAULTS, type WriteBehindTuning } from './write-behind.ts';

/** What a worker needs to open its part of the directory. Structured-cloneable. */
export interface KubeletPlan {
  /** The `image_manager` directory. */
  readonly dir: string;
  readonly behaviour: KubeletBehaviour;
  /** The kubelet's directories: others under their names are not them. */
  readonly directories: DirectoryIds;
  /** Keys whose files could not be brought up to date: damaged until they are written. */
  readonly unapplied: readonly UnappliedKey[];
  /** Memory of a `PlacedFiles`. */
  readonly placed: SharedArrayBuffer;
  readonly tuning: KubeletTuning;
}

/** Limits other than the default ones, for tests. */
export interface KubeletTuning {
  readonly writeBehind: WriteBehindTuning;
  readonly watch: WatchTuning;
  readonly redo: Partial<JournalTuning>;
}

/**
 * The directory to take before the store is prepared: nobody but us looks into it.
 *
 * @throws `STORE_UNAVAILABLE`, also where it is a link: the directory around what that leads to is
 * another one than `dir`, and files cannot be renamed from one file system to another.
 */
export async function kubeletLockDirectory(dir: string): Promise<string> {
  await prepareDirectory(dir);
  const { own } = kubeletPaths(dir);
  const found = await lstat(own).catch(() => undefined);
  if (found?.isSymbolicLink()) throw unfit(own, 'is a symbolic link');
  return own;
}

/**
 * Makes the directories that are missing, and brings to the kubelet's files what an earlier run had
 * acknowledged and not written there. The caller holds the lock on `own`.
 *
 * @param own - our directory below `image_manager`, without symbolic links.
 * @throws `STORE_UNAVAILABLE` naming the path and the reason, `STORE_CORRUPT`,
 * `STORE_VERSION_UNSUPPORTED`.
 */
export async function prepareKubelet(
  own: string,
  compatibility: CompatibilityLevel,
  tuning: { readonly [K in keyof KubeletTuning]?: Partial<KubeletTuning[K]> } = {},
): Promise<KubeletPlan> {
  const paths = kubeletPaths(dirname(own));
  const behaviour = KUBELET_BEHAVIOUR[compatibility];
  const memory = PlacedFiles.allocate();
  const placed = new PlacedFiles(memory, undefined);
  let ids: DirectoryIds;
  let unapplied: UnappliedKey[];
  try {
    for (const path of Object.values(paths.of)) await prepareDirectory(path);
    await makeDirectory(paths.redo);
    await makeDirectory(paths.temporary);
    for (const name of await readdir(paths.temporary)) {
      await removeQuietly(join(paths.temporary, name));
    }
    const directories = openDirectories(paths);
    ids = { intent: directories.intent.id, pulled: directories.pulled.id };
    try {
      const pacer = new Pacer(true);
      unapplied = await replayRedoLogs({ paths, directories, behaviour, placed, pacer });
    } finally {
      closeDirectories(directories);
    }
  } catch (cause) {
    throw storeError(`cannot make ${quote(paths.dir)} ready`, cause, paths.dir);
  }
  return {
    dir: paths.dir,
    behaviour,
    directories: ids,
    unapplied,
    placed: memory,
    tuning: {
      writeBehind: { ...WRITE_BEHIND_DEFAULTS, ...tuning.writeBehind },
      watch: { ...WATCH_DEFAULTS, ...tuning.watch },
      redo: tuning.redo ?? {},
    },
  };
}

/** Removes what is empty of ours. Call when all accessors are closed. Never rejects. */
export async function releaseKubelet({ dir }: KubeletPlan): Promise<void> {
  await removeEmptyDirectories(kubeletPaths(dir));
}

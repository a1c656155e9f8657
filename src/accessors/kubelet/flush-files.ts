/**
 * Makes many files durable. Where they are many, with one `syncfs`: it costs about as much as a few
 * `fsync` do. Node cannot call it, so the `sync` program does (GNU coreutils, busybox).
 */
import { spawn } from 'node:child_process';
import { open } from 'node:fs/promises';
import { inParallel } from './in-parallel.ts';

/** From how many files on one `syncfs` is cheaper than an `fsync` each, and a program to start. */
export const MANY_FILES = 64;

const SYNC_TIMEOUT_MS = 120_000;
let hasSyncProgram: boolean = process.platform === 'linux';

/** Flushes files that are all in `directory`, whose names need not last. Rejects if one may not be. */
export async function flushFiles(directory: string, paths: readonly string[]): Promise<void> {
  if (paths.length === 0) return;
  if (paths.length >= MANY_FILES && (await flushFileSystem(directory))) return;
  await inParallel(paths, async (path) => {
    const handle = await open(path, 'r+');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  });
}

/** False: there is no such program, or it failed; it may say so of another's file. */
async function flushFileSystem(path: string): Promise<boolean> {
  if (!hasSyncProgram) return false;
  const code = await new Promise<number | null | undefined>((settle) => {
    const child = spawn('sync', ['-f', path], { stdio: 'ignore', timeout: SYNC_TIMEOUT_MS });
    child.on('error', () => settle(undefined));
    child.on('close', settle);
  });
  if (code === undefined) hasSyncProgram = false;
  return code === 0;
}

/** Directories of stores: made and flushed so that no power cut takes them back. */
import { mkdir, open, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { errorCode } from '../errors.ts';

/** The owner's alone. */
export const DIRECTORY_MODE = 0o700;

/** Makes the names in a directory durable: files created, renamed or removed before. */
export async function flushDirectory(path: string): Promise<void> {
  // Windows neither needs nor allows it.
  if (process.platform === 'win32') return;
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Makes a directory and those above it that are missing; their names are durable when it resolves.
 * Nothing happens where it is there.
 *
 * Not `mkdir` with `recursive`: that never ends where a directory cannot be made, as in /proc.
 */
export async function makeDirectory(path: string): Promise<void> {
  const absolute = resolve(path);
  const parent = dirname(absolute);
  let outcome = await makeOne(absolute);
  if (outcome === 'parent is missing') {
    await makeDirectory(parent);
    outcome = await makeOne(absolute);
  }
  if (outcome === 'made') await flushDirectory(parent);
}

async function makeOne(path: string): Promise<'made' | 'was there' | 'parent is missing'> {
  try {
    await mkdir(path, { mode: DIRECTORY_MODE });
    return 'made';
  } catch (cause) {
    const code = errorCode(cause);
    if (code === 'EEXIST' && (await stat(path)).isDirectory()) return 'was there';
    if (code === 'ENOENT' && dirname(path) !== path) return 'parent is missing';
    throw cause;
  }
}

/**
 * `MANIFEST`: which layout of the directory is the live one.
 *
 * One line of JSON in a fixed order, with a checksum over the line without it. It is replaced as a
 * whole, by rename, and is the one switch between an old layout and a new one.
 */

import { open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { errorCode } from '../../errors.ts';
import { flushDirectory } from '../directories.ts';
import { corruptFile, JOURNAL_FORMAT_VERSION, newerVersion } from './file-header.ts';
import { FILE_MODE, removeQuietly } from './file-io.ts';
import { MANIFEST_NAME, TEMPORARY_SUFFIX } from './file-names.ts';

const FORMAT = 'pullwarden-journal';

/** How keys are spread over the files of a directory. */
export interface Manifest {
  /** Raised by one with each change. */
  readonly layout: number;
  readonly partitionCount: number;
  readonly stripeCount: number;
}

/** Reads the manifest; undefined if there is none. Changes nothing. */
export async function readManifest(directory: string): Promise<Manifest | undefined> {
  const path = join(directory, MANIFEST_NAME);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  const fields = parseObject(text);
  if (fields === undefined || fields.format !== FORMAT) {
    throw corruptFile(path, 0, 'it is not a manifest');
  }
  const { version, layout, partitionCount, stripeCount } = fields;
  if (typeof version === 'number' && version > JOURNAL_FORMAT_VERSION) {
    throw newerVersion(path, version);
  }
  const counts = [layout, partitionCount, stripeCount];
  if (!counts.every((count) => Number.isSafeInteger(count) && (count as number) > 0)) {
    throw corruptFile(path, 0, 'a field of the manifest is damaged');
  }
  const manifest = { layout, partitionCount, stripeCount } as Manifest;
  if (text !== manifestText(manifest)) {
    throw corruptFile(path, 0, 'the checksum of the manifest is wrong');
  }
  return manifest;
}

/** Replaces the manifest; durable when it resolves. */
export async function writeManifest(directory: string, manifest: Manifest): Promise<void> {
  const path = join(directory, MANIFEST_NAME);
  const temporary = path + TEMPORARY_SUFFIX;
  try {
    const handle = await open(temporary, 'w', FILE_MODE);
    try {
      await handle.writeFile(manifestText(manifest));
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await removeQuietly(temporary);
    throw error;
  }
  await flushDirectory(directory);
}

function manifestText({ layout, partitionCount, stripeCount }: Manifest): string {
  const version = JOURNAL_FORMAT_VERSION;
  const fields = { format: FORMAT, version, layout, partitionCount, stripeCount };
  const checksum = crc32(JSON.stringify(fields)).toString(16).padStart(8, '0');
  return `${JSON.stringify({ ...fields, crc32: checksum })}\n`;
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

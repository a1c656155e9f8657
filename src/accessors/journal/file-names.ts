/**
 * Names of the journal's files. Whatever does not match is somebody else's and is left alone.
 *
 * `<layout>-<partition>-<number>.journal` or `.snapshot`, in decimal, padded to 6, 4 and 10 digits;
 * with `.tmp` behind while it is being built.
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

export const MANIFEST_NAME = 'MANIFEST';
export const TEMPORARY_SUFFIX = '.tmp';

export type JournalFileKind = 'journal' | 'snapshot';

/** A file of the journal, as its name tells. */
export interface JournalFile {
  readonly path: string;
  readonly kind: JournalFileKind;
  readonly layout: number;
  readonly partition: number;
  readonly number: number;
  /** Still being built when its writer stopped. */
  readonly temporary: boolean;
}

const PATTERN = /^(\d{6,10})-(\d{4,10})-(\d{10,15})\.(journal|snapshot)(\.tmp)?$/;

/** Path of the file with these numbers. */
export function journalFilePath(
  directory: string,
  kind: JournalFileKind,
  layout: number,
  partition: number,
  number: number,
): string {
  const name = [pad(layout, 6), pad(partition, 4), pad(number, 10)].join('-');
  return join(directory, `${name}.${kind}`);
}

/** The journal's own files in a directory, by number; foreign names are left out. */
export async function listJournalFiles(directory: string): Promise<JournalFile[]> {
  const files: JournalFile[] = [];
  for (const name of await readdir(directory)) {
    const match = PATTERN.exec(name);
    if (match === null) continue;
    files.push({
      path: join(directory, name),
      kind: match[4] === 'snapshot' ? 'snapshot' : 'journal',
      layout: Number(match[1]),
      partition: Number(match[2]),
      number: Number(match[3]),
      temporary: match[5] !== undefined,
    });
  }
  return files.toSorted((a, b) => a.number - b.number);
}

function pad(value: number, digits: number): string {
  return String(value).padStart(digits, '0');
}

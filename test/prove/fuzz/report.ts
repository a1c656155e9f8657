/** What is said of a fuzzing run: rows of the table, and failures that can be had again. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ProofFailure, ProofRow } from '../proof.ts';
import type { Found, JobResult } from './job.ts';
import type { FuzzTarget } from './target.ts';

/** Longer inputs are in a file. */
const HEX_BYTES_MAX = 256;
const SHOWN_LENGTH_MAX = 200;
const MIB = 1 << 20;
const PERCENT = 100;

/** The row of a target, from all that was done with it. */
export function rowOf(target: FuzzTarget, results: readonly JobResult[]): ProofRow {
  const sum = (of: (result: JobResult) => number): number =>
    results.reduce((total, result) => total + of(result), 0);
  const count = sum(({ fedCount }) => fedCount);
  const notes = [
    `${((sum(({ acceptedCount }) => acceptedCount) / count) * PERCENT).toFixed(0)} % accepted`,
  ];
  const blocks = sum(({ blockCount }) => blockCount);
  if (blocks > 0) notes.push(`${blocks} blocks`, `${sum(({ keptCount }) => keptCount)} kept`);
  const worst = results
    .flatMap(({ growth }) => growth)
    .toSorted((a, b) => b.exponent - a.exponent)[0];
  if (worst !== undefined) {
    const { bytes, ms } = worst.points.at(-1)!;
    const doubling = (2 ** worst.exponent).toFixed(1);
    notes.push(
      `time × ${doubling} a doubling at most (${worst.worstCase}, ${ms.toFixed(0)} ms for ${sizeText(bytes)})`,
    );
  }
  const memory = Math.max(...results.map(({ memoryBytesMax }) => memoryBytesMax));
  notes.push(`${Math.ceil(memory / MIB)} MiB at most`);
  const failures = sum(({ found }) => found.length);
  return { what: target.name, count, unit: target.unit, failures, note: notes.join(', ') };
}

function sizeText(bytes: number): string {
  return bytes >= MIB ? `${(bytes / MIB).toFixed(0)} MiB` : `${(bytes / 1_024).toFixed(0)} KiB`;
}

/** @param directory Where inputs that are too long for a command line are left. */
export function failureOf(
  target: string,
  seed: number,
  directory: string,
  found: Found,
  index: number,
): ProofFailure {
  const input = Buffer.from(found.input);
  const start = `npm run prove -- fuzz --seed ${seed} -- --target ${target}`;
  let replay = `${start} --input ${input.toString('hex')}`;
  if (input.length > HEX_BYTES_MAX) {
    const path = join(directory, `${target}-${index}.input`);
    writeFileSync(path, input);
    replay = `${start} --file ${path}`;
  }
  const text = JSON.stringify(input.subarray(0, SHOWN_LENGTH_MAX).toString('latin1'));
  const shown = `${input.length} bytes: ${text}${input.length > SHOWN_LENGTH_MAX ? '…' : ''}`;
  return {
    what: `${target}: ${found.what}`,
    detail: found.detail === '' ? shown : `${shown}\n${found.detail}`,
    replay,
  };
}

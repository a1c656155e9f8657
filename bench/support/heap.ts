/** The heap of this process, as far as a benchmark asks for it; needs `--expose-gc`. */
import { setImmediate } from 'node:timers/promises';
import { getHeapSpaceStatistics } from 'node:v8';

/** Collects all garbage. Twice, with a turn of the event loop between: finalizers run in it. */
export async function collectGarbage(): Promise<void> {
  for (let i = 0; i < 2; i++) {
    globalThis.gc!();
    await setImmediate();
  }
}

/** Bytes in use outside the young generation: what has survived. */
export function oldBytes(): number {
  return getHeapSpaceStatistics()
    .filter(({ space_name: name }) => !name.startsWith('new_'))
    .reduce((sum, { space_used_size: used }) => sum + used, 0);
}

const STRING_HEADER_BYTES = 16;
const WORD_BYTES = 8;

/** What V8 takes for a flat string of Latin-1 characters. */
export function stringBytes(text: string): number {
  return Math.ceil((STRING_HEADER_BYTES + text.length) / WORD_BYTES) * WORD_BYTES;
}

/**
 * One wall clock for all threads of the process, which stands still until it is set. Loaded before
 * anything else in every thread (`--import`), since engines take hold of `Date.now` as they start.
 */
import { getEnvironmentData, setEnvironmentData } from 'node:worker_threads';

const KEY = 'pullwarden.simulation.clock';
/** Whole seconds throughout, which every store keeps. */
const START_MS = 1_800_000_000_000;

function sharedWords(): Float64Array {
  const found = getEnvironmentData(KEY);
  if (found instanceof Float64Array) return found;
  const made = new Float64Array(new SharedArrayBuffer(8)).fill(START_MS);
  // Threads get the same memory as they start.
  setEnvironmentData(KEY, made);
  return made;
}

const words = sharedWords();
Date.now = () => words[0]!;

export function setClock(ms: number): void {
  words[0] = ms;
}

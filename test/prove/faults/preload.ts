/**
 * Loaded with `--import` into every thread of a lane before the engine: see `inject`. The lane says
 * through the environment data of its threads what their switchboard is; its own it makes here.
 */
import { getEnvironmentData, setEnvironmentData } from 'node:worker_threads';
import { inject } from './inject.ts';
import { Switchboard } from './switchboard.ts';

const KEY = 'pullwarden-faults';
const base = process.env.PULLWARDEN_FAULTS_BASE;

let memory = getEnvironmentData(KEY) as unknown as SharedArrayBuffer | undefined;
if (memory === undefined) {
  ({ memory } = Switchboard.create());
  setEnvironmentData(KEY, memory);
}
if (base !== undefined) await inject(new Switchboard(memory), base);

/** The switchboard of this process. */
export const switchboard: Switchboard = new Switchboard(memory);

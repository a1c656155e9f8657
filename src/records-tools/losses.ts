/** What a store cannot keep of a record. */
import type { PulledRecord } from '../records/record.ts';
import type { StoreChoice } from './store-choice.ts';

/** Says in words what would be lost of a record; empty where nothing is. Never names a hash. */
export type Losses = (record: PulledRecord) => readonly string[];

/**
 * What the store would lose. Our own stores keep everything; a module is given everything. The
 * kubelet's files cannot say everything, and its format knows what.
 */
export function lossesOf(_choice: StoreChoice): Losses {
  return () => [];
}

/** What a store cannot keep of a record. */
import { inexpressible } from '../accessors/kubelet/record-format.ts';
import { KUBELET_BEHAVIOUR } from '../compatibility.ts';
import type { PulledRecord } from '../records/record.ts';
import type { StoreChoice } from './store-choice.ts';

/** Says in words what would be lost of a record; empty where nothing is. Never names a hash. */
export type Losses = (record: PulledRecord) => readonly string[];

/**
 * What the store would lose. Our own stores keep everything; a module is given everything. The
 * kubelet's files cannot say everything, and its format knows what.
 */
export function lossesOf({ options, compatibility }: StoreChoice): Losses {
  if (!('kind' in options) || options.kind !== 'kubelet') return () => [];
  const behaviour = KUBELET_BEHAVIOUR[compatibility];
  return (record) => inexpressible(record, behaviour);
}

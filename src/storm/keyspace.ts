/** The keys that a ledger is kept of: those of a storm's universe, or of a trace. */
import type { Credential, Tenants } from './tenants.ts';

/** Images, references and the names that proofs are filed under, each numbered from 0. */
export interface Keyspace {
  /** By image, as pods write it. The same text more than once where it had several references. */
  readonly images: readonly string[];
  readonly names: readonly string[];
  readonly refs: readonly string[];
  readonly nameOfImage: Int32Array;
  readonly refOfImage: Int32Array;
  readonly imagesOfRef: readonly (readonly number[])[];
  /** Who is who, in numbers. */
  readonly tenants: Pick<Tenants, 'count' | 'hashOf' | 'labelOf' | 'placeOf' | 'placesOfHash'>;
  /** Whether a successful pull by a credential opens an image to the whole node. */
  isNodeWide(image: number, credential: Credential): boolean;
}

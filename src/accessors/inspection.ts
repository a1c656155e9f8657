/**
 * What a store keeps, looked at piece by piece, as `records verify` needs it: also what no lookup
 * and no listing can return.
 */

/** One thing that a store keeps. */
export interface InspectedEntry {
  readonly kind: 'intent' | 'pulled';
  /**
   * `valid`; `undecodable`: present, but no record; `misfiled`: a record, under another one's key;
   * `orphan`: a temporary file that a crash left.
   */
  readonly verdict: 'valid' | 'undecodable' | 'misfiled' | 'orphan';
  /** Where it is, as one would look for it: a file's path, the hexadecimal key in a database. */
  readonly location: string;
  /** The image of an intent, the imageRef of a pulled record; absent where it cannot be read. */
  readonly key?: string;
  /** What is wrong, in one sentence without any of the content; absent where nothing is. */
  readonly reason?: string;
  /** 0-based byte at which decoding failed, where that is known. */
  readonly offset?: number;
}

/** A store that can be looked at piece by piece. */
export interface Inspectable {
  /** Everything the store keeps, in the order of its locations. */
  inspect(): AsyncIterable<InspectedEntry>;
  /**
   * Takes a bad entry out of the store and keeps it aside; answers where it is now. The store then
   * answers as if the entry had never been, so only people call this, never the engine. Undefined: it
   * is not bad any more, and stays.
   */
  quarantine(entry: InspectedEntry): Promise<string | undefined>;
}

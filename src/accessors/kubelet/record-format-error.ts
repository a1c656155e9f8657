/**
 * Bytes that are not a record of the kubelet.
 *
 * `reason` says what is wrong and in which part, without any of the content: values can be hashes.
 * `offset` is the 0-based byte at which it shows, where there is such a byte.
 */
export class RecordFormatError extends Error {
  readonly reason: string;
  readonly offset: number | undefined;

  constructor(reason: string, offset?: number) {
    super(offset === undefined ? reason : `${reason} (byte ${offset})`);
    this.name = 'RecordFormatError';
    this.reason = reason;
    this.offset = offset;
  }
}

/** As far as it was read no damage, but of a kubelet that is newer than the claimed level. */
export class UnreadVersionError extends RecordFormatError {}

/** The bytes in pieces of one size, as they might arrive. */
export async function* chunks(whole: Buffer, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < whole.length; at += size) yield whole.subarray(at, at + size);
}

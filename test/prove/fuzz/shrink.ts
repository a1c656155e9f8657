/** Makes an input that fails shorter: removes pieces, halves first, as long as it still fails. */

/** @param stillFails Whether the failure is the same; asked at most `triesMax` times. */
export async function shrunk(
  input: Buffer,
  stillFails: (shorter: Buffer) => Promise<boolean>,
  triesMax: number,
): Promise<Buffer> {
  let best = input;
  let tries = 0;
  for (let size = Math.ceil(best.length / 2); size >= 1 && tries < triesMax; ) {
    let isShorter = false;
    for (let at = 0; at < best.length && tries < triesMax; ) {
      const shorter = Buffer.concat([best.subarray(0, at), best.subarray(at + size)]);
      tries++;
      if (await stillFails(shorter)) {
        best = shorter;
        isShorter = true;
      } else at += size;
    }
    if (isShorter && size > 1) continue;
    if (size === 1 && !isShorter) break;
    size = Math.max(1, Math.floor(size / 2));
  }
  return best;
}

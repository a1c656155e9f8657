/** Writes tar archives (ustar) in memory: the same entries give the same bytes. */

const BLOCK_BYTES = 512;
const NAME_BYTES_MAX = 100;
const SIZE_DIGITS = 11;

export interface TarEntry {
  /** Relative, at most 100 bytes. */
  readonly name: string;
  readonly content: Buffer;
}

/** An archive of regular files, owned by root, readable by all, without times. */
export function tar(entries: readonly TarEntry[]): Buffer {
  const blocks = entries.flatMap(({ name, content }) => [
    header(name, content.length),
    content,
    Buffer.alloc((BLOCK_BYTES - (content.length % BLOCK_BYTES)) % BLOCK_BYTES),
  ]);
  return Buffer.concat([...blocks, Buffer.alloc(2 * BLOCK_BYTES)]);
}

function header(name: string, size: number): Buffer {
  if (Buffer.byteLength(name) > NAME_BYTES_MAX) throw new RangeError(`too long for tar: ${name}`);
  const block = Buffer.alloc(BLOCK_BYTES);
  block.write(name, 0);
  block.write('0000644\0', 100); // mode
  block.write('0000000\0', 108); // user
  block.write('0000000\0', 116); // group
  block.write(`${size.toString(8).padStart(SIZE_DIGITS, '0')}\0`, 124);
  block.write('00000000000\0', 136); // time
  block.write('        ', 148); // the checksum counts as spaces in itself
  block.write('0', 156); // regular file
  block.write('ustar\x0000', 257);
  const checksum = block.reduce((sum, byte) => sum + byte, 0);
  block.write(`${checksum.toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}

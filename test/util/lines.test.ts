import { expect, it } from 'vitest';
import { linesOf } from '../../src/util/lines.ts';
import { chunks } from '../support/chunks.ts';

it('gives lines of bounded length, whatever bytes they are', async () => {
  const read = async (bytes: Buffer): Promise<(string | undefined)[]> => {
    const texts: (string | undefined)[] = [];
    for await (const line of linesOf(chunks(bytes, 3), 8)) texts.push(line.text);
    return texts;
  };
  expect(await read(Buffer.from('12345678\n\na\r\n\nlast'))).toEqual([
    '12345678',
    '',
    'a',
    '',
    'last',
  ]);
  expect(await read(Buffer.from([0xff, 0x0a, 0x61]))).toEqual([undefined, 'a']);
  await expect(read(Buffer.from('123456789'))).rejects.toThrow('line 1 is longer than 8 bytes');
});

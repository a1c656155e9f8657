import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  endLine,
  headerLine,
  itemLine,
  readExport,
} from '../../src/records-tools/export-format.ts';
import type { TransferItem } from '../../src/records-tools/items.ts';
import { isSameRecord } from '../../src/records-tools/merge-records.ts';
import { record, text } from '../support/arbitrary-records.ts';
import { chunks } from '../support/chunks.ts';

describe('a file of records', () => {
  it('gives back what was written, however it arrives', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(record),
        fc.array(text),
        fc.integer({ min: 1, max: 50 }),
        async (records, images, size) => {
          const items: Exclude<TransferItem, { kind: 'damaged' }>[] = [
            ...images.map((image) => ({ kind: 'intent', image }) as const),
            ...records.map((given) => ({ kind: 'pulled', record: given }) as const),
          ];
          const end = endLine({ intents: images.length, records: records.length, damaged: 0 });
          const whole = Buffer.from([headerLine(), ...items.map(itemLine), end].join(''));
          const read: TransferItem[] = [];
          for await (const item of await readExport(chunks(whole, size), 'file')) read.push(item);
          expect(read).toHaveLength(items.length);
          for (const [i, item] of items.entries()) {
            const given = read[i]!;
            if (item.kind === 'intent' || given.kind !== 'pulled') expect(given).toEqual(item);
            else expect(isSameRecord(given.record, item.record)).toBe(true);
          }
        },
      ),
      { numRuns: 50 },
    );
  });
});

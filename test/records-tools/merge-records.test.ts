import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareUtf8, type ImagePullCredentials, PulledRecord } from '../../src/records/record.ts';
import { normalizeCredentials } from '../../src/records/validate.ts';
import {
  endLine,
  headerLine,
  itemLine,
  readExport,
} from '../../src/records-tools/export-format.ts';
import { linesOf } from '../../src/records-tools/lines.ts';
import { isSameRecord, mergeRecords } from '../../src/records-tools/merge-records.ts';
import type { TransferItem } from '../../src/records-tools/transfer.ts';

const text = fc.constantFrom('a', 'b', '__proto__', '🦊', '\ud800');
const time = fc.integer({ min: -5, max: 5 });
const proof = fc.record({ uid: text, namespace: text, name: text }, { noNullPrototype: true });
const secret = fc.record(
  { uid: text, namespace: text, name: text, credentialHash: text, provenAtMs: time },
  { requiredKeys: ['uid', 'namespace', 'name', 'credentialHash'], noNullPrototype: true },
);
const credentials = fc.record(
  {
    nodePodsAccessible: fc.boolean(),
    kubernetesSecrets: fc.array(secret, { maxLength: 4 }),
    kubernetesServiceAccounts: fc.array(proof, { maxLength: 3 }),
  },
  { requiredKeys: [], noNullPrototype: true },
) as fc.Arbitrary<ImagePullCredentials>;

function recordOf(of: fc.Arbitrary<ImagePullCredentials>): fc.Arbitrary<PulledRecord> {
  return fc
    .tuple(time, fc.uniqueArray(fc.tuple(text, of), { selector: ([name]) => name, maxLength: 4 }))
    .map(([updatedAtMs, entries]) => {
      const proofs = entries.map(([imageName, given]) => ({ imageName, credentials: given }));
      proofs.sort((a, b) => compareUtf8(a.imageName, b.imageName));
      return new PulledRecord('ref', updatedAtMs, proofs);
    });
}
const record = recordOf(credentials);
const normal = recordOf(credentials.map((given) => normalizeCredentials(given)!));

describe('merging two records', () => {
  it('changes nothing the second time', () => {
    fc.assert(
      fc.property(record, record, (existing, added) => {
        const once = mergeRecords(existing, added);
        expect(isSameRecord(mergeRecords(once, added), once)).toBe(true);
      }),
    );
  });

  it('does not depend on which is there first, unless they are equally old', () => {
    fc.assert(
      fc.property(normal, normal, (a, b) => {
        fc.pre(a.updatedAtMs !== b.updatedAtMs);
        expect(mergeRecords(a, b)).toEqual(mergeRecords(b, a));
      }),
    );
  });

  it('keeps every name and every proof of both', () => {
    fc.assert(
      fc.property(record, record, (a, b) => {
        const merged = mergeRecords(a, b);
        expect(merged.updatedAtMs).toBe(Math.max(a.updatedAtMs, b.updatedAtMs));
        for (const { imageName, credentials: given } of [...a.proofs, ...b.proofs]) {
          const found = merged.credentialsFor(imageName)!;
          if (given.nodePodsAccessible) expect(found.nodePodsAccessible).toBe(true);
          if (found.nodePodsAccessible) continue;
          for (const { uid, namespace, name } of given.kubernetesSecrets ?? []) {
            expect(found.kubernetesSecrets).toContainEqual(
              expect.objectContaining({ uid, namespace, name }),
            );
          }
          for (const account of given.kubernetesServiceAccounts ?? []) {
            expect(found.kubernetesServiceAccounts).toContainEqual(account);
          }
        }
      }),
    );
  });
});

async function* chunks(whole: Buffer, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < whole.length; at += size) yield whole.subarray(at, at + size);
}

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

  it('has lines of bounded length, whatever bytes they are', async () => {
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
});

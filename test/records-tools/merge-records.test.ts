import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isSameRecord, mergeRecords } from '../../src/records-tools/merge-records.ts';
import { normal, record } from '../support/arbitrary-records.ts';

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

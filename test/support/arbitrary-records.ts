/** Records as fast-check makes them. */
import fc from 'fast-check';
import { compareUtf8, type ImagePullCredentials, PulledRecord } from '../../src/records/record.ts';
import { normalizeCredentials } from '../../src/records/validate.ts';

/** Few texts, so that they meet. */
export const text: fc.Arbitrary<string> = fc.constantFrom('a', 'b', '__proto__', '🦊', '\ud800');
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
/** Any record of one imageRef. */
export const record: fc.Arbitrary<PulledRecord> = recordOf(credentials);
/** The same in normal form. */
export const normal: fc.Arbitrary<PulledRecord> = recordOf(
  credentials.map((given) => normalizeCredentials(given)!),
);

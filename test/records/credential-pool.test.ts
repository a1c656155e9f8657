import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import { decodeRecord, encodeRecord } from '../../src/records/codec.ts';
import { CredentialPool } from '../../src/records/credential-pool.ts';
import { PulledRecord } from '../../src/records/record.ts';
import { secret } from '../support/credentials.ts';

/** Names in a record, each with a proof of its own. */
const NAMES = 100;
const RECORDS = 2000;

/** A record that differs from the others in one hash. */
function bytesOf(number: number): Uint8Array {
  const proofs = Array.from({ length: NAMES }, (_, i) => {
    const hash = i === 0 ? `record-${number}` : `name-${i}`;
    const credentialHash = hash.padEnd(64, '0');
    return {
      imageName: `registry.example.com/team/app-${String(i).padStart(3, '0')}`,
      credentials: { kubernetesSecrets: [secret(`pull-secret-of-${i}`, { credentialHash })] },
    };
  });
  return encodeRecord(new PulledRecord('sha256:0', 1, proofs));
}

it('keeps of a record no more than the credentials', () => {
  setFlagsFromString('--expose-gc');
  const collectGarbage = runInNewContext('gc') as () => void;
  const heap = (): number => {
    collectGarbage();
    return process.memoryUsage().heapUsed;
  };
  const pool = new CredentialPool();
  const decode = (number: number): void => {
    decodeRecord(bytesOf(number), (packed) => pool.credentials(packed));
  };
  for (let number = 0; number < 100; number++) decode(number);
  const before = heap();
  for (let number = 100; number < 100 + RECORDS; number++) decode(number);
  expect((heap() - before) / RECORDS).toBeLessThan(1500);
  // What is in the pool must live until here.
  expect(pool.credentials([0, ['u', 'n', 's', 'h', null], null, null])).toBeDefined();
});

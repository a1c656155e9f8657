/** What the contract says of the records themselves. */
import type { RecordWrite } from '../accessors/accessor.ts';
import { type ImagePullCredentials, PulledRecord, ZERO_TIME_MS } from '../records/record.ts';
import { same } from './expect.ts';
import type { Law } from './law.ts';
import { comparable, record, secret, secrets, TIME_MS } from './samples.ts';

export const LAWS_OF_VALUES: readonly Law[] = [
  {
    name: 'keeps a record with 10,000 secrets and 1,000 service accounts',
    check: async (trial) => {
      const credentials: ImagePullCredentials = {
        ...secrets(10_000),
        kubernetesServiceAccounts: Array.from({ length: 1000 }, (_, i) => ({
          uid: `uid-${i}`,
          namespace: 'ns',
          name: `account-${String(i).padStart(6, '0')}`,
        })),
      };
      const large = record('large', { name: credentials });
      await trial.accessor.writeImagePulledRecord(large);
      await trial.expectRecord('large', large);
    },
  },
  {
    name: 'keeps times as exactly as it says, from the zero time to the far future',
    check: async (trial) => {
      const { timeResolutionMs = 1, timeMsMax = 8.64e15 } = trial.capabilities;
      const times = [ZERO_TIME_MS, -1, 0, 1, TIME_MS, timeMsMax];
      await trial.accessor.commit(
        times.map(
          (ms): RecordWrite => ({ op: 'writePulled', record: record(`ref ${ms}`, {}, ms) }),
        ),
      );
      for (const ms of times) {
        const found = await trial.accessor.getImagePulledRecord(`ref ${ms}`);
        const kept = Math.floor(ms / timeResolutionMs) * timeResolutionMs;
        same(found?.lastUpdatedTime.getTime(), kept, 'the time of a record');
      }
    },
  },
  {
    name: 'keeps when each proof was given',
    check: async (trial) => {
      const proven = record('ref', {
        listed: {
          kubernetesSecrets: [{ ...secret(1), provenAtMs: TIME_MS - 1 }, secret(2)],
          kubernetesServiceAccounts: [{ uid: 'u', namespace: 'n', name: 'a', provenAtMs: 0 }],
        },
        nodeWide: { nodePodsAccessible: true, provenAtMs: TIME_MS + 1 },
      });
      await trial.accessor.writeImagePulledRecord(proven);
      await trial.expectRecord('ref', proven);
    },
  },
  {
    name: 'keeps a name without any proof, and a record without a name',
    check: async (trial) => {
      const some = record('some', { name: {} });
      const none = record('none', {});
      await trial.accessor.commit([
        { op: 'writePulled', record: some },
        { op: 'writePulled', record: none },
      ]);
      await trial.expectRecord('some', some);
      await trial.expectRecord('none', none);
    },
  },
  {
    name: 'takes a mapping whose names are in any order',
    check: async (trial) => {
      const names = ['z', 'a', '\u{1f4e6}', '\uffff', 'b/c', 'b'];
      const mapping = Object.fromEntries(names.map((name, i) => [name, secrets(1, `hash-${i}`)]));
      await trial.accessor.writeImagePulledRecord(record('ref', mapping));
      await trial.expectRecord('ref', record('ref', mapping));
    },
  },
  {
    name: 'takes the compact form of a record as well as a plain one',
    lacks: ({ capabilities }) =>
      capabilities.compactRecords === true ? undefined : 'the engine gives stores plain records',
    check: async (trial) => {
      const compact = PulledRecord.from(record('ref', { name: secrets(3) }));
      await trial.accessor.writeImagePulledRecord(compact);
      await trial.expectRecord('ref', compact);
    },
  },
  {
    name: 'is not changed through a record after it was written',
    check: async (trial) => {
      const sound = record('ref', { name: secrets(1) });
      const written = record('ref', { name: secrets(1) });
      await trial.accessor.writeImagePulledRecord(written);
      written.imageRef = 'other';
      written.lastUpdatedTime.setTime(0);
      written.credentialMapping.name!.kubernetesSecrets![0]!.credentialHash = 'forged';
      written.credentialMapping.intruder = { nodePodsAccessible: true };
      await trial.expectRecord('ref', sound);
    },
  },
  {
    name: 'is not changed through the plain values of what was read',
    check: async (trial) => {
      const sound = record('ref', { name: secrets(1) });
      await trial.accessor.writeImagePulledRecord(record('ref', { name: secrets(1) }));
      for (const read of [
        await trial.accessor.getImagePulledRecord('ref'),
        (await trial.accessor.listImagePulledRecords()).records[0],
      ]) {
        const { timeResolutionMs } = trial.capabilities;
        const expected = comparable(sound, timeResolutionMs);
        same(comparable(read, timeResolutionMs), expected, 'the record');
        // Values that cannot be changed are as good as copies.
        attempt(() => read!.lastUpdatedTime.setTime(0));
        const mapping = read!.credentialMapping;
        attempt(() => {
          mapping.name!.kubernetesSecrets![0]!.credentialHash = 'forged';
        });
        attempt(() => {
          mapping.intruder = { nodePodsAccessible: true };
        });
      }
      await trial.expectRecord('ref', sound);
      const listing = await trial.accessor.listImagePulledRecords();
      listing.records.length = 0;
      await trial.expectPulled([sound]);
    },
  },
];

function attempt(change: () => unknown): void {
  try {
    change();
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
}

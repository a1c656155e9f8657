import fc from 'fast-check';
import { expect, it } from 'vitest';
import { JournalState } from '../../../src/accessors/journal/state.ts';
import { StateReplay } from '../../../src/accessors/journal/state-replay.ts';
import { applyChange } from '../../../src/records/merge.ts';
import { PulledRecord } from '../../../src/records/record.ts';
import { normalizeCredentials } from '../../../src/records/validate.ts';
import {
  copyOf,
  dump,
  Model,
  newDirectory,
  openOne,
  secretOf,
} from '../../fixtures/journal/kit.ts';

const REFS = ['sha256:1', 'sha256:2', 'elsewhere'] as const;

function secretsFrom(first: number, count: number) {
  const kubernetesSecrets = Array.from({ length: count }, (_, i) => {
    return { uid: `u${first + i}`, namespace: 'n', name: 's', credentialHash: 'h' };
  });
  return normalizeCredentials({ kubernetesSecrets })!;
}

const ref = fc.constantFrom(...REFS);
const imageName = fc.constantFrom('a', 'b');
const credentials = fc
  .tuple(fc.nat({ max: 100 }), fc.nat({ max: 30 }))
  .map(([first, count]) => secretsFrom(first, count));
const timeMs = fc.nat({ max: 5 });
const loggedWrite = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      op: fc.constant('change' as const),
      ref,
      imageName,
      credentials,
      timeMs,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constant('write' as const),
      ref,
      imageName,
      credentials,
      timeMs,
    }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('delete' as const), ref }) },
);

it('replay ends in what the writes make of the records one after the other', () => {
  fc.assert(
    fc.property(fc.array(loggedWrite, { maxLength: 60 }), (writes) => {
      const shared = new JournalState();
      const state = new JournalState(shared, (key) => key !== 'elsewhere');
      const replay = new StateReplay(state);
      const expected = new Map<string, PulledRecord>();
      for (const one of writes) {
        if (one.op === 'delete') {
          replay.deletePulled(one.ref);
          expected.delete(one.ref);
          continue;
        }
        const change = { imageName: one.imageName, credentials: one.credentials };
        if (one.op === 'write') {
          const record = new PulledRecord(one.ref, one.timeMs, [change]);
          replay.writePulled(record);
          expected.set(one.ref, record);
        } else {
          replay.changePulled(one.ref, change, one.timeMs);
          const before = expected.get(one.ref);
          expected.set(one.ref, applyChange(before, one.ref, change, one.timeMs));
        }
      }
      replay.end();
      expected.delete('elsewhere');
      expect(shared.records).toEqual(expected);
    }),
    { numRuns: 500 },
  );
});

it('a journal that was killed has all changes of a large record', async () => {
  const path = newDirectory();
  const accessor = await openOne(path);
  const model = new Model();
  for (let i = 0; i < 100; i++) {
    const write = model.change('sha256:1', `name-${i % 50}`, secretOf(i, 0), i);
    model.apply([write]);
    await accessor.commit([write]);
  }
  const killed = copyOf(path);
  await accessor.close();
  const reopened = await openOne(killed);
  expect(await dump(reopened)).toEqual(model.dump());
  await reopened.close();
});

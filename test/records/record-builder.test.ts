import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { applyChange } from '../../src/records/merge.ts';
import { compareUtf8, type ImagePullCredentials, PulledRecord } from '../../src/records/record.ts';
import { isLarge, RecordBuilder } from '../../src/records/record-builder.ts';
import { normalizeCredentials } from '../../src/records/validate.ts';

const REF = 'sha256:1';
/** More names and more secrets than are copied at each change. */
const NAMES = Array.from({ length: 40 }, (_, i) => `name${i}`);
const LONG = normal({ kubernetesSecrets: Array.from({ length: 40 }, (_, i) => secret(i)) });

function secret(i: number, credentialHash = 'h') {
  return { uid: `u${i}`, namespace: 'n', name: 's', credentialHash };
}

function normal(given: ImagePullCredentials): ImagePullCredentials {
  return normalizeCredentials(given)!;
}

const provenAtMs = fc.option(fc.nat({ max: 3 }), { nil: undefined });
/** With a part of the coordinates that moves from one to the next. */
const coordinates = fc.oneof(
  fc.nat({ max: 60 }).map((i) => ({ uid: `u${i}`, namespace: 'n', name: 's' })),
  fc.constantFrom(
    { uid: 'c', namespace: 'ab', name: '' },
    { uid: 'c', namespace: 'a', name: 'b' },
    { uid: 'bc', namespace: 'a', name: '' },
    { uid: '\ud800', namespace: '\uffff', name: '\0' },
  ),
);
const secrets = fc.array(
  fc
    .tuple(coordinates, fc.constantFrom('h', 'i'), provenAtMs)
    .map(([at, credentialHash, time]) => ({ ...at, credentialHash, provenAtMs: time })),
  { maxLength: 60, size: 'max' },
);
const accounts = fc.array(
  fc.tuple(coordinates, provenAtMs).map(([at, time]) => ({ ...at, provenAtMs: time })),
  { maxLength: 60, size: 'max' },
);
const credentials: fc.Arbitrary<ImagePullCredentials> = fc
  .oneof(
    {
      weight: 9,
      arbitrary: fc.record({ kubernetesSecrets: secrets, kubernetesServiceAccounts: accounts }),
    },
    {
      weight: 1,
      arbitrary: provenAtMs.map((time) => ({ nodePodsAccessible: true, provenAtMs: time })),
    },
    { weight: 1, arbitrary: fc.constant({}) },
  )
  .map((given) => normalizeCredentials(given)!);
/** As a store may have them that others wrote: in any order, some more than once. */
const foundCredentials = fc.oneof(
  credentials,
  fc.record({ nodePodsAccessible: fc.constantFrom(true, false), kubernetesSecrets: secrets }),
) as fc.Arbitrary<ImagePullCredentials>;
const start = fc.dictionary(fc.constantFrom(...NAMES), foundCredentials).map((mapping) => {
  return PulledRecord.from({
    imageRef: REF,
    lastUpdatedTime: new Date(1),
    credentialMapping: mapping,
  });
});
const change = fc.record({
  imageName: fc.oneof(fc.constantFrom('name1', 'name2'), fc.constantFrom(...NAMES)),
  credentials,
  updatedAtMs: fc.nat({ max: 3 }),
});

describe('a record builder', () => {
  it('does what applying one change after the other does', () => {
    fc.assert(
      fc.property(start, fc.array(change, { maxLength: 40, size: 'max' }), (record, changes) => {
        const builder = new RecordBuilder(record);
        let expected = record;
        for (const { updatedAtMs, ...one } of changes) {
          builder.change(one, updatedAtMs);
          expected = applyChange(expected, REF, one, updatedAtMs);
        }
        expect(builder.build()).toEqual(expected);
      }),
      { numRuns: 200 },
    );
  });

  it('gives the record itself where nothing changes', () => {
    const record = new PulledRecord(REF, 5, [{ imageName: 'name', credentials: LONG }]);
    const builder = new RecordBuilder(record);
    builder.change({ imageName: 'name', credentials: LONG }, 6);
    builder.change({ imageName: 'other', credentials: normal({}) }, 5);
    expect(builder.build()).toBe(record);
    builder.change({ imageName: 'name', credentials: LONG }, 6);
    expect(builder.build()).toEqual(new PulledRecord(REF, 6, record.proofs));
    expect(builder.build().proofs).toBe(record.proofs);
  });

  it('leaves what it gave as it is when it goes on', () => {
    const builder = new RecordBuilder(
      new PulledRecord(REF, 5, [{ imageName: 'a', credentials: LONG }]),
    );
    builder.change({ imageName: 'a', credentials: normal({ kubernetesSecrets: [secret(40)] }) }, 6);
    const given = builder.build();
    const before = JSON.stringify(given);
    builder.change(
      { imageName: 'a', credentials: normal({ kubernetesSecrets: [secret(1, 'i')] }) },
      7,
    );
    builder.change({ imageName: 'b', credentials: LONG }, 8);
    expect(JSON.stringify(given)).toBe(before);
    const { kubernetesSecrets } = given.proofs[0]!.credentials;
    expect(kubernetesSecrets).toHaveLength(41);
    expect(Object.isFrozen(kubernetesSecrets)).toBe(true);
    expect(Object.isFrozen(given.proofs[0]!.credentials)).toBe(true);
  });
});

it('a record is large by its names and by its proofs', () => {
  const of = (names: readonly string[], each: ImagePullCredentials): PulledRecord => {
    const proofs = names
      .toSorted(compareUtf8)
      .map((imageName) => ({ imageName, credentials: each }));
    return new PulledRecord(REF, 1, proofs);
  };
  const one = normal({ kubernetesSecrets: [secret(1)] });
  expect(isLarge(of(['name'], one))).toBe(false);
  expect(isLarge(of(NAMES, normal({})))).toBe(true);
  expect(isLarge(of(NAMES.slice(0, 20), one))).toBe(true);
  expect(isLarge(of(['name'], LONG))).toBe(true);
});

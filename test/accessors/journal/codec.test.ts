import fc from 'fast-check';
import { Packr } from 'msgpackr';
import { describe, expect, it } from 'vitest';
import {
  decodeRecord,
  encodeRecord,
  packRecord,
  RECORD_FORMAT_VERSION,
  unpackRecord,
} from '../../../src/records/codec.ts';
import {
  type ImagePullCredentials,
  PulledRecord,
  ZERO_TIME_MS,
} from '../../../src/records/record.ts';

const text = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({ unit: fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)) }),
  fc.constantFrom('__proto__', '', '\ud800', 'a'.repeat(2000), '界'.repeat(1500), '\0'),
);
const timeMs = fc.oneof(
  fc.integer({ min: -8.64e15, max: 8.64e15 }),
  fc.constantFrom(ZERO_TIME_MS, 0, 1.5),
);
const provenAtMs = fc.option(timeMs, { nil: undefined });
const defined = <T extends object>(value: T): T =>
  Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as T;
const secret = fc
  .record({ uid: text, namespace: text, name: text, credentialHash: text, provenAtMs })
  .map(defined);
const account = fc.record({ uid: text, namespace: text, name: text, provenAtMs }).map(defined);
const credentials = fc
  .record({
    nodePodsAccessible: fc.option(fc.boolean(), { nil: undefined }),
    kubernetesSecrets: fc.option(fc.array(secret, { maxLength: 3 }), { nil: undefined }),
    kubernetesServiceAccounts: fc.option(fc.array(account, { maxLength: 3 }), { nil: undefined }),
    provenAtMs,
  })
  .map((value) => defined(value) as ImagePullCredentials);
const record = fc
  .record({ imageRef: text, timeMs, mapping: fc.dictionary(text, credentials, { maxKeys: 4 }) })
  .map(({ imageRef, timeMs: time, mapping }) =>
    PulledRecord.from({
      imageRef,
      lastUpdatedTime: new Date(time),
      credentialMapping: mapping,
    }),
  );

const corrupt = expect.objectContaining({ code: 'ERR_PULLMANAGER_RECORD_CORRUPT' });
const invalid = expect.objectContaining({ code: 'ERR_PULLMANAGER_INVALID_ARGUMENT' });

describe('record codec', () => {
  it('gives back every record, whatever its texts', () => {
    fc.assert(
      fc.property(record, (value) => {
        expect(decodeRecord(encodeRecord(value))).toEqual(value);
        expect(unpackRecord(structuredClone(packRecord(value)))).toEqual(value);
      }),
      { numRuns: 300 },
    );
  });

  it('turns random bytes into an error, never into a record', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(() => decodeRecord(bytes)).toThrow(corrupt);
      }),
      { numRuns: 2000 },
    );
  });

  it('turns msgpack of any other shape into an error, or into a record of the right shape', () => {
    const packr = new Packr({ useRecords: false });
    const shape = fc.oneof(
      fc.anything(),
      fc.array(fc.anything()).map((rest) => [RECORD_FORMAT_VERSION, 'ref', 1, ...rest]),
      fc.tuple(record, fc.nat(), fc.anything()).map(([value, index, other]) => {
        const packed = packRecord(value);
        packed[index % packed.length] = other;
        return packed;
      }),
    );
    fc.assert(
      fc.property(shape, (value) => {
        let bytes: Uint8Array;
        try {
          bytes = packr.pack(value);
        } catch {
          return;
        }
        let decoded: PulledRecord;
        try {
          decoded = decodeRecord(bytes);
        } catch (error) {
          expect(error).toEqual(corrupt);
          return;
        }
        expect(decodeRecord(encodeRecord(decoded))).toEqual(decoded);
        expect(decoded.lastUpdatedTime.getTime()).not.toBeNaN();
      }),
      { numRuns: 1000 },
    );
  });

  it('reports one changed byte or gives a record of the right shape', () => {
    const bytes = encodeRecord(
      PulledRecord.from({
        imageRef: 'sha256:1',
        lastUpdatedTime: new Date(5),
        credentialMapping: { 'docker.io/library/a': { nodePodsAccessible: true } },
      }),
    );
    for (let index = 0; index < bytes.length; index++) {
      for (let value = 0; value < 256; value++) {
        const changed = Uint8Array.from(bytes);
        changed[index] = value;
        try {
          expect(decodeRecord(changed)).toBeInstanceOf(PulledRecord);
        } catch (error) {
          expect(error).toEqual(corrupt);
        }
      }
    }
  });

  it('freezes credentials', () => {
    const value = PulledRecord.from({
      imageRef: 'r',
      lastUpdatedTime: new Date(0),
      credentialMapping: {
        a: {
          kubernetesSecrets: [{ uid: 'u', namespace: 'n', name: 's', credentialHash: 'h' }],
          kubernetesServiceAccounts: [{ uid: 'u', namespace: 'n', name: 's' }],
        },
      },
    });
    const [proof] = decodeRecord(encodeRecord(value)).proofs;
    const { credentials: decoded } = proof!;
    expect(Object.isFrozen(decoded)).toBe(true);
    expect(Object.isFrozen(decoded.kubernetesSecrets)).toBe(true);
    expect(Object.isFrozen(decoded.kubernetesSecrets![0])).toBe(true);
    expect(Object.isFrozen(decoded.kubernetesServiceAccounts![0])).toBe(true);
  });

  const missing = { kubernetesSecrets: [{ uid: 'u', namespace: 'n', name: 's' }] };
  it.each([
    { name: 'a field of a secret', value: new PulledRecord('r', 1, [proofOf('a', missing)]) },
    { name: 'the time', value: new PulledRecord('r', Number.NaN, []) },
    { name: 'the imageRef', value: new PulledRecord(undefined as never, 1, []) },
    { name: 'order', value: new PulledRecord('r', 1, [proofOf('b', {}), proofOf('a', {})]) },
    { name: 'uniqueness', value: new PulledRecord('r', 1, [proofOf('a', {}), proofOf('a', {})]) },
  ])('refuses a record that could not be read back: $name', ({ value }) => {
    expect(() => encodeRecord(value)).toThrow(invalid);
  });
});

function proofOf(imageName: string, value: object) {
  return { imageName, credentials: value as ImagePullCredentials };
}

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodeIntent,
  decodePulled,
  encodeIntent,
  encodePulled,
  inexpressible,
  RECORD_BYTES_MAX,
  RecordFormatError,
  recordFileName,
} from '../../../src/accessors/kubelet/record-format.ts';
import { KUBELET_BEHAVIOUR } from '../../../src/compatibility.ts';
import { PullManagerError } from '../../../src/errors.ts';
import {
  compareUtf8,
  type ImagePullCredentials,
  type NameProof,
  PulledRecord,
  ZERO_TIME_MS,
} from '../../../src/records/record.ts';

const V1_33 = KUBELET_BEHAVIOUR['v1.33'];
const V1_34 = KUBELET_BEHAVIOUR['v1.34'];
const V1_35 = KUBELET_BEHAVIOUR['v1.35'];
const TIME_MS = Date.UTC(2024, 9, 21, 12, 26, 40);
const HASH = 'a55436fc140d516560d072c5fe8700385ce9f41629abf65c1edcbcb39fac691d';
const SECRET = { uid: 'u', namespace: 's', name: 'p', credentialHash: HASH };
const ACCOUNT = { uid: 'u', namespace: 's', name: 'a' };

function recordOf(credentials: ImagePullCredentials, updatedAtMs = TIME_MS): PulledRecord {
  return new PulledRecord('ref', updatedAtMs, [{ imageName: 'name', credentials }]);
}

/** A file of v1beta1 with these fields behind its time. */
function fileOf(fields: string): Buffer {
  return Buffer.from(
    `{"kind":"ImagePulledRecord","apiVersion":"kubelet.config.k8s.io/v1beta1",${fields}}`,
  );
}

function errorOf(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

function refusal(bytes: Uint8Array): RecordFormatError {
  const error = errorOf(() => decodePulled(bytes, V1_35));
  expect(error).toBeInstanceOf(RecordFormatError);
  return error as RecordFormatError;
}

/** What a text is after a way through UTF-8. */
function asUtf8(text: string): string {
  return Buffer.from(text, 'utf8').toString('utf8');
}

function isDeeplyFrozen(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return true;
  return Object.isFrozen(value) && Object.values(value).every(isDeeplyFrozen);
}

const text = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string(),
  fc.constantFrom('__proto__', 'constructor', '<&>\u2028', '\ud800', 'x\udc00\ud83d', '\b\f\n'),
);
const time = fc.oneof(
  fc.integer({ min: Date.UTC(2000, 0), max: Date.UTC(2100, 0) }),
  fc.integer({ min: -62_167_219_200_000, max: 253_402_300_799_999 }),
  fc.constant(ZERO_TIME_MS),
);
const proof = { uid: text, namespace: text, name: text };
const provenAtMs = { provenAtMs: fc.integer() };
const credentials = fc
  .record(
    {
      kubernetesSecrets: fc.array(
        fc.record(
          { ...proof, credentialHash: text, ...provenAtMs },
          { requiredKeys: ['uid', 'namespace', 'name', 'credentialHash'] },
        ),
        { minLength: 1, maxLength: 4 },
      ),
      kubernetesServiceAccounts: fc.array(
        fc.record({ ...proof, ...provenAtMs }, { requiredKeys: ['uid', 'namespace', 'name'] }),
        { minLength: 1, maxLength: 4 },
      ),
      nodePodsAccessible: fc.constant(true),
      ...provenAtMs,
    },
    { requiredKeys: [] },
  )
  .map((entry) => entry as ImagePullCredentials);
const record = fc
  .tuple(
    text,
    time,
    fc.uniqueArray(fc.tuple(text, credentials), {
      maxLength: 4,
      selector: ([name]) => asUtf8(name),
    }),
  )
  .map(([ref, ms, entries]) => {
    const proofs: NameProof[] = entries.map(([imageName, entry]) => ({
      imageName,
      credentials: entry,
    }));
    return new PulledRecord(
      ref,
      ms,
      proofs.sort((a, b) => compareUtf8(a.imageName, b.imageName)),
    );
  });

interface Losses {
  readonly serviceAccounts: boolean;
}

/** The record as it comes back, by the rules that `inexpressible` states. */
function expressed(given: PulledRecord, { serviceAccounts }: Losses): PulledRecord {
  const bare = <T extends object>(fields: T): T => {
    const entries = Object.entries(fields).filter(([field]) => field !== 'provenAtMs');
    return Object.fromEntries(
      entries.map(([field, value]) => [field, typeof value === 'string' ? asUtf8(value) : value]),
    ) as T;
  };
  const proofs = given.proofs.map(({ imageName, credentials: entry }) => {
    const kept: ImagePullCredentials = bare(entry);
    if (kept.kubernetesSecrets) kept.kubernetesSecrets = kept.kubernetesSecrets.map(bare);
    if (!serviceAccounts) delete kept.kubernetesServiceAccounts;
    else if (kept.kubernetesServiceAccounts) {
      kept.kubernetesServiceAccounts = kept.kubernetesServiceAccounts.map(bare);
    }
    return { imageName: asUtf8(imageName), credentials: kept };
  });
  proofs.sort((a, b) => compareUtf8(a.imageName, b.imageName));
  const seconds = Math.floor(given.updatedAtMs / 1000) * 1000;
  return new PulledRecord(asUtf8(given.imageRef), seconds, proofs);
}

describe('what is written', () => {
  it.each([
    ['v1.33', V1_33],
    ['v1.34', V1_34],
    ['v1.35', V1_35],
  ])('at %s is read again as it was, but for what is inexpressible', (_, level) => {
    fc.assert(
      fc.property(record, (given) => {
        const { record: back, version } = decodePulled(encodePulled(given, level), level);
        const wanted = expressed(given, { serviceAccounts: level.hasServiceAccounts });
        expect(version).toBe(level.writesVersion);
        expect(back).toEqual(wanted);
        expect(back.proofs.every((entry) => isDeeplyFrozen(entry.credentials))).toBe(true);
        expect(inexpressible(back, level)).toEqual([]);
        // Losses are stated if and only if there are any.
        const isSame = JSON.stringify(wanted) === JSON.stringify(given);
        expect(inexpressible(given, level).length === 0).toBe(isSame);
        expect(encodePulled(back, level)).toEqual(encodePulled(given, level));
      }),
    );
  });

  it('of an intent is read again as it was', () => {
    fc.assert(
      fc.property(text, (image) => {
        const { image: back, version } = decodeIntent(encodeIntent(image, V1_34), V1_34);
        expect(back).toBe(asUtf8(image));
        expect(version).toBe('v1alpha1');
      }),
    );
  });

  it('leaves out empty lists and access that is denied', () => {
    const empty = recordOf({
      nodePodsAccessible: false,
      kubernetesSecrets: [],
      kubernetesServiceAccounts: [],
    });
    expect(encodePulled(empty, V1_35)).toEqual(encodePulled(recordOf({}), V1_35));
    expect(encodePulled(empty, V1_34).toString()).toContain('{"name":{"kubernetesSecrets":null}}');
    expect(inexpressible(empty, V1_35)).toEqual([]);
  });

  it('has lists as they are, also beside node-wide access', () => {
    const lists: ImagePullCredentials = {
      kubernetesSecrets: [SECRET, { ...SECRET, namespace: 'a' }, SECRET],
      kubernetesServiceAccounts: [ACCOUNT, ACCOUNT],
      nodePodsAccessible: true,
    };
    const back = decodePulled(encodePulled(recordOf(lists), V1_35), V1_35).record;
    expect(back.credentialsFor('name')).toEqual(lists);
  });

  it('sorts names by their bytes', () => {
    const names = ['\uffff', '😀', 'z', 'é', 'Z', '\ud800'];
    const proofs = names.map((imageName) => ({ imageName, credentials: {} }));
    const file = encodePulled(new PulledRecord('ref', TIME_MS, proofs), V1_35).toString();
    expect(file).toContain('{"Z":{},"z":{},"é":{},"\ufffd":{},"\uffff":{},"😀":{}}');
  });

  it.each([
    ['the year 10000', Date.UTC(10000, 0)],
    ['the year -1', -62_167_219_200_001],
    ['no time at all', Number.NaN],
  ])('cannot have a time in %s', (_, updatedAtMs) => {
    const error = errorOf(() => encodePulled(recordOf({}, updatedAtMs), V1_35));
    expect(error).toBeInstanceOf(PullManagerError);
    expect(error).toMatchObject({
      code: 'ERR_PULLMANAGER_INVALID_ARGUMENT',
      message: 'lastUpdatedTime must be in the years 0 to 9999 to be written',
    });
  });

  it.each([
    ['the last second of the year 9999', 253_402_300_799_999, '"9999-12-31T23:59:59Z"'],
    ['the first second of the year 0', -62_167_219_200_000, '"0000-01-01T00:00:00Z"'],
    ['a millisecond before 1970', -1, '"1969-12-31T23:59:59Z"'],
    ['the zero time', ZERO_TIME_MS, 'null'],
    ['a millisecond after the zero time', ZERO_TIME_MS + 1, '"0001-01-01T00:00:00Z"'],
  ])('may have the time: %s', (_, updatedAtMs, written) => {
    const file = encodePulled(recordOf({}, updatedAtMs), V1_35).toString();
    expect(file).toContain(`"lastUpdatedTime":${written},`);
  });

  it('cannot have two names that are one as UTF-8', () => {
    const proofs = ['\ud800', '\udfff'].map((imageName) => ({ imageName, credentials: {} }));
    const error = errorOf(() => encodePulled(new PulledRecord('ref', TIME_MS, proofs), V1_35));
    expect(error).toMatchObject({ code: 'ERR_PULLMANAGER_INVALID_ARGUMENT' });
  });

  it('is never larger than what is read', () => {
    const big = recordOf({
      kubernetesSecrets: [{ ...SECRET, name: 'x'.repeat(RECORD_BYTES_MAX) }],
    });
    const error = errorOf(() => encodePulled(big, V1_35));
    expect(error).toMatchObject({ code: 'ERR_PULLMANAGER_INVALID_ARGUMENT' });
  });

  it('has a file name that is the hash of its key as UTF-8', () => {
    const hex = createHash('sha256').update(Buffer.from('é😀')).digest('hex');
    expect(recordFileName('é😀')).toBe(`sha256-${hex}`);
    expect(recordFileName('\ud800')).toBe(recordFileName('\ufffd'));
  });
});

describe('what the format cannot hold', () => {
  it.each<[string, PulledRecord, string[]]>([
    ['nothing of a plain record', recordOf({ kubernetesSecrets: [SECRET] }), []],
    ['milliseconds', recordOf({}, TIME_MS + 1), ['the milliseconds of the time of the record']],
    [
      'proof times of access',
      recordOf({ nodePodsAccessible: true, provenAtMs: 5 }),
      ['the times at which proofs were given (provenAtMs)'],
    ],
    [
      'proof times of secrets',
      recordOf({ kubernetesSecrets: [{ ...SECRET, provenAtMs: 5 }] }),
      ['the times at which proofs were given (provenAtMs)'],
    ],
    [
      'lone surrogates',
      recordOf({ kubernetesSecrets: [{ ...SECRET, name: 'a\ud800' }] }),
      ['lone surrogates of texts, which become U+FFFD'],
    ],
    [
      'service accounts at v1.33',
      recordOf({ kubernetesServiceAccounts: [ACCOUNT, ACCOUNT] }),
      ['service accounts'],
    ],
  ])('is stated: %s', (_, given, losses) => {
    expect(inexpressible(given, V1_33)).toEqual(losses);
  });
});

describe('what is refused', () => {
  it('names the part and the byte', () => {
    const file = fileOf('"imageRef":"é","imageRef":"x"');
    const error = refusal(file);
    expect(error.reason).toBe('the record: imageRef is there twice');
    expect(error.offset).toBe(file.lastIndexOf('"imageRef"'));
    expect(error.message).toBe(`${error.reason} (byte ${error.offset})`);
  });

  it.each([
    ['an empty file', '', 'the file is empty'],
    ['white space', ' \n', 'the file is empty'],
    ['YAML', 'kind: ImagePulledRecord\n', 'the record must be an object'],
    ['protobuf', 'k8s\0\n', 'the record must be an object'],
    ['null', 'null', 'kind is missing'],
    ['no version', '{"kind":"ImagePulledRecord"}', 'apiVersion is missing'],
    ['a cut', '{"kind":"ImagePulledRecord",', 'the file ends too early'],
    ['a cut in a text', '{"kind":"Image', 'the text ends too early'],
    ['a cut in an escape', '{"kind":"Image\\', 'the text ends too early'],
  ])('says what is wrong with %s', (_, file, reason) => {
    expect(refusal(Buffer.from(file)).reason).toBe(reason);
  });

  it.each([
    ['"ImageRef":""', 'the record: unknown field "ImageRef" (did you mean "imageRef"?)'],
    ['"lastUpdatedTime":"now"', 'lastUpdatedTime is not an RFC 3339 time'],
    ['"credentialMapping":{"a":{},"\\u0061":{}}', 'credentialMapping has the same name twice'],
    [
      '"credentialMapping":{"__proto__":{},"__proto__":{}}',
      'credentialMapping has the same name twice',
    ],
    [
      '"credentialMapping":{"a":{"nodePodsAccessible":"true"}}',
      'nodePodsAccessible must be a boolean',
    ],
    ['"credentialMapping":{"a":{"kubernetesSecrets":{}}}', 'kubernetesSecrets must be an array'],
    ['"credentialMapping":{"a":{"kubernetesSecrets":[{"uid":1}]}}', 'uid must be a string'],
    ['"imageRef":"\\x"', 'a text has an unknown escape'],
    ['"imageRef":"\n"', 'a text has a bare control character'],
  ])('says what is wrong with %s', (fields, reason) => {
    expect(refusal(fileOf(fields)).reason).toBe(reason);
  });

  it.each([HASH, 'pass-word', 'x'.repeat(65), 'se cret', 'a\u202eb', ''])(
    'is not quoted if it may be anything but the name of a field: %j',
    (field) => {
      const error = refusal(fileOf(`${JSON.stringify(field)}:1`));
      expect(error.message).toMatch(/^the record: unknown field \(byte \d+\)$/);
    },
  );

  it('never has any of the content in its message', () => {
    const lines = { kubernetesSecrets: [SECRET], kubernetesServiceAccounts: [ACCOUNT] };
    const file = encodePulled(recordOf(lines), V1_35);
    fc.assert(
      fc.property(fc.nat(file.length - 1), fc.nat(255), (at, byte) => {
        const damaged = Buffer.from(file);
        damaged[at] = byte;
        try {
          decodePulled(damaged, V1_35);
        } catch (error) {
          expect((error as Error).message).not.toContain(HASH.slice(0, 8));
        }
      }),
    );
  });

  it.each([
    '[',
    '{"a":',
    '{"credentialMapping":',
    '{"credentialMapping":{"a":{"kubernetesSecrets":[',
  ])('may nest a million deep: %s', (piece) => {
    expect(refusal(Buffer.from(piece.repeat(1_000_000))).offset).toBeLessThan(200);
    expect(refusal(fileOf(`"credentialMapping":${piece.repeat(1_000_000)}`)).offset).toBeLessThan(
      200,
    );
  });

  it('is anything above the cap, however it begins', () => {
    const error = refusal(Buffer.alloc(RECORD_BYTES_MAX + 1, ' '));
    expect(error.reason).toBe('the file has more than 67108864 bytes');
    expect(refusal(Buffer.alloc(RECORD_BYTES_MAX, ' ')).reason).toBe('the file is empty');
  });

  it('is random bytes, and random tokens', () => {
    const tokens = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"',
      'null',
      'true',
      ' ',
      '\\',
      '"kind"',
      '"apiVersion"',
      '"imageRef"',
      '"credentialMapping"',
      '"ImagePulledRecord"',
      '"uid"',
    );
    const files = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc.array(tokens, { maxLength: 60 }).map((list) => Buffer.from(list.join(''))),
    );
    fc.assert(
      fc.property(files, (bytes) => {
        expect(refusal(bytes)).toBeInstanceOf(RecordFormatError);
        expect(errorOf(() => decodeIntent(bytes, V1_35))).toBeInstanceOf(RecordFormatError);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('a golden file with one byte changed', () => {
  it.each([
    ['pulled', 'sha256-0553787e9ca19226fc076aa7e59a4dbb797ef6bcae363e443b535dbec5fd4898'],
    ['pulled', 'sha256-917e8b3439bf8a7a6f37ffd2d2ddfdfafac8a251bf214a0be39675742b420b1a'],
    ['pulled', 'sha256-dd1dd8dc6a329b7e1c2e43951302b23a047cb20fd3e10090e4ce7e8396035405'],
  ])(
    'is refused, or is a record that is the same when written and read again: %s/%s',
    (directory, name) => {
      const path = `../../fixtures/kubelet-records/${directory}/${name}`;
      const file = readFileSync(new URL(path, import.meta.url));
      let refused = 0;
      let decoded = 0;
      for (let at = 0; at < file.length; at++) {
        for (const byte of [
          0,
          0x20,
          0x22,
          0x2c,
          0x5c,
          0x5d,
          0x7b,
          0x7d,
          0x80,
          file[at]! ^ 1,
          file[at]! ^ 0x20,
        ]) {
          const damaged = Buffer.from(file);
          damaged[at] = byte;
          let found: PulledRecord;
          try {
            found = decodePulled(damaged, V1_35).record;
          } catch (error) {
            expect(error).toBeInstanceOf(RecordFormatError);
            refused++;
            continue;
          }
          decoded++;
          const again = encodePulled(found, V1_35);
          expect(decodePulled(again, V1_35).record).toEqual(found);
          expect(encodePulled(decodePulled(again, V1_35).record, V1_35)).toEqual(again);
        }
      }
      expect(refused).toBeGreaterThan(0);
      expect(decoded).toBeGreaterThan(0);
    },
  );
});

describe('what is accepted', () => {
  it('is read from a view that begins inside a larger buffer', () => {
    const file = encodeIntent('image', V1_35);
    const outer = new Uint8Array(file.length + 20).fill(0x58);
    outer.set(file, 7);
    const view = outer.subarray(7, 7 + file.length);
    expect(decodeIntent(view, V1_35)).toEqual({ image: 'image', version: 'v1beta1' });
  });

  it('is a record with the secrets of 100,000 pods, the longest names included', () => {
    const secrets = Array.from({ length: 100_000 }, (_, i) => ({
      uid: `6f9d2b1e-7c3a-4e5f-9a8b-${String(i).padStart(12, '0')}`,
      namespace: `n${'s'.repeat(62)}`,
      name: `p${'s'.repeat(252)}`,
      credentialHash: HASH,
    }));
    const file = encodePulled(recordOf({ kubernetesSecrets: secrets }), V1_35);
    const { record: back } = decodePulled(file, V1_35);
    expect(file.length).toBeLessThan(RECORD_BYTES_MAX);
    expect(back.credentialsFor('name')!.kubernetesSecrets).toHaveLength(secrets.length);
    expect(encodePulled(back, V1_35).equals(file)).toBe(true);
  });

  it('has names of any kind as own keys', () => {
    const names = ['__proto__', 'constructor', 'toString', ''];
    const mapping = names.map((name) => `"${name}":{"nodePodsAccessible":true}`).join(',');
    const { record: back } = decodePulled(fileOf(`"credentialMapping":{${mapping}}`), V1_35);
    expect(Object.keys(back.credentialMapping).toSorted()).toEqual(names.toSorted());
    expect(back.updatedAtMs).toBe(ZERO_TIME_MS);
  });

  it('sorts names that were stored in another order', () => {
    const { record: back } = decodePulled(fileOf('"credentialMapping":{"b":null,"a":{}}'), V1_35);
    expect(back.proofs).toEqual([
      { imageName: 'a', credentials: {} },
      { imageName: 'b', credentials: {} },
    ]);
  });

  it.each([
    ['"2024-10-21T14:26:40.9876+02:00"', TIME_MS + 987],
    ['"1969-12-31T23:59:59.9999Z"', -1],
    ['null', ZERO_TIME_MS],
  ])('has the time %s to the millisecond', (written, timeMs) => {
    const { record: back } = decodePulled(fileOf(`"lastUpdatedTime":${written}`), V1_35);
    expect(back.updatedAtMs).toBe(timeMs);
  });
});

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { applyChange, mergePulled } from '../../src/records/merge.ts';
import {
  compareUtf8,
  type ImagePullCredentials,
  type ImagePullSecret,
  type ImagePullServiceAccount,
  PulledRecord,
} from '../../src/records/record.ts';
import { compareCoordinates, normalizeCredentials } from '../../src/records/validate.ts';

const REF = 'sha256:1';
const NAME = 'docker.io/library/ubuntu';
const OTHER = 'registry.io/team/app';

function secret(uid: string, credentialHash = 'h', provenAtMs?: number): ImagePullSecret {
  const item = { uid, namespace: 'n', name: 's', credentialHash };
  return provenAtMs === undefined ? item : { ...item, provenAtMs };
}

function account(uid: string, provenAtMs?: number): ImagePullServiceAccount {
  const item = { uid, namespace: 'n', name: 'a' };
  return provenAtMs === undefined ? item : { ...item, provenAtMs };
}

const secrets = (...kubernetesSecrets: ImagePullSecret[]): ImagePullCredentials => ({
  kubernetesSecrets,
});
const accounts = (...kubernetesServiceAccounts: ImagePullServiceAccount[]) => ({
  kubernetesServiceAccounts,
});
const NODE_WIDE: ImagePullCredentials = { nodePodsAccessible: true };

/** A record as it is stored, frozen throughout. */
function stored(mapping: Record<string, ImagePullCredentials>, timeMs = 1): PulledRecord {
  const lastUpdatedTime = new Date(timeMs);
  return deepFreeze(
    PulledRecord.from({ imageRef: REF, lastUpdatedTime, credentialMapping: mapping }),
  );
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const key of Object.keys(value)) deepFreeze((value as Record<string, unknown>)[key]);
  }
  return value;
}

function normal(given: ImagePullCredentials): ImagePullCredentials {
  return normalizeCredentials(given)!;
}

/** Merges what is given into one name; the time of a change is 2. */
function merge(record: PulledRecord | undefined, given: ImagePullCredentials | null): PulledRecord {
  return mergePulled(record, REF, NAME, normalizeCredentials(given), 2);
}

describe('without a record', () => {
  it.each([
    { name: 'secrets', given: secrets(secret('1')) },
    { name: 'service accounts', given: accounts(account('1')) },
    { name: 'node-wide access', given: NODE_WIDE },
    { name: 'empty credentials', given: {} },
  ])('a new one has an entry for $name', ({ given }) => {
    const credentials = normal(given);
    const record = mergePulled(undefined, REF, NAME, credentials, 2);
    expect(record.toPlain()).toEqual({
      imageRef: REF,
      lastUpdatedTime: new Date(2),
      credentialMapping: { [NAME]: given },
    });
    expect(record.credentialsFor(NAME)).toBe(credentials);
  });

  it('a new one has no entry where the pull was under unknown circumstances', () => {
    const record = merge(undefined, null);
    expect(record).toMatchObject({ imageRef: REF, updatedAtMs: 2, proofs: [] });
  });
});

describe('a record without the name', () => {
  const record = stored({ 'a.io/x': NODE_WIDE, 'z.io/x': secrets(secret('1')) });

  it.each([
    { name: 'secrets', given: secrets(secret('1')) },
    { name: 'service accounts', given: accounts(account('1')) },
    { name: 'node-wide access', given: NODE_WIDE },
  ])('gets an entry, shared with what was given: $name', ({ given }) => {
    const credentials = normal(given);
    const merged = mergePulled(record, REF, NAME, credentials, 2);
    expect(merged.updatedAtMs).toBe(2);
    expect(merged.credentialsFor(NAME)).toBe(credentials);
    expect(merged.proofs.map((proof) => proof.imageName)).toEqual(['a.io/x', NAME, 'z.io/x']);
    expect(merged.proofs[0]).toBe(record.proofs[0]);
  });

  it.each([[null], [{}], [{ kubernetesSecrets: [] }]])('is the same after %j', (given) => {
    expect(merge(record, given)).toBe(record);
  });

  it('keeps its names in UTF-8 order wherever a new one belongs', () => {
    const names = ['a', 'b', '__proto__', '\uff5e', '\u{1f600}', 'B', '0'];
    fc.assert(
      fc.property(fc.shuffledSubarray(names), (order) => {
        let merged = merge(undefined, null);
        for (const name of order) merged = mergePulled(merged, REF, name, NODE_WIDE, 2);
        expect(merged.proofs.map((proof) => proof.imageName)).toEqual(order.toSorted(compareUtf8));
        for (const name of order) expect(merged.credentialsFor(name)).toBe(NODE_WIDE);
      }),
    );
  });
});

describe('an existing entry', () => {
  const cases: {
    name: string;
    entry: ImagePullCredentials;
    given: ImagePullCredentials | null;
    /** Absent: the record stays the same object. */
    wanted?: ImagePullCredentials;
  }[] = [
    { name: 'is left alone by null', entry: secrets(secret('1')), given: null },
    { name: 'is left alone by nothing', entry: secrets(secret('1')), given: {} },
    { name: 'that is empty is left alone by nothing', entry: {}, given: {} },
    { name: 'that is node-wide is not narrowed', entry: NODE_WIDE, given: secrets(secret('1')) },
    { name: 'that is node-wide takes no account', entry: NODE_WIDE, given: accounts(account('1')) },
    { name: 'that is node-wide stays so', entry: NODE_WIDE, given: NODE_WIDE },
    {
      name: 'that is node-wide beside lists counts as node-wide',
      entry: { ...NODE_WIDE, ...secrets(secret('1')) },
      given: secrets(secret('2')),
    },
    {
      name: 'becomes node-wide and drops its lists',
      entry: { ...secrets(secret('1')), ...accounts(account('1')) },
      given: NODE_WIDE,
      wanted: NODE_WIDE,
    },
    {
      name: 'that is empty gains secrets',
      entry: {},
      given: secrets(secret('1')),
      wanted: secrets(secret('1')),
    },
    {
      name: 'that is empty gains accounts',
      entry: { kubernetesSecrets: [], nodePodsAccessible: false },
      given: accounts(account('1')),
      wanted: accounts(account('1')),
    },
    {
      name: 'has the secret already',
      entry: secrets(secret('1'), secret('2')),
      given: secrets(secret('2')),
    },
    {
      name: 'gains a secret in its place',
      entry: secrets(secret('1'), secret('3')),
      given: secrets(secret('2')),
      wanted: secrets(secret('1'), secret('2'), secret('3')),
    },
    {
      name: 'gains secrets on both sides',
      entry: secrets(secret('2')),
      given: secrets(secret('1'), secret('3')),
      wanted: secrets(secret('1'), secret('2'), secret('3')),
    },
    {
      name: 'takes a new hash of the same secret',
      entry: secrets(secret('1', 'old'), secret('2')),
      given: secrets(secret('1', 'new')),
      wanted: secrets(secret('1', 'new'), secret('2')),
    },
    {
      name: 'takes an empty hash, as the reference does',
      entry: secrets(secret('1', 'old')),
      given: secrets(secret('1', '')),
      wanted: secrets(secret('1', '')),
    },
    {
      name: 'has the account already',
      entry: accounts(account('1'), account('2')),
      given: accounts(account('1')),
    },
    {
      name: 'gains an account in its place',
      entry: accounts(account('2')),
      given: accounts(account('1')),
      wanted: accounts(account('1'), account('2')),
    },
    {
      name: 'keeps its secrets when it gains an account',
      entry: secrets(secret('1')),
      given: accounts(account('1')),
      wanted: { ...secrets(secret('1')), ...accounts(account('1')) },
    },
    {
      name: 'gains secrets and accounts given together [W3]',
      entry: { ...secrets(secret('1')), ...accounts(account('1')) },
      given: { ...secrets(secret('2')), ...accounts(account('2')) },
      wanted: { ...secrets(secret('1'), secret('2')), ...accounts(account('1'), account('2')) },
    },
    {
      name: 'gains the account given with a secret that it has already [W3]',
      entry: secrets(secret('1')),
      given: { ...secrets(secret('1')), ...accounts(account('1')) },
      wanted: { ...secrets(secret('1')), ...accounts(account('1')) },
    },
    {
      name: 'in any order is left as stored where nothing is new',
      entry: secrets(secret('2'), secret('1'), secret('1')),
      given: secrets(secret('2')),
    },
    {
      name: 'in any order is brought into normal form by a change [W4]',
      entry: {
        ...secrets(secret('2'), secret('1', 'first'), secret('1', 'last')),
        ...accounts(account('3'), account('2')),
      },
      given: secrets(secret('3')),
      wanted: {
        ...secrets(secret('1', 'last'), secret('2'), secret('3')),
        ...accounts(account('2'), account('3')),
      },
    },
    {
      name: 'takes a later proof of the same secret',
      entry: secrets(secret('1', 'h', 5), secret('2', 'h', 5)),
      given: secrets(secret('1', 'h', 6)),
      wanted: secrets(secret('1', 'h', 6), secret('2', 'h', 5)),
    },
    {
      name: 'takes a dated proof for an undated one',
      entry: secrets(secret('1')),
      given: secrets(secret('1', 'h', -5)),
      wanted: secrets(secret('1', 'h', -5)),
    },
    {
      name: 'takes no earlier proof of the same secret',
      entry: secrets(secret('1', 'h', 5)),
      given: secrets(secret('1', 'h', 4)),
    },
    {
      name: 'takes no undated proof for a dated one',
      entry: secrets(secret('1', 'h', 5)),
      given: secrets(secret('1', 'h')),
    },
    {
      name: 'keeps the later of two proofs beside a new one',
      entry: secrets(secret('1', 'h', 5)),
      given: secrets(secret('1', 'h', 4), secret('2', 'h', 4)),
      wanted: secrets(secret('1', 'h', 5), secret('2', 'h', 4)),
    },
    {
      name: 'takes a new hash whatever its time',
      entry: secrets(secret('1', 'old', 5)),
      given: secrets(secret('1', 'new', 4)),
      wanted: secrets(secret('1', 'new', 4)),
    },
    {
      name: 'takes a later proof of the same account',
      entry: accounts(account('1', 5)),
      given: accounts(account('1', 6)),
      wanted: accounts(account('1', 6)),
    },
    {
      name: 'takes no earlier proof of the same account',
      entry: accounts(account('1', 5)),
      given: accounts(account('1', 4)),
    },
    {
      name: 'that is node-wide takes a later proof of it',
      entry: { ...NODE_WIDE, provenAtMs: 5 },
      given: { ...NODE_WIDE, provenAtMs: 6 },
      wanted: { ...NODE_WIDE, provenAtMs: 6 },
    },
    {
      name: 'that is node-wide takes a dated proof for an undated one',
      entry: NODE_WIDE,
      given: { ...NODE_WIDE, provenAtMs: 6 },
      wanted: { ...NODE_WIDE, provenAtMs: 6 },
    },
    {
      name: 'that is node-wide takes no earlier proof',
      entry: { ...NODE_WIDE, provenAtMs: 5 },
      given: { ...NODE_WIDE, provenAtMs: 4 },
    },
    {
      name: 'takes an earlier proof for one of a clock that was ahead',
      entry: accounts(account('1', 100_000)),
      given: accounts(account('1', 4)),
      wanted: accounts(account('1', 4)),
    },
    {
      name: 'that is node-wide takes an earlier proof for one of a clock that was ahead',
      entry: { ...NODE_WIDE, provenAtMs: 100_000 },
      given: { ...NODE_WIDE, provenAtMs: 4 },
      wanted: { ...NODE_WIDE, provenAtMs: 4 },
    },
    {
      name: 'takes the later of two proofs of a clock that was ahead',
      entry: accounts(account('1', 100_000)),
      given: accounts(account('1', 100_001)),
      wanted: accounts(account('1', 100_001)),
    },
    {
      name: 'that is node-wide takes no undated proof',
      entry: { ...NODE_WIDE, provenAtMs: 5 },
      given: NODE_WIDE,
    },
  ];

  it.each(cases)('$name', ({ entry, given, wanted }) => {
    const record = stored({ [NAME]: entry, [OTHER]: secrets(secret('9')) });
    const merged = merge(record, given);
    if (wanted === undefined) {
      expect(merged).toBe(record);
      return;
    }
    expect(merged.updatedAtMs).toBe(2);
    expect(merged.credentialsFor(NAME)).toStrictEqual(wanted);
    expect(merged.credentialsFor(OTHER)).toBe(record.credentialsFor(OTHER));
    expect(record.credentialsFor(NAME)).toBe(entry);
    expect(record.updatedAtMs).toBe(1);
  });

  it('that results in what was given shares it', () => {
    const record = stored({ [NAME]: secrets(secret('1', 'old')) });
    const given = normal(secrets(secret('1', 'new'), secret('2')));
    expect(mergePulled(record, REF, NAME, given, 2).credentialsFor(NAME)).toBe(given);
  });

  it('shares the list that did not change', () => {
    const entry = normal(secrets(secret('1')));
    const merged = merge(stored({ [NAME]: entry }), accounts(account('1')));
    expect(merged.credentialsFor(NAME)?.kubernetesSecrets).toBe(entry.kubernetesSecrets);
  });

  it('is frozen when it is new', () => {
    const merged = merge(stored({ [NAME]: normal(secrets(secret('1'))) }), secrets(secret('2')));
    const entry = merged.credentialsFor(NAME)!;
    expect(Object.isFrozen(entry)).toBe(true);
    expect(Object.isFrozen(entry.kubernetesSecrets)).toBe(true);
  });
});

// Few values, so that coordinates meet often.
const few = fc.constantFrom('a', 'b', '\uff5e', '\u{1f600}');
const time = fc.option(fc.integer({ min: 0, max: 3 }), { nil: undefined });
const anyAccount = fc
  .tuple(few, few, time)
  .map(([uid, name, provenAtMs]) => ({ ...account(uid, provenAtMs), name }));
const anySecret = fc
  .tuple(few, few, fc.constantFrom('', 'h1', 'h2'), time)
  .map(([uid, name, hash, provenAtMs]) => ({ ...secret(uid, hash, provenAtMs), name }));
const listed = fc.record(
  {
    kubernetesSecrets: fc.array(anySecret, { maxLength: 4 }),
    kubernetesServiceAccounts: fc.array(anyAccount, { maxLength: 4 }),
  },
  { requiredKeys: [] },
);
const nodeWide = time.map((provenAtMs) =>
  provenAtMs === undefined ? NODE_WIDE : { ...NODE_WIDE, provenAtMs },
);
const anyCredentials = fc
  .oneof({ arbitrary: listed, weight: 6 }, { arbitrary: nodeWide, weight: 1 })
  .map((given) => deepFreeze(normal(given)));
const anyChange = fc.record({
  imageName: fc.constantFrom(NAME, OTHER),
  credentials: anyCredentials,
});
const anyChanges = fc.array(anyChange, { minLength: 1, maxLength: 8 });

type Change = { imageName: string; credentials: ImagePullCredentials };

function mergeAll(start: PulledRecord | undefined, changes: readonly Change[]): PulledRecord {
  let record = start;
  for (const { imageName, credentials } of changes) {
    record = deepFreeze(mergePulled(record, REF, imageName, credentials, 2));
  }
  return record!;
}

/** What merging means, by maps: the hash of the last, of equal proofs the latest. */
function mergeByMaps(changes: readonly Change[]): Record<string, ImagePullCredentials> {
  const result: Record<string, ImagePullCredentials> = {};
  for (const { imageName, credentials } of changes) {
    const old = result[imageName];
    if (old === undefined) {
      const isEmpty = Object.keys(credentials).length === 0;
      // Only the first of all credentials makes an entry of nothing.
      if (!isEmpty || Object.keys(result).length === 0) result[imageName] = credentials;
    } else if (credentials.nodePodsAccessible || old.nodePodsAccessible) {
      const both = [old, credentials].filter((c) => c.nodePodsAccessible === true);
      const times = both.map((c) => c.provenAtMs).filter((t) => t !== undefined);
      result[imageName] =
        times.length === 0 ? NODE_WIDE : { ...NODE_WIDE, provenAtMs: Math.max(...times) };
    } else {
      result[imageName] = normal({
        kubernetesSecrets: unionOf(old.kubernetesSecrets, credentials.kubernetesSecrets),
        kubernetesServiceAccounts: unionOf(
          old.kubernetesServiceAccounts,
          credentials.kubernetesServiceAccounts,
        ),
      });
    }
  }
  return result;
}

function unionOf<T extends ImagePullServiceAccount & { credentialHash?: string }>(
  old: readonly T[] = [],
  added: readonly T[] = [],
): T[] {
  const union = new Map(old.map((item) => [JSON.stringify([item.uid, item.name]), item]));
  for (const item of added) {
    const key = JSON.stringify([item.uid, item.name]);
    const before = union.get(key);
    const isEqual = before !== undefined && before.credentialHash === item.credentialHash;
    if (isEqual && (before.provenAtMs ?? -1) >= (item.provenAtMs ?? -1)) continue;
    union.set(key, item);
  }
  return [...union.values()];
}

describe('merging', () => {
  it('gives what maps give', () => {
    fc.assert(
      fc.property(anyChanges, (changes) => {
        const { credentialMapping } = mergeAll(undefined, changes);
        expect({ ...credentialMapping }).toEqual(mergeByMaps(changes));
      }),
      { numRuns: 3000 },
    );
  });

  it('the same twice changes nothing the second time', () => {
    fc.assert(
      fc.property(anyChanges, anyChange, (changes, { imageName, credentials }) => {
        const once = mergePulled(mergeAll(undefined, changes), REF, imageName, credentials, 2);
        expect(mergePulled(once, REF, imageName, credentials, 3)).toBe(once);
      }),
    );
  });

  it('leaves every entry in normal form, with its names in order', () => {
    fc.assert(
      fc.property(anyChanges, (changes) => {
        const { proofs } = mergeAll(undefined, changes);
        for (const { credentials } of proofs) {
          expect(credentials).toStrictEqual(normalizeCredentials(credentials));
        }
        const names = proofs.map((proof) => proof.imageName);
        expect(names).toEqual(names.toSorted(compareUtf8));
      }),
    );
  });

  it('with node-wide access absorbs everything before and after it', () => {
    fc.assert(
      fc.property(anyChanges, anyChanges, (before, after) => {
        const wide = { imageName: NAME, credentials: NODE_WIDE };
        const entry = mergeAll(undefined, [...before, wide, ...after]).credentialsFor(NAME);
        expect(entry?.nodePodsAccessible).toBe(true);
        expect(entry).not.toHaveProperty('kubernetesSecrets');
        expect(entry).not.toHaveProperty('kubernetesServiceAccounts');
      }),
    );
  });

  it('never loses coordinates, except to node-wide access', () => {
    fc.assert(
      fc.property(anyChanges, anyChange, (changes, { imageName, credentials }) => {
        const before = mergeAll(undefined, changes);
        const after = mergePulled(before, REF, imageName, credentials, 2);
        for (const { imageName: name, credentials: old } of before.proofs) {
          const entry = after.credentialsFor(name)!;
          if (entry.nodePodsAccessible) continue;
          for (const item of old.kubernetesSecrets ?? []) {
            const found = entry.kubernetesSecrets?.some((s) => compareCoordinates(s, item) === 0);
            expect(found).toBe(true);
          }
        }
      }),
    );
  });

  it('does not depend on the order unless a secret has two hashes', () => {
    const pair = fc.tuple(listed, listed).map((both) => both.map((given) => normal(given)));
    fc.assert(
      fc.property(pair, ([a, b]) => {
        const hasTwoHashes = a!.kubernetesSecrets?.some((s) =>
          b!.kubernetesSecrets?.some(
            (t) => compareCoordinates(s, t) === 0 && s.credentialHash !== t.credentialHash,
          ),
        );
        fc.pre(!hasTwoHashes);
        const start = stored({ [NAME]: {} });
        const merged = (order: ImagePullCredentials[]) =>
          mergeAll(
            start,
            order.map((credentials) => ({ imageName: NAME, credentials })),
          );
        expect(merged([a!, b!]).toPlain().credentialMapping).toEqual(
          merged([b!, a!]).toPlain().credentialMapping,
        );
      }),
    );
  });

  it('lets the later of two hashes win', () => {
    const [a, b] = [secrets(secret('1', 'h1')), secrets(secret('1', 'h2'))];
    expect(merge(merge(undefined, a), b).credentialsFor(NAME)).toEqual(b);
    expect(merge(merge(undefined, b), a).credentialsFor(NAME)).toEqual(a);
  });
});

const replay = (start: PulledRecord | undefined, changes: readonly Change[]) =>
  changes.reduce<PulledRecord | undefined>(
    (record, logged, i) => deepFreeze(applyChange(record, REF, logged, 100 + i)),
    start,
  );

describe('replaying a change', () => {
  const change = { imageName: NAME, credentials: normal(secrets(secret('1'))) };

  it('creates the record where there is none', () => {
    expect(applyChange(undefined, REF, change, 7).toPlain()).toEqual({
      imageRef: REF,
      lastUpdatedTime: new Date(7),
      credentialMapping: { [NAME]: secrets(secret('1')) },
    });
  });

  it('sets the logged time, also where the change is in the record already', () => {
    const record = stored({ [NAME]: change.credentials }, 9);
    const replayed = applyChange(record, REF, change, 7);
    expect(replayed.updatedAtMs).toBe(7);
    expect(replayed.proofs).toBe(record.proofs);
    expect(record.updatedAtMs).toBe(9);
  });

  it('is the same object where the record has change and time already', () => {
    const record = stored({ [NAME]: change.credentials }, 7);
    expect(applyChange(record, REF, change, 7)).toBe(record);
  });

  it('merges into what is there', () => {
    const record = stored({ [NAME]: secrets(secret('2')), [OTHER]: NODE_WIDE });
    expect({ ...applyChange(record, REF, change, 7).credentialMapping }).toEqual({
      [NAME]: secrets(secret('1'), secret('2')),
      [OTHER]: NODE_WIDE,
    });
  });

  it('after change of a log ends in the same state, whatever part of it was there already', () => {
    fc.assert(
      fc.property(anyChanges, fc.nat(), fc.nat(), (given, cut, skip) => {
        // A log holds changes only: what the merge refused is not in it.
        const log: Change[] = [];
        let state: PulledRecord | undefined;
        for (const logged of given) {
          const next = mergePulled(state, REF, logged.imageName, logged.credentials, 2);
          if (next !== state) log.push(logged);
          state = next;
        }
        const held = cut % (log.length + 1);
        const partly = replay(undefined, log.slice(0, held));
        const whole = replay(undefined, log)!;
        expect({ ...whole.credentialMapping }).toEqual({ ...state!.credentialMapping });
        expect(replay(partly, log)!.toPlain()).toEqual(whole.toPlain());
        expect(replay(whole, log)!.toPlain()).toEqual(whole.toPlain());
        // A snapshot may also hold more than the part of the log that was dropped for it.
        const dropped = skip % (held + 1);
        const resumed = replay(partly, log.slice(dropped))!;
        expect({ ...resumed.credentialMapping }).toEqual({ ...whole.credentialMapping });
      }),
      { numRuns: 2000 },
    );
  });
});

import { describe, expect, it } from 'vitest';
import { Replica } from '../../src/engine/replica.ts';
import { fnv1 } from '../../src/locks/stripe.ts';
import { REQUEST, STATE } from '../../src/protocol/frames.ts';
import type { StateReply } from '../../src/protocol/host-link.ts';
import type { OutgoingRequest } from '../../src/protocol/request-writer.ts';
import { SharedState } from '../../src/protocol/shared-state.ts';
import { mergePulled } from '../../src/records/merge.ts';
import { PulledRecord } from '../../src/records/record.ts';

const REF = 'sha256:1';
const SECRET = { uid: 'u', namespace: 'team', name: 'pull', credentialHash: 'h' };
const CREDENTIALS = { kubernetesSecrets: [SECRET] };

function reply(state: SharedState, updatedAtMs: number): StateReply {
  const version = Atomics.load(state.versions, fnv1(REF) & state.slotMask);
  return {
    flags: STATE.HAS_RECORD | STATE.KEEP_RECORD,
    record: new PulledRecord(REF, updatedAtMs, []),
    recordVersion: version,
    intentVersion: 0,
  };
}

function request(imageRef: string): OutgoingRequest {
  return {
    op: REQUEST.PULLED,
    image: undefined,
    imageRef,
    imageName: 'registry.example.com/app',
    credentials: CREDENTIALS,
    wantsState: true,
  };
}

function raise(state: SharedState): void {
  Atomics.add(state.versions, fnv1(REF) & state.slotMask, 1);
}

describe('a replica', () => {
  it('knows a record as long as its version is the one it was read at', () => {
    const state = SharedState.create(1, 31);
    const replica = new Replica(state, () => 0);
    expect(replica.record(REF)).toBeUndefined();
    replica.learn(request(REF), reply(state, 1));
    expect(replica.record(REF)?.record?.updatedAtMs).toBe(1);
    raise(state);
    expect(replica.record(REF)).toBeUndefined();
    replica.learn(request(REF), reply(state, 2));
    expect(replica.record(REF)?.record?.updatedAtMs).toBe(2);
  });

  // A policy of the user's may ask the same manager, which learns, while a decision is being made: what
  // that one notes about the record it had must not count for the one that is known afterwards.
  it('makes a new entry of what it learns, which shares no notes with the old one', () => {
    const state = SharedState.create(1, 31);
    const replica = new Replica(state, () => 0);
    replica.learn(request(REF), reply(state, 1));
    const before = replica.record(REF)!;
    raise(state);
    replica.learn(request(REF), reply(state, 2));
    before.lastImage = 'app';
    before.lastProof = { nodePodsAccessible: true };
    const after = replica.record(REF)!;
    expect(after.record?.updatedAtMs).toBe(2);
    expect(after.lastImage).toBeUndefined();
    expect(after.lastProof).toBeUndefined();
    expect(replica.isCurrent(before)).toBe(false);
  });

  it('says of a record whether a decision has used it since it was learned', () => {
    const state = SharedState.create(1, 31);
    const replica = new Replica(state, () => 0);
    replica.learn(request(REF), reply(state, 1));
    expect(replica.wasUsed(REF)).toBe(false);
    replica.record(REF)!.lastImage = 'app';
    expect(replica.wasUsed(REF)).toBe(true);
    replica.learn(request(REF), reply(state, 2));
    expect(replica.wasUsed(REF)).toBe(false);
  });

  it('merges what an owner has merged, into the very record that the owner had', () => {
    const state = SharedState.create(1, 31);
    const replica = new Replica(state, () => 0);
    const known = reply(state, 1);
    replica.learn(request(REF), known);
    raise(state);
    replica.merged(request(REF), known.recordVersion, 2);
    const merged = mergePulled(known.record, REF, 'registry.example.com/app', CREDENTIALS, 2);
    expect(replica.record(REF)?.record).toEqual(merged);
    raise(state);
    expect(replica.record(REF)).toBeUndefined();
  });

  it('merges into absence, where that is what it knew', () => {
    const state = SharedState.create(1, 31);
    const replica = new Replica(state, () => 0);
    const absent = { ...reply(state, 1), record: undefined };
    replica.learn(request(REF), absent);
    raise(state);
    replica.merged(request(REF), absent.recordVersion, 2);
    expect(replica.record(REF)?.record?.proofs).toHaveLength(1);
  });

  it.each([
    { name: 'an older version', ahead: 1 },
    { name: 'a newer version', ahead: -1 },
  ])('merges nothing into a record of $name', ({ ahead }) => {
    const state = SharedState.create(1, 31);
    const replica = new Replica(state, () => 0);
    const known = reply(state, 1);
    replica.learn(request(REF), known);
    raise(state);
    replica.merged(request(REF), known.recordVersion + ahead, 2);
    raise(state);
    // Whatever the slot says now: there is no entry that claims to be of another version than before.
    const { version, record } = (() => {
      Atomics.store(state.versions, fnv1(REF) & state.slotMask, known.recordVersion);
      return replica.record(REF)!;
    })();
    expect(version).toBe(known.recordVersion);
    expect(record).toEqual(known.record);
  });

  it('merges nothing into what it does not know', () => {
    const state = SharedState.create(1, 31);
    const replica = new Replica(state, () => 0);
    raise(state);
    replica.merged(request(REF), 0, 2);
    expect(replica.record(REF)).toBeUndefined();
    expect(replica.recordCount).toBe(0);
  });

  it('does not fill the memory with images that have gone', () => {
    const state = SharedState.create(1, 31);
    let recordCount = 10;
    const replica = new Replica(state, () => recordCount);
    const learnAll = (count: number): void => {
      for (let i = 0; i < count; i++) replica.learn(request(`sha256:${i}`), reply(state, 1));
    };
    learnAll(50_000);
    expect(replica.recordCount).toBeLessThan(17_000);
    expect(replica.recordsMax).toBeLessThan(17_000);
    // What the store holds has room, whatever there was before.
    recordCount = 50_000;
    learnAll(50_000);
    for (let i = 0; i < 50_000; i++) {
      if (replica.record(`sha256:${i}`) === undefined) expect.fail(`${i} is forgotten`);
    }
  });
});

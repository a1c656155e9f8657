import { describe, expect, it } from 'vitest';
import { Replica } from '../../src/engine/replica.ts';
import { fnv1 } from '../../src/locks/stripe.ts';
import { STATE } from '../../src/protocol/frames.ts';
import type { StateReply } from '../../src/protocol/host-link.ts';
import { SharedState } from '../../src/protocol/shared-state.ts';
import { PulledRecord } from '../../src/records/record.ts';

const REF = 'sha256:1';

function reply(state: SharedState, updatedAtMs: number): StateReply {
  const version = Atomics.load(state.versions, fnv1(REF) & state.slotMask);
  return {
    flags: STATE.HAS_RECORD | STATE.KEEP_RECORD,
    record: new PulledRecord(REF, updatedAtMs, []),
    recordVersion: version,
    intentVersion: 0,
  };
}

function raise(state: SharedState): void {
  Atomics.add(state.versions, fnv1(REF) & state.slotMask, 1);
}

describe('a replica', () => {
  it('knows a record as long as its version is the one it was read at', () => {
    const state = SharedState.create(1, 31);
    const replica = new Replica(state);
    expect(replica.record(REF)).toBeUndefined();
    replica.learn(REF, undefined, reply(state, 1));
    expect(replica.record(REF)?.record?.updatedAtMs).toBe(1);
    raise(state);
    expect(replica.record(REF)).toBeUndefined();
    replica.learn(REF, undefined, reply(state, 2));
    expect(replica.record(REF)?.record?.updatedAtMs).toBe(2);
  });

  // A policy of the user's may ask the same manager, which learns, while a decision is being made: what
  // that one notes about the record it had must not count for the one that is known afterwards.
  it('makes a new entry of what it learns, which shares no notes with the old one', () => {
    const state = SharedState.create(1, 31);
    const replica = new Replica(state);
    replica.learn(REF, undefined, reply(state, 1));
    const before = replica.record(REF)!;
    raise(state);
    replica.learn(REF, undefined, reply(state, 2));
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
    const replica = new Replica(state);
    replica.learn(REF, undefined, reply(state, 1));
    expect(replica.wasUsed(REF)).toBe(false);
    replica.record(REF)!.lastImage = 'app';
    expect(replica.wasUsed(REF)).toBe(true);
    replica.learn(REF, undefined, reply(state, 2));
    expect(replica.wasUsed(REF)).toBe(false);
  });
});

/** What callers and disturbers of one history do: data, made and shrunk by fast-check. */
import * as fc from 'fast-check';
import type { Config } from './config.ts';
import { IMAGE_COUNT, OFFER_COUNT, PROOF_COUNT, REF_COUNT } from './universe.ts';

/** One call; a `pull` is an intent and its end. Numbers are indexes into the universe. */
export type Act =
  | { readonly act: 'intent' | 'failed'; readonly image: number; readonly isAwaited: boolean }
  | {
      readonly act: 'pull' | 'pulled';
      readonly image: number;
      readonly ref: number;
      readonly proof: number;
      readonly isAwaited: boolean;
    }
  | {
      readonly act: 'decide';
      readonly how: 'decide' | 'mustAttempt' | 'sync' | 'batch';
      readonly image: number;
      readonly ref: number;
      readonly offer: number;
      readonly isAwaited: boolean;
    }
  | { readonly act: 'get'; readonly ref: number; readonly isAwaited: boolean }
  | {
      readonly act: 'prune';
      readonly listed: readonly number[];
      /** Relative to what the clock shows. */
      readonly untilS: number;
      readonly isAwaited: boolean;
    }
  | { readonly act: 'listIntents' | 'listRecords'; readonly isAwaited: boolean };

/** Something that happens when the callers have come so far, in events since the phase began. */
export type Disturbance =
  | { readonly kind: 'clock'; readonly after: number; readonly byS: number }
  | { readonly kind: 'death'; readonly after: number; readonly worker: number }
  | {
      readonly kind: 'storeFails';
      readonly after: number;
      readonly during: 'commit' | 'get' | 'exists';
      /** Whether the store has done it all the same. */
      readonly isDone: boolean;
    }
  | { readonly kind: 'storeDies'; readonly after: number; readonly isDone: boolean }
  | { readonly kind: 'hold'; readonly after: number };

/** What happens between two restarts of the engine. */
export interface Phase {
  /** By history and caller; all of them are at work at the same time. */
  readonly histories: readonly (readonly (readonly Act[])[])[];
  readonly disturbances: readonly Disturbance[];
}

/** Several histories, each on keys of its own: they meet in batches, stripes and disturbances. */
export interface Program {
  readonly phases: readonly Phase[];
  /** By restart, the images that the runtime lists then: for each reference, the image or none. */
  readonly listed: readonly (readonly (number | undefined)[])[];
}

const ACTS_MAX = 9;
/** Events by which a program of the usual size is about done. */
const AFTER_MAX = 240;
const DISTURBANCES_MAX = 5;
export const HISTORIES_MAX = 16;

export function programs(config: Config): fc.Arbitrary<Program> {
  const acts = fc.array(actOf(config), { minLength: 1, maxLength: ACTS_MAX, size: 'max' });
  const callersMax = config.callers.length;
  const history = fc.array(acts, { minLength: 1, maxLength: callersMax, size: 'max' });
  const phase = fc.record({
    histories: fc.array(history, { minLength: 1, maxLength: HISTORIES_MAX, size: 'max' }),
    disturbances: disturbancesOf(config),
  });
  const phasesMax = config.disturbances.includes('restart') ? 3 : 1;
  const listed = fc.option(fc.nat(IMAGE_COUNT - 1), { nil: undefined });
  return fc.record({
    phases: fc.array(phase, { minLength: phasesMax > 1 ? 2 : 1, maxLength: phasesMax }),
    listed: fc.array(fc.array(listed, { minLength: REF_COUNT, maxLength: REF_COUNT }), {
      minLength: 2,
      maxLength: 2,
    }),
  });
}

function actOf(config: Config): fc.Arbitrary<Act> {
  const image = fc.oneof(
    { weight: 5, arbitrary: fc.nat(1) },
    { weight: 5, arbitrary: fc.nat(IMAGE_COUNT - 1) },
  );
  const ref = fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.nat(REF_COUNT - 1));
  const isAwaited = fc.oneof({ weight: 4, arbitrary: fc.constant(true) }, fc.constant(false));
  const proof = fc.oneof(fc.nat(1), fc.nat(PROOF_COUNT - 1));
  const offer = fc.oneof(fc.nat(1), fc.nat(OFFER_COUNT - 1));
  const how = fc.constantFrom('decide', 'decide', 'mustAttempt', 'sync', 'batch');
  const prune = fc.record({
    act: fc.constant('prune'),
    listed: fc.subarray(Array.from({ length: REF_COUNT }, (_, i) => i)),
    untilS: fc.constantFrom(2, 2, 1, 0, -1),
    isAwaited,
  });
  const list = fc.record({ act: fc.constantFrom('listIntents', 'listRecords'), isAwaited });
  const listWeight = config.listsAtAnyTime ? 1 : 0;
  return fc.oneof(
    { weight: 6, arbitrary: fc.record({ act: fc.constant('pull'), image, ref, proof, isAwaited }) },
    { weight: 2, arbitrary: fc.record({ act: fc.constant('intent'), image, isAwaited }) },
    {
      weight: 2,
      arbitrary: fc.record({ act: fc.constant('pulled'), image, ref, proof, isAwaited }),
    },
    { weight: 2, arbitrary: fc.record({ act: fc.constant('failed'), image, isAwaited }) },
    {
      weight: 10,
      arbitrary: fc.record({ act: fc.constant('decide'), how, image, ref, offer, isAwaited }),
    },
    { weight: 1, arbitrary: fc.record({ act: fc.constant('get'), ref, isAwaited }) },
    { weight: 2, arbitrary: prune },
    { weight: listWeight, arbitrary: list },
  ) as fc.Arbitrary<Act>;
}

function disturbancesOf({ disturbances }: Config): fc.Arbitrary<Disturbance[]> {
  const after = fc.nat(AFTER_MAX);
  const kinds: Record<string, fc.Arbitrary<unknown>> = {
    clock: fc.record({
      kind: fc.constant('clock'),
      after,
      byS: fc.constantFrom(1, -1, 3600, -3600),
    }),
    death: fc.record({ kind: fc.constant('death'), after, worker: fc.nat(3) }),
    storeFails: fc.record({
      kind: fc.constant('storeFails'),
      after,
      during: fc.constantFrom('commit', 'commit', 'commit', 'get', 'exists'),
      isDone: fc.boolean(),
    }),
    storeDies: fc.record({ kind: fc.constant('storeDies'), after, isDone: fc.boolean() }),
    hold: fc.record({ kind: fc.constant('hold'), after }),
  };
  const possible = disturbances.flatMap((kind) => kinds[kind] ?? []);
  if (possible.length === 0) return fc.constant([]);
  const list = fc.array(fc.oneof(...possible), { maxLength: DISTURBANCES_MAX, size: 'max' });
  return list as fc.Arbitrary<Disturbance[]>;
}

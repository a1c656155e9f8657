/** The shapes of engine that are simulated, each drawn from a seed. */
import { COMPATIBILITY_LEVELS, type CompatibilityLevel } from '../../../src/compatibility.ts';
import type { VerificationPolicy } from '../../../src/policies/enforcer.ts';
import { Random } from '../../../src/util/random.ts';
import { ALLOWLIST } from './universe.ts';

export type StoreName = 'memory' | 'journal' | 'kubelet' | 'lmdb' | 'module';
export type DisturbanceName = 'clock' | 'death' | 'hold' | 'restart' | 'storeDies' | 'storeFails';
/** Where a caller is: the manager that opened the engine, one attached beside it, or in a thread. */
export type Place = 'opener' | 'beside' | 'thread';

/** What may change from one run of an engine to the next. */
export interface Shape {
  readonly workerCount: number;
  readonly stripeCount: number;
}

export interface Config extends Shape {
  readonly store: StoreName;
  readonly level: CompatibilityLevel;
  readonly policy: VerificationPolicy;
  readonly callers: readonly Place[];
  readonly disturbances: readonly DisturbanceName[];
  /** How workers and stripes are after each restart. */
  readonly reshaped: readonly Shape[];
  /** Whether the module store answers at once or later. */
  readonly answersAtOnce: boolean;
  /** Whether the journal flushes each batch. */
  readonly isFlushed: boolean;
  /** Whether listings are in step with decisions while others write. */
  readonly listsAtAnyTime: boolean;
}

/** Settings that are not to be drawn. */
export interface Focus {
  readonly store?: StoreName;
  readonly workerCount?: number;
  readonly policy?: VerificationPolicy['kind'];
  /** Of these, those that the shape allows. */
  readonly disturbances?: readonly DisturbanceName[];
}

const POLICIES: readonly VerificationPolicy[] = [
  { kind: 'NeverVerify' },
  { kind: 'NeverVerifyPreloadedImages' },
  { kind: 'NeverVerifyPreloadedImages' },
  { kind: 'NeverVerifyPreloadedImages' },
  { kind: 'NeverVerifyAllowlistedImages', allowlist: ALLOWLIST },
  { kind: 'AlwaysVerify' },
];
const STORES: readonly StoreName[] = [
  'memory',
  'memory',
  'memory',
  'journal',
  'journal',
  'journal',
  'module',
  'module',
  'kubelet',
  'lmdb',
];
const WORKER_COUNTS = [0, 1, 1, 2, 2, 2, 4];
const STRIPE_COUNTS = [1, 3, 31];
const CALLERS: readonly (readonly Place[])[] = [
  ['opener', 'beside'],
  ['opener', 'thread'],
  ['opener', 'beside', 'thread'],
  ['opener', 'opener', 'thread', 'thread'],
];
/** Shares of the shapes: nothing but the clock is disturbed; all but restarts, which take long. */
const CALM_SHARE = 0.4;
const RUNNING_SHARE = 0.4;

export function configOf(seed: number, focus: Focus): Config {
  const random = new Random(seed, 1);
  const pick = <T>(list: readonly T[]): T => list[random.below(list.length)]!;
  const shape = (): Shape => ({
    workerCount: pick(WORKER_COUNTS),
    stripeCount: pick(STRIPE_COUNTS),
  });
  const store = focus.store ?? pick(STORES);
  const drawn = shape();
  const workerCount = focus.workerCount ?? drawn.workerCount;
  const policy = pick(POLICIES.filter(({ kind }) => kind === (focus.policy ?? kind)));
  const possible = possibleDisturbances(store, workerCount);
  const chosen = focus.disturbances ?? drawnDisturbances(possible, random.share());
  const disturbances = possible.filter((kind) => chosen.includes(kind));
  const reshaped = [shape(), shape()];
  const shapes = disturbances.includes('restart')
    ? [{ workerCount }, ...reshaped]
    : [{ workerCount }];
  const isOneOwner = shapes.every((one) => one.workerCount <= 1);
  return {
    store,
    workerCount,
    stripeCount: drawn.stripeCount,
    level: pick(COMPATIBILITY_LEVELS),
    policy,
    callers: pick(CALLERS),
    disturbances,
    reshaped,
    answersAtOnce: random.share() < 0.5,
    isFlushed: random.share() < 0.2,
    // Elsewhere a listing reads what another worker is about to publish.
    listsAtAnyTime: (store !== 'lmdb' && store !== 'module') || isOneOwner,
  };
}

function drawnDisturbances(possible: DisturbanceName[], share: number): DisturbanceName[] {
  if (share < CALM_SHARE) return ['clock'];
  if (share < CALM_SHARE + RUNNING_SHARE) return possible.filter((kind) => kind !== 'restart');
  return possible;
}

/** The memory store loses what its worker held; only the module store fails on command. */
function possibleDisturbances(store: StoreName, workerCount: number): DisturbanceName[] {
  const possible: DisturbanceName[] = ['clock', 'hold'];
  if (store !== 'memory') {
    possible.push('restart');
    if (workerCount > 0) possible.push('death');
  }
  if (store === 'module') {
    possible.push('storeFails');
    if (workerCount > 0) possible.push('storeDies');
  }
  return possible;
}

export function describeConfig(config: Config): string {
  const { store, workerCount, stripeCount, level, policy, callers, disturbances } = config;
  return (
    `${store} store, ${workerCount} workers, ${stripeCount} stripes, ${level}, ${policy.kind}, ` +
    `callers ${callers.join(' ')}, disturbed by ${disturbances.join(' ') || 'nothing'}`
  );
}

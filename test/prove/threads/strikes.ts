/** Every way in which a worker of a proof dies, and how those ways are spread over engines. */
import type { StoreOptions } from '../../../src/accessors/backend.ts';
import { type StoreKind, storeOptions } from '../../../src/accessors/store-location.ts';
import { Random, shuffled } from '../../../src/util/random.ts';
import { KINDS, type Kind, type Moment } from './board.ts';

export const STORES: readonly StoreKind[] = ['memory', 'journal', 'kubelet', 'lmdb'];

export function storeAt(kind: StoreKind, path: string): StoreOptions {
  return kind === 'memory' ? { kind } : storeOptions(kind, path);
}

export const WORKER_COUNTS: readonly number[] = [1, 2, 4];

/** What the engine is doing. */
export type Scene =
  | 'idle'
  | 'under load'
  | 'while its replacement opens'
  | 'during a listing'
  | 'during a prune'
  | 'while closing'
  | 'while opening'
  | 'during reconcile';

/** One death; JSON. */
export interface Strike {
  readonly scene: Scene;
  readonly moment: Moment;
  readonly kind: Kind;
}

/** What happens to one store: an engine at work, its end, and its next opening; JSON. */
export interface LifePlan {
  readonly store: StoreKind;
  readonly workerCount: number;
  readonly seed: number;
  readonly atWork: readonly Strike[];
  readonly atClose?: Strike;
  readonly atOpen?: Strike;
}

/** Each death of one worker makes the next replacement wait longer. */
const STRIKES_PER_LIFE = 6;
const COMMIT: readonly Moment[] = ['before the write', 'between flush and publishing'];
const BATCH: readonly Moment[] = [
  'anywhere',
  'holding its stripes',
  'before the write',
  'in the middle of the write',
  'between flush and publishing',
  'in the middle of publishing',
  'between publishing and answer',
];
const AT_WORK: readonly (readonly [Scene, readonly Moment[]])[] = [
  ['idle', ['asleep']],
  ['under load', BATCH],
  ['while its replacement opens', ['opening']],
  ['during a listing', ['anywhere']],
  ['during a prune', COMMIT],
];
const AT_CLOSE: readonly (readonly [Scene, readonly Moment[]])[] = [
  ['while closing', ['before the write', 'closing']],
];
const AT_OPEN: readonly (readonly [Scene, readonly Moment[]])[] = [
  ['while opening', ['opening']],
  ['during reconcile', COMMIT],
];
/** Those take seconds. */
const SLOW = new Set<Kind>(['runs out of memory', 'blocks']);

/**
 * Lives in which every death comes once on every store and with every number of workers. The first
 * third of them has every death on every store, with one number of workers or another.
 */
export function lifePlans(seed: number): LifePlan[] {
  return WORKER_COUNTS.flatMap((_, round) => {
    const plans: LifePlan[] = [];
    for (const store of STORES) {
      for (const [place, workerCount] of WORKER_COUNTS.entries()) {
        const random = new Random(seed, plans.length);
        const of = (scenes: readonly (readonly [Scene, readonly Moment[]])[]): Strike[] => {
          const turn = (_strike: Strike, i: number): boolean =>
            (i + seed + round) % WORKER_COUNTS.length === place;
          return mixed(strikesOf(scenes, store).filter(turn), random);
        };
        const [atWork, atClose, atOpen] = [of(AT_WORK), of(AT_CLOSE), of(AT_OPEN)];
        const count = Math.ceil(atWork.length / STRIKES_PER_LIFE);
        for (let i = 0; i < Math.max(count, atClose.length, atOpen.length); i++) {
          plans.push({
            store,
            workerCount,
            seed: (seed * 10 + round) * 100 + plans.length,
            // Dealt out in turn, so that no life has all that are slow.
            atWork: atWork.filter((_strike, dealt) => dealt % count === i),
            ...(atClose[i] === undefined ? {} : { atClose: atClose[i] }),
            ...(atOpen[i] === undefined ? {} : { atOpen: atOpen[i] }),
          });
        }
      }
    }
    return mixed(plans, new Random(seed, 77 + round));
  });
}

export function strikesOfLife({ atWork, atClose, atOpen }: LifePlan): Strike[] {
  return [...atWork, ...[atClose, atOpen].filter((strike) => strike !== undefined)];
}

export function textOfStrike({ scene, moment, kind }: Strike): string {
  return `${kind} ${scene}, ${moment}`;
}

function strikesOf(
  scenes: readonly (readonly [Scene, readonly Moment[]])[],
  store: StoreKind,
): Strike[] {
  return scenes.flatMap(([scene, moments]) =>
    moments.flatMap((moment) =>
      KINDS.map((kind) => ({ scene, moment, kind })).filter((strike) => isPossible(strike, store)),
    ),
  );
}

function isPossible({ scene, moment, kind }: Strike, store: StoreKind): boolean {
  if (store === 'memory') {
    // Nothing is in the middle of being written, and nothing is left over for the next opening.
    if (moment === 'in the middle of the write' || scene === 'during reconcile') return false;
  }
  // A word of memory is never read with an error: that moment is for deaths from outside.
  if (kind === 'throws' && moment === 'anywhere') return false;
  if (SLOW.has(kind)) return scene === 'under load' && COMMIT.includes(moment);
  return true;
}

function mixed<T>(items: readonly T[], random: Random): T[] {
  return Array.from(shuffled(items.length, random), (place) => items[place]!);
}

/** Kills the lives of a store at named points, each of them. */
import { existsSync, mkdirSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { Random } from '../../../src/util/random.ts';
import type { HistoryOptions, LifeResult } from './history.ts';
import { liveOn, type Outcome } from './kills.ts';
import { type LifeEnding, LifeFailure } from './life-process.ts';
import type { Finding } from './model.ts';
import { type Point, pointsOf } from './points/catalogue.ts';

/** Options of a run of kills at points. */
export interface PointKillOptions extends HistoryOptions {
  /** Kills wanted at each point. */
  readonly hits: number;
  readonly points: readonly Point[];
  /** Fewer are done where this is over, which is a failure. */
  readonly limitMs: number;
}

/** The result of a run of kills at points. */
export interface PointKillReport extends Outcome {
  /** Kills at each point of the catalogue. */
  readonly hits: ReadonlyMap<string, number>;
  /** Points that no kill was at: nothing is known of them. */
  readonly missed: readonly string[];
  /** Points that processes came to and the catalogue lacks. */
  readonly uncharted: readonly string[];
  /** Lives in which points were looked for, those that only led to one included. */
  readonly lives: number;
}

/**
 * Lives in which a point is looked for. The first one comes to it, or the second one where the call
 * is made only after a close, as the first one then ends in: more are for the unforeseen.
 */
const ATTEMPTS_MAX = 6;
/** Not a time: on a slow machine as on a fast one, these lead to every call of a store. */
const WRITES_LEAST = 300;
const WRITES_RANGE = 300;
const COUNT_MAX = 3;

/** Kills at every point, in random order, until that was done often enough or something was found. */
export async function runPointKills(options: PointKillOptions): Promise<PointKillReport> {
  const { store, points } = options;
  const random = new Random(options.seed, 4);
  const search = new PointSearch(options, random);
  const firstStarts = points.filter(({ isFirstStart }) => isFirstStart);
  const others = points.filter(({ isFirstStart }) => !isFirstStart);
  const outcomes: Outcome[] = [];
  const isGood = (): boolean =>
    outcomes.every(({ findings, failure }) => findings.length === 0 && failure === undefined);
  for (let round = 0; round < options.hits && isGood(); round++) {
    for (const point of shuffled(firstStarts, random)) {
      if (!isGood()) break;
      const directory = join(options.directory, `new-${round}-${outcomes.length}`);
      const placed = { ...options, directory, storePath: join(directory, 'store') };
      outcomes.push(await liveOn(placed, (live) => search.once(point, placed.storePath, live)));
    }
  }
  if (isGood()) {
    const outcome = await liveOn(options, async (live) => {
      for (let round = 0; round < options.hits; round++) {
        for (const point of shuffled(others, random)) {
          await search.once(point, options.storePath, live);
        }
      }
    });
    outcomes.push(outcome);
  }
  const charted = new Set(pointsOf(store).map(({ name }) => name));
  return {
    ...sumOf(outcomes),
    hits: search.hits,
    missed: points.map(({ name }) => name).filter((name) => search.hits.get(name) === 0),
    uncharted: [...search.seen].filter((name) => !charted.has(name)),
    lives: search.lives,
  };
}

/** Looks for points by giving lives. */
class PointSearch {
  readonly hits: Map<string, number>;
  /** Points that any process came to. */
  readonly seen = new Set<string>();
  lives = 0;
  readonly #random: Random;
  readonly #deadline: number;

  constructor({ points, limitMs }: PointKillOptions, random: Random) {
    this.hits = new Map(points.map(({ name }) => [name, 0]));
    this.#random = random;
    this.#deadline = performance.now() + limitMs;
  }

  /** Gives lives until one has ended at the point, or it was looked for often enough. */
  async once(
    point: Point,
    storePath: string,
    live: (ending: LifeEnding) => Promise<LifeResult>,
  ): Promise<void> {
    const { name, prelude } = point;
    // The killer sees paths as the kernel does.
    mkdirSync(dirname(storePath), { recursive: true });
    const root = join(realpathSync(dirname(storePath)), basename(storePath));
    const reportPath = `${root}.points`;
    const killAt = async (place: Point, count: number): Promise<boolean> => {
      if (performance.now() > this.#deadline) {
        throw new LifeFailure('the points were not all reached in time');
      }
      const arming = place.arm({ root, count, reportPath });
      const writes = WRITES_LEAST + this.#random.below(WRITES_RANGE);
      const { changesLayout } = place;
      this.lives++;
      const { wasKilled } = await live({ kind: 'point', writes, arming, changesLayout });
      this.#takeReport(reportPath);
      return wasKilled;
    };
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      if (prelude !== undefined) await killAt(prelude, 1);
      const count = attempt === 0 && point.isRepeated ? 1 + this.#random.below(COUNT_MAX) : 1;
      if (!(await killAt(point, count))) continue;
      this.hits.set(name, this.hits.get(name)! + 1);
      return;
    }
  }

  #takeReport(path: string): void {
    if (!existsSync(path)) return;
    for (const name of readFileSync(path, 'utf8').trim().split('\n')) this.seen.add(name);
    rmSync(path);
  }
}

function sumOf(outcomes: readonly Outcome[]): Outcome {
  const findings: Finding[] = outcomes.flatMap((outcome) => outcome.findings);
  const sum = (of: (outcome: Outcome) => number): number =>
    outcomes.reduce((total, outcome) => total + of(outcome), 0);
  return {
    acknowledged: sum(({ acknowledged }) => acknowledged),
    compared: sum(({ compared }) => compared),
    refusals: sum(({ refusals }) => refusals),
    findings,
    failure: outcomes.find(({ failure }) => failure !== undefined)?.failure,
  };
}

function shuffled<T>(items: readonly T[], random: Random): T[] {
  const left = [...items];
  const taken: T[] = [];
  while (left.length > 0) taken.push(...left.splice(random.below(left.length), 1));
  return taken;
}

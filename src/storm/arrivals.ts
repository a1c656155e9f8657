/**
 * When the requests of an open load are to begin: a function of the stages and the seed alone.
 *
 * The rate integrated over time is the number of arrivals so far. Even arrivals are the times at which
 * it is a whole number; those of a Poisson process the times at which it reaches the sums of
 * exponential gaps (time change of a process of rate 1).
 */
import { Random } from '../util/random.ts';
import type { Ramp } from './result-schema.ts';

/** A stretch of time over which the rate moves evenly. */
export interface RateStage {
  /** May be infinite where the rate stands still. */
  readonly durationMs: number;
  readonly ratePerSecond: Ramp;
}

/** Generates the arrivals one after the other. */
export class ArrivalTimes {
  /** Time of the next arrival, in milliseconds from the beginning; infinite after the last. */
  timeMs = 0;
  /** 0-based number of the stage that it falls into. */
  stage = 0;
  readonly #stages: readonly RateStage[];
  /** Begin of each stage, and the number of arrivals before it. */
  readonly #startsMs: number[] = [];
  readonly #before: number[] = [];
  readonly #random: Random | undefined;
  /** The integral at which the next arrival comes. */
  #target = 0;

  constructor(
    stages: readonly RateStage[],
    options: { readonly spacing: 'even' | 'poisson'; readonly seed: number },
  ) {
    this.#stages = stages;
    let startMs = 0;
    let before = 0;
    for (const stage of stages) {
      this.#startsMs.push(startMs);
      this.#before.push(before);
      startMs += stage.durationMs;
      before += integral(stage, stage.durationMs);
    }
    this.#random = options.spacing === 'even' ? undefined : new Random(options.seed, ARRIVALS);
    this.#target = this.#gap(0);
    this.#find();
  }

  /** Goes on to the arrival after the next. */
  next(): void {
    this.#target += this.#gap(1);
    this.#find();
  }

  /** Leaves out what would arrive before a time. */
  skipTo(timeMs: number): void {
    if (this.timeMs >= timeMs) return;
    const reached = this.#countUntil(timeMs);
    this.#target = this.#random === undefined ? Math.ceil(reached) : reached + this.#gap(1);
    this.#find();
  }

  /** How many arrivals from the next one on come until a time; where they are random, on average. */
  countTo(timeMs: number): number {
    if (this.timeMs > timeMs) return 0;
    return 1 + Math.floor(this.#countUntil(timeMs) - this.#target);
  }

  #countUntil(timeMs: number): number {
    let at = this.#stages.length - 1;
    while (at > 0 && this.#startsMs[at]! > timeMs) at--;
    const stage = this.#stages[at]!;
    const into = Math.min(stage.durationMs, Math.max(0, timeMs - this.#startsMs[at]!));
    return this.#before[at]! + integral(stage, into);
  }

  #gap(even: number): number {
    return this.#random === undefined ? even : -Math.log(1 - this.#random.share());
  }

  #find(): void {
    for (; this.stage < this.#stages.length; this.stage++) {
      const stage = this.#stages[this.stage]!;
      const intoMs = inverse(stage, this.#target - this.#before[this.stage]!);
      if (intoMs < stage.durationMs) {
        this.timeMs = this.#startsMs[this.stage]! + intoMs;
        return;
      }
    }
    this.stage = this.#stages.length - 1;
    this.timeMs = Number.POSITIVE_INFINITY;
  }
}

const ARRIVALS = 0xa881;

/** Arrivals in the first `ms` of a stage. */
function integral({ durationMs, ratePerSecond: { from, to } }: RateStage, ms: number): number {
  if (ms === Number.POSITIVE_INFINITY) return ms;
  const slope = from === to ? 0 : (to - from) / durationMs;
  return ((from + (slope * ms) / 2) * ms) / 1_000;
}

/** Milliseconds into a stage after which the integral is `count`; infinite where it never is. */
function inverse({ durationMs, ratePerSecond: { from, to } }: RateStage, count: number): number {
  if (count <= 0) return from === 0 && to === 0 ? Number.POSITIVE_INFINITY : 0;
  const perMs = from / 1_000;
  if (from === to) return perMs === 0 ? Number.POSITIVE_INFINITY : count / perMs;
  const slope = (to - from) / 1_000 / durationMs;
  // The smaller root of slope/2 t² + perMs t = count, in the form that loses no digits.
  const root = perMs * perMs + 2 * slope * count;
  return root < 0 ? Number.POSITIVE_INFINITY : (2 * count) / (perMs + Math.sqrt(root));
}

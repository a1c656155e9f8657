/** Does one job in the calling thread. */
import { Random } from '../../../src/util/random.ts';
import type { Beat } from './beat.ts';
import { happens, pick } from './choice.ts';
import { readCorpus } from './corpus.ts';
import { Coverage } from './coverage.ts';
import { Feeder } from './feeder.ts';
import { EXPONENT_MAX, type Growth, measureGrowth } from './growth.ts';
import type { Job, JobResult } from './job.ts';
import { mutated } from './mutate.ts';
import type { FuzzTarget, TargetModule, WorstCase } from './target.ts';

/** Share of the time in which coverage guides; taking it slows the rest of it down. */
const GUIDED_SHARE = 0.5;
/** A look at the coverage may cost this share of the time of the inputs before it. */
const LOOK_SHARE = 0.25;
const BATCH_LEAST = 16;
const BATCH_MOST = 2_048;
const KEPT_MAX = 4_000;
const FRESH_SHARE = 0.3;
const RECENT_SHARE = 0.5;
const RECENT_COUNT = 8;
const MS_PER_SECOND = 1_000;

export async function runJob(
  { module, target: name, work, directory }: Job,
  beat: Beat,
): Promise<JobResult> {
  using coverage = work.kind === 'fuzz' ? new Coverage() : undefined;
  const { targets } = (await import(module)) as TargetModule;
  const target = targets.find((one) => one.name === name);
  if (target === undefined) throw new Error(`no target is called ${name}`);
  await target.open?.(directory);
  try {
    const feeder = new Feeder(target, beat);
    if (work.kind === 'growth')
      return resultOf(name, feeder, { growth: await growthOf(target, feeder) });
    if (work.kind === 'one') {
      const input = Buffer.from(work.input);
      await feeder.feed(input);
      await feeder.checkPrototypes([input]);
      return resultOf(name, feeder, {});
    }
    const fuzzing = new Fuzzing(target, feeder, work.seed);
    await fuzzing.run(work.seconds, coverage!);
    const { blockCount, keptCount } = fuzzing;
    return resultOf(name, feeder, { blockCount, keptCount });
  } finally {
    await target.close?.();
  }
}

function resultOf(target: string, feeder: Feeder, more: Partial<JobResult>): JobResult {
  const { fedCount, acceptedCount, memoryBytesMax, found } = feeder;
  const none = { blockCount: 0, keptCount: 0, growth: [] };
  return { ...none, target, fedCount, acceptedCount, memoryBytesMax, found, ...more };
}

class Fuzzing {
  blockCount = 0;
  readonly #target: FuzzTarget;
  readonly #feeder: Feeder;
  readonly #random: Random;
  /** What is changed: the corpus, and what has reached something new. */
  readonly #pool: Buffer[] = [];
  #corpusCount = 0;

  constructor(target: FuzzTarget, feeder: Feeder, seed: number) {
    this.#target = target;
    this.#feeder = feeder;
    this.#random = new Random(seed);
  }

  /** Inputs that have reached something new. */
  get keptCount(): number {
    return this.#pool.length - this.#corpusCount;
  }

  async run(seconds: number, coverage: Coverage): Promise<void> {
    const startedAtMs = performance.now();
    coverage.watch(this.#target.modules);
    await this.#feedCorpus();
    if (this.#target.modules.length > 0) {
      await this.#guided(coverage, startedAtMs + seconds * MS_PER_SECOND * GUIDED_SHARE);
    }
    coverage.stop();
    await this.#blind(startedAtMs + seconds * MS_PER_SECOND);
  }

  async #feedCorpus(): Promise<void> {
    for (const { input } of readCorpus(this.#target.name)) {
      this.#pool.push(input);
      await this.#feeder.feed(input);
    }
    await this.#feeder.checkPrototypes(this.#pool);
    this.#corpusCount = this.#pool.length;
  }

  async #guided(coverage: Coverage, untilMs: number): Promise<void> {
    coverage.isNew(true);
    let size = BATCH_LEAST;
    while (performance.now() < untilMs && !this.#feeder.isFull) {
      const fedAtMs = performance.now();
      const batch = await this.#feedBatch(size, untilMs);
      const lookedAtMs = performance.now();
      const isNew = coverage.isNew(false);
      const lookMs = performance.now() - lookedAtMs;
      const wanted = (size * lookMs) / (lookedAtMs - fedAtMs) / LOOK_SHARE;
      size = Math.min(BATCH_MOST, Math.max(BATCH_LEAST, Math.ceil(wanted)));
      if (isNew) await this.#keepNew(batch, coverage, untilMs);
    }
    this.blockCount = coverage.blockCount;
  }

  /** Feeds them again, half by half, to see which of them it was. */
  async #keepNew(batch: readonly Buffer[], coverage: Coverage, untilMs: number): Promise<void> {
    if (performance.now() >= untilMs || this.#pool.length >= KEPT_MAX) return;
    const isOne = batch.length === 1;
    for (const input of batch) await this.#feeder.feed(input);
    if (!coverage.isNew(isOne)) return;
    if (isOne) {
      this.#pool.push(batch[0]!);
      return;
    }
    const middle = batch.length >> 1;
    await this.#keepNew(batch.slice(0, middle), coverage, untilMs);
    await this.#keepNew(batch.slice(middle), coverage, untilMs);
  }

  async #blind(untilMs: number): Promise<void> {
    while (performance.now() < untilMs && !this.#feeder.isFull) {
      await this.#feedBatch(BATCH_MOST, untilMs);
    }
  }

  async #feedBatch(size: number, untilMs: number): Promise<readonly Buffer[]> {
    const batch: Buffer[] = [];
    while (batch.length < size && performance.now() < untilMs) {
      const input = this.#next();
      batch.push(input);
      await this.#feeder.feed(input);
    }
    await this.#feeder.checkPrototypes(batch);
    return batch;
  }

  #next(): Buffer {
    const random = this.#random;
    const target = this.#target;
    if (happens(random, FRESH_SHARE)) return Buffer.from(target.make(random));
    const isKept = this.#pool.length > 0 && happens(random, 0.7);
    // What came last may have just opened a door.
    const pool = happens(random, RECENT_SHARE) ? this.#pool.slice(-RECENT_COUNT) : this.#pool;
    const input = isKept ? pick(random, pool) : target.make(random);
    const other = this.#pool.length > 0 ? pick(random, this.#pool) : target.make(random);
    return mutated(input, other, random, target.words);
  }
}

/** Measures all worst cases. What seems to grow too fast is measured twice: machines have hiccups. */
async function growthOf(target: FuzzTarget, feeder: Feeder): Promise<readonly Growth[]> {
  const all: Growth[] = [];
  for (const worst of target.worstCases) {
    let growth = await measure(worst, feeder);
    if (growth.exponent > EXPONENT_MAX) {
      const again = await measure(worst, feeder);
      if (again.exponent < growth.exponent) growth = again;
    }
    all.push(growth);
    if (growth.exponent <= EXPONENT_MAX) continue;
    const { bytes } = growth.points.at(-1)!;
    feeder.report(
      `the time for ${worst.name} grows with the power ${growth.exponent.toFixed(2)} of the length`,
      growth.points.map((point) => `${point.bytes} bytes: ${point.ms.toFixed(2)} ms`).join('\n'),
      Buffer.from(worst.make(bytes)),
    );
  }
  return all;
}

function measure(worst: WorstCase, feeder: Feeder): Promise<Growth> {
  return measureGrowth(worst, (input) => feeder.feed(input));
}

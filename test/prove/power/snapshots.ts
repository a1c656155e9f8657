/**
 * Crash snapshots: the disk of a store is copied at once while the store is under load, again and
 * again, and each copy is what a power cut at that moment would have left: without what was not
 * flushed yet. What was acknowledged before the copy began has to be in it, and nothing that was
 * started after it ended.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Random } from '../../../src/util/random.ts';
import { CrashHistory, type LifeResult, newModel } from '../crashes/history.ts';
import type { Outcome } from '../crashes/kills.ts';
import { LifeFailure } from '../crashes/life-process.ts';
import { countEvents } from '../crashes/log.ts';
import type { CrashModel, Finding } from '../crashes/model.ts';
import { copyAtOnce, Disk, newDisk, newHost } from './disk.ts';

const COPIES_PER_LIFE = 4;
const PAUSE_MS_MAX = 60;

/** Options of a run of snapshots of one store. */
export interface SnapshotOptions {
  readonly directory: string;
  /** As in `HistoryOptions`. */
  readonly store: string;
  readonly seed: number;
  /** Snapshots wanted. */
  readonly snapshots: number;
  readonly limitMs: number;
}

/** The result of a run of snapshots. */
export interface SnapshotReport extends Outcome {
  readonly snapshots: number;
  /** Operations that ran or began while the disk was being copied. */
  readonly concurrent: number;
}

/** A copy of the disk, and how many events were in the log before and after it was made. */
interface Copy {
  readonly image: string;
  readonly from: number;
  readonly to: number;
}

/** Copies the disk of a store until that was done often enough or something was found. */
export async function runSnapshots(options: SnapshotOptions): Promise<SnapshotReport> {
  const run = new SnapshotRun(options);
  process.once('exit', run.remove);
  try {
    return await run.run();
  } finally {
    run.remove();
    process.removeListener('exit', run.remove);
  }
}

class SnapshotRun {
  readonly #options: SnapshotOptions;
  readonly #random: Random;
  /** Holds the image of `disk` and its copies. */
  readonly #host: Disk;
  readonly #disk: Disk;
  readonly #history: CrashHistory;
  #look: Disk | undefined;
  #lookHistory: CrashHistory | undefined;
  #compared = 0;
  #refusals = 0;
  #snapshots = 0;
  #concurrent = 0;

  constructor(options: SnapshotOptions) {
    this.#options = options;
    const { directory, seed } = options;
    this.#random = new Random(seed, 5);
    this.#host = newHost(directory);
    this.#disk = newDisk(this.#host.path);
    const storePath = join(this.#disk.path, 'store');
    this.#history = new CrashHistory({ ...options, storePath });
  }

  readonly remove = (): void => {
    this.#history.abort();
    this.#lookHistory?.abort();
    this.#look?.remove();
    this.#disk.remove();
    this.#host.remove();
  };

  async run(): Promise<SnapshotReport> {
    const { snapshots: wanted, limitMs } = this.#options;
    const deadline = performance.now() + limitMs;
    let findings: readonly Finding[] = [];
    let failure: string | undefined;
    let acknowledged = 0;
    try {
      while (this.#snapshots < wanted && findings.length === 0) {
        if (performance.now() > deadline) {
          throw new LifeFailure(`only ${this.#snapshots} of ${wanted} copies in ${limitMs} ms`);
        }
        const copies: Copy[] = [];
        const afterMs = this.#random.below(PAUSE_MS_MAX);
        const life = await this.#history.live({ kind: 'load', afterMs }, () => this.#copy(copies));
        acknowledged += life.acknowledged;
        findings = life.findings;
        for (const copy of copies) {
          if (findings.length === 0) findings = await this.#check(copy, life);
          rmSync(copy.image, { force: true });
        }
      }
    } catch (error) {
      if (!(error instanceof LifeFailure)) throw error;
      failure = error.message;
    }
    return {
      snapshots: this.#snapshots,
      concurrent: this.#concurrent,
      acknowledged,
      compared: this.#compared,
      refusals: this.#refusals,
      findings,
      failure,
    };
  }

  /** Copies a few times, and then kills. */
  async #copy(copies: Copy[]): Promise<void> {
    for (let i = 0; i < COPIES_PER_LIFE; i++) {
      const image = join(this.#host.path, `copy-${i}.img`);
      const from = countEvents(this.#history.logPath);
      copyAtOnce(this.#disk.image, image);
      copies.push({ image, from, to: countEvents(this.#history.logPath) });
      await delay(this.#random.below(PAUSE_MS_MAX));
    }
    this.#history.abort();
  }

  /** Opens the store in a copy and compares. */
  async #check(copy: Copy, life: LifeResult): Promise<readonly Finding[]> {
    const { directory, store, seed } = this.#options;
    this.#snapshots++;
    this.#concurrent += copy.to - copy.from;
    const model = modelAt(newModel(store), copy, life);
    const look = new Disk(copy.image, join(directory, 'look'));
    this.#look = look;
    look.mount();
    const history = new CrashHistory({
      directory: join(directory, `copy-${this.#snapshots}`),
      store,
      storePath: join(look.path, 'store'),
      seed: seed + this.#snapshots,
      model,
    });
    this.#lookHistory = history;
    const { findings } = await history.live({ kind: 'clean', loadMs: 1 });
    await look.unmount();
    this.#compared += model.compared;
    this.#refusals += model.refusals;
    return findings;
  }
}

/** What is known of a store at the moment of a copy, from the beginning of its life on. */
function modelAt(model: CrashModel, { from, to }: Copy, { events, dump }: LifeResult): CrashModel {
  if (dump === undefined) throw new LifeFailure('a life was copied before it was under load');
  const end = { timeMs: Date.now(), events };
  model.begin(dump);
  model.advance(events.slice(0, from), undefined, undefined, end);
  model.openWindow();
  model.advance(events.slice(from, to), undefined, undefined, end);
  model.crash();
  return model;
}

/** The lives of one store: what each does, how it ends, and what the model says of what is left. */
import { execFile } from 'node:child_process';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { readManifest } from '../../../src/accessors/journal/manifest.ts';
import type { JournalTuning } from '../../../src/accessors/journal/tuning.ts';
import type { WriteBehindTuning } from '../../../src/accessors/kubelet/write-behind.ts';
import { Random } from '../../../src/util/random.ts';
import type { CloseAfter, LifePlan } from './life-plan.ts';
import { type Kill, type LifeEnding, LifeFailure, LifeProcess } from './life-process.ts';
import { EVENT, isWrite, readEventLog, type StormEvent, withoutAcksAfterCut } from './log.ts';
import { CrashModel, type Finding } from './model.ts';
import type { Dump } from './sweep.ts';

/** Where and on what a history runs. */
export interface HistoryOptions {
  /** For logs and dumps; keeps them after a finding. */
  readonly directory: string;
  /** `journal`, `lmdb`, `kubelet`, or `module:` and the path of a store module. */
  readonly store: string;
  /** Where the store is; may be another file system. */
  readonly storePath: string;
  readonly seed: number;
  /** Lives end with a power cut: stores flush, and calls may fail shortly before. */
  readonly isPowerCut?: boolean;
  /** What is known of the store. @default nothing: it is new */
  readonly model?: CrashModel;
}

/** Where a life was when it ended. `done`: it had closed. */
export type Phase = 'open' | 'load' | 'close' | 'done';

/** What a life came to. */
export interface LifeResult {
  readonly number: number;
  readonly phase: Phase;
  readonly wasKilled: boolean;
  /** Acknowledged writes. */
  readonly acknowledged: number;
  readonly findings: readonly Finding[];
  readonly events: readonly StormEvent[];
  /** What the store held when it was open; undefined: the life did not get there. */
  readonly dump: Dump | undefined;
}

/** A model that knows nothing yet of a store of this kind. */
export function newModel(store: string): CrashModel {
  return new CrashModel(store === 'kubelet' ? 1000 : 1);
}

/** The journal switches segments and takes snapshots all the time, now and then, or as it does. */
const JOURNALS: readonly Partial<JournalTuning>[] = [
  {
    segmentBytesMin: 8 * 1024,
    segmentBytesMax: 32 * 1024,
    snapshotBytesMin: 16 * 1024,
    snapshotFactor: 0,
    snapshotFrameBytes: 2 * 1024,
    closingSnapshotBytesMin: 4 * 1024,
  },
  { segmentBytesMin: 8 * 1024, segmentBytesMax: 16 * 1024, snapshotSegmentCountMax: 3 },
  { segmentBytesMin: 64 * 1024, snapshotBytesMin: 256 * 1024, snapshotFactor: 1 },
  {},
];
/** Kubelet files follow in no time, within a life, or only when it closes. */
const WRITE_BEHINDS: readonly Partial<WriteBehindTuning>[] = [
  { delayMs: 1 },
  { delayMs: 25, eagerKeys: 16 },
  {},
];
/** Lives whose logs, plans and dumps are kept, to explain a finding. */
const KEPT_LIVES = 3;
const COPY_BYTES_MAX = 64 * 1024 * 1024;
const CRASHED = 'crashed.tar';
/** So that records are removed, whatever else. */
const PRUNES_LEAST = 3;

const run = promisify(execFile);

/** The lives of one store. */
export class CrashHistory {
  readonly model: CrashModel;
  readonly #options: HistoryOptions;
  readonly #random: Random;
  #lives = 0;
  #workerCount = 1;
  #stripeCount = 31;
  #current: LifeProcess | undefined;

  constructor(options: HistoryOptions) {
    this.#options = options;
    this.model = options.model ?? newModel(options.store);
    this.#random = new Random(options.seed, 1);
    fs.mkdirSync(options.directory, { recursive: true });
  }

  /** The event log of the life that goes on. */
  get logPath(): string {
    return this.#path('events');
  }

  /** Kills what runs, at once. */
  abort(): void {
    this.#current?.abort();
  }

  /**
   * One life. Its `kill` ends it, by default with SIGKILL.
   *
   * @throws `LifeFailure`
   */
  async live(ending: LifeEnding, kill?: Kill): Promise<LifeResult> {
    this.#lives++;
    const number = this.#lives;
    const { directory, isPowerCut = false } = this.#options;
    const plan = await this.#plan(ending);
    fs.writeFileSync(this.#path('plan.json'), JSON.stringify(plan, undefined, 2));
    const life = new LifeProcess({ number, plan, ending, directory, isPowerCut });
    this.#current = life;
    const { wasKilled } = await life.end(kill);
    return await this.#follow(number, plan, wasKilled);
  }

  async #follow(number: number, plan: LifePlan, wasKilled: boolean): Promise<LifeResult> {
    const events = withoutAcksAfterCut(readEventLog(plan.logPath));
    const phase = phaseOf(events, wasKilled);
    // Something else may have ended the process in peace, or nothing was left that it waited for.
    const isClosed = events.some(({ event }) => event === EVENT.CLOSED);
    if (!wasKilled && !isClosed) throw new LifeFailure(`life ${number} ended before it had closed`);
    const dump =
      phase === 'open' ? undefined : (JSON.parse(fs.readFileSync(plan.dumpPath, 'utf8')) as Dump);
    const end = { timeMs: Date.now() };
    const findings = this.model.follow(events, dump, plan.runtimeSeed, end);
    if (findings.length === 0) {
      fs.rmSync(this.#path(CRASHED, number - 1), { force: true });
      if (this.#options.isPowerCut !== true) await this.keepStore();
      if (number > KEPT_LIVES) this.#forget(number - KEPT_LIVES);
    }
    const acknowledged = acknowledgedIn(events);
    return { number, phase, wasKilled, acknowledged, findings, events, dump };
  }

  async #plan(ending: LifeEnding): Promise<LifePlan> {
    const random = this.#random;
    const isPoint = ending.kind === 'point';
    // The layout stays for some lives: a store builds a changed one anew.
    if (isPoint && ending.changesLayout) await this.#changeLayout();
    else if (random.below(3) === 0) {
      this.#workerCount = [0, 1, 2, 1, 0][random.below(5)]!;
      this.#stripeCount = [31, 31, 1, 3, 7][random.below(5)]!;
    }
    const reconciles = random.below(4) === 0;
    const closeAfter = closeAfterOf(ending);
    // A life that is to come to a point comes to as many as it can.
    const journal = isPoint ? 0 : random.below(JOURNALS.length);
    const writeBehind = isPoint ? 0 : random.below(WRITE_BEHINDS.length);
    return {
      store: this.#store(isPoint || random.below(4) > 0),
      workerCount: this.#workerCount,
      stripeCount: this.#stripeCount,
      journal: JOURNALS[journal]!,
      writeBehind: WRITE_BEHINDS[writeBehind]!,
      seed: random.next(),
      callers: [4, 32, 96, 200][random.below(4)]!,
      version: this.#lives >> 2,
      ...(reconciles ? { runtimeSeed: random.below(3) } : {}),
      ...(closeAfter === undefined ? {} : { closeAfter }),
      tolerated: this.#options.isPowerCut === true ? ['ERR_PULLMANAGER_STORE_UNAVAILABLE'] : [],
      logPath: this.#path('events'),
      dumpPath: this.#path('dump.json'),
    };
  }

  /** Goes by what the store is in now: a life that was killed may not have come to its own layout. */
  async #changeLayout(): Promise<void> {
    const live = await readManifest(this.#options.storePath);
    this.#workerCount = live?.partitionCount === 2 ? 1 : 2;
    // No more workers than stripes ever start.
    this.#stripeCount = 31;
  }

  #store(isFlushed: boolean): LifePlan['store'] {
    const { store, storePath: path, isPowerCut } = this.#options;
    const durability = isFlushed || isPowerCut === true ? 'flush' : 'write';
    if (store === 'journal') return { kind: store, path, durability };
    if (store === 'lmdb') return { kind: store, path };
    if (store === 'kubelet') return { kind: store, dir: path };
    const [, module, mode] = /^module:([^?]+)\??(.*)$/.exec(store) ?? [];
    if (module === undefined) throw new LifeFailure(`there is no store ${store}`);
    fs.mkdirSync(path, { recursive: true });
    return { module, options: { path: join(path, 'records.log'), mode } };
  }

  #path(suffix: string, number: number = this.#lives): string {
    return join(this.#options.directory, `life-${String(number).padStart(4, '0')}.${suffix}`);
  }

  /**
   * Packs what the last life left: a finding of the next one is about that. Into one file, since
   * hundreds of small ones take longer to make and remove than all else.
   */
  async keepStore(): Promise<void> {
    const { storePath } = this.#options;
    if (!fs.existsSync(storePath)) return;
    let bytes = 0;
    for (const name of fs.readdirSync(storePath)) {
      bytes += fs.statSync(join(storePath, name), { throwIfNoEntry: false })?.size ?? 0;
    }
    if (bytes > COPY_BYTES_MAX) return;
    await run('tar', ['-cf', this.#path(CRASHED), '-C', storePath, '.']);
  }

  #forget(number: number): void {
    for (const suffix of ['events', 'dump.json', 'plan.json', CRASHED]) {
      fs.rmSync(this.#path(suffix, number), { force: true });
    }
  }
}

function closeAfterOf(ending: LifeEnding): CloseAfter | undefined {
  if (ending.kind === 'load' || ending.kind === 'open') return undefined;
  return ending.kind === 'point'
    ? { writes: ending.writes, prunes: PRUNES_LEAST }
    : { ms: ending.loadMs };
}

function phaseOf(events: readonly StormEvent[], wasKilled: boolean): Phase {
  if (!wasKilled) return 'done';
  let phase: Phase = 'open';
  for (const { event } of events) {
    if (event === EVENT.READY) phase = 'load';
    if (event === EVENT.CLOSING) return 'close';
  }
  return phase;
}

function acknowledgedIn(events: readonly StormEvent[]): number {
  let count = 0;
  for (const { event, operation } of events) {
    if (event === EVENT.ACK && isWrite(operation)) count++;
  }
  return count;
}

/**
 * Gives a store one life after the other, ends each at a random moment, and has the model check
 * what is left.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { JournalTuning } from '../../src/accessors/journal/tuning.ts';
import { Random } from '../../src/util/random.ts';
import type { LifePlan } from './crash-life-plan.ts';
import { EVENT, OPERATION, readEventLog } from './crash-log.ts';
import { CrashModel, type Finding } from './crash-model.ts';
import type { Dump } from './crash-sweep.ts';

/** Where and on what a history runs. */
export interface HistoryOptions {
  /** For logs and dumps; keeps them after a finding. */
  readonly directory: string;
  /** `journal`, `lmdb`, `kubelet`, or `module:` and the path of a store module. */
  readonly store: string;
  /** Where the store is; may be another file system. */
  readonly storePath: string;
  readonly seed: number;
  /** The program and its arguments that run `crash-life`; the plan is added. */
  readonly command: readonly string[];
  /** Lives end with a power cut: stores flush, and calls may fail shortly before. */
  readonly isPowerCut?: boolean;
}

/** How a life is to be ended. */
export type LifeEnding =
  /** After this time under load. */
  | { readonly kind: 'load'; readonly afterMs: number }
  /** After this time from the start of the process, load or not. */
  | { readonly kind: 'open'; readonly afterMs: number }
  /** After this time from the beginning of its close. */
  | { readonly kind: 'close'; readonly loadMs: number; readonly afterMs: number }
  /** It closes in good order. */
  | { readonly kind: 'clean'; readonly loadMs: number };

/** What a life came to. */
export interface LifeResult {
  readonly number: number;
  /** The kind of its ending, or `clean` where it had closed before the kill. */
  readonly ending: LifeEnding['kind'];
  /** Acknowledged writes. */
  readonly acknowledged: number;
  readonly findings: readonly Finding[];
}

/** A life is stopped, and that is a failure, if it does not get there in this time. */
const READY_MS = 30_000;
const CLOSE_MS = 30_000;
/** The journal switches segments and takes snapshots all the time, now and then, or as it does. */
const TUNINGS: readonly Partial<JournalTuning>[] = [
  {
    segmentBytesMin: 8 * 1024,
    segmentBytesMax: 32 * 1024,
    snapshotBytesMin: 16 * 1024,
    snapshotFactor: 0,
    snapshotFrameBytes: 2 * 1024,
  },
  { segmentBytesMin: 8 * 1024, segmentBytesMax: 16 * 1024, snapshotSegmentCountMax: 3 },
  { segmentBytesMin: 64 * 1024, snapshotBytesMin: 256 * 1024, snapshotFactor: 1 },
  {},
];
const COPY_BYTES_MAX = 64 * 1024 * 1024;

/** A life failed in a way that is no state of the store: it could not be opened, it hung, it died. */
export class LifeFailure extends Error {}

/** The lives of one store. */
export class CrashHistory {
  readonly model: CrashModel;
  readonly #options: HistoryOptions;
  readonly #random: Random;
  #lives = 0;
  #workerCount = 1;
  #stripeCount = 31;
  #children = new Set<ChildProcess>();

  constructor(options: HistoryOptions) {
    this.#options = options;
    this.model = new CrashModel(options.store === 'kubelet' ? 1000 : 1);
    this.#random = new Random(options.seed, 1);
    fs.mkdirSync(options.directory, { recursive: true });
  }

  /** Kills what runs, at once. */
  abort(): void {
    for (const child of this.#children) child.kill('SIGKILL');
  }

  /**
   * One life. Its `kill` ends it, by default with SIGKILL.
   *
   * @throws `LifeFailure`
   */
  async live(
    ending: LifeEnding,
    kill: (child: ChildProcess) => unknown = (child) => child.kill('SIGKILL'),
  ): Promise<LifeResult> {
    this.#lives++;
    const number = this.#lives;
    const plan = this.#plan(number, ending);
    const { command, directory } = this.#options;
    fs.writeFileSync(this.#path('plan.json'), JSON.stringify(plan, undefined, 2));
    const [program, ...args] = command;
    const child = spawn(program!, [...args, JSON.stringify(plan)], {
      cwd: directory,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#children.add(child);
    const ended = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
    let said = '';
    let errors = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      child.emit('said');
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors += text;
    });
    const says = async (word: string, limitMs: number): Promise<boolean> => {
      const deadline = AbortSignal.timeout(limitMs);
      while (!said.includes(word)) {
        const heard = once(child, 'said', { signal: deadline }).then(() => true);
        const goesOn = await Promise.race([heard, ended.then(() => false)]).catch(() => {
          throw new LifeFailure(`life ${number} hangs: no '${word}' in ${limitMs} ms`);
        });
        if (!goesOn && !said.includes(word)) return false;
      }
      return true;
    };
    let isKilled = false;
    const killAfter = async (ms: number): Promise<void> => {
      await Promise.race([delay(ms), ended]);
      isKilled = child.exitCode === null && child.signalCode === null;
      if (isKilled) await kill(child);
    };
    try {
      if (ending.kind === 'open') await killAfter(ending.afterMs);
      else if (await says('R', READY_MS)) {
        if (ending.kind === 'load') await killAfter(ending.afterMs);
        if (ending.kind === 'close' && (await says('C', CLOSE_MS))) {
          await killAfter(ending.afterMs);
        }
      }
      const end = await Promise.race([ended, delay(CLOSE_MS, undefined, { ref: false })]);
      if (end === undefined) throw new LifeFailure(`life ${number} does not end`);
      const [code, signal] = end;
      const isClosed = code === 0 && plan.closeAfterMs !== undefined;
      const isAsPlanned = isKilled && (signal === 'SIGKILL' || this.#options.isPowerCut === true);
      if (!isClosed && !isAsPlanned) {
        throw new LifeFailure(`life ${number} ended with ${signal ?? code}: ${errors.trim()}`);
      }
      return this.#follow(number, plan, isClosed ? 'clean' : ending.kind);
    } finally {
      child.kill('SIGKILL');
      this.#children.delete(child);
    }
  }

  #follow(number: number, plan: LifePlan, ending: LifeEnding['kind']): LifeResult {
    const events = readEventLog(plan.logPath);
    const isReady = events.some(({ event }) => event === EVENT.READY);
    const dump = isReady ? (JSON.parse(fs.readFileSync(plan.dumpPath, 'utf8')) as Dump) : undefined;
    const end = { timeMs: Date.now() };
    const findings = this.model.follow(events, dump, plan.runtimeSeed, end);
    let acknowledged = 0;
    for (const { event, operation } of events) {
      if (event === EVENT.ACK && operation !== OPERATION.MATCH) acknowledged++;
    }
    if (findings.length === 0) {
      fs.rmSync(this.#path('crashed', number - 1), { recursive: true, force: true });
      if (this.#options.isPowerCut !== true) this.keepStore();
      if (number > 3) this.#forget(number - 3);
    }
    return { number, ending, acknowledged, findings };
  }

  #plan(number: number, ending: LifeEnding): LifePlan {
    const random = this.#random;
    const closes = ending.kind === 'close' || ending.kind === 'clean';
    // The layout stays for some lives: a store builds a changed one anew.
    if (random.below(3) === 0) {
      this.#workerCount = [0, 1, 2, 1, 2][random.below(5)]!;
      this.#stripeCount = [31, 31, 1, 3, 7][random.below(5)]!;
    }
    const tuning = TUNINGS[random.below(TUNINGS.length)]!;
    const reconciles = random.below(4) === 0;
    return {
      store: this.#store(random),
      workerCount: this.#workerCount,
      stripeCount: this.#stripeCount,
      tuning,
      seed: random.next(),
      callers: [4, 32, 96, 200][random.below(4)]!,
      version: number >> 2,
      ...(reconciles ? { runtimeSeed: random.below(3) } : {}),
      ...(closes ? { closeAfterMs: ending.loadMs } : {}),
      tolerated: this.#options.isPowerCut === true ? ['ERR_PULLMANAGER_STORE_UNAVAILABLE'] : [],
      logPath: this.#path('events'),
      dumpPath: this.#path('dump.json'),
    };
  }

  #store(random: Random): LifePlan['store'] {
    const { store, storePath: path } = this.#options;
    const isFlushed = random.below(4) > 0 || this.#options.isPowerCut === true;
    if (store === 'journal')
      return { kind: store, path, durability: isFlushed ? 'flush' : 'write' };
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

  /** Copies what the last life left: a finding of the next one is about that. */
  keepStore(): void {
    const { storePath } = this.#options;
    if (!fs.existsSync(storePath)) return;
    let bytes = 0;
    for (const name of fs.readdirSync(storePath)) {
      bytes += fs.statSync(join(storePath, name), { throwIfNoEntry: false })?.size ?? 0;
    }
    if (bytes > COPY_BYTES_MAX) return;
    fs.cpSync(storePath, this.#path('crashed'), { recursive: true });
  }

  #forget(number: number): void {
    for (const suffix of ['events', 'dump.json', 'plan.json', 'crashed']) {
      fs.rmSync(this.#path(suffix, number), { recursive: true, force: true });
    }
  }
}

/** Options of a run of kills. */
export interface CrashTestOptions extends HistoryOptions {
  /** Kills under load wanted. */
  readonly kills: number;
  /** Fewer are done where this is over, which is a failure. */
  readonly limitMs: number;
  readonly log: (line: string) => void;
}

/** The result of a run of kills. */
export interface CrashReport {
  /** Under load; others are not counted. */
  readonly kills: number;
  readonly killsAtOpen: number;
  readonly killsAtClose: number;
  readonly cleanCloses: number;
  readonly acknowledged: number;
  readonly compared: number;
  readonly findings: readonly Finding[];
  /** Why the run ended early. */
  readonly failure: string | undefined;
  readonly durationMs: number;
}

/** Fewer acknowledged writes are no load. */
const LOAD_LEAST = 20;
const PROGRESS_EVERY = 10;

/** Kills the lives of a store until that was done often enough or something was found. */
export async function runCrashTest(options: CrashTestOptions): Promise<CrashReport> {
  const { kills: wanted, limitMs, log } = options;
  const startedMs = performance.now();
  const random = new Random(options.seed, 2);
  const history = new CrashHistory(options);
  const counts = { load: 0, open: 0, close: 0, clean: 0 };
  let findings: readonly Finding[] = [];
  let failure: string | undefined;
  let acknowledged = 0;
  const live = async (ending: LifeEnding): Promise<void> => {
    const result = await history.live(ending);
    findings = result.findings;
    acknowledged += result.acknowledged;
    const isKill = result.ending === 'load' || result.ending === 'close';
    if (isKill && result.acknowledged < LOAD_LEAST) return;
    counts[result.ending]++;
  };
  try {
    let shown = 0;
    while (counts.load + counts.close < wanted && findings.length === 0) {
      if (performance.now() - startedMs > limitMs) {
        throw new LifeFailure(
          `only ${counts.load + counts.close} of ${wanted} kills in ${limitMs} ms`,
        );
      }
      await live(endingOf(random));
      const kills = counts.load + counts.close;
      if (kills < shown + PROGRESS_EVERY) continue;
      shown = kills;
      const { model } = history;
      log(`${kills} kills, ${acknowledged} acknowledged writes, ${model.compared} keys compared`);
    }
    // The last kill is looked at, too.
    if (findings.length === 0) await live({ kind: 'clean', loadMs: 5 });
  } catch (error) {
    if (!(error instanceof LifeFailure)) history.abort();
    failure =
      error instanceof LifeFailure ? error.message : ((error as Error).stack ?? String(error));
  }
  return {
    kills: counts.load + counts.close,
    killsAtOpen: counts.open,
    killsAtClose: counts.close,
    cleanCloses: counts.clean,
    acknowledged,
    compared: history.model.compared,
    findings,
    failure,
    durationMs: performance.now() - startedMs,
  };
}

function endingOf(random: Random): LifeEnding {
  const kind = random.below(20);
  // As many short times as long ones.
  const loadMs = Math.round(5 * 80 ** random.share());
  if (kind < 3) return { kind: 'open', afterMs: 20 + random.below(280) };
  if (kind < 6) return { kind: 'close', loadMs, afterMs: random.below(12) };
  if (kind < 7) return { kind: 'clean', loadMs };
  return { kind: 'load', afterMs: loadMs };
}

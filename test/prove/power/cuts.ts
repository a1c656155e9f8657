/**
 * Power cuts: the store is on a file system of its own, ext4 in a file, which is shut down under
 * load so that everything not flushed is gone, and mounted again.
 */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Random } from '../../../src/util/random.ts';
import { CrashHistory } from '../crashes/history.ts';
import { LOAD_LEAST, type Outcome } from '../crashes/kills.ts';
import { type LifeEnding, LifeFailure } from '../crashes/life-process.ts';
import { EVENT, encodeEvent, stormEvent } from '../crashes/log.ts';
import type { Finding } from '../crashes/model.ts';
import { newDisk } from './disk.ts';

/** How long callers still meet the dead disk before their process goes, too. */
const AFTERMATH_MS = 30;

/** Options of a run of power cuts on one store. */
export interface PowerCutOptions {
  readonly directory: string;
  /** As in `HistoryOptions`. */
  readonly store: string;
  readonly seed: number;
  /** Cuts under load wanted. */
  readonly cuts: number;
  readonly limitMs: number;
}

/** The result of a run of power cuts. */
export interface PowerCutReport extends Outcome {
  /** Under load. */
  readonly cuts: number;
  readonly cutsAtOpen: number;
  readonly cutsAtClose: number;
}

/** Cuts the power of a store until that was done often enough or something was found. */
export async function runPowerCuts(options: PowerCutOptions): Promise<PowerCutReport> {
  const { directory, seed, cuts: wanted, limitMs } = options;
  const deadline = performance.now() + limitMs;
  const random = new Random(seed, 3);
  const disk = newDisk(directory);
  const storePath = join(disk.path, 'store');
  const history = new CrashHistory({ ...options, storePath, isPowerCut: true });
  const counts = { load: 0, open: 0, close: 0, done: 0 };
  let acknowledged = 0;
  let findings: readonly Finding[] = [];
  let failure: string | undefined;
  const onExit = (): void => {
    history.abort();
    disk.remove();
  };
  process.once('exit', onExit);
  try {
    while (counts.load < wanted && findings.length === 0) {
      if (performance.now() > deadline) {
        throw new LifeFailure(`only ${counts.load} of ${wanted} cuts in ${limitMs} ms`);
      }
      const result = await history.live(endingOf(random), async () => {
        disk.cut({ path: history.logPath, bytes: encodeEvent(stormEvent(EVENT.CUT)) });
        await delay(AFTERMATH_MS);
        history.abort();
      });
      await disk.unmount();
      disk.mount();
      if (result.findings.length === 0) await history.keepStore();
      findings = result.findings;
      acknowledged += result.acknowledged;
      if (result.phase !== 'load' || result.acknowledged >= LOAD_LEAST) counts[result.phase]++;
    }
    if (findings.length === 0) {
      findings = (await history.live({ kind: 'clean', loadMs: 5 })).findings;
    }
  } catch (error) {
    if (!(error instanceof LifeFailure)) throw error;
    failure = error.message;
  } finally {
    onExit();
    process.removeListener('exit', onExit);
  }
  const { compared, refusals } = history.model;
  return {
    cuts: counts.load,
    cutsAtOpen: counts.open,
    cutsAtClose: counts.close,
    acknowledged,
    compared,
    refusals,
    findings,
    failure,
  };
}

function endingOf(random: Random): LifeEnding {
  const kind = random.below(8);
  const loadMs = Math.round(10 * 40 ** random.share());
  if (kind === 0) return { kind: 'open', afterMs: 100 + random.below(400) };
  if (kind === 1) return { kind: 'close', loadMs, afterMs: random.below(30) };
  return { kind: 'load', afterMs: loadMs };
}

/** Kills the lives of a store at random moments. */
import { Random } from '../../../src/util/random.ts';
import { CrashHistory, type HistoryOptions, type LifeResult } from './history.ts';
import { type LifeEnding, LifeFailure } from './life-process.ts';
import type { Finding } from './model.ts';

/** What a run of lives came to. */
export interface Outcome {
  readonly acknowledged: number;
  /** Intents and records that were compared. */
  readonly compared: number;
  /** Refusals that were held against the store. */
  readonly refusals: number;
  readonly findings: readonly Finding[];
  /** Why it ended early. */
  readonly failure: string | undefined;
}

/** Options of a run of kills. */
export interface KillOptions extends HistoryOptions {
  /** Kills wanted while callers are at work: under load, or when the close begins. */
  readonly kills: number;
  /** Fewer are done where this is over, which is a failure. */
  readonly limitMs: number;
  readonly log: (line: string) => void;
}

/** The result of a run of kills. */
export interface KillReport extends Outcome {
  /** Under load. */
  readonly killsUnderLoad: number;
  readonly killsAtOpen: number;
  readonly killsAtClose: number;
  readonly cleanCloses: number;
}

/** Fewer acknowledged writes are no load. */
export const LOAD_LEAST = 20;
const PROGRESS_EVERY = 20;

/** Kills the lives of a store until that was done often enough or something was found. */
export async function runKills(options: KillOptions): Promise<KillReport> {
  const { kills, limitMs, log } = options;
  const deadline = performance.now() + limitMs;
  const random = new Random(options.seed, 2);
  const counts = { open: 0, load: 0, close: 0, done: 0 };
  const outcome = await liveOn(options, async (live, history) => {
    let shown = 0;
    for (let done = 0; done < kills; done = counts.load + counts.close) {
      if (performance.now() > deadline) {
        throw new LifeFailure(`only ${done} of ${kills} kills in ${limitMs} ms`);
      }
      const { phase, acknowledged } = await live(endingOf(random));
      const isLoad = phase === 'load' || phase === 'close';
      if (!isLoad || acknowledged >= LOAD_LEAST) counts[phase]++;
      if (done < shown + PROGRESS_EVERY) continue;
      shown = done;
      log(`${done} kills, ${history.model.compared} keys compared`);
    }
  });
  return {
    ...outcome,
    killsUnderLoad: counts.load,
    killsAtOpen: counts.open,
    killsAtClose: counts.close,
    cleanCloses: counts.done,
  };
}

/** Thrown where something was found, to get out of whatever went on. */
class Found extends Error {}

/** Gives a store lives until `body` ends or something is found, and looks at it for a last time. */
export async function liveOn(
  options: HistoryOptions,
  body: (live: (ending: LifeEnding) => Promise<LifeResult>, history: CrashHistory) => Promise<void>,
): Promise<Outcome> {
  const history = new CrashHistory(options);
  const onExit = (): void => history.abort();
  process.once('exit', onExit);
  let findings: readonly Finding[] = [];
  let failure: string | undefined;
  let acknowledged = 0;
  const live = async (ending: LifeEnding): Promise<LifeResult> => {
    const result = await history.live(ending);
    acknowledged += result.acknowledged;
    findings = result.findings;
    if (findings.length > 0) throw new Found();
    return result;
  };
  try {
    await body(live, history);
    // The last kill is looked at, too.
    await live({ kind: 'clean', loadMs: 5 });
  } catch (error) {
    if (error instanceof LifeFailure) failure = error.message;
    else if (!(error instanceof Found)) throw error;
  } finally {
    history.abort();
    process.removeListener('exit', onExit);
  }
  const { compared, refusals } = history.model;
  return { acknowledged, compared, refusals, findings, failure };
}

function endingOf(random: Random): LifeEnding {
  const kind = random.below(20);
  // As many short times as long ones.
  const loadMs = Math.round(12 * 15 ** random.share());
  if (kind < 2) return { kind: 'open', afterMs: 100 + random.below(400) };
  if (kind < 4) return { kind: 'close', loadMs, afterMs: random.below(12) };
  if (kind < 5) return { kind: 'clean', loadMs };
  return { kind: 'load', afterMs: loadMs };
}

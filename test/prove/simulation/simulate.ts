/** Session after session, each from a seed of its own, until the time is over or one fails. */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { hashNumbers } from '../../../src/util/random.ts';
import { HangError } from '../../support/wait.ts';
import { configOf, describeConfig, type Focus } from './config.ts';
import { type Counts, noCounts } from './counts.ts';
import { type Program, programs } from './program.ts';
import { Session } from './session.ts';
import { describeProgram, describeViolation } from './show.ts';

/** Programs of one engine: fewer where each may take long. */
const PROGRAMS_CALM = 6;
const PROGRAMS_DISTURBED = 6;
const PROGRAMS_RESTARTED = 2;
/** The interleaving of threads is not the seed's: smaller programs are tried several times. */
const SHRINK_ATTEMPTS = 4;
const SHRINK_MS = 20_000;

/** What went wrong in a session, with the smallest program that was found to show it. */
export interface SessionFailure {
  readonly seed: number;
  readonly what: string;
  readonly detail: string;
}

export interface SimulationResult {
  readonly counts: Counts;
  readonly sessions: number;
  readonly failure: SessionFailure | undefined;
}

export interface SimulationOptions {
  readonly seed: number;
  /** No program begins later than this. */
  readonly seconds: number;
  /** Nor after so much time of the processors was used, which a busy machine gives late. */
  readonly cpuSeconds?: number;
  readonly directory: string;
  readonly focus: Focus;
  /** Runs this session instead of new ones, so many times at most. */
  readonly session?: { readonly seed: number; readonly times: number };
  /** Whether the program of a failure is made smaller. @default true */
  readonly shrinks?: boolean;
}

export async function simulate(options: SimulationOptions): Promise<SimulationResult> {
  const { seed, seconds, directory, focus, session } = options;
  const { cpuSeconds = Number.POSITIVE_INFINITY, shrinks = true } = options;
  const counts = noCounts();
  const endMs = performance.now() + seconds * 1_000;
  const isOver = (): boolean => performance.now() >= endMs || usedCpuSeconds() >= cpuSeconds;
  let sessions = 0;
  let failure: SessionFailure | undefined;
  while (failure === undefined && sessions < (session?.times ?? Number.POSITIVE_INFINITY)) {
    if (sessions > 0 && isOver()) break;
    const own = session?.seed ?? hashNumbers(seed, sessions);
    const scratch = mkdtempSync(join(directory, 'session-'));
    failure = await runSession(own, scratch, counts, { focus, isOver, shrinks });
    // What a session failed on is left to be looked at.
    if (failure === undefined) rmSync(scratch, { recursive: true, force: true });
    sessions++;
  }
  return { counts, sessions, failure };
}

async function runSession(
  seed: number,
  directory: string,
  counts: Counts,
  options: { readonly focus: Focus; readonly isOver: () => boolean; readonly shrinks: boolean },
): Promise<SessionFailure | undefined> {
  const { focus, isOver, shrinks } = options;
  const config = configOf(seed, focus);
  const { disturbances } = config;
  const session = await Session.open(config, directory, counts);
  let smallest: string | undefined;
  let isHanging = false;
  let shrinkUntilMs = Number.POSITIVE_INFINITY;
  const property = fc.asyncProperty(programs(config), async (program) => {
    const isEnough = smallest === undefined ? isOver() : performance.now() > shrinkUntilMs;
    if (isHanging || isEnough) return;
    const attempts = smallest === undefined ? 1 : SHRINK_ATTEMPTS;
    for (let attempt = 0; attempt < attempts; attempt++) {
      const wrong = await tryOnce(session, program).catch((error: unknown) => {
        isHanging = error instanceof HangError;
        return `${describeProgram(program)}\n${String(error)}`;
      });
      if (wrong === undefined) continue;
      if (smallest === undefined) shrinkUntilMs = performance.now() + SHRINK_MS;
      smallest = wrong;
      throw new Error('cannot be explained');
    }
  });
  const isCalm = disturbances.every((kind) => kind === 'clock');
  const isRestarted = disturbances.includes('restart');
  const disturbedRuns = isRestarted ? PROGRAMS_RESTARTED : PROGRAMS_DISTURBED;
  const numRuns = isCalm ? PROGRAMS_CALM : disturbedRuns;
  const checked = await fc.check(property, { seed, numRuns, endOnFailure: !shrinks });
  // Without a program: what makes, runs or shows programs is broken itself.
  if (checked.failed) smallest ??= textOf(checked.errorInstance);
  try {
    await session.close();
  } catch (error) {
    smallest ??= textOf(error);
  }
  if (smallest === undefined) return undefined;
  return { seed, what: describeConfig(config), detail: smallest };
}

/** What is wrong with a run of a program, if anything is. */
async function tryOnce(session: Session, program: Program): Promise<string | undefined> {
  for (const { verdict, history, universe } of await session.run(program)) {
    if (verdict.kind !== 'violated') continue;
    return `${describeProgram(program)}\n${describeViolation(verdict.violation, history, universe)}`;
  }
  return undefined;
}

function textOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

function usedCpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000_000;
}

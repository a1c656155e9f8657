/**
 * Kills an agent at every step of making sure of an image, and its runtime in the moment between an
 * image becoming visible and its pull being answered, again and again, and has each next life check
 * what was left.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { Random } from '../../../src/util/random.ts';
import type { Components } from '../kit/components.ts';
import { buildImage } from '../kit/image-builder.ts';
import {
  type CrashImage,
  KILL_STEPS,
  type KillStep,
  type LifeEvent,
  type LifePlan,
  mayPull,
  passwordOf,
  TENANTS,
} from './plan.ts';

export interface AgentCrashOptions {
  readonly components: Components;
  /** Program and arguments of a life; the plan is added. */
  readonly command: readonly string[];
  readonly seed: number;
  /** Of the agent, and of the runtime. */
  readonly kills: number;
  readonly runtimeKills: number;
  readonly log: (line: string) => void;
}

export interface AgentCrashReport {
  /** Kills of the agent at a step, at any moment, and of the runtime. */
  killsAtSteps: number;
  killsAtAnyMoment: number;
  runtimeKills: number;
  /** Of those, in the moment between visible and answered: the image was there afterwards. */
  runtimeKillsInTheGap: number;
  /** Pulls that the runtime did not answer. */
  unanswered: number;
  readonly killsByStep: Record<string, number>;
  checks: number;
  proofs: number;
  readonly violations: string[];
}

/** Images that lives know at a time; each life gets new ones, for which nothing is recorded. */
const NEW_IMAGES = 2;
const IMAGES_MAX = 4;
/** Enough for a life to come to any step many times. */
const REQUESTS = 400;
/** Of a life that is not killed. */
const FEW_REQUESTS = 60;
const OCCURRENCE_MAX = 12;
const DELAY_MS_MAX = 60;
const LIFE_LIMIT_MS = 60_000;
/** How long a pull of the newest image may be in coming. */
const GAP_LIMIT_MS = 10_000;
const LOG_EVERY = 50;
const ANY_MOMENT_SHARE = 0.25;
const ANY_MOMENT_MS_MAX = 400;
/** Of lives, those that wait until no intent is left. */
const SETTLES_SHARE = 0.5;

/** How a life is to end. */
type Ending = 'atStep' | 'atAnyMoment' | 'withRuntime' | 'inOrder';

export async function runAgentCrashes(options: AgentCrashOptions): Promise<AgentCrashReport> {
  const { components, seed, kills, runtimeKills, log } = options;
  const random = new Random(seed);
  const report = emptyReport();
  const proven = new Set<string>();
  const images: CrashImage[] = [];
  const lives = kills + runtimeKills;
  for (let life = 0; life <= lives; life++) {
    await addImages(components, images, life);
    const ending = endingOf(life, lives, runtimeKills, random);
    const step = KILL_STEPS[life % KILL_STEPS.length]!;
    const plan = planOf({ components, images, proven, ending, step, random, life, lives });
    const ended = await live(
      options,
      plan,
      proven,
      report,
      actionOf(ending, options, plan, report, random),
    );
    if (ended === 'SIGKILL') countKill(report, ending, step);
    else if (ended !== 0) report.violations.push(`life ${life} ended with ${ended}`);
    if (report.violations.length > 0) {
      log(`life ${life} of seed ${seed}: ${JSON.stringify({ ...plan, proven: undefined })}`);
      break;
    }
    if (life % LOG_EVERY === LOG_EVERY - 1) log(`${life + 1} lives`);
  }
  report.proofs = proven.size;
  return report;
}

function emptyReport(): AgentCrashReport {
  return {
    killsAtSteps: 0,
    killsAtAnyMoment: 0,
    runtimeKills: 0,
    runtimeKillsInTheGap: 0,
    unanswered: 0,
    killsByStep: {},
    checks: 0,
    proofs: 0,
    violations: [],
  };
}

function endingOf(life: number, lives: number, runtimeKills: number, random: Random): Ending {
  if (life === lives) return 'inOrder';
  if (isSpread(life, lives, runtimeKills)) return 'withRuntime';
  return random.share() < ANY_MOMENT_SHARE ? 'atAnyMoment' : 'atStep';
}

function planOf(given: {
  readonly components: Components;
  readonly images: readonly CrashImage[];
  readonly proven: ReadonlySet<string>;
  readonly ending: Ending;
  readonly step: KillStep;
  readonly random: Random;
  readonly life: number;
  readonly lives: number;
}): LifePlan {
  const { components, images, ending, step, random, life, lives } = given;
  const { containerd, runtimeFront } = components;
  const isKilled = ending === 'atStep' || ending === 'atAnyMoment';
  const isKnown = (pair: string): boolean =>
    images.some(({ number }) => pair.endsWith(` ${number}`));
  return {
    seed: random.below(2 ** 31),
    socket: ending === 'withRuntime' ? runtimeFront.socket : containerd.socket,
    storePath: components.directoryOf('crash-store'),
    workerCount: life % 2,
    images,
    proven: [...given.proven].filter(isKnown),
    settles: life === lives || random.share() < SETTLES_SHARE,
    requests: isKilled ? REQUESTS : FEW_REQUESTS,
    ...(ending === 'withRuntime' ? { fresh: images.at(-1)!.number } : {}),
    ...(ending === 'atStep'
      ? {
          kill: {
            step,
            occurrence: 1 + random.below(OCCURRENCE_MAX),
            delayMs: step.startsWith('during') ? random.below(DELAY_MS_MAX) : 0,
          },
        }
      : {}),
  };
}

/** What is done to a life once it works; given its kill. */
type Action = (kill: () => void) => Promise<void>;

function actionOf(
  ending: Ending,
  { components }: AgentCrashOptions,
  { images }: LifePlan,
  report: AgentCrashReport,
  random: Random,
): Action | undefined {
  switch (ending) {
    case 'withRuntime':
      return () => killRuntimeInTheGap(components, images.at(-1)!, report);
    case 'atAnyMoment':
      return async (kill) => {
        await delay(random.below(ANY_MOMENT_MS_MAX));
        kill();
      };
    default:
      return undefined;
  }
}

function countKill(report: AgentCrashReport, ending: Ending, step: KillStep): void {
  if (ending === 'atAnyMoment') {
    report.killsAtAnyMoment++;
    return;
  }
  report.killsAtSteps++;
  report.killsByStep[step] = (report.killsByStep[step] ?? 0) + 1;
}

/** Whether the life is one of `count` that are spread evenly over all lives. */
function isSpread(life: number, lives: number, count: number): boolean {
  return Math.floor(((life + 1) * count) / lives) > Math.floor((life * count) / lives);
}

async function addImages(
  { registry, tokenServer }: Components,
  images: CrashImage[],
  life: number,
): Promise<void> {
  for (let i = 0; i < NEW_IMAGES; i++) {
    const number = life * NEW_IMAGES + i;
    const image = buildImage({ content: `crash ${number}` });
    const name = await registry.push(image, `crash/app-${number}`, 'v1');
    images.push({ number, name, id: image.id });
  }
  images.splice(0, Math.max(0, images.length - IMAGES_MAX));
  for (const tenant of TENANTS) {
    const repositories = images
      .filter(({ number }) => mayPull(tenant, number))
      .map(({ number }) => `crash/app-${number}`);
    tokenServer.setUser(tenant, { password: passwordOf(tenant), repositories });
  }
}

/** Runs one life to its end, and answers its signal or exit code. */
async function live(
  { command: [program, ...args] }: AgentCrashOptions,
  plan: LifePlan,
  proven: Set<string>,
  report: AgentCrashReport,
  onWorking: Action | undefined,
): Promise<string | number> {
  const child = spawn(program!, [...args, JSON.stringify(plan)], {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: LIFE_LIMIT_MS,
    killSignal: 'SIGTERM',
  });
  const exited = once(child, 'close') as Promise<[code: number | null, signal: string | null]>;
  let acting: Promise<void> | undefined;
  for await (const line of createInterface({ input: child.stdout })) {
    const told = JSON.parse(line) as LifeEvent;
    if (told.event === 'proven') proven.add(told.pair);
    else if (told.event === 'violation') report.violations.push(told.text);
    else if (told.event === 'unanswered') report.unanswered++;
    else if (told.event === 'fresh' && told.present) report.runtimeKillsInTheGap++;
    else if (told.event === 'working') {
      report.checks += told.checks;
      acting = onWorking?.(() => child.kill('SIGKILL'));
    }
  }
  await acting;
  const [code, signal] = await exited;
  return signal ?? code ?? 'nothing';
}

/**
 * Kills the runtime when the image is visible and its pull is unanswered, and starts it again. Call it
 * before anybody asks for the image.
 */
async function killRuntimeInTheGap(
  { containerd, registry, runtimeFront }: Components,
  image: CrashImage,
  report: AgentCrashReport,
): Promise<void> {
  const held = registry.hold(({ path }) => path.startsWith(`/v2/crash/app-${image.number}/`));
  await Promise.race([held.arrived, delay(GAP_LIMIT_MS)]);
  runtimeFront.holdAnswers();
  held.release();
  const deadline = performance.now() + GAP_LIMIT_MS;
  let isVisible = false;
  while (!isVisible && performance.now() < deadline) {
    isVisible = (await containerd.cri.imageStatus(image.name)) !== undefined;
  }
  await containerd.kill();
  runtimeFront.cut();
  report.runtimeKills++;
  await containerd.start();
}

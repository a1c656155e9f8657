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

export async function runAgentCrashes(options: AgentCrashOptions): Promise<AgentCrashReport> {
  const { components, seed, kills, runtimeKills, log } = options;
  const random = new Random(seed);
  const report: AgentCrashReport = {
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
  const proven = new Set<string>();
  const images: CrashImage[] = [];
  const storePath = components.directoryOf('crash-store');
  const lives = kills + runtimeKills;
  for (let life = 0; life <= lives; life++) {
    await addImages(components, images, life);
    const isLast = life === lives;
    const killsRuntime = !isLast && isSpread(life, lives, runtimeKills);
    const killsAtAnyMoment = !killsRuntime && random.share() < ANY_MOMENT_SHARE;
    const step = KILL_STEPS[life % KILL_STEPS.length]!;
    const newest = images.at(-1)!;
    const plan: LifePlan = {
      seed: random.below(2 ** 31),
      socket: killsRuntime ? components.runtimeFront.socket : components.containerd.socket,
      storePath,
      workerCount: life % 2,
      images,
      proven: [...proven].filter((pair) =>
        images.some(({ number }) => pair.endsWith(` ${number}`)),
      ),
      ...(killsRuntime ? { fresh: newest.number } : {}),
      settles: isLast || random.share() < 0.5,
      requests: isLast || killsRuntime ? FEW_REQUESTS : REQUESTS,
      ...(isLast || killsRuntime || killsAtAnyMoment
        ? {}
        : {
            kill: {
              step,
              occurrence: 1 + random.below(OCCURRENCE_MAX),
              delayMs: step.startsWith('during') ? random.below(DELAY_MS_MAX) : 0,
            },
          }),
    };
    const onWorking = killsRuntime
      ? () => killRuntimeInTheGap(components, newest, report)
      : killsAtAnyMoment
        ? async (kill: () => void) => {
            await delay(random.below(400));
            kill();
          }
        : undefined;
    const ending = await live(options, plan, proven, report, onWorking);
    if (ending === 'SIGKILL') {
      if (killsAtAnyMoment) report.killsAtAnyMoment++;
      else {
        report.killsAtSteps++;
        report.killsByStep[step] = (report.killsByStep[step] ?? 0) + 1;
      }
    } else if (ending !== 0) {
      report.violations.push(`life ${life} ended with ${ending}`);
    }
    if (report.violations.length > 0) {
      log(`life ${life} of seed ${seed}: ${JSON.stringify({ ...plan, proven: undefined })}`);
      return report;
    }
    if (life % LOG_EVERY === LOG_EVERY - 1) log(`${life + 1} lives`);
  }
  report.proofs = proven.size;
  return report;
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
  onWorking: ((kill: () => void) => Promise<void>) | undefined,
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

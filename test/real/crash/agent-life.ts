/**
 * One life of an agent on a store that earlier lives have left: checks what they left, works, and is
 * killed. Started with its plan, as JSON, as the only argument; tells of itself on stdout.
 */
import { writeSync } from 'node:fs';
import { ImageManager } from '../../../src/image-manager/image-manager.ts';
import type { ImagePullManager } from '../../../src/image-pull-manager.ts';
import type { PullPolicy } from '../../../src/images/pull-policy.ts';
import { PullManager } from '../../../src/pull-manager.ts';
import { type CriRuntime, criRuntime } from '../../../src/runtime/cri/cri-runtime.ts';
import { Random } from '../../../src/util/random.ts';
import {
  type CrashImage,
  type KillStep,
  type LifeEvent,
  type LifePlan,
  mayPull,
  STRANGER,
  secretOf,
  TENANTS,
} from './plan.ts';

const plan = JSON.parse(process.argv[2]!) as LifePlan;
const random = new Random(plan.seed);

const CALLERS = 6;
/** Shorter than a user would have it, so that lives see pulls settle. */
const UNANSWERED_GRACE_MS = 150;
const SETTLE_LIMIT_MS = 20_000;
/** After this share of the requests the image is removed, so that there is something to pull. */
const REMOVE_SHARE = 0.15;

/** Synchronous: what was told has happened, even if the process is killed right after. */
function tell(event: LifeEvent): void {
  writeSync(1, `${JSON.stringify(event)}\n`);
}

let occurrences = 0;

/** The end, if this is where the plan has it. */
function step(name: KillStep): void {
  if (plan.kill?.step !== name || ++occurrences !== plan.kill.occurrence) return;
  const die = (): void => {
    tell({ event: 'dying', step: name });
    process.kill(process.pid, 'SIGKILL');
  };
  if (plan.kill.delayMs === 0) die();
  else setTimeout(die, plan.kill.delayMs);
}

async function stepped<T>(name: string, call: () => Promise<T>): Promise<T> {
  step(`before ${name}` as KillStep);
  const called = call();
  step(`during ${name}` as KillStep);
  const answer = await called;
  step(`after ${name}` as KillStep);
  return answer;
}

function withSteps(
  pullManager: PullManager,
): ImagePullManager & Pick<PullManager, 'listImagePullIntents'> {
  return {
    recordPullIntent: (image) =>
      stepped('recordPullIntent', () => pullManager.recordPullIntent(image)),
    recordImagePulled: (...recorded) =>
      stepped('recordImagePulled', () => pullManager.recordImagePulled(...recorded)),
    recordImagePullFailed: (image) =>
      stepped('recordImagePullFailed', () => pullManager.recordImagePullFailed(image)),
    mustAttemptImagePull: (...asked) =>
      stepped('mustAttemptImagePull', () => pullManager.mustAttemptImagePull(...asked)),
    pruneUnknownRecords: (...pruned) => pullManager.pruneUnknownRecords(...pruned),
    listImagePullIntents: () => pullManager.listImagePullIntents(),
  };
}

function addSteps(runtime: CriRuntime): void {
  const imageStatus = runtime.imageStatus.bind(runtime);
  const pullImage = runtime.pullImage.bind(runtime);
  runtime.imageStatus = (...asked) => stepped('imageStatus', () => imageStatus(...asked));
  runtime.pullImage = (...asked) => stepped('pullImage', () => pullImage(...asked));
}

let pods = 0;

interface Answer {
  readonly imageRef?: string;
  readonly code?: string;
}

async function ask(
  images: ImageManager,
  { name }: CrashImage,
  tenant: string,
  pullPolicy: PullPolicy,
): Promise<Answer> {
  const credentials = async () => {
    step('before credentials');
    return [secretOf(tenant)];
  };
  const podUid = `${plan.seed}-${pods++}`;
  try {
    const { imageRef } = await images.ensureImage({ image: name, pullPolicy, podUid, credentials });
    return { imageRef };
  } catch (error) {
    return { code: (error as { code?: string }).code ?? String(error) };
  }
}

function violation(text: string): void {
  tell({ event: 'violation', text });
}

/** What earlier lives have left must neither let a stranger in nor keep a proven tenant out. */
async function check(images: ImageManager, runtime: CriRuntime): Promise<number> {
  let checks = 0;
  for (const image of plan.images) {
    if (image.number === plan.fresh) continue;
    const present = await runtime.imageStatus(image.name);
    for (const tenant of TENANTS) {
      checks++;
      const never = await ask(images, image, tenant, 'Never');
      const isProven = plan.proven.includes(`${tenant} ${image.number}`);
      const about = `${tenant}, ${image.name}, present ${present?.id === image.id}`;
      if (!mayPull(tenant, image.number)) {
        if (never.code !== 'ErrImageNeverPull') violation(`let in: ${about}`);
      } else if (isProven && present?.id === image.id && never.imageRef !== image.id) {
        violation(`kept out though proven: ${about}: ${never.code}`);
      }
    }
    // Who has rights needs one registry check at the most, and who has none gets nowhere with one.
    const tenant = TENANTS[random.below(TENANTS.length)]!;
    const answer = await ask(images, image, tenant, 'IfNotPresent');
    checks++;
    if (mayPull(tenant, image.number) !== (answer.imageRef === image.id)) {
      violation(`one registry check for ${tenant}, ${image.name}: ${JSON.stringify(answer)}`);
    }
    if (answer.imageRef !== undefined) tell({ event: 'proven', pair: `${tenant} ${image.number}` });
  }
  return checks;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function settle(pullManager: PullManager): Promise<void> {
  const deadline = performance.now() + SETTLE_LIMIT_MS;
  for (;;) {
    const { records } = await pullManager.listImagePullIntents();
    if (records.length === 0) return;
    if (performance.now() > deadline) {
      violation(`intents left for ever: ${records.map(({ image }) => image).join(', ')}`);
      return;
    }
    await pause(UNANSWERED_GRACE_MS / 3);
  }
}

/**
 * The first to ask for the fresh image find the runtime killed under them. What they leave must let
 * nobody in, before it is known what became of their pulls and after.
 */
async function askForFresh(images: ImageManager, runtime: CriRuntime): Promise<void> {
  const fresh = plan.images.find(({ number }) => number === plan.fresh);
  if (fresh === undefined) return;
  const entitled = TENANTS.filter((tenant) => mayPull(tenant, fresh.number));
  await Promise.all(entitled.map((tenant) => ask(images, fresh, tenant, 'Always')));
  while (!(await runtime.version().then(Boolean, () => false))) await pause(5);
  const present = await runtime.imageStatus(fresh.name);
  tell({ event: 'fresh', present: present !== undefined });
  for (const when of ['at once', 'when settled'] as const) {
    for (const policy of ['Never', 'IfNotPresent'] as const) {
      const answer = await ask(images, fresh, STRANGER, policy);
      if (answer.imageRef !== undefined) violation(`let in ${when}: ${STRANGER}, ${fresh.name}`);
    }
    if (when === 'at once') await settle(pullManager);
  }
}

async function work(images: ImageManager, runtime: CriRuntime): Promise<number> {
  let requests = 0;
  const caller = async (): Promise<void> => {
    while (requests < plan.requests) {
      requests++;
      const image = plan.images[random.below(plan.images.length)]!;
      const tenant = TENANTS[random.below(TENANTS.length)]!;
      const policy = (['Always', 'IfNotPresent', 'Never'] as const)[random.below(3)]!;
      const answer = await ask(images, image, tenant, policy);
      if (answer.imageRef !== undefined) {
        if (!mayPull(tenant, image.number))
          violation(`let in: ${tenant}, ${image.name}, ${policy}`);
        tell({ event: 'proven', pair: `${tenant} ${image.number}` });
      }
      if (random.share() < REMOVE_SHARE) await runtime.removeImage(image.name).catch(() => {});
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, caller));
  return requests;
}

const runtime = criRuntime({ socket: `unix://${plan.socket}` });
const pullManager = await PullManager.open({
  store: { kind: 'journal', path: plan.storePath },
  workerCount: plan.workerCount,
  imageService: runtime,
});
const checking = new ImageManager({
  pullManager,
  runtime,
  unansweredGraceMs: UNANSWERED_GRACE_MS,
});
const checks = await check(checking, runtime);
if (plan.settles) await settle(pullManager);
await checking.close();
addSteps(runtime);
const images = new ImageManager({
  pullManager: withSteps(pullManager),
  runtime,
  unansweredGraceMs: UNANSWERED_GRACE_MS,
});
images.on('pullFailed', ({ answered }) => {
  if (!answered) tell({ event: 'unanswered' });
});
tell({ event: 'working', checks });
await askForFresh(images, runtime);
const requests = await work(images, runtime);
await images.close();
await pullManager.close();
await runtime.close();
tell({ event: 'ended', requests });

/** The closed loops that engine and baselines are put through alike; each checks its answers. */
import {
  type ClosedLoopOptions,
  closedLoop,
  countedAs,
  type LoopResult,
  merged,
  totalOperations,
} from './closed-loop.ts';
import {
  type BenchSubject,
  imageRefOf,
  imageText,
  isStranger,
  OPERATIONS_PER_STEP,
  type Workload,
} from './workload.ts';

const VERIFIED_INTENTS = 200;

/** Intents of ever new images. The subject must not hold any of them before. */
export async function intentLoop(
  subject: BenchSubject,
  options: ClosedLoopOptions,
): Promise<LoopResult> {
  const total = totalOperations(options);
  const images = Array.from({ length: total }, (_, index) => imageText(index, index % 500));
  const result = await closedLoop(options, (index) => subject.recordPullIntent(images[index]!));
  // Tracked by its intent, without a record: has to be pulled. Never heard of: preloaded.
  const step = Math.max(1, Math.floor(total / VERIFIED_INTENTS));
  for (let index = 0; index < total; index += step) {
    await expectAnswer(subject, images[index]!, index, true);
    await expectAnswer(subject, imageText(total + index, 0), index, false);
  }
  return result;
}

/** What a `repeatedIntentLoop` runs. */
export interface RepeatedIntents {
  readonly callers: number;
  readonly images: number;
  /** Measured, each an intent of every image. */
  readonly rounds: number;
}

/** Rounds before the first measured one. */
const WARMUP_ROUNDS = 3;

/**
 * Intents of images whose last pull has failed, as on a node that tries again: each is written, but
 * its name is known. The failures in between are not measured.
 */
export async function repeatedIntentLoop(
  subject: BenchSubject,
  { callers, images: count, rounds }: RepeatedIntents,
): Promise<LoopResult> {
  const images = Array.from({ length: count }, (_, index) => imageText(index, index % 500));
  const round = { callers, operations: count, warmup: 0, samples: 1 };
  const results: LoopResult[] = [];
  const step = Math.max(1, Math.floor((count * rounds) / VERIFIED_INTENTS));
  for (let i = -WARMUP_ROUNDS; i < rounds; i++) {
    const result = await closedLoop(round, (index) => subject.recordPullIntent(images[index]!));
    if (i >= 0) results.push(result);
    for (let at = 0; at < count; at += step) await expectAnswer(subject, images[at]!, at, true);
    await closedLoop(round, (index) => subject.recordImagePullFailed(images[index]!));
    for (let at = 0; at < count; at += step) await expectAnswer(subject, images[at]!, at, false);
  }
  return merged(results);
}

async function expectAnswer(
  subject: BenchSubject,
  image: string,
  index: number,
  expected: boolean,
): Promise<void> {
  const answer = await subject.mustAttemptImagePull(image, imageRefOf(index), {});
  if (answer !== expected) throw new Error(`intent of ${image}: ${answer} instead of ${expected}`);
}

/** Whole pulls, intent and outcome, of images that have records; an operation is one pull. */
export async function cycleLoop(
  subject: BenchSubject,
  workload: Workload,
  options: ClosedLoopOptions,
): Promise<LoopResult> {
  const { images } = workload;
  const result = await closedLoop(options, async (index) => {
    const { image, imageRef, tenant } = images[index % images.length]!;
    await subject.recordPullIntent(image);
    await subject.recordImagePulled(image, imageRef, workload.pullCredentials(tenant, index));
  });
  // The last pull of the image is proven by what it brought, and by nothing that was not recorded.
  const last = totalOperations(options) - 1;
  const { image, imageRef, tenant } = images[last % images.length]!;
  const { kubernetesSecrets: secrets = [] } = workload.pullCredentials(tenant, last);
  const strangers = secrets.map((secret) => ({ ...secret, uid: 'other', credentialHash: 'other' }));
  if (await subject.mustAttemptImagePull(image, imageRef, { secrets })) {
    throw new Error(`the last pull of ${image} was not recorded`);
  }
  if (!(await subject.mustAttemptImagePull(image, imageRef, { secrets: strangers }))) {
    throw new Error(`a secret that was never recorded opens ${image}`);
  }
  return result;
}

/** Decisions on recorded images, one in eight for a tenant who may not use the image. */
export function decisionLoop(
  subject: BenchSubject,
  workload: Workload,
  options: ClosedLoopOptions,
): Promise<LoopResult> {
  return closedLoop(
    options,
    (index) => {
      const image = workload.pick(index);
      const pod = workload.podOf(image, isStranger(index));
      return subject.mustAttemptImagePull(image.image, image.imageRef, pod);
    },
    (index, answer) => {
      if (answer === isStranger(index)) return;
      throw new Error(`wrong answer for ${workload.pick(index).image}: ${answer}`);
    },
  );
}

/** A storm of 90 % decisions; the result counts operations, and a pull is two of them. */
export async function stormLoop(
  subject: BenchSubject,
  workload: Workload,
  options: ClosedLoopOptions,
): Promise<LoopResult> {
  const steps = await closedLoop(
    options,
    (index) => workload.begin(subject, index),
    (index, answer) => workload.check(index, answer),
  );
  return countedAs(steps, OPERATIONS_PER_STEP);
}

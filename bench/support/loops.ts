/** The closed loops that engine and baselines are put through alike; each checks its answers. */
import {
  type ClosedLoopOptions,
  closedLoop,
  countedAs,
  type LoopResult,
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

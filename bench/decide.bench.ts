import type { DecisionRequest } from '../src/engine/decider.ts';
import type { PullManager } from '../src/pull-manager.ts';
import type { PodCredentials } from '../src/records/record.ts';
import { forgetWorkload, piscinaDecisions } from './baselines/measurements.ts';
import {
  closedLoop,
  countedAs,
  type LoopResult,
  latencyOf,
  median,
} from './support/closed-loop.ts';
import { decideAll, loopOf, onEngine, subjectOf } from './support/engine.ts';
import { decisionLoop } from './support/loops.ts';
import { sequential } from './support/sequential.ts';
import type { BenchContext, BenchRow, BenchTopic } from './support/topic.ts';
import { isStranger, type Workload, type WorkloadImage } from './support/workload.ts';

/** Where (b) and the engine are asked by as many callers. */
const CALLERS = 64;
const CALLS_PER_SAMPLE = 1_000;
const BATCH_SIZES = [64, 1024];
/** Each is used in turn; enough of them that no two in a row are about the same images. */
const BATCH_COUNT = 64;
const NS_PER_MS = 1e6;

interface DecideSetup {
  readonly records: number;
  /** Floor of `decideSync`, times (b). */
  readonly syncAtLeast: number;
  /** Floor of `mustAttemptImagePull`, times (b). */
  readonly awaitedAtLeast?: number;
}

/** The image that the `index`-th decision is about. */
type Order = (index: number) => WorkloadImage;

/** Every image as often as any other, in an order that no cache can foresee. */
function shuffled(workload: Workload): Order {
  const { images } = workload;
  const order = Uint32Array.from(images, (_, index) => index);
  let state = 1;
  for (let last = order.length - 1; last > 0; last--) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    const other = Math.floor((state / 2 ** 32) * (last + 1));
    const swapped = order[last]!;
    order[last] = order[other]!;
    order[other] = swapped;
  }
  return (index) => images[order[index % order.length]!]!;
}

function decideSyncLoop(
  context: BenchContext,
  manager: PullManager,
  workload: Workload,
  order: Order,
): LoopResult {
  let next = 0;
  const call = (): void => {
    for (const end = next + CALLS_PER_SAMPLE; next < end; next++) {
      const image = order(next);
      const mustPull = isStranger(next);
      const pod = workload.podOf(image, mustPull);
      const decision = manager.decideSync(image.image, image.imageRef, pod);
      if (decision?.mustPull !== mustPull) throw new Error(`wrong answer for ${image.image}`);
    }
  };
  return sequential('decideSync', call, {
    operationsPerCall: CALLS_PER_SAMPLE,
    samples: context.samples,
    timeMs: context.scaled(500),
  });
}

/** As a server has them that parsed them just now: no string was ever compared or hashed. */
function newRequest(
  workload: Workload,
  index: number,
): { image: string; imageRef: string; credentials: PodCredentials } {
  const { image, imageRef } = workload.pick(index);
  const credentials = workload.podOf(workload.pick(index), isStranger(index));
  return JSON.parse(JSON.stringify({ image, imageRef, credentials }));
}

function newStringsLoop(
  context: BenchContext,
  manager: PullManager,
  workload: Workload,
): LoopResult {
  const count = context.scaled(200_000);
  const samples: number[] = [];
  const latencies: number[] = [];
  for (let sample = 0; sample <= context.samples; sample++) {
    const requests = Array.from({ length: count }, (_, i) => newRequest(workload, i));
    let sampleMs = 0;
    for (let first = 0; first < count; first += CALLS_PER_SAMPLE) {
      const end = Math.min(count, first + CALLS_PER_SAMPLE);
      const startedMs = performance.now();
      for (let i = first; i < end; i++) {
        const { image, imageRef, credentials } = requests[i]!;
        const decision = manager.decideSync(image, imageRef, credentials);
        if (decision?.mustPull !== isStranger(i)) throw new Error(`wrong answer for ${image}`);
      }
      const elapsedMs = performance.now() - startedMs;
      sampleMs += elapsedMs;
      if (sample > 0) latencies.push((elapsedMs * NS_PER_MS) / (end - first));
    }
    // The first one is a warm-up.
    if (sample > 0) samples.push((count / sampleMs) * 1000);
  }
  return {
    operationsPerSecond: median(samples),
    samples,
    operations: count * samples.length,
    latencyNs: latencyOf(latencies),
  };
}

/** One caller, batch after batch; the latency is that of a batch. */
async function batchLoop(
  context: BenchContext,
  manager: PullManager,
  workload: Workload,
  size: number,
): Promise<LoopResult> {
  const batches = Array.from({ length: BATCH_COUNT }, (_, batch) =>
    Array.from({ length: size }, (__, i): DecisionRequest => {
      const { image, imageRef } = workload.pick(batch * size + i);
      const credentials = workload.podOf(workload.pick(batch * size + i), isStranger(i));
      return { image, imageRef, credentials };
    }),
  );
  const loop = loopOf(context, 1, Math.ceil(500_000 / size));
  const result = await closedLoop(
    loop,
    (index) => manager.decideBatch(batches[index % BATCH_COUNT]!),
    (_, decisions) => {
      for (let i = 0; i < size; i++) {
        if (decisions[i]?.mustPull !== isStranger(i)) throw new Error('wrong answer in a batch');
      }
    },
  );
  return countedAs(result, size);
}

async function decide(
  context: BenchContext,
  setup: DecideSetup,
  more?: (manager: PullManager, workload: Workload, piscina: BenchRow) => Promise<void>,
): Promise<void> {
  const { records, syncAtLeast, awaitedAtLeast } = setup;
  const piscina = await piscinaDecisions(context, { records, callers: CALLERS });
  await onEngine(context, { records }, async (manager, workload) => {
    // The first time from the worker, the second time compared; then every entry is complete.
    for (let round = 0; round < 2; round++) await decideAll(manager, workload);
    for (const [name, order] of [
      ['few images often', (index: number) => workload.pick(index)],
      ['all alike', shuffled(workload)],
    ] as const) {
      const result = decideSyncLoop(context, manager, workload, order);
      const work = `decideSync, ${records} records, ${name}`;
      context.add(work, subjectOf(), result, ['b', piscina, syncAtLeast]);
    }
    if (awaitedAtLeast !== undefined) {
      const loop = loopOf(context, CALLERS, 1_000_000);
      const result = await decisionLoop(manager, workload, loop);
      const work = `mustAttemptImagePull, ${records} records, ${CALLERS} callers`;
      context.add(work, subjectOf(), result, ['b', piscina, awaitedAtLeast]);
    }
    await more?.(manager, workload, piscina);
  });
}

const topic: BenchTopic = {
  title: 'decisions in the calling thread; (b) has 64 callers in flight, where it is at its best',
  async run(context: BenchContext): Promise<void> {
    await decide(context, { records: 2_000, syncAtLeast: 60, awaitedAtLeast: 20 });
    const medium = { records: 20_000, syncAtLeast: 25, awaitedAtLeast: 20 };
    await decide(context, medium, async (manager, workload, piscina) => {
      const result = newStringsLoop(context, manager, workload);
      const work = `decideSync, ${medium.records} records, new strings in each call`;
      context.add(work, subjectOf(), result, ['b', piscina]);
      for (const size of BATCH_SIZES) {
        const batches = await batchLoop(context, manager, workload, size);
        const batchWork = `decideBatch of ${size}, ${medium.records} records, 1 caller`;
        context.add(batchWork, subjectOf(), batches, ['b', piscina]);
      }
    });
    const records = context.scaled(1_000_000);
    await decide(context, { records, syncAtLeast: 5 });
    forgetWorkload(records);
  },
};

export default topic;

import { join } from 'node:path';
import { credentialHash } from '../src/credentials/credential-hash.ts';
import { ImageManager } from '../src/image-manager/image-manager.ts';
import { PullManager } from '../src/pull-manager.ts';
import { type CriRuntime, criRuntime } from '../src/runtime/cri/cri-runtime.ts';
import { Random } from '../src/util/random.ts';
import { Components } from '../test/real/kit/components.ts';
import { type BuiltImage, buildImage } from '../test/real/kit/image-builder.ts';
import { CONTAINERD } from '../test/real/kit/programs.ts';
import { callersText } from './baselines/measurements.ts';
import { inChild } from './support/child.ts';
import { closedLoop, type LoopResult, median } from './support/closed-loop.ts';
import { collectGarbage, oldBytes } from './support/heap.ts';
import type { BenchContext, BenchRow, BenchTopic } from './support/topic.ts';

const IMAGES = 1_000;
const RECORDS = 10_000;
const SUBJECT = 'containerd, kept records on disk';
const TENANT = { uid: 'uid-a', namespace: 'team-a', name: 'pull' } as const;
const CREDENTIAL = {
  auth: { username: 'a', password: 'password' },
  source: { kind: 'secret', ...TENANT },
} as const;
/** A proven image costs at most 5 % more than the bare call. */
const OF_BARE_AT_LEAST = 0.952;
const SINGLE_CALLS = 20_000;
const WARMUP_CALLS = 1_000;
const NS_PER_MS = 1e6;
/** At 64 callers, of the bare calls' throughput. */
const OF_THROUGHPUT_AT_LEAST = 0.95;
/**
 * The two are measured in turns, as the machine is not the same for long: single rounds differ by a
 * half. So many are needed for the medians to be within two percent.
 */
const ROUNDS = 201;
const START_MS_MAX = 1_000;
const MEMORY_REQUESTS = 100_000;
/** What a hundred thousand requests may leave: ten bytes each. */
const SURVIVING_BYTES_MAX = 1_000_000;
const CALLERS = 64;

interface PreparedNode {
  readonly socket: string;
  readonly names: readonly string[];
  readonly ids: readonly string[];
}

/** Where the records of a node are. */
interface NodeOrder extends PreparedNode {
  readonly path: string;
  readonly requests: number;
}

interface Agent extends AsyncDisposable {
  readonly runtime: CriRuntime;
  readonly images: ImageManager;
}

async function openAgent({ socket }: PreparedNode, path: string): Promise<Agent> {
  const runtime = criRuntime({ socket: `unix://${socket}` });
  const store = { kind: 'journal', path } as const;
  const policy = { kind: 'AlwaysVerify' } as const;
  const pullManager = await PullManager.open({ store, policy, imageService: runtime });
  const images = new ImageManager({ pullManager, runtime });
  return {
    runtime,
    images,
    async [Symbol.asyncDispose]() {
      await images.close();
      await pullManager.close();
      await runtime.close();
    },
  };
}

/** A node with a thousand images; each is recorded as proven by the tenant, and others are too. */
async function recordProofs({ names, ids }: PreparedNode, path: string): Promise<void> {
  const secret = { ...TENANT, credentialHash: credentialHash(CREDENTIAL.auth) };
  await using manager = await PullManager.open({ store: { kind: 'journal', path } });
  const writes = Array.from({ length: RECORDS }, async (_, i) => {
    const name = names[i] ?? `registry.example.com/gone/app-${i}:v1`;
    await manager.recordPullIntent(name);
    await manager.recordImagePulled(name, ids[i] ?? `sha256:gone-${i}`, {
      kubernetesSecrets: [secret],
    });
  });
  await Promise.all(writes);
  // Pulls that were under way when the node went down: they are looked at when it starts.
  await Promise.all(names.slice(0, 10).map((name) => manager.recordPullIntent(name)));
}

/** Asks for the images in turn, as pods that have proven that they may use them. */
function ensureIn({ images }: Agent, { names, ids }: PreparedNode) {
  return async (index: number): Promise<void> => {
    const at = index % names.length;
    const { imageRef, pulled } = await images.ensureImage({
      image: names[at]!,
      pullPolicy: 'IfNotPresent',
      podUid: 'pod',
      credentials: [CREDENTIAL],
    });
    if (pulled || imageRef !== ids[at]) throw new Error(`wrong answer for ${names[at]}`);
  };
}

/** The call that is needed in any case. */
function statusIn({ runtime }: Agent, { names, ids }: PreparedNode) {
  return async (index: number): Promise<void> => {
    const at = index % names.length;
    const status = await runtime.imageStatus(names[at]!);
    if (status?.id !== ids[at]) throw new Error(`wrong status of ${names[at]}`);
  };
}

/**
 * One call at a time, of either kind in random order: a runtime that has gone to sleep takes longer,
 * and whether it has depends on how long the call before took.
 */
async function provenSingly(
  context: BenchContext,
  node: PreparedNode,
  agent: Agent,
): Promise<void> {
  const kinds = { bare: statusIn(agent, node), ensured: ensureIn(agent, node) };
  const latencies = { bare: [] as number[], ensured: [] as number[] };
  const random = new Random(1);
  const calls = context.scaled(SINGLE_CALLS);
  for (let i = -WARMUP_CALLS; i < calls; i++) {
    const kind = random.share() < 0.5 ? 'bare' : 'ensured';
    const startedMs = performance.now();
    await kinds[kind](Math.abs(i));
    if (i >= 0) latencies[kind].push((performance.now() - startedMs) * NS_PER_MS);
  }
  const row = (work: string, samples: number[]): Omit<BenchRow, 'ratios'> => ({
    work: `${work}, 1 caller, median of ${samples.length} calls in random order`,
    subject: SUBJECT,
    unit: 'ns',
    value: median(samples),
    samples: [],
    operations: samples.length,
  });
  const bare = context.addValue(row('imageStatus', latencies.bare));
  const ensured = row('ensureImage, proven', latencies.ensured);
  context.addValue(ensured, ['other', bare, OF_BARE_AT_LEAST]);
}

async function provenAtOnce(
  context: BenchContext,
  node: PreparedNode,
  agent: Agent,
): Promise<void> {
  const callers = CALLERS;
  const rounds = context.quick ? 5 : ROUNDS;
  const operations = 500;
  const results: { readonly bare: LoopResult[]; readonly ensured: LoopResult[] } = {
    bare: [],
    ensured: [],
  };
  const loop = { callers, operations, samples: 1, warmup: 0 };
  const bare = statusIn(agent, node);
  const ensured = ensureIn(agent, node);
  await closedLoop({ ...loop, operations: 4 * operations }, bare);
  await closedLoop({ ...loop, operations: 4 * operations }, ensured);
  for (let round = 0; round < rounds; round++) {
    // Each goes first as often as the other.
    const inTurn =
      round % 2 === 0 ? (['bare', 'ensured'] as const) : (['ensured', 'bare'] as const);
    for (const which of inTurn) {
      results[which].push(await closedLoop(loop, which === 'bare' ? bare : ensured));
    }
  }
  const text = callersText(callers);
  const baseline = context.add(`imageStatus, ${text}`, SUBJECT, together(results.bare));
  const work = `ensureImage, proven, ${text}`;
  context.add(work, SUBJECT, together(results.ensured), [
    'other',
    baseline,
    OF_THROUGHPUT_AT_LEAST,
  ]);
}

/** Rounds as the samples of one result; latencies are the medians of theirs. */
function together(rounds: readonly LoopResult[]): LoopResult {
  const samples = rounds.map(({ operationsPerSecond }) => operationsPerSecond);
  const latency = (name: keyof LoopResult['latencyNs']): number =>
    median(rounds.map(({ latencyNs }) => latencyNs[name]));
  return {
    operationsPerSecond: median(samples),
    samples,
    operations: rounds.reduce((sum, { operations }) => sum + operations, 0),
    latencyNs: {
      p50: latency('p50'),
      p99: latency('p99'),
      p999: latency('p999'),
      max: latency('max'),
    },
  };
}

/** In a child: from nothing to the first answer. */
export async function startAgent(order: NodeOrder): Promise<number> {
  const startedMs = performance.now();
  await using agent = await openAgent(order, order.path);
  await ensureIn(agent, order)(order.names.length - 1);
  return performance.now() - startedMs;
}

/** In a child: what many requests leave on the heap. */
export async function surviveRequests(order: NodeOrder): Promise<number> {
  await using agent = await openAgent(order, order.path);
  const ensured = ensureIn(agent, order);
  const run = (operations: number): Promise<LoopResult> =>
    closedLoop({ callers: CALLERS, operations, samples: 1, warmup: 0 }, ensured);
  // Until every image is known and compiling is over.
  await run(Math.ceil(order.requests / 5));
  await collectGarbage();
  const before = oldBytes();
  await run(order.requests);
  await collectGarbage();
  return oldBytes() - before;
}

async function prepared({ containerd }: Components): Promise<PreparedNode> {
  const built: BuiltImage[] = Array.from({ length: IMAGES }, (_, i) =>
    buildImage({ content: `image ${i}` }),
  );
  const names = built.map((_, i) => `registry.example.com/team-a/app-${i}:v1`);
  await containerd.importImages(built.map((image, i) => ({ image, names: [names[i]!] })));
  return { socket: containerd.socket, names, ids: built.map(({ id }) => id) };
}

const topic: BenchTopic = {
  title: 'making sure of an image that is proven, against the bare call to the real containerd',
  async run(context: BenchContext): Promise<void> {
    if (CONTAINERD.problem !== undefined) {
      process.stdout.write(`not measured: ${CONTAINERD.problem}\n`);
      return;
    }
    await using components = new Components();
    await components.start();
    const node = await prepared(components);
    await context.inDirectory(async (directory) => {
      const path = join(directory, 'records');
      await recordProofs(node, path);
      const requests = context.scaled(MEMORY_REQUESTS);
      const order = { ...node, path, requests };
      const starts: number[] = [];
      for (let i = 0; i < context.samples; i++) {
        starts.push(await inChild(import.meta.url, startAgent, order));
      }
      const subject = `${SUBJECT}, in a child`;
      context.addValue({
        work: `start to the first answer, ${RECORDS} records, ${IMAGES} images`,
        subject,
        unit: 'ms',
        value: median(starts),
        samples: starts,
        atMost: START_MS_MAX,
      });
      {
        await using agent = await openAgent(node, path);
        await provenSingly(context, node, agent);
        await provenAtOnce(context, node, agent);
      }
      const surviving = await inChild(import.meta.url, surviveRequests, order, ['--expose-gc']);
      context.addValue({
        work: `${requests} × ensureImage, proven: heap that survives, in all`,
        subject,
        unit: 'bytes',
        value: surviving,
        samples: [],
        atMost: SURVIVING_BYTES_MAX,
      });
    });
  },
};

export default topic;

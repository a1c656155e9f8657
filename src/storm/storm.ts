/** A storm from scenario to result: stores, runs, verdict. */
import { createHash } from 'node:crypto';
import { invalidArgument } from '../errors.ts';
import type { VerificationPolicy } from '../policies/enforcer.ts';
import { PullManager } from '../pull-manager.ts';
import { readTrace, type Trace } from '../trace/read-trace.ts';
import type { StormRuntimeImage } from './engine.ts';
import { type ImageReference, readImageList } from './image-list.ts';
import { measureOverhead } from './overhead.ts';
import type { StormParameters } from './parameters.ts';
import type { Progress } from './progress.ts';
import { describeReplay, lacksOf, type ReplayInput, runReplay } from './replay/run-replay.ts';
import { medianResult, type ResultParts, stormResult } from './result.ts';
import type { StormResult } from './result-schema.ts';
import { runStorm, type StormInput } from './run.ts';
import type { Scenario } from './scenarios.ts';
import { isOpen, stagesOf } from './stages.ts';
import { parseStore, prepareStore, type StormStore } from './store.ts';
import { parseThreshold, type Threshold } from './thresholds.ts';
import { WorkerThreads } from './worker-threads.ts';

/** What is run, and for whom. */
export interface StormOptions {
  readonly scenario: Scenario;
  readonly seed: number;
  /** Command line that does the same again. */
  readonly command: string;
  /** Ends the storm early; what there is so far is the result. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
}

/**
 * Runs a scenario as often as it says and answers the median run.
 *
 * @throws `INVALID_ARGUMENT` for thresholds and stores that do not fit; what opening the engine throws.
 */
export async function runScenario(options: StormOptions): Promise<StormResult> {
  const { scenario, signal } = options;
  const { parameters } = scenario;
  const stages = stagesOf(parameters, scenario.name).map(({ name }) => name);
  const scope = {
    stages: parameters.stages.length === 0 ? [] : stages,
    isOpen: isOpen(parameters) || parameters.replay !== undefined,
    isVerified: parameters.verify,
  };
  const thresholds = parameters.thresholds.map((rule) => parseThreshold(rule, scope));
  if (parameters.repeat > 1 && parseStore(parameters.store).path !== undefined) {
    throw invalidArgument('--repeat', 'needs a fresh store for each run: give --store no path');
  }
  const trace =
    parameters.replay === undefined ? undefined : await readTrace(parameters.replay, signal);
  const requests = trace ?? (await readImageList(parameters.images, signal));
  const results: StormResult[] = [];
  for (let number = 1; number <= parameters.repeat; number++) {
    const run = { number, of: parameters.repeat };
    results.push(await runOnce(options, requests, thresholds, run));
    if (signal?.aborted) break;
  }
  return medianResult(results);
}

async function runOnce(
  options: StormOptions,
  requests: readonly ImageReference[] | Trace,
  thresholds: readonly Threshold[],
  number: Progress['run'],
): Promise<StormResult> {
  const { scenario, seed, command, signal, onProgress } = options;
  const { parameters } = scenario;
  const store = prepareStore(parameters.store);
  const threads = new WorkerThreads();
  const removeStore = (): void => store.remove();
  // Also after a second Ctrl-C, which does not wait.
  process.once('exit', removeStore);
  try {
    const input = {
      scenario: scenario.name,
      parameters: { ...parameters, seed },
      isDurable: store.isDurable,
      timeResolutionMs: store.timeResolutionMs,
      signal,
      run: number,
      onProgress,
      killWorker: threads.kill,
      open: (listed: readonly StormRuntimeImage[], policy: VerificationPolicy) =>
        openEngine(store, parameters, policy, listed),
    };
    const parts = { scenario, command, seed, store, thresholds };
    return 'operations' in requests
      ? await replayResult({ ...input, trace: requests }, parts)
      : await madeUpResult({ ...input, images: requests }, parts);
  } finally {
    threads.close();
    store.remove();
    process.removeListener('exit', removeStore);
  }
}

type Parts = Omit<ResultParts, 'run' | 'overhead'>;

async function madeUpResult(input: StormInput, parts: Parts): Promise<StormResult> {
  const run = await runStorm(input);
  try {
    const { universe, verifier } = run.state;
    const overhead = run.wasInterrupted
      ? undefined
      : await measureOverhead(universe, run.stages[0]!.requests, verifier);
    const scenario = withImages(parts.scenario, input.images);
    return stormResult({ ...parts, scenario, run, overhead });
  } finally {
    run.close();
  }
}

/** The scenario with what is on a list of one's own, and not where it is. */
function withImages(scenario: Scenario, images: readonly ImageReference[]): Scenario {
  const { parameters } = scenario;
  if (parameters.images === undefined) return scenario;
  const digest = createHash('sha256').update(JSON.stringify(images)).digest('hex');
  return { ...scenario, parameters: { ...parameters, images: digest } };
}

async function replayResult(input: ReplayInput, parts: Parts): Promise<StormResult> {
  const run = await runReplay(input);
  try {
    const { trace } = input;
    const { parameters } = parts.scenario;
    const scenario: Scenario = {
      ...parts.scenario,
      description: describeReplay(trace, run.leftOut),
      // What is played counts, and not where it is.
      parameters: { ...parameters, replay: trace.digest },
    };
    const replayed = { lacks: lacksOf(trace, run.leftOut) };
    return stormResult({ ...parts, scenario, run, replayed, overhead: undefined });
  } finally {
    run.close();
  }
}

function openEngine(
  store: StormStore,
  parameters: StormParameters,
  policy: VerificationPolicy,
  images: readonly StormRuntimeImage[],
): Promise<PullManager> {
  const { stripes, workers, compatibility } = parameters;
  return PullManager.open({
    store: store.options,
    policy,
    compatibility,
    imageService: { listImages: async () => images },
    ...(stripes === undefined ? {} : { stripeCount: stripes }),
    ...(workers === undefined ? {} : { workerCount: workers }),
  });
}

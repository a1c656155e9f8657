/** A storm from scenario to result: stores, runs, verdict. */
import { invalidArgument } from '../errors.ts';
import type { VerificationPolicy } from '../policies/enforcer.ts';
import { PullManager } from '../pull-manager.ts';
import type { StormRuntimeImage } from './engine.ts';
import { type ImageReference, readImageList } from './image-list.ts';
import { measureOverhead } from './overhead.ts';
import type { StormParameters } from './parameters.ts';
import type { Progress } from './progress.ts';
import { medianResult, stormResult } from './result.ts';
import type { StormResult } from './result-schema.ts';
import { runStorm } from './run.ts';
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
    isOpen: isOpen(parameters),
  };
  const thresholds = parameters.thresholds.map((rule) => parseThreshold(rule, scope));
  if (parameters.repeat > 1 && parseStore(parameters.store).path !== undefined) {
    throw invalidArgument('--repeat', 'needs a fresh store for each run: give --store no path');
  }
  const images = readImageList(parameters.images);
  const results: StormResult[] = [];
  for (let number = 1; number <= parameters.repeat; number++) {
    const run = { number, of: parameters.repeat };
    results.push(await runOnce(options, images, thresholds, run));
    if (signal?.aborted) break;
  }
  return medianResult(results);
}

async function runOnce(
  { scenario, seed, command, signal, onProgress }: StormOptions,
  images: readonly ImageReference[],
  thresholds: readonly Threshold[],
  number: Progress['run'],
): Promise<StormResult> {
  const { parameters } = scenario;
  const store = prepareStore(parameters.store);
  const threads = new WorkerThreads();
  const removeStore = (): void => store.remove();
  // Also after a second Ctrl-C, which does not wait.
  process.once('exit', removeStore);
  try {
    const run = await runStorm({
      scenario: scenario.name,
      parameters: { ...parameters, seed },
      images,
      isDurable: store.isDurable,
      timeResolutionMs: store.timeResolutionMs,
      signal,
      run: number,
      onProgress,
      killWorker: threads.kill,
      open: (listed, policy) => openEngine(store, parameters, policy, listed),
    });
    try {
      const { universe, verifier } = run.state;
      const overhead = run.wasInterrupted
        ? undefined
        : await measureOverhead(universe, run.stages[0]!.requests, verifier);
      return stormResult({ scenario, command, seed, store, run, thresholds, overhead });
    } finally {
      run.close();
    }
  } finally {
    threads.close();
    store.remove();
    process.removeListener('exit', removeStore);
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

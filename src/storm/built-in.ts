/** The built-in scenarios, and the values where a scenario says nothing. */
import { COMPATIBILITY_DEFAULT } from '../compatibility.ts';
import type { StormParameters } from './parameters.ts';

/** A scenario that comes with the program. */
export interface BuiltIn {
  readonly description: string;
  readonly parameters: Partial<StormParameters>;
}

/** What a run without any argument does. */
export const DEFAULT_SCENARIO = 'mixed';

/** Values where a scenario says nothing. */
export const DEFAULT_PARAMETERS: StormParameters = {
  seed: undefined,
  operations: undefined,
  duration: 10_000,
  rate: 10_000,
  concurrency: undefined,
  arrivals: 'even',
  stages: [],
  events: [],
  repeat: 1,
  replay: undefined,
  speed: 1,
  verify: true,
  interval: 1_000,
  workers: undefined,
  stripes: undefined,
  store: 'journal',
  images: undefined,
  tenants: 3_000,
  records: undefined,
  tenantsPerRecord: 1,
  policy: 'NeverVerifyPreloadedImages',
  compatibility: COMPATIBILITY_DEFAULT,
  decisionShare: 0.9,
  mix: undefined,
  failureShare: 0.05,
  preloadedShare: 0.08,
  publicShare: 0.25,
  nodeCredentialShare: 0.05,
  sharedSecretShare: 0.1,
  serviceAccountShare: 0.15,
  rotatedShare: 0.2,
  rotateEvery: 200_000,
  skew: 1,
  rolloutShare: 0,
  rolloutEvery: 20_000,
  restarts: 0,
  prunings: 0,
  workerKills: 0,
  prunedShare: 0.02,
  thresholds: [],
};

/**
 * Rates that every store keeps on a small machine. What limits them are writes: a store of one file a
 * record takes two to three thousand a second, and a pull makes two.
 */
const WRITING_RATE = 5_000;
const QUIET_RATE = { from: 1_000, to: 1_000 };

/** The built-in scenarios by name. */
export const BUILT_IN: Readonly<Record<string, BuiltIn>> = {
  mixed: {
    description: 'everything together: decisions, pulls, rotation, pruning and a restart',
    parameters: { restarts: 1, prunings: 10 },
  },
  smoke: {
    description: 'the same as mixed, over in two seconds',
    parameters: {
      duration: 2_000,
      tenants: 500,
      records: 2_000,
      rotateEvery: 10_000,
      restarts: 1,
      prunings: 4,
    },
  },
  rollout: {
    description:
      'a quiet node on which one new image after another is started on many pods at once',
    parameters: {
      duration: undefined,
      rate: WRITING_RATE,
      stages: [
        { name: 'quiet', duration: 3_000, rate: QUIET_RATE },
        { name: 'surge', duration: 4_000, decisionShare: 0.7, rolloutShare: 0.8 },
        { name: 'quiet-again', duration: 3_000, rate: QUIET_RATE },
      ],
      records: 2_000,
      tenants: 500,
      rolloutEvery: 5_000,
    },
  },
  'node-restart': {
    description: 'the node goes down again and again in the middle of pulls',
    parameters: { rate: WRITING_RATE, decisionShare: 0.7, restarts: 8, records: 2_000 },
  },
  'credential-rotation': {
    description: 'secrets change all the time while pods with old ones still run',
    parameters: { rotatedShare: 1, rotateEvery: 25_000, sharedSecretShare: 0.3, tenants: 1_000 },
  },
  gc: {
    description: 'images disappear from the node, and their records are pruned under load',
    parameters: { rate: WRITING_RATE, decisionShare: 0.8, prunings: 60, prunedShare: 0.15 },
  },
};

/** Names of the built-in scenarios. */
export const SCENARIO_NAMES: readonly string[] = Object.keys(BUILT_IN);

/** One line about a built-in scenario. */
export function describeScenario(name: string): string {
  return BUILT_IN[name]?.description ?? '';
}

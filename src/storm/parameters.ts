/** The parameters of a storm: one table for the command line, scenario files, schema and help text. */
import { COMPATIBILITY_LEVELS, type CompatibilityLevel } from '../compatibility.ts';
import { POLICIES, type PolicyName } from '../policies/enforcer.ts';
import { type Field, type FieldTable, type Moment, parseField } from './field.ts';
import type { EventResult, Ramp } from './result-schema.ts';

/** How often each kind of request is made, as weights. */
export interface Mix {
  readonly mustAttemptImagePull?: number;
  readonly decide?: number;
  readonly decideSync?: number;
  readonly decideBatch?: number;
  readonly pull?: number;
  readonly withPull?: number;
}

/** One stage as a scenario says it: what is left out is as in the whole scenario. */
export interface StageParameters {
  readonly name?: string;
  readonly duration: number;
  readonly rate?: Ramp;
  readonly concurrency?: Ramp;
  readonly decisionShare?: number;
  readonly failureShare?: number;
  readonly skew?: number;
  readonly rolloutShare?: number;
  readonly mix?: Mix;
}

/** Something that is done to the engine at one moment. */
export interface EventParameters {
  readonly at: Moment;
  readonly do: EventResult['kind'];
}

/** Everything that shapes a storm. Shares are from 0 to 1, times in milliseconds, rates a second. */
export interface StormParameters {
  readonly seed: number | undefined;
  readonly operations: number | undefined;
  readonly duration: number | undefined;
  /** Undefined: a closed load. */
  readonly rate: number | undefined;
  readonly concurrency: number | undefined;
  readonly arrivals: 'even' | 'poisson';
  readonly stages: readonly StageParameters[];
  readonly events: readonly EventParameters[];
  readonly repeat: number;
  /** File of a trace that is played instead of requests that are made up. */
  readonly replay: string | undefined;
  readonly speed: number;
  readonly verify: boolean;
  readonly interval: number;
  readonly workers: number | undefined;
  readonly stripes: number | undefined;
  readonly store: string;
  readonly images: string | undefined;
  readonly tenants: number;
  readonly records: number | undefined;
  readonly tenantsPerRecord: number;
  readonly policy: PolicyName;
  readonly compatibility: CompatibilityLevel;
  readonly decisionShare: number;
  readonly mix: Mix | undefined;
  readonly failureShare: number;
  readonly preloadedShare: number;
  readonly publicShare: number;
  readonly nodeCredentialShare: number;
  readonly sharedSecretShare: number;
  readonly serviceAccountShare: number;
  readonly rotatedShare: number;
  readonly rotateEvery: number;
  readonly skew: number;
  readonly rolloutShare: number;
  readonly rolloutEvery: number;
  readonly restarts: number;
  readonly prunings: number;
  readonly workerKills: number;
  readonly prunedShare: number;
  readonly thresholds: readonly string[];
}

/** Name of a parameter. */
export type ParameterName = keyof StormParameters;

/** One parameter: its type and limits, and how it is shown. */
export interface Parameter extends Field {
  /** Name of the flag; without it the parameter is for scenario files only. */
  readonly flag?: string;
  readonly placeholder?: string;
  /** How the default is described where it is no plain value. */
  readonly defaultHelp?: string;
}

const SEED_MAX = 0xffff_ffff;
const DAY_MS = 86_400_000;
const RATE = { kind: 'rate', minimum: 0.001, maximum: 10_000_000 } as const;
const CALLERS = { kind: 'count', minimum: 1, maximum: 65_536 } as const;
const SKEW: Field = {
  kind: 'number',
  minimum: 0,
  maximum: 10,
  help: 'Zipf exponent of popularity; 0: uniform',
};
const WEIGHT = { kind: 'number', minimum: 0, maximum: 1_000_000 } as const;

const MIX: Field = {
  kind: 'object',
  help: 'how often each kind of request is made, as weights; instead of decisionShare',
  fields: {
    mustAttemptImagePull: { ...WEIGHT, help: 'one decision, as a kubelet asks for it' },
    decide: { ...WEIGHT, help: 'one decision with its reason' },
    decideSync: { ...WEIGHT, help: 'one decision without waiting, where that is possible' },
    decideBatch: { ...WEIGHT, help: '16 decisions at once' },
    pull: { ...WEIGHT, help: 'an intent, and the outcome at once or later' },
    withPull: { ...WEIGHT, help: 'the same through one call' },
  },
};

const STAGE: FieldTable = {
  name: { kind: 'text', help: 'how results and thresholds call it' },
  duration: { kind: 'duration', minimum: 1, maximum: DAY_MS, isRequired: true, help: 'how long' },
  rate: { ...RATE, minimum: 0, isRamp: true, help: 'requests a second that arrive' },
  concurrency: { ...CALLERS, isRamp: true, help: 'callers that wait for their answers' },
  decisionShare: { kind: 'share', help: 'as in the whole scenario' },
  failureShare: { kind: 'share', help: 'as in the whole scenario' },
  skew: { ...SKEW, help: 'as in the whole scenario' },
  rolloutShare: { kind: 'share', help: 'as in the whole scenario' },
  mix: { ...MIX, help: 'as in the whole scenario' },
};

const EVENT: FieldTable = {
  at: { kind: 'moment', isRequired: true, help: 'a time such as 3s, or a share such as 50%' },
  do: {
    kind: 'choice',
    choices: ['restart', 'prune', 'killWorker'],
    noun: 'event',
    isRequired: true,
    help: 'what happens',
  },
};

/** All parameters, in the order of the help text. */
export const PARAMETERS: Readonly<Record<ParameterName, Parameter>> = {
  rate: {
    ...RATE,
    flag: 'rate',
    placeholder: 'N',
    help: 'open load: so many requests a second arrive, whether or not earlier ones were answered',
  },
  concurrency: {
    ...CALLERS,
    flag: 'concurrency',
    placeholder: 'N',
    help: 'without --rate, closed load: callers, each with one request in flight; with it, at most so many',
    defaultHelp: '256 with a rate, 64 in stages without',
  },
  duration: {
    kind: 'duration',
    minimum: 1,
    maximum: DAY_MS,
    flag: 'duration',
    placeholder: 'TIME',
    help: 'end after this time, for example 500ms, 10s, 2m; stages are stretched to it',
  },
  operations: {
    kind: 'count',
    minimum: 1,
    flag: 'ops',
    placeholder: 'N',
    help: 'end after this many operations',
    defaultHelp: 'none',
  },
  repeat: {
    kind: 'count',
    minimum: 1,
    maximum: 100,
    flag: 'repeat',
    placeholder: 'N',
    help: 'run so often, each time on a fresh store; the result is of the median run',
  },
  replay: {
    kind: 'text',
    flag: 'replay',
    placeholder: 'FILE',
    help: 'play a recorded trace instead of a scenario: the same operations at the same moments',
    defaultHelp: 'none',
  },
  speed: {
    kind: 'number',
    minimum: 0.001,
    maximum: 1_000,
    flag: 'speed',
    placeholder: 'N',
    help: 'with --replay: so many times as fast as it was recorded',
  },
  seed: {
    kind: 'count',
    minimum: 0,
    maximum: SEED_MAX,
    flag: 'seed',
    placeholder: 'N',
    help: 'the same seed gives the same sequence of requests',
    defaultHelp: 'random, printed',
  },
  workers: {
    kind: 'count',
    minimum: 0,
    maximum: 31,
    flag: 'workers',
    placeholder: 'N',
    help: 'worker threads; 0: everything in the calling thread',
    defaultHelp: "the engine's",
  },
  stripes: {
    kind: 'count',
    minimum: 1,
    flag: 'stripes',
    placeholder: 'N',
    help: 'lock stripes, at most 31',
    defaultHelp: "the engine's",
  },
  store: {
    kind: 'text',
    flag: 'store',
    placeholder: 'STORE',
    help: 'journal, lmdb or kubelet, each alone or with :PATH, or memory; without PATH in a new temporary directory',
  },
  images: {
    kind: 'text',
    flag: 'images',
    placeholder: 'FILE',
    help: 'image references, one a line, or name<TAB>tags',
    defaultHelp: '9,849 public ones',
  },
  tenants: {
    kind: 'count',
    minimum: 1,
    maximum: 1_000_000,
    flag: 'tenants',
    placeholder: 'N',
    help: 'tenants with credentials of their own',
  },
  records: {
    kind: 'count',
    minimum: 0,
    maximum: 10_000_000,
    flag: 'records',
    placeholder: 'N',
    help: 'pulled records to begin with; images are made up where the list is too short',
    defaultHelp: 'one for each image that is pulled at all',
  },
  policy: {
    kind: 'choice',
    choices: POLICIES,
    noun: 'policy',
    flag: 'policy',
    placeholder: 'NAME',
    help: `verification policy: ${POLICIES.join(', ')}`,
  },
  compatibility: {
    kind: 'level',
    flag: 'compatibility',
    placeholder: 'LEVEL',
    help: `kubelet version whose behaviour is claimed: ${COMPATIBILITY_LEVELS.join(', ')}`,
  },
  thresholds: {
    kind: 'texts',
    flag: 'threshold',
    placeholder: 'RULE',
    help: "fail with exit code 99 unless this holds, for example 'decide.p99<2ms'; may be repeated",
    defaultHelp: 'none',
  },
  verify: {
    kind: 'boolean',
    flag: 'no-verify',
    help: 'check no decision: to measure without what checking costs',
    defaultHelp: 'every decision is checked',
  },
  arrivals: {
    kind: 'choice',
    choices: ['even', 'poisson'],
    noun: 'spacing of arrivals',
    help: 'open load: requests arrive evenly, or at random moments as from many independent sources',
  },
  stages: { kind: 'list', fields: STAGE, help: 'stages, one after the other' },
  events: { kind: 'list', fields: EVENT, help: 'what happens when' },
  interval: {
    kind: 'duration',
    minimum: 100,
    maximum: 3_600_000,
    help: 'time of one row of the result over time',
  },
  tenantsPerRecord: {
    kind: 'count',
    minimum: 1,
    maximum: 1_000,
    help: 'tenants whose credentials each record of a private image holds at the beginning',
  },
  decisionShare: { kind: 'share', help: 'share of operations that are decisions' },
  mix: MIX,
  failureShare: { kind: 'share', help: 'share of permitted pulls that fail all the same' },
  preloadedShare: { kind: 'share', help: 'share of images that are never pulled' },
  publicShare: { kind: 'share', help: 'share of images that anybody may pull' },
  nodeCredentialShare: { kind: 'share', help: "share of images pulled by the node's credentials" },
  sharedSecretShare: { kind: 'share', help: 'share of tenants whose login others use too' },
  serviceAccountShare: { kind: 'share', help: 'share of tenants with service accounts' },
  rotatedShare: { kind: 'share', help: 'share of tenants whose secrets change' },
  rotateEvery: {
    kind: 'count',
    minimum: 0,
    help: 'requests, of all callers together, between changes of a secret; 0: never',
  },
  skew: SKEW,
  rolloutShare: { kind: 'share', help: 'share of requests for the image that is rolled out' },
  rolloutEvery: {
    kind: 'count',
    minimum: 1,
    help: 'requests, of all callers together, for each rolled-out image',
  },
  restarts: { kind: 'count', minimum: 0, maximum: 1_000, help: 'restarts, evenly spread' },
  prunings: { kind: 'count', minimum: 0, maximum: 100_000, help: 'prunings, evenly spread' },
  workerKills: {
    kind: 'count',
    minimum: 0,
    maximum: 1_000,
    help: 'times that a worker thread is killed, evenly spread',
  },
  prunedShare: { kind: 'share', help: 'share of references that are gone at a pruning' },
};

/** Names of all parameters. */
export const PARAMETER_NAMES: readonly ParameterName[] = Object.keys(PARAMETERS) as ParameterName[];

/**
 * Checks a value for a parameter. On the command line values are text; in files also numbers.
 *
 * @param where How the value is named in errors, for example `--ops` or `storm.json: operations`.
 * @throws `INVALID_ARGUMENT` naming the value, with the nearest right one.
 */
export function parseParameter(
  name: ParameterName,
  value: unknown,
  where: string,
): StormParameters[ParameterName] {
  return parseField(PARAMETERS[name], value, where) as StormParameters[ParameterName];
}

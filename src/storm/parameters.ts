/** The parameters of a storm: one table for the command line, scenario files and the help text. */
import {
  COMPATIBILITY_LEVELS,
  type CompatibilityLevel,
  checkCompatibility,
} from '../compatibility.ts';
import { invalidArgument, quote } from '../errors.ts';
import { POLICIES, type PolicyName } from '../policies/enforcer.ts';
import { parseDuration } from '../util/duration.ts';
import { suggestion } from '../util/suggest.ts';

/** Everything that shapes a storm. Shares are from 0 to 1, times in milliseconds. */
export interface StormParameters {
  readonly seed: number | undefined;
  readonly operations: number | undefined;
  readonly duration: number | undefined;
  readonly concurrency: number;
  readonly workers: number | undefined;
  readonly stripes: number | undefined;
  readonly store: string;
  readonly images: string | undefined;
  readonly tenants: number;
  readonly records: number | undefined;
  readonly policy: PolicyName;
  readonly compatibility: CompatibilityLevel;
  readonly decisionShare: number;
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
  readonly prunedShare: number;
  readonly thresholds: readonly string[];
}

/** Name of a parameter. */
export type ParameterName = keyof StormParameters;

type Kind = 'count' | 'share' | 'number' | 'duration' | 'text' | 'texts' | 'policy' | 'level';

/** One parameter: its type and limits, and how it is shown. */
export interface Parameter {
  readonly kind: Kind;
  readonly minimum?: number;
  readonly maximum?: number;
  /** Name of the flag; without it the parameter is for scenario files only. */
  readonly flag?: string;
  readonly placeholder?: string;
  readonly help: string;
  /** How the default is described where it is no plain value. */
  readonly defaultHelp?: string;
}

const SEED_MAX = 0xffff_ffff;

/** All parameters, in the order of the help text. */
export const PARAMETERS: Readonly<Record<ParameterName, Parameter>> = {
  operations: {
    kind: 'count',
    minimum: 1,
    flag: 'ops',
    placeholder: 'N',
    help: 'end after this many operations',
    defaultHelp: 'none',
  },
  duration: {
    kind: 'duration',
    minimum: 1,
    maximum: 86_400_000,
    flag: 'duration',
    placeholder: 'TIME',
    help: 'end after this time, for example 500ms, 10s, 2m',
  },
  concurrency: {
    kind: 'count',
    minimum: 1,
    maximum: 65_536,
    flag: 'concurrency',
    placeholder: 'N',
    help: 'callers, each with one operation in flight',
  },
  seed: {
    kind: 'count',
    minimum: 0,
    maximum: SEED_MAX,
    flag: 'seed',
    placeholder: 'N',
    help: 'the same seed gives each caller the same sequence of operations',
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
    kind: 'policy',
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
  decisionShare: { kind: 'share', help: 'share of operations that are decisions' },
  failureShare: { kind: 'share', help: 'share of permitted pulls that fail all the same' },
  preloadedShare: { kind: 'share', help: 'share of images that are never pulled' },
  publicShare: { kind: 'share', help: 'share of images that anybody may pull' },
  nodeCredentialShare: { kind: 'share', help: "share of images pulled by the node's credentials" },
  sharedSecretShare: { kind: 'share', help: 'share of tenants whose login others use too' },
  serviceAccountShare: { kind: 'share', help: 'share of tenants with service accounts' },
  rotatedShare: { kind: 'share', help: 'share of tenants whose secrets change' },
  rotateEvery: { kind: 'count', minimum: 0, help: 'steps of a caller between changes; 0: never' },
  skew: {
    kind: 'number',
    minimum: 0,
    maximum: 10,
    help: 'Zipf exponent of popularity; 0: uniform',
  },
  rolloutShare: { kind: 'share', help: 'share of steps on the image that is rolled out' },
  rolloutEvery: { kind: 'count', minimum: 1, help: 'steps of a caller for each rolled-out image' },
  restarts: { kind: 'count', minimum: 0, maximum: 1_000, help: 'restarts in the middle' },
  prunings: { kind: 'count', minimum: 0, maximum: 100_000, help: 'prunings, evenly spread' },
  prunedShare: { kind: 'share', help: 'share of references that are gone at a pruning' },
};

/** Names of all parameters. */
export const PARAMETER_NAMES: readonly ParameterName[] = Object.keys(PARAMETERS) as ParameterName[];

/**
 * Checks a value for a parameter. On the command line values are text; in files also numbers.
 *
 * @param where How the value is named in errors, for example `--ops` or `storm.json: operations`.
 */
export function parseParameter(
  name: ParameterName,
  value: unknown,
  where: string,
): StormParameters[ParameterName] {
  const parameter = PARAMETERS[name];
  switch (parameter.kind) {
    case 'text':
      if (typeof value === 'string' && value !== '') return value;
      throw invalidArgument(where, 'must be a text');
    case 'texts': {
      const list = typeof value === 'string' ? [value] : value;
      if (Array.isArray(list) && list.every((item) => typeof item === 'string')) return list;
      throw invalidArgument(where, 'must be a list of texts');
    }
    case 'policy':
      for (const policy of POLICIES) if (policy === value) return policy;
      throw invalidArgument(
        where,
        `${quote(String(value))} is no policy${suggestion(String(value), POLICIES)}`,
      );
    case 'level':
      return checkCompatibility(value, where);
    case 'duration':
      return inRange(parameter, parseDuration(value, where), where);
    default:
      return inRange(parameter, parseNumber(parameter, value, where), where);
  }
}

const PLAIN_NUMBER = /^-?\d+(?:_?\d)*(?:\.\d+)?(?:e\d+)?$/i;

function parseNumber(parameter: Parameter, value: unknown, where: string): number {
  const isNumber =
    typeof value === 'number' || (typeof value === 'string' && PLAIN_NUMBER.test(value));
  const parsed = isNumber ? Number(String(value).replaceAll('_', '')) : Number.NaN;
  const isWhole = parameter.kind !== 'count' || Number.isSafeInteger(parsed);
  if (!Number.isFinite(parsed) || !isWhole) {
    const kind = parameter.kind === 'count' ? 'a whole number' : 'a number';
    throw invalidArgument(where, `${quote(String(value))} is not ${kind}`);
  }
  return parsed;
}

function inRange(parameter: Parameter, value: number, where: string): number {
  const isShare = parameter.kind === 'share';
  const minimum = isShare ? 0 : (parameter.minimum ?? Number.NEGATIVE_INFINITY);
  const maximum = isShare ? 1 : (parameter.maximum ?? Number.POSITIVE_INFINITY);
  if (value >= minimum && value <= maximum) return value;
  if (maximum === Number.POSITIVE_INFINITY)
    throw invalidArgument(where, `must be at least ${minimum}`);
  throw invalidArgument(where, `must be from ${minimum} to ${maximum}`);
}

/** The built-in scenarios, and scenarios of the user's own. */
import { readFileSync } from 'node:fs';
import { COMPATIBILITY_DEFAULT } from '../compatibility.ts';
import { errorCode, invalidArgument, PullManagerError, quote } from '../errors.ts';
import { suggestion } from '../util/suggest.ts';
import {
  PARAMETER_NAMES,
  type ParameterName,
  parseParameter,
  type StormParameters,
} from './parameters.ts';

/** A scenario: what it shows, and its parameters. */
export interface Scenario {
  readonly name: string;
  readonly description: string;
  readonly parameters: StormParameters;
}

/** What a run without any argument does. */
export const DEFAULT_SCENARIO = 'mixed';

/** Values where a scenario says nothing. */
export const DEFAULT_PARAMETERS: StormParameters = {
  seed: undefined,
  operations: undefined,
  duration: 10_000,
  concurrency: 64,
  workers: undefined,
  stripes: undefined,
  store: 'journal',
  images: undefined,
  tenants: 3_000,
  records: undefined,
  policy: 'NeverVerifyPreloadedImages',
  compatibility: COMPATIBILITY_DEFAULT,
  decisionShare: 0.9,
  failureShare: 0.05,
  preloadedShare: 0.08,
  publicShare: 0.25,
  nodeCredentialShare: 0.05,
  sharedSecretShare: 0.1,
  serviceAccountShare: 0.15,
  rotatedShare: 0.2,
  rotateEvery: 20_000,
  skew: 1,
  rolloutShare: 0,
  rolloutEvery: 2_000,
  restarts: 0,
  prunings: 0,
  prunedShare: 0.02,
  thresholds: [],
};

interface BuiltIn {
  readonly description: string;
  readonly parameters: Partial<StormParameters>;
}

const BUILT_IN: Readonly<Record<string, BuiltIn>> = {
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
      rotateEvery: 2_000,
      restarts: 1,
      prunings: 4,
    },
  },
  rollout: {
    description: 'one new image after another is started on many pods at once',
    parameters: { decisionShare: 0.7, rolloutShare: 0.8, records: 0, tenants: 500 },
  },
  'node-restart': {
    description: 'the node goes down again and again in the middle of pulls',
    parameters: { decisionShare: 0.7, restarts: 8, records: 2_000 },
  },
  'credential-rotation': {
    description: 'secrets change all the time while pods with old ones still run',
    parameters: { rotatedShare: 1, rotateEvery: 1_000, sharedSecretShare: 0.3, tenants: 1_000 },
  },
  gc: {
    description: 'images disappear from the node, and their records are pruned under load',
    parameters: { decisionShare: 0.8, prunings: 60, prunedShare: 0.15 },
  },
};

/** Names of the built-in scenarios. */
export const SCENARIO_NAMES: readonly string[] = Object.keys(BUILT_IN);

/** One line about a built-in scenario. */
export function describeScenario(name: string): string {
  return BUILT_IN[name]?.description ?? '';
}

/**
 * The scenario of a name, or of a JSON file: the parameters of `PARAMETERS`, and `extends`, the name
 * of a built-in scenario to begin with.
 *
 * @throws `INVALID_ARGUMENT` naming the key or value, with the nearest right one.
 */
export function loadScenario(nameOrFile: string): Scenario {
  const builtIn = Object.hasOwn(BUILT_IN, nameOrFile) ? BUILT_IN[nameOrFile] : undefined;
  if (builtIn !== undefined) {
    const parameters = { ...DEFAULT_PARAMETERS, ...builtIn.parameters };
    return { name: nameOrFile, description: builtIn.description, parameters };
  }
  if (!/[./\\]/.test(nameOrFile)) {
    const hint = suggestion(nameOrFile, SCENARIO_NAMES);
    throw invalidArgument('scenario', `${quote(nameOrFile)} is not known${hint}`);
  }
  return parseScenario(readText(nameOrFile), nameOrFile);
}

/** The scenario of a JSON text; `file` is named in errors. */
export function parseScenario(text: string, file: string): Scenario {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const detail = error instanceof Error ? error.message : 'malformed';
    throw invalidArgument('scenario', `${file}: is not JSON: ${detail}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalidArgument('scenario', `${file}: must hold one object`);
  }
  const own: Partial<Record<ParameterName, unknown>> = {};
  let base: Scenario | undefined;
  let description = '';
  for (const [key, given] of Object.entries(value)) {
    const where = `${file}: ${key}`;
    if (key === 'extends') {
      if (typeof given !== 'string' || !SCENARIO_NAMES.includes(given)) {
        const hint = suggestion(String(given), SCENARIO_NAMES);
        throw invalidArgument(where, `must be a built-in scenario${hint}`);
      }
      base = loadScenario(given);
    } else if (key === 'description') {
      if (typeof given !== 'string') throw invalidArgument(where, 'must be a text');
      description = given;
    } else if (isParameter(key)) {
      own[key] = parseParameter(key, given, where);
    } else {
      const known = [...PARAMETER_NAMES, 'extends', 'description'];
      throw invalidArgument(where, `is not known${suggestion(key, known)}`);
    }
  }
  const parameters = { ...(base?.parameters ?? DEFAULT_PARAMETERS), ...own } as StormParameters;
  // A limit of its own replaces the time that is only a default.
  const isByCount = own.operations !== undefined && own.duration === undefined;
  return {
    name: file,
    description: description || (base?.description ?? ''),
    parameters: isByCount ? { ...parameters, duration: undefined } : parameters,
  };
}

function isParameter(key: string): key is ParameterName {
  return (PARAMETER_NAMES as readonly string[]).includes(key);
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    const code = errorCode(cause) ?? 'unreadable';
    throw new PullManagerError('INVALID_ARGUMENT', `scenario ${file}: cannot be read (${code})`, {
      argument: 'scenario',
      path: file,
      cause,
    });
  }
}

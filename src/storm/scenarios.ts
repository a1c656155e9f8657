/** Scenarios by name or file, and what a scenario says about one that it begins with. */
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { errorCode, invalidArgument, PullManagerError, quote } from '../errors.ts';
import { duplicateKey } from '../util/duplicate-key.ts';
import { readReadable } from '../util/open-readable.ts';
import { suggestion } from '../util/suggest.ts';
import { BUILT_IN, DEFAULT_PARAMETERS, SCENARIO_NAMES } from './built-in.ts';
import { shownKey } from './field.ts';
import {
  PARAMETER_NAMES,
  type ParameterName,
  parseParameter,
  type StageParameters,
  type StormParameters,
} from './parameters.ts';
import { checkReplay } from './replay/check-replay.ts';
import type { Ramp } from './result-schema.ts';
import { checkStages } from './stages.ts';

/** A scenario: what it shows, and its parameters. */
export interface Scenario {
  readonly name: string;
  readonly description: string;
  readonly parameters: StormParameters;
}

/** Keys of a scenario that are no parameters. */
export const SCENARIO_KEYS = ['$schema', 'extends', 'description'] as const;

const MODULE = /\.m?js$/;

/**
 * The scenario of a name, of a JSON file, or of an ES module whose default export is the same object
 * or a function of `{ seed }` that answers one, now or later. The object holds parameters, and
 * `extends`, the name of a built-in scenario to begin with.
 *
 * @throws `INVALID_ARGUMENT` naming the key or value, with the nearest right one.
 */
export async function loadScenario(
  nameOrFile: string,
  seed: number,
  signal?: AbortSignal,
): Promise<Scenario> {
  if (Object.hasOwn(BUILT_IN, nameOrFile)) return builtInScenario(nameOrFile);
  if (!/[./\\]/.test(nameOrFile)) {
    const hint = suggestion(nameOrFile, SCENARIO_NAMES);
    throw invalidArgument('scenario', `${quote(nameOrFile)} is not known${hint}`);
  }
  // Also where it is a module: errors of an import name what was imported there, which may be another file.
  const text = await readText(nameOrFile, signal);
  if (!MODULE.test(nameOrFile)) return parseScenario(text, nameOrFile);
  return scenarioOf(await importScenario(nameOrFile, seed), nameOrFile);
}

/** The built-in scenario of a name. */
export function builtInScenario(name: string): Scenario {
  const { description, parameters } = BUILT_IN[name]!;
  return { name, description, parameters: { ...DEFAULT_PARAMETERS, ...parameters } };
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
  // Of two lists of thresholds one would be forgotten, and nobody told.
  const twice = duplicateKey(text);
  if (twice !== undefined) throw invalidArgument(`${file}: ${shownKey(twice)}`, 'is given twice');
  return scenarioOf(value, file);
}

/** The scenario that an object describes. */
function scenarioOf(value: unknown, file: string): Scenario {
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
        const hint = typeof given === 'string' ? suggestion(given, SCENARIO_NAMES) : '';
        throw invalidArgument(where, `must be a built-in scenario${hint}`);
      }
      base = builtInScenario(given);
    } else if (key === 'description') {
      if (typeof given !== 'string') throw invalidArgument(where, 'must be a text');
      description = given;
    } else if (isParameter(key)) {
      own[key] = parseParameter(key, given, where);
    } else if (key !== '$schema') {
      const known = [...PARAMETER_NAMES, ...SCENARIO_KEYS];
      throw invalidArgument(`${file}: ${shownKey(key)}`, `is not known${suggestion(key, known)}`);
    }
  }
  if (own.mix !== undefined && own.decisionShare !== undefined) {
    throw invalidArgument(`${file}: mix`, 'stands instead of decisionShare: give one of them');
  }
  const parameters = withOwn(base?.parameters ?? DEFAULT_PARAMETERS, own);
  checkStages(parameters, file);
  checkReplay(parameters, file);
  return { name: file, description: description || (base?.description ?? ''), parameters };
}

/**
 * Parameters with some of one's own. What is said replaces what would contradict it: callers without
 * a rate make the load closed, a number of operations replaces the default time, a rate moves the
 * rates of all stages in proportion, a trace replaces rate and time.
 */
export function withOwn(
  base: StormParameters,
  given: Partial<Record<ParameterName, unknown>>,
): StormParameters {
  const own = given as Partial<StormParameters>;
  const merged: Writable<StormParameters> = { ...base, ...own };
  if (own.stages === undefined) merged.stages = stagesUnder(base, own);
  if (own.concurrency !== undefined && own.rate === undefined) merged.rate = undefined;
  const isClosed = own.stages?.some((stage) => stage.concurrency !== undefined) ?? false;
  if (isClosed && own.rate === undefined) merged.rate = undefined;
  if (own.rate !== undefined && own.concurrency === undefined && base.rate === undefined) {
    merged.concurrency = undefined;
  }
  if (own.duration === undefined) {
    if (own.operations !== undefined && merged.stages.length === 0) merged.duration = undefined;
    if (own.stages !== undefined && own.stages.length > 0) merged.duration = undefined;
  }
  const { duration, operations, stages } = merged;
  if (duration === undefined && operations === undefined && stages.length === 0) {
    merged.duration = DEFAULT_PARAMETERS.duration;
  }
  if (own.decisionShare !== undefined) merged.mix = undefined;
  // A trace says itself when what is asked, and for how long.
  if (own.replay !== undefined) Object.assign(merged, { rate: own.rate, duration: own.duration });
  return merged;
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** The stages of `base` under a load of one's own. */
function stagesUnder(
  base: StormParameters,
  { rate, concurrency }: Partial<StormParameters>,
): readonly StageParameters[] {
  if (rate === undefined && concurrency === undefined) return base.stages;
  const factor = rate === undefined ? undefined : rate / (base.rate ?? rate);
  return base.stages.map((stage) => {
    const { rate: stageRate, concurrency: _, ...rest } = stage;
    if (factor === undefined || stageRate === undefined) return rest;
    return { ...rest, rate: scaled(stageRate, factor) };
  });
}

function scaled({ from, to }: Ramp, factor: number): Ramp {
  return { from: from * factor, to: to * factor };
}

function isParameter(key: string): key is ParameterName {
  return (PARAMETER_NAMES as readonly string[]).includes(key);
}

async function readText(file: string, signal: AbortSignal | undefined): Promise<string> {
  try {
    return (await readReadable(file, { signal }))!;
  } catch (cause) {
    if (signal?.aborted) throw cause;
    throw unreadable(file, errorCode(cause) ?? 'unreadable', cause);
  }
}

async function importScenario(file: string, seed: number): Promise<unknown> {
  let exported: unknown;
  try {
    const module: { default?: unknown } = await import(pathToFileURL(resolve(file)).href);
    exported = module.default;
    return typeof exported === 'function' ? await exported({ seed }) : exported;
  } catch (cause) {
    const detail = cause instanceof Error ? quote(cause.message) : typeof cause;
    throw unreadable(file, detail, cause);
  }
}

function unreadable(file: string, detail: string, cause: unknown): PullManagerError {
  return new PullManagerError('INVALID_ARGUMENT', `scenario ${file}: cannot be read (${detail})`, {
    argument: 'scenario',
    path: file,
    cause,
  });
}

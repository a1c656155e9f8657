/** Results of storms from files: one, or several as JSON Lines, all of one storm on one machine. */
import { errorCode, invalidArgument, PullManagerError, quote } from '../../errors.ts';
import { readReadable } from '../../util/open-readable.ts';
import { type Environment, RESULT_SCHEMA, type StormResult } from '../result-schema.ts';
import { STAGE_NAME } from '../stages.ts';

const BYTES_MAX = 256 * 1024 * 1024;

/**
 * Reads the results in a file, in its order; at least one.
 *
 * @throws `INVALID_ARGUMENT` naming file, line and problem: unreadable, not JSON, another schema,
 * failed or interrupted, or not all of one scenario and one machine.
 */
export async function readResults(path: string, signal?: AbortSignal): Promise<StormResult[]> {
  return parseResults(await readText(path, signal), path);
}

/** The results in a text; `path` names it in errors. As `readResults`. */
export function parseResults(text: string, path: string): StormResult[] {
  const values = valuesOf(text, path);
  if (values.length === 0)
    throw invalidArgument(path, 'is empty: it must hold a result of a storm');
  const results = values.map(({ value, where }) => checkResult(value, where));
  const [first] = results;
  for (const [i, result] of results.entries()) {
    const { where } = values[i]!;
    if (result.scenarioHash !== first!.scenarioHash) {
      throw invalidArgument(where, `is of another scenario than the first: ${result.scenario}`);
    }
    const difference = machineDifference(first!.machine, result.machine);
    if (difference !== undefined) {
      throw invalidArgument(where, `is of another machine than the first: ${difference}`);
    }
    const twin = results.slice(0, i).findIndex((earlier) => isOneMeasurement(earlier, result));
    if (twin !== -1) {
      throw invalidArgument(where, `is the same measurement as ${values[twin]!.where}`);
    }
  }
  return results;
}

/** Whether two results are one: measured twice, even the same storm has not all the same figures. */
export function isOneMeasurement(a: StormResult, b: StormResult): boolean {
  return a.startedAt === b.startedAt && JSON.stringify(a.runs) === JSON.stringify(b.runs);
}

/** In what two machines differ that changes what a storm measures; undefined: in nothing. */
export function machineDifference(a: Environment, b: Environment): string | undefined {
  const view = ({ cpu, cores, platform, node }: Environment): Record<string, string> => ({
    cpu,
    cores: String(cores),
    // Without the release of the kernel, which changes with every update.
    platform: platform.replace(/ .* /, ' '),
    'Node major': node.replace(/^v?(\d+)\..*$/, '$1'),
  });
  const [ofA, ofB] = [view(a), view(b)];
  const name = Object.keys(ofA).find((field) => ofA[field] !== ofB[field]);
  return name === undefined ? undefined : `${name} ${quote(ofA[name]!)} and ${quote(ofB[name]!)}`;
}

const SETTINGS = [
  'scenario',
  'load',
  'store',
  'policy',
  'compatibility',
  'workers',
  'stripes',
  'images',
  'tenants',
] as const;

/** In what two storms differ, as far as their results show it. */
export function stormDifference(a: StormResult, b: StormResult): string {
  const text = (value: StormResult[(typeof SETTINGS)[number]]): string =>
    quote(typeof value === 'object' ? JSON.stringify(value) : String(value));
  const shown = SETTINGS.map((name) => [name, text(a[name]), text(b[name])] as const)
    .filter(([, ofA, ofB]) => ofA !== ofB)
    .map(([name, ofA, ofB]) => `${name} ${ofA} and ${ofB}`);
  return shown.join(', ') || 'in parameters that a result does not show';
}

async function readText(path: string, signal: AbortSignal | undefined): Promise<string> {
  let text: string | undefined;
  try {
    text = await readReadable(path, { bytesMax: BYTES_MAX, signal });
  } catch (cause) {
    if (signal?.aborted) throw cause;
    const code = errorCode(cause) ?? 'unreadable';
    throw new PullManagerError('INVALID_ARGUMENT', `${quote(path)} cannot be read: ${code}`, {
      argument: path,
      path,
      cause,
    });
  }
  if (text === undefined) throw invalidArgument(path, `is larger than ${BYTES_MAX} bytes`);
  return text;
}

/** What npm writes before the output of a script. */
const NPM_HEADER = /^> \S+@\S+ \S+$/m;
const NPM_HINT = ': npm has written lines of its own there; use "npm run --silent"';

interface Located {
  readonly value: unknown;
  /** Named in errors. */
  readonly where: string;
}

function valuesOf(text: string, path: string): Located[] {
  const whole = parsed(text);
  if (whole !== undefined) return [{ value: whole.value, where: path }];
  return text.split('\n').flatMap((line, index) => {
    if (line.trim() === '') return [];
    const where = `${path}: line ${index + 1}`;
    const one = parsed(line);
    if (one === undefined)
      throw invalidArgument(where, `is not JSON${NPM_HEADER.test(text) ? NPM_HINT : ''}`);
    return [{ value: one.value, where }];
  });
}

function parsed(text: string): { value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) };
  } catch {
    return undefined;
  }
}

function checkResult(value: unknown, where: string): StormResult {
  if (!isObject(value) || typeof value.schema !== 'string') {
    throw invalidArgument(where, "is no result of a storm: write one with 'storm --json'");
  }
  if (value.schema !== RESULT_SCHEMA) {
    const problem = `has the schema ${quote(value.schema)}, and ${RESULT_SCHEMA} is needed`;
    throw invalidArgument(where, `${problem}: run both sides with one version of the storm`);
  }
  const problem = shapeProblem(value);
  if (problem !== undefined) throw invalidArgument(where, `is damaged: ${problem}`);
  const result = value as unknown as StormResult;
  if (result.interrupted) throw invalidArgument(where, 'is of a storm that was interrupted');
  const { wrongDecisions, wrongRecords, errors, failure } = result;
  if (failure !== undefined)
    throw invalidArgument(where, 'is of a storm that did not come to its end');
  if (wrongDecisions > 0 || wrongRecords > 0 || errors > 0) {
    const counts = `${wrongDecisions} wrong decisions, ${wrongRecords} wrong records, ${errors} errors`;
    throw invalidArgument(where, `is of a storm that failed: ${counts}`);
  }
  return result;
}

/** What is wrong with the fields that a comparison reads. */
function shapeProblem(value: Record<string, unknown>): string | undefined {
  for (const name of ['scenario', 'scenarioHash', 'startedAt']) {
    if (typeof value[name] !== 'string') return `${name} is no text`;
  }
  for (const name of ['seed', 'wrongDecisions', 'wrongRecords', 'errors']) {
    if (typeof value[name] !== 'number') return `${name} is no number`;
  }
  if (Number.isNaN(Date.parse(value.startedAt as string))) return 'startedAt is no time';
  if (typeof value.interrupted !== 'boolean') return 'interrupted is not true or false';
  const { machine, load, stages, runs } = value;
  if (!isObject(machine) || typeof machine.cores !== 'number') return 'machine is incomplete';
  for (const name of ['cpu', 'platform', 'node', 'pullwarden']) {
    if (typeof machine[name] !== 'string') return `machine.${name} is no text`;
  }
  if (!isObject(load) || (load.model !== 'open' && load.model !== 'closed')) {
    return 'load.model is neither open nor closed';
  }
  const isStage = (stage: unknown): boolean => isObject(stage) && typeof stage.name === 'string';
  if (!Array.isArray(stages) || !stages.every(isStage)) return 'stages is no list of stages';
  // A storm that was not staged has one stage, which is called as the scenario.
  const isNamed = ({ name }: { name: string }): boolean =>
    STAGE_NAME.test(name) || (stages.length === 1 && name === value.scenario);
  if (!stages.every(isNamed)) return 'a stage has no name that a stage can have';
  if (!Array.isArray(runs) || runs.length === 0) return 'runs is no list of runs';
  const isRun = (run: unknown): boolean =>
    isObject(run) && Object.values(run).every((metric) => isFigure(metric));
  return runs.every(isRun) ? undefined : 'runs has something else in it than numbers by name';
}

/** What a storm can have measured. */
function isFigure(value: unknown): boolean {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

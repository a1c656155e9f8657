/** `pullwarden storm`: a pull storm against the real engine, every decision checked. */
import {
  DEFAULT_PARAMETERS,
  DEFAULT_SCENARIO,
  describeScenario,
  SCENARIO_NAMES,
} from '../../storm/built-in.ts';
import {
  PARAMETER_NAMES,
  PARAMETERS,
  type ParameterName,
  parseParameter,
  type StormParameters,
} from '../../storm/parameters.ts';
import type { Progress } from '../../storm/progress.ts';
import { checkReplay } from '../../storm/replay/check-replay.ts';
import { LiveView, liveMode } from '../../storm/report/live-view.ts';
import { formatSummary } from '../../storm/report/summary.ts';
import type { StormResult } from '../../storm/result-schema.ts';
import { loadScenario, type Scenario, withOwn } from '../../storm/scenarios.ts';
import { checkStages } from '../../storm/stages.ts';
import { runScenario } from '../../storm/storm.ts';
import { formatCount, formatMs } from '../../terminal/format.ts';
import { paintFor } from '../../terminal/style.ts';
import { untilAborted } from '../../util/until-aborted.ts';
import { type Flag, type ParsedArgs, UsageError } from '../args.ts';
import { COLOR_HELP, type Command, JSON_HELP, PROGRESS_HELP, paintOf } from '../command.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import type { HelpRow } from '../help.ts';
import { type NamedFile, REPORT_FLAGS, REPORT_HELP, ReportFiles } from '../report-files.ts';

const FLAGS: Readonly<Record<string, Flag>> = {
  ...Object.fromEntries(
    PARAMETER_NAMES.flatMap((name): [string, Flag][] => {
      const { flag, kind } = PARAMETERS[name];
      if (flag === undefined) return [];
      if (kind === 'boolean') return [[name, { type: 'boolean' }]];
      return [[flag, { type: 'string', multiple: kind === 'texts' }]];
    }),
  ),
  ...REPORT_FLAGS,
  json: { type: 'boolean' },
  progress: { type: 'boolean' },
};

/** What a trace is played with; it replaces what a scenario says beyond that. */
const REPLAY: Scenario = { name: 'replay', description: '', parameters: DEFAULT_PARAMETERS };

export const stormCommand: Command = {
  summary: 'run a pull storm against the engine and check every decision',
  flags: FLAGS,
  help: {
    usage: 'storm [scenario] [options]',
    about: [
      'Runs a pull storm against the real engine on its real store and compares every decision with a ' +
        'sequential model.',
    ],
    section: {
      title: `Scenarios (default: ${DEFAULT_SCENARIO}), or a JSON file or ES module with parameters`,
      rows: SCENARIO_NAMES.map((name) => [name, describeScenario(name)]),
    },
    options: [
      ...PARAMETER_NAMES.flatMap(parameterHelp),
      JSON_HELP,
      ...REPORT_HELP,
      PROGRESS_HELP,
      COLOR_HELP,
    ],
    exitCodes: { [EXIT.CROSSED]: 'threshold crossed or wrong decision' },
    examples: [
      "pullwarden storm rollout --rate 5k/s --threshold 'decide.p99<2ms'",
      "pullwarden storm --concurrency 64 --threshold 'operationsPerSecond>20k' --html storm.html",
      'pullwarden storm --concurrency 64 --seed 1 --json >> main.jsonl # see: pullwarden compare --help',
    ],
  },
  run: storm,
};

async function storm(parsed: ParsedArgs, signal: AbortSignal): Promise<ExitCode> {
  if (parsed.positionals.length > 1) {
    throw new UsageError(`one scenario at a time: ${parsed.positionals.join(', ')}`);
  }
  const own = flagsOf(parsed);
  const random = Math.floor(Math.random() * 0x1_0000_0000);
  const proposed = (own.seed as number | undefined) ?? random;
  if (own.replay !== undefined && parsed.positionals.length > 0) {
    throw new UsageError('--replay plays a trace, and no scenario beside it');
  }
  const loading =
    own.replay === undefined
      ? loadScenario(parsed.positionals[0] ?? DEFAULT_SCENARIO, proposed, signal)
      : Promise.resolve(REPLAY);
  // A module may wait for as long as it likes.
  const loaded = await untilAborted(loading, signal, (reason) => reason);
  const scenario = { ...loaded, parameters: withFlags(loaded.parameters, own) };
  checkStages(scenario.parameters, 'the storm');
  checkReplay(scenario.parameters, 'the storm');
  const seed = scenario.parameters.seed ?? proposed;
  const inputs = inputsOf(parsed.positionals[0], own);
  const reports = await ReportFiles.begin(parsed, inputs, signal);
  let result: StormResult;
  try {
    result = await watched(parsed, (onProgress) => {
      const command = commandOf(scenario, parsed, seed);
      return runScenario({ scenario, seed, command, signal, onProgress });
    });
    print(result, parsed);
    await reports.write(result);
  } finally {
    await reports.discard();
  }
  if (result.interrupted) return EXIT.INTERRUPTED;
  if (result.passed) return EXIT.PASSED;
  const isRight = result.wrongDecisions === 0 && result.wrongRecords === 0;
  const isKept = result.thresholds.every(({ passed }) => passed);
  return isRight && isKept ? EXIT.FAILED : EXIT.CROSSED;
}

/** Shows how `run` goes while it runs. */
async function watched(
  { values }: ParsedArgs,
  run: (onProgress: (progress: Progress) => void) => Promise<StormResult>,
): Promise<StormResult> {
  const { stderr, env } = process;
  const wanted = values.progress as boolean | undefined;
  const paint = paintFor(stderr, env, values.color as boolean | undefined);
  const view = new LiveView(stderr, liveMode(stderr, env, wanted), paint);
  try {
    return await run((progress) => view.update(progress));
  } finally {
    view.clear();
  }
}

function print(result: StormResult, parsed: ParsedArgs): void {
  const isJson = parsed.values.json === true;
  process.stdout.write(
    isJson ? `${JSON.stringify(result)}\n` : formatSummary(result, paintOf(parsed)),
  );
}

/** A command line that does the same again. */
function commandOf(scenario: Scenario, { values }: ParsedArgs, seed: number): string {
  const words = ['pullwarden', 'storm'];
  if (values.replay === undefined) words.push(scenario.name);
  words.push('--seed', String(seed));
  for (const name of PARAMETER_NAMES) {
    const { flag, kind } = PARAMETERS[name];
    if (flag === undefined || name === 'seed' || name === 'thresholds') continue;
    const value = values[kind === 'boolean' ? name : flag];
    if (typeof value === 'string') words.push(`--${flag}`, value);
    if (typeof value === 'boolean') words.push(value ? `--${name}` : `--no-${name}`);
  }
  return words.map(shellWord).join(' ');
}

/** A word of a command line that a shell takes as it is. */
function shellWord(word: string): string {
  return /^[\w./:=-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** Files that the storm reads. */
function inputsOf(scenario: string | undefined, own: OwnParameters): NamedFile[] {
  const isFile = scenario !== undefined && !SCENARIO_NAMES.includes(scenario);
  const named = [
    { what: 'the scenario', path: isFile ? scenario : undefined },
    { what: '--replay', path: own.replay },
    { what: '--images', path: own.images },
  ];
  return named.filter((one): one is NamedFile => typeof one.path === 'string');
}

type OwnParameters = Partial<Record<ParameterName, unknown>>;

/** What the command line says. */
function flagsOf({ values }: ParsedArgs): OwnParameters {
  const own: OwnParameters = {};
  for (const name of PARAMETER_NAMES) {
    const { flag, kind } = PARAMETERS[name];
    const value = flag === undefined ? undefined : values[kind === 'boolean' ? name : flag];
    if (value !== undefined) own[name] = parseParameter(name, value, `--${flag}`);
  }
  return own;
}

/** The scenario's parameters with what the command line says; rules are added to its own. */
function withFlags(base: StormParameters, own: OwnParameters): StormParameters {
  const thresholds = [...base.thresholds, ...((own.thresholds as string[] | undefined) ?? [])];
  return withOwn(base, { ...own, thresholds });
}

function parameterHelp(name: ParameterName): HelpRow[] {
  const { flag, placeholder, help } = PARAMETERS[name];
  if (flag === undefined) return [];
  const usage = placeholder === undefined ? `--${flag}` : `--${flag} ${placeholder}`;
  return [[usage, `${help} (default: ${defaultOf(name)})`]];
}

function defaultOf(name: ParameterName): string {
  const { defaultHelp, kind } = PARAMETERS[name];
  const value = DEFAULT_PARAMETERS[name];
  if (defaultHelp !== undefined || value === undefined) return defaultHelp ?? 'none';
  if (kind === 'duration') return formatMs(Number(value)).replace('.0', '');
  return typeof value === 'number' ? formatCount(value) : (value as string);
}

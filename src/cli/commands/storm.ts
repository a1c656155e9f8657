/** `pullwarden storm`: a pull storm against the real engine, every decision checked. */
import type { VerificationPolicy } from '../../policies/enforcer.ts';
import { PullManager } from '../../pull-manager.ts';
import type { StormRuntimeImage } from '../../storm/engine.ts';
import { readImageList } from '../../storm/image-list.ts';
import { measureOverhead } from '../../storm/overhead.ts';
import {
  PARAMETER_NAMES,
  PARAMETERS,
  type ParameterName,
  parseParameter,
  type StormParameters,
} from '../../storm/parameters.ts';
import { ProgressLine } from '../../storm/report/progress-line.ts';
import { formatSummary } from '../../storm/report/summary.ts';
import { type StormResult, stormResult } from '../../storm/result.ts';
import { runStorm } from '../../storm/run.ts';
import {
  DEFAULT_PARAMETERS,
  DEFAULT_SCENARIO,
  describeScenario,
  loadScenario,
  SCENARIO_NAMES,
  type Scenario,
} from '../../storm/scenarios.ts';
import { prepareStore, type StormStore } from '../../storm/store.ts';
import { parseThreshold, type Threshold } from '../../storm/thresholds.ts';
import { formatMs } from '../../terminal/format.ts';
import { type Flag, type ParsedArgs, UsageError } from '../args.ts';
import {
  COLOR_HELP,
  type Command,
  JSON_HELP,
  PROGRESS_HELP,
  paintOf,
  progressTerminal,
} from '../command.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import type { HelpRow } from '../help.ts';

const FLAGS: Readonly<Record<string, Flag>> = {
  ...Object.fromEntries(
    PARAMETER_NAMES.flatMap((name): [string, Flag][] => {
      const { flag, kind } = PARAMETERS[name];
      return flag === undefined ? [] : [[flag, { type: 'string', multiple: kind === 'texts' }]];
    }),
  ),
  json: { type: 'boolean' },
  progress: { type: 'boolean' },
};

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
      title: `Scenarios (default: ${DEFAULT_SCENARIO}), or a JSON file with the same parameters`,
      rows: SCENARIO_NAMES.map((name) => [name, describeScenario(name)]),
    },
    options: [...PARAMETER_NAMES.flatMap(parameterHelp), JSON_HELP, PROGRESS_HELP, COLOR_HELP],
    exitCodes: { [EXIT.CROSSED]: 'threshold crossed or wrong decision' },
    example: "pullwarden storm rollout --duration 5s --threshold 'decide.p99<2ms'",
  },
  run: storm,
};

async function storm(parsed: ParsedArgs, signal: AbortSignal): Promise<ExitCode> {
  if (parsed.positionals.length > 1) {
    throw new UsageError(`one scenario at a time: ${parsed.positionals.join(', ')}`);
  }
  const loaded = loadScenario(parsed.positionals[0] ?? DEFAULT_SCENARIO);
  const scenario = { ...loaded, parameters: withFlags(loaded.parameters, parsed) };
  const thresholds = scenario.parameters.thresholds.map((rule) => parseThreshold(rule));
  const result = await run(scenario, thresholds, parsed, signal);
  print(result, parsed);
  if (result.interrupted) return EXIT.INTERRUPTED;
  if (result.passed) return EXIT.PASSED;
  const isRight = result.wrongDecisions === 0 && result.wrongRecords === 0;
  const isKept = result.thresholds.every(({ passed }) => passed);
  return isRight && isKept ? EXIT.FAILED : EXIT.CROSSED;
}

async function run(
  scenario: Scenario,
  thresholds: readonly Threshold[],
  parsed: ParsedArgs,
  signal: AbortSignal,
): Promise<StormResult> {
  const { parameters } = scenario;
  const seed = parameters.seed ?? Math.floor(Math.random() * 0x1_0000_0000);
  const images = readImageList(parameters.images);
  const line = new ProgressLine(progressTerminal(parsed));
  const store = prepareStore(parameters.store);
  const removeStore = (): void => store.remove();
  // Also after a second Ctrl-C, which does not wait.
  process.once('exit', removeStore);
  try {
    const seeded = { ...parameters, seed };
    const stormRun = await runStorm({
      parameters: seeded,
      images,
      isDurable: store.isDurable,
      timeResolutionMs: store.timeResolutionMs,
      signal,
      onProgress: (progress) => line.update(progress),
      open: (listed, policy) => openEngine(store, parameters, policy, listed),
    });
    line.clear();
    try {
      const { universe, verifier } = stormRun.state;
      const overhead = stormRun.wasInterrupted
        ? undefined
        : await measureOverhead(universe, parameters, verifier);
      const command = commandOf(scenario, parsed, seed);
      return stormResult({ scenario, command, seed, store, run: stormRun, thresholds, overhead });
    } finally {
      stormRun.close();
    }
  } finally {
    line.clear();
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

function print(result: StormResult, parsed: ParsedArgs): void {
  const isJson = parsed.values.json === true;
  process.stdout.write(
    isJson ? `${JSON.stringify(result)}\n` : formatSummary(result, paintOf(parsed)),
  );
}

/** A command line that does the same again. */
function commandOf(scenario: Scenario, { values }: ParsedArgs, seed: number): string {
  const words = ['pullwarden', 'storm', scenario.name, '--seed', String(seed)];
  for (const name of PARAMETER_NAMES) {
    const { flag } = PARAMETERS[name];
    const value = flag === undefined ? undefined : values[flag];
    if (name === 'seed' || name === 'thresholds' || typeof value !== 'string') continue;
    words.push(`--${flag}`, value);
  }
  return words.map((word) => (/^[\w./:=-]+$/.test(word) ? word : JSON.stringify(word))).join(' ');
}

/** The scenario's parameters with what the command line says. */
function withFlags(base: StormParameters, { values }: ParsedArgs): StormParameters {
  const own: Partial<Record<ParameterName, unknown>> = {};
  for (const name of PARAMETER_NAMES) {
    const { flag } = PARAMETERS[name];
    const value = flag === undefined ? undefined : values[flag];
    if (value !== undefined) own[name] = parseParameter(name, value, `--${flag}`);
  }
  if (own.thresholds !== undefined) {
    own.thresholds = [...base.thresholds, ...(own.thresholds as string[])];
  }
  // A limit of its own replaces the time that is only a default.
  if (own.operations !== undefined && own.duration === undefined) own.duration = undefined;
  return { ...base, ...own } as StormParameters;
}

function parameterHelp(name: ParameterName): HelpRow[] {
  const { flag, placeholder, help } = PARAMETERS[name];
  if (flag === undefined) return [];
  return [[`--${flag} ${placeholder}`, `${help} (default: ${defaultOf(name)})`]];
}

function defaultOf(name: ParameterName): string {
  const { defaultHelp, kind } = PARAMETERS[name];
  const value = DEFAULT_PARAMETERS[name];
  if (defaultHelp !== undefined || value === undefined) return defaultHelp ?? 'none';
  return kind === 'duration' ? formatMs(Number(value)).replace('.0', '') : String(value);
}

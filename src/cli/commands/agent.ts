/** `pullwarden agent`: a daemon that makes sure that images may be used, for who asks on its socket. */
import type { LogLevel } from '../../agent/log.ts';
import type { AgentSettings } from '../../agent/settings.ts';
import { invalidArgument, PullManagerError, quote } from '../../errors.ts';
import { parseDuration } from '../../util/duration.ts';
import { type Flag, type ParsedArgs, positionalsOf, requiredFlags } from '../args.ts';
import type { Command } from '../command.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import { POLICY_FLAGS, POLICY_HELP, policyChoiceOf } from './policy-flags.ts';
import { STORE_FLAGS, storeHelp, storeOf } from './store-flags.ts';

const LOG_LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error', 'silent'];
const COLLECT_EVERY_DEFAULT = '5m';
const DRAIN_DEFAULT = '30s';
/** A timer that is set to more ends at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;
const NEVER = 'never';
const UNIX_SCHEME = /^unix:\/\//;
/** How long what is left open may keep the process after everything was closed. */
const EXIT_GRACE_MS = 1_000;

const TEXT: Flag = { type: 'string' };
const FLAGS: Readonly<Record<string, Flag>> = {
  runtime: TEXT,
  socket: TEXT,
  ...STORE_FLAGS,
  ...POLICY_FLAGS,
  workers: TEXT,
  'docker-config': { type: 'string', multiple: true },
  'credential-provider-config': TEXT,
  'credential-provider-bin-dir': TEXT,
  'serialize-pulls': { type: 'boolean' },
  'max-parallel-pulls': TEXT,
  qps: TEXT,
  burst: TEXT,
  'back-off': TEXT,
  'back-off-max': TEXT,
  'collect-every': TEXT,
  'runtime-timeout': TEXT,
  'pull-timeout': TEXT,
  drain: TEXT,
  record: TEXT,
  'log-level': TEXT,
};

export const agentCommand: Command = {
  summary: 'serve on a unix socket: make sure that images are here and may be used',
  flags: FLAGS,
  isService: true,
  help: {
    usage: 'agent --runtime ADDRESS --socket PATH --store STORE [options]',
    about: [
      'Makes sure, for who asks on its socket, that an image is on the node and that a pod may use it: ' +
        'HTTP and JSON on a unix socket that is its owner’s alone. Logs are JSON on the standard error. ' +
        'SIGTERM and Ctrl-C end it after the requests that are being served; the second one at once.',
    ],
    options: [
      [
        '--runtime ADDRESS',
        'CRI socket of the runtime: unix:///PATH or an absolute path; required',
      ],
      ['--socket PATH', 'where to serve; the socket of a dead agent is replaced; required'],
      ...storeHelp('required; keep it as long as the images'),
      ...POLICY_HELP,
      ['--workers COUNT', 'threads that own records (default: by the number of processors)'],
      [
        '--docker-config FILE',
        'credentials of the node: a config.json; repeatable (default: none)',
      ],
      [
        '--credential-provider-config FILE',
        'of kubelet credential providers, JSON (default: none)',
      ],
      ['--credential-provider-bin-dir DIR', 'where their programs are (default: none)'],
      ['--serialize-pulls', 'one pull at a time (default: no)'],
      ['--max-parallel-pulls COUNT', 'pulls at the same time (default: no limit)'],
      ['--qps NUMBER', 'pulls a second; 0: no limit (default: 0)'],
      ['--burst COUNT', 'pulls that may exceed --qps at once (default: 10)'],
      ['--back-off TIME', 'first delay after a failed pull; it doubles (default: 10s)'],
      ['--back-off-max TIME', 'longest delay after a failed pull (default: 5m)'],
      [
        '--collect-every TIME',
        `time between collections of records, or never (default: ${COLLECT_EVERY_DEFAULT})`,
      ],
      ['--runtime-timeout TIME', 'limit of a call to the runtime but a pull (default: 2m)'],
      ['--pull-timeout TIME', 'limit of a pull (default: 60m)'],
      ['--drain TIME', `how long requests may go on after SIGTERM (default: ${DRAIN_DEFAULT})`],
      [
        '--record FILE',
        'record what is asked, for storm --replay; a new file, without credentials (default: none)',
      ],
      ['--log-level LEVEL', `${LOG_LEVELS.join(', ')} (default: info)`],
    ],
    exitCodes: {
      [EXIT.PASSED]: 'ended by a signal',
      [EXIT.INTERRUPTED]: 'ended by a second signal',
    },
    examples: [
      'pullwarden agent --runtime unix:///run/containerd/containerd.sock --socket /run/pullwarden/agent.sock ' +
        '--store journal:/var/lib/pullwarden',
    ],
  },
  run,
};

async function run(parsed: ParsedArgs, signal: AbortSignal): Promise<ExitCode> {
  positionalsOf(parsed, []);
  const settings = settingsOf(parsed);
  // gRPC and the logger are loaded by this command alone.
  const { runAgent } = await import('../../agent/run.ts');
  try {
    await runAgent(settings, signal);
  } catch (error) {
    throw inWordsOfFlags(error);
  }
  setTimeout(() => process.exit(EXIT.PASSED), EXIT_GRACE_MS).unref();
  return EXIT.PASSED;
}

/** Throws `INVALID_ARGUMENT`, `UsageError`. */
function settingsOf(parsed: ParsedArgs): AgentSettings {
  const { values } = parsed;
  const text = (flag: string): string | undefined => values[flag] as string | undefined;
  const number = (flag: string): number | undefined => numberOf(text(flag), `--${flag}`);
  const duration = (flag: string, fallback?: string): number | undefined =>
    durationOf(text(flag) ?? fallback, `--${flag}`);
  // Also the store: its default depends on the working directory, and without its records a node is
  // open to all.
  const [runtime, socket] = requiredFlags(parsed, ['runtime', 'socket', 'store']);
  const store = storeOf(parsed);
  return {
    socket: socket.replace(UNIX_SCHEME, ''),
    runtime: given({
      socket: runtime,
      timeoutMs: duration('runtime-timeout'),
      pullTimeoutMs: duration('pull-timeout'),
    }),
    pullManager: given({
      store: store.options,
      compatibility: store.compatibility,
      ...policyChoiceOf(parsed),
      workerCount: number('workers'),
    }),
    imageManager: given({
      serializePulls: values['serialize-pulls'] === true,
      maxParallelPulls: number('max-parallel-pulls'),
      qps: number('qps'),
      burst: number('burst'),
      backOffMs: duration('back-off'),
      backOffMaxMs: duration('back-off-max'),
      collectEveryMs:
        text('collect-every') === NEVER ? 0 : duration('collect-every', COLLECT_EVERY_DEFAULT),
    }),
    credentials: given({
      nodeConfigFiles: (values['docker-config'] as readonly string[] | undefined) ?? [],
      providerConfigFile: text('credential-provider-config'),
      providerBinDir: text('credential-provider-bin-dir'),
    }),
    ...given({ record: text('record') }),
    logLevel: levelOf(text('log-level')),
    drainMs: drainOf(text('drain')),
  };
}

/** Those fields that have a value: absent ones have defaults. */
type Given<Fields> = { [Name in keyof Fields]: Exclude<Fields[Name], undefined> };

function given<Fields extends object>(fields: Fields): Given<Fields> {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as Given<Fields>;
}

function numberOf(text: string | undefined, argument: string): number | undefined {
  if (text === undefined) return undefined;
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (Number.isFinite(value)) return value;
  throw invalidArgument(argument, `must be a number, not ${quote(text)}`);
}

function durationOf(text: string | undefined, argument: string): number | undefined {
  return text === undefined ? undefined : parseDuration(text, argument);
}

function drainOf(text = DRAIN_DEFAULT): number {
  const drainMs = parseDuration(text, '--drain');
  if (drainMs <= TIMER_MS_MAX) return drainMs;
  throw invalidArgument('--drain', `must be at most ${TIMER_MS_MAX} ms, not ${quote(text)}`);
}

function levelOf(text = 'info'): LogLevel {
  const level = LOG_LEVELS.find((known) => known === text);
  if (level !== undefined) return level;
  throw invalidArgument(
    '--log-level',
    `must be one of ${LOG_LEVELS.join(', ')}, not ${quote(text)}`,
  );
}

/** What options are called here. */
const FLAG_OF_ARGUMENT: Readonly<Record<string, string>> = {
  socket: '--socket',
  workerCount: '--workers',
  reverifyAfter: '--reverify-after',
  'options.socket': '--runtime',
  'options.timeoutMs': '--runtime-timeout',
  'options.pullTimeoutMs': '--pull-timeout',
  'options.maxParallelPulls': '--max-parallel-pulls',
  'options.qps': '--qps',
  'options.burst': '--burst',
  'options.backOffMs': '--back-off',
  'options.backOffMaxMs': '--back-off-max',
  'options.collectEveryMs': '--collect-every',
  nodeConfigFiles: '--docker-config',
  providerConfigFile: '--credential-provider-config',
  providerBinDir: '--credential-provider-bin-dir',
};

/** An error that names an option of the library, naming the flag instead. */
function inWordsOfFlags(error: unknown): unknown {
  if (!(error instanceof PullManagerError)) return error;
  const { argument, message } = error;
  const flag = argument === undefined ? undefined : FLAG_OF_ARGUMENT[argument];
  if (flag === undefined || !message.startsWith(`${argument} `)) return error;
  return invalidArgument(flag, message.slice(argument!.length + 1));
}

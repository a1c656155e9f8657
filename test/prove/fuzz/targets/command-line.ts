/**
 * Command lines and what they name. The first character says what the rest is: `a` arguments, one a
 * line; `t` a threshold; `s` a scenario; `d` a time; `i` a list of images.
 */
import { parseCommandArgs, UsageError } from '../../../../src/cli/args.ts';
import { agentCommand } from '../../../../src/cli/commands/agent.ts';
import { checkCommand } from '../../../../src/cli/commands/check.ts';
import { listTool } from '../../../../src/cli/commands/records/list.ts';
import { stormCommand } from '../../../../src/cli/commands/storm.ts';
import { PullManagerError } from '../../../../src/errors.ts';
import { parseImageList } from '../../../../src/storm/image-list.ts';
import { parseScenario } from '../../../../src/storm/scenarios.ts';
import { parseThreshold } from '../../../../src/storm/thresholds.ts';
import { parseDuration } from '../../../../src/util/duration.ts';
import { happens, oddText, pick, several } from '../choice.ts';
import { attempt, type FuzzTarget, mustHold, type Verdict } from '../target.ts';
import { anyJson, mapOf } from './json-grammar.ts';
import { nested, numbered, repeated } from './shapes.ts';

const COMMANDS = [stormCommand, checkCommand, listTool, agentCommand];
const FLAGS = COMMANDS.flatMap(({ flags }) => Object.keys(flags));
const PARAMETERS = [
  'extends',
  'description',
  'operations',
  'duration',
  'seed',
  'policy',
  'thresholds',
  'skew',
  'compatibility',
  'publicShare',
];
const METRICS = [
  'decide.p99',
  '*.p99',
  '{decide,recordPullIntent}.p99',
  'operationsPerSecond',
  '*',
  '+(a)',
];
const MESSAGE_LENGTH_MAX = 2_000;

export const commandLine: FuzzTarget = {
  name: 'command-line',
  unit: 'command lines',
  modules: [
    'src/cli/args',
    'src/storm/thresholds',
    'src/storm/scenarios',
    'src/storm/parameters',
    'src/storm/image-list',
    'src/util/duration',
    'src/util/suggest',
  ],
  words: [
    '--',
    '--no-',
    '=',
    '\n',
    '-h',
    '--__proto__',
    '*',
    '+(*)',
    '[a-z]+',
    '{*,*}',
    '(a+)+',
    '<',
    '>=',
    'ms',
    '_',
    '1e9',
    ...METRICS,
  ],
  make(random) {
    switch (random.below(5)) {
      case 0: {
        const args = several(random, 6, () =>
          happens(random, 0.6)
            ? `--${pick(random, ['', 'no-'])}${pick(random, FLAGS)}`
            : oddText(random),
        );
        return Buffer.from(`a${args.join('\n')}`);
      }
      case 1:
        return Buffer.from(
          `t${pick(random, METRICS)}${pick(random, ['<', '>=', '==', '!'])}${random.below(99)}${pick(random, ['ms', '', 's', '%', 'x'])}`,
        );
      case 2:
        return Buffer.from(
          `s${mapOf(anyJson, (own) => (happens(own, 0.8) ? pick(own, PARAMETERS) : oddText(own)))(random)}`,
        );
      case 3:
        return Buffer.from(
          `d${random.below(1_000)}${pick(random, ['ms', 's', 'm', 'h', '', '.5s'])}`,
        );
      default:
        return Buffer.from(
          `i${several(random, 5, () => pick(random, ['alpine', 'a/b\t1 2', '# x', '', oddText(random)])).join('\n')}`,
        );
    }
  },
  feed,
  worstCases: [
    repeated('a long flag', 'a', 'a--'),
    repeated('many short flags', 'h', 'a-'),
    numbered('many flags', () => '--help', 'a', '', '\n'),
    numbered('many values', (i) => `--threshold=${i}`, 'a', '', '\n'),
    numbered('many arguments', (i) => String(i), 'a', '', '\n'),
    repeated('spaces of a threshold', ' ', 't', '<1'),
    repeated('a long metric', 'a', 't', '<1'),
    repeated('wildcards of a metric', '*a', 't', '<1'),
    repeated('only wildcards', '*', 't', '<1'),
    repeated('groups of a metric', '+(*)', 't', '<1'),
    nested('brackets of a metric', '(', ')', 't', '<1'),
    nested('braces of a metric', '{', '}', 't', '<1'),
    repeated('digits of a threshold', '1_', 't<', '1'),
    repeated('digits of a time', '1', 'd', 'ms'),
    repeated('an unknown parameter', 'a', 's{"', '":1}'),
    repeated('an unknown scenario', 'a', 's{"extends":"', '"}'),
    repeated('an unknown level', 'a', 's{"compatibility":"', '"}'),
    repeated('digits of a number', '1_', 's{"seed":"', '1"}'),
    repeated('thresholds', '"",', 's{"thresholds":[', '""]}'),
    nested('brackets', '[', ']', 's'),
    repeated('lines', '\n', 'i'),
    numbered('images', (i) => `image-${i}`, 'i', '', '\n'),
    repeated('tags', 'a ', 'ialpine\t'),
  ],
};

function feed(input: Buffer): Verdict {
  const text = input.toString();
  const rest = text.slice(1);
  switch (text[0]) {
    case 'a':
      return argumentsOf(rest.split('\n'));
    case 't':
      return verdictOf(() => {
        const { metrics, limit } = parseThreshold(rest);
        mustHold(
          metrics.length > 0 && Number.isFinite(limit),
          'a threshold has no metric or no limit',
        );
      });
    case 's':
      return verdictOf(() => {
        const { parameters } = parseScenario(rest, 'file');
        mustHold(
          Object.getPrototypeOf(parameters) === Object.prototype,
          'parameters have another prototype',
        );
      });
    case 'd':
      return verdictOf(() =>
        mustHold(parseDuration(rest, '--duration') >= 0, 'a time is no number'),
      );
    default:
      return verdictOf(() => mustHold(parseImageList(rest, 'file').length > 0, 'a list is empty'));
  }
}

function argumentsOf(args: readonly string[]): Verdict {
  let verdict: Verdict = 'refused';
  for (const { flags } of COMMANDS) {
    const one = verdictOf(() => {
      const { values } = parseCommandArgs(args, flags);
      for (const name of Object.keys(values)) {
        mustHold(name in flags || ['help', 'debug', 'color'].includes(name), `${name} is no flag`);
      }
    });
    if (one === 'accepted') verdict = one;
  }
  return verdict;
}

function verdictOf(read: () => void): Verdict {
  const outcome = attempt(read, isRefusal);
  if ('value' in outcome) return 'accepted';
  const { message } = outcome.refusal as Error;
  mustHold(message.length < MESSAGE_LENGTH_MAX, `the message has ${message.length} characters`);
  return 'refused';
}

function isRefusal(error: unknown): boolean {
  if (error instanceof UsageError) return true;
  return error instanceof PullManagerError && error.code === 'ERR_PULLMANAGER_INVALID_ARGUMENT';
}

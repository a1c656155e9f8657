/** What may be said of a storm that is a replay. */
import { invalidArgument } from '../../errors.ts';
import { DEFAULT_PARAMETERS } from '../built-in.ts';
import { PARAMETER_NAMES, type ParameterName, type StormParameters } from '../parameters.ts';

/** The rest says which requests are to be made up, and when. */
const OF_A_REPLAY: readonly ParameterName[] = [
  'compatibility',
  'concurrency',
  'duration',
  'interval',
  'operations',
  'policy',
  'repeat',
  'replay',
  'seed',
  'speed',
  'store',
  'stripes',
  'thresholds',
  'verify',
  'workers',
];

/**
 * Checks the parameters of a replay; others pass.
 *
 * @param where What is checked, for errors.
 * @throws `INVALID_ARGUMENT` naming the first parameter that does not fit.
 */
export function checkReplay(parameters: StormParameters, where: string): void {
  if (parameters.replay === undefined) {
    if (parameters.speed === DEFAULT_PARAMETERS.speed) return;
    throw invalidArgument(`${where}: speed`, 'is that of a replay: it needs a trace');
  }
  const expected: StormParameters = { ...DEFAULT_PARAMETERS, rate: undefined };
  for (const name of PARAMETER_NAMES) {
    if (OF_A_REPLAY.includes(name)) continue;
    if (JSON.stringify(parameters[name]) === JSON.stringify(expected[name])) continue;
    throw invalidArgument(
      `${where}: ${name}`,
      'does not fit a replay: the trace says what is asked',
    );
  }
}

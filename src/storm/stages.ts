/** The stages of a storm, worked out from its parameters: each with its length, load and requests. */
import { invalidArgument } from '../errors.ts';
import type { Mix, StageParameters, StormParameters } from './parameters.ts';
import type { Load } from './result-schema.ts';

/** What requests a stage makes. */
export type RequestOptions = Pick<
  StormParameters,
  'decisionShare' | 'failureShare' | 'skew' | 'rolloutShare' | 'rotateEvery' | 'rolloutEvery'
> & { readonly mix: Mix | undefined };

/** One stage; a storm has at least one. */
export interface Stage {
  readonly name: string;
  /** Infinite where the storm ends by a number of operations alone. */
  readonly durationMs: number;
  readonly load: Load;
  readonly requests: RequestOptions;
}

/**
 * Callers of an open load at most, where nothing else is said: enough to hide a slow flush. The cost of
 * checking a decision grows with the writes to its image that it overlaps.
 */
const OPEN_CALLERS = 256;
const CLOSED_CALLERS = 64;

/** Whether requests arrive at a rate; else callers wait for their answers. */
export function isOpen({ rate }: Pick<StormParameters, 'rate'>): boolean {
  return rate !== undefined;
}

/** Callers that a storm has at most. */
export function callersMax(parameters: StormParameters): number {
  const { concurrency } = parameters;
  if (isOpen(parameters)) return concurrency ?? OPEN_CALLERS;
  const own = parameters.stages.flatMap((stage) =>
    stage.concurrency === undefined ? [] : [stage.concurrency.from, stage.concurrency.to],
  );
  const isEvery = own.length === 2 * parameters.stages.length && own.length > 0;
  return Math.max(...own, ...(isEvery ? [] : [concurrency ?? CLOSED_CALLERS]));
}

/** The stages in order. A storm without any has one, named after the scenario. */
export function stagesOf(parameters: StormParameters, scenario: string): Stage[] {
  const { stages, duration = Number.POSITIVE_INFINITY } = parameters;
  if (stages.length === 0) return [stageOf(parameters, { name: scenario, duration })];
  const total = stages.reduce((sum, stage) => sum + stage.duration, 0);
  const stretch = parameters.duration === undefined ? 1 : duration / total;
  return stages.map((stage, index) =>
    stageOf(parameters, {
      ...stage,
      name: stage.name ?? `stage-${index + 1}`,
      duration: stage.duration * stretch,
    }),
  );
}

function stageOf(
  parameters: StormParameters,
  stage: StageParameters & { readonly name: string },
): Stage {
  const { rotateEvery, rolloutEvery } = parameters;
  const {
    decisionShare = parameters.decisionShare,
    failureShare = parameters.failureShare,
    skew = parameters.skew,
    rolloutShare = parameters.rolloutShare,
    // What a stage says of decisions stands before the mix of the whole.
    mix = stage.decisionShare === undefined ? parameters.mix : undefined,
  } = stage;
  const { rate, concurrency } = parameters;
  const callers = concurrency ?? CLOSED_CALLERS;
  const load: Load =
    rate === undefined
      ? { model: 'closed', concurrency: stage.concurrency ?? { from: callers, to: callers } }
      : {
          model: 'open',
          ratePerSecond: stage.rate ?? { from: rate, to: rate },
          callersMax: callersMax(parameters),
        };
  return {
    name: stage.name,
    durationMs: stage.duration,
    load,
    requests: { decisionShare, failureShare, skew, rolloutShare, mix, rotateEvery, rolloutEvery },
  };
}

/** What a stage can be called. */
export const STAGE_NAME: RegExp = /^[\w-]{1,40}$/;

/**
 * Checks what no value shows alone.
 *
 * @param where What is checked, for errors.
 * @throws `INVALID_ARGUMENT` for stages and events that contradict each other or the rest.
 */
export function checkStages(parameters: StormParameters, where: string): void {
  const { stages, events, workerKills, workers } = parameters;
  const names = new Set<string>();
  for (const [index, { name = `stage-${index + 1}`, ...stage }] of stages.entries()) {
    const at = `${where}: stages[${index}]`;
    if (!STAGE_NAME.test(name)) {
      throw invalidArgument(`${at}.name`, 'must be 1 to 40 letters, digits, - or _');
    }
    if (names.has(name)) throw invalidArgument(`${at}.name`, 'is taken by an earlier stage');
    names.add(name);
    if (stage.mix !== undefined && stage.decisionShare !== undefined) {
      throw invalidArgument(`${at}.mix`, 'stands instead of decisionShare: give one of them');
    }
    checkMix(stage.mix, `${at}.mix`);
    const wrong = isOpen(parameters) ? 'concurrency' : 'rate';
    if (stage[wrong] !== undefined) {
      throw invalidArgument(
        `${at}.${wrong}`,
        `does not fit: all stages of a storm are open (rate) or all are closed (concurrency)`,
      );
    }
  }
  checkMix(parameters.mix, `${where}: mix`);
  const endMs = stagesOf(parameters, '').reduce((sum, { durationMs }) => sum + durationMs, 0);
  for (const [index, { at }] of events.entries()) {
    if ('share' in at || at.ms < endMs) continue;
    const problem = `lies behind the end, which comes after ${endMs} ms: it would never happen`;
    throw invalidArgument(`${where}: events[${index}].at`, problem);
  }
  const kills = workerKills > 0 || events.some((event) => event.do === 'killWorker');
  if (kills && workers === 0) {
    throw invalidArgument(`${where}: workers`, 'must be at least 1 where workers are killed');
  }
}

function checkMix(mix: Mix | undefined, where: string): void {
  if (mix === undefined) return;
  const total = Object.values(mix).reduce((sum: number, weight: number) => sum + weight, 0);
  if (total === 0) throw invalidArgument(where, 'has no weight above 0');
}

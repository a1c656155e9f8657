/** What `new ImageManager` takes, checked and completed. */
import { invalidArgument } from '../errors.ts';
import type { ImagePullManager } from '../image-pull-manager.ts';
import { type Logger, resolveLogger } from '../logger.ts';
import type { ImageRuntime } from '../runtime/image-runtime.ts';

/** Options of `new ImageManager`. Of those in milliseconds, the longest is 2,147,483,647. */
export interface ImageManagerOptions {
  /** Where pulls are recorded and who may use an image is decided; not closed by the image manager. */
  readonly pullManager: ImagePullManager;
  /** Where images are; not closed by the image manager. */
  readonly runtime: ImageRuntime;
  /** One pull at a time. @default false */
  readonly serializePulls?: boolean;
  /** Pulls at the same time; less than 1: no limit. @default no limit */
  readonly maxParallelPulls?: number;
  /** Pulls a second that the runtime is asked for; 0: no limit. @default 0 */
  readonly qps?: number;
  /** Pulls that the runtime is asked for at once, though not more a second than `qps`. @default 10 */
  readonly burst?: number;
  /** Delay after the first failed pull; it doubles with each further one. @default 10_000 */
  readonly backOffMs?: number;
  /** The longest delay after a failed pull. @default 300_000 */
  readonly backOffMaxMs?: number;
  /** Time between the collections that are made unasked; 0: none are. @default 0 */
  readonly collectEveryMs?: number;
  /**
   * How long the runtime must go on saying what it has of an image, after a pull of it was left
   * unanswered, before that pull counts as ended. Longer than a runtime needs to end a pull whose
   * caller has gone. @default 5_000
   */
  readonly unansweredGraceMs?: number;
  /** @default silent */
  readonly logger?: Logger;
}

/** Options with every default filled in. */
export type ResolvedImageManagerOptions = Required<Omit<ImageManagerOptions, 'serializePulls'>>;

const DEFAULTS = {
  maxParallelPulls: 0,
  qps: 0,
  burst: 10,
  backOffMs: 10_000,
  backOffMaxMs: 300_000,
  collectEveryMs: 0,
  unansweredGraceMs: 5_000,
} as const;

/** The longest delay of a timer. */
const TIMER_MS_MAX = 2 ** 31 - 1;
/** What each number may be at least and at most. */
const LIMITS: Readonly<Record<keyof typeof DEFAULTS, readonly [number, number]>> = {
  maxParallelPulls: [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY],
  qps: [0, Number.MAX_VALUE],
  burst: [1, Number.MAX_SAFE_INTEGER],
  backOffMs: [0, TIMER_MS_MAX],
  backOffMaxMs: [0, TIMER_MS_MAX],
  collectEveryMs: [0, TIMER_MS_MAX],
  unansweredGraceMs: [0, TIMER_MS_MAX],
};

const PULL_MANAGER_METHODS = [
  'recordPullIntent',
  'recordImagePulled',
  'recordImagePullFailed',
  'mustAttemptImagePull',
  'pruneUnknownRecords',
] as const;
const RUNTIME_METHODS = ['imageStatus', 'pullImage', 'removeImage', 'listImages'] as const;

/** Errors: `INVALID_ARGUMENT` naming the option. */
export function resolveImageManagerOptions(
  options: ImageManagerOptions,
): ResolvedImageManagerOptions {
  if (typeof options !== 'object' || options === null) {
    throw invalidArgument('options', 'must be an object');
  }
  const { pullManager, runtime, serializePulls = false } = options;
  const logger = resolveLogger(options.logger);
  checkMethods('options.pullManager', pullManager, PULL_MANAGER_METHODS);
  checkMethods('options.runtime', runtime, RUNTIME_METHODS);
  if (typeof serializePulls !== 'boolean') {
    throw invalidArgument('options.serializePulls', 'must be a boolean');
  }
  const numbers: Record<keyof typeof DEFAULTS, number> = { ...DEFAULTS };
  for (const name of Object.keys(DEFAULTS) as (keyof typeof DEFAULTS)[]) {
    const value = options[name] ?? DEFAULTS[name];
    const [min, max] = LIMITS[name];
    if (typeof value !== 'number' || !(value >= min && value <= max)) {
      throw invalidArgument(`options.${name}`, `must be a number from ${min} to ${max}`);
    }
    numbers[name] = value;
  }
  if (serializePulls) numbers.maxParallelPulls = 1;
  return { pullManager, runtime, logger, ...numbers };
}

function checkMethods(argument: string, value: unknown, names: readonly string[]): void {
  if (typeof value !== 'object' || value === null) {
    throw invalidArgument(argument, 'must be an object');
  }
  for (const name of names) {
    if (typeof (value as Record<string, unknown>)[name] !== 'function') {
      throw invalidArgument(`${argument}.${name}`, 'must be a function');
    }
  }
}

/** What `PullManager.open` takes, checked and completed. */
import { availableParallelism } from 'node:os';
import { type StoreOptions, validateStoreOptions } from './accessors/backend.ts';
import {
  COMPATIBILITY_DEFAULT,
  type CompatibilityLevel,
  checkCompatibility,
} from './compatibility.ts';
import { invalidArgument, quote } from './errors.ts';
import { PULL_MANAGER_EVENTS } from './events/channels.ts';
import type { EventListeners } from './events/emitter.ts';
import type { PullManagerEvents } from './events/messages.ts';
import type { ImageService } from './images/image-service.ts';
import { clampStripeCount, STRIPE_COUNT_MAX } from './locks/stripe.ts';
import { type Logger, resolveLogger } from './logger.ts';
import {
  createImagePullCredentialVerificationPolicy,
  type ImagePullPolicyEnforcer,
  rebuiltFrom,
  type VerificationPolicy,
} from './policies/enforcer.ts';
import { suggestion } from './util/suggest.ts';

/** See `PullManagerOptions.whenFull`. */
export type WhenFull = 'reject' | 'wait';

/** Options of `PullManager.open`. */
export interface PullManagerOptions {
  /** @default { kind: 'journal', path: './pullwarden-data' } */
  store?: StoreOptions;
  /** @default { kind: 'NeverVerifyPreloadedImages' } */
  policy?: ImagePullPolicyEnforcer | VerificationPolicy;
  /** Asked once, at open, and only when intents are left over. */
  imageService?: ImageService;
  /** Lock stripes; clamped to 1..31 as in the reference. @default 31 */
  stripeCount?: number;
  /**
   * Threads that own stripes; 0: everything in the calling thread. At most `stripeCount`.
   * @default one less than the available processors, at least 1, at most 4
   */
  workerCount?: number;
  /**
   * The kubelet version whose behaviour is claimed: record keys, what the allow list compares, whether
   * matches are recorded, when sources of credentials are asked, the record files of the store
   * `kubelet`. A `policy` given as data is read at this level. @default 'v1.35'
   */
  compatibility?: CompatibilityLevel;
  /**
   * Whether a pod whose secret has the coordinates of a proven one, but other content, is let in
   * without asking the registry: 'trust' as the reference does, 'verify' not. @default 'trust'
   */
  rotatedSecrets?: 'trust' | 'verify';
  /** A proof older than this, in milliseconds, must be given again. @default never */
  reverifyAfter?: number;
  /** @default silent */
  logger?: Logger;
  /** Listeners to events, as given to `on`, from the start: also of `reconcile`. @default none */
  listeners?: EventListeners<PullManagerEvents>;
  /** Aborts the opening; afterwards, closes the engine. */
  signal?: AbortSignal;
  /**
   * Calls of one thread that may wait for one worker, and decisions that may wait for credentials
   * sources; one more fails with `QUEUE_FULL`. @default 262144
   */
  maxPending?: number;
  /**
   * What becomes of a call for which `maxPending` leaves no room. 'reject': it fails at once with
   * `QUEUE_FULL`, and nothing was done. 'wait': it is held back, with those after it, until there is
   * room; whoever awaits each call goes as fast as the store does. At most 1,048,576 calls of a
   * thread are held back; one more fails with `QUEUE_FULL`. Waits for credentials sources are limited
   * by `maxPending` either way. @default 'reject'
   */
  whenFull?: WhenFull;
}

/** Options with every default filled in. */
export interface ResolvedOptions {
  readonly store: StoreOptions;
  readonly policy: ImagePullPolicyEnforcer;
  /** The policy as data, where it was given so; attached threads rebuild it. */
  readonly policyData: VerificationPolicy | undefined;
  /** The level at which the policy was built. */
  readonly policyCompatibility: CompatibilityLevel;
  readonly imageService: ImageService | undefined;
  readonly stripeCount: number;
  readonly workerCount: number;
  readonly compatibility: CompatibilityLevel;
  readonly rotatedSecrets: 'trust' | 'verify';
  /** `Infinity`: never. */
  readonly reverifyAfterMs: number;
  readonly logger: Logger;
  readonly listeners: EventListeners<PullManagerEvents>;
  readonly signal: AbortSignal | undefined;
  readonly maxPending: number;
  readonly whenFull: WhenFull;
}

const WORKER_COUNT_DEFAULT_MAX = 4;
const MAX_PENDING_DEFAULT = 1 << 18;
const MAX_PENDING_MAX = 1 << 24;

/** Every option, so that none can be left out here. */
const OPTION_NAMES: Readonly<Record<keyof PullManagerOptions, true>> = {
  store: true,
  policy: true,
  imageService: true,
  stripeCount: true,
  workerCount: true,
  compatibility: true,
  rotatedSecrets: true,
  reverifyAfter: true,
  logger: true,
  listeners: true,
  signal: true,
  maxPending: true,
  whenFull: true,
};

/** Checks options and fills in defaults; throws `INVALID_ARGUMENT` naming the option. */
export function resolveOptions(options: PullManagerOptions = {}): ResolvedOptions {
  if (typeof options !== 'object' || options === null) {
    throw invalidArgument('options', 'must be an object');
  }
  // A misspelt policy would leave the default in force, which lets more in.
  for (const name of Object.keys(options)) {
    // What JSON has put there changes nothing, as everywhere.
    if (Object.hasOwn(OPTION_NAMES, name) || name === '__proto__') continue;
    const hint = suggestion(name, Object.keys(OPTION_NAMES));
    throw invalidArgument(`options.${quote(name)}`, `is not an option${hint}`);
  }
  const stripeCount = clampStripeCount(
    number(options.stripeCount, 'stripeCount', STRIPE_COUNT_MAX),
  );
  const workers = number(options.workerCount, 'workerCount', defaultWorkerCount());
  if (!Number.isInteger(workers) || workers < 0) {
    throw invalidArgument('workerCount', 'must be a whole number from 0');
  }
  const maxPending = number(options.maxPending, 'maxPending', MAX_PENDING_DEFAULT);
  if (!Number.isInteger(maxPending) || maxPending < 1 || maxPending > MAX_PENDING_MAX) {
    throw invalidArgument('maxPending', `must be a whole number from 1 to ${MAX_PENDING_MAX}`);
  }
  const whenFull = given(options.whenFull, 'reject');
  if (whenFull !== 'reject' && whenFull !== 'wait') {
    throw invalidArgument('whenFull', "must be 'reject' or 'wait'");
  }
  const reverifyAfterMs = number(options.reverifyAfter, 'reverifyAfter', Number.POSITIVE_INFINITY);
  if (reverifyAfterMs <= 0) throw invalidArgument('reverifyAfter', 'must be greater than 0');
  const compatibility = checkCompatibility(
    given(options.compatibility, COMPATIBILITY_DEFAULT),
    'compatibility',
  );
  const rotatedSecrets = given(options.rotatedSecrets, 'trust');
  if (rotatedSecrets !== 'trust' && rotatedSecrets !== 'verify') {
    throw invalidArgument('rotatedSecrets', "must be 'trust' or 'verify'");
  }
  if (options.signal !== undefined && !(options.signal instanceof AbortSignal)) {
    throw invalidArgument('signal', 'must be an AbortSignal');
  }
  const { imageService } = options;
  if (imageService !== undefined && typeof imageService?.listImages !== 'function') {
    throw invalidArgument('imageService', 'must have a listImages method');
  }
  return {
    store: validateStoreOptions(
      given(options.store, { kind: 'journal', path: './pullwarden-data' }),
    ),
    ...resolvePolicy(options.policy, compatibility),
    imageService,
    stripeCount,
    workerCount: Math.min(workers, stripeCount),
    compatibility,
    rotatedSecrets,
    reverifyAfterMs,
    logger: resolveLogger(options.logger),
    listeners: resolveListeners(options.listeners),
    signal: options.signal,
    maxPending,
    whenFull,
  };
}

/** An enforcer for a policy given either way; data is read at the given level. */
export function resolvePolicy(
  policy: ImagePullPolicyEnforcer | VerificationPolicy | undefined,
  compatibility: CompatibilityLevel,
): Pick<ResolvedOptions, 'policy' | 'policyData' | 'policyCompatibility'> {
  const chosen = given(policy, { kind: 'NeverVerifyPreloadedImages' });
  if (typeof chosen !== 'object' || chosen === null) {
    throw invalidArgument('policy', 'must be a verification policy or an enforcer');
  }
  if ('requireCredentialVerificationForImage' in chosen) {
    if (typeof chosen.requireCredentialVerificationForImage !== 'function') {
      throw invalidArgument('policy.requireCredentialVerificationForImage', 'must be a function');
    }
    const origin = rebuiltFrom(chosen);
    return {
      policy: chosen,
      policyData: origin?.policy,
      policyCompatibility: origin?.compatibility ?? compatibility,
    };
  }
  const enforcer = createImagePullCredentialVerificationPolicy(chosen, compatibility);
  return { policy: enforcer, policyData: enforcer.policy, policyCompatibility: compatibility };
}

/** The workers an engine gets when nothing is said. */
export function defaultWorkerCount(): number {
  return Math.max(1, Math.min(WORKER_COUNT_DEFAULT_MAX, availableParallelism() - 1));
}

/** A default where nothing was given; `null` is something, and wrong. */
function given<T>(value: T | undefined, fallback: T): T {
  return value === undefined ? fallback : value;
}

function number(value: number | undefined, argument: string, fallback: number): number {
  if (value === undefined) return fallback;
  if (typeof value !== 'number' || Number.isNaN(value)) {
    throw invalidArgument(argument, 'must be a number');
  }
  return value;
}

function resolveListeners(
  listeners: EventListeners<PullManagerEvents> | undefined,
): EventListeners<PullManagerEvents> {
  const chosen = given(listeners, {});
  if (typeof chosen !== 'object' || chosen === null) {
    throw invalidArgument('listeners', 'must be an object');
  }
  for (const [event, listener] of Object.entries(chosen)) {
    if (!PULL_MANAGER_EVENTS.some((known) => known === event)) {
      throw invalidArgument(`listeners.${quote(event)}`, 'is not an event of a pull manager');
    }
    if (listener !== undefined && typeof listener !== 'function') {
      throw invalidArgument(`listeners.${event}`, 'must be a function');
    }
  }
  return { ...chosen };
}

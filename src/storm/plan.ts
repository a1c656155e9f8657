/**
 * What each caller of a storm does, step by step: a function of the seed, the caller's number, the
 * step's number and its stage alone, and never of what the engine answers or when. In an open load
 * all callers share one plan: its steps are the requests in the order in which they arrive.
 */
import { Random, shareOf, Zipf } from '../util/random.ts';
import type { Mix } from './parameters.ts';
import type { RequestOptions } from './stages.ts';
import type { Credential } from './tenants.ts';
import { IMAGE_KIND, type Universe } from './universe.ts';

/** Kinds of steps. */
export const STEP = {
  /** `mustAttemptImagePull` with the credentials at hand. */
  MUST_ATTEMPT: 0,
  /** The same with a function that is asked for them. */
  MUST_ATTEMPT_LAZY: 1,
  DECIDE: 2,
  DECIDE_SYNC: 3,
  DECIDE_BATCH: 4,
  /** Intent, then the outcome. */
  PULL: 5,
  /** The same through `withPull`. */
  WITH_PULL: 6,
} as const;

/** What comes of a pull. */
export const OUTCOME = { PULLED: 0, PULLED_UNKNOWN: 1, FAILED: 2 } as const;

/** Decisions in one batch. */
export const BATCH_SIZE = 16;

const OWNER_SHARE_DECIDING = 0.75;
const OWNER_SHARE_PULLING = 0.9;
const ANONYMOUS_SHARE = 0.3;
const UNKNOWN_SHARE = 0.01;
/** Share of pulls that take a while, and how many steps of one caller, or of all, at most. */
const LONG_PULL_SHARE = 0.4;
const LONG_PULL_STEPS_MAX = 64;
const LONG_PULL_SHARED_STEPS_MAX = 4_096;

/** Kinds of requests where no mix is given, as weights among decisions, and among pulls. */
const ASKING = { mustAttemptImagePull: 178, decide: 40, decideSync: 30, decideBatch: 8 };
const PULLING = { pull: 4, withPull: 1 };
/** Share of `mustAttemptImagePull` that is given a function. */
const LAZY_SHARE = 6 / 178;

/** Entries of a table of kinds; what has any weight at all has one of them. */
const TABLE_SIZE = 4_096;

/** What all plans of a stage share. */
export class PlanShape {
  readonly universe: Universe;
  readonly options: RequestOptions;
  readonly popularity: Zipf;
  /** Share of steps that are pulls; a pull is two operations. */
  readonly pullShare: number;
  /** Kinds of steps that decide, each as often as it is to be taken. */
  readonly asking: Uint8Array;
  readonly withPullShare: number;
  /** Images that are rolled out, one after the other. */
  readonly rollout: readonly number[];

  constructor(universe: Universe, options: RequestOptions, popularity?: Zipf) {
    this.universe = universe;
    this.options = options;
    this.popularity = popularity ?? new Zipf(universe.images.length, options.skew);
    const mix = options.mix ?? mixOf(options.decisionShare);
    const { decide = 0, decideSync = 0, decideBatch = 0, pull = 0, withPull = 0 } = mix;
    const { mustAttemptImagePull: mustAttempt = 0 } = mix;
    const pulls = pull + withPull;
    const decisions = mustAttempt + decide + decideSync + decideBatch;
    this.pullShare = pulls / (pulls + decisions);
    this.withPullShare = pulls === 0 ? 0 : withPull / pulls;
    this.asking = tableOf([
      [STEP.MUST_ATTEMPT, mustAttempt * (1 - LAZY_SHARE)],
      [STEP.MUST_ATTEMPT_LAZY, mustAttempt * LAZY_SHARE],
      [STEP.DECIDE, decide],
      [STEP.DECIDE_SYNC, decideSync],
      [STEP.DECIDE_BATCH, decideBatch],
    ]);
    const unpopular = universe.byPopularity.toReversed();
    const isPulled = (image: number): boolean =>
      universe.kindOfImage[image] !== IMAGE_KIND.PRELOADED;
    this.rollout = options.rolloutShare > 0 ? Array.from(unpopular.filter(isPulled)) : [];
  }
}

/** The shapes of several stages; what is the same for some is made once. */
export function shapesOf(universe: Universe, stages: readonly RequestOptions[]): PlanShape[] {
  const popularity = new Map<number, Zipf>();
  return stages.map((options) => {
    const shape = new PlanShape(universe, options, popularity.get(options.skew));
    popularity.set(options.skew, shape.popularity);
    return shape;
  });
}

/** Weights of requests such that a share of operations are decisions. */
function mixOf(decisionShare: number): Mix {
  const asking = sum(ASKING);
  const perAsking = 1 + ((BATCH_SIZE - 1) * ASKING.decideBatch) / asking;
  const decisions = decisionShare / perAsking / asking;
  const pulls = (1 - decisionShare) / 2 / sum(PULLING);
  return { ...times(ASKING, decisions), ...times(PULLING, pulls) };
}

function sum(weights: Readonly<Record<string, number>>): number {
  return Object.values(weights).reduce((all, weight) => all + weight, 0);
}

function times(weights: Readonly<Record<string, number>>, factor: number): Mix {
  return Object.fromEntries(Object.entries(weights).map(([name, w]) => [name, w * factor]));
}

function tableOf(weights: readonly (readonly [kind: number, weight: number])[]): Uint8Array {
  const used = weights.filter(([, weight]) => weight > 0);
  const total = used.reduce((all, [, weight]) => all + weight, 0);
  const counts = used.map(([, weight]) => Math.max(1, Math.floor((weight / total) * TABLE_SIZE)));
  const table = new Uint8Array(TABLE_SIZE);
  // The most frequent kind makes up for what is over or missing.
  const [most = [STEP.DECIDE]] = used.toSorted(([, a], [, b]) => b - a);
  let at = 0;
  for (const [index, [kind]] of used.entries()) {
    if (kind === most[0]) continue;
    table.fill(kind, at, at + counts[index]!);
    at += counts[index]!;
  }
  return table.fill(most[0], at);
}

/** Number of the plan that all callers share. */
export const SHARED_PLAN = -1;

/** The steps of one caller. `next` sets the fields to the next step. */
export class Plan {
  kind = 0;
  image = 0;
  credential: Credential;
  outcome = 0;
  /** Steps between the intent of a pull and its outcome; 0: at once. */
  pullSteps = 0;
  /** 0-based number of the step. */
  step = -1;
  #shape: PlanShape;
  readonly #random: Random;
  readonly #callers: number;
  readonly #longPullSteps: number;

  /**
   * @param stream Number of the caller; `SHARED_PLAN` where all callers share the plan.
   * @param callers How many plans the requests of the storm are divided among.
   */
  constructor(shape: PlanShape, stream: number, callers: number) {
    this.#shape = shape;
    this.#callers = callers;
    const isShared = stream === SHARED_PLAN;
    this.#longPullSteps = isShared ? LONG_PULL_SHARED_STEPS_MAX : LONG_PULL_STEPS_MAX;
    this.#random = new Random(shape.universe.seed, stream + 1);
    this.credential = shape.universe.tenants.anonymous;
  }

  next(shape: PlanShape): void {
    this.#shape = shape;
    this.step++;
    const random = this.#random;
    this.image = this.#pickImage();
    const isPull =
      random.share() < shape.pullShare &&
      shape.universe.kindOfImage[this.image] !== IMAGE_KIND.PRELOADED;
    if (isPull) this.#nextPull();
    else this.#nextDecision();
  }

  /** Another image and credential for the same step: the rest of a batch. */
  nextOfBatch(): void {
    this.image = this.#pickImage();
    this.credential = this.#pickCredential(OWNER_SHARE_DECIDING);
  }

  #nextPull(): void {
    const random = this.#random;
    this.kind = random.share() < this.#shape.withPullShare ? STEP.WITH_PULL : STEP.PULL;
    const { universe } = this.#shape;
    const isPrivate = universe.kindOfImage[this.image] === IMAGE_KIND.PRIVATE;
    const { anonymous } = universe.tenants;
    this.credential = isPrivate ? this.#pickCredential(OWNER_SHARE_PULLING) : anonymous;
    const { tenant } = this.credential;
    const hasAccess = !isPrivate || (tenant >= 0 && universe.hasAccess(this.image, tenant));
    const luck = random.share();
    if (!hasAccess || luck < this.#shape.options.failureShare) this.outcome = OUTCOME.FAILED;
    else if (luck > 1 - UNKNOWN_SHARE) this.outcome = OUTCOME.PULLED_UNKNOWN;
    else this.outcome = OUTCOME.PULLED;
    const isLong = random.share() < LONG_PULL_SHARE;
    this.pullSteps = isLong ? 1 + random.below(this.#longPullSteps) : 0;
  }

  #nextDecision(): void {
    this.kind = this.#shape.asking[this.#random.next() % TABLE_SIZE]!;
    this.credential = this.#pickCredential(OWNER_SHARE_DECIDING);
  }

  #pickImage(): number {
    const { options, popularity, rollout, universe } = this.#shape;
    if (rollout.length > 0 && this.#random.share() < options.rolloutShare) {
      return rollout[Math.floor(this.step / this.#own(options.rolloutEvery)) % rollout.length]!;
    }
    return universe.byPopularity[popularity.sample(this.#random)]!;
  }

  #pickCredential(ownerShare: number): Credential {
    const { universe, options } = this.#shape;
    const { tenants } = universe;
    const random = this.#random;
    let tenant: number;
    if (universe.kindOfImage[this.image] === IMAGE_KIND.PRIVATE && random.share() < ownerShare) {
      tenant = tenants.memberOf(universe.ownerOf(this.image, random.next()), random.next());
    } else if (random.share() < ANONYMOUS_SHARE) {
      return tenants.anonymous;
    } else {
      tenant = random.below(tenants.count);
    }
    const { rotateEvery } = options;
    if (rotateEvery === 0 || !tenants.isRotated(tenant)) return tenants.credential(tenant, 0);
    const period = this.#own(rotateEvery);
    // Not all tenants change their secrets at the same step.
    const version = Math.floor((this.step + (tenants.phaseOf(tenant) % period)) / period);
    return tenants.credential(tenant, version);
  }

  /** Steps of this plan among so many requests of the storm. */
  #own(requests: number): number {
    return Math.max(1, Math.round(requests / this.#callers));
  }
}

/** References that the runtime has at one event: all but a share that depends on seed and event. */
export function listedRefs(universe: Universe, event: number, missingShare: number): Uint8Array {
  return Uint8Array.from(universe.refs, (_, ref) =>
    Number(shareOf(universe.seed, 0x9c, event, ref) >= missingShare),
  );
}

/**
 * What each caller of a storm does, step by step: a function of the seed, the caller's number and
 * the step's number alone, and never of what the engine answers or when.
 */
import { Random, shareOf, Zipf } from '../util/random.ts';
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

/** Shares and periods that shape the steps. */
export interface PlanOptions {
  readonly decisionShare: number;
  readonly failureShare: number;
  readonly skew: number;
  /** Steps of a caller after which rotated secrets change; 0: never. */
  readonly rotateEvery: number;
  /** Share of steps on the image that is being rolled out. */
  readonly rolloutShare: number;
  /** Steps of a caller after which the next image is rolled out. */
  readonly rolloutEvery: number;
}

/** What comes of a pull. */
export const OUTCOME = { PULLED: 0, PULLED_UNKNOWN: 1, FAILED: 2 } as const;

/** Decisions in one batch. */
export const BATCH_SIZE = 16;

const OWNER_SHARE_DECIDING = 0.75;
const OWNER_SHARE_PULLING = 0.9;
const ANONYMOUS_SHARE = 0.3;
const UNKNOWN_SHARE = 0.01;
const WITH_PULL_SHARE = 0.2;
/** Share of pulls that take a while, and how long at most. */
const LONG_PULL_SHARE = 0.4;
const LONG_PULL_STEPS_MAX = 64;

/** How often each way of asking is taken, of 256 times. */
const ASKING: readonly (readonly [times: number, kind: number])[] = [
  [172, STEP.MUST_ATTEMPT],
  [6, STEP.MUST_ATTEMPT_LAZY],
  [40, STEP.DECIDE],
  [30, STEP.DECIDE_SYNC],
  [8, STEP.DECIDE_BATCH],
];
const ASKING_TABLE = Uint8Array.from(
  ASKING.flatMap(([times, kind]) => new Array<number>(times).fill(kind)),
);

/** Decisions that an average asking step makes. */
const DECISIONS_PER_ASKING = 1 + ((BATCH_SIZE - 1) * 8) / 256;

/** What all plans of a storm share. */
export class PlanShape {
  readonly universe: Universe;
  readonly options: PlanOptions;
  readonly popularity: Zipf;
  /** Share of steps that are pulls; a pull is two operations. */
  readonly pullShare: number;
  /** Images that are rolled out, one after the other. */
  readonly rollout: readonly number[];

  constructor(universe: Universe, options: PlanOptions) {
    this.universe = universe;
    this.options = options;
    this.popularity = new Zipf(universe.images.length, options.skew);
    const decisions = options.decisionShare / DECISIONS_PER_ASKING;
    const pulls = (1 - options.decisionShare) / 2;
    this.pullShare = pulls / (pulls + decisions);
    const unpopular = universe.byPopularity.toReversed();
    const isPulled = (image: number): boolean =>
      universe.kindOfImage[image] !== IMAGE_KIND.PRELOADED;
    this.rollout = options.rolloutShare > 0 ? Array.from(unpopular.filter(isPulled)) : [];
  }
}

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
  readonly #shape: PlanShape;
  readonly #random: Random;

  constructor(shape: PlanShape, caller: number) {
    this.#shape = shape;
    this.#random = new Random(shape.universe.seed, caller + 1);
    this.credential = shape.universe.tenants.anonymous;
  }

  next(): void {
    this.step++;
    const random = this.#random;
    this.image = this.#pickImage();
    const isPull =
      random.share() < this.#shape.pullShare &&
      this.#shape.universe.kindOfImage[this.image] !== IMAGE_KIND.PRELOADED;
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
    this.kind = random.share() < WITH_PULL_SHARE ? STEP.WITH_PULL : STEP.PULL;
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
    this.pullSteps = isLong ? 1 + random.below(LONG_PULL_STEPS_MAX) : 0;
  }

  #nextDecision(): void {
    this.kind = ASKING_TABLE[this.#random.next() & 0xff]!;
    this.credential = this.#pickCredential(OWNER_SHARE_DECIDING);
  }

  #pickImage(): number {
    const { options, popularity, rollout, universe } = this.#shape;
    if (rollout.length > 0 && this.#random.share() < options.rolloutShare) {
      return rollout[Math.floor(this.step / options.rolloutEvery) % rollout.length]!;
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
    const period = options.rotateEvery;
    if (period === 0 || !tenants.isRotated(tenant)) return tenants.credential(tenant, 0);
    // Not all tenants change their secrets at the same step.
    const version = Math.floor((this.step + (tenants.phaseOf(tenant) % period)) / period);
    return tenants.credential(tenant, version);
  }
}

/** References that the runtime has at one event: all but a share that depends on seed and event. */
export function listedRefs(universe: Universe, event: number, missingShare: number): Uint8Array {
  return Uint8Array.from(universe.refs, (_, ref) =>
    Number(shareOf(universe.seed, 0x9c, event, ref) >= missingShare),
  );
}

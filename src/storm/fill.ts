/** The records that a storm begins with, made by pulls through the engine. */
import { hashNumbers } from '../util/random.ts';
import { Caller } from './caller.ts';
import type { StormParameters } from './parameters.ts';
import type { StormState } from './state.ts';
import type { Credential } from './tenants.ts';
import { IMAGE_KIND, type Universe } from './universe.ts';

/** Callers that fill, at least and at most. */
export const FILL_CALLERS = { MIN: 256, MAX: 512 } as const;

const OWNER = 0xf1;
/** Steps between the tenants of one record; prime, so that they come round late. */
const TENANT_STEP = 7_919;

/** Pulls every image that there is to be a record of. */
export async function fill(
  state: StormState,
  parameters: StormParameters,
  callerCount: number,
  onShare: (share: number) => void,
): Promise<void> {
  const { universe } = state;
  const images = filledImages(universe, parameters.records);
  const rounds = parameters.tenantsPerRecord;
  let next = 0;
  const work = async (number: number): Promise<void> => {
    const caller = new Caller(state, number, callerCount);
    while (next < images.length && !state.isStopping) {
      const image = images[next++]!;
      for (const credential of credentialsFor(universe, image, rounds)) {
        if (!state.isStopping) await caller.fill(image, credential);
      }
      onShare(next / images.length);
    }
  };
  await Promise.all(Array.from({ length: callerCount }, (_, number) => work(number)));
}

/** One image for each reference that is pulled at all, the most popular first. */
function filledImages(universe: Universe, records: number | undefined): number[] {
  const images: number[] = [];
  const seen = new Set<number>();
  for (const image of universe.byPopularity) {
    if (images.length >= (records ?? Number.POSITIVE_INFINITY)) break;
    const ref = universe.refOfImage[image]!;
    if (universe.kindOfImage[image] === IMAGE_KIND.PRELOADED || seen.has(ref)) continue;
    seen.add(ref);
    images.push(image);
  }
  return images;
}

/** Whose pulls open an image: one owner, and as many others as are wanted. */
function* credentialsFor(
  universe: Universe,
  image: number,
  tenantCount: number,
): Generator<Credential> {
  const { tenants } = universe;
  if (universe.kindOfImage[image] !== IMAGE_KIND.PRIVATE) {
    yield tenants.anonymous;
    return;
  }
  const choice = hashNumbers(universe.seed, OWNER, image);
  const owner = tenants.memberOf(universe.ownerOf(image, choice), choice);
  const count = Math.min(tenantCount, tenants.count);
  for (let index = 0; index < count; index++) {
    yield tenants.credential((owner + index * TENANT_STEP) % tenants.count, 0);
  }
}

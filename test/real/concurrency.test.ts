/** Many pods of many tenants at once, against the real containerd and a private registry. */
import { expect, it } from 'vitest';
import type { RegistryAuth } from '../../src/credentials/pull-credential.ts';
import { Random } from '../../src/util/random.ts';
import { Agent, passwordOf, secretOf } from './agent.ts';
import { describeEachRuntime } from './kit/describe-real.ts';
import { buildImage } from './kit/image-builder.ts';

const IMAGES = 50;
const TENANTS = 20;
const REQUESTS = 500;
const SEED = Number(process.env.PULLWARDEN_SEED ?? 20_260_801);
/** Of all repositories, how many a tenant may pull from. */
const ALLOWED_SHARE = 0.4;

interface Request {
  readonly tenant: string;
  readonly image: number;
}

describeEachRuntime(`500 pods at once (seed ${SEED})`, (components) => {
  it('pulls once for each image and tenant with rights, and answers everybody rightly', async () => {
    const random = new Random(SEED);
    const tenants = Array.from({ length: TENANTS }, (_, i) => `tenant-${i}`);
    const repositories = Array.from({ length: IMAGES }, (_, i) => `crowd/app-${i}`);
    const allowed = new Set<string>();
    for (const tenant of tenants) {
      const own = repositories.filter(() => random.share() < ALLOWED_SHARE);
      components.tokenServer.setUser(tenant, { password: passwordOf(tenant), repositories: own });
      for (const repository of own) allowed.add(`${tenant} ${repository}`);
    }
    const built = repositories.map((repository) => buildImage({ content: repository }));
    const names = await Promise.all(
      repositories.map((repository, i) => components.registry.push(built[i]!, repository, 'v1')),
    );
    await using agent = await Agent.open(
      components.containerd.socket,
      { store: { kind: 'memory' } },
      { maxParallelPulls: 8 },
    );
    const pulls = countPulls(agent);
    // The model: what the sequence of requests does not change is who may, and what is proven.
    const mayUse = ({ tenant, image }: Request): boolean =>
      allowed.has(`${tenant} ${repositories[image]}`);
    const requests: Request[] = Array.from({ length: REQUESTS }, () => ({
      tenant: tenants[random.below(TENANTS)]!,
      // A few images are much asked for.
      image: Math.floor(random.share() ** 2 * IMAGES),
    }));

    const answers = await Promise.all(
      requests.map(async (request) => {
        const secrets = [secretOf(request.tenant)];
        return agent.ensure(names[request.image]!, 'IfNotPresent', secrets).then(
          ({ imageRef }) => imageRef,
          ({ code }: { code: string }) => code,
        );
      }),
    );

    const expected = requests.map((request) =>
      mayUse(request) ? built[request.image]!.id : 'ErrImagePull',
    );
    expect(answers).toEqual(expected);
    const asked = new Set(requests.map(({ tenant, image }) => `${tenant} ${image}`));
    for (const pair of asked) {
      const [tenant, image] = pair.split(' ');
      const count = pulls.get(`${tenant} ${names[Number(image)]}`);
      if (mayUse({ tenant: tenant!, image: Number(image) })) expect(count).toBe(1);
      else expect(count).toBeGreaterThanOrEqual(1);
    }
    expect(await agent.intents()).toEqual([]);

    // Afterwards each pair has what it has proven, and nothing else.
    for (const tenant of tenants) {
      for (let image = 0; image < IMAGES; image++) {
        const isProven = asked.has(`${tenant} ${image}`) && mayUse({ tenant, image });
        const outcome = await agent.outcome(names[image]!, 'Never', [secretOf(tenant)]);
        expect(outcome).toBe(isProven ? 'used' : 'ErrImageNeverPull');
      }
    }
  });
});

/** By user and image, how often the runtime was asked to pull. */
function countPulls({ runtime }: Agent): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  const pullImage = runtime.pullImage.bind(runtime);
  runtime.pullImage = (image: string, auth: RegistryAuth | undefined, signal?: AbortSignal) => {
    const key = `${auth?.username} ${image}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
    return pullImage(image, auth, signal);
  };
  return counts;
}

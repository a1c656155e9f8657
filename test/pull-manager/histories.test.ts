import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PullManager } from '../../src/pull-manager.ts';
import type { ImagePullSecret } from '../../src/records/record.ts';
import { secret, unique } from '../support/credentials.ts';
import { FEW_SHAPES, intentsOf, openForAll } from '../support/engines.ts';

const IMAGES = 4;
const TENANTS = 3;

/** What one caller does, step by step. */
type Act =
  | { kind: 'pull'; image: number; tenant: number; succeeds: boolean; waits: boolean }
  | { kind: 'decide'; image: number; tenant: number; batch: boolean }
  | { kind: 'prune'; image: number };

const act: fc.Arbitrary<Act> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('pull' as const),
      image: fc.nat(IMAGES - 1),
      tenant: fc.nat(TENANTS - 1),
      succeeds: fc.boolean(),
      waits: fc.boolean(),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('decide' as const),
      image: fc.nat(IMAGES - 1),
      tenant: fc.nat(TENANTS - 1),
      batch: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('prune' as const), image: fc.nat(IMAGES - 1) }),
  },
);

/** A world of a few images and tenants, and what must be true of it. */
class World {
  readonly tag = unique('w');
  /** Pulls whose intent is acknowledged and whose end was not asked for. */
  readonly begun = new Array<number>(IMAGES).fill(0);
  /** Secrets whose record is acknowledged, by image. */
  readonly proven: Set<number>[] = Array.from({ length: IMAGES }, () => new Set());
  /** Secrets whose record may be there: the call was made. */
  readonly possible: Set<number>[] = Array.from({ length: IMAGES }, () => new Set());
  readonly wrong: string[] = [];

  image(index: number): string {
    return `registry.io/${this.tag}/app${index}`;
  }

  imageRef(index: number): string {
    return `sha256:${this.tag}-${index}`;
  }

  secret(tenant: number): ImagePullSecret {
    return secret(`${this.tag}-${tenant}`);
  }

  async run(manager: PullManager, acts: readonly Act[]): Promise<void> {
    const waiting: Promise<void>[] = [];
    for (const one of acts) {
      if (one.kind === 'pull') {
        const pulling = this.#pull(manager, one);
        if (one.waits) await pulling;
        else waiting.push(pulling);
      } else if (one.kind === 'decide') await this.#decide(manager, one);
      else {
        // Nothing is older than 1970: every record stays.
        const { pruned } = await manager.pruneUnknownRecords([], new Date(0));
        if (pruned !== 0) this.wrong.push(`${pruned} records pruned`);
      }
    }
    await Promise.all(waiting);
  }

  async #pull(manager: PullManager, one: Act & { kind: 'pull' }): Promise<void> {
    const image = this.image(one.image);
    await manager.recordPullIntent(image);
    this.begun[one.image]!++;
    // While this pull goes on, its image needs proof whatever others do.
    if (!(await manager.mustAttemptImagePull(image, `${this.tag}-unknown`))) {
      this.wrong.push(`${image} looks preloaded during a pull`);
    }
    this.begun[one.image]!--;
    if (!one.succeeds) return manager.recordImagePullFailed(image);
    this.possible[one.image]!.add(one.tenant);
    await manager.recordImagePulled(image, this.imageRef(one.image), {
      kubernetesSecrets: [this.secret(one.tenant)],
    });
    this.proven[one.image]!.add(one.tenant);
  }

  async #decide(manager: PullManager, one: Act & { kind: 'decide' }): Promise<void> {
    const image = this.image(one.image);
    const imageRef = this.imageRef(one.image);
    const credentials = { secrets: [this.secret(one.tenant)] };
    const wasProven = this.proven[one.image]!.has(one.tenant);
    const wasRecorded = this.proven[one.image]!.size > 0;
    const [decision] = one.batch
      ? await manager.decideBatch([{ image, imageRef, credentials }])
      : [await manager.decide(image, imageRef, credentials)];
    const { reason } = decision!;
    const mayBeProven = this.possible[one.image]!.has(one.tenant);
    if (wasProven && reason !== 'credentialRecordFound') {
      this.wrong.push(`${image} is proven and answers ${reason}`);
    }
    if (!mayBeProven && reason === 'credentialRecordFound') {
      this.wrong.push(`${image} is not proven and answers ${reason}`);
    }
    if (wasRecorded && reason === 'credentialPolicyAllowed') {
      this.wrong.push(`${image} is recorded and looks preloaded`);
    }
    if (reason === 'error') this.wrong.push(`${image} answers an error`);
  }
}

describe.each(FEW_SHAPES)('random histories of an engine with $name', (shape) => {
  it('keep every promise to every caller, in one thread and from several places', async () => {
    const manager = await openForAll(shape);
    const attached = await PullManager.attach(manager.handle);
    try {
      const callers = fc.array(fc.array(act, { maxLength: 25 }), { minLength: 2, maxLength: 8 });
      await fc.assert(
        fc.asyncProperty(callers, async (histories) => {
          const world = new World();
          await Promise.all(
            histories.map((acts, i) => world.run(i % 3 === 0 ? attached : manager, acts)),
          );
          expect(world.wrong).toEqual([]);
          const left = (await intentsOf(manager)).filter((image) => image.includes(world.tag));
          expect(left).toEqual([]);
          for (let image = 0; image < IMAGES; image++) {
            const record = await manager.getImagePulledRecord(world.imageRef(image));
            const tenants = [...world.proven[image]!].sort((a, b) => a - b);
            const entry = record?.credentialMapping[world.image(image)];
            expect(entry?.kubernetesSecrets ?? []).toEqual(
              tenants.map((tenant) => world.secret(tenant)),
            );
          }
        }),
        { numRuns: 40 },
      );
      const { records } = await manager.listImagePulledRecords();
      expect(manager.stats()).toMatchObject({ intents: 0, records: records.length, pending: 0 });
    } finally {
      await attached.close();
      await manager.close();
    }
  });
});

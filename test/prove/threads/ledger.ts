/**
 * What a store must hold, and what it may hold, after calls of which some were answered and some
 * failed with their worker: bounds, since nobody knows what became of the latter.
 */
import type { DecisionRequest } from '../../../src/engine/decider.ts';
import type { Decision } from '../../../src/engine/decision.ts';
import type { PullManager } from '../../../src/pull-manager.ts';
import type { ImagePullSecret } from '../../../src/records/record.ts';

/** Pulls under way, as the callers know. */
interface Pulls {
  least: number;
  most: number;
}

/** Who has proven access with an image, under one reference. */
interface Proofs {
  readonly image: string;
  /** Acknowledged. */
  readonly must: Set<string>;
  /** Called at all. */
  readonly may: Set<string>;
  /** `no`, or what is known of a prune that leaves the record out. */
  gone: 'no' | 'maybe' | 'yes';
}

/** Asked of an engine at rest. */
interface Question {
  readonly request: DecisionRequest;
  readonly isWrong: (decision: Decision) => boolean;
}

/** Registers before the call what it may do; the caller settles it when the call has. */
export interface Entry {
  /** It was acknowledged. */
  done(): void;
}

export class Ledger {
  /** Calls that were acknowledged. */
  acknowledged = 0;
  readonly #pulls = new Map<string, Pulls>();
  readonly #proofs = new Map<string, Proofs>();
  /** By image: the reference under which a left-over intent may be adopted. */
  readonly #adoptable = new Map<string, string>();

  begin(image: string): Entry {
    const pulls = this.#pullsOf(image);
    pulls.most++;
    return this.#entry(() => pulls.least++);
  }

  fail(image: string): Entry {
    const pulls = this.#pullsOf(image);
    pulls.least--;
    return this.#entry(() => pulls.most--);
  }

  pulled(image: string, imageRef: string, tenant: string): Entry {
    const end = this.fail(image);
    const proofs = this.#proofsOf(image, imageRef);
    proofs.may.add(tenant);
    return {
      done() {
        end.done();
        proofs.must.add(tenant);
      },
    };
  }

  /** A prune that leaves out these references. */
  prune(imageRefs: readonly string[]): Entry {
    const left = imageRefs.flatMap((ref) => this.#proofs.get(ref) ?? []);
    for (const proofs of left) proofs.gone = 'maybe';
    return this.#entry(() => {
      for (const proofs of left) proofs.gone = 'yes';
    });
  }

  /** The next opening may make a record of the intent of `image`. */
  adopt(image: string, imageRef: string): void {
    this.#adoptable.set(image, imageRef);
  }

  /** Every reference under which something was ever recorded. */
  refs(): Iterable<string> {
    return this.#proofs.keys();
  }

  /** Pulls of an image that are under way, where that is certain. */
  certain(image: string): number | undefined {
    const { least, most } = this.#pullsOf(image);
    return least === most ? least : undefined;
  }

  /** Every image of which the number of pulls under way is certain and not 0. */
  underway(): [image: string, count: number][] {
    return Array.from(this.#pulls).flatMap(([image, { least, most }]) =>
      least === most && least > 0 && !this.#adoptable.has(image) ? [[image, least]] : [],
    );
  }

  /**
   * Compares it with an engine at rest. `keeps`: whether its store outlives a worker; one that does
   * not still lets nobody in.
   */
  async check(manager: PullManager, keeps: boolean): Promise<string[]> {
    const wrong: string[] = [];
    if (keeps) {
      const intents = await manager.listImagePullIntents();
      const records = await manager.listImagePulledRecords();
      for (const error of [...intents.errors, ...records.errors]) wrong.push(error.message);
      const images = new Set(intents.records.map(({ image }) => image));
      const tenants = new Map(
        records.records.map(({ imageRef, credentialMapping }) => [
          imageRef,
          new Set(
            Object.values(credentialMapping).flatMap(({ kubernetesSecrets = [] }) =>
              kubernetesSecrets.map(({ uid }) => uid),
            ),
          ),
        ]),
      );
      wrong.push(...this.#wrongIntents(images, tenants), ...this.#wrongRecords(tenants));
      const counted = manager.stats();
      if (counted.intents !== images.size || counted.records !== tenants.size) {
        const lists = `lists ${images.size} intents, ${tenants.size} records`;
        wrong.push(`${lists}, counts ${counted.intents} and ${counted.records}`);
      }
    }
    wrong.push(...(await this.#wrongDecisions(manager, keeps)));
    return wrong;
  }

  #wrongIntents(images: Set<string>, tenants: ReadonlyMap<string, unknown>): string[] {
    const wrong: string[] = [];
    for (const [image, { least, most }] of this.#pulls) {
      const ref = this.#adoptable.get(image);
      const isAdopted = ref !== undefined && tenants.has(ref);
      if (least > 0 && !images.has(image) && !isAdopted) wrong.push(`lost the intent of ${image}`);
      if (most === 0 && images.has(image)) wrong.push(`the intent of ${image} came back`);
    }
    for (const image of images) {
      if (!this.#pulls.has(image)) wrong.push(`nobody began a pull of ${image}`);
    }
    return wrong;
  }

  #wrongRecords(seen: ReadonlyMap<string, ReadonlySet<string>>): string[] {
    const wrong: string[] = [];
    const adopted = new Set(this.#adoptable.values());
    for (const [ref, { must, may, gone }] of this.#proofs) {
      const tenants = seen.get(ref);
      if (gone === 'yes' && tenants !== undefined) wrong.push(`the record of ${ref} was pruned`);
      if (gone === 'yes' || (gone === 'maybe' && tenants === undefined)) continue;
      for (const tenant of must) {
        if (tenants?.has(tenant) !== true) wrong.push(`lost the proof of ${tenant} for ${ref}`);
      }
      for (const tenant of tenants ?? []) {
        if (!may.has(tenant)) wrong.push(`${tenant} never proved access to ${ref}`);
      }
    }
    for (const ref of seen.keys()) {
      if (!this.#proofs.has(ref) && !adopted.has(ref)) wrong.push(`nobody ever pulled ${ref}`);
    }
    return wrong;
  }

  /** Who has proven access gets in, nobody else does. */
  async #wrongDecisions(manager: PullManager, keeps: boolean): Promise<string[]> {
    const questions: Question[] = [];
    for (const [imageRef, { image, must, gone }] of this.#proofs) {
      const [tenant] = must;
      // A record that is gone makes its image one that was there before: open to all by the policy.
      if (tenant === undefined || gone !== 'no') continue;
      questions.push({
        request: { image, imageRef, credentials: { secrets: [secretOf('nobody')] } },
        isWrong: ({ mustPull }) => !mustPull,
      });
      questions.push({
        request: { image, imageRef, credentials: { secrets: [secretOf(tenant)] } },
        isWrong: ({ reason, mustPull }) =>
          reason !== 'credentialRecordFound' && (keeps || !mustPull),
      });
    }
    for (const [image, { least }] of this.#pulls) {
      if (least <= 0 || this.#adoptable.has(image)) continue;
      const request = { image, imageRef: 'sha256:unknown' };
      questions.push({ request, isWrong: ({ mustPull }) => !mustPull });
    }
    const decisions = await manager.decideBatch(questions.map(({ request }) => request));
    return questions.flatMap(({ request, isWrong }, i) => {
      if (!isWrong(decisions[i]!)) return [];
      return [`wrong answer: ${decisions[i]!.reason} to ${JSON.stringify(request)}`];
    });
  }

  #pullsOf(image: string): Pulls {
    let pulls = this.#pulls.get(image);
    if (pulls === undefined) {
      pulls = { least: 0, most: 0 };
      this.#pulls.set(image, pulls);
    }
    return pulls;
  }

  #proofsOf(image: string, imageRef: string): Proofs {
    let proofs = this.#proofs.get(imageRef);
    if (proofs === undefined) {
      proofs = { image, must: new Set(), may: new Set(), gone: 'no' };
      this.#proofs.set(imageRef, proofs);
    }
    return proofs;
  }

  #entry(settle: () => void): Entry {
    return {
      done: () => {
        this.acknowledged++;
        settle();
      },
    };
  }
}

export function secretOf(tenant: string): ImagePullSecret {
  return { uid: tenant, namespace: 'team', name: tenant, credentialHash: `hash-of-${tenant}` };
}

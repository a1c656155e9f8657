/**
 * The sequential model: what the pull manager must do, without threads, batches or a store.
 *
 * Operations and answers are plain data, so that a recorded history can be replayed against it. With
 * the storm it shares the rules of decisions and of merging, with the engine the checks of image names
 * and the table of compatibility levels, and nothing else. It is the oracle of the tests and proofs.
 *
 * Source: kubernetes pkg/kubelet/images/pullmanager at v1.33 to v1.36, with the deviations W3 and W4 (lists
 * are merged and always normalised), W8 (what cannot be read is never taken for absent), W12 (times
 * are not cut to seconds).
 */
import { KUBELET_BEHAVIOUR, type KubeletBehaviour } from '../../src/compatibility.ts';
import { IMAGE_TEXT } from '../../src/images/image-text.ts';
import type { VerificationPolicy } from '../../src/policies/enforcer.ts';
import type {
  ImagePullCredentials,
  ImagePulledRecord,
  PodCredentials,
} from '../../src/records/record.ts';
import { mergeModelCredentials, normalized } from '../../src/storm/model-credentials.ts';
import { decideOn, type ModelReason, textOf } from '../../src/storm/model-decision.ts';

/** What a runtime lists; the fields that reconciliation reads. */
export interface ModelImage {
  readonly id: string;
  readonly repoTags: readonly string[];
  readonly repoDigests: readonly string[];
}

/**
 * An operation as plain data. `writePulled` and `decrement` are the two atomic steps of `pulled`,
 * for harnesses that interleave them. `writeIntent` and `deleteIntent` change the store and not the
 * counter, which is what a call may leave that was lost between the two.
 * `restart` forgets the counters and reconciles what is left.
 * `damage` makes a record unreadable: for good (`corrupt`) or until `repair` (`unreadable`).
 */
export type ModelOperation =
  | { readonly op: 'intent' | 'failed' | 'decrement'; readonly image: string }
  | { readonly op: 'writeIntent' | 'deleteIntent'; readonly image: string }
  | {
      readonly op: 'pulled' | 'writePulled';
      readonly image: string;
      readonly imageRef: string;
      readonly credentials: ImagePullCredentials | null;
    }
  | {
      readonly op: 'decide';
      readonly image: string;
      readonly imageRef: string;
      readonly credentials?: PodCredentials | undefined;
    }
  | { readonly op: 'prune'; readonly imageRefs: readonly string[]; readonly untilMs: number }
  | { readonly op: 'restart'; readonly images: readonly ModelImage[] }
  | { readonly op: 'listIntents' | 'listRecords' }
  | { readonly op: 'get'; readonly imageRef: string }
  | {
      readonly op: 'damage';
      readonly imageRef: string;
      readonly kind: 'corrupt' | 'unreadable';
    }
  | { readonly op: 'repair'; readonly imageRef: string };

/** What an operation answers, as plain data. */
export type ModelAnswer =
  | { readonly kind: 'done' }
  | { readonly kind: 'failed'; readonly error: 'image-name' | 'unreadable' }
  | { readonly kind: 'decision'; readonly mustPull: boolean; readonly reason: ModelReason }
  | { readonly kind: 'pruned'; readonly pruned: number; readonly kept: number }
  | { readonly kind: 'intents'; readonly images: readonly string[] }
  | { readonly kind: 'records'; readonly records: readonly ImagePulledRecord[] }
  | { readonly kind: 'record'; readonly record: ImagePulledRecord | undefined };

/** Settings of a model. */
export interface ModelOptions {
  /** @default { kind: 'NeverVerifyPreloadedImages' } */
  readonly policy?: VerificationPolicy;
  /** How the kubelet of the level behaves. @default v1.35 */
  readonly behaviour?: KubeletBehaviour;
  /** Clock in milliseconds since 1970. @default Date.now */
  readonly now?: () => number;
  /** What a model of the same settings had captured. @default nothing recorded */
  readonly state?: ModelState;
}

/** Everything a model knows, as plain data in one form: equal states are equal as JSON. */
export interface ModelState {
  readonly records: readonly ModelRecord[];
  readonly intents: readonly string[];
  readonly inFlight: readonly (readonly [image: string, count: number])[];
}

/** A pulled record of a captured state. */
export interface ModelRecord {
  readonly imageRef: string;
  readonly updatedAtMs: number;
  readonly names: readonly (readonly [name: string, proof: ImagePullCredentials])[];
  readonly damage?: 'corrupt' | 'unreadable';
}

interface StoredRecord {
  updatedAtMs: number;
  names: Map<string, ImagePullCredentials>;
  damage: 'corrupt' | 'unreadable' | undefined;
}

const DONE: ModelAnswer = { kind: 'done' };

/**
 * The pull manager as one sequential machine.
 *
 * ```ts
 * const model = new PullModel();
 * model.apply({ op: 'intent', image: 'nginx:1' });
 * model.apply({ op: 'decide', image: 'nginx:1', imageRef: 'sha256:1' }); // must authenticate
 * ```
 */
export class PullModel {
  readonly policy: VerificationPolicy;
  readonly behaviour: KubeletBehaviour;
  readonly #now: () => number;
  readonly #records = new Map<string, StoredRecord>();
  readonly #intents: Set<string>;
  readonly #inFlight: Map<string, number>;

  constructor(options: ModelOptions = {}) {
    this.policy = options.policy ?? { kind: 'NeverVerifyPreloadedImages' };
    this.behaviour = options.behaviour ?? KUBELET_BEHAVIOUR['v1.35'];
    this.#now = options.now ?? Date.now;
    const { records = [], intents = [], inFlight = [] } = options.state ?? {};
    for (const { imageRef, updatedAtMs, names, damage } of records) {
      this.#records.set(imageRef, { updatedAtMs, names: new Map(names), damage });
    }
    this.#intents = new Set(intents);
    this.#inFlight = new Map(inFlight);
  }

  /** The state now; later operations do not change it. */
  capture(): ModelState {
    const records = [...this.#records].sort(byKey).map(([imageRef, stored]) => ({
      imageRef,
      updatedAtMs: stored.updatedAtMs,
      names: [...stored.names].sort(byKey),
      ...(stored.damage === undefined ? {} : { damage: stored.damage }),
    }));
    const inFlight = [...this.#inFlight].sort(byKey);
    return { records, intents: [...this.#intents].sort(), inFlight };
  }

  /** Carries out one operation. */
  apply(operation: ModelOperation): ModelAnswer {
    switch (operation.op) {
      case 'intent':
        this.#intents.add(operation.image);
        this.#inFlight.set(operation.image, this.inFlight(operation.image) + 1);
        return DONE;
      case 'pulled': {
        const written = this.#writePulled(operation);
        // The intent stays after a failed write: the image keeps counting as pulled.
        if (written.kind === 'done') this.#decrement(operation.image);
        return written;
      }
      case 'writePulled':
        return this.#writePulled(operation);
      case 'failed':
      case 'decrement':
        this.#decrement(operation.image);
        return DONE;
      case 'writeIntent':
        this.#intents.add(operation.image);
        return DONE;
      case 'deleteIntent':
        this.#intents.delete(operation.image);
        return DONE;
      case 'decide':
        return this.#decide(operation);
      case 'prune':
        return this.#prune(operation.imageRefs, operation.untilMs);
      case 'restart':
        return this.#restart(operation.images);
      case 'listIntents':
        return { kind: 'intents', images: [...this.#intents].sort() };
      case 'listRecords': {
        const readable = [...this.#records].filter(([, stored]) => stored.damage === undefined);
        return { kind: 'records', records: readable.map(([ref, stored]) => plain(ref, stored)) };
      }
      case 'get': {
        const stored = this.#records.get(operation.imageRef);
        if (stored?.damage !== undefined) return { kind: 'failed', error: 'unreadable' };
        return { kind: 'record', record: stored && plain(operation.imageRef, stored) };
      }
      case 'damage': {
        const stored = this.#records.get(operation.imageRef);
        if (stored !== undefined) stored.damage = operation.kind;
        return DONE;
      }
      default: {
        const stored = this.#records.get(operation.imageRef);
        if (stored?.damage === 'unreadable') stored.damage = undefined;
        return DONE;
      }
    }
  }

  /** Pulls of an image that are under way. */
  inFlight(image: string): number {
    return this.#inFlight.get(image) ?? 0;
  }

  #decrement(image: string): void {
    const count = this.inFlight(image);
    if (count > 1) {
      this.#inFlight.set(image, count - 1);
    } else {
      this.#intents.delete(image);
      this.#inFlight.delete(image);
    }
  }

  #writePulled(operation: {
    readonly image: string;
    readonly imageRef: string;
    readonly credentials: ImagePullCredentials | null;
  }): ModelAnswer {
    const { recordKey, hasServiceAccounts } = this.behaviour;
    const name = textOf(operation.image, IMAGE_TEXT[recordKey]);
    if (name === undefined) return { kind: 'failed', error: 'image-name' };
    const stored = this.#records.get(operation.imageRef);
    if (stored?.damage === 'unreadable') return { kind: 'failed', error: 'unreadable' };
    const { credentials: given } = operation;
    const credentials = hasServiceAccounts ? given : withoutAccounts(given);
    if (stored === undefined || stored.damage === 'corrupt') {
      const names = new Map<string, ImagePullCredentials>();
      if (credentials !== null) names.set(name, normalized(credentials));
      const fresh = { updatedAtMs: this.#now(), names, damage: undefined };
      this.#records.set(operation.imageRef, fresh);
      return DONE;
    }
    const merged = mergeModelCredentials(stored.names.get(name), credentials);
    if (merged !== undefined) {
      stored.names.set(name, merged);
      stored.updatedAtMs = this.#now();
    }
    return DONE;
  }

  #decide(operation: {
    readonly image: string;
    readonly imageRef: string;
    readonly credentials?: PodCredentials | undefined;
  }): ModelAnswer {
    const { image, imageRef, credentials } = operation;
    if (imageRef === '') return { kind: 'decision', mustPull: true, reason: 'mustAuthenticate' };
    const stored = this.#records.get(imageRef);
    if (stored?.damage !== undefined) return { kind: 'decision', mustPull: true, reason: 'error' };
    const decision = decideOn({
      image,
      policy: this.policy,
      behaviour: this.behaviour,
      record: stored?.names,
      isIntended: this.#intents.has(image) || this.inFlight(image) > 0,
      credentials,
    });
    const { mustPull, reason, learned } = decision;
    if (learned !== undefined) {
      this.#writePulled({ image, imageRef, credentials: { kubernetesSecrets: [learned] } });
    }
    return { kind: 'decision', mustPull, reason };
  }

  #prune(imageRefs: readonly string[], untilMs: number): ModelAnswer {
    const listed = new Set(imageRefs);
    let pruned = 0;
    let kept = 0;
    for (const [imageRef, stored] of this.#records) {
      if (stored.damage !== undefined) continue;
      if (stored.updatedAtMs < untilMs && !listed.has(imageRef)) {
        this.#records.delete(imageRef);
        pruned++;
      } else {
        kept++;
      }
    }
    return { kind: 'pruned', pruned, kept };
  }

  #restart(images: readonly ModelImage[]): ModelAnswer {
    this.#inFlight.clear();
    for (const { id, repoDigests, repoTags } of images) {
      for (const text of [...repoDigests, ...repoTags]) {
        if (!this.#intents.has(text)) continue;
        const written = this.#writePulled({ image: text, imageRef: id, credentials: null });
        if (written.kind === 'done') this.#intents.delete(text);
      }
    }
    return DONE;
  }
}

function withoutAccounts(credentials: ImagePullCredentials | null): ImagePullCredentials | null {
  if (credentials === null) return null;
  const { kubernetesServiceAccounts: _, ...known } = credentials;
  return known;
}

function byKey(a: readonly [string, unknown], b: readonly [string, unknown]): number {
  if (a[0] === b[0]) return 0;
  return a[0] < b[0] ? -1 : 1;
}

function plain(imageRef: string, stored: StoredRecord): ImagePulledRecord {
  const credentialMapping: Record<string, ImagePullCredentials> = Object.create(null);
  for (const [name, proof] of stored.names) credentialMapping[name] = structuredClone(proof);
  return { imageRef, lastUpdatedTime: new Date(stored.updatedAtMs), credentialMapping };
}

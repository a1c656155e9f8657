/** A caller: does its acts one after the other, or two at a time, and notes each call. */
import type { PullManager } from '../../../src/pull-manager.ts';
import type { Answer, Call, Entry, EventCount } from './history.ts';
import type { Act } from './program.ts';
import { OFFERS, PROOFS, type Universe } from './universe.ts';

/** Used in one thread, for one history. */
export class Caller {
  readonly entries: Entry[] = [];
  readonly #name: string;
  readonly #manager: PullManager;
  readonly #universe: Universe;
  readonly #events: EventCount;

  constructor(name: string, manager: PullManager, universe: Universe, events: EventCount) {
    this.#name = name;
    this.#manager = manager;
    this.#universe = universe;
    this.#events = events;
  }

  async run(acts: readonly Act[]): Promise<void> {
    let before: Promise<unknown> | undefined;
    for (const act of acts) {
      const doing = this.#do(act);
      await before;
      before = undefined;
      if (act.isAwaited) await doing;
      else before = doing;
    }
    await before;
  }

  async #do(act: Act): Promise<void> {
    if (act.act === 'pull') {
      const intent = await this.call({ op: 'intent', image: this.#universe.images[act.image]! });
      if (intent?.kind !== 'done') return;
    }
    await this.call(this.#callOf(act));
  }

  /** Makes a call and notes it; never rejects. */
  async call(call: Call): Promise<Answer | undefined> {
    const start = this.#events.next();
    let answer: Answer | undefined;
    try {
      answer = await this.#perform(call);
    } catch (error) {
      const { code } = error as { code?: unknown };
      answer = { kind: 'failed', code: typeof code === 'string' ? code : String(error) };
    }
    if (answer === undefined) return undefined;
    this.entries.push({ caller: this.#name, call, start, end: this.#events.next(), answer });
    return answer;
  }

  #callOf(act: Act): Call {
    const { images, imageRefs } = this.#universe;
    switch (act.act) {
      case 'intent':
      case 'failed':
        return { op: act.act, image: images[act.image]! };
      case 'pull':
      case 'pulled': {
        const credentials = PROOFS[act.proof]!;
        return {
          op: 'pulled',
          image: images[act.image]!,
          imageRef: imageRefs[act.ref]!,
          credentials,
        };
      }
      case 'decide': {
        const credentials = OFFERS[act.offer]!;
        const imageRef = imageRefs[act.ref]!;
        return { op: 'decide', how: act.how, image: images[act.image]!, imageRef, credentials };
      }
      case 'get':
        return { op: 'get', imageRef: imageRefs[act.ref]! };
      case 'prune': {
        const listed = act.listed.map((ref) => imageRefs[ref]!);
        const untilMs = Date.now() + act.untilS * 1_000;
        return { op: 'prune', listed: [...listed, ...this.#universe.spared], untilMs };
      }
      default:
        return { op: act.act };
    }
  }

  /** Undefined: nothing was answered, and nothing done. */
  async #perform(call: Call): Promise<Answer | undefined> {
    const manager = this.#manager;
    switch (call.op) {
      case 'intent':
        await manager.recordPullIntent(call.image);
        return { kind: 'done' };
      case 'failed':
        await manager.recordImagePullFailed(call.image);
        return { kind: 'done' };
      case 'pulled':
        await manager.recordImagePulled(call.image, call.imageRef, call.credentials);
        return { kind: 'done' };
      case 'decide':
        return this.#decide(call);
      case 'get': {
        const record = await manager.getImagePulledRecord(call.imageRef);
        return { kind: 'record', record };
      }
      case 'prune': {
        const result = await manager.pruneUnknownRecords(call.listed, new Date(call.untilMs));
        return { kind: 'pruned', count: result.pruned, errorCount: result.errors.length };
      }
      case 'listIntents': {
        const { records, errors } = await manager.listImagePullIntents();
        const images = records.map(({ image }) => image).filter((image) => this.#isOurs(image));
        return { kind: 'intents', images, errorCount: errors.length };
      }
      case 'listRecords': {
        const { records, errors } = await manager.listImagePulledRecords();
        const ours = records.filter(({ imageRef }) => this.#isOurs(imageRef));
        return { kind: 'records', records: ours, errorCount: errors.length };
      }
      default:
        throw new TypeError('a caller does not restart engines');
    }
  }

  async #decide(call: Extract<Call, { op: 'decide' }>): Promise<Answer | undefined> {
    const { image, imageRef, credentials } = call;
    const manager = this.#manager;
    switch (call.how) {
      case 'mustAttempt': {
        const mustPull = await manager.mustAttemptImagePull(image, imageRef, credentials);
        return { kind: 'decision', mustPull, reason: undefined };
      }
      case 'sync': {
        const decision = manager.decideSync(image, imageRef, credentials);
        return decision && { kind: 'decision', ...pick(decision) };
      }
      case 'batch': {
        // Another question beside it, which nobody else asks.
        const other = { image, imageRef: `${imageRef}-unasked` };
        const [, decision] = await manager.decideBatch([other, { image, imageRef, credentials }]);
        return { kind: 'decision', ...pick(decision!) };
      }
      default:
        return { kind: 'decision', ...pick(await manager.decide(image, imageRef, credentials)) };
    }
  }

  #isOurs(key: string): boolean {
    return key.includes(this.#universe.tag);
  }
}

function pick<T extends { mustPull: boolean; reason: unknown }>({
  mustPull,
  reason,
}: T): Pick<T, 'mustPull' | 'reason'> {
  return { mustPull, reason };
}

/**
 * A load on a real engine whose storage breaks in the middle, and is mended: what is answered is right
 * or an error, what was acknowledged stays, and the engine goes on.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { type ImagePullSecret, PullManager, type PullManagerOptions } from '../../../src/index.ts';
import type { Engine } from './life.ts';
import { Oracle } from './oracle.ts';
import { Witness } from './witness.ts';

export interface LoadOptions {
  readonly store: NonNullable<PullManagerOptions['store']>;
  /** From here on writes fail, at the latest when the files at hand are full. */
  readonly breakIt: () => void;
  readonly mendIt: () => void;
  /** It cannot be mended while the engine has it open. */
  readonly isForGood?: boolean;
  /** @default the engine itself */
  readonly open?: (options: PullManagerOptions) => Promise<Engine>;
}

export interface LoadReport {
  readonly problems: readonly string[];
  readonly acknowledged: number;
  readonly refused: number;
  /** How long after it was mended the first write was taken, in milliseconds. */
  readonly recoveryMs: number;
}

const HEALTHY = 32;
/** Images at most while the storage is broken, and refusals that are enough. */
const BROKEN_MAX = 4_000;
const REFUSALS_ENOUGH = 20;
const CALLERS = 8;
const GUARD_MS = 60_000;
const PATIENCE_MS = 30_000;
/** Long, so that files fill soon. */
const PADDING = 'x'.repeat(2_000);

export async function loadThrough(options: LoadOptions): Promise<LoadReport> {
  return new Load(options).run();
}

class Load {
  readonly #options: LoadOptions;
  readonly #oracle = new Oracle();
  /** Nothing is counted here: it only says whether errors are answers. */
  readonly #weather = { isFailing: false, hits: 0 };
  readonly #witness = new Witness(this.#weather, GUARD_MS);
  #engine!: Engine;
  #count = 0;
  #acknowledged = 0;

  constructor(options: LoadOptions) {
    this.#options = options;
  }

  async run(): Promise<LoadReport> {
    const { store, breakIt, mendIt, isForGood = false } = this.#options;
    const { problems } = this.#witness;
    const opening = this.#options.open ?? PullManager.open.bind(PullManager);
    const open = (): Promise<Engine> => opening({ store, workerCount: 0 });
    this.#engine = await open();
    let recoveryMs = 0;
    try {
      this.#witness.beginStep('before it breaks');
      await this.#images(HEALTHY);
      this.#witness.beginStep('while it is broken');
      breakIt();
      this.#weather.isFailing = true;
      const until = this.#count + BROKEN_MAX;
      while (this.#witness.refusals < REFUSALS_ENOUGH && this.#count < until) {
        await this.#images(CALLERS);
      }
      if (this.#witness.refusals < REFUSALS_ENOUGH) {
        this.#witness.report('it took everything, so it was not broken');
      }
      if (!isForGood) {
        mendIt();
        recoveryMs = await this.#recovered();
        this.#witness.beginStep('after it was mended');
        this.#weather.isFailing = false;
        await this.#images(HEALTHY);
        await this.#compare();
      }
    } finally {
      await this.#engine.close();
    }
    if (isForGood) mendIt();
    this.#weather.isFailing = false;
    this.#witness.beginStep('in the next life');
    this.#engine = await open();
    this.#oracle.restarted();
    await this.#compare();
    await this.#images(HEALTHY);
    await this.#engine.close();
    const { refusals } = this.#witness;
    return { problems, acknowledged: this.#acknowledged, refused: refusals, recoveryMs };
  }

  /** Pulls so many images, and asks for each what its own tenant and another one may. */
  async #images(count: number): Promise<void> {
    const numbers = Array.from({ length: count }, () => this.#count++);
    const callers = Array.from({ length: CALLERS }, async () => {
      for (let i = numbers.shift(); i !== undefined; i = numbers.shift()) await this.#pull(i);
    });
    await Promise.all(callers);
  }

  async #pull(number: number): Promise<void> {
    const image = `registry.test/g${number}/app:1`;
    const imageRef = `sha256:0/g${number}/1`;
    const engine = this.#engine;
    const intent = await this.#witness.ask('an intent', () => engine.recordPullIntent(image));
    if (intent.isAnswered) {
      this.#acknowledged++;
      this.#oracle.acknowledged({ op: 'intent', image });
      const credentials = { kubernetesSecrets: [secretOf(number)] };
      const operation = { op: 'pulled', image, imageRef, credentials } as const;
      const pulled = await this.#witness.ask('an outcome', () =>
        engine.recordImagePulled(image, imageRef, credentials),
      );
      if (pulled.isAnswered) {
        this.#acknowledged++;
        this.#oracle.acknowledged(operation);
      } else this.#oracle.uncertain(operation);
    } else this.#oracle.uncertain({ op: 'intent', image });
    for (const secrets of [[secretOf(number)], [secretOf(number + 1)]]) {
      const question = { image, imageRef, credentials: { secrets } };
      const asked = await this.#witness.ask('a decision', () =>
        engine.decide(image, imageRef, question.credentials),
      );
      if (!asked.isAnswered || this.#witness.isRefusal(asked.answer)) continue;
      this.#witness.report(this.#oracle.decided(question, asked.answer));
    }
  }

  /** Tries until a write is taken; answers after how many milliseconds that was. */
  async #recovered(): Promise<number> {
    const startedMs = performance.now();
    for (;;) {
      const before = this.#acknowledged;
      await this.#pull(this.#count++);
      const tookMs = performance.now() - startedMs;
      if (this.#acknowledged >= before + 2) return tookMs;
      if (tookMs > PATIENCE_MS) {
        this.#witness.report(`${Math.round(tookMs)} ms after it was mended it takes no write`);
        return tookMs;
      }
      await delay(20);
    }
  }

  async #compare(): Promise<void> {
    const intents = await this.#engine.listImagePullIntents();
    const records = await this.#engine.listImagePulledRecords();
    for (const error of [...intents.errors, ...records.errors]) {
      this.#witness.report(`a listing has an error: ${error.message}`);
    }
    this.#witness.report(...this.#oracle.listedIntents(intents.records.map(({ image }) => image)));
    this.#witness.report(...this.#oracle.listedRecords(records.records));
  }
}

function secretOf(number: number): ImagePullSecret {
  const name = `s${number}`;
  return { uid: name, namespace: `team-${PADDING}`, name, credentialHash: name };
}

/** The worlds of every key that was ever named. */

import { type CrashWorlds, KeyWorlds } from '../common/worlds.ts';
import {
  type IntentState,
  intentText,
  NO_INTENT,
  type RecordState,
  recordText,
  restartIntent,
  seenRecord,
} from './states.ts';
import type { Dump } from './sweep.ts';
import { IMAGE_COUNT, imageOf, refOf } from './universe.ts';

/** The worlds at a crash, by image and by reference. */
export interface CrashedKeys {
  readonly intents: ReadonlyMap<number, CrashWorlds<IntentState>>;
  readonly records: ReadonlyMap<number, CrashWorlds<RecordState>>;
}

/** Intents by image, records by reference. */
export class KnownKeys {
  readonly #intents = new Map<number, KeyWorlds<IntentState>>();
  readonly #records = new Map<number, KeyWorlds<RecordState>>();
  #isWindowOpen = false;

  intent(image: number): KeyWorlds<IntentState> {
    let worlds = this.#intents.get(image);
    if (worlds === undefined) {
      worlds = new KeyWorlds(NO_INTENT, intentText);
      if (this.#isWindowOpen) worlds.openWindow();
      this.#intents.set(image, worlds);
    }
    return worlds;
  }

  record(ref: number): KeyWorlds<RecordState> {
    let worlds = this.#records.get(ref);
    if (worlds === undefined) {
      worlds = new KeyWorlds<RecordState>(undefined, recordText);
      if (this.#isWindowOpen) worlds.openWindow();
      this.#records.set(ref, worlds);
    }
    return worlds;
  }

  knowsIntent(image: number): boolean {
    return this.#intents.has(image);
  }

  knowsRecord(ref: number): boolean {
    return this.#records.has(ref);
  }

  /** Begins with what a store holds. */
  begin(dump: Dump): void {
    const numbers = new Map<string, number>();
    for (let key = 0; key < IMAGE_COUNT; key++) numbers.set(imageOf(key), key).set(refOf(key), key);
    for (const image of dump.intents) {
      this.intent(numbers.get(image)!).reset({ isStored: true, count: 0 });
    }
    for (const record of dump.records) {
      this.record(numbers.get(record.imageRef)!).reset(seenRecord(record));
    }
  }

  /** From here to `crash`, the crash may have been at any moment. */
  openWindow(): void {
    this.#isWindowOpen = true;
    for (const worlds of this.#intents.values()) worlds.openWindow();
    for (const worlds of this.#records.values()) worlds.openWindow();
  }

  /** Undefined after a window: nobody knows what had happened of what was running. */
  crash(): CrashedKeys | undefined {
    const intents = new Map<number, CrashWorlds<IntentState>>();
    const records = new Map<number, CrashWorlds<RecordState>>();
    for (const [image, worlds] of this.#intents) intents.set(image, worlds.crash(restartIntent));
    for (const [ref, worlds] of this.#records) {
      records.set(
        ref,
        worlds.crash((state) => state),
      );
    }
    const isKnown = !this.#isWindowOpen;
    this.#isWindowOpen = false;
    return isKnown ? { intents, records } : undefined;
  }

  /** Pulls in flight, of images of which it is certain. */
  certainPulls(): Map<number, number> {
    const certain = new Map<number, number>();
    for (const [image, worlds] of this.#intents) {
      const [state, ...others] = worlds.states;
      if (others.length === 0 && state!.isStored) certain.set(image, state!.count);
    }
    return certain;
  }
}

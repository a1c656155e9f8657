/** Kubelet stores for tests, and a kubelet to share them with: one that knows plain files only. */
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { vi } from 'vitest';
import type { AccessorContext, OwnedAccessor } from '../../../src/accessors/accessor.ts';
import { acquireDirectoryLock } from '../../../src/accessors/directory-lock.ts';
import { openKubelet } from '../../../src/accessors/kubelet/kubelet-accessor.ts';
import {
  kubeletLockDirectory,
  prepareKubelet,
  releaseKubelet,
} from '../../../src/accessors/kubelet/kubelet-directory.ts';
import {
  encodeIntent,
  encodePulled,
  recordFileName,
} from '../../../src/accessors/kubelet/record-format.ts';
import { type CompatibilityLevel, KUBELET_BEHAVIOUR } from '../../../src/compatibility.ts';
import { type ImagePulledRecord, PulledRecord } from '../../../src/records/record.ts';
import type { StoreUnderTest } from '../../conformance/accessor-suite.ts';
import { soleWorker, temporaryDirectory } from '../open-store.ts';

export type KubeletTuningChanges = Parameters<typeof prepareKubelet>[2];

export interface KubeletSetup {
  readonly context?: Partial<AccessorContext>;
  readonly compatibility?: CompatibilityLevel;
  readonly tuning?: KubeletTuningChanges;
}

/** Files and notifications at once, so that tests need not wait. */
export const QUICK: KubeletTuningChanges = {
  writeBehind: { delayMs: 0, retryMsMin: 5, retryMsMax: 20 },
  watch: { pollMs: 20, watchedPollMs: 20 },
};

export interface OpenKubelet {
  readonly accessor: OwnedAccessor;
  readonly close: () => Promise<void>;
  /** Leaves all as a crash does. */
  readonly abandon: () => Promise<void>;
}

/** Opens one accessor on an `image_manager` directory. */
export async function openAt(dir: string, setup: KubeletSetup = {}): Promise<OpenKubelet> {
  const lock = await acquireDirectoryLock(await kubeletLockDirectory(dir));
  try {
    const { compatibility = 'v1.35', tuning = QUICK } = setup;
    const plan = await prepareKubelet(lock.path, compatibility, tuning);
    const accessor = await openKubelet(plan, soleWorker(setup.context));
    const close = async (): Promise<void> => {
      await accessor.close();
      await releaseKubelet(plan);
      await lock.release();
    };
    return { accessor, close, abandon: () => lock.release() };
  } catch (error) {
    await lock.release();
    throw error;
  }
}

export interface KubeletUnderTest extends StoreUnderTest {
  readonly accessor: OwnedAccessor;
  readonly dir: string;
  readonly reopen: (setup?: KubeletSetup) => Promise<OwnedAccessor>;
  /** As `reopen`, after a crash instead of a close. */
  readonly crash: (setup?: KubeletSetup) => Promise<OwnedAccessor>;
  /** Closes it, and leaves its directory. */
  readonly close: () => Promise<void>;
  readonly dispose: () => Promise<void>;
}

/** Opens a store in a new directory. */
export async function openTemporary(setup: KubeletSetup = {}): Promise<KubeletUnderTest> {
  const base = await temporaryDirectory();
  const dir = join(base, 'image_manager');
  let current = await openAt(dir, setup);
  const corrupt = (kind: 'pulling' | 'pulled') => async (key: string) => {
    const path = join(dir, kind, recordFileName(key));
    await settled(current.accessor);
    await writeFile(path, 'damaged');
    await foreignChange(current.accessor);
  };
  return {
    accessor: current.accessor,
    dir,
    reopen: async (changes = setup) => {
      await current.close();
      current = await openAt(dir, changes);
      return current.accessor;
    },
    corruptPulled: corrupt('pulled'),
    corruptIntent: corrupt('pulling'),
    crash: async (changes = setup) => {
      await current.abandon();
      current = await openAt(dir, changes);
      return current.accessor;
    },
    close: () => current.close(),
    dispose: async () => {
      await current.close();
      await rm(base, { recursive: true, force: true });
    },
  };
}

/** Resolves when the kubelet's files have everything. */
export async function settled(accessor: OwnedAccessor): Promise<void> {
  while (accessor.maintenance !== undefined) await accessor.maintenance;
  accessor.takeForeignChanges?.();
}

/** One pass over the files now, also where writes wait for others. */
export async function written(accessor: OwnedAccessor): Promise<void> {
  const { inspect } = accessor as OwnedAccessor & { inspect?: () => AsyncIterable<unknown> };
  for await (const _ of inspect!.call(accessor));
}

/** Resolves when the accessor has noticed, and taken in, a change of others; answers the keys. */
export async function foreignChange(accessor: OwnedAccessor): Promise<readonly string[] | 'all'> {
  let changed: readonly string[] | 'all' = [];
  await vi.waitUntil(
    () => {
      changed = accessor.takeForeignChanges?.() ?? [];
      return changed.length > 0;
    },
    { timeout: 10_000, interval: 5 },
  );
  return changed;
}

/** A kubelet, as far as its files go. */
export class PlainKubelet {
  readonly #dir: string;
  readonly #level: CompatibilityLevel;

  constructor(dir: string, level: CompatibilityLevel = 'v1.35') {
    this.#dir = dir;
    this.#level = level;
  }

  async writeIntent(image: string): Promise<void> {
    await this.#write('pulling', image, encodeIntent(image, KUBELET_BEHAVIOUR[this.#level]));
  }

  async writePulled(record: ImagePulledRecord): Promise<void> {
    const bytes = encodePulled(PulledRecord.from(record), KUBELET_BEHAVIOUR[this.#level]);
    await this.#write('pulled', record.imageRef, bytes);
  }

  async deleteIntent(image: string): Promise<void> {
    await rm(this.pathOf('pulling', image), { force: true });
  }

  async deletePulled(imageRef: string): Promise<void> {
    await rm(this.pathOf('pulled', imageRef), { force: true });
  }

  /** Content of a key's file; undefined: there is none. */
  read(directory: 'pulling' | 'pulled', key: string): Promise<string | undefined> {
    return readFile(this.pathOf(directory, key), 'utf8').catch(() => undefined);
  }

  /** Names in a directory, in their order. */
  async names(directory: 'pulling' | 'pulled'): Promise<string[]> {
    return (await readdir(join(this.#dir, directory))).sort();
  }

  pathOf(directory: 'pulling' | 'pulled', key: string): string {
    return join(this.#dir, directory, recordFileName(key));
  }

  async #write(directory: 'pulling' | 'pulled', key: string, bytes: Uint8Array): Promise<void> {
    const path = this.pathOf(directory, key);
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await writeFile(`${path}.tmp`, bytes, { mode: 0o600 });
    await rename(`${path}.tmp`, path);
  }
}

/** Files below the store's own directory but those of its lock. */
export async function ownLeftovers(dir: string): Promise<string[]> {
  const names = await readdir(join(dir, '.pullwarden'), { recursive: true });
  return names.filter((name) => name !== 'LOCK').sort();
}

/** A method as it is before a test replaces it. */
export function methodOf<T, K extends keyof T>(prototype: T, name: K): T[K] {
  return prototype[name];
}

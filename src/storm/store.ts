/** The store of a storm: what `--store` says, and a temporary directory where it names none. */
import { mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { StoreOptions } from '../accessors/backend.ts';
import {
  parseStoreLocation,
  STORE_KINDS,
  type StoreKind,
  storeOptions,
} from '../accessors/store-location.ts';

/** A store that is ready to be opened. */
export interface StormStore {
  /** How it is shown, for example `journal (temporary)`. */
  readonly label: string;
  readonly options: Extract<StoreOptions, { kind: string }>;
  /** Whether it keeps anything beyond the life of an engine. */
  readonly isDurable: boolean;
  /** In which steps it keeps times. */
  readonly timeResolutionMs: number;
  /** Removes the temporary directory, if there is one. Idempotent. */
  remove(): void;
}

/**
 * Parses `memory`, or `journal`, `lmdb` or `kubelet`, alone or with `:PATH` behind.
 *
 * @throws `INVALID_ARGUMENT` for anything else, with the nearest right one.
 */
export function parseStore(text: string, where = '--store'): { kind: StoreKind; path?: string } {
  const { kind, location } = parseStoreLocation(text, STORE_KINDS, where);
  return location === undefined ? { kind } : { kind, path: resolve(location) };
}

/** Makes a store ready; without a path, in a new directory on a real disk. */
export function prepareStore(text: string): StormStore {
  const { kind, path } = parseStore(text);
  if (kind === 'memory') {
    return {
      label: kind,
      options: { kind },
      isDurable: false,
      timeResolutionMs: 1,
      remove: () => {},
    };
  }
  const timeResolutionMs = kind === 'kubelet' ? 1000 : 1;
  if (path !== undefined) {
    return {
      label: `${kind}:${path}`,
      options: storeOptions(kind, path),
      isDurable: true,
      timeResolutionMs,
      remove: () => {},
    };
  }
  const directory = mkdtempSync(join(temporaryParent(), 'pullwarden-storm-'));
  return {
    label: `${kind} (temporary)`,
    options: storeOptions(kind, join(directory, 'store')),
    isDurable: true,
    timeResolutionMs,
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}

const TMPFS_MAGIC = 0x0102_1994;

/** The first of the usual places that is not in memory: durable writes there would cost nothing. */
function temporaryParent(): string {
  for (const place of [tmpdir(), process.cwd(), homedir()]) {
    try {
      if (statfsSync(place).type !== TMPFS_MAGIC) return place;
    } catch {
      // Not there, or not ours to ask about: try the next.
    }
  }
  return tmpdir();
}

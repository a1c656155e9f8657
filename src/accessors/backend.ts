/**
 * The host's side of a store: validates its options, takes its directory, and makes the message
 * from which each worker opens its own accessor.
 */
import type { CompatibilityLevel } from '../compatibility.ts';
import { errorCode, invalidArgument, PullManagerError, storeError } from '../errors.ts';
import { acquireDirectoryLock, type DirectoryLock } from './directory-lock.ts';
import { commitJournal, type JournalPlan, prepareJournal } from './journal/journal-directory.ts';
import {
  type KubeletPlan,
  kubeletLockDirectory,
  prepareKubelet,
  releaseKubelet,
} from './kubelet/kubelet-directory.ts';
import { prepareLmdb } from './lmdb-environment.ts';
import { resolveModuleUrl } from './module.ts';
import { STORE_KINDS } from './store-location.ts';

/** Which store an engine keeps its records in. */
export type StoreOptions =
  /** The embedded default; `flush` (default) survives power loss, `write` a crash of the process. */
  | { kind: 'journal'; path: string; durability?: 'flush' | 'write' }
  /** Needs the optional peer dependency `lmdb`; for record sets larger than memory. */
  | { kind: 'lmdb'; path: string }
  /** The kubelet's own `image_manager` directory, the one that holds `pulling` and `pulled`. */
  | { kind: 'kubelet'; dir: string }
  /** Keeps nothing beyond the life of the engine. */
  | { kind: 'memory' }
  /**
   * The user's own accessor, loaded inside the workers. `options` must be structured-cloneable. A
   * relative `module` is resolved against the working directory, a bare one as a package from there.
   */
  | { module: string | URL; options?: unknown };

/** What a worker needs to open its part of a store. Structured-cloneable. */
export type StoreSpec =
  | { readonly kind: 'memory' }
  | { readonly kind: 'journal'; readonly plan: JournalPlan }
  | { readonly kind: 'lmdb'; readonly path: string }
  | { readonly kind: 'kubelet'; readonly plan: KubeletPlan }
  | { readonly kind: 'module'; readonly url: string; readonly options: unknown };

/** The host's hold on a store, from before the first worker opens it until the last has closed it. */
export interface StoreBackend {
  /** `journal`, `lmdb`, `kubelet`, `memory` or `module`. */
  readonly kind: StoreSpec['kind'];
  readonly spec: StoreSpec;
  /** Whether listings of an accessor cover its owner's keys only; else each sees the whole store. */
  readonly listsOnlyOwnKeys: boolean;
  /** Whether a worker of this store must let its event loop turn while it waits. */
  readonly needsEventLoop: boolean;
  /** Call once every worker has opened its part: what the store held in an older layout may go. */
  commitOpen(): Promise<void>;
  /** Gives the directory back. Idempotent. Call after every accessor is closed. */
  release(): Promise<void>;
}

/** How the engine that opens the store is built. */
export interface BackendContext {
  /** At least 1. */
  readonly workerCount: number;
  readonly stripeCount: number;
  readonly compatibility: CompatibilityLevel;
}

/**
 * Validates `options`, takes the store's directory where it has one, and prepares it for
 * `context.workerCount` accessors.
 *
 * Errors: `INVALID_ARGUMENT` naming the option, `STORE_IN_USE`, `STORE_UNAVAILABLE`,
 * `STORE_CORRUPT`, `STORE_VERSION_UNSUPPORTED`. After an error nothing is held.
 */
export async function openBackend(
  options: StoreOptions,
  context: BackendContext,
): Promise<StoreBackend> {
  const valid = validateStoreOptions(options);
  if ('module' in valid) {
    const url = resolveModuleUrl(valid.module);
    return new Backend({ kind: 'module', url, options: cloneable(valid.options) }, undefined);
  }
  switch (valid.kind) {
    case 'memory':
      return new Backend({ kind: 'memory' }, undefined);
    case 'journal':
      return openLocked(valid.path, async (path) => {
        const plan = await prepareJournal({
          path,
          durability: valid.durability ?? 'flush',
          partitionCount: context.workerCount,
          stripeCount: context.stripeCount,
        });
        return { kind: 'journal', plan };
      });
    case 'lmdb':
      return openLocked(valid.path, async (path) => {
        await prepareLmdb(path);
        return { kind: 'lmdb', path };
      });
    case 'kubelet':
      return openLocked(await kubeletLockDirectory(valid.dir), async (path) => {
        return { kind: 'kubelet', plan: await prepareKubelet(path, context.compatibility) };
      });
  }
}

const DURABILITIES: readonly unknown[] = [undefined, 'flush', 'write'];

/** The same options, if they are well-formed; otherwise throws `INVALID_ARGUMENT`. */
export function validateStoreOptions(options: StoreOptions): StoreOptions {
  const given: unknown = options;
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw invalidArgument('store', 'must be an object');
  }
  const fields = given as Record<string, unknown>;
  if (fields.module !== undefined) {
    if (fields.kind !== undefined) throw invalidArgument('store', 'has both a kind and a module');
    const isText = typeof fields.module === 'string' && fields.module !== '';
    if (!isText && !(fields.module instanceof URL)) {
      throw invalidArgument('store.module', 'must be a non-empty string or a URL');
    }
    return options;
  }
  if (STORE_KINDS.every((kind) => kind !== fields.kind)) {
    throw invalidArgument('store.kind', `must be one of ${STORE_KINDS.join(', ')}`);
  }
  if (fields.kind === 'journal' || fields.kind === 'lmdb') validatePath('store.path', fields.path);
  if (fields.kind === 'kubelet') validatePath('store.dir', fields.dir);
  if (fields.kind === 'journal' && !DURABILITIES.includes(fields.durability)) {
    throw invalidArgument('store.durability', "must be 'flush' or 'write'");
  }
  return options;
}

function validatePath(argument: string, path: unknown): void {
  if (typeof path !== 'string' || path === '') {
    throw invalidArgument(argument, 'must be a non-empty string');
  }
  if (path.includes('\0')) throw invalidArgument(argument, 'must not contain NUL');
}

/** What a user's module gets as its options has to reach another thread. */
function cloneable(options: unknown): unknown {
  try {
    return structuredClone(options);
  } catch (cause) {
    const problem = `must be structured-cloneable (${errorCode(cause) ?? 'it is not'})`;
    const error = invalidArgument('store.options', problem);
    error.cause = cause;
    throw error;
  }
}

async function openLocked(
  given: string,
  prepare: (path: string) => Promise<StoreSpec>,
): Promise<StoreBackend> {
  const lock = await acquireDirectoryLock(given);
  try {
    return new Backend(await prepare(lock.path), lock);
  } catch (cause) {
    await lock.release();
    throw storeError(`cannot open the store in ${lock.path}`, cause, lock.path);
  }
}

const LIST_ONLY_OWN_KEYS: readonly StoreSpec['kind'][] = ['journal', 'kubelet', 'memory'];

class Backend implements StoreBackend {
  readonly kind: StoreSpec['kind'];
  readonly spec: StoreSpec;
  readonly needsEventLoop: boolean;
  readonly listsOnlyOwnKeys: boolean;
  readonly #lock: DirectoryLock | undefined;
  #released = false;

  constructor(spec: StoreSpec, lock: DirectoryLock | undefined) {
    this.kind = spec.kind;
    this.spec = spec;
    this.needsEventLoop = spec.kind === 'module' || spec.kind === 'kubelet';
    this.listsOnlyOwnKeys = LIST_ONLY_OWN_KEYS.includes(spec.kind);
    this.#lock = lock;
  }

  async commitOpen(): Promise<void> {
    if (this.#released) {
      throw new PullManagerError('CLOSED', 'commitOpen: the store is closed');
    }
    if (this.spec.kind === 'journal') await commitJournal(this.spec.plan);
  }

  async release(): Promise<void> {
    if (!this.#released && this.spec.kind === 'kubelet') await releaseKubelet(this.spec.plan);
    this.#released = true;
    await this.#lock?.release();
  }
}

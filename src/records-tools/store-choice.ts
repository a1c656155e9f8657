/** Which store a tool works on: `--store KIND:PATH`, as the options of the library. */
import { resolve } from 'node:path';
import type { StoreOptions } from '../accessors/backend.ts';
import { parseStoreLocation, STORE_KINDS, storeOptions } from '../accessors/store-location.ts';
import { COMPATIBILITY_DEFAULT, type CompatibilityLevel } from '../compatibility.ts';
import { invalidArgument, quote } from '../errors.ts';

/** A store, and how it is shown. */
export interface StoreChoice {
  readonly options: StoreOptions;
  /** Without the options of a module: they may be secret. */
  readonly label: string;
  readonly compatibility: CompatibilityLevel;
}

const KINDS = [...STORE_KINDS.filter((kind) => kind !== 'memory'), 'module'] as const;

/**
 * The store that a text names: `journal:PATH`, `lmdb:PATH`, `kubelet:DIR` or `module:MODULE`.
 *
 * @param moduleOptions - JSON, given to the module's factory. @default undefined
 * @throws `INVALID_ARGUMENT` naming the argument.
 */
export function parseStoreChoice(
  text: string,
  argument: string,
  compatibility: CompatibilityLevel = COMPATIBILITY_DEFAULT,
  moduleOptions?: string,
): StoreChoice {
  if (text === 'memory' || text.startsWith('memory:')) {
    throw invalidArgument(argument, "'memory' keeps nothing that another process could look at");
  }
  const { kind, location } = parseStoreLocation(text, KINDS, argument);
  if (location === undefined) {
    throw invalidArgument(argument, `${quote(text)} lacks a path: write ${kind}:PATH`);
  }
  if (location.includes('\0')) throw invalidArgument(argument, 'must not contain NUL');
  if (kind === 'module') {
    const given = moduleOptions === undefined ? undefined : parseJson(moduleOptions, argument);
    const options = { module: location, ...(given === undefined ? {} : { options: given }) };
    return { options, label: `module:${location}`, compatibility };
  }
  if (moduleOptions !== undefined) {
    throw invalidArgument(`${argument}-options`, 'is only for a store module:MODULE');
  }
  const path = resolve(location);
  return { options: storeOptions(kind, path), label: `${kind}:${path}`, compatibility };
}

function parseJson(text: string, argument: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // Not what the parser says: it repeats the text, which may hold a password.
    throw invalidArgument(`${argument}-options`, 'is not JSON');
  }
}

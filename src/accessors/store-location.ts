/** Stores as texts: `journal:./records`. One grammar for every command that takes `--store`. */
import { invalidArgument, quote } from '../errors.ts';
import { suggestion } from '../util/suggest.ts';
import type { StoreOptions } from './backend.ts';

/** Kinds of stores that come with the package. */
export const STORE_KINDS = ['journal', 'lmdb', 'kubelet', 'memory'] as const;

/** One of `STORE_KINDS`. */
export type StoreKind = (typeof STORE_KINDS)[number];

/**
 * Parses `KIND:LOCATION`, or `KIND` alone. The location is everything after the first colon, as it
 * was given: a path, and for `module` also a URL or the name of a package.
 *
 * @param kinds - the kinds that are taken.
 * @throws `INVALID_ARGUMENT` for another kind, with the nearest right one, for an empty location,
 * and for one of `memory`, which has none.
 */
export function parseStoreLocation<K extends StoreKind | 'module'>(
  text: string,
  kinds: readonly K[],
  argument: string,
): { kind: K; location?: string } {
  const colon = text.indexOf(':');
  const word = colon === -1 ? text : text.slice(0, colon);
  const kind = kinds.find((known) => known === word);
  if (kind === undefined) {
    const hint = suggestion(word, kinds);
    throw invalidArgument(argument, `${quote(text)} is no store${hint}: write ${forms(kinds)}`);
  }
  if (colon === -1) return { kind };
  const location = text.slice(colon + 1);
  if (kind === 'memory' || location === '') {
    const problem = location === '' ? 'lacks a path' : 'takes no path';
    throw invalidArgument(argument, `${quote(text)} ${problem}`);
  }
  return { kind, location };
}

/** The options of a store that keeps its files at `path`. */
export function storeOptions(
  kind: Exclude<StoreKind, 'memory'>,
  path: string,
): Extract<StoreOptions, { kind: string }> {
  return kind === 'kubelet' ? { kind, dir: path } : { kind, path };
}

/** `journal:PATH, lmdb:PATH or memory`. */
function forms(kinds: readonly string[]): string {
  const texts = kinds.map((kind) => (kind === 'memory' ? kind : `${kind}:PATH`));
  return `${texts.slice(0, -1).join(', ')} or ${texts.at(-1)}`;
}

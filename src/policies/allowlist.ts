/**
 * The allow list of exempt images: the grammar of its patterns, and matching images against them.
 *
 * A plain pattern is an exact name, or a prefix ending in `/*` that covers every depth below it. No
 * other character is special. Globs have an entry form of their own: see `glob.ts`.
 *
 * Source: kubernetes pkg/kubelet/images/pullmanager/image_pull_policies.go.
 */
import {
  COMPATIBILITY_DEFAULT,
  type CompatibilityLevel,
  checkCompatibility,
  KUBELET_BEHAVIOUR,
  type KubeletBehaviour,
} from '../compatibility.ts';
import { AllowlistPatternError, invalidArgument } from '../errors.ts';
import { normalizedImageName } from '../images/image-name.ts';
import { IMAGE_TEXT } from '../images/image-text.ts';
import { ImageGlob } from './glob.ts';

/**
 * An entry of an allow list: a pattern in the reference's own grammar, or a glob.
 *
 * In a component of a glob `*` is any run of characters but `/`, `?` one of them, `{a,b}` either of
 * two or more; `**` as a whole component is any number of components, at the end at least one. A
 * registry host is required, a tag or digest is refused, and nothing else is special. At most 512
 * characters, two `*` in a component, and 64 names by its braces.
 */
export type AllowlistEntry = string | { readonly glob: string };

/**
 * Checks every entry of an allow list, by the rules of a compatibility level.
 *
 * @param compatibility Up to v1.35 an exact name must be fully qualified. @default 'v1.35'
 * @throws `AllowlistPatternError` for the first bad one; `INVALID_ARGUMENT` where the value is not
 * an array of entries, or the level is unknown.
 */
export function validateAllowlistImagesPatterns(
  patterns: readonly AllowlistEntry[],
  compatibility: CompatibilityLevel = COMPATIBILITY_DEFAULT,
): void {
  const level = checkCompatibility(compatibility, 'compatibility');
  // Building it is the check.
  void new Allowlist(copyEntries(patterns, 'patterns'), KUBELET_BEHAVIOUR[level]);
}

/** A frozen copy of a list of entries, proven to be one; `argument` names the list. */
export function copyEntries(
  entries: readonly AllowlistEntry[],
  argument: string,
): readonly AllowlistEntry[] {
  const problem = 'must be an array of strings and globs';
  if (!Array.isArray(entries)) throw invalidArgument(argument, problem);
  const copy: AllowlistEntry[] = [];
  // By index: holes must not pass as absent.
  for (let i = 0; i < entries.length; i++) copy.push(copyEntry(entries[i], `${argument}[${i}]`));
  return Object.freeze(copy);
}

function copyEntry(entry: unknown, argument: string): AllowlistEntry {
  if (typeof entry === 'string') return entry;
  if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) {
    throw invalidArgument(argument, 'must be a string or { glob: string }');
  }
  const { glob, ...others } = entry as { readonly glob?: unknown };
  if (typeof glob !== 'string') throw invalidArgument(`${argument}.glob`, 'must be a string');
  // One that is ignored might have been meant to exempt less.
  if (Object.keys(others).length > 0) {
    throw invalidArgument(argument, 'must have no field but glob');
  }
  return Object.freeze({ glob });
}

/** Valid entries, ready for matching. */
export class Allowlist {
  readonly #names = new Set<string>();
  /** Sorted by UTF-16 units; none begins with another, so only one can match. */
  readonly #prefixes: readonly string[];
  readonly #globs: ImageGlob[] = [];

  /** Throws `AllowlistPatternError` for the first bad entry. */
  constructor(
    entries: readonly AllowlistEntry[],
    behaviour: KubeletBehaviour = KUBELET_BEHAVIOUR[COMPATIBILITY_DEFAULT],
  ) {
    const { allowlistCompares, allowlistHolds } = behaviour;
    const prefixes: string[] = [];
    for (const entry of entries) {
      checkEnds(typeof entry === 'string' ? entry : entry.glob);
      if (typeof entry !== 'string') {
        this.#globs.push(new ImageGlob(entry.glob, IMAGE_TEXT[allowlistHolds]));
        continue;
      }
      const { text, isPrefix } = parsePattern(entry, allowlistHolds);
      if (!isPrefix) this.#names.add(text);
      else if (allowlistCompares !== 'rawText' || beginsFullName(text)) prefixes.push(text);
    }
    this.#prefixes = withoutCovered(prefixes);
  }

  /**
   * Whether a text equals an exact entry or begins with a prefix. Case matters.
   *
   * @param text What the level compares of an image.
   */
  includes(text: string): boolean {
    return this.#names.has(text) || this.#hasPrefixOf(text);
  }

  get hasGlobs(): boolean {
    return this.#globs.length > 0;
  }

  /**
   * Whether a glob matches a name. Never given a tag or digest, whatever the level compares with plain
   * entries: whoever chooses a tag would choose the exemption.
   *
   * @param name The level's form of the image's name.
   */
  hasGlobFor(name: string): boolean {
    return this.#globs.some((glob) => glob.matches(name));
  }

  #hasPrefixOf(text: string): boolean {
    // A prefix of the text is at most the text, and nothing on the list lies between the two.
    let low = 0;
    let high = this.#prefixes.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#prefixes[middle]! <= text) low = middle + 1;
      else high = middle;
    }
    return low > 0 && text.startsWith(this.#prefixes[low - 1]!);
  }
}

/**
 * Whether image names with a registry host begin with a prefix. Prefixes of short names, and those
 * of no name at all, are accepted up to v1.35 and match nothing: raw text must not make them match.
 */
function beginsFullName(prefix: string): boolean {
  const image = `${prefix}a/a`;
  try {
    return !normalizedImageName(image).endsWith(`/${image}`);
  } catch {
    return false;
  }
}

function withoutCovered(prefixes: readonly string[]): string[] {
  const kept: string[] = [];
  for (const prefix of prefixes.toSorted(compareUtf16)) {
    const last = kept.at(-1);
    if (last === undefined || !prefix.startsWith(last)) kept.push(prefix);
  }
  return kept;
}

function compareUtf16(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

interface ParsedPattern {
  /** The exact name, or the prefix with its final slash. */
  readonly text: string;
  readonly isPrefix: boolean;
}

/** What exact entries are. */
const HELD = {
  normalizedName: 'a full image name, registry host included,',
  nameAsTyped: 'an image name',
} as const;

/** The checks run in the reference's order, after those of the ends; the first failure is reported. */
function parsePattern(pattern: string, holds: KubeletBehaviour['allowlistHolds']): ParsedPattern {
  const isPrefix = pattern.endsWith('/*');
  const text = isPrefix ? pattern.slice(0, -1) : pattern;
  if (text.includes('*')) {
    const reason = "a wildcard is allowed only at the end, as '/*'";
    throw new AllowlistPatternError(pattern, reason);
  }
  if (isPrefix) {
    if (text === '/') {
      throw new AllowlistPatternError(pattern, 'at least the registry host is required');
    }
    return { text, isPrefix };
  }
  let own: string;
  try {
    own = IMAGE_TEXT[holds](pattern);
  } catch (cause) {
    throw new AllowlistPatternError(pattern, 'not an image name', cause);
  }
  if (own !== pattern) {
    throw new AllowlistPatternError(pattern, `must be ${HELD[holds]} without tag and digest`);
  }
  return { text, isPrefix };
}

function checkEnds(pattern: string): void {
  if (isSpace(pattern.charCodeAt(0)) || isSpace(pattern.charCodeAt(pattern.length - 1))) {
    throw new AllowlistPatternError(pattern, 'leading or trailing white space is not allowed');
  }
  if (pattern === '') throw new AllowlistPatternError(pattern, 'the pattern is too short');
}

/**
 * White space as Go's `unicode.IsSpace` has it. `String.trim` differs twice: it spares U+0085 and
 * takes U+FEFF. All of it lies in the basic plane; past the end (NaN) there is none.
 */
function isSpace(code: number): boolean {
  if (code <= 0xff) {
    return (code >= 0x09 && code <= 0x0d) || code === 0x20 || code === 0x85 || code === 0xa0;
  }
  if (code >= 0x2000 && code <= 0x200a) return true;
  switch (code) {
    case 0x1680:
    case 0x2028:
    case 0x2029:
    case 0x202f:
    case 0x205f:
    case 0x3000:
      return true;
    default:
      return false;
  }
}

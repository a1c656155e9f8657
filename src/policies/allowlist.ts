/**
 * The allow list of exempt images: the grammar of its patterns, and matching names against them.
 *
 * A pattern is an exact name, or a prefix ending in `/*` that covers every depth below it. No other
 * character is special, so nothing here is a glob.
 *
 * Source: kubernetes pkg/kubelet/images/pullmanager/image_pull_policies.go.
 */
import { AllowlistPatternError, invalidArgument } from '../errors.ts';
import { normalizedImageName } from '../images/image-name.ts';

/**
 * Checks every pattern of an allow list.
 *
 * @throws `AllowlistPatternError` for the first bad one; `INVALID_ARGUMENT` where the value is not
 * an array of strings.
 */
export function validateAllowlistImagesPatterns(patterns: readonly string[]): void {
  for (const pattern of copyPatterns(patterns, 'patterns')) parsePattern(pattern);
}

/** A copy of a list of patterns, proven to be an array of strings; `argument` names the list. */
export function copyPatterns(patterns: readonly string[], argument: string): string[] {
  if (!Array.isArray(patterns)) throw invalidArgument(argument, 'must be an array of strings');
  const copy: string[] = [];
  // By index: holes must not pass as absent.
  for (let i = 0; i < patterns.length; i++) {
    const pattern: unknown = patterns[i];
    if (typeof pattern !== 'string') throw invalidArgument(`${argument}[${i}]`, 'must be a string');
    copy.push(pattern);
  }
  return copy;
}

/** Valid patterns, ready for matching. */
export class Allowlist {
  readonly #names = new Set<string>();
  /** Sorted by UTF-16 units; none begins with another, so only one can match. */
  readonly #prefixes: readonly string[];

  /** Throws `AllowlistPatternError` for the first bad pattern. */
  constructor(patterns: readonly string[]) {
    const prefixes: string[] = [];
    for (const pattern of patterns) {
      const { text, isPrefix } = parsePattern(pattern);
      if (isPrefix) prefixes.push(text);
      else this.#names.add(text);
    }
    this.#prefixes = withoutCovered(prefixes);
  }

  /** Whether a name equals an exact entry or begins with a prefix. Case matters. */
  includes(name: string): boolean {
    return this.#names.has(name) || this.#hasPrefixOf(name);
  }

  #hasPrefixOf(name: string): boolean {
    // A prefix of the name is at most the name, and nothing on the list lies between the two.
    let low = 0;
    let high = this.#prefixes.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#prefixes[middle]! <= name) low = middle + 1;
      else high = middle;
    }
    return low > 0 && name.startsWith(this.#prefixes[low - 1]!);
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

/** The checks run in the reference's order; the first failure is the one reported. */
function parsePattern(pattern: string): ParsedPattern {
  if (hasOuterSpace(pattern)) {
    throw new AllowlistPatternError(pattern, 'leading or trailing white space is not allowed');
  }
  const isPrefix = pattern.endsWith('/*');
  const text = isPrefix ? pattern.slice(0, -1) : pattern;
  if (text === '') throw new AllowlistPatternError(pattern, 'the pattern is too short');
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
  const name = ownName(pattern);
  if (name !== pattern) {
    const reason = 'must be a full image name, registry host included, without tag and digest';
    throw new AllowlistPatternError(pattern, reason);
  }
  return { text, isPrefix };
}

/** What an exact entry must be identical to: up to v1.35, its normalised name. */
function ownName(pattern: string): string {
  try {
    return normalizedImageName(pattern);
  } catch (cause) {
    throw new AllowlistPatternError(pattern, 'not an image name', cause);
  }
}

function hasOuterSpace(text: string): boolean {
  return isSpace(text.charCodeAt(0)) || isSpace(text.charCodeAt(text.length - 1));
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

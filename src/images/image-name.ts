/**
 * Image names as users type them: parsed, normalised, and stripped of tag and digest.
 *
 * One pass over the text, one character at a time, and nothing that backtracks: the time is linear
 * in the length for every input. Nothing is rejected for its length alone, because neither a host
 * name nor a malformed digest has an upper bound, and each has its own answer.
 *
 * Source: distribution/reference v0.6.0 (ParseNormalizedNamed) and kubernetes pkg/util/parsers.
 */
import { ImageNameError, invalidArgument, quote } from '../errors.ts';

/** The parts of an image name. */
export interface ImageName {
  /** Normalised: registry host and full path, for example `docker.io/library/ubuntu`. */
  readonly name: string;
  /** `latest` where there is neither tag nor digest; empty where there is only a digest. */
  readonly tag: string;
  /** Algorithm and hexadecimal digits, for example `sha256:…`; empty where there is none. */
  readonly digest: string;
}

const DEFAULT_DOMAIN = 'docker.io';
const LEGACY_DEFAULT_DOMAIN = 'index.docker.io';
const LOCALHOST = 'localhost';
const OFFICIAL_PREFIX = 'library/';
const DEFAULT_TAG = 'latest';

const PATH_LENGTH_MAX = 255;
const TAG_LENGTH_MAX = 128;
const DIGEST_HEX_LENGTH_MIN = 32;
const IDENTIFIER_LENGTH = 64;

/** Number of hexadecimal digits for each known digest algorithm. */
const HEX_LENGTH_OF_ALGORITHM: ReadonlyMap<string, number> = new Map([
  ['sha256', 64],
  ['sha384', 96],
  ['sha512', 128],
]);

const PLUS = 0x2b;
const MINUS = 0x2d;
const DOT = 0x2e;
const SLASH = 0x2f;
const COLON = 0x3a;
const AT = 0x40;
const OPENING_BRACKET = 0x5b;
const CLOSING_BRACKET = 0x5d;
const UNDERSCORE = 0x5f;

// Classes of ASCII characters, as bits.
const DIGIT = 1;
const LOWER_LETTER = 2;
const UPPER_LETTER = 4;
const LOWER_HEX = 8;
const UPPER_HEX = 16;
const LETTER = LOWER_LETTER | UPPER_LETTER;
const LOWER_ALNUM = DIGIT | LOWER_LETTER;
const ALNUM = DIGIT | LETTER;
const ANY_HEX = LOWER_HEX | UPPER_HEX;

const CLASS_OF = buildClasses();

function buildClasses(): Uint8Array {
  const classes = new Uint8Array(128);
  const mark = (first: string, last: string, bits: number): void => {
    for (let c = first.charCodeAt(0); c <= last.charCodeAt(0); c++) classes[c]! |= bits;
  };
  mark('0', '9', DIGIT | LOWER_HEX | UPPER_HEX);
  mark('a', 'z', LOWER_LETTER);
  mark('A', 'Z', UPPER_LETTER);
  mark('a', 'f', LOWER_HEX);
  mark('A', 'F', UPPER_HEX);
  return classes;
}

/** The class bits of a character code; none outside ASCII, and none past the end (NaN). */
function classOf(code: number): number {
  return code < 128 ? CLASS_OF[code]! : 0;
}

/** The first index from `start` on whose character is in none of the classes. */
function skip(text: string, start: number, end: number, classes: number): number {
  let i = start;
  while (i < end && (classOf(text.charCodeAt(i)) & classes) !== 0) i++;
  return i;
}

/** Where the registry host ends, and what normalising puts in front of the path. */
interface Split {
  /** Index of the slash after the host as typed; -1 where no host is typed. */
  readonly domainEnd: number;
  /** Index where the path begins, as far as it is typed. */
  readonly pathStart: number;
  /** What the normalised name has in front of the path as typed. */
  readonly prefix: string;
  /** The part of `prefix` that counts as path: empty or `library/`. */
  readonly pathPrefix: string;
}

const HUB_OFFICIAL = `${DEFAULT_DOMAIN}/${OFFICIAL_PREFIX}`;
const HUB = `${DEFAULT_DOMAIN}/`;

const NO_SLASH: Split = {
  domainEnd: -1,
  pathStart: 0,
  prefix: HUB_OFFICIAL,
  pathPrefix: OFFICIAL_PREFIX,
};
const NO_DOMAIN: Split = { domainEnd: -1, pathStart: 0, prefix: HUB, pathPrefix: '' };

function splitDomain(image: string): Split {
  const slash = image.indexOf('/');
  if (slash === -1) return NO_SLASH;
  const isLegacy =
    slash === LEGACY_DEFAULT_DOMAIN.length && image.startsWith(LEGACY_DEFAULT_DOMAIN);
  const isHub = slash === DEFAULT_DOMAIN.length && image.startsWith(DEFAULT_DOMAIN);
  const pathStart = slash + 1;
  if (isLegacy || isHub) {
    const isOfficial = !image.includes('/', pathStart);
    const pathPrefix = isOfficial ? OFFICIAL_PREFIX : '';
    const prefix = isOfficial ? HUB_OFFICIAL : HUB;
    return { domainEnd: slash, pathStart, prefix, pathPrefix };
  }
  if (!isDomainLike(image, slash)) return NO_DOMAIN;
  return { domainEnd: slash, pathStart, prefix: '', pathPrefix: '' };
}

/** Whether the text before the first slash is taken for a host, well-formed or not. */
function isDomainLike(image: string, slash: number): boolean {
  for (let i = 0; i < slash; i++) {
    const code = image.charCodeAt(i);
    if (code === DOT || code === COLON || (classOf(code) & UPPER_LETTER) !== 0) return true;
    if (code >= 128) {
      const rest = image.slice(i, slash);
      return /[.:]/.test(rest) || hasUpperCase(rest);
    }
  }
  return slash === LOCALHOST.length && image.startsWith(LOCALHOST);
}

/** Whether lower-casing changes the text: in all of Unicode, as the reference asks. */
function hasUpperCase(text: string): boolean {
  return text !== lowerCase(text);
}

/** Lower-cases character by character: U+0130 becomes `i`, not `i` and a combining dot. */
function lowerCase(text: string): string {
  return text.replaceAll('\u0130', 'i').toLowerCase();
}

/** Where the parts of a text in the form of a reference end. */
interface Shape {
  readonly nameEnd: number;
  /** Equal to `nameEnd` where there is no tag; the tag begins one after `nameEnd`. */
  readonly tagEnd: number;
  /** Index of the digest's colon; -1 where there is no digest. It begins one after `tagEnd`. */
  readonly digestColon: number;
  /** Where the digest's lower-case hexadecimal digits end; the text's end where all are. */
  readonly lowerHexEnd: number;
  /** Index where the path begins: 0 where the supposed host turns out to be a path component. */
  readonly pathStart: number;
  readonly split: Split;
}

/** Matches the grammar `name [":" tag] ["@" digest]`; digests are only roughly checked. */
function matchShape(text: string, split: Split): Shape | undefined {
  const { length } = text;
  const { domainEnd } = split;
  const pathStart = domainEnd === -1 || isDomain(text, domainEnd) ? split.pathStart : 0;
  const nameEnd = matchPath(text, pathStart);
  if (nameEnd === -1) return undefined;
  let tagEnd = nameEnd;
  if (text.charCodeAt(nameEnd) === COLON) {
    tagEnd = matchTag(text, nameEnd + 1);
    if (tagEnd === -1) return undefined;
  }
  if (tagEnd === length)
    return { nameEnd, tagEnd, digestColon: -1, lowerHexEnd: -1, pathStart, split };
  if (text.charCodeAt(tagEnd) !== AT) return undefined;
  const digestColon = matchAlgorithm(text, tagEnd + 1);
  if (digestColon === -1) return undefined;
  const hexStart = digestColon + 1;
  const lowerHexEnd = skip(text, hexStart, length, LOWER_HEX);
  if (skip(text, lowerHexEnd, length, ANY_HEX) !== length) return undefined;
  if (length - hexStart < DIGEST_HEX_LENGTH_MIN) return undefined;
  return { nameEnd, tagEnd, digestColon, lowerHexEnd, pathStart, split };
}

/** Whether the text from 0 to `end` is a host, optionally with a port. */
function isDomain(text: string, end: number): boolean {
  let i = 0;
  if (text.charCodeAt(0) === OPENING_BRACKET) {
    i = 1;
    while (i < end && isHexOrColon(text.charCodeAt(i))) i++;
    if (i === 1 || text.charCodeAt(i) !== CLOSING_BRACKET) return false;
    i++;
  } else {
    i = matchHostName(text, end);
    if (i === -1) return false;
  }
  if (i === end) return true;
  if (text.charCodeAt(i) !== COLON || i + 1 === end) return false;
  return skip(text, i + 1, end, DIGIT) === end;
}

function isHexOrColon(code: number): boolean {
  return code === COLON || (classOf(code) & ANY_HEX) !== 0;
}

/** The end of `label ("." label)*` at the start of the text, or -1. */
function matchHostName(text: string, end: number): number {
  let previous = DOT;
  let i = 0;
  for (; i < end; i++) {
    const code = text.charCodeAt(i);
    if (code === MINUS) {
      if (previous === DOT) return -1;
    } else if (code === DOT) {
      if (previous === DOT || previous === MINUS) return -1;
    } else if ((classOf(code) & ALNUM) === 0) break;
    previous = code;
  }
  return previous === DOT || previous === MINUS ? -1 : i;
}

/** The end of `component ("/" component)*` from `start` on, or -1. */
function matchPath(text: string, start: number): number {
  const end = text.length;
  let i = start;
  for (;;) {
    const runStart = i;
    i = skip(text, i, end, LOWER_ALNUM);
    // Every separator, and every slash, must be followed by a letter or digit.
    if (i === runStart) return -1;
    const code = text.charCodeAt(i);
    if (code === SLASH || code === DOT) {
      i++;
    } else if (code === UNDERSCORE) {
      i += text.charCodeAt(i + 1) === UNDERSCORE ? 2 : 1;
    } else if (code === MINUS) {
      do i++;
      while (text.charCodeAt(i) === MINUS);
    } else {
      return i;
    }
  }
}

/** The end of the tag that begins at `start`, or -1. */
function matchTag(text: string, start: number): number {
  let i = start;
  for (; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if ((classOf(code) & ALNUM) !== 0 || code === UNDERSCORE) continue;
    if ((code !== DOT && code !== MINUS) || i === start) break;
  }
  const length = i - start;
  return length === 0 || length > TAG_LENGTH_MAX ? -1 : i;
}

/** The index of the colon that ends the digest algorithm beginning at `start`, or -1. */
function matchAlgorithm(text: string, start: number): number {
  let mayStart = true;
  for (let i = start; i < text.length; i++) {
    const code = text.charCodeAt(i);
    const classes = classOf(code);
    if (mayStart) {
      if ((classes & LETTER) === 0) return -1;
      mayStart = false;
    } else if ((classes & ALNUM) === 0) {
      if (code === COLON) return i;
      if (code !== MINUS && code !== UNDERSCORE && code !== DOT && code !== PLUS) return -1;
      mayStart = true;
    }
  }
  return -1;
}

/** Finds the parts of an image name, or throws why it is none; in the reference's order of checks. */
function locate(image: string): Shape {
  if (typeof image !== 'string') throw invalidArgument('image', 'must be a string');
  if (image.length === IDENTIFIER_LENGTH && isIdentifier(image)) {
    const cause = `invalid repository name (${image}), cannot specify 64-byte hexadecimal strings`;
    throw new ImageNameError(image, 'hex64', cause);
  }
  const split = splitDomain(image);
  const shape = matchShape(image, split);
  if (shape === undefined) throw mismatch(image, split);
  const { nameEnd, tagEnd, digestColon, pathStart } = shape;
  // Capitals before the first colon are an error of their own; here only an algorithm can have any.
  if (digestColon !== -1 && tagEnd === nameEnd && hasCapital(image, tagEnd, digestColon)) {
    throw mismatch(image, split);
  }
  if (split.pathPrefix.length + nameEnd - pathStart > PATH_LENGTH_MAX) {
    const cause = `repository name must not be more than ${PATH_LENGTH_MAX} characters`;
    throw new ImageNameError(image, 'too-long', cause);
  }
  if (digestColon !== -1) checkDigest(image, shape);
  return shape;
}

function isIdentifier(image: string): boolean {
  return skip(image, 0, IDENTIFIER_LENGTH, LOWER_HEX) === IDENTIFIER_LENGTH;
}

/** Whether there is an ASCII capital between two indexes. */
function hasCapital(text: string, start: number, end: number): boolean {
  for (let i = start; i < end; i++) {
    if ((classOf(text.charCodeAt(i)) & UPPER_LETTER) !== 0) return true;
  }
  return false;
}

function checkDigest(image: string, { tagEnd, digestColon, lowerHexEnd }: Shape): void {
  const hexLength = HEX_LENGTH_OF_ALGORITHM.get(image.slice(tagEnd + 1, digestColon));
  if (hexLength === undefined) {
    // Unknown algorithms are "unsupported" only if spelled as the digest specification wants it.
    if (hasCapital(image, tagEnd + 1, digestColon)) throw digestFormatError(image);
    throw new ImageNameError(image, 'digest-algorithm', 'unsupported digest algorithm');
  }
  if (image.length - (digestColon + 1) !== hexLength) {
    throw new ImageNameError(image, 'digest-length', 'invalid checksum digest length');
  }
  if (lowerHexEnd !== image.length) throw digestFormatError(image);
}

function digestFormatError(image: string): ImageNameError {
  return new ImageNameError(image, 'digest-format', 'invalid checksum digest format');
}

/** Why a text has not the form of a reference: capitals are named as the reason where they are. */
function mismatch(image: string, split: Split): ImageNameError {
  const colon = image.indexOf(':', split.pathStart);
  const typed = image.slice(split.pathStart, colon === -1 ? image.length : colon);
  if (hasUpperCase(typed)) {
    const shown = printable(split.pathPrefix + typed);
    const cause = `invalid reference format: repository name (${shown}) must be lowercase`;
    return new ImageNameError(image, 'uppercase', cause);
  }
  const lowered = lowerCase(image);
  if (lowered !== image && matchShape(lowered, split) !== undefined) {
    return new ImageNameError(image, 'uppercase', 'repository name must be lowercase');
  }
  return new ImageNameError(image, 'format', 'invalid reference format');
}

const PRINTABLE_LENGTH_MAX = 512;

/** A text as it may appear in a message; usual texts appear as they are. */
function printable(text: string): string {
  if (text.length > PRINTABLE_LENGTH_MAX) return quote(text);
  return /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u.test(text) ? quote(text) : text;
}

function nameOf(image: string, shape: Shape): string {
  const { prefix, pathStart } = shape.split;
  if (prefix === '') return image.slice(0, shape.nameEnd);
  return prefix + image.slice(pathStart, shape.nameEnd);
}

/**
 * Parses and normalises an image name.
 *
 * Callable from any thread; does not block; linear in the length of the text.
 *
 * ```ts
 * parseImageName('ubuntu'); // { name: 'docker.io/library/ubuntu', tag: 'latest', digest: '' }
 * ```
 *
 * @throws `ImageNameError` where the text is not an image name; `INVALID_ARGUMENT` where it is no
 * text at all.
 */
export function parseImageName(image: string): ImageName {
  const shape = locate(image);
  const { nameEnd, tagEnd, digestColon } = shape;
  const name = nameOf(image, shape);
  if (digestColon === -1 && tagEnd === nameEnd) return { name, tag: DEFAULT_TAG, digest: '' };
  return {
    name,
    tag: tagEnd === nameEnd ? '' : image.slice(nameEnd + 1, tagEnd),
    digest: digestColon === -1 ? '' : image.slice(tagEnd + 1),
  };
}

/**
 * The normalised name of an image, without tag and digest: the record key up to v1.35.
 *
 * @throws As `parseImageName`.
 */
export function normalizedImageName(image: string): string {
  return nameOf(image, locate(image));
}

/**
 * The image name as typed, without `@digest` and `:tag`.
 *
 * The whole text must be an image name. What remains nearly always is one too; the exception is a
 * name of 64 hexadecimal digits, which is one only together with its tag or digest.
 *
 * @throws As `parseImageName`.
 */
export function trimImageTagDigest(image: string): string {
  const { nameEnd } = locate(image);
  return image.slice(0, nameEnd);
}

/**
 * Globs on the allow list: entries of the form `{ glob: 'registry.example.com/{base,team-?}/app-*' }`,
 * which the reference does not have.
 *
 * The language is small on purpose. In a component: `*` is any run of characters but `/`, also an
 * empty one, `?` one such character, `{a,b}` either. `**` as a whole component is any number of
 * components, at the end at least one. Nothing else is special, and no character is allowed that no
 * image name has: no negation, no extended globs, no classes, no escapes. Case matters.
 *
 * With every wildcard filled in, a glob must be an image name with a registry host and without tag
 * and digest: what could never match, or match what it does not say, is refused. Text is compared
 * component by component, so a wildcard never crosses a slash, and no pattern takes long: the work is
 * bounded by the products of the limits below.
 */
import picomatch from 'picomatch';
import { AllowlistPatternError } from '../errors.ts';
import { normalizedImageName } from '../images/image-name.ts';
import type { ImageText } from '../images/image-text.ts';

/** Characters of a glob. */
export const GLOB_LENGTH_MAX = 512;
/** `*` in one component. */
export const GLOB_STARS_MAX = 2;
/** Names that the braces of one glob stand for. */
export const GLOB_EXPANSIONS_MAX = 64;
/** Longer texts match no glob; image names in use are far shorter. */
export const GLOB_TEXT_LENGTH_MAX = 1024;

/** Letters, digits and separators of image names, and the wildcards. */
const ALPHABET = /^[\w.:@/*?{},-]*$/;
const BRACES = /\{([^{}]*)\}/g;
const ANY_DEPTH = '**';
const NO_COMPONENTS: ReadonlySet<string> = new Set(['', '.', '..']);
/** Wherever some character may stand in an image name, this one may. */
const FILLER = '0';

const OPTIONS: picomatch.PicomatchOptions = {
  // Throws where it would else give an expression that matches nothing but the empty text.
  debug: true,
  dot: true,
  fastpaths: false,
  nobracket: true,
  noext: true,
  nonegate: true,
  strictSlashes: true,
  windows: false,
};

/** One glob, ready for matching. */
export class ImageGlob {
  /** By component; `undefined`: any number of them. */
  readonly #components: readonly (RegExp | undefined)[];
  /** Everything before the first wildcard. */
  readonly #start: string;

  /**
   * @param holds What of itself a plain entry would have to be identical to.
   * @throws `AllowlistPatternError` naming the glob.
   */
  constructor(glob: string, holds: ImageText) {
    checkGlob(glob, holds);
    this.#start = /^[^*?{]*/.exec(glob)![0];
    this.#components = glob
      .split('/')
      .map((component) =>
        component === ANY_DEPTH ? undefined : picomatch.makeRe(component, OPTIONS),
      );
  }

  /** Whether the whole text is what the glob says. */
  matches(text: string): boolean {
    if (!text.startsWith(this.#start) || text.length > GLOB_TEXT_LENGTH_MAX) return false;
    const given = text.split('/');
    // Raw text may be anything: what is no component of a name is none that a wildcard stands for.
    if (given.some((component) => NO_COMPONENTS.has(component))) return false;
    const last = this.#components.length - 1;
    // The numbers of components of the text that the glob can have used up so far.
    let reached = new Set([0]);
    for (const [index, component] of this.#components.entries()) {
      const next = new Set<number>();
      if (component === undefined) {
        const from = Math.min(...reached) + (index === last ? 1 : 0);
        for (let used = from; used <= given.length; used++) next.add(used);
      } else {
        for (const used of reached) {
          if (used < given.length && component.test(given[used]!)) next.add(used + 1);
        }
      }
      if (next.size === 0) return false;
      reached = next;
    }
    return reached.has(given.length);
  }
}

/** Throws for the first thing that is wrong with a glob. */
function checkGlob(glob: string, holds: ImageText): void {
  if (glob.length > GLOB_LENGTH_MAX) {
    throw new AllowlistPatternError(glob, `a glob has at most ${GLOB_LENGTH_MAX} characters`);
  }
  if (!ALPHABET.test(glob)) {
    throw new AllowlistPatternError(glob, 'a glob has only letters, digits, . _ - : / * ? {a,b}');
  }
  const components = glob.split('/');
  for (const component of components) checkComponent(component, glob);
  // Of the host something must be said: not any host is meant.
  if (!/[A-Za-z0-9]/.test(components[0]!)) throw hostMissing(glob);
  for (const image of expansions(glob)) checkInstance(image, glob, holds);
}

function checkComponent(component: string, glob: string): void {
  if (component === ANY_DEPTH) return;
  const outside = component.replaceAll(BRACES, (_, inside: string) => {
    const alternatives = inside.split(',');
    if (alternatives.length > 1 && !alternatives.includes('')) return '';
    throw new AllowlistPatternError(glob, 'braces hold two or more alternatives, none empty');
  });
  if (/[{},]/.test(outside)) {
    const reason = 'braces are closed within their component and not nested, commas are in braces';
    throw new AllowlistPatternError(glob, reason);
  }
  if (component.includes(ANY_DEPTH)) {
    throw new AllowlistPatternError(glob, "'**' must be a component of its own");
  }
  if (component.split('*').length - 1 > GLOB_STARS_MAX) {
    throw new AllowlistPatternError(glob, `a component has at most ${GLOB_STARS_MAX} '*'`);
  }
}

/** Every choice of alternatives, with the other wildcards filled in. */
function expansions(glob: string): readonly string[] {
  let images = [glob.replaceAll(/\*+|\?/g, FILLER)];
  for (const [braces, inside] of images[0]!.matchAll(BRACES)) {
    const alternatives = inside!.split(',');
    if (images.length * alternatives.length > GLOB_EXPANSIONS_MAX) {
      const reason = `the braces of a glob stand for at most ${GLOB_EXPANSIONS_MAX} names`;
      throw new AllowlistPatternError(glob, reason);
    }
    images = images.flatMap((image) => alternatives.map((one) => image.replace(braces, one)));
  }
  return images;
}

/** What a glob can stand for must be a possible entry by itself. */
function checkInstance(image: string, glob: string, holds: ImageText): void {
  let full: string;
  let own: string;
  try {
    full = normalizedImageName(image);
    own = holds(image);
  } catch (cause) {
    throw new AllowlistPatternError(glob, 'not an image name, whatever it stands for', cause);
  }
  // The first component of a short name is no host; a wildcard there could stand for one.
  if (!image.includes('/') || full.endsWith(`/${image}`)) throw hostMissing(glob);
  if (own !== image) {
    const reason = 'must be a full image name, registry host included, without tag and digest';
    throw new AllowlistPatternError(glob, reason);
  }
}

function hostMissing(glob: string): AllowlistPatternError {
  return new AllowlistPatternError(glob, 'at least the registry host is required');
}

/**
 * A second opinion on image names: distribution's own expressions, in the order of its own checks.
 * Slow, and for short texts only; that it is right is shown on answers of the real parser.
 *
 * Source: distribution/reference v0.6.0 (regexp.go, normalize.go, reference.go).
 */

const DOMAIN_COMPONENT = '(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])';
const HOST = `(?:${DOMAIN_COMPONENT}(?:\\.${DOMAIN_COMPONENT})*|\\[[a-fA-F0-9:]+\\])`;
const DOMAIN = `${HOST}(?::[0-9]+)?`;
const PATH_COMPONENT = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const PATH = `${PATH_COMPONENT}(?:/${PATH_COMPONENT})*`;
const TAG = '[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}';
const DIGEST = '[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}';
const REFERENCE = new RegExp(`^((?:${DOMAIN}/)?${PATH})(?::(${TAG}))?(?:@(${DIGEST}))?$`);
const NAME = new RegExp(`^(?:(${DOMAIN})/)?(${PATH})$`);
const IDENTIFIER = /^[a-f0-9]{64}$/;
const HEX_LENGTHS = new Map([
  ['sha256', 64],
  ['sha384', 96],
  ['sha512', 128],
]);
const PATH_LENGTH_MAX = 255;

export interface ReferenceName {
  readonly name: string;
  readonly tag: string;
  readonly digest: string;
}

/** The parts of an image name; undefined where the text is none. */
export function referenceName(text: string): ReferenceName | undefined {
  if (IDENTIFIER.test(text)) return undefined;
  const [domain, rest] = splitDomain(text);
  const colon = rest.indexOf(':');
  const remote = colon === -1 ? rest : rest.slice(0, colon);
  if (remote !== lowerCase(remote)) return undefined;
  const match = REFERENCE.exec(`${domain}/${rest}`);
  if (match === null) return undefined;
  const [, name = '', tag = '', digest = ''] = match;
  const [, , path = name] = NAME.exec(name) ?? [];
  if (path.length > PATH_LENGTH_MAX || !isDigest(digest)) return undefined;
  return { name, tag, digest };
}

function splitDomain(text: string): [domain: string, rest: string] {
  const slash = text.indexOf('/');
  if (slash === -1) return ['docker.io', `library/${text}`];
  const first = text.slice(0, slash);
  let domain = first;
  let rest = text.slice(slash + 1);
  if (first === 'index.docker.io') domain = 'docker.io';
  else if (first !== 'localhost' && !/[.:]/.test(first) && lowerCase(first) === first) {
    domain = 'docker.io';
    rest = text;
  }
  return [domain, domain === 'docker.io' && !rest.includes('/') ? `library/${rest}` : rest];
}

function isDigest(digest: string): boolean {
  if (digest === '') return true;
  const [algorithm = '', hex = ''] = digest.split(':');
  return HEX_LENGTHS.get(algorithm) === hex.length && /^[a-f0-9]*$/.test(hex);
}

/** One character at a time, as Go does it: U+0130 alone would become two. */
function lowerCase(text: string): string {
  return Array.from(text, (c) => (c === '\u0130' ? 'i' : c.toLowerCase())).join('');
}

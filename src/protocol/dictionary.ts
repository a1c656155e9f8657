/**
 * The host's half of the dictionaries: texts and credentials it has given numbers to, so that they
 * travel once and not with each request.
 *
 * One dictionary serves all links of a thread; each entry knows which workers have it. Numbers are
 * given again: a worker then overwrites what it had under that number. Rings keep their order, so no
 * request that meant the old entry comes after the new one.
 *
 * Texts live in two generations, each with numbers of its own. When the young one is full, the old
 * one is dropped, the young one takes its place, and a new one begins with the dropped one's numbers.
 * So a lookup costs no more than in a plain map, and forgetting costs nothing.
 */
import type { ImagePullCredentials, ImagePullSecret } from '../records/record.ts';
import { isWellFormed, wellFormed } from '../util/well-formed.ts';

/** Bounds of a dictionary; tests make them small. */
export interface DictionaryLimits {
  /** Texts in one generation; at least `TEXTS_PER_REQUEST`. */
  readonly texts: number;
  /** A power of two. */
  readonly credentials: number;
}

const DEFAULT_LIMITS: DictionaryLimits = {
  texts: 1 << 17,
  credentials: 1 << 13,
};

/** An image, its reference and its name; the coordinates of a secret. */
export const TEXTS_PER_REQUEST = 6;
/**
 * Longer texts, in UTF-16 units, are sent each time, under one of three numbers of their own: so the
 * count of numbers bounds the memory, here and in the workers. A secret with so long a text is sent as msgpack.
 */
export const TEXT_UNITS_REMEMBERED = 512;
/** Credentials longer than this all have the same number, and so are not remembered for long. */
const CREDENTIAL_UNITS_MAX = 1 << 10;
/** Characters that choose the number of a secret: SHA-256 in hexadecimal is random throughout. */
const HASH_UNITS_LOOKED_AT = 8;
const FNV_PRIME = 0x01000193;

/** A text that has a number. */
export interface InternedText {
  readonly id: number;
  readonly text: string;
  /** Bit per worker that has the entry. */
  sentTo: number;
}

/** Credentials that have a number. */
export interface InternedCredentials {
  readonly id: number;
  readonly credentials: ImagePullCredentials;
  /** Bit per worker that has the entry. */
  sentTo: number;
}

/** A secret whose coordinates have numbers, until the next request. */
export interface InternedSecret {
  readonly uid: InternedText;
  readonly namespace: InternedText;
  readonly name: InternedText;
  readonly credentialHash: string;
}

/** Gives numbers to texts and credentials. Used by one thread. */
export class Dictionary {
  readonly #limits: DictionaryLimits;
  #young = new Map<string, InternedText>();
  #old = new Map<string, InternedText>();
  /** The number of the first text of the young generation. */
  #youngFrom = 0;
  /** Long texts of the current request. */
  #longCount = 0;
  /** By number. */
  readonly #credentials: (InternedCredentials | undefined)[];

  constructor(limits: DictionaryLimits = DEFAULT_LIMITS) {
    // Else a request might lose a text that it has a number for.
    if (limits.texts < TEXTS_PER_REQUEST) throw new RangeError('too few texts for a request');
    this.#limits = limits;
    this.#credentials = new Array(limits.credentials).fill(undefined);
  }

  /** Call before the texts of each request: their numbers then differ from each other. */
  beginRequest(): void {
    const { texts } = this.#limits;
    this.#longCount = 0;
    if (this.#young.size + TEXTS_PER_REQUEST <= texts) return;
    this.#old = this.#young;
    this.#young = new Map();
    this.#youngFrom = texts - this.#youngFrom;
  }

  /** Makes all numbers void. */
  startOver(): void {
    this.#young = new Map();
    this.#old = new Map();
    this.#credentials.fill(undefined);
  }

  text(text: string): InternedText {
    if (text.length > TEXT_UNITS_REMEMBERED) {
      const id = 2 * this.#limits.texts + this.#longCount++;
      return { id, text: wellFormed(text), sentTo: 0 };
    }
    const known = this.#find(text);
    if (known !== undefined) return known;
    // Owners see UTF-8, in which lone surrogates are U+FFFD: two such spellings are one key.
    const shown = wellFormed(text);
    const found = shown === text ? undefined : this.#find(shown);
    if (found !== undefined) return found;
    const entry = { id: this.#youngFrom + this.#young.size, text: shown, sentTo: 0 };
    this.#young.set(shown, entry);
    return entry;
  }

  #find(text: string): InternedText | undefined {
    const found = this.#young.get(text);
    return found !== undefined || this.#old.size === 0 ? found : this.#old.get(text);
  }

  /** `credentials` are in normal form and frozen. */
  credentials(credentials: ImagePullCredentials): InternedCredentials {
    const places = this.#credentials;
    const secret = onlySecret(credentials);
    const id = secret === undefined ? 0 : hashOf(secret) & (places.length - 1);
    const found = places[id];
    if (found !== undefined && isSame(found.credentials, credentials, secret)) return found;
    const entry = { id, credentials, sentTo: 0 };
    places[id] = entry;
    return entry;
  }

  /**
   * The secret that the credentials consist of, with numbers for its coordinates; undefined for
   * credentials of any other form, and where UTF-8 would change a text.
   */
  secretOf({ credentials }: InternedCredentials): InternedSecret | undefined {
    const secret = onlySecret(credentials);
    if (secret === undefined) return undefined;
    const { credentialHash } = secret;
    if (credentialHash.length > TEXT_UNITS_REMEMBERED || !isWellFormed(credentialHash))
      return undefined;
    const uid = this.#exactText(secret.uid);
    const namespace = this.#exactText(secret.namespace);
    const name = this.#exactText(secret.name);
    if (uid === undefined || namespace === undefined || name === undefined) return undefined;
    return { uid, namespace, name, credentialHash };
  }

  #exactText(text: string): InternedText | undefined {
    if (text.length > TEXT_UNITS_REMEMBERED) return undefined;
    const entry = this.text(text);
    return entry.text === text ? entry : undefined;
  }
}

function hashOf({ credentialHash }: ImagePullSecret): number {
  let hash = credentialHash.length;
  const end = Math.min(HASH_UNITS_LOOKED_AT, hash);
  for (let i = 0; i < end; i++) hash = Math.imul(hash ^ credentialHash.charCodeAt(i), FNV_PRIME);
  return hash ^ (hash >>> 15);
}

/** The one secret that the credentials consist of; undefined for any other form and a long one. */
function onlySecret(credentials: ImagePullCredentials): ImagePullSecret | undefined {
  const { kubernetesSecrets, kubernetesServiceAccounts } = credentials;
  if (kubernetesSecrets?.length !== 1 || kubernetesServiceAccounts !== undefined) return undefined;
  const secret = kubernetesSecrets[0]!;
  const { uid, namespace, name, credentialHash, provenAtMs } = secret;
  const units = uid.length + namespace.length + name.length + credentialHash.length;
  return provenAtMs === undefined && units <= CREDENTIAL_UNITS_MAX ? secret : undefined;
}

/** Whether remembered credentials are the given ones; `secret` is what those consist of. */
function isSame(
  known: ImagePullCredentials,
  credentials: ImagePullCredentials,
  secret: ImagePullSecret | undefined,
): boolean {
  if (known === credentials) return true;
  const other = secret && onlySecret(known);
  if (secret === undefined || other === undefined) return false;
  return (
    other.credentialHash === secret.credentialHash &&
    other.uid === secret.uid &&
    other.namespace === secret.namespace &&
    other.name === secret.name
  );
}

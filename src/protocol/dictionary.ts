/**
 * The host's half of the dictionaries: texts and credentials it has given numbers to.
 *
 * One dictionary serves all links of a thread; each entry knows which workers have it. It is bounded:
 * when full it starts over, and every link is told so before the next entry.
 */
import { fnv1 } from '../locks/stripe.ts';
import type { ImagePullCredentials } from '../records/record.ts';
import { wellFormed } from '../util/well-formed.ts';

const ENTRIES_MAX = 1 << 16;
/** Bounds the memory of a dictionary of very long texts, in UTF-16 units. */
const TEXT_UNITS_MAX = 1 << 25;

/** A text that has a number. */
export interface InternedText {
  readonly id: number;
  readonly text: string;
  /** FNV-1 of its UTF-8 bytes: stripe and version slot. Signed 32 bit. */
  readonly hash: number;
  /** A second, independent hash; with the first it identifies the text in shared tables. */
  readonly check: number;
  /** Bit per worker that has the entry. */
  sentTo: number;
}

/** Credentials that have a number. */
export interface InternedCredentials {
  readonly id: number;
  readonly credentials: ImagePullCredentials;
  sentTo: number;
}

/** Gives numbers to texts and credentials. Used by one thread. */
export class Dictionary {
  readonly #seed: number;
  /** Raised whenever all numbers given before become void. */
  epoch = 1;
  readonly #texts = new Map<string, InternedText>();
  /** By the hash of the only secret: the usual form of credentials. */
  readonly #credentials = new Map<string, InternedCredentials[]>();
  #nextId = 0;
  #textUnits = 0;

  /** `seed` is the engine's: who chooses image names must not be able to choose their hashes. */
  constructor(seed = 0) {
    this.#seed = seed;
  }

  /** Makes sure that the next `count` new entries belong to the same epoch. */
  reserve(count: number): void {
    const isFull = Math.max(this.#nextId, this.#texts.size) + count > ENTRIES_MAX;
    if (isFull || this.#textUnits > TEXT_UNITS_MAX) this.startOver();
  }

  /** Counts credentials of this size towards the bound. */
  charge(byteLength: number): void {
    this.#textUnits += byteLength;
  }

  /** Makes all numbers void; every link says so before it sends the next one. */
  startOver(): void {
    this.#texts.clear();
    this.#credentials.clear();
    this.#nextId = 0;
    this.#textUnits = 0;
    this.epoch++;
  }

  text(text: string): InternedText {
    const known = this.#texts.get(text);
    if (known !== undefined) return known;
    // Owners see UTF-8, in which lone surrogates are U+FFFD: two such spellings are one key.
    this.#textUnits += text.length;
    const shown = wellFormed(text);
    let entry = shown === text ? undefined : this.#texts.get(shown);
    if (entry === undefined) {
      const hash = fnv1(shown) | 0;
      entry = {
        id: this.#nextId++,
        text: shown,
        hash,
        check: checkHash(shown, this.#seed),
        sentTo: 0,
      };
      this.#texts.set(shown, entry);
    }
    if (shown !== text) this.#texts.set(text, entry);
    return entry;
  }

  /** `credentials` are in normal form and frozen. */
  credentials(credentials: ImagePullCredentials): InternedCredentials {
    const key = poolKey(credentials);
    if (key === undefined) return { id: this.#nextId++, credentials, sentTo: 0 };
    let entries = this.#credentials.get(key);
    if (entries === undefined) {
      entries = [];
      this.#credentials.set(key, entries);
    }
    for (const entry of entries) if (sameSecret(entry.credentials, credentials)) return entry;
    const entry = { id: this.#nextId++, credentials, sentTo: 0 };
    entries.push(entry);
    return entry;
  }
}

/** The hash of the one secret that the credentials consist of; undefined for any other form. */
function poolKey(credentials: ImagePullCredentials): string | undefined {
  const secrets = credentials.kubernetesSecrets;
  if (secrets?.length !== 1 || credentials.kubernetesServiceAccounts !== undefined)
    return undefined;
  const secret = secrets[0]!;
  return secret.provenAtMs === undefined ? secret.credentialHash : undefined;
}

function sameSecret(a: ImagePullCredentials, b: ImagePullCredentials): boolean {
  const x = a.kubernetesSecrets![0]!;
  const y = b.kubernetesSecrets![0]!;
  return x.uid === y.uid && x.namespace === y.namespace && x.name === y.name;
}

/** A multiplicative hash of the UTF-16 units, seeded and unrelated to FNV. Signed 32 bit. */
function checkHash(text: string, seed: number): number {
  let hash = seed ^ text.length;
  for (let i = 0; i < text.length; i++) {
    hash = Math.imul(hash ^ text.charCodeAt(i), 0x5bd1e995);
    hash ^= hash >>> 15;
  }
  return hash;
}

/** Compares what the engine lists with what the ledger says it must hold, key by key. */
import type { ImagePullCredentials, ImagePulledRecord } from '../records/record.ts';
import type { Keyspace } from './keyspace.ts';
import type { Ledger } from './ledger.ts';
import { normalized } from './model-credentials.ts';
import { type Register, SEEN } from './register.ts';
import type { StormState } from './state.ts';
import type { NameTrack, RecordTrack } from './tracks.ts';

/** A read that began after event `since`, as `Verifier.beginRead` gives it. */
export interface OpenRead {
  readonly since: number;
}

/**
 * Compares listed records with the ledger; one sentence for each difference, without anything
 * secret. What is seen narrows the ledger, so that later decisions are checked against it.
 */
export function checkRecords(
  ledger: Ledger,
  listed: readonly ImagePulledRecord[],
  read: OpenRead,
): string[] {
  const problems: string[] = [];
  const byRef = new Map<string, ImagePulledRecord>();
  for (const record of listed) {
    if (byRef.has(record.imageRef)) problems.push(`record ${record.imageRef} is listed twice`);
    byRef.set(record.imageRef, record);
  }
  for (const [ref, imageRef] of ledger.universe.refs.entries()) {
    problems.push(...checkRecord(ledger, ref, byRef.get(imageRef), read));
    byRef.delete(imageRef);
  }
  for (const imageRef of byRef.keys()) problems.push(`record ${imageRef} was never written`);
  return problems;
}

/** Compares one record, or its absence, with the ledger. */
export function checkRecord(
  ledger: Ledger,
  ref: number,
  found: ImagePulledRecord | undefined,
  read: OpenRead,
): string[] {
  const record = ledger.records[ref]!;
  const imageRef = ledger.universe.refs[ref]!;
  const check = new RecordCheck(ledger, ref, record, read.since);
  if (found === undefined) {
    if (!check.see(record.exists, 0)) check.problems.push(`record ${imageRef} is missing`);
  } else {
    check.compare(found);
  }
  return check.problems;
}

class RecordCheck {
  readonly problems: string[] = [];
  readonly #ledger: Ledger;
  readonly #ref: number;
  readonly #record: RecordTrack;
  readonly #since: number;

  constructor(ledger: Ledger, ref: number, record: RecordTrack, since: number) {
    this.#ledger = ledger;
    this.#ref = ref;
    this.#record = record;
    this.#since = since;
  }

  /** Whether a value was possible; if so, nothing older is from now on. */
  see(register: Register, value: number): boolean {
    const seen = register.possible(value, this.#since);
    if ((seen & (value === 0 ? SEEN.ABSENT : SEEN.VALUE)) === 0) return false;
    this.#ledger.observe(this.#ref, register, value, this.#since);
    return true;
  }

  compare(found: ImagePulledRecord): void {
    const record = this.#record;
    const { universe } = this.#ledger;
    if (!this.see(record.exists, 1)) this.#complain('should not exist');
    const updatedMs = found.lastUpdatedTime.getTime();
    // The bounds are those of now: they hold for what was read where nothing happened in between.
    if (this.#ledger.recordEvents[this.#ref]! <= this.#since && record.pendingWrites === 0) {
      if (updatedMs < record.updatedFromMs) this.#complain('is dated before it was written');
      if (updatedMs > record.updatedToMs) this.#complain('is dated after its last write');
    }
    const proofs = new Map(Object.entries(found.credentialMapping));
    for (const track of record.names) {
      const name = universe.names[track.name]!;
      this.#compareProof(track, name, proofs.get(name) ?? {});
      proofs.delete(name);
    }
    for (const [name, proof] of proofs) {
      if (Object.keys(proof).length > 0) this.#complain(`has a proof for ${name} nobody gave`);
    }
  }

  #compareProof(track: NameTrack, name: string, proof: ImagePullCredentials): void {
    const { tenants } = this.#ledger.universe;
    const isNodeWide = proof.nodePodsAccessible === true;
    if (!this.see(track.nodeWide, Number(isNodeWide))) {
      this.#complain(`${isNodeWide ? 'opens' : 'does not open'} ${name} to the whole node`);
    }
    if (JSON.stringify(sortedKeys(normalized(proof))) !== JSON.stringify(sortedKeys(proof))) {
      this.#complain(`holds a list for ${name} that is not in normal form`);
    }
    const secrets = new Map<number, number>();
    for (const secret of proof.kubernetesSecrets ?? []) {
      const place = tenants.placeOf('secret', secret);
      const hash = tenants.hashOf(secret.credentialHash);
      if (place === undefined || hash === undefined || !track.secrets.has(place)) {
        this.#complain(`holds a secret for ${name} that nobody gave`);
      } else {
        secrets.set(place, hash);
      }
    }
    const accounts = new Map<number, number>();
    for (const account of proof.kubernetesServiceAccounts ?? []) {
      const place = tenants.placeOf('account', account);
      if (place === undefined || !track.accounts.has(place)) {
        this.#complain(`holds a service account for ${name} that nobody gave`);
      } else {
        accounts.set(place, 1);
      }
    }
    // Node-wide access replaces the lists: what they held before does not matter.
    if (isNodeWide) return;
    this.#comparePlaces(track.secrets, secrets, name);
    this.#comparePlaces(track.accounts, accounts, name);
  }

  #comparePlaces(
    expected: ReadonlyMap<number, Register>,
    found: ReadonlyMap<number, number>,
    name: string,
  ): void {
    const { tenants } = this.#ledger.universe;
    for (const [place, register] of expected) {
      const value = found.get(place) ?? 0;
      if (this.see(register, value)) continue;
      const isStale = (register.possible(0, this.#since) & SEEN.ABSENT) === 0;
      const problem = value === 0 ? 'lacks' : isStale ? 'has an old content of' : 'should not hold';
      this.#complain(`${problem} the ${tenants.labelOf(place)} for ${name}`);
    }
  }

  #complain(problem: string): void {
    this.problems.push(`record ${this.#ledger.universe.refs[this.#ref]} ${problem}`);
  }
}

/** Compares the listed intents with the ledger; no operation may be under way. */
export function checkIntents(ledger: Ledger, listed: readonly string[]): string[] {
  const problems: string[] = [];
  const images = new Set(listed);
  const unknown = new Set(listed);
  if (images.size !== listed.length) problems.push('an intent is listed twice');
  for (const [image, text] of ledger.universe.images.entries()) {
    const intent = ledger.intents[image]!;
    const isPresent = images.has(text);
    // A trace has the same text more than once.
    unknown.delete(text);
    if (isPresent && !intent.mayBePresent()) problems.push(`intent of ${text} should be gone`);
    if (!isPresent && !intent.mayBeAbsent(0)) problems.push(`intent of ${text} is missing`);
    ledger.observeIntent(image, isPresent);
  }
  for (const text of unknown) problems.push(`intent of ${text} was never written`);
  return problems;
}

/** Compares everything that the engine lists with the ledger; no operation may be under way. */
export async function checkListings(state: StormState<Keyspace>): Promise<void> {
  const { engine, isVerified, ledger, universe, verifier } = state;
  if (!isVerified) return;
  const read = verifier.beginRead();
  const intents = await engine.listImagePullIntents();
  const records = await engine.listImagePulledRecords();
  for (const error of [...intents.errors, ...records.errors]) state.fail(error);
  state.keepProblems(
    checkIntents(
      ledger,
      intents.records.map(({ image }) => image),
    ),
  );
  state.keepProblems(checkRecords(ledger, records.records, read));
  verifier.endRead(read);
  for (let ref = 0; ref < universe.refs.length; ref++) ledger.settle(ref);
}

/** The same value with its fields in one order, so that texts can be compared. */
function sortedKeys(proof: ImagePullCredentials): ImagePullCredentials {
  const { nodePodsAccessible, kubernetesSecrets, kubernetesServiceAccounts } = proof;
  return {
    ...(nodePodsAccessible ? { nodePodsAccessible } : {}),
    ...(kubernetesSecrets?.length
      ? {
          kubernetesSecrets: kubernetesSecrets.map(({ uid, namespace, name, credentialHash }) => ({
            uid,
            namespace,
            name,
            credentialHash,
          })),
        }
      : {}),
    ...(kubernetesServiceAccounts?.length
      ? {
          kubernetesServiceAccounts: kubernetesServiceAccounts.map(({ uid, namespace, name }) => ({
            uid,
            namespace,
            name,
          })),
        }
      : {}),
  };
}

/**
 * Decides for one host thread: from its replica where that is proven current, else by asking the
 * owners, and records what a match has taught.
 */
import type { KubeletBehaviour } from '../compatibility.ts';
import { abortedError, closedError, PullManagerError, storeError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import { HOST_ROW } from '../metrics/shared-metrics.ts';
import { DECISION_REASONS, type DecisionReason } from '../metrics/stats.ts';
import type { ImagePullPolicyEnforcer } from '../policies/enforcer.ts';
import { REQUEST, STATE } from '../protocol/frames.ts';
import { ENGINE_STATE, type SharedState } from '../protocol/shared-state.ts';
import { AHEAD_MS_MAX } from '../records/merge.ts';
import type {
  ImagePullCredentials,
  ImagePullSecret,
  PodCredentials,
  PodCredentialsSource,
  PulledRecord,
} from '../records/record.ts';
import { checkPodCredentials, normalizeCredentials } from '../records/validate.ts';
import { textProblem } from './arguments.ts';
import { type CredentialSource, CredentialSources } from './credential-sources.ts';
import {
  ACCOUNT_MATCHES,
  type Decision,
  failed,
  inheritedProofMs,
  isFresh,
  type MatchRules,
  matchCredentials,
  NO_IMAGE_REF,
  NO_MATCH,
  NO_MATCHING,
  NO_PROOF_FOR_NAME,
  NO_RECORD,
  NODE_WIDE,
  POLICY_ALLOWED,
  SECRET_FOUND,
  SECRET_MATCHES,
  SERVICE_ACCOUNT_FOUND,
} from './decision.ts';
import type { EngineClient } from './engine-client.ts';
import type { RecordKeys } from './record-keys.ts';
import { KEY_UNITS_MAX, type RecordEntry, type Replica } from './replica.ts';

/** How often two keys with different owners are read again when one changed in between. */
const SNAPSHOT_ATTEMPTS = 64;

export interface DeciderOptions {
  readonly state: SharedState;
  /** Learns from what `client` hears. */
  readonly replica: Replica;
  readonly client: EngineClient;
  readonly recordKeys: RecordKeys;
  readonly policy: ImagePullPolicyEnforcer;
  readonly behaviour: KubeletBehaviour;
  readonly trustsRotatedSecrets: boolean;
  /** `Infinity`: never. */
  readonly reverifyAfterMs: number;
  /** The host's row of counters. */
  readonly row: Float64Array;
  readonly logger: Logger;
}

/** One question: may a pod that presents `credentials` use `imageRef` as `image`? */
export interface DecisionRequest {
  readonly image: string;
  readonly imageRef: string;
  readonly credentials?: PodCredentialsSource;
}

/** A settled part of a decision: the answer, or the credentials of the record to compare with. */
type Verdict = Decision | ImagePullCredentials;

/** Used by one thread. */
export class Decider {
  readonly replica: Replica;
  readonly #state: SharedState;
  readonly #client: EngineClient;
  readonly #policy: ImagePullPolicyEnforcer;
  readonly #reverifyAfterMs: number;
  readonly #row: Float64Array;
  readonly #logger: Logger;
  readonly #recordKeys: RecordKeys;
  readonly #sources: CredentialSources;
  readonly #asksSourcesLazily: boolean;
  readonly #rules: { -readonly [Rule in keyof MatchRules]: MatchRules[Rule] };
  #isClosed = false;

  constructor(options: DeciderOptions) {
    this.replica = options.replica;
    this.#state = options.state;
    this.#client = options.client;
    this.#policy = options.policy;
    this.#reverifyAfterMs = options.reverifyAfterMs;
    this.#row = options.row;
    this.#logger = options.logger;
    const { recordsMatches, asksSourcesLazily, hasServiceAccounts } = options.behaviour;
    this.#recordKeys = options.recordKeys;
    this.#sources = new CredentialSources(options.client.maxPending);
    this.#asksSourcesLazily = asksSourcesLazily;
    this.#rules = {
      recordsMatches,
      hasServiceAccounts,
      trustsRotatedSecrets: options.trustsRotatedSecrets,
      provenSinceMs: Number.NEGATIVE_INFINITY,
      provenUntilMs: Number.POSITIVE_INFINITY,
    };
  }

  /** Ends the wait for credentials that never come, and refuses from now on. */
  close(): void {
    this.#isClosed = true;
    this.#sources.close();
  }

  /** The answer, where the replica has it; `undefined` where a worker must be asked. */
  decideSync(image: string, imageRef: string, credentials: PodCredentials): Decision | undefined {
    const refused = this.#refusal(image, imageRef);
    if (refused !== undefined) return this.#count(refused);
    if (imageRef === '') return NO_IMAGE_REF;
    const entry = this.#entry(imageRef);
    if (entry === undefined) return undefined;
    const verdict = this.#judge(image, entry);
    if (verdict === undefined) return undefined;
    if (isDecision(verdict)) return this.#countLocal(verdict);
    try {
      return this.#verifySync(entry, verdict, credentials);
    } catch (error) {
      // Of a getter of the caller's own.
      return this.#count(failed(storeError('the decision', error)));
    }
  }

  #verifySync(
    entry: RecordEntry,
    recorded: ImagePullCredentials,
    credentials: PodCredentials,
  ): Decision | undefined {
    const only = onlySecret(credentials);
    if (only !== undefined && wasFoundLast(entry, only) && this.#proofsLast) {
      return this.#countLocal(SECRET_FOUND);
    }
    const problem = checkPodCredentials(credentials);
    if (problem !== undefined) return this.#count(failed(problem));
    const match = matchCredentials(recorded, credentials, this.#currentRules());
    // The secret is to be recorded first, which takes a trip.
    if (match >= 0) return undefined;
    if (match === SECRET_MATCHES && only !== undefined) rememberFound(entry, only);
    return this.#countLocal(decisionOf(match));
  }

  /**
   * The answer; never rejects.
   *
   * @param recordsMatch Whether a secret that matches otherwise than it is recorded is recorded so.
   */
  async decide(
    image: string,
    imageRef: string,
    source: PodCredentialsSource,
    signal: AbortSignal | undefined,
    recordsMatch = true,
  ): Promise<Decision> {
    const refused = this.#refusal(image, imageRef);
    if (refused !== undefined) return this.#count(refused);
    if (typeof source === 'function' && !this.#asksSourcesLazily) {
      return this.#decideAfter(source, image, imageRef, signal, recordsMatch);
    }
    if (imageRef === '') return NO_IMAGE_REF;
    if (signal?.aborted === true) {
      return this.#count(failed(abortedError('the decision', signal.reason)));
    }
    try {
      let verdict = this.#known(image, imageRef);
      const isLocal = verdict !== undefined;
      if (verdict === undefined) verdict = await this.#ask(image, imageRef);
      const decision = isDecision(verdict)
        ? verdict
        : await this.#verify(image, imageRef, verdict, source, signal, recordsMatch);
      return isLocal ? this.#countLocal(decision) : this.#countRemote(decision);
    } catch (error) {
      return this.#count(failed(storeError('the decision', error)));
    }
  }

  /** Asks the source first, whether the answer depends on it or not [W31]. */
  async #decideAfter(
    source: CredentialSource,
    image: string,
    imageRef: string,
    signal: AbortSignal | undefined,
    recordsMatch: boolean,
  ): Promise<Decision> {
    let decision: Decision;
    try {
      const presented = await this.#sources.ask(source, signal);
      const problem = checkPodCredentials(presented);
      if (problem === undefined)
        return this.decide(image, imageRef, presented, signal, recordsMatch);
      decision = failed(problem);
    } catch (error) {
      decision = failed(storeError('the decision', error));
    }
    return imageRef === '' ? decision : this.#count(decision);
  }

  #refusal(image: string, imageRef: string): Decision | undefined {
    if (this.#isClosed || this.#state.engineState !== ENGINE_STATE.OPEN) {
      return failed(closedError('the decision'));
    }
    const problem = textProblem('image', image) ?? textProblem('imageRef', imageRef);
    return problem && failed(problem);
  }

  /** The replica's entry, if it is true at this instant: also by an answer that came just now. */
  #entry(imageRef: string): RecordEntry | undefined {
    const entry = this.replica.record(imageRef);
    if (entry !== undefined || !this.#client.receive()) return entry;
    return this.replica.record(imageRef);
  }

  /** The verdict by what the replica knows; `undefined` where a worker must be asked. */
  #known(image: string, imageRef: string): Verdict | undefined {
    const entry = this.#entry(imageRef);
    return entry && this.#judge(image, entry);
  }

  /** Policy, record and intent by a current entry; `undefined` where the intent is not known. */
  #judge(image: string, entry: RecordEntry): Verdict | undefined {
    if (entry.record !== undefined) return this.#judgeRecord(image, entry.record, entry);
    const intent = this.replica.intent(image);
    if (intent === undefined) return undefined;
    const { exists } = intent;
    // Record, intent, record again: unchanged means that both were true together. Without the last
    // look, a pull that ended in between would make the image look preloaded.
    if (!this.replica.isCurrent(entry)) return undefined;
    return this.#judgeAbsence(image, exists);
  }

  /** Policy, record and intent by what the owners say. */
  async #ask(image: string, imageRef: string): Promise<Verdict> {
    const recordOwner = this.#client.ownerOf(imageRef);
    const intentOwner = this.#client.ownerOf(image);
    // Many ask for the same at once, after a change. The answer to an earlier question is as good as
    // one of our own if the replica proves it still true.
    const underway = this.#client.underway(imageRef);
    if (underway !== undefined) {
      await underway.catch(() => {});
      const verdict = this.#known(image, imageRef);
      if (verdict !== undefined) return verdict;
    }
    for (let attempt = 0; attempt < SNAPSHOT_ATTEMPTS; attempt++) {
      const isOneOwner = recordOwner === intentOwner;
      // Where the record is known to be absent, only the other owner need be asked.
      const known = isOneOwner ? undefined : this.#entry(imageRef);
      if (known?.record !== undefined) return this.#judgeRecord(image, known.record, known);
      let version = known?.version;
      if (version === undefined) {
        const both = await this.#client.read(recordOwner, imageRef, isOneOwner ? image : undefined);
        // What the replica has learned from it, if it may be kept: the next decision finds all of it.
        const verdict = this.#known(image, imageRef);
        if (verdict !== undefined) return verdict;
        if (both.record !== undefined) return this.#judgeRecord(image, both.record, undefined);
        if (isOneOwner) return this.#judgeAbsence(image, (both.flags & STATE.HAS_INTENT) !== 0);
        if ((both.flags & STATE.KEEP_RECORD) === 0) continue;
        version = both.recordVersion;
      }
      const intent = await this.#client.read(intentOwner, undefined, image);
      // The record's version again, after the intent: unchanged means that both were true together.
      if (this.replica.isRecordVersion(imageRef, version)) {
        return this.#judgeAbsence(image, (intent.flags & STATE.HAS_INTENT) !== 0);
      }
    }
    throw new PullManagerError('STORE_UNAVAILABLE', 'the record changed again and again', {
      imageRef,
    });
  }

  #judgeAbsence(image: string, isPulled: boolean): Verdict {
    return this.#needsProof(image, isPulled) ? NO_RECORD : POLICY_ALLOWED;
  }

  #judgeRecord(image: string, record: PulledRecord, entry: RecordEntry | undefined): Verdict {
    if (!this.#needsProof(image, true)) return POLICY_ALLOWED;
    let proof: ImagePullCredentials | undefined;
    if (entry !== undefined && entry.lastImage === image) {
      proof = entry.lastProof;
    } else {
      const name = this.#recordKeys.find(image);
      if (typeof name !== 'string') return failed(name);
      proof = record.credentialsFor(name);
      if (entry !== undefined) {
        entry.lastImage = image.length <= KEY_UNITS_MAX ? image : undefined;
        entry.lastProof = proof;
        entry.lastHash = undefined;
      }
    }
    if (proof === undefined) return NO_PROOF_FOR_NAME;
    if (proof.nodePodsAccessible === true) {
      return isFresh(proof.provenAtMs, this.#currentRules()) ? NODE_WIDE : NO_MATCH;
    }
    const hasAny = proof.kubernetesSecrets?.length || proof.kubernetesServiceAccounts?.length;
    return hasAny ? proof : NO_PROOF_FOR_NAME;
  }

  #needsProof(image: string, isPulled: boolean): boolean {
    try {
      return this.#policy.requireCredentialVerificationForImage(image, isPulled) !== false;
    } catch {
      // A policy that cannot answer exempts nothing.
      return true;
    }
  }

  /** Compares what the pod presents with what is recorded. */
  async #verify(
    image: string,
    imageRef: string,
    recorded: ImagePullCredentials,
    source: PodCredentialsSource,
    signal: AbortSignal | undefined,
    recordsMatch: boolean,
  ): Promise<Decision> {
    const presented =
      typeof source === 'function' ? await this.#sources.ask(source, signal) : source;
    const problem = checkPodCredentials(presented);
    if (problem !== undefined) return failed(problem);
    const rules = this.#currentRules();
    const match = matchCredentials(recorded, presented, rules);
    if (match < 0) return decisionOf(match);
    const secret = presented.secrets![match]!;
    if (recordsMatch) await this.#recordMatch(image, imageRef, recorded, secret, rules);
    return SECRET_FOUND;
  }

  /** Adds a secret that matched under other coordinates, or with other content, to the record. */
  async #recordMatch(
    image: string,
    imageRef: string,
    recorded: ImagePullCredentials,
    { uid, namespace, name, credentialHash }: ImagePullSecret,
    rules: MatchRules,
  ): Promise<void> {
    try {
      const secret: ImagePullSecret = { uid, namespace, name, credentialHash };
      const provenAtMs = inheritedProofMs(recorded, secret, rules);
      if (provenAtMs !== undefined) secret.provenAtMs = provenAtMs;
      const credentials = normalizeCredentials({ kubernetesSecrets: [secret] });
      const owner = this.#client.ownerOf(imageRef);
      const imageName = this.#recordKeys.of(image);
      const { PULLED } = REQUEST;
      await this.#client.write(owner, PULLED, undefined, imageRef, imageName, credentials, true);
    } catch (error) {
      // The decision stands without it; the next match tries again.
      this.#row[HOST_ROW.MATCH_WRITE_FAILURES]!++;
      this.#logger.warn('a matching secret was not recorded', {
        code: (error as PullManagerError).code,
      });
    }
  }

  /** Whether a proof that was good once stays so as long as the record does not change. */
  get #proofsLast(): boolean {
    return this.#reverifyAfterMs === Number.POSITIVE_INFINITY;
  }

  #currentRules(): MatchRules {
    if (this.#reverifyAfterMs !== Number.POSITIVE_INFINITY) {
      const nowMs = Date.now();
      this.#rules.provenSinceMs = nowMs - this.#reverifyAfterMs;
      this.#rules.provenUntilMs = nowMs + AHEAD_MS_MAX;
    }
    return this.#rules;
  }

  #countLocal(decision: Decision): Decision {
    this.#row[HOST_ROW.LOCAL]!++;
    return this.#count(decision);
  }

  #countRemote(decision: Decision): Decision {
    this.#row[HOST_ROW.REMOTE]!++;
    return this.#count(decision);
  }

  #count(decision: Decision): Decision {
    this.#row[HOST_ROW.DECISIONS + REASON_INDEX[decision.reason]]!++;
    return decision;
  }
}

const REASON_INDEX = Object.fromEntries(
  DECISION_REASONS.map((reason, i) => [reason, i]),
) as Readonly<Record<DecisionReason, number>>;

/** The secret of a pod that presents one and nothing else; `undefined` for all other forms. */
function onlySecret(credentials: PodCredentials | null): ImagePullSecret | undefined {
  const secrets = credentials?.secrets;
  if (!Array.isArray(secrets) || secrets.length !== 1) return undefined;
  return credentials?.serviceAccount === undefined ? (secrets[0] ?? undefined) : undefined;
}

function wasFoundLast(entry: RecordEntry, secret: ImagePullSecret): boolean {
  return (
    entry.lastHash !== undefined &&
    entry.lastHash === secret.credentialHash &&
    entry.lastUid === secret.uid &&
    entry.lastNamespace === secret.namespace &&
    entry.lastName === secret.name
  );
}

function rememberFound(entry: RecordEntry, secret: ImagePullSecret): void {
  entry.lastUid = secret.uid;
  entry.lastNamespace = secret.namespace;
  entry.lastName = secret.name;
  entry.lastHash = secret.credentialHash;
}

function isDecision(verdict: Verdict): verdict is Decision {
  return (verdict as Partial<Decision>).mustPull !== undefined;
}

function decisionOf(match: number): Decision {
  if (match === SECRET_MATCHES) return SECRET_FOUND;
  if (match === ACCOUNT_MATCHES) return SERVICE_ACCOUNT_FOUND;
  if (match === NO_MATCHING) return NO_MATCH;
  throw new RangeError('a match that is to be recorded has no decision yet');
}

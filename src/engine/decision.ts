/**
 * Decisions, as pure functions of a snapshot: a record or its absence, whether a pull is under way,
 * the policy, and what the pod presents.
 *
 * Source: kubernetes pkg/kubelet/images/pullmanager/image_pull_manager.go, MustAttemptImagePull.
 */
import type { PullManagerError } from '../errors.ts';
import type { DecisionReason } from '../metrics/stats.ts';
import type { ImagePullCredentials, ImagePullSecret, PodCredentials } from '../records/record.ts';

/** The answer to "may this pod use the copy on the node, or must the registry be asked?" */
export interface Decision {
  /** True: ask the registry with this pod's credentials. */
  readonly mustPull: boolean;
  readonly reason: DecisionReason;
  /** One sentence a person can act on; never a secret, hash or token. */
  readonly detail: string;
  /** Present with reason `error`. */
  readonly cause?: PullManagerError;
}

function decision(mustPull: boolean, reason: DecisionReason, detail: string): Decision {
  return Object.freeze({ mustPull, reason, detail });
}

// One frozen object each: a decision on the hot path allocates nothing.

/** Not counted in any metric, as in the reference. */
export const NO_IMAGE_REF: Decision = decision(
  true,
  'mustAuthenticate',
  'The image is not on the node: no image reference was given.',
);

export const POLICY_ALLOWED: Decision = decision(
  false,
  'credentialPolicyAllowed',
  'The verification policy lets every pod use this image: it is exempt, or it counts as preloaded because nothing is recorded of it.',
);

export const NODE_WIDE: Decision = decision(
  false,
  'credentialRecordFound',
  'The image was pulled without credentials or with those of the node: every pod may use it.',
);

export const SECRET_FOUND: Decision = decision(
  false,
  'credentialRecordFound',
  'A pull secret of the pod has opened this image before.',
);

export const SERVICE_ACCOUNT_FOUND: Decision = decision(
  false,
  'credentialRecordFound',
  'The service account of the pod has opened this image before.',
);

export const NO_RECORD: Decision = decision(
  true,
  'mustAuthenticate',
  'No pull of this image is recorded: pull it with the credentials of the pod.',
);

export const NO_PROOF_FOR_NAME: Decision = decision(
  true,
  'mustAuthenticate',
  'The image is known, but nobody has proven access under this name: pull it by this name.',
);

export const NO_MATCH: Decision = decision(
  true,
  'mustAuthenticate',
  'None of the credentials of the pod has opened this image before: pull it with them.',
);

/** The decision when anything goes wrong: the registry must be asked. */
export function failed(cause: PullManagerError): Decision {
  // Frozen as all others are: what listeners are told is what the caller gets.
  return Object.freeze({
    mustPull: true,
    reason: 'error',
    detail: `The records could not be consulted (${cause.code}), so the registry must be asked.`,
    cause,
  });
}

/** How what a pod presents is compared with what is recorded. */
export interface MatchRules {
  /** Whether a secret that matches is recorded, in a list below the limit; else none has a limit. */
  readonly recordsMatches: boolean;
  readonly hasServiceAccounts: boolean;
  /** W16: same coordinates with other content count as proven. */
  readonly trustsRotatedSecrets: boolean;
  /** W17: proofs given before this time do not count; `-Infinity`: all do. */
  readonly provenSinceMs: number;
  /** W17: proofs of a time after this were stamped by a wrong clock, and do not count. */
  readonly provenUntilMs: number;
}

/** Recorded secrets from which on a match adds nothing to the record. */
export const RECORDED_SECRETS_MAX = 100;

/** Results of `matchCredentials`; 0 and more: a secret of the pod matches and is to be recorded. */
export const NO_MATCHING = -1;
export const SECRET_MATCHES = -2;
export const ACCOUNT_MATCHES = -3;

/** Whether a proof of this time still counts. */
export function isFresh(provenAtMs: number | undefined, rules: MatchRules): boolean {
  const since = rules.provenSinceMs;
  if (since === Number.NEGATIVE_INFINITY) return true;
  return provenAtMs !== undefined && provenAtMs >= since && provenAtMs <= rules.provenUntilMs;
}

/**
 * Compares what the pod presents with what is recorded. Answers `NO_MATCHING`,
 * `SECRET_MATCHES`, `ACCOUNT_MATCHES`, or the index of the pod's secret that matches one which is
 * recorded under other coordinates or with other content, and so is to be written.
 */
export function matchCredentials(
  recorded: ImagePullCredentials,
  presented: PodCredentials,
  rules: MatchRules,
): number {
  const secrets = recorded.kubernetesSecrets;
  const offered = presented.secrets;
  if (secrets !== undefined && offered !== undefined) {
    const hasRoom = secrets.length < RECORDED_SECRETS_MAX;
    for (let i = 0; i < offered.length; i++) {
      const pod = offered[i]!;
      for (let j = 0; j < secrets.length; j++) {
        const known = secrets[j]!;
        const hashEqual =
          known.credentialHash === pod.credentialHash && known.credentialHash !== '';
        const coordinatesEqual =
          known.uid === pod.uid && known.namespace === pod.namespace && known.name === pod.name;
        if (!hashEqual && !coordinatesEqual) continue;
        if (!isFresh(known.provenAtMs, rules)) continue;
        if (!rules.recordsMatches) {
          if (hashEqual || rules.trustsRotatedSecrets) return SECRET_MATCHES;
          continue;
        }
        if (hashEqual) {
          const isRecorded = coordinatesEqual || !hasRoom || isListed(secrets, pod, rules);
          return isRecorded ? SECRET_MATCHES : i;
        }
        if (hasRoom && rules.trustsRotatedSecrets) {
          return known.credentialHash === pod.credentialHash ? SECRET_MATCHES : i;
        }
      }
    }
  }
  const accounts = recorded.kubernetesServiceAccounts;
  const account = presented.serviceAccount;
  if (accounts !== undefined && account !== undefined && rules.hasServiceAccounts) {
    for (const known of accounts) {
      if (
        known.uid === account.uid &&
        known.namespace === account.namespace &&
        known.name === account.name &&
        isFresh(known.provenAtMs, rules)
      ) {
        return ACCOUNT_MATCHES;
      }
    }
  }
  return NO_MATCHING;
}

/** Whether the very secret is recorded, so that recording it again would change nothing. */
function isListed(
  secrets: readonly ImagePullSecret[],
  pod: ImagePullSecret,
  rules: MatchRules,
): boolean {
  for (const known of secrets) {
    if (
      known.credentialHash === pod.credentialHash &&
      known.uid === pod.uid &&
      known.namespace === pod.namespace &&
      known.name === pod.name
    ) {
      return isFresh(known.provenAtMs, rules);
    }
  }
  return false;
}

/** The proof time that a secret inherits which is recorded because it matched. */
export function inheritedProofMs(
  recorded: ImagePullCredentials,
  secret: ImagePullSecret,
  rules: MatchRules,
): number | undefined {
  let newest: number | undefined;
  for (const known of recorded.kubernetesSecrets ?? []) {
    const isSame =
      (known.credentialHash !== '' && known.credentialHash === secret.credentialHash) ||
      (rules.trustsRotatedSecrets &&
        known.uid === secret.uid &&
        known.namespace === secret.namespace &&
        known.name === secret.name);
    if (isSame && known.provenAtMs !== undefined) {
      newest = Math.max(newest ?? known.provenAtMs, known.provenAtMs);
    }
  }
  return newest;
}

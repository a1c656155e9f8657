/**
 * How the model decides: a pure function of one snapshot.
 *
 * Source: kubernetes pkg/kubelet/images/pullmanager/image_pull_manager.go at v1.33 to v1.36.
 */
import { KUBELET_BEHAVIOUR, type KubeletBehaviour } from '../compatibility.ts';
import { IMAGE_TEXT, type ImageText } from '../images/image-text.ts';
import type { AllowlistEntry } from '../policies/allowlist.ts';
import type { VerificationPolicy } from '../policies/enforcer.ts';
import type { ImagePullCredentials, ImagePullSecret, PodCredentials } from '../records/record.ts';
import { coordinates } from './model-credentials.ts';

/** Writes while matching stop at this many recorded secrets of one name. */
export const MATCH_WRITE_LIMIT = 100;

/** Why a decision came out as it did. */
export type ModelReason =
  | 'credentialPolicyAllowed'
  | 'credentialRecordFound'
  | 'mustAuthenticate'
  | 'error';

/** A decision, and the secret that matching it wrote, if any. */
export interface ModelDecision {
  readonly mustPull: boolean;
  readonly reason: ModelReason;
  /** To be merged into the record under the image's name. */
  readonly learned?: ImagePullSecret;
}

/** Everything a decision depends on. */
export interface ModelView {
  readonly image: string;
  readonly policy: VerificationPolicy;
  /** @default v1.35 */
  readonly behaviour?: KubeletBehaviour;
  /** Proofs of the pulled record by name; undefined: there is no record. */
  readonly record: ReadonlyMap<string, ImagePullCredentials> | undefined;
  /** Whether an intent or a pull in flight exists for the image. */
  readonly isIntended: boolean;
  readonly credentials?: PodCredentials | undefined;
}

/** Decides on one snapshot; changes nothing. */
export function decideOn(view: ModelView): ModelDecision {
  const { image, policy, record, isIntended, credentials } = view;
  const behaviour = view.behaviour ?? KUBELET_BEHAVIOUR['v1.35'];
  const compared = textOf(image, IMAGE_TEXT[behaviour.allowlistCompares]);
  const name = textOf(image, IMAGE_TEXT[behaviour.recordKey]);
  if (!mustVerify(policy, compared, record !== undefined || isIntended)) {
    return { mustPull: false, reason: 'credentialPolicyAllowed' };
  }
  if (record === undefined) return { mustPull: true, reason: 'mustAuthenticate' };
  if (name === undefined) return { mustPull: true, reason: 'error' };
  const proof = record.get(name);
  if (proof === undefined) return { mustPull: true, reason: 'mustAuthenticate' };
  const found: ModelDecision = { mustPull: false, reason: 'credentialRecordFound' };
  if (proof.nodePodsAccessible === true) return found;
  const recorded = proof.kubernetesSecrets ?? [];
  const mayWrite = behaviour.recordsMatches && recorded.length < MATCH_WRITE_LIMIT;
  for (const offered of credentials?.secrets ?? []) {
    for (const known of recorded) {
      const isHashEqual =
        known.credentialHash !== '' && known.credentialHash === offered.credentialHash;
      const isSamePlace = coordinates(known) === coordinates(offered);
      if (isHashEqual) {
        return isSamePlace || !mayWrite ? found : { ...found, learned: offered };
      }
      if (isSamePlace && !behaviour.recordsMatches) return found;
      if (isSamePlace && mayWrite) return { ...found, learned: offered };
    }
  }
  const account = behaviour.hasServiceAccounts ? credentials?.serviceAccount : undefined;
  if (account !== undefined) {
    const wanted = coordinates(account);
    for (const known of proof.kubernetesServiceAccounts ?? []) {
      if (coordinates(known) === wanted) return found;
    }
  }
  return { mustPull: true, reason: 'mustAuthenticate' };
}

/** Whether a policy demands proof. `text` is what an allow list compares; undefined: no such text. */
export function mustVerify(
  policy: VerificationPolicy,
  text: string | undefined,
  isPulled: boolean,
): boolean {
  switch (policy.kind) {
    case 'NeverVerify':
      return false;
    case 'NeverVerifyPreloadedImages':
      return isPulled;
    case 'AlwaysVerify':
      return true;
    case 'NeverVerifyAllowlistedImages':
      return text === undefined || !policy.allowlist.some((pattern) => isListed(pattern, text));
  }
}

function isListed(pattern: AllowlistEntry, text: string): boolean {
  if (typeof pattern !== 'string') throw new TypeError('the model knows no globs');
  return pattern.endsWith('/*') ? text.startsWith(pattern.slice(0, -1)) : text === pattern;
}

/** A part of an image's text; undefined where it has none. */
export function textOf(image: string, part: ImageText): string | undefined {
  try {
    return part(image);
  } catch {
    return undefined;
  }
}

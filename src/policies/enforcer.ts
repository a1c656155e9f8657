/**
 * Verification policies: which images need proof before a pod may use the copy on the node.
 *
 * An enforcer built here holds nothing but its policy, which is plain data: another thread rebuilds
 * it with `createImagePullCredentialVerificationPolicy(enforcer.policy)`.
 *
 * Source: kubernetes pkg/kubelet/images/pullmanager/image_pull_policies.go.
 */
import { invalidArgument, PullManagerError, quote } from '../errors.ts';
import { normalizedImageName } from '../images/image-name.ts';
import { Allowlist, copyPatterns } from './allowlist.ts';

/** A verification policy as plain data; survives a structured clone. */
export type VerificationPolicy =
  | { kind: 'NeverVerify' | 'NeverVerifyPreloadedImages' | 'AlwaysVerify' }
  | { kind: 'NeverVerifyAllowlistedImages'; allowlist: readonly string[] };

/** Decides whether an image needs proof. Must not block; an exception counts as "verify". */
export interface ImagePullPolicyEnforcer {
  /**
   * Whether a pod must prove that it may use the image.
   *
   * @param image As the user typed it.
   * @param imagePulledByKubelet False for preloaded images: those with neither intent nor record.
   */
  requireCredentialVerificationForImage(image: string, imagePulledByKubelet: boolean): boolean;
}

/** An enforcer that other threads can rebuild from `policy`. */
export interface RebuildableEnforcer extends ImagePullPolicyEnforcer {
  /** What the enforcer was made from; frozen. */
  readonly policy: VerificationPolicy;
}

/** Exempts every image. */
export function neverVerifyImagePullPolicy(): RebuildableEnforcer {
  return enforcer({ kind: 'NeverVerify' }, () => false);
}

/** Exempts the images that came with the node. The kubelet's default. */
export function neverVerifyPreloadedPullPolicy(): RebuildableEnforcer {
  return enforcer({ kind: 'NeverVerifyPreloadedImages' }, (_image, pulled) => {
    // Only a plain "no" exempts.
    return pulled !== false;
  });
}

/** Exempts no image. */
export function alwaysVerifyImagePullPolicy(): RebuildableEnforcer {
  return enforcer({ kind: 'AlwaysVerify' }, () => true);
}

/**
 * Exempts the images on an allow list, whoever pulled them.
 *
 * Entries are exact names (`registry.io/team/app`) or prefixes ending in `/*`. The list is copied.
 *
 * @throws `AllowlistPatternError` for the first bad pattern; `INVALID_ARGUMENT` where the value is
 * not an array of strings.
 */
export function neverVerifyAllowlistedPullPolicy(
  allowlist: readonly string[],
): RebuildableEnforcer {
  return allowlistEnforcer(allowlist, 'allowlist');
}

/**
 * The enforcer of a policy.
 *
 * ```ts
 * const enforcer = createImagePullCredentialVerificationPolicy({
 *   kind: 'NeverVerifyAllowlistedImages',
 *   allowlist: ['registry.io/team/*'],
 * });
 * enforcer.requireCredentialVerificationForImage('registry.io/team/app:v1', true); // false
 * ```
 *
 * @throws `POLICY_UNKNOWN` for any other kind, `AllowlistPatternError` for a bad pattern,
 * `INVALID_ARGUMENT` for a malformed value.
 */
export function createImagePullCredentialVerificationPolicy(
  policy: VerificationPolicy,
): RebuildableEnforcer {
  if (typeof policy !== 'object' || policy === null) {
    throw invalidArgument('policy', 'must be an object');
  }
  const kind: unknown = policy.kind;
  switch (policy.kind) {
    case 'NeverVerify':
      return neverVerifyImagePullPolicy();
    case 'NeverVerifyPreloadedImages':
      return neverVerifyPreloadedPullPolicy();
    case 'NeverVerifyAllowlistedImages':
      return allowlistEnforcer(policy.allowlist, 'policy.allowlist');
    case 'AlwaysVerify':
      return alwaysVerifyImagePullPolicy();
    default:
      if (typeof kind !== 'string') throw invalidArgument('policy.kind', 'must be a string');
      throw unknownPolicy(kind);
  }
}

const rebuildable = new WeakSet<ImagePullPolicyEnforcer>();

/** What an enforcer of this module was made from; `undefined` for a caller's own enforcer. */
export function policyOf(given: ImagePullPolicyEnforcer): VerificationPolicy | undefined {
  return rebuildable.has(given) ? (given as RebuildableEnforcer).policy : undefined;
}

type Verdict = (image: string, imagePulledByKubelet: boolean) => boolean;

function enforcer(
  policy: VerificationPolicy,
  requireCredentialVerificationForImage: Verdict,
): RebuildableEnforcer {
  const built = Object.freeze({
    policy: Object.freeze(policy),
    requireCredentialVerificationForImage,
  });
  rebuildable.add(built);
  return built;
}

function allowlistEnforcer(patterns: readonly string[], argument: string): RebuildableEnforcer {
  const copy = Object.freeze(copyPatterns(patterns, argument));
  const allowlist = new Allowlist(copy);
  return enforcer({ kind: 'NeverVerifyAllowlistedImages', allowlist: copy }, (image) => {
    let name: string;
    try {
      name = comparedName(image);
    } catch {
      // What is no image name is on no list: verify.
      return true;
    }
    return !allowlist.includes(name);
  });
}

/** What the allow list compares: up to v1.35, the normalised name. */
function comparedName(image: string): string {
  return normalizedImageName(image);
}

function unknownPolicy(kind: string): PullManagerError {
  const shown = /^[\w.-]{1,64}$/.test(kind) ? kind : quote(kind);
  const message = `unknown image pull credential verification policy: ${shown}`;
  return new PullManagerError('POLICY_UNKNOWN', message, { argument: 'policy.kind' });
}

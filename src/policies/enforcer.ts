/**
 * Verification policies: which images need proof before a pod may use the copy on the node.
 *
 * An enforcer built here holds nothing but its policy and level, which are plain data: another thread
 * rebuilds it with `createImagePullCredentialVerificationPolicy(policy, compatibility)`.
 *
 * Source: kubernetes pkg/kubelet/images/pullmanager/image_pull_policies.go.
 */
import {
  COMPATIBILITY_DEFAULT,
  type CompatibilityLevel,
  checkCompatibility,
  KUBELET_BEHAVIOUR,
} from '../compatibility.ts';
import { invalidArgument, PullManagerError, quote } from '../errors.ts';
import { IMAGE_TEXT } from '../images/image-text.ts';
import { Allowlist, type AllowlistEntry, copyEntries } from './allowlist.ts';

/** A verification policy as plain data; survives a structured clone. */
export type VerificationPolicy =
  | { kind: 'NeverVerify' | 'NeverVerifyPreloadedImages' | 'AlwaysVerify' }
  | { kind: 'NeverVerifyAllowlistedImages'; allowlist: readonly AllowlistEntry[] };

/** The policies there are. */
export const POLICIES = [
  'NeverVerifyPreloadedImages',
  'NeverVerifyAllowlistedImages',
  'AlwaysVerify',
  'NeverVerify',
] as const;

/** Name of a verification policy. */
export type PolicyName = (typeof POLICIES)[number];

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

/** An enforcer that other threads can rebuild from `policy` and `compatibility`. */
export interface RebuildableEnforcer extends ImagePullPolicyEnforcer {
  /** What the enforcer was made from; frozen. */
  readonly policy: VerificationPolicy;
  /** The level at which it was made; only allow lists differ by it. */
  readonly compatibility: CompatibilityLevel;
}

/** Exempts every image. */
export function neverVerifyImagePullPolicy(): RebuildableEnforcer {
  return createImagePullCredentialVerificationPolicy({ kind: 'NeverVerify' });
}

/** Exempts the images that came with the node. The kubelet's default. */
export function neverVerifyPreloadedPullPolicy(): RebuildableEnforcer {
  return createImagePullCredentialVerificationPolicy({ kind: 'NeverVerifyPreloadedImages' });
}

/** Exempts no image. */
export function alwaysVerifyImagePullPolicy(): RebuildableEnforcer {
  return createImagePullCredentialVerificationPolicy({ kind: 'AlwaysVerify' });
}

/**
 * Exempts the images on an allow list, whoever pulled them.
 *
 * Entries are exact names (`registry.io/team/app`), prefixes ending in `/*`, or globs (see
 * `AllowlistEntry`). What of an image they are compared with differs by level: up to v1.34 the raw
 * text, tag and digest included, so that an entry must end in a wildcard to exempt an image with a
 * tag; at v1.35 the normalised name; from v1.36 the name as typed. The list is copied.
 *
 * @param compatibility @default 'v1.35'
 * @throws `AllowlistPatternError` for the first bad entry; `INVALID_ARGUMENT` where the value is
 * not an array of entries, or the level is unknown.
 */
export function neverVerifyAllowlistedPullPolicy(
  allowlist: readonly AllowlistEntry[],
  compatibility: CompatibilityLevel = COMPATIBILITY_DEFAULT,
): RebuildableEnforcer {
  const level = checkCompatibility(compatibility, 'compatibility');
  return allowlistEnforcer(allowlist, 'allowlist', level);
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
 * @param compatibility The level at which an allow list is read; see
 * `neverVerifyAllowlistedPullPolicy`. @default 'v1.35'
 * @throws `POLICY_UNKNOWN` for any other kind, `AllowlistPatternError` for a bad entry,
 * `INVALID_ARGUMENT` for a malformed value or an unknown level.
 */
export function createImagePullCredentialVerificationPolicy(
  policy: VerificationPolicy,
  compatibility: CompatibilityLevel = COMPATIBILITY_DEFAULT,
): RebuildableEnforcer {
  const level = checkCompatibility(compatibility, 'compatibility');
  if (typeof policy !== 'object' || policy === null) {
    throw invalidArgument('policy', 'must be an object');
  }
  const kind: unknown = policy.kind;
  switch (policy.kind) {
    case 'NeverVerify':
      return enforcer({ kind: 'NeverVerify' }, level, NEVER);
    case 'NeverVerifyPreloadedImages':
      return enforcer({ kind: 'NeverVerifyPreloadedImages' }, level, IF_PULLED);
    case 'NeverVerifyAllowlistedImages':
      return allowlistEnforcer(policy.allowlist, 'policy.allowlist', level);
    case 'AlwaysVerify':
      return enforcer({ kind: 'AlwaysVerify' }, level, ALWAYS);
    default:
      if (typeof kind !== 'string') throw invalidArgument('policy.kind', 'must be a string');
      throw unknownPolicy(kind);
  }
}

const rebuildable = new WeakSet<ImagePullPolicyEnforcer>();

/** The enforcer itself if it is one of this module; `undefined` for a caller's own. */
export function rebuiltFrom(given: ImagePullPolicyEnforcer): RebuildableEnforcer | undefined {
  return rebuildable.has(given) ? (given as RebuildableEnforcer) : undefined;
}

type Verdict = (image: string, imagePulledByKubelet: boolean) => boolean;

const NEVER: Verdict = () => false;
const ALWAYS: Verdict = () => true;
/** Only a plain "no" exempts. */
const IF_PULLED: Verdict = (_image, imagePulledByKubelet) => imagePulledByKubelet !== false;

function enforcer(
  policy: VerificationPolicy,
  compatibility: CompatibilityLevel,
  requireCredentialVerificationForImage: Verdict,
): RebuildableEnforcer {
  const built = Object.freeze({
    policy: Object.freeze(policy),
    compatibility,
    requireCredentialVerificationForImage,
  });
  rebuildable.add(built);
  return built;
}

function allowlistEnforcer(
  entries: readonly AllowlistEntry[],
  argument: string,
  level: CompatibilityLevel,
): RebuildableEnforcer {
  const copy = copyEntries(entries, argument);
  const behaviour = KUBELET_BEHAVIOUR[level];
  const allowlist = new Allowlist(copy, behaviour);
  const compared = IMAGE_TEXT[behaviour.allowlistCompares];
  return enforcer({ kind: 'NeverVerifyAllowlistedImages', allowlist: copy }, level, (image) => {
    try {
      return typeof image !== 'string' || !allowlist.includes(compared(image));
    } catch {
      // What is no image name is on no list of names: verify.
      return true;
    }
  });
}

function unknownPolicy(kind: string): PullManagerError {
  const shown = /^[\w.-]{1,64}$/.test(kind) ? kind : quote(kind);
  const message = `unknown image pull credential verification policy: ${shown}`;
  return new PullManagerError('POLICY_UNKNOWN', message, { argument: 'policy.kind' });
}

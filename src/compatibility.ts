/**
 * What changed in the kubelet's pull manager from version to version, as data.
 *
 * Source: kubernetes pkg/kubelet/images/pullmanager at v1.33 to v1.36.
 */
import { invalidArgument, quote } from './errors.ts';
import { suggestion } from './util/suggest.ts';

/** A kubelet version whose behaviour can be claimed. */
export type CompatibilityLevel = 'v1.33' | 'v1.34' | 'v1.35' | 'v1.36';

export const COMPATIBILITY_DEFAULT: CompatibilityLevel = 'v1.35';

/** A version of the kubelet's record files. */
export type RecordVersion = 'v1alpha1' | 'v1beta1';

/** How the kubelet of one version behaves, where versions differ. */
export interface KubeletBehaviour {
  /** What a record's credentials are filed under: the full name, or the name as the user typed it. */
  readonly recordKey: 'normalizedName' | 'nameAsTyped';
  /** What of an image the allow list compares. */
  readonly allowlistCompares: 'rawText' | 'normalizedName' | 'nameAsTyped';
  /** What of itself an exact entry of the allow list must be identical to. */
  readonly allowlistHolds: 'normalizedName' | 'nameAsTyped';
  /** Whether a secret that matched under other coordinates, or rotated, is recorded: up to 100. */
  readonly recordsMatches: boolean;
  /** Whether a credentials source is asked only where the answer depends on it [W31]. */
  readonly asksSourcesLazily: boolean;
  readonly hasServiceAccounts: boolean;
  /** The version of the record files that are written; older ones are rewritten at open. */
  readonly writesVersion: RecordVersion;
  readonly readsVersions: readonly RecordVersion[];
}

const V1_34: KubeletBehaviour = {
  recordKey: 'normalizedName',
  allowlistCompares: 'rawText',
  allowlistHolds: 'normalizedName',
  recordsMatches: true,
  asksSourcesLazily: false,
  hasServiceAccounts: true,
  writesVersion: 'v1alpha1',
  readsVersions: ['v1alpha1'],
};
const V1_35: KubeletBehaviour = {
  ...V1_34,
  allowlistCompares: 'normalizedName',
  asksSourcesLazily: true,
  writesVersion: 'v1beta1',
  readsVersions: ['v1beta1', 'v1alpha1'],
};

export const KUBELET_BEHAVIOUR: Readonly<Record<CompatibilityLevel, KubeletBehaviour>> = {
  'v1.33': { ...V1_34, recordsMatches: false, hasServiceAccounts: false },
  'v1.34': V1_34,
  'v1.35': V1_35,
  'v1.36': {
    ...V1_35,
    recordKey: 'nameAsTyped',
    allowlistCompares: 'nameAsTyped',
    allowlistHolds: 'nameAsTyped',
  },
};

/** All levels, oldest first. */
export const COMPATIBILITY_LEVELS: readonly CompatibilityLevel[] = Object.keys(
  KUBELET_BEHAVIOUR,
) as CompatibilityLevel[];

/** The level itself, if it is one; throws `INVALID_ARGUMENT` naming `argument`. */
export function checkCompatibility(level: unknown, argument: string): CompatibilityLevel {
  for (const known of COMPATIBILITY_LEVELS) if (known === level) return known;
  const levels = COMPATIBILITY_LEVELS.map((known) => `'${known}'`).join(', ');
  const given =
    typeof level === 'string'
      ? `, not ${quote(level)}${suggestion(level, COMPATIBILITY_LEVELS)}`
      : '';
  throw invalidArgument(argument, `must be one of ${levels}${given}`);
}

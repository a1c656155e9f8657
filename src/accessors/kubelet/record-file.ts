/**
 * What writing and reading record files have in common: kinds, versions, names, sizes.
 *
 * Source: kubernetes pkg/kubelet/images/pullmanager/fs_pullrecords.go.
 */
import { createHash } from 'node:crypto';
import type { KubeletBehaviour } from '../../compatibility.ts';

/** What of a kubelet's behaviour says how records are written. */
export type Written = Pick<KubeletBehaviour, 'writesVersion' | 'hasServiceAccounts'>;
/** What of a kubelet's behaviour says which records are read. */
export type Read = Pick<KubeletBehaviour, 'readsVersions' | 'hasServiceAccounts'>;

/**
 * The largest file that is read, in bytes; larger ones are refused before they are read.
 *
 * 100,000 secrets of one image fit in even if each has the longest name and namespace that
 * Kubernetes allows (253 and 63 characters, 480 bytes in all); usual ones take less than half.
 */
export const RECORD_BYTES_MAX: number = 64 * 1024 * 1024;

export const INTENT_KIND = 'ImagePullIntent';
export const PULLED_KIND = 'ImagePulledRecord';
export const API_GROUP = 'kubelet.config.k8s.io/';

/** With what the name of every record file begins. */
export const RECORD_PREFIX = 'sha256-';

/** The name of the file of an intent (key: image) or a pulled record (key: imageRef). */
export function recordFileName(key: string): string {
  return `${RECORD_PREFIX}${createHash('sha256').update(key, 'utf8').digest('hex')}`;
}

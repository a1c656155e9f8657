import { describe, expect, it } from 'vitest';
import {
  decodeIntent,
  decodePulled,
  RecordFormatError,
  UnreadVersionError,
} from '../../../src/accessors/kubelet/record-format.ts';
import { type CompatibilityLevel, KUBELET_BEHAVIOUR } from '../../../src/compatibility.ts';

function intentError(level: CompatibilityLevel, apiVersion: string): unknown {
  const text = JSON.stringify({ kind: 'ImagePullIntent', apiVersion, image: 'a' });
  return errorOf(() => decodeIntent(Buffer.from(text), KUBELET_BEHAVIOUR[level]));
}

function pulledError(level: CompatibilityLevel, field: string): unknown {
  const record = {
    kind: 'ImagePulledRecord',
    apiVersion: 'kubelet.config.k8s.io/v1alpha1',
    imageRef: 'a',
    credentialMapping: { b: { [field]: [] } },
  };
  return errorOf(() => decodePulled(Buffer.from(JSON.stringify(record)), KUBELET_BEHAVIOUR[level]));
}

function errorOf(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  return undefined;
}

describe('a file of a newer kubelet', () => {
  it.each([
    ['v1.34', 'kubelet.config.k8s.io/v1beta1'],
    ['v1.36', 'kubelet.config.k8s.io/v1'],
    ['v1.36', 'kubelet.config.k8s.io/v2alpha1'],
  ] as const)('is unread at %s, and no damage, in the version %s', (level, version) => {
    expect(intentError(level, version)).toBeInstanceOf(UnreadVersionError);
  });

  it('is unread at v1.33 where it has a field that came with v1.34', () => {
    expect(pulledError('v1.33', 'kubernetesServiceAccounts')).toBeInstanceOf(UnreadVersionError);
    expect(pulledError('v1.34', 'kubernetesServiceAccounts')).toBeUndefined();
  });
});

describe('a damaged file', () => {
  it.each(['', 'v1', 'kubelet.config.k8s.io/', 'kubelet.config.k8s.io/v', 'example.com/v1'])(
    'is damaged, and not unread, with the version %j',
    (version) => {
      const error = intentError('v1.36', version);
      expect(error).toBeInstanceOf(RecordFormatError);
      expect(error).not.toBeInstanceOf(UnreadVersionError);
    },
  );

  it('is damaged where it has a field of no level', () => {
    for (const level of ['v1.33', 'v1.36'] as const) {
      const error = pulledError(level, 'kubernetesRobots');
      expect(error).toBeInstanceOf(RecordFormatError);
      expect(error).not.toBeInstanceOf(UnreadVersionError);
    }
  });
});

/**
 * The kubelet's record files: one JSON object each, byte for byte as the kubelet of one version
 * writes it, and read as strictly as that kubelet reads it.
 *
 * | object | fields, in the order written |
 * | --- | --- |
 * | intent | `kind`, `apiVersion`, `image` |
 * | pulled record | `kind`, `apiVersion`, `lastUpdatedTime`, `imageRef`, `credentialMapping` |
 * | credentials | `kubernetesSecrets`, `kubernetesServiceAccounts`, `nodePodsAccessible` |
 * | secret | `uid`, `namespace`, `name`, `credentialHash` |
 * | service account | `uid`, `namespace`, `name` |
 *
 * The mapping and the fields of credentials are left out where they are empty or false, except that
 * v1alpha1 shows empty `kubernetesSecrets` as `null`.
 *
 * Differs from the reference: YAML and protobuf are not read, and sizes have a cap [W29].
 *
 * Source: kubernetes/kubelet config/v1alpha1 and v1beta1 types, pkg/kubelet/images/pullmanager
 * fs_pullrecords.go, sigs.k8s.io/json (UnmarshalStrict).
 */

export { decodeIntent, decodePulled } from './record-decoding.ts';
export { encodeIntent, encodePulled, inexpressible } from './record-encoding.ts';
export { RECORD_BYTES_MAX, recordFileName } from './record-file.ts';
export { RecordFormatError, UnreadVersionError } from './record-format-error.ts';

/** What a pod brings along for its pulls: image pull secrets and a service account. */

/** Types of secrets that hold credentials for registries, and under which key of `data`. */
export const PULL_SECRET_KEYS: ReadonlyMap<string, string> = new Map([
  ['kubernetes.io/dockerconfigjson', '.dockerconfigjson'],
  ['kubernetes.io/dockercfg', '.dockercfg'],
]);

/**
 * An image pull secret of a pod, in the shape that the Kubernetes API has it in: `metadata.uid`,
 * `metadata.namespace` and `metadata.name`, `type` and `data`.
 *
 * Only the two types of registry secrets count, each with its own key: with
 * `kubernetes.io/dockerconfigjson` the key `.dockerconfigjson` (the docker client's `config.json`),
 * with `kubernetes.io/dockercfg` the key `.dockercfg` (the older form, which is what `auths` holds).
 * Secrets of other types, without that key, or with nothing under it are passed over, as the kubelet
 * does.
 */
export interface PullSecret {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly type: string;
  /** Texts are base64, as in the API; bytes are the content itself. */
  readonly data: Readonly<Record<string, string | Uint8Array>>;
}

/** The service account of a pod; credential providers are asked on its behalf where they want it. */
export interface PodServiceAccount {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  /** Of the account; a provider sees those that its configuration names. @default none */
  readonly annotations?: Readonly<Record<string, string>>;
  /**
   * A token of the account for an audience, bound to the pod. Called only where a provider that wants
   * tokens matches the image, once for each such provider. Ends by `signal` at the latest.
   */
  readonly token: (audience: string, signal: AbortSignal) => string | Promise<string>;
}

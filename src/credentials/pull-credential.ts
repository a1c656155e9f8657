/** What a pull can present to a registry, and where it came from. */

/**
 * What is presented to a registry: a user and password, or a token. Values are secrets: they never
 * reach a log, a message, a metric or a record.
 */
export interface RegistryAuth {
  readonly username?: string;
  readonly password?: string;
  /** Base64 of `username:password`. */
  readonly auth?: string;
  readonly email?: string;
  /** With its scheme. A runtime refuses credentials whose server is not the image's. */
  readonly serverAddress?: string;
  /** Used instead of a password to get a token. */
  readonly identityToken?: string;
  /** Sent as it is. containerd ignores it silently. */
  readonly registryToken?: string;
}

/** Every field of a `RegistryAuth`. */
export const REGISTRY_AUTH_FIELDS: readonly (keyof RegistryAuth)[] = Object.keys({
  username: true,
  password: true,
  auth: true,
  email: true,
  serverAddress: true,
  identityToken: true,
  registryToken: true,
} satisfies Record<keyof RegistryAuth, true>) as (keyof RegistryAuth)[];

/**
 * Where a credential came from. A pull that one of the node's own has opened, or none, makes the
 * image accessible to every pod; one of a pod's makes it accessible to who presents the same.
 */
export type CredentialSourceIdentity =
  | {
      readonly kind: 'secret' | 'serviceAccount';
      readonly uid: string;
      readonly namespace: string;
      readonly name: string;
    }
  | { readonly kind: 'node' };

/** One credential of a pod or of the node. */
export interface PullCredential {
  readonly auth: RegistryAuth;
  readonly source: CredentialSourceIdentity;
}

/** The credentials for one image, in the order in which they are to be tried. */
export type PullCredentialsSource =
  | readonly PullCredential[]
  | (() => Promise<readonly PullCredential[]>);

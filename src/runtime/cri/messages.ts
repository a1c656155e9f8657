/** Messages of CRI v1 as proto-loader gives them, and what pullwarden makes of them. */
import type { RegistryAuth } from '../../credentials/pull-credential.ts';
import { invalidArgument } from '../../errors.ts';
import type { RuntimeImage } from '../../images/image-service.ts';

/** `Image` of CRI; fields that were not sent have their zero value. */
export interface CriImage {
  readonly id: string;
  readonly repoTags: readonly string[];
  readonly repoDigests: readonly string[];
  readonly size: number;
  readonly pinned: boolean;
}

/** `AuthConfig` of CRI. */
export interface CriAuthConfig {
  readonly username?: string;
  readonly password?: string;
  readonly auth?: string;
  readonly serverAddress?: string;
  readonly identityToken?: string;
  readonly registryToken?: string;
}

/** `FilesystemUsage` of CRI; parts that were not sent are `null`. */
export interface CriFilesystemUsage {
  readonly timestamp: number;
  readonly fsId: { readonly mountpoint: string } | null;
  readonly usedBytes: { readonly value: number } | null;
  readonly inodesUsed: { readonly value: number } | null;
}

/** What the images of a runtime take up on one filesystem. */
export interface ImageFilesystem {
  readonly mountpoint: string;
  readonly usedBytes: number;
  /** Absent where the filesystem has no inodes to count. */
  readonly inodesUsed?: number;
  /** When it was measured. */
  readonly measuredAt: Date;
}

/** The image as the rest of the project knows it; the id was checked before. */
export function runtimeImage({ id, repoTags, repoDigests, size, pinned }: CriImage): RuntimeImage {
  return { id, repoTags, repoDigests, sizeBytes: size, pinned };
}

const NS_PER_MS = 1e6;

/** The usage of a filesystem as callers see it. */
export function imageFilesystem(usage: CriFilesystemUsage): ImageFilesystem {
  const { timestamp, fsId, usedBytes, inodesUsed } = usage;
  return {
    mountpoint: fsId?.mountpoint ?? '',
    usedBytes: usedBytes?.value ?? 0,
    ...(inodesUsed !== null && { inodesUsed: inodesUsed.value }),
    measuredAt: new Date(timestamp / NS_PER_MS),
  };
}

/** `email` is not among them: CRI has no place for it. */
const AUTH_FIELDS = ['username', 'password', 'auth', 'identityToken', 'registryToken'] as const;

/**
 * What CRI sends of a credential. Throws `INVALID_ARGUMENT` where it is none.
 *
 * `serverAddress` becomes a URL of the host that containerd compares with the one it asks: see
 * `serverUrl`. Empty, it is left out: the credential is then used at whichever host is asked.
 */
export function authConfig(auth: RegistryAuth): CriAuthConfig {
  if (typeof auth !== 'object' || auth === null) throw invalidArgument('auth', 'must be an object');
  const config: Record<string, string> = {};
  for (const field of AUTH_FIELDS) {
    const value = textOf(auth, field);
    if (value !== undefined) config[field] = value;
  }
  const serverAddress = textOf(auth, 'serverAddress');
  if (serverAddress) config.serverAddress = serverUrl(serverAddress);
  return config;
}

function textOf(auth: RegistryAuth, field: keyof RegistryAuth): string | undefined {
  const value: unknown = auth[field];
  if (value === undefined || typeof value === 'string') return value;
  throw invalidArgument(`auth.${field}`, 'must be a string');
}

const SCHEME = /^[a-z][a-z0-9+.-]*:\/\//i;
/** The names under which configurations know Docker Hub, and the host that serves its images. */
const DOCKER_HUB = /^(?:https?:\/\/)?(?:(?:index|registry-1|www)\.)?docker\.io(?:\/|$)/i;
const DOCKER_HUB_URL = 'https://registry-1.docker.io';

/**
 * The server of a credential as containerd wants it.
 *
 * containerd refuses an address without a scheme, and silently drops credentials whose host is not
 * the one that is asked, port included. Neither suits the keys of docker configurations
 * (`registry.example.com:5000`, `https://index.docker.io/v1/`), so that a missing scheme is added (only
 * the host counts) and Docker Hub gets its host's name.
 */
export function serverUrl(address: string): string {
  if (DOCKER_HUB.test(address)) return DOCKER_HUB_URL;
  return SCHEME.test(address) ? address : `https://${address}`;
}

/**
 * Credentials by the registry locations that they are for, and which of them count for an image.
 *
 * A location counts for an image when the ports are equal, the hosts have equally many labels of which
 * each matches (`*` in a label of the location is any run of characters), and the location's path is a
 * prefix of the image's: of its text, so `registry.example.com/team` counts for
 * `registry.example.com/team-a/app` too.
 *
 * Source: kubernetes pkg/credentialprovider/keyring.go, BasicDockerKeyring.
 */
import { locationKey, parseLocation, type RegistryLocation } from './registry-location.ts';

/** Docker Hub, as docker configurations name it; image names have `docker.io`. */
export const DEFAULT_REGISTRY_KEY = 'index.docker.io';
const DEFAULT_REGISTRY = { host: 'docker.io', port: '' } as const;

/** Keys of one host pattern and port, by their paths. */
interface HostKeys {
  readonly location: RegistryLocation;
  readonly keysByPath: Map<string, string[]>;
}

/**
 * What was added under locations, found by image name. Adding is linear; a lookup takes time by the
 * length of the name and by the number of different hosts with `*`, not by the number of locations.
 */
export class Keyring<T> {
  readonly #valuesByKey = new Map<string, T[]>();
  readonly #exactHosts = new Map<string, HostKeys>();
  readonly #hostPatterns = new Map<string, HostKeys>();

  /** Adds a value under a location; one that is no location is passed over, as the kubelet does. */
  add(configured: string, value: T): void {
    const key = locationKey(configured);
    if (key === undefined) return;
    const values = this.#valuesByKey.get(key);
    if (values !== undefined) {
      values.push(value);
      return;
    }
    this.#valuesByKey.set(key, [value]);
    // The key is parsed again, as the kubelet does: decoding a path can reveal a query or an escape.
    const location = parseLocation(key);
    if (location !== undefined && !neverMatches(location)) this.#file(location, key);
  }

  /**
   * All values that count for an image, by their keys in reverse alphabetical order, so that longer
   * paths of a host come first; of one key in the order in which they were added.
   *
   * @param imageName Normalised, without tag and digest.
   */
  lookup(imageName: string): readonly T[] {
    const target = parseLocation(imageName);
    if (target === undefined) return [];
    const keys: string[] = [];
    const exact = this.#exactHosts.get(hostText(target));
    if (exact !== undefined) pushKeysOfPrefixes(exact.keysByPath, target.path, keys);
    for (const { location, keysByPath } of this.#hostPatterns.values()) {
      if (hostMatches(location, target)) pushKeysOfPrefixes(keysByPath, target.path, keys);
    }
    if (keys.length > 0) {
      keys.sort((a, b) => (a < b ? 1 : -1));
      return keys.flatMap((key) => this.#valuesByKey.get(key)!);
    }
    const isDefaultRegistry = hostText(target) === hostText(DEFAULT_REGISTRY);
    return (isDefaultRegistry && this.#valuesByKey.get(DEFAULT_REGISTRY_KEY)) || [];
  }

  #file(location: RegistryLocation, key: string): void {
    const hosts = location.host.includes('*') ? this.#hostPatterns : this.#exactHosts;
    const host = hostText(location);
    let keys = hosts.get(host);
    if (keys === undefined) {
      keys = { location, keysByPath: new Map() };
      hosts.set(host, keys);
    }
    const sameKeys = keys.keysByPath.get(location.path);
    if (sameKeys === undefined) keys.keysByPath.set(location.path, [key]);
    else sameKeys.push(key);
  }
}

/** Whether a location counts for an image, by the rules of the keyring. */
export function locationMatches(pattern: RegistryLocation, target: RegistryLocation): boolean {
  return hostMatches(pattern, target) && target.path.startsWith(pattern.path);
}

function hostText({ host, port }: { readonly host: string; readonly port: string }): string {
  return `${host} ${port}`;
}

/** An address in brackets without a port: the kubelet takes it for a class of characters. */
function neverMatches(pattern: RegistryLocation): boolean {
  return pattern.host.startsWith('[');
}

function hostMatches(pattern: RegistryLocation, target: RegistryLocation): boolean {
  const { labels, port } = pattern;
  if (port !== target.port || labels.length !== target.labels.length) return false;
  return (
    labels.every((label, i) => labelMatches(label, target.labels[i]!)) && !neverMatches(pattern)
  );
}

/** Whether a text is what a pattern says, in which `*` is any run of characters. */
function labelMatches(pattern: string, text: string): boolean {
  if (!pattern.includes('*')) return pattern === text;
  const [first, ...rest] = pattern.split('*');
  if (!text.startsWith(first!)) return false;
  const last = rest.pop() ?? '';
  let position = first!.length;
  // The leftmost place leaves most for what follows, so no other place need be tried.
  for (const part of rest) {
    const found = text.indexOf(part, position);
    if (found === -1) return false;
    position = found + part.length;
  }
  return text.length - last.length >= position && text.endsWith(last);
}

function pushKeysOfPrefixes(
  keysByPath: ReadonlyMap<string, readonly string[]>,
  path: string,
  keys: string[],
): void {
  if (keysByPath.size <= path.length) {
    for (const [prefix, found] of keysByPath) if (path.startsWith(prefix)) keys.push(...found);
    return;
  }
  for (let length = 0; length <= path.length; length++) {
    const found = keysByPath.get(path.slice(0, length));
    if (found !== undefined) keys.push(...found);
  }
}

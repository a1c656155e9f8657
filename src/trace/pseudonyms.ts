/**
 * Takes out of a trace what is secret, and by default who is in it, so that equal stays equal.
 *
 * Hashes of credentials are always replaced: they are no secrets, but who has a list of likely
 * passwords can compare.
 */
import { parseImageName } from '../images/image-name.ts';
import type {
  ImagePullCredentials,
  ImagePullSecret,
  ImagePullServiceAccount,
  PodCredentials,
} from '../records/record.ts';
import type { TracedCredentials, TracedPlace, TracedSecret, TraceNaming } from './format.ts';

/** Numbers texts in the order of their appearance. */
class Numbering {
  readonly #prefix: string;
  readonly #numbers = new Map<string, number>();

  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  get size(): number {
    return this.#numbers.size;
  }

  of(text: string): string {
    const number = this.#numbers.get(text) ?? this.#numbers.size + 1;
    this.#numbers.set(text, number);
    return `${this.#prefix}${number}`;
  }
}

/** One trace's pseudonyms. */
export class Pseudonyms {
  readonly #hashes = new Numbering('h');
  readonly #uids = new Numbering('u');
  readonly #namespaces = new Numbering('ns');
  readonly #names = new Numbering('n');
  readonly #imageNames = new Numbering('trace.example/image-');
  readonly #imageTexts = new Numbering('t');
  readonly #refs = new Numbering('ref-');
  readonly #keepsNames: boolean;
  readonly #keepsImages: boolean;

  constructor(names: TraceNaming, images: TraceNaming) {
    this.#keepsNames = names === 'kept';
    this.#keepsImages = images === 'kept';
  }

  /** Texts that are remembered. */
  get size(): number {
    const all = [this.#hashes, this.#uids, this.#namespaces, this.#names];
    const images = [this.#imageNames, this.#imageTexts, this.#refs];
    return [...all, ...images].reduce((sum, { size }) => sum + size, 0);
  }

  /** An image as pods write it; images of one name keep one name. What is no image name stays none. */
  image(image: string): string {
    if (this.#keepsImages) return image;
    let name: string;
    try {
      ({ name } = parseImageName(image));
    } catch {
      return `NO IMAGE NAME ${this.#imageTexts.of(image)}`;
    }
    return `${this.#imageNames.of(name)}:${this.#imageTexts.of(image)}`;
  }

  /** An image name as records have it. */
  imageName(name: string): string {
    if (this.#keepsImages) return name;
    try {
      return this.#imageNames.of(parseImageName(name).name);
    } catch {
      return this.#imageNames.of(name);
    }
  }

  imageRef(imageRef: string): string {
    return this.#keepsImages || imageRef === '' ? imageRef : this.#refs.of(imageRef);
  }

  /** What a pod presents; undefined: nothing. */
  presented({ secrets, serviceAccount }: PodCredentials): TracedCredentials | undefined {
    const traced = {
      ...(secrets?.length ? { secrets: secrets.map((secret) => this.#secret(secret)) } : {}),
      ...(serviceAccount ? { serviceAccounts: [this.#place(serviceAccount)] } : {}),
    };
    return Object.keys(traced).length === 0 ? undefined : traced;
  }

  /** What a pull is recorded with. */
  recorded(credentials: ImagePullCredentials): TracedCredentials {
    const { nodePodsAccessible, kubernetesSecrets, kubernetesServiceAccounts } = credentials;
    return {
      ...(nodePodsAccessible ? { nodePodsAccessible } : {}),
      ...(kubernetesSecrets?.length
        ? { secrets: kubernetesSecrets.map((secret) => this.#secret(secret)) }
        : {}),
      ...(kubernetesServiceAccounts?.length
        ? { serviceAccounts: kubernetesServiceAccounts.map((account) => this.#place(account)) }
        : {}),
    };
  }

  #secret(secret: ImagePullSecret): TracedSecret {
    const { credentialHash } = secret;
    // Empty means that there is none, and is equal to no other.
    const hash = credentialHash === '' ? '' : this.#hashes.of(credentialHash);
    return { ...this.#place(secret), credentialHash: hash };
  }

  #place({ uid, namespace, name }: ImagePullServiceAccount): TracedPlace {
    if (this.#keepsNames) return { uid, namespace, name };
    return {
      uid: this.#uids.of(uid),
      namespace: this.#namespaces.of(namespace),
      name: this.#names.of(name),
    };
  }
}

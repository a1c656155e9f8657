/** Tiny images, built in memory, and the two ways of getting them somewhere. */
import { createHash } from 'node:crypto';
import { type RequestOptions, request } from 'node:http';
import { gzipSync } from 'node:zlib';
import { tar } from './tar.ts';

const MEDIA_TYPES = {
  oci: {
    manifest: 'application/vnd.oci.image.manifest.v1+json',
    config: 'application/vnd.oci.image.config.v1+json',
    layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
  },
  schema2: {
    manifest: 'application/vnd.docker.distribution.manifest.v2+json',
    config: 'application/vnd.docker.container.image.v1+json',
    layer: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  },
} as const;

/** The architectures of Node that container images call otherwise. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386' };

const UPLOAD_TIMEOUT_MS = 20_000;

export interface BuildOptions {
  /** What the image holds: images of the same content are the same image. */
  readonly content: string;
  /** @default 'oci' */
  readonly format?: keyof typeof MEDIA_TYPES;
  /** That many incompressible bytes more in the layer. @default 0 */
  readonly fillBytes?: number;
}

/** Bytes that a registry keeps under their digest. */
export interface Blob {
  readonly mediaType: string;
  /** `sha256:…` */
  readonly digest: string;
  readonly bytes: Buffer;
}

/** An image of one layer, for this machine's architecture. */
export interface BuiltImage {
  /** What a runtime calls it: the digest of its configuration. */
  readonly id: string;
  /** The digest of its manifest. */
  readonly digest: string;
  readonly manifest: Blob;
  readonly config: Blob;
  readonly layer: Blob;
}

/**
 * Builds an image with one file in it.
 *
 * The same content in both formats has the same layer, and different manifests and ids.
 */
export function buildImage(options: BuildOptions): BuiltImage {
  const types = MEDIA_TYPES[options.format ?? 'oci'];
  const content = Buffer.from(options.content);
  const fill = createHash('shake256', { outputLength: Math.max(1, options.fillBytes ?? 0) });
  const files = tar([
    { name: 'content', content },
    ...(options.fillBytes ? [{ name: 'fill', content: fill.update(content).digest() }] : []),
  ]);
  const layer = blob(types.layer, gzipSync(files));
  const config = blob(types.config, {
    architecture: ARCHITECTURES[process.arch] ?? process.arch,
    os: 'linux',
    config: { Cmd: ['/content'], Labels: { format: options.format ?? 'oci' } },
    rootfs: { type: 'layers', diff_ids: [sha256(files)] },
  });
  const manifest = blob(types.manifest, {
    schemaVersion: 2,
    mediaType: types.manifest,
    config: descriptor(config),
    layers: [descriptor(layer)],
  });
  return { id: config.digest, digest: manifest.digest, manifest, config, layer };
}

/** Where to upload to: the address or socket of a registry, and what to present to it. */
export interface UploadTarget extends Pick<RequestOptions, 'host' | 'port' | 'socketPath'> {
  /** The value of the header. @default none */
  readonly authorization?: string;
}

/** Uploads an image under a repository and tag. What is there already stays, but the tag moves. */
export async function uploadImage(
  target: UploadTarget,
  image: BuiltImage,
  repository: string,
  tag: string,
): Promise<void> {
  for (const { digest, bytes } of [image.config, image.layer]) {
    const { location } = await send(target, 'POST', `/v2/${repository}/blobs/uploads/`, 202);
    const place = new URL(location ?? '', 'http://registry');
    place.searchParams.set('digest', digest);
    await send(target, 'PUT', `${place.pathname}${place.search}`, 201, bytes);
  }
  const { bytes, mediaType } = image.manifest;
  await send(target, 'PUT', `/v2/${repository}/manifests/${tag}`, 201, bytes, mediaType);
}

/** An image, and the names that it is to have. */
export interface NamedImage {
  readonly image: BuiltImage;
  readonly names: readonly string[];
}

/** An archive in the OCI layout, such as `ctr images import` takes. */
export function imageArchive(images: readonly NamedImage[]): Buffer {
  const manifests = images.flatMap(({ image, names }) =>
    names.map((name) => ({
      ...descriptor(image.manifest),
      annotations: { 'io.containerd.image.name': name },
    })),
  );
  const blobs = images.flatMap(({ image }) => [image.manifest, image.config, image.layer]);
  const byDigest = new Map(blobs.map((each) => [each.digest, each]));
  return tar([
    { name: 'oci-layout', content: json({ imageLayoutVersion: '1.0.0' }) },
    { name: 'index.json', content: json({ schemaVersion: 2, manifests }) },
    ...Array.from(byDigest.values(), ({ digest, bytes }) => ({
      name: `blobs/${digest.replace(':', '/')}`,
      content: bytes,
    })),
  ]);
}

function sha256(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

function blob(mediaType: string, content: Buffer | object): Blob {
  const bytes = Buffer.isBuffer(content) ? content : json(content);
  return { mediaType, bytes, digest: sha256(bytes) };
}

function descriptor({ mediaType, digest, bytes }: Blob) {
  return { mediaType, digest, size: bytes.length };
}

/** Sends a request and answers the headers; another status than the expected one is an error. */
function send(
  { authorization, ...address }: UploadTarget,
  method: string,
  path: string,
  expectedStatus: number,
  body: Buffer = Buffer.alloc(0),
  contentType: string = 'application/octet-stream',
): Promise<{ readonly location?: string | undefined }> {
  return new Promise((resolve, reject) => {
    const headers = {
      'content-type': contentType,
      'content-length': body.length,
      ...(authorization === undefined ? {} : { authorization }),
    };
    const signal = AbortSignal.timeout(UPLOAD_TIMEOUT_MS);
    const sent = request({ ...address, method, path, headers, signal }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        if (response.statusCode === expectedStatus) {
          resolve({ location: response.headers.location });
          return;
        }
        const text = Buffer.concat(chunks).toString();
        reject(new Error(`${method} ${path}: ${response.statusCode} ${text}`));
      });
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

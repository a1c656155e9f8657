/** Reads and changes what an lmdb store holds, past its accessor. */
import { createHash } from 'node:crypto';
import { open } from 'lmdb';
import type { StoreUnderTest } from '../conformance/accessor-suite.ts';

/** Reads or writes the stored bytes of a key, past the accessor. */
export async function tamper(
  path: string,
  database: 'intents' | 'pulled' | 'meta',
  key: Uint8Array,
  change: (value: Buffer) => Uint8Array,
): Promise<void> {
  const binary = { encoding: 'binary', keyEncoding: 'binary' } as const;
  const root = open<Uint8Array, Uint8Array>({
    path,
    noSubdir: false,
    overlappingSync: false,
    ...binary,
  });
  const part = root.openDB<Uint8Array, Uint8Array>(database, { ...binary });
  const value = part.getBinary(key);
  part.putSync(key, change(Buffer.from(value ?? [])));
  await root.close();
}

export function keyOf(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/** The same store, with ways to damage it. */
export function corruptible<S extends StoreUnderTest & { readonly path: string }>(
  store: S,
): S & Required<Pick<StoreUnderTest, 'corruptPulled' | 'corruptIntent'>> {
  const cut = (value: Buffer): Buffer => value.subarray(0, value.byteLength - 1);
  return {
    ...store,
    corruptPulled: (imageRef) => tamper(store.path, 'pulled', keyOf(imageRef), cut),
    corruptIntent: (image) => tamper(store.path, 'intents', keyOf(image), cut),
  };
}

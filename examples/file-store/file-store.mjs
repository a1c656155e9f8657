/**
 * A store of one JSON file per intent and per record: small enough to read, and durable.
 *
 *   PullManager.open({ store: { module: '…/file-store.mjs', options: { directory: './records' } } })
 *
 * A file appears under its name by a rename, when its content is on the disk already: a crash leaves
 * the old file or the new one, never half of one. The rename itself is durable once the directory is
 * flushed, which is done once for a whole batch. One process at a time may use a directory.
 */
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';

/** @type {import('pullwarden').AccessorFactory} */
export default async function openFileStore(options) {
  if (typeof options?.directory !== 'string') throw new TypeError('options.directory is missing');
  const directory = resolve(options.directory);
  const [intents, records] = [join(directory, 'intents'), join(directory, 'records')];
  for (const folder of [intents, records]) await mkdir(folder, { recursive: true, mode: 0o700 });
  for (const parent of [directory, dirname(directory)]) await flush(parent);
  let isClosed = false;

  return {
    commit,
    writeImagePullIntent: (image) => commit([{ op: 'writeIntent', image }]),
    deleteImagePullIntent: (image) => commit([{ op: 'deleteIntent', image }]),
    writeImagePulledRecord: (record) => commit([{ op: 'writePulled', record }]),
    deleteImagePulledRecord: (imageRef) => commit([{ op: 'deletePulled', imageRef }]),
    imagePullIntentExists: async (image) => (await decode(pathOf({ image }))) !== undefined,
    getImagePulledRecord: async (imageRef) => toRecord(await decode(pathOf({ imageRef }))),
    listImagePullIntents: () => list(intents, ({ key }) => ({ image: key })),
    listImagePulledRecords: () => list(records, toRecord),
    close() {
      isClosed = true;
    },
  };

  async function commit(batch) {
    // Of several writes of one key the last one is what remains.
    const last = new Map(batch.map((write) => [pathOf(write), encode(write)]));
    for (const [path, text] of last) {
      await (text === undefined ? rm(path, { force: true }) : replace(path, text));
    }
    for (const folder of new Set([...last.keys()].map(dirname))) await flush(folder);
  }

  function pathOf({ image, imageRef, record }) {
    assertOpen();
    if (image !== undefined) return join(intents, nameOf(image));
    return join(records, nameOf(imageRef ?? record.imageRef));
  }

  async function list(folder, convert) {
    assertOpen();
    const listing = { records: [], errors: [] };
    for (const name of await readdir(folder)) {
      if (!name.endsWith('.json')) continue; // left of a write that a crash cut off
      try {
        const file = await decode(join(folder, name));
        if (file !== undefined) listing.records.push(convert(file));
      } catch (error) {
        listing.errors.push(error);
      }
    }
    return listing;
  }

  function assertOpen() {
    if (isClosed) throw failure('CLOSED', 'it is closed');
  }
}

/** Keys are texts of any length and content; UTF-16 keeps even those apart that UTF-8 cannot. */
function nameOf(key) {
  return `${createHash('sha256').update(key, 'utf16le').digest('hex')}.json`;
}

/** What the file of a written key holds; undefined for a deleted one, which has none. */
function encode({ op, image, record }) {
  if (op === 'writeIntent') return JSON.stringify({ key: image });
  if (op !== 'writePulled') return undefined;
  const { imageRef: key, lastUpdatedTime, credentialMapping } = record;
  return JSON.stringify({ key, updatedAtMs: lastUpdatedTime.getTime(), credentialMapping });
}

/** What a file holds; undefined if there is none. Every other trouble is an error, never absence. */
async function decode(path) {
  let file;
  try {
    file = JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    if (cause.code === 'ENOENT') return undefined;
    throw cause instanceof SyntaxError ? failure('RECORD_CORRUPT', `${path} is damaged`) : cause;
  }
  if (typeof file?.key === 'string' && path.endsWith(nameOf(file.key))) return file;
  throw failure('RECORD_CORRUPT', `${path} holds what belongs elsewhere`);
}

function toRecord(file) {
  if (file === undefined) return undefined;
  const { key, updatedAtMs, credentialMapping } = file;
  return { imageRef: key, lastUpdatedTime: new Date(updatedAtMs), credentialMapping };
}

async function replace(path, text) {
  const temporary = `${path}.${randomUUID()}.tmp`;
  await writeFile(temporary, text, { flag: 'wx', mode: 0o600, flush: true });
  await rename(temporary, path);
}

async function flush(directory) {
  const handle = await open(directory);
  await handle.sync().finally(() => handle.close());
}

function failure(code, message) {
  return Object.assign(new Error(message), { code: `FILE_STORE_${code}` });
}

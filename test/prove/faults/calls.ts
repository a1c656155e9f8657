/** The storage calls that can be made to fail, what they are made on, and how each can fail. */

/** What a call does, whichever of its forms (blocking, callback, promise) is used. */
export const CALLS = [
  'open for reading',
  'open for writing',
  'create',
  'close',
  'read',
  'read whole',
  'write',
  'write whole',
  'flush',
  'stat',
  'list',
  'make directory',
  'remove directory',
  'rename',
  'link',
  'unlink',
  'resolve',
  'watch',
] as const;
export type Call = (typeof CALLS)[number];

/**
 * How a call fails. `late`: it is carried out and fails with EIO all the same. `short`: half is read
 * or written, without an error. `partial`: half is written, then EIO.
 */
export const ERRORS = ['EIO', 'ENOSPC', 'EROFS', 'EMFILE', 'late', 'short', 'partial'] as const;
export type ErrorKind = (typeof ERRORS)[number];

const CHANGES: readonly Call[] = [
  'create',
  'write',
  'write whole',
  'flush',
  'make directory',
  'remove directory',
  'rename',
  'link',
  'unlink',
];
const APPLICABLE: Readonly<Record<ErrorKind, readonly Call[]>> = {
  // A descriptor that is closed is gone, whatever is said of it: see `late`.
  EIO: CALLS.filter((call) => call !== 'close' && call !== 'watch'),
  ENOSPC: ['create', 'write', 'write whole', 'flush', 'make directory', 'rename', 'link', 'watch'],
  EROFS: ['open for writing', ...CHANGES],
  EMFILE: [
    'open for reading',
    'open for writing',
    'create',
    'read whole',
    'write whole',
    'list',
    'watch',
  ],
  late: ['close', ...CHANGES],
  short: ['read', 'write'],
  partial: ['write'],
};

/** Whether a call can fail so. */
export function canFail(call: Call, error: ErrorKind): boolean {
  return APPLICABLE[error].includes(call);
}

/** What a call is made on, by the path below the store's directory. */
export const FILES = [
  'segment',
  'segment being made',
  'snapshot',
  'snapshot being made',
  'MANIFEST',
  'MANIFEST being made',
  'LOCK',
  'LOCK.json',
  'LOCK.json being made',
  'intent file',
  'record file',
  'record file being made',
  'directory of intents',
  'directory of records',
  'directory of the log',
  'directory of files being made',
  'directory of our own',
  'directory of the store',
  'directory above the store',
  'something else',
] as const;
export type FileKind = (typeof FILES)[number];

const PATTERNS: readonly (readonly [RegExp, FileKind])[] = [
  [/(^|\/)[\d-]+\.journal$/, 'segment'],
  [/(^|\/)[\d-]+\.journal\.tmp$/, 'segment being made'],
  [/^[\d-]+\.snapshot$/, 'snapshot'],
  [/^[\d-]+\.snapshot\.tmp$/, 'snapshot being made'],
  [/^MANIFEST$/, 'MANIFEST'],
  [/^MANIFEST\.tmp$/, 'MANIFEST being made'],
  [/(^|\/)LOCK$/, 'LOCK'],
  [/(^|\/)LOCK\.json$/, 'LOCK.json'],
  [/(^|\/)LOCK\.json\.[0-9a-f]+\.(tmp|next)$/, 'LOCK.json being made'],
  [/^pulling\/sha256-/, 'intent file'],
  [/^pulled\/sha256-/, 'record file'],
  [/^\.pullwarden\/tmp\/./, 'record file being made'],
  [/^pulling$/, 'directory of intents'],
  [/^pulled$/, 'directory of records'],
  [/^\.pullwarden\/redo$/, 'directory of the log'],
  [/^\.pullwarden\/tmp$/, 'directory of files being made'],
  [/^\.pullwarden$/, 'directory of our own'],
  [/^$/, 'directory of the store'],
];

/**
 * @param below - path below the directory that holds stores, whose first part is the life and whose
 * second one is the store.
 */
export function fileKind(below: string): FileKind {
  const [, store, ...rest] = below.split('/');
  if (store === undefined) return 'directory above the store';
  const path = rest.join('/');
  return PATTERNS.find(([pattern]) => pattern.test(path))?.[1] ?? 'something else';
}

/** What a file is to its store: the part of a point's name that says where. */

const KINDS: readonly (readonly [pattern: RegExp, kind: string])[] = [
  [/^(\.pullwarden\/)?LOCK/, 'lock'],
  [/^MANIFEST/, 'manifest'],
  [/^[\d-]+\.journal$/, 'segment'],
  [/^[\d-]+\.journal\.tmp$/, 'new segment'],
  [/^[\d-]+\.snapshot/, 'snapshot'],
  [/^\.pullwarden\/redo\/[\d-]+\.journal$/, 'redo segment'],
  [/^\.pullwarden\/redo\/[\d-]+\.journal\.tmp$/, 'new redo segment'],
  [/^\.pullwarden\/redo$/, 'redo directory'],
  [/^\.pullwarden\/tmp\//, 'new file'],
  [/^\.pullwarden\/tmp$/, 'directory of new files'],
  [/^pulling\//, 'intent'],
  [/^pulled\//, 'record'],
  [/^pulling$/, 'directory of intents'],
  [/^pulled$/, 'directory of records'],
  [/^(\.pullwarden)?$/, 'directory'],
  // Of the module that tests use.
  [/^records\.log$/, 'log'],
];

/** Undefined: outside of the store. */
export function fileKindOf(root: string, path: string): string | undefined {
  if (path !== root && !path.startsWith(`${root}/`)) return undefined;
  const relative = path.slice(root.length + 1);
  const known = KINDS.find(([pattern]) => pattern.test(relative));
  // A file that nobody thought of is a point all the same: the catalogue lacks it.
  return known?.[1] ?? `unknown file ${relative}`;
}

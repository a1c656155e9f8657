/** A store of a command line in a word. */
export function nameOf(store: string): string {
  return store.startsWith('module:') ? 'module' : store;
}

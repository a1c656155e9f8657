/** The last events of each key, to explain a finding. */
import { FOREIGN, OPERATION, type StormEvent } from './log.ts';
import { credentialsOf } from './universe.ts';

const LINES_MAX = 24;
const NAMES = ['open', 'intent', 'pulled', 'failed', 'match', 'prune', 'look'];

/** Lines by key: `i` or `r` and the number of the image or reference. */
export class KeyHistories {
  readonly #lines = new Map<string, string[]>();

  note(images: readonly number[], refs: readonly number[], text: string): void {
    const keys = [...images.map((image) => `i${image}`), ...refs.map((ref) => `r${ref}`)];
    for (const key of keys) {
      const lines = this.#lines.get(key) ?? [];
      lines.push(text);
      if (lines.length > LINES_MAX) lines.shift();
      this.#lines.set(key, lines);
    }
  }

  /** Begins with the end of a line. */
  of(key: string): string {
    const lines = this.#lines.get(key) ?? ['nothing was ever started here'];
    return `\n    last events of the key:${lines.map((line) => `\n      ${line}`).join('')}`;
  }
}

/** An operation in few words. */
export function textOf(event: StormEvent): string {
  const { operation, id, image, ref, credentials, unlisted, timeMs } = event;
  const name = `#${id} ${NAMES[operation]}`;
  const { LOOK, MATCH, PRUNE, PULLED } = OPERATION;
  if (operation === PRUNE) return `${name} class ${unlisted} until ${timeMs}`;
  if (operation === LOOK && credentials === FOREIGN) return `${name} ${image} ref ${ref} stranger`;
  if (operation !== PULLED && operation !== MATCH && operation !== LOOK) return `${name} ${image}`;
  return `${name} ${image} ref ${ref} ${JSON.stringify(credentialsOf(credentials))} at ${timeMs}`;
}

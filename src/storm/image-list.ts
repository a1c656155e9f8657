/** Reads lists of image references: the project's own, or a user's file. */
import { fileURLToPath } from 'node:url';
import { errorCode, invalidArgument, PullManagerError, quote } from '../errors.ts';
import { parseImageName } from '../images/image-name.ts';
import { readReadable } from '../util/open-readable.ts';

/** One image reference and its normalised name. */
export interface ImageReference {
  /** As a user would type it. */
  readonly image: string;
  /** Without tag and digest. */
  readonly name: string;
}

const OWN_LIST = 'data/official-images.tsv';

/**
 * Image references of a file: one reference a line, or `name<TAB>tag tag …`. Empty lines and lines
 * that begin with `#` are skipped.
 *
 * @param path Default: the list that comes with the package.
 * @throws `INVALID_ARGUMENT` naming file and line for the first bad line, and for an empty list.
 */
export async function readImageList(
  path?: string,
  signal?: AbortSignal,
): Promise<ImageReference[]> {
  const file = path ?? ownListPath();
  let text: string;
  try {
    text = (await readReadable(file, { signal }))!;
  } catch (error) {
    if (signal?.aborted) throw error;
    const code = errorCode(error) ?? 'unreadable';
    throw new PullManagerError('INVALID_ARGUMENT', `--images ${file}: cannot be read (${code})`, {
      argument: '--images',
      path: file,
      cause: error,
    });
  }
  return parseImageList(text, file);
}

/** Image references of a text; `file` is named in errors. */
export function parseImageList(text: string, file: string): ImageReference[] {
  const references: ImageReference[] = [];
  const seen = new Set<string>();
  const lines = text.split(/\r?\n/);
  for (const [index, line] of lines.entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    for (const image of imagesOfLine(line)) {
      if (seen.has(image)) continue;
      seen.add(image);
      try {
        references.push({ image, name: parseImageName(image).name });
      } catch (error) {
        const reason = error instanceof Error ? error.message : quote(image);
        throw invalidArgument('--images', `${file}:${index + 1}: ${reason}`);
      }
    }
  }
  if (references.length === 0) throw invalidArgument('--images', `${file}: holds no image`);
  return references;
}

function imagesOfLine(line: string): string[] {
  const tab = line.indexOf('\t');
  if (tab === -1) return [line.trim()];
  const name = line.slice(0, tab).trim();
  const tags = line.slice(tab + 1).split(' ');
  return tags.filter((tag) => tag !== '').map((tag) => `${name}:${tag.trim()}`);
}

function ownListPath(): string {
  // The same file from a checkout (src/storm) and from the build (dist/src/storm).
  const isBuilt = import.meta.url.endsWith('.js');
  return fileURLToPath(new URL(`${isBuilt ? '../../../' : '../../'}${OWN_LIST}`, import.meta.url));
}

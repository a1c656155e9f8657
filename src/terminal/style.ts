/** Colours, where they are wanted. */
import { styleText } from 'node:util';

/** Paints a text, or leaves it as it is. */
export type Paint = (format: 'bold' | 'dim' | 'green' | 'red' | 'yellow', text: string) => string;

/** Paints nothing. */
export const PLAIN: Paint = (_format, text) => text;

const ANSI: Paint = (format, text) => styleText(format, text, { validateStream: false });

/**
 * Whether colours are wanted on a stream: `--no-color` and `--color` first, then `NO_COLOR` and
 * `FORCE_COLOR` (any value but empty, and for the second but 0), then whether it is a terminal.
 */
export function paintFor(
  stream: { readonly isTTY?: boolean | undefined },
  environment: Readonly<Record<string, string | undefined>>,
  wanted?: boolean,
): Paint {
  if (wanted !== undefined) return wanted ? ANSI : PLAIN;
  if (environment.NO_COLOR) return PLAIN;
  const force = environment.FORCE_COLOR;
  if (force !== undefined) return force === '0' || force === 'false' ? PLAIN : ANSI;
  if (environment.TERM === 'dumb') return PLAIN;
  return stream.isTTY === true ? ANSI : PLAIN;
}

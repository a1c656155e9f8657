/** Tables: aligned and cut to the width on a terminal, tab-separated and whole elsewhere. */
import { displayWidth, printable, truncated } from './text.ts';

/** A column of a table. */
export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
  /** Whether it may be cut where the table is too wide. */
  readonly shrinks?: boolean;
}

const GAP = '  ';
const WIDTH_MIN = 8;

/**
 * The lines of a table, the first with the titles. Cells may hold anything: what is unprintable is
 * escaped, so a cell has neither tab nor line break.
 *
 * @param width - of the terminal; undefined: tab-separated, nothing cut.
 */
export function* tableLines(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number | undefined,
): Generator<string> {
  const titles = columns.map(({ title }) => title);
  const safe = rows.map((row) => row.map(printable));
  if (width === undefined) {
    for (const row of [titles, ...safe]) yield row.join('\t');
    return;
  }
  const widths = columnWidths(columns, [titles, ...safe], width);
  for (const row of [titles, ...safe]) {
    const cells = row.map((cell, i) => aligned(cell, widths[i]!, columns[i]!.align));
    yield cells.join(GAP).trimEnd();
  }
}

function columnWidths(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number,
): number[] {
  const widths = columns.map(() => 0);
  for (const row of rows) {
    for (let i = 0; i < row.length; i++) widths[i] = Math.max(widths[i]!, displayWidth(row[i]!));
  }
  const shrinkable = widths.map((_, i) => i).filter((i) => columns[i]!.shrinks === true);
  if (shrinkable.length === 0) return widths;
  for (const i of shrinkable) widths[i] = Math.min(widths[i]!, Math.max(width, WIDTH_MIN));
  let excess = widths.reduce((a, b) => a + b, 0) + GAP.length * (columns.length - 1) - width;
  for (; excess > 0; excess--) {
    // Always the widest, so that columns end up equally wide rather than one with nothing.
    const widest = shrinkable.reduce((a, b) => (widths[b]! > widths[a]! ? b : a));
    if (widths[widest]! <= WIDTH_MIN) break;
    widths[widest]!--;
  }
  return widths;
}

function aligned(cell: string, width: number, align: Column['align']): string {
  const text = truncated(cell, width);
  const padding = ' '.repeat(Math.max(0, width - displayWidth(text)));
  return align === 'right' ? padding + text : text + padding;
}

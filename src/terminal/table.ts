/** Tables: aligned and cut to the width on a terminal, tab-separated and whole elsewhere. */
import { displayWidth, printable, truncatedInMiddle } from './text.ts';

/** A column of a table. */
export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
  /** Columns down to which its cells may be cut, in their middle, where the table is too wide. */
  readonly shrinksTo?: number;
  /** How a cell is written where the table is too wide. @default as it is */
  readonly shortened?: (cell: string) => string;
  /** Place in the order in which columns are left out of a table that is too wide. @default never */
  readonly dropped?: number;
}

const GAP = '  ';

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
  const { shown, widths, isShort } = layout(columns, [titles, ...safe], width);
  for (const row of [titles, ...safe]) {
    const cells = shown.map((i) => {
      const { align, shortened } = columns[i]!;
      const cell = row[i]!;
      return aligned(isShort && shortened ? shortened(cell) : cell, widths[i]!, align);
    });
    yield cells.join(GAP).trimEnd();
  }
}

interface Layout {
  /** Indices of the columns that are not left out. */
  readonly shown: readonly number[];
  /** Of all columns. */
  readonly widths: readonly number[];
  readonly isShort: boolean;
}

/** First cells are shortened; then columns left out until the others fit, with cells that are cut. */
function layout(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number,
): Layout {
  let shown = columns.map((_, i) => i);
  let widths = widthsOf(columns, rows, false);
  if (sumOf(widths, shown) <= width) return { shown, widths, isShort: false };
  widths = widthsOf(columns, rows, true);
  const least = widths.map((full, i) => Math.min(full, columns[i]!.shrinksTo ?? full));
  const droppable = shown.filter((i) => columns[i]!.dropped !== undefined);
  droppable.sort((a, b) => columns[a]!.dropped! - columns[b]!.dropped!);
  for (const column of droppable) {
    if (sumOf(least, shown) <= width) break;
    shown = shown.filter((i) => i !== column);
  }
  return { shown, widths: shrunk(widths, least, shown, width), isShort: true };
}

function widthsOf(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  isShort: boolean,
): number[] {
  const widths = columns.map(() => 0);
  for (const row of rows) {
    for (const [i, { shortened }] of columns.entries()) {
      const cell = isShort && shortened ? shortened(row[i]!) : row[i]!;
      widths[i] = Math.max(widths[i]!, displayWidth(cell));
    }
  }
  return widths;
}

function sumOf(widths: readonly number[], shown: readonly number[]): number {
  return shown.reduce((sum, i) => sum + widths[i]!, GAP.length * (shown.length - 1));
}

/** Takes from the widest that can give, so that columns end up equally wide. */
function shrunk(
  full: readonly number[],
  least: readonly number[],
  shown: readonly number[],
  width: number,
): number[] {
  // None can ever be wider than all of them, and a cell may be of any length.
  const widths = full.map((one, i) => Math.min(one, Math.max(width, least[i]!)));
  for (let excess = sumOf(widths, shown) - width; excess > 0; excess--) {
    const giving = shown.filter((i) => widths[i]! > least[i]!);
    if (giving.length === 0) break;
    const widest = giving.reduce((a, b) => (widths[b]! > widths[a]! ? b : a));
    widths[widest]!--;
  }
  return widths;
}

function aligned(cell: string, width: number, align: Column['align']): string {
  const text = truncatedInMiddle(cell, width);
  const padding = ' '.repeat(Math.max(0, width - displayWidth(text)));
  return align === 'right' ? padding + text : text + padding;
}

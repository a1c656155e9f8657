/** Small drawings made of characters. */

const HEIGHTS = '▁▂▃▄▅▆▇█';
const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/** One column for each value, from 0 to the largest; the last `width` of them. */
export function sparkline(values: readonly number[], width: number): string {
  const last = width > 0 ? values.slice(-width) : [];
  const most = Math.max(...last, 0);
  return last
    .map((value) => {
      const height = most > 0 ? Math.round((value / most) * (HEIGHTS.length - 1)) : 0;
      return HEIGHTS[Math.max(0, height)];
    })
    .join('');
}

/** A bar filled from the left. @param share - from 0 to 1 */
export function progressBar(share: number, width: number): string {
  const eighths = Math.round(Math.min(1, Math.max(0, share)) * width * 8);
  const full = '█'.repeat(eighths >> 3) + EIGHTHS[eighths & 7];
  return full.padEnd(width, '░');
}

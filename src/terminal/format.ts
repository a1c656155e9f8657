/** Figures as people read them. */

const DIGITS = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

/** `1234567` as `1,234,567`. */
export function formatCount(count: number): string {
  return DIGITS.format(count);
}

/** A count and what is counted, for example `1 record` or `2,000 records`. */
export function plural(count: number, noun: string): string {
  return `${formatCount(count)} ${count === 1 ? noun : `${noun}s`}`;
}

/** Nanoseconds with three digits and a fitting unit, for example `12.3 µs`. */
export function formatNs(ns: number): string {
  if (ns < 1_000) return `${Math.round(ns)} ns`;
  if (ns < 1e6) return `${threeDigits(ns / 1e3)} µs`;
  if (ns < 1e9) return `${threeDigits(ns / 1e6)} ms`;
  return `${threeDigits(ns / 1e9)} s`;
}

/** Milliseconds as a time that people wait for, for example `9.8 s` or `2 min 5 s`. */
export function formatMs(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1_000;
  if (seconds < 99.95) return `${seconds.toFixed(1)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

/** Bytes with a fitting unit of powers of ten, for example `1.23 MB`. */
export function formatBytes(bytes: number): string {
  if (bytes < 1_000) return `${bytes} B`;
  if (bytes < 1e6) return `${threeDigits(bytes / 1e3)} kB`;
  if (bytes < 1e9) return `${threeDigits(bytes / 1e6)} MB`;
  return `${threeDigits(bytes / 1e9)} GB`;
}

/** A share as per cent; never rounded up to 100 or down to 0. */
export function formatShare(share: number): string {
  const percent = share * 100;
  if (share > 0 && percent < 0.001) return '<0.001 %';
  if (share < 1 && percent > 99.999) return '>99.999 %';
  const digits = percent > 99 || percent < 1 ? 3 : 1;
  return share === 0 || share === 1 ? `${percent} %` : `${percent.toFixed(digits)} %`;
}

function threeDigits(value: number): string {
  if (value < 9.995) return value.toFixed(2);
  return value < 99.95 ? value.toFixed(1) : String(Math.round(value));
}

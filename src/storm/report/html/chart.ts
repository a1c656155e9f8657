/**
 * Charts as plain objects: the page embeds them as JSON, and its script draws them with uPlot. The
 * script takes its types from here, so this file imports nothing.
 */

/** What the values of a chart are counted in. */
export type ChartUnit = 'ns' | 'count' | 'perSecond' | 'bytes' | 'processors' | 'percent';

/** A chart: one horizontal axis, one vertical one, and lines over them. */
export interface Chart {
  /** Unique on its page. */
  readonly id: string;
  readonly title: string;
  /** What is seen: axes, units, and how to read it. */
  readonly caption: string;
  readonly x: ChartAxis;
  readonly y: ChartScale;
  readonly lines: readonly ChartLine[];
  /** Horizontal lines: thresholds. */
  readonly limits: readonly ChartLimit[];
  /** Vertical lines: events. */
  readonly marks: readonly ChartMark[];
  /** Shaded stretches: stages. */
  readonly spans: readonly ChartSpan[];
}

/** The horizontal axis: seconds, or percentiles as `log10(1 / (1 - p))`, so 2 is the 99th. */
export interface ChartAxis {
  readonly kind: 'seconds' | 'percentile';
  readonly label: string;
  readonly min: number;
  readonly max: number;
  /** In ascending order. */
  readonly values: readonly number[];
}

/** The vertical axis. */
export interface ChartScale {
  readonly label: string;
  readonly unit: ChartUnit;
  /** Values on a logarithmic axis are above 0. */
  readonly isLogarithmic: boolean;
  readonly min: number;
  readonly max: number;
}

/** Colour of a line: a place in the palette of the page. */
export type Tone = 1 | 2 | 3 | 4 | 5 | 6;

/** One line. Lines differ in their stroke as well, for whoever does not see their colours apart. */
export interface ChartLine {
  readonly name: string;
  readonly tone: Tone;
  readonly stroke: 'solid' | 'dashed' | 'dotted';
  /** One for each value of the axis; null where there is none. */
  readonly values: readonly (number | null)[];
  /** Whether the line goes on where there is no value. @default false */
  readonly isJoined?: boolean;
}

/** A limit that somebody set. */
export interface ChartLimit {
  readonly value: number;
  readonly label: string;
  readonly isKept: boolean;
}

/** Something that happened. */
export interface ChartMark {
  readonly at: number;
  readonly label: string;
}

/** A stretch of the horizontal axis. */
export interface ChartSpan {
  readonly from: number;
  readonly to: number;
  readonly label: string;
}

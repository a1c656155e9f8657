/** Distributions of latencies, as the curves that HdrHistogram plots. */
import { decodeFromCompressedBase64, type Histogram } from 'hdr-histogram-js';
import { invalidArgument } from '../../../errors.ts';
import { OPERATIONS, type OperationName } from '../../recorder.ts';
import type { OperationResult, Quantiles, StormResult } from '../../result-schema.ts';
import type { Chart, ChartLimit, ChartLine, Tone } from './chart.ts';
import { chartText } from './chart-text.ts';
import type { Figure } from './figure.ts';
import { limitsOn } from './limits.ts';
import { scaleFor } from './scales.ts';
import type { Side } from './time-figures.ts';

/** Points of a curve in each tenth of what is left: from the 90th percentile to the 99th. */
const POINTS_PER_DECADE = 12;
/** Further than this no storm has enough values. */
const DECADES_MAX = 9;
/** Percentiles of the table. */
const TABLE_NINES: readonly number[] = [50, 75, 90, 95, 99, 99.9, 99.99, 99.999].map(ninesOf);

const CAPTION =
  'Across: percentile; each step to the right is a tenth of what is left. Up: time within which so ' +
  'many were answered, on a logarithmic axis. The end of a line is the longest of all.';

/** A line of a percentile chart, before it shares its axis with others. */
interface Curve {
  readonly look: Pick<ChartLine, 'name' | 'tone' | 'stroke'>;
  /** Place on the axis and nanoseconds, ascending. */
  readonly points: ReadonlyMap<number, number>;
}

/** Decisions: response and service time. */
export function decidePercentiles(result: StormResult): Figure {
  const { decide } = result.perOperation;
  const response = responseCurve('response time', 1, 'solid', decide, 'decide');
  // Both are the same where no request has a moment at which it was to begin.
  const curves =
    result.load.model === 'open'
      ? [response, serviceCurve('service time', 2, 'dashed', decide.serviceNs)]
      : [response];
  return percentileFigure('decide-percentiles', 'Percentiles of decisions', curves, {
    caption: `${CAPTION} Response time counts from the moment at which a decision was to begin, service time from the call.`,
    limits: limitsOn(result.thresholds, /^decide\.(service\.)?(p\d+|max)$/),
  });
}

const WRITE_LOOKS: Readonly<Partial<Record<OperationName, [Tone, ChartLine['stroke']]>>> = {
  recordPullIntent: [1, 'solid'],
  recordImagePulled: [2, 'dashed'],
  recordImagePullFailed: [3, 'dotted'],
  pruneUnknownRecords: [4, 'solid'],
};

/** Writes: response times of each operation. */
export function writePercentiles(result: StormResult): Figure {
  const curves = OPERATIONS.flatMap((operation) => {
    const look = WRITE_LOOKS[operation];
    if (look === undefined || result.perOperation[operation].count === 0) return [];
    return [responseCurve(operation, ...look, result.perOperation[operation], operation)];
  });
  return percentileFigure('write-percentiles', 'Percentiles of writes', curves, {
    caption: CAPTION,
    limits: limitsOn(
      result.thresholds,
      /^(recordPullIntent|recordImagePulled|recordImagePullFailed|pruneUnknownRecords)\.(p\d+|max)$/,
    ),
  });
}

/** One operation of two storms. */
export function overlaidPercentiles(
  operation: OperationName,
  title: string,
  sides: readonly Side[],
): Figure {
  const curves = sides.map(({ name, tone, result }, i) => {
    const stroke = i === 0 ? 'solid' : 'dashed';
    return responseCurve(name, tone, stroke, result.perOperation[operation], operation);
  });
  const caption = CAPTION;
  return percentileFigure(`${operation}-percentiles`, title, curves, { caption, limits: [] });
}

/**
 * The curve of an operation's response times.
 *
 * @throws `INVALID_ARGUMENT` where its histogram is none.
 */
function responseCurve(
  name: string,
  tone: Tone,
  stroke: ChartLine['stroke'],
  { count, histogram, responseNs }: OperationResult,
  operation: OperationName,
): Curve {
  const points = new Map<number, number>();
  if (count > 0) {
    const decoded = decodedHistogram(histogram, operation);
    const end = lastOf(count);
    const { max } = responseNs;
    for (let step = 0; step / POINTS_PER_DECADE < end; step++) {
      const nines = step / POINTS_PER_DECADE;
      points.set(nines, Math.min(max, decoded.getValueAtPercentile(percentileOf(nines))));
    }
    for (const nines of TABLE_NINES) {
      if (nines >= end) continue;
      points.set(nines, Math.min(max, decoded.getValueAtPercentile(percentileOf(nines))));
    }
    points.set(end, max);
  }
  return { look: { name, tone, stroke }, points };
}

/** A curve through the few quantiles that are kept of service times. */
function serviceCurve(
  name: string,
  tone: Tone,
  stroke: ChartLine['stroke'],
  { count, p50, p90, p99, p999, p9999, max }: Quantiles,
): Curve {
  const points = new Map<number, number>();
  const known: [number, number][] = [
    [50, p50],
    [90, p90],
    [99, p99],
    [99.9, p999],
    [99.99, p9999],
  ];
  for (const [percentile, ns] of known) {
    if (ninesOf(percentile) < lastOf(count)) points.set(ninesOf(percentile), ns);
  }
  if (count > 0) points.set(lastOf(count), max);
  return { look: { name, tone, stroke }, points };
}

/** A figure of curves on one axis. */
function percentileFigure(
  id: string,
  title: string,
  curves: readonly Curve[],
  { caption, limits }: { readonly caption: string; readonly limits: readonly ChartLimit[] },
): Figure {
  const values = [...new Set(curves.flatMap(({ points }) => [...points.keys()]))];
  values.sort((a, b) => a - b);
  const lines = curves.map(({ look, points }): ChartLine => {
    return { ...look, isJoined: true, values: values.map((nines) => positive(points.get(nines))) };
  });
  const chart: Chart = {
    id,
    title,
    caption,
    x: { kind: 'percentile', label: 'percentile', min: 0, max: values.at(-1) || 1, values },
    y: scaleFor('time', 'ns', true, lines, limits),
    lines,
    limits,
    marks: [],
    spans: [],
  };
  const rows = TABLE_NINES.filter((nines) => values.includes(nines)).map((nines) => [
    percentileName(nines),
    ...curves.map(({ points }) => chartText(points.get(nines), 'ns')),
  ]);
  const longest = [
    'max',
    ...curves.map(({ points }) => chartText([...points.values()].at(-1), 'ns')),
  ];
  const columns = ['percentile', ...curves.map(({ look }) => look.name)];
  return { chart, table: { columns, rows: [...rows, longest] } };
}

function decodedHistogram(histogram: string, operation: OperationName): Histogram {
  try {
    return decodeFromCompressedBase64(histogram, 64);
  } catch {
    throw invalidArgument(`perOperation.${operation}.histogram`, 'is no HDR histogram');
  }
}

/** Where the longest of so many stands. */
function lastOf(count: number): number {
  return Math.min(DECADES_MAX, Math.max(ninesOf(50), Math.log10(Math.max(1, count))));
}

function ninesOf(percentile: number): number {
  // Rounded, so that equal percentiles are one place, however they were reached.
  return Math.round(-Math.log10(1 - percentile / 100) * 1e6) / 1e6;
}

function percentileOf(nines: number): number {
  return 100 * (1 - 10 ** -nines);
}

function percentileName(nines: number): string {
  const digits = Math.max(0, Math.ceil(nines) - 2);
  return `p${percentileOf(nines).toFixed(digits)}`;
}

function positive(value: number | undefined): number | null {
  return value === undefined || value <= 0 ? null : value;
}

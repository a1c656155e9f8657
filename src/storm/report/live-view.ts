/** A storm while it runs: a few lines on a terminal, or one line a second. */
import { progressBar, sparkline } from '../../terminal/bars.ts';
import { formatCount, formatMs, formatNs } from '../../terminal/format.ts';
import { type BlockLine, type BlockTerminal, LiveBlock } from '../../terminal/live-block.ts';
import { type Paint, PLAIN } from '../../terminal/style.ts';
import { displayWidth, harmless, truncated } from '../../terminal/text.ts';
import type { Progress } from '../progress.ts';

/** How a storm is shown while it runs. */
export type LiveMode = 'block' | 'lines' | 'none';

const INTERVAL_MS = 1_000;
/** Columns of a sparkline, one a second. */
const HISTORY_MAX = 120;
const SPARKLINE_MIN = 8;
const LABEL_WIDTH = 9;
const GAP = '  ';

/**
 * How a storm is shown: as a block on a terminal that can move its cursor, as plain lines on one that
 * cannot. Elsewhere not at all, unless `--progress` asks for it.
 *
 * @param wanted - what `--progress` (true) or `--no-progress` (false) says.
 */
export function liveMode(
  stream: { readonly isTTY?: boolean | undefined },
  environment: Readonly<Record<string, string | undefined>>,
  wanted?: boolean,
): LiveMode {
  if (wanted === false) return 'none';
  if (stream.isTTY === true) return environment.TERM === 'dumb' ? 'lines' : 'block';
  return wanted === true ? 'lines' : 'none';
}

/** Shows how a storm goes, at once and then once a second. */
export class LiveView {
  readonly #terminal: BlockTerminal;
  readonly #mode: LiveMode;
  readonly #paint: Paint;
  readonly #block: LiveBlock;
  readonly #now: () => number;
  #nextMs = Number.NEGATIVE_INFINITY;
  #last: { readonly elapsedMs: number; readonly operations: number } | undefined;
  #rates: number[] = [];
  #key = '';

  /**
   * @param terminal - Usually the standard error, since the result goes to the standard output.
   * @param now - Milliseconds of a clock that never goes back.
   */
  constructor(
    terminal: BlockTerminal,
    mode: LiveMode,
    paint: Paint = PLAIN,
    now: () => number = () => performance.now(),
  ) {
    this.#terminal = terminal;
    this.#mode = mode;
    this.#paint = paint;
    this.#block = new LiveBlock(terminal);
    this.#now = now;
  }

  /** Takes a snapshot; shows it where it is time to, or where a phase, a run or a stage begins. */
  update(progress: Progress): void {
    if (this.#mode === 'none') return;
    const nowMs = this.#now();
    const key = `${progress.phase} ${progress.run.number} ${progress.stage.number}`;
    if (nowMs < this.#nextMs && key === this.#key) return;
    this.#nextMs = nowMs + INTERVAL_MS;
    this.#key = key;
    const rate = this.#rate(progress);
    if (this.#mode === 'lines') this.#terminal.write(`${plainLine(progress, rate)}\n`);
    else this.#block.show(blockLines(progress, rate, this.#rates, this.#block.width, this.#paint));
  }

  /** Removes the block, so that what is printed next stands in its place. Plain lines stay. */
  clear(): void {
    this.#block.clear();
    this.#nextMs = Number.NEGATIVE_INFINITY;
  }

  /** Operations a second since the last time that anything was shown. */
  #rate({ phase, elapsedMs, operations, operationsPerSecond }: Progress): number {
    const last = this.#last;
    this.#last = phase === 'running' ? { elapsedMs, operations } : undefined;
    if (last === undefined || elapsedMs <= last.elapsedMs || operations < last.operations) {
      // A run begins.
      this.#rates = [];
      return operationsPerSecond;
    }
    const perSecond = ((operations - last.operations) / (elapsedMs - last.elapsedMs)) * 1_000;
    this.#rates = [...this.#rates, perSecond].slice(-HISTORY_MAX);
    return perSecond;
  }
}

const PHASES: Readonly<Record<Progress['phase'], string>> = {
  filling: 'filling the store',
  running: 'running',
  checking: 'checking what is stored',
};

/** All of it in one line, as a log wants it. */
export function plainLine(progress: Progress, operationsPerSecond: number): string {
  const { phase, elapsedMs, share, leftMs, decideNs, writeNs, lagNs, wantedPerSecond } = progress;
  const head = [formatMs(elapsedMs), whereText(progress)];
  if (phase !== 'running') return head.join(GAP);
  const parts = [
    ...head,
    percentText(share),
    `${formatCount(operationsPerSecond)} ops/s`,
    `decide p50 ${formatNs(decideNs.p50)} p99 ${formatNs(decideNs.p99)}`,
    `write p50 ${formatNs(writeNs.p50)} p99 ${formatNs(writeNs.p99)}`,
    wantedPerSecond === undefined ? '' : `lag ${formatNs(lagNs)}`,
    `${formatCount(progress.errors)} errors`,
    `${formatCount(progress.wrong)} wrong`,
    leftMs === undefined ? '' : `${formatMs(leftMs)} left`,
    progress.lastEvent === undefined ? '' : harmless(progress.lastEvent),
  ];
  return parts.filter((part) => part !== '').join(GAP);
}

/** A text and its style; an optional one is left out where there is no room. */
interface Piece {
  readonly text: string;
  readonly style?: Parameters<Paint>[0] | undefined;
  readonly isOptional?: boolean;
}

/** The block, each line at most `width` columns wide. */
export function blockLines(
  progress: Progress,
  operationsPerSecond: number,
  rates: readonly number[],
  width: number,
  paint: Paint = PLAIN,
): BlockLine[] {
  const lines = [headPieces(progress), barPieces(progress, width)];
  if (progress.phase === 'running') {
    lines.push(
      ratePieces(progress, operationsPerSecond, rates, width),
      latencyPieces('decide', progress.decideNs),
      latencyPieces('write', progress.writeNs),
      healthPieces(progress),
    );
    // The block keeps its height, so that nothing below it moves.
    lines.push(labelled('event', [{ text: harmless(progress.lastEvent ?? '–') }]));
  }
  return lines.map((pieces) => fitted(pieces, width, paint));
}

function headPieces(progress: Progress): Piece[] {
  return [
    { text: formatMs(progress.elapsedMs), style: 'bold' },
    { text: `${GAP}${whereText(progress)}` },
  ];
}

function barPieces({ share, leftMs }: Progress, width: number): Piece[] {
  const percent = ` ${percentText(share).padStart(5)}`;
  const left = leftMs === undefined ? '' : `  ${formatMs(leftMs)} left`;
  const room = Math.min(50, width - percent.length - displayWidth(left));
  return [
    { text: progressBar(share, Math.max(4, room)), style: 'green' },
    { text: percent },
    { text: left, style: 'dim', isOptional: true },
  ];
}

function ratePieces(
  { wantedPerSecond }: Progress,
  operationsPerSecond: number,
  rates: readonly number[],
  width: number,
): Piece[] {
  const rate = `${formatCount(operationsPerSecond)} ops/s`;
  const wanted =
    wantedPerSecond === undefined ? '' : `  ${formatCount(wantedPerSecond)} requests/s wanted`;
  const room = width - LABEL_WIDTH - displayWidth(rate) - displayWidth(wanted) - 2;
  const history = room < SPARKLINE_MIN ? '' : `  ${sparkline(rates, room)}`;
  return labelled('rate', [
    { text: rate, style: 'bold' },
    { text: wanted, isOptional: true },
    { text: history, style: 'green' },
  ]);
}

function latencyPieces(label: string, { p50, p99 }: Progress['decideNs']): Piece[] {
  if (p99 === 0) return labelled(label, [{ text: '–', style: 'dim' }]);
  return labelled(label, [
    { text: `p50 ${formatNs(p50).padEnd(8)}` },
    { text: `  p99 ${formatNs(p99)}` },
  ]);
}

function healthPieces(progress: Progress): Piece[] {
  const { errors, expectedErrors, wrong, wantedPerSecond, lagNs } = progress;
  const pieces: Piece[] = [
    { text: `${formatCount(wrong)} wrong`, style: wrong > 0 ? 'red' : undefined },
    { text: `  ${formatCount(errors)} errors`, style: errors > 0 ? 'red' : undefined },
  ];
  if (expectedErrors > 0) {
    pieces.push({ text: ` and ${formatCount(expectedErrors)} expected`, isOptional: true });
  }
  if (wantedPerSecond !== undefined) pieces.push({ text: `  lag ${formatNs(lagNs)}` });
  return labelled('health', pieces);
}

function labelled(label: string, pieces: readonly Piece[]): Piece[] {
  return [{ text: label.padEnd(LABEL_WIDTH), style: 'dim' }, ...pieces];
}

/** Phase, run and stage, as far as there are several. */
function whereText({ phase, run, stage }: Progress): string {
  const runText = run.of > 1 ? `run ${run.number} of ${run.of}` : '';
  const isStaged = phase === 'running' && stage.of > 1;
  const stageText = isStaged ? `${harmless(stage.name)} (${stage.number} of ${stage.of})` : '';
  const isSaid = phase === 'running' && (runText !== '' || isStaged);
  const parts = [isSaid ? '' : PHASES[phase], runText, stageText];
  return parts.filter((part) => part !== '').join(GAP);
}

function percentText(share: number): string {
  return `${Math.floor(share * 100)} %`;
}

/** Pieces side by side: what is optional and does not fit is left out, what is not is cut. */
function fitted(pieces: readonly Piece[], width: number, paint: Paint): BlockLine {
  let plain = '';
  let painted = '';
  for (const { text, style, isOptional = false } of pieces) {
    const room = width - displayWidth(plain);
    if (text === '' || room <= 0) continue;
    if (isOptional && displayWidth(text) > room) continue;
    const shown = truncated(text, room);
    plain += shown;
    painted += style === undefined ? shown : paint(style, shown);
  }
  return { plain, painted };
}

/** A chart on a page: title, legend, drawing, caption, and the same figures as a table. */
import { plural } from '../../../terminal/format.ts';
import type { Chart } from './chart.ts';
import { html, type Markup } from './markup.ts';
import { hasValues } from './scales.ts';

/** A table: the first cell of a row is its heading. */
export interface Table {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** A chart, and every figure that is drawn in it. */
export interface Figure {
  readonly chart: Chart;
  readonly table: Table;
}

/** The figure of a chart; a sentence where there is nothing to draw. */
export function figure({ chart, table: cells }: Figure): Markup {
  const { id, title, caption } = chart;
  const heading = html`<h3 id="${id}-title">${title}</h3>`;
  if (!hasValues(chart.lines)) {
    return html`<section class="figure" aria-labelledby="${id}-title">${heading}
<p class="nothing">Nothing of it happened in this run.</p></section>`;
  }
  return html`<figure class="figure" aria-labelledby="${id}-title">${heading}
<ul class="legend">${chart.lines.map(
    ({ name, tone, stroke }, i) =>
      html`<li><button type="button" aria-pressed="true" data-chart="${id}" data-line="${i}">${swatch(tone, stroke)}${name}</button></li>`,
  )}</ul>
<div class="plot" data-chart="${id}" aria-labelledby="${id}-title" aria-describedby="${id}-caption"></div>
<p class="readout"></p>
<figcaption id="${id}-caption">${caption}</figcaption>
<details><summary>Table of ${title.toLowerCase()} (${plural(cells.rows.length, 'row')})</summary>
${table(cells, title)}</details>
</figure>`;
}

/** A table in a box of its own, in which it may be scrolled. */
export function table({ columns, rows }: Table, label: string): Markup {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="${label}"><table>
<thead><tr>${columns.map((column) => html`<th scope="col">${column}`)}</thead>
<tbody>
${rows.map(([head = '', ...cells]) => html`<tr><th scope="row">${head}${cells.map((cell) => html`<td>${cell}`)}\n`)}</tbody>
</table></div>`;
}

function swatch(tone: number, stroke: string): Markup {
  return html`<svg class="swatch tone-${tone} ${stroke}" viewBox="0 0 24 8" aria-hidden="true"><path d="M0 4h24"/></svg>`;
}

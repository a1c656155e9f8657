/** The frame of every page: one file that asks nothing of a network. */
import { pageAssets } from './assets.ts';
import type { Chart } from './chart.ts';
import { type Figure, figure } from './figure.ts';
import { embeddedJson, html, Markup } from './markup.ts';

/** A part of a page, which the list at its top leads to. */
export interface Section {
  /** Unique on its page. */
  readonly id: string;
  readonly title: string;
  /** What stands before its figures. */
  readonly body?: Markup | undefined;
  readonly figures?: readonly Figure[];
}

/** A page. */
export interface Page {
  readonly title: string;
  /** Beneath the title. */
  readonly lead: Markup;
  readonly sections: readonly Section[];
}

/** The page as the text of a file. */
export function pageText({ title, lead, sections }: Page): string {
  const { style, chartLibrary, script } = pageAssets();
  const charts: Chart[] = sections.flatMap((one) => (one.figures ?? []).map(({ chart }) => chart));
  const policy = [
    "default-src 'none'",
    `style-src ${style.source}`,
    `script-src ${chartLibrary.source} ${script.source}`,
    // The empty icon, without which a browser asks for one.
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ');
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<title>${title}</title>
<style>${Markup.trusted(style.text)}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the result</a>
<header>
<h1>${title}</h1>
${lead}
<nav aria-label="Sections"><ul>${sections.map(({ id, title: name }) => html`<li><a href="#${id}">${name}</a></li>`)}</ul></nav>
</header>
<main id="main" tabindex="-1">
<noscript><p class="notice">Charts need JavaScript. Every figure is in the tables as well.</p></noscript>
${sections.map(section)}
</main>
<script type="application/json" id="charts">${embeddedJson(charts)}</script>
<script>${Markup.trusted(chartLibrary.text)}</script>
<script>${Markup.trusted(script.text)}</script>
</body>
</html>
`;
  return page.text;
}

function section({ id, title, body, figures = [] }: Section): Markup {
  return html`<section id="${id}" aria-labelledby="${id}-heading">
<h2 id="${id}-heading">${title}</h2>
${body}
${figures.length === 0 ? undefined : html`<div class="figures">${figures.map(figure)}</div>`}
</section>
`;
}

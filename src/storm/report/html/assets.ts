/** What a page brings along, so that it needs no network: style, chart library, and its own script. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

/** A text that a page holds, and what its security policy calls it. */
export interface Asset {
  readonly text: string;
  /** A source of a Content-Security-Policy, for example `'sha256-…'`. */
  readonly source: string;
}

/** The styles and scripts of every page. */
export interface PageAssets {
  readonly style: Asset;
  readonly chartLibrary: Asset;
  readonly script: Asset;
}

const require = createRequire(import.meta.url);

let assets: PageAssets | undefined;

/** Reads them, at the first call: a storm that writes no page needs none of them. */
export function pageAssets(): PageAssets {
  assets ??= readAssets();
  return assets;
}

function readAssets(): PageAssets {
  const uplot = dirname(require.resolve('uplot/package.json'));
  const library = (path: string): string => readFileSync(join(uplot, path), 'utf8');
  const own = (name: string): string => readFileSync(new URL(name, import.meta.url), 'utf8');
  const license = library('LICENSE').replaceAll('*/', '* /');
  return {
    style: asset(`${library('dist/uPlot.min.css')}\n${own('page.css')}`),
    // Its licence asks to come along with every copy.
    chartLibrary: asset(`/*!\nuPlot\n${license}*/\n${library('dist/uPlot.iife.min.js')}`),
    script: asset(own('page.client.js')),
  };
}

function asset(content: string): Asset {
  // A browser hashes what it has parsed, in which every line ends the same way.
  const text = content.replaceAll('\r', '');
  if (/<\/(script|style)|<!--/i.test(text)) {
    throw new Error('an asset of the report would end the element that holds it');
  }
  const hash = createHash('sha256').update(text).digest('base64');
  return { text, source: `'sha256-${hash}'` };
}

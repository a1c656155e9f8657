/** A real browser for tests of pages. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll } from 'vitest';
import { describeWithout } from '../support/describe-without.ts';

const PROGRAMS = ['chromium', 'chromium-browser', 'google-chrome'];
const IN_PAGE = fileURLToPath(new URL('in-page.js', import.meta.url));

/** A page that is open. */
export interface OpenPage {
  readonly page: Page;
  /** Messages of its console, errors, and requests for anything but its file; all are unwanted. */
  readonly problems: readonly string[];
  /** The answer of a function of `in-page.js`. */
  readonly ask: <Answer>(name: string, ...args: readonly unknown[]) => Promise<Answer>;
}

/** Opens pages. */
export interface Pages {
  /** Opens a text as a file. */
  open(text: string, options?: BrowserContextOptions): Promise<OpenPage>;
}

/** A group of tests in a browser of its own. */
export function describeInBrowser(name: string, body: (pages: Pages) => void): void {
  const path = programPath();
  const problem = path === undefined ? `none of ${PROGRAMS.join(', ')} on the PATH` : undefined;
  describeWithout(problem, name, () => body(pagesIn(path ?? '')));
}

function programPath(): string | undefined {
  const directories = (process.env.PATH ?? '').split(delimiter);
  const paths = PROGRAMS.flatMap((name) => directories.map((directory) => join(directory, name)));
  return paths.find((path) => existsSync(path));
}

function pagesIn(executablePath: string): Pages {
  let browser: Browser;
  let directory: string;
  let count = 0;
  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'pullwarden-browser-'));
    // Its sandbox needs rights that root in a container does not have; the pages are our own.
    const args = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
    browser = await chromium.launch({ executablePath, args });
  });
  afterAll(async () => {
    await browser?.close();
    rmSync(directory, { recursive: true, force: true });
  });
  return {
    async open(text, options = {}) {
      const path = join(directory, `page-${++count}.html`);
      writeFileSync(path, text);
      const context = await browser.newContext(options);
      await context.addInitScript({ path: IN_PAGE });
      const page = await context.newPage();
      const problems: string[] = [];
      const url = pathToFileURL(path).href;
      page.on('console', (message) => problems.push(`console: ${message.text()}`));
      page.on('pageerror', (error) => problems.push(`error: ${error.message}`));
      page.on('request', (request) => {
        // The empty icon is in the page itself.
        const isOwn = request.url().split('#')[0] === url || request.url() === 'data:,';
        if (!isOwn) problems.push(`request: ${request.url().slice(0, 99)}`);
      });
      await page.goto(url);
      const ask = <Answer>(name: string, ...args: readonly unknown[]): Promise<Answer> => {
        const list = args.map((arg) => JSON.stringify(arg)).join(', ');
        return page.evaluate<Answer>(`inPage.${name}(${list})`);
      };
      return { page, problems, ask };
    },
  };
}

/** The examples of a document, run as they stand there. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { temporaryDirectory } from './engines.ts';

const INDEX = new URL('../../src/index.ts', import.meta.url);

/** A module of a document, and the output that the document shows right below it. */
export interface DocumentExample {
  readonly line: number;
  readonly code: string;
  readonly output: string;
}

/** The blocks fenced as `js` that are followed by one fenced as `text`. */
export function examplesOf(document: string): DocumentExample[] {
  const text = readFileSync(new URL(`../../docs/${document}`, import.meta.url), 'utf8');
  const pairs = text.matchAll(/^```js\n([\s\S]*?)^```\n\n```text\n([\s\S]*?)^```$/gm);
  return Array.from(pairs, (match) => ({
    line: text.slice(0, match.index).split('\n').length + 1,
    code: match[1]!,
    output: match[2]!,
  }));
}

/** A command of a document, and what the document says it prints. */
export interface ConsoleExample {
  readonly command: string;
  readonly output: string;
}

/** The commands in blocks fenced as `console`: after `$ `, going on after `> `. */
export function consoleExamplesOf(document: string): ConsoleExample[] {
  const text = readFileSync(new URL(`../../docs/${document}`, import.meta.url), 'utf8');
  const blocks = [...text.matchAll(/^```console\n([\s\S]*?)^```$/gm)].map(([, block]) => block!);
  return blocks.flatMap((block) =>
    block
      .split(/^\$ /m)
      .slice(1)
      .map((example) => {
        const lines = example.split('\n');
        let end = 1;
        while (lines[end]!.startsWith('> ')) end++;
        const command = [lines[0]!, ...lines.slice(1, end).map((line) => line.slice(2))];
        return { command: command.join('\n'), output: lines.slice(end).join('\n') };
      }),
  );
}

/** What a module prints that imports `pullwarden`. */
export async function printedBy(code: string): Promise<string> {
  const path = join(await temporaryDirectory(), 'example.mjs');
  await writeFile(path, code.replaceAll("from 'pullwarden'", `from '${INDEX.href}'`));
  const run = promisify(execFile);
  const loader = import.meta.resolve('tsx');
  const { stdout } = await run(process.execPath, ['--import', loader, path], { timeout: 60_000 });
  return stdout;
}

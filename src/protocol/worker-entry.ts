/** Where the code of a worker thread is, and how to load it: TypeScript in a checkout, else JavaScript. */
import { extname } from 'node:path';

export interface WorkerEntry {
  readonly filename: string;
  readonly execArgv: string[];
}

export function workerEntry(name: string): WorkerEntry {
  const extension = extname(import.meta.url);
  const loads = extension === '.js' || stripsTypes();
  return {
    filename: new URL(`../../workers/${name}${extension}`, import.meta.url).href,
    execArgv: loads ? process.execArgv : [...process.execArgv, '--import', 'tsx'],
  };
}

/** Whether this Node runs TypeScript by itself. */
function stripsTypes(): boolean {
  const { typescript } = process.features as { typescript?: string | false };
  return typescript !== undefined && typescript !== false;
}

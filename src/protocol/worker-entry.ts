/** Where the code of a worker thread is, and how to load it: TypeScript in a checkout, else JavaScript. */
import { extname } from 'node:path';

export interface WorkerEntry {
  readonly filename: string;
  /** Absent: those of this process, which a thread takes over by itself. */
  readonly execArgv?: string[];
}

export function workerEntry(name: string): WorkerEntry {
  const extension = extname(import.meta.url);
  const loads = extension === '.js' || stripsTypes();
  const filename = new URL(`../../workers/${name}${extension}`, import.meta.url).href;
  // Named flags are checked: those of V8 would be refused, though a thread may inherit them.
  return loads ? { filename } : { filename, execArgv: ['--import', 'tsx'] };
}

/** Whether this Node runs TypeScript by itself. */
function stripsTypes(): boolean {
  const { typescript } = process.features as { typescript?: string | false };
  return typescript !== undefined && typescript !== false;
}

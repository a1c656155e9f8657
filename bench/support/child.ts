/** Work that needs a process of its own: for V8's flags, a heap without history, a cold start. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** A function that can run in a child: exported under its own name; argument and result as JSON. */
export type ChildTask<A, R> = (argument: A) => Promise<R>;

interface Order {
  readonly module: string;
  readonly name: string;
  readonly argument: unknown;
}

type Report = { readonly result: unknown } | { readonly error: string };

/**
 * Runs `task`, which the module at `module` exports, in a new process, and answers its result.
 * Waits until the process has ended, and so written what it writes last.
 */
export async function inChild<A, R>(
  module: string,
  task: ChildTask<A, R>,
  argument: A,
  execArgv: readonly string[] = [],
): Promise<R> {
  const child = fork(fileURLToPath(import.meta.url), [], { execArgv: [...execArgv] });
  let report: Report | undefined;
  child.on('message', (message) => {
    report = message as Report;
  });
  const order: Order = { module, name: task.name, argument };
  child.send(order);
  const [code, signal] = await once(child, 'close');
  if (report === undefined) throw new Error(`${task.name}: the child ended with ${signal ?? code}`);
  if ('error' in report) throw new Error(`${task.name}, in a child: ${report.error}`);
  return report.result as R;
}

async function perform({ module, name, argument }: Order): Promise<Report> {
  try {
    const tasks: Record<string, ChildTask<unknown, unknown>> = await import(module);
    return { result: await tasks[name]!(argument) };
  } catch (error) {
    return { error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}

if (process.send !== undefined && process.argv[1] === fileURLToPath(import.meta.url)) {
  process.once('message', (order: Order) => {
    // Disconnected, the process ends by itself, and so writes its profile.
    const answer = (report: Report) => process.send!(report, () => process.disconnect());
    void perform(order).then(answer);
  });
}

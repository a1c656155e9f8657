/** Programs on a real terminal: a pseudo-terminal of the system, whose bytes go to a screen. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Screen } from './screen.ts';

/** Where it cannot be done, why. */
export const NO_TERMINAL: string | undefined =
  spawnSync('script', ['--version']).status === 0 ? undefined : 'no script(1) of util-linux';

export interface Session {
  /** The screen in the end, and every one before it. */
  readonly screen: Screen;
  readonly bytes: string;
  readonly code: number | null;
}

export interface SessionOptions {
  readonly columns?: number;
  readonly rows?: number;
  readonly env?: Readonly<Record<string, string>>;
  /** Called with what is on the screen, each time that anything is written; what it gives is typed. */
  readonly type?: (screen: Screen) => string | undefined;
}

/** Runs a TypeScript file of this repository to its end. */
export async function inTerminal(
  file: string,
  args: readonly string[],
  { columns = 80, rows = 24, env = {}, type }: SessionOptions = {},
): Promise<Session> {
  const path = fileURLToPath(new URL(`../../${file}`, import.meta.url));
  const program = [process.execPath, '--import', import.meta.resolve('tsx'), path, ...args];
  const words = program.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
  const command = `stty cols ${columns} rows ${rows} && exec ${words}`;
  const child = spawn('script', ['--quiet', '--return', '--command', command, '/dev/null'], {
    env: { ...process.env, TERM: 'xterm', NO_COLOR: '', FORCE_COLOR: undefined, ...env },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const screen = new Screen(columns, rows);
  let bytes = '';
  child.stdin.on('error', () => {});
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    bytes += text;
    screen.write(text);
    const typed = type?.(screen);
    if (typed !== undefined) child.stdin.write(typed);
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { screen, bytes, code };
}

/** The agent as a process, and a runtime behind a CRI socket for it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { ScriptedRuntime } from '../image-manager/kit.ts';
import { grpcRuntime, type ScriptedServer } from '../runtime/cri/scripted-runtime.ts';
import { PROGRAM } from '../support/program.ts';
import { afterTest, Client, socketDirectory } from './kit.ts';

/** What every image takes up. */
const IMAGE_BYTES = 1_024;

/** A line of the log, as it is written. */
export type WrittenLine = Record<string, unknown> & { readonly msg: string };

export interface ProcessOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Whether somebody reads what is logged. @default true */
  readonly isRead?: boolean;
}

/** `pullwarden agent`; killed after the test at the latest. */
export class AgentProcess {
  readonly child: ChildProcess;
  readonly client: Client;
  stdout = '';
  stderr = '';
  readonly #ended: Promise<void>;

  constructor(args: readonly string[], socketPath: string, options: ProcessOptions = {}) {
    this.child = spawn(process.execPath, [...PROGRAM, 'agent', ...args], {
      env: { ...process.env, NO_COLOR: '', FORCE_COLOR: undefined, ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.client = new Client(socketPath);
    this.child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    if (options.isRead !== false) {
      this.child.stderr!.setEncoding('utf8').on('data', (text: string) => {
        this.stderr += text;
      });
    }
    // Of one whose log nobody reads, the end of the log is never seen.
    const event = options.isRead === false ? 'exit' : 'close';
    this.#ended = once(this.child, event).then(() => {});
    afterTest(async () => {
      this.child.kill('SIGKILL');
      this.child.stderr!.destroy();
      await this.#ended;
    });
  }

  /** Resolves when the log has a line with this message; rejects where the process ends before. */
  async logged(message: string): Promise<WrittenLine> {
    for (;;) {
      const line = this.lines.find(({ msg }) => msg === message);
      if (line !== undefined) return line;
      const ended = this.#ended.then(() => 'ended' as const);
      const news = once(this.child.stderr!, 'data').then(() => 'news' as const);
      if ((await Promise.race([ended, news])) === 'news') continue;
      if (this.lines.some(({ msg }) => msg === message)) continue;
      throw new Error(`the agent ended without "${message}":\n${this.stderr}`);
    }
  }

  /** What was logged so far. */
  get lines(): WrittenLine[] {
    return this.stderr
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as WrittenLine);
  }

  signal(name: NodeJS.Signals): void {
    this.child.kill(name);
  }

  /** The exit code, or the name of the signal that ended it. */
  async exit(): Promise<number | NodeJS.Signals | null> {
    await this.#ended;
    return this.child.exitCode ?? this.child.signalCode;
  }
}

/** Where an agent lives. */
export interface Home {
  readonly directory: string;
  readonly runtime: ScriptedRuntime;
  readonly runtimeSocket: string;
  readonly socketPath: string;
  readonly store: string;
  /** Lets the runtime answer, or stops it. */
  startRuntime(): Promise<ScriptedServer>;
  /** Starts an agent there; further flags come last. */
  start(flags?: readonly string[], options?: ProcessOptions): AgentProcess;
}

/** A place for agents, removed after the test. The runtime does not answer yet. */
export async function newHome(): Promise<Home> {
  const directory = await socketDirectory();
  const runtime = new ScriptedRuntime();
  const runtimeSocket = join(directory, 'cri.sock');
  const socketPath = join(directory, 'agent.sock');
  const store = `journal:${join(directory, 'records')}`;
  return {
    directory,
    runtime,
    runtimeSocket,
    socketPath,
    store,
    startRuntime: async () => {
      const server = await grpcRuntime(runtimeSocket, criHandlers(runtime));
      afterTest(() => server.stop());
      return server;
    },
    start: (flags = [], options = {}) => {
      const own = [
        '--runtime',
        `unix://${runtimeSocket}`,
        '--socket',
        socketPath,
        '--store',
        store,
      ];
      return new AgentProcess([...own, ...flags], socketPath, options);
    },
  };
}

interface CriCall {
  readonly request: {
    readonly image?: { readonly image: string };
    readonly auth?: { readonly username: string } | null;
  };
}
type CriAnswer = (error: object | null, response?: object) => void;

/** The calls of CRI that an agent makes, answered by a scripted runtime. */
function criHandlers(
  runtime: ScriptedRuntime,
): Record<string, (call: CriCall, answer: CriAnswer) => void> {
  const handler =
    (answerTo: (call: CriCall) => Promise<object>) =>
    (call: CriCall, answer: CriAnswer): void => {
      answerTo(call).then(
        (response) => answer(null, response),
        (error: Error) => answer({ code: 2, details: error.message }),
      );
    };
  return {
    version: handler(async () => ({
      version: '0.1.0',
      runtimeName: 'scripted',
      runtimeVersion: '1',
      runtimeApiVersion: 'v1',
    })),
    listImages: handler(async () => {
      const images = await runtime.listImages();
      return { images: images.map((image) => ({ ...image, size: IMAGE_BYTES })) };
    }),
    imageStatus: handler(async ({ request }) => ({
      image: (await runtime.imageStatus(request.image!.image)) ?? null,
    })),
    pullImage: handler(async ({ request }) => ({
      imageRef: await runtime.pullImage(request.image!.image, request.auth ?? undefined),
    })),
  };
}

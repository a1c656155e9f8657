/** Writes to pipes that have a name, without a thread that waits for who reads them. */
import { constants, open } from 'node:fs';
import { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { errorCode } from '../errors.ts';

const openFile = promisify(open);
/** Between two looks for who reads: nothing tells of that. */
const PAUSE_MS = 50;

/**
 * The end of a pipe for who writes.
 *
 * A thread that waits for a reader in an open or a write keeps the whole process from ending, even by
 * `process.exit`. So the event loop writes, which no reader holds.
 */
export class PipeWriter {
  readonly #socket: Socket;

  private constructor(fd: number) {
    this.#socket = new Socket({ fd, readable: false, writable: true });
    // Whose write fails is told by that.
    this.#socket.on('error', () => {});
  }

  /**
   * Waits until somebody reads.
   *
   * @param signal - Ends that wait.
   * @throws the error of the system where the pipe cannot be opened; an `AbortError`.
   */
  static async open(path: string, signal?: AbortSignal): Promise<PipeWriter> {
    for (;;) {
      try {
        return new PipeWriter(await openFile(path, constants.O_WRONLY | constants.O_NONBLOCK));
      } catch (error) {
        if (errorCode(error) !== 'ENXIO') throw error;
        await delay(PAUSE_MS, undefined, { signal });
      }
    }
  }

  /** Resolves when the pipe has taken it. */
  write(text: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#socket.write(text, (error) => (error ? reject(error) : resolve()));
    });
  }

  /** What was written can still be read. */
  close(): void {
    this.#socket.destroy();
  }
}

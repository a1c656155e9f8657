/** The callers' credentials sources that are being asked: how many at once, and when to give up. */
import { abortedError, closedError, PullManagerError, queueFull } from '../errors.ts';
import { NO_CREDENTIALS, type PodCredentials } from '../records/record.ts';

/** Asked at most once a decision. May never answer. */
export type CredentialSource = () => PodCredentials | Promise<PodCredentials>;

/** Used by one thread. */
export class CredentialSources {
  readonly #waitingMax: number;
  /** Ends the wait for each source that has not answered yet. */
  readonly #waits = new Set<(error: PullManagerError) => void>();
  #isClosed = false;

  constructor(waitingMax: number) {
    this.#waitingMax = waitingMax;
  }

  /** Ends the wait for answers that never come, and asks nobody from now on. */
  close(): void {
    this.#isClosed = true;
    const error = closedError('the decision');
    for (const end of this.#waits) end(error);
  }

  /**
   * What a source answers; nothing counts as no credentials.
   *
   * Errors: `CREDENTIALS_SOURCE_FAILED` with what it threw as the cause, `ABORTED`, `CLOSED`,
   * `QUEUE_FULL` where too many are being asked already.
   */
  ask(source: CredentialSource, signal: AbortSignal | undefined): Promise<PodCredentials> {
    if (this.#isClosed) return Promise.reject(closedError('the decision'));
    if (this.#waits.size >= this.#waitingMax) {
      return Promise.reject(queueFull('too many decisions wait for credentials already'));
    }
    if (signal?.aborted === true) {
      return Promise.reject(abortedError('the decision', signal.reason));
    }
    return new Promise((resolve, reject) => {
      const end = (error: PullManagerError): void => {
        settle();
        reject(error);
      };
      const onAbort = (): void => end(abortedError('the decision', signal!.reason));
      const settle = (): void => {
        this.#waits.delete(end);
        signal?.removeEventListener('abort', onAbort);
      };
      this.#waits.add(end);
      signal?.addEventListener('abort', onAbort, { once: true });
      void (async () => {
        try {
          const presented = await source();
          settle();
          resolve(presented ?? NO_CREDENTIALS);
        } catch (cause) {
          end(
            new PullManagerError(
              'CREDENTIALS_SOURCE_FAILED',
              'the source of pod credentials failed',
              { cause },
            ),
          );
        }
      })();
    });
  }
}

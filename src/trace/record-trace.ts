/** Records what a pull manager is asked, so that `storm --replay` can ask it again. */
import { errorCode, invalidArgument, PullManagerError } from '../errors.ts';
import type { ImagePullManager } from '../image-pull-manager.ts';
import { type Logger, resolveLogger } from '../logger.ts';
import type { PullManager } from '../pull-manager.ts';
import { TRACE_SCHEMA, type TraceHeader, type TraceNaming } from './format.ts';
import { recordingMethods } from './recording-methods.ts';
import { TraceRecorder } from './trace-recorder.ts';
import { TraceWriter } from './trace-writer.ts';

/** How to record. */
export interface RecordTraceOptions {
  /** A file that is not there yet. */
  readonly path: string;
  /** Of the uid, namespace and name of secrets and service accounts. @default 'pseudonyms' */
  readonly names?: TraceNaming;
  /** Of images and their references. @default 'kept' */
  readonly images?: TraceNaming;
  /** After so many bytes nothing more is recorded. @default 1 GiB */
  readonly bytesMax?: number;
  /** Told where the recording ends early. @default silent */
  readonly logger?: Logger;
}

/** A recording under way. */
export interface TraceRecording<M> {
  /** Does what the recorded manager does; only what is asked of it is recorded. */
  readonly manager: M;
  /** Operations in the trace, and those that came faster than they could be written. */
  readonly counts: { readonly operations: number; readonly dropped: number };
  /** Ends the recording: the file is whole then. The manager stays open. Never rejects; idempotent. */
  close(): Promise<void>;
}

const BYTES_MAX = 1 << 30;
const NAMINGS: readonly unknown[] = ['pseudonyms', 'kept'];

/**
 * Begins to record what a manager is asked through the result's `manager`.
 *
 * ```js
 * import { PullManager, recordTrace } from 'pullwarden';
 *
 * const opened = await PullManager.open({ store: { kind: 'memory' } });
 * const recording = await recordTrace(opened, { path: './trace.jsonl' });
 * await recording.manager.mustAttemptImagePull('nginx:1', 'sha256:0123');
 * await recording.close();
 * await opened.close();
 * ```
 *
 * A trace has no credential and no hash of one in it: hashes are numbered, and so are names unless
 * `names` is `'kept'`. The file is readable to its owner only. Recording makes no call wait and none
 * fail; an error of the file ends it, and is logged. What the store holds at the beginning is part of
 * the trace, where the manager can list it.
 *
 * Errors: `INVALID_ARGUMENT` naming the option; also where the file is there, or cannot be made.
 */
export async function recordTrace<M extends ImagePullManager>(
  manager: M,
  options: RecordTraceOptions,
): Promise<TraceRecording<M>> {
  const { path, names = 'pseudonyms', images = 'kept', bytesMax = BYTES_MAX } = options;
  if (typeof path !== 'string' || path === '') {
    throw invalidArgument('options.path', 'must be the path of a file');
  }
  for (const [argument, naming] of Object.entries({ names, images })) {
    if (!NAMINGS.includes(naming)) {
      throw invalidArgument(`options.${argument}`, "must be 'pseudonyms' or 'kept'");
    }
  }
  if (!(bytesMax >= 1)) throw invalidArgument('options.bytesMax', 'must be at least 1');
  const logger = resolveLogger(options.logger);
  const header: TraceHeader = {
    schema: TRACE_SCHEMA,
    startedAt: new Date().toISOString(),
    names,
    images,
  };
  const writer = await openFile(path, header, bytesMax, (problem) =>
    logger.warn(`the recording of a trace has ended: its file ${problem}`, { path }),
  );
  const recorder = new TraceRecorder(writer, names, images);
  await recordState(manager, recorder, logger);
  let closing: Promise<void> | undefined;
  return {
    manager: recorded(manager, recorder),
    get counts() {
      return { operations: recorder.operations, dropped: recorder.dropped };
    },
    close() {
      if (closing === undefined) {
        recorder.end();
        closing = writer.close();
      }
      return closing;
    },
  };
}

async function openFile(
  path: string,
  header: TraceHeader,
  bytesMax: number,
  onError: (problem: string) => void,
): Promise<TraceWriter> {
  try {
    return await TraceWriter.open(path, header, bytesMax, onError);
  } catch (cause) {
    const problem = `options.path cannot be made: ${errorCode(cause) ?? 'unknown error'}`;
    throw new PullManagerError('INVALID_ARGUMENT', problem, {
      argument: 'options.path',
      path,
      cause,
    });
  }
}

type Lists = Pick<PullManager, 'listImagePulledRecords' | 'listImagePullIntents'>;

/** What cannot be listed is not in the trace; that is no reason not to record the rest. */
async function recordState(
  manager: ImagePullManager & Partial<Lists>,
  recorder: TraceRecorder,
  logger: Logger,
): Promise<void> {
  try {
    const records = await manager.listImagePulledRecords?.();
    const intents = await manager.listImagePullIntents?.();
    await recorder.state(records?.records ?? [], intents?.records ?? []);
  } catch (error) {
    const code = errorCode(error);
    logger.warn('a trace begins without what the store holds: it cannot be listed', { code });
  }
}

/** The same manager, but for the methods that are recorded. */
function recorded<M extends ImagePullManager>(manager: M, recorder: TraceRecorder): M {
  const methods = new Map<string | symbol, unknown>(
    Object.entries(recordingMethods(manager, recorder)),
  );
  return new Proxy(manager, {
    get(target, name) {
      const known = methods.get(name);
      if (known !== undefined) return known;
      // Private fields are the target's: neither getters nor methods may see the proxy as `this`.
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      const bound: unknown = value.bind(target);
      methods.set(name, bound);
      return bound;
    },
  });
}

/**
 * Loaded into a process and its threads before anything else (`--import`): ends the process, by
 * SIGKILL, before, halfway through or after one call to the file system. Linux only. Calls that do
 * not go through `node:fs`, as those of native addons, are not seen.
 */
import fs from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { fileKindOf } from './file-kind.ts';
import { KILL_ORDER, type KillOrder } from './order.ts';

type Call = (this: unknown, ...args: unknown[]) => unknown;
type Calls = Record<string, Call>;
/** How a call says that it is done. */
type Style = 'returns' | 'promises' | 'calls back';

const order = JSON.parse(process.env[KILL_ORDER]!) as KillOrder;
const { appendFileSync, readlinkSync, writeSync } = fs;
const SECTOR_BYTES = 512;
const counts = new Map<string, number>();

/** The thread comes to a point. The process may end there, after `last`. */
function come(point: string, last?: () => void): void {
  const count = (counts.get(point) ?? 0) + 1;
  counts.set(point, count);
  if (count === 1) appendFileSync(order.reportPath, `${point}\n`);
  if (point !== order.point || count !== order.count) return;
  last?.();
  process.kill(process.pid, 'SIGKILL');
  // The signal takes its time to reach all threads; this one does nothing any more.
  for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}

/** Where a call works, by its path or descriptor. */
function kindOf(file: unknown): string | undefined {
  if (typeof file === 'string') return fileKindOf(order.root, file);
  try {
    return fileKindOf(order.root, readlinkSync(`/proc/self/fd/${String(file)}`));
  } catch {
    return undefined;
  }
}

/** A call that writes. */
interface Write {
  readonly fd: number;
  readonly bytes: Uint8Array;
  readonly position: number;
}

function writeFrom(
  fd: unknown,
  bytes: unknown,
  offset: unknown = 0,
  length: unknown = (bytes as Uint8Array).length - (offset as number),
  // Without a position it appends, as all files here do.
  position: unknown = fs.fstatSync(fd as number).size,
): Write {
  const from = offset as number;
  const part = (bytes as Uint8Array).subarray(from, from + (length as number));
  return { fd: fd as number, bytes: part, position: position as number };
}

/**
 * What may be there of a write in whose middle the process was killed: whole sectors from the front,
 * as docs/journal-format.md has it; kernels copy whole pages. Undefined: the write is in one sector.
 */
function halfOf({ fd, bytes, position }: Write): (() => void) | undefined {
  const middle = position + bytes.length / 2;
  const below = Math.floor(middle / SECTOR_BYTES) * SECTOR_BYTES - position;
  const length = below > 0 ? below : below + SECTOR_BYTES;
  if (length <= 0 || length >= bytes.length) return undefined;
  return () => {
    writeSync(fd, bytes, 0, length, position);
  };
}

/** Puts a call between its points. */
function surround(
  calls: Calls,
  name: string,
  style: Style,
  verb: string,
  fileOf: (self: unknown, args: readonly unknown[]) => unknown,
  writeOf?: (file: unknown, args: readonly unknown[]) => Write,
): void {
  const original = calls[name]!;
  calls[name] = function (...args) {
    const file = fileOf(this, args);
    const kind = kindOf(file);
    if (kind === undefined) return original.apply(this, args);
    const point = `${verb} ${kind}`;
    const after = (): void => come(`after ${point}`);
    come(`before ${point}`);
    const half = writeOf === undefined ? undefined : halfOf(writeOf(file, args));
    if (half !== undefined) come(`halfway ${point}`, half);
    if (style === 'calls back') {
      const done = args.pop() as Call;
      return original.call(this, ...args, (...answer: unknown[]) => {
        after();
        done.apply(undefined, answer);
      });
    }
    const result = original.apply(this, args);
    if (style === 'returns') {
      after();
      return result;
    }
    return (result as Promise<unknown>).then((value) => {
      after();
      return value;
    });
  };
}

const first = (_self: unknown, args: readonly unknown[]): unknown => args[0];
const ownFd = (self: unknown): unknown => (self as FileHandle).fd;

const writeOfArgs = (fd: unknown, args: readonly unknown[]): Write =>
  writeFrom(fd, args[1], args[2], args[3], args[4]);
const writeOfOwn = (fd: unknown, args: readonly unknown[]): Write =>
  writeFrom(fd, args[0], args[1], args[2], args[3]);

const VERBS = {
  rename: 'rename',
  truncate: 'cut',
  unlink: 'remove',
  link: 'link',
  mkdir: 'make',
  rmdir: 'remove',
} as const;

const handle = await open('/dev/null');
const handles = Object.getPrototypeOf(handle) as Calls;
await handle.close();
const sync = fs as unknown as Calls;
const promises = fs.promises as unknown as Calls;

surround(sync, 'writeSync', 'returns', 'write', first, writeOfArgs);
surround(sync, 'write', 'calls back', 'write', first, writeOfArgs);
surround(handles, 'write', 'promises', 'write', ownFd, writeOfOwn);
surround(handles, 'writeFile', 'promises', 'write', ownFd);
surround(promises, 'writeFile', 'promises', 'write', first);
for (const name of ['fsyncSync', 'fdatasyncSync']) surround(sync, name, 'returns', 'flush', first);
for (const name of ['fsync', 'fdatasync']) surround(sync, name, 'calls back', 'flush', first);
for (const name of ['sync', 'datasync']) surround(handles, name, 'promises', 'flush', ownFd);
surround(sync, 'ftruncateSync', 'returns', 'cut', first);
surround(sync, 'ftruncate', 'calls back', 'cut', first);
surround(handles, 'truncate', 'promises', 'cut', ownFd);
for (const [name, verb] of Object.entries(VERBS)) {
  surround(sync, `${name}Sync`, 'returns', verb, first);
  surround(sync, name, 'calls back', verb, first);
  surround(promises, name, 'promises', verb, first);
}
syncBuiltinESMExports();

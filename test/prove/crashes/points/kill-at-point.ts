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

/** Puts a call between its points; `halfOf` does the first half of its work. */
function surround(
  calls: Calls,
  name: string,
  style: Style,
  verb: string,
  fileOf: (self: unknown, args: readonly unknown[]) => unknown,
  halfOf?: (file: unknown, args: readonly unknown[]) => void,
): void {
  const original = calls[name]!;
  calls[name] = function (...args) {
    const file = fileOf(this, args);
    const kind = kindOf(file);
    if (kind === undefined) return original.apply(this, args);
    const point = `${verb} ${kind}`;
    const after = (): void => come(`after ${point}`);
    come(`before ${point}`);
    if (halfOf !== undefined) come(`halfway ${point}`, () => halfOf(file, args));
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

function halfOfWrite(fd: unknown, bytes: unknown, offset: unknown, length: unknown, at: unknown) {
  const half = (length as number) >> 1;
  writeSync(fd as number, bytes as Uint8Array, offset as number, half, at as number);
}
const halfOfArgs = (fd: unknown, args: readonly unknown[]): void =>
  halfOfWrite(fd, args[1], args[2], args[3], args[4]);
const halfOfOwn = (fd: unknown, args: readonly unknown[]): void =>
  halfOfWrite(fd, args[0], args[1], args[2], args[3]);

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

surround(sync, 'writeSync', 'returns', 'write', first, halfOfArgs);
surround(sync, 'write', 'calls back', 'write', first, halfOfArgs);
surround(handles, 'write', 'promises', 'write', ownFd, halfOfOwn);
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

/**
 * A file system that forgets on a power cut what was not flushed: undoes, in a copy of a directory,
 * the writes of this process that neither went through `O_DSYNC` nor were flushed since. Linux only.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join, relative } from 'node:path';

interface Unflushed {
  readonly fd: number;
  readonly position: number;
  readonly before: Buffer;
}

type Callback = (error: Error | null, value: number) => void;

const unflushed: Unflushed[] = [];
const durableFds = new Set<number>();
const { open, write, writeSync, fdatasync, fdatasyncSync } = fs;

/** From here on all writes of this thread by number of file are watched. */
export function watchWrites(): void {
  const watched = {
    open(path: fs.PathLike, flags: number, done: Callback): void {
      open(path, flags, (error, fd) => {
        durableFds.delete(fd);
        if (error === null && (flags & fs.constants.O_DSYNC) !== 0) durableFds.add(fd);
        done(error, fd);
      });
    },
    write(
      fd: number,
      bytes: Uint8Array,
      offset: number,
      length: number,
      position: number,
      done: Callback,
    ): void {
      note(fd, length, position);
      write(fd, bytes, offset, length, position, done);
    },
    writeSync(
      fd: number,
      bytes: Uint8Array,
      offset: number,
      length: number,
      position: number,
    ): number {
      note(fd, length, position);
      return writeSync(fd, bytes, offset, length, position);
    },
    fdatasync(fd: number, done: (error: Error | null) => void): void {
      const known = unflushed.filter((one) => one.fd === fd);
      fdatasync(fd, (error) => {
        if (error === null) forget(known);
        done(error);
      });
    },
    fdatasyncSync(fd: number): void {
      fdatasyncSync(fd);
      forget(unflushed.filter((one) => one.fd === fd));
    },
  };
  Object.assign(fs, watched);
  syncBuiltinESMExports();
}

/** Copies a directory as a power cut at this moment would leave it. */
export function cutPower(directory: string, copy: string): void {
  // A file that is not in its place yet is renamed or removed meanwhile; a start ignores what is left of it.
  const isKept = (path: string): boolean => !/LOCK(\.json)?$|\.tmp$/.test(path);
  fs.cpSync(directory, copy, { recursive: true, filter: isKept });
  for (const { fd, position, before } of unflushed.toReversed()) {
    const path = fs.readlinkSync(`/proc/self/fd/${fd}`);
    const copied = join(copy, relative(directory, path));
    if (!fs.existsSync(copied)) continue;
    const target = fs.openSync(copied, 'r+');
    writeSync(target, before, 0, before.length, position);
    fs.closeSync(target);
  }
}

function note(fd: number, length: number, position: number): void {
  if (durableFds.has(fd) || typeof position !== 'number') return;
  const before = Buffer.alloc(length);
  fs.readSync(fd, before, 0, length, position);
  unflushed.push({ fd, position, before });
}

function forget(flushed: readonly Unflushed[]): void {
  const gone = new Set(flushed);
  const kept = unflushed.filter((one) => !gone.has(one));
  unflushed.splice(0, unflushed.length, ...kept);
}

/** The few file operations that durability rests on. */
import * as fs from 'node:fs';

export const FILE_MODE = 0o600;

/** Whether opening with `O_DSYNC` makes each write durable by itself, in one system call. */
export const WRITES_CAN_FLUSH: boolean =
  process.platform === 'linux' && fs.constants.O_DSYNC !== undefined;

/** Writes all of `bytes` at `position`; blocks. */
export function writeFullySync(fd: number, bytes: Uint8Array, position: number): void {
  let written = 0;
  while (written < bytes.length) {
    written += fs.writeSync(fd, bytes, written, bytes.length - written, position + written);
  }
}

/** Writes all of `bytes` at `position` without blocking the thread. */
export function writeFully(fd: number, bytes: Uint8Array, position: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let written = 0;
    const step = (): void => {
      fs.write(fd, bytes, written, bytes.length - written, position + written, (error, count) => {
        if (error !== null) return reject(error);
        written += count;
        if (written === bytes.length) resolve();
        else step();
      });
    };
    step();
  });
}

/** `fdatasync` without blocking the thread. */
export function flushFile(fd: number): Promise<void> {
  return new Promise((resolve, reject) => {
    fs.fdatasync(fd, (error) => (error === null ? resolve() : reject(error)));
  });
}

/** Closes a file whose content no longer matters or was flushed before; failures mean nothing. */
export function closeQuietly(fd: number): void {
  fs.close(fd, () => {});
}

/** Removes a file that is only in the way; failures are left to the next start. */
export async function removeQuietly(path: string): Promise<void> {
  await new Promise<void>((resolve) => fs.unlink(path, () => resolve()));
}

/** Disks in files: one whose power can be cut, and one that holds another's file and copies it at once. */

import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { hasProgram, runProgram } from '../common/programs.ts';

/** `FS_IOC_SHUTDOWN` with the flag that also drops the journal of the file system. */
const SHUTDOWN = 0x8004587d;
const NO_LOG_FLUSH = 2;
const UNMOUNT_ATTEMPTS = 100;
const UNMOUNT_PAUSE_MS = 50;

/** Bytes at the end of a file that tell when a disk was cut. */
export interface Mark {
  readonly path: string;
  readonly bytes: Buffer;
}

/** A file system in a file, mounted. */
export class Disk {
  /** Where it is mounted. */
  readonly path: string;
  /** The file that it is in. */
  readonly image: string;

  /** @param image May exist, with a file system in it. */
  constructor(image: string, path: string) {
    this.image = image;
    this.path = path;
    fs.mkdirSync(path, { recursive: true });
  }

  /** Makes the file system. */
  make(bytes: number, program: string, args: readonly string[]): void {
    fs.closeSync(fs.openSync(this.image, 'wx'));
    fs.truncateSync(this.image, bytes);
    runProgram(program, [...args, this.image]);
  }

  mount(): void {
    runProgram('mount', ['-o', 'loop', this.image, this.path]);
  }

  /**
   * From here on every write fails, and what was not flushed is lost. Right before that, `bytes` are
   * appended to the file at `path`, if it is there: which is elsewhere.
   */
  cut({ path, bytes }: Mark = { path: '', bytes: Buffer.alloc(0) }): void {
    const args = [this.path, path, bytes.toString('hex')];
    if (hasProgram('perl')) {
      const code =
        `sysopen(my $d, $ARGV[0], 0) or die "open: $!"; my $f = pack("L", ${NO_LOG_FLUSH}); ` +
        'if (-e $ARGV[1]) { open(my $l, ">>", $ARGV[1]) or die "mark: $!"; ' +
        'defined(syswrite($l, pack("H*", $ARGV[2]))) or die "mark: $!"; } ' +
        `defined(ioctl($d, ${SHUTDOWN}, $f)) or die "ioctl: $!"`;
      runProgram('perl', ['-e', code, ...args]);
      return;
    }
    const code = [
      'import fcntl, os, struct, sys',
      'd = os.open(sys.argv[1], os.O_RDONLY)',
      'if os.path.exists(sys.argv[2]):',
      ' os.write(os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND), bytes.fromhex(sys.argv[3]))',
      `fcntl.ioctl(d, ${SHUTDOWN}, struct.pack("I", ${NO_LOG_FLUSH}))`,
    ].join('\n');
    runProgram('python3', ['-c', code, ...args]);
  }

  /** Waits a little for whoever still looks at it. */
  async unmount(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        runProgram('umount', [this.path]);
        return;
      } catch (error) {
        if (attempt === UNMOUNT_ATTEMPTS) throw error;
        await delay(UNMOUNT_PAUSE_MS);
      }
    }
  }

  /** Whatever state it is in. */
  remove(): void {
    spawnSync('umount', ['--lazy', this.path], { stdio: 'ignore' });
    fs.rmSync(this.image, { force: true });
    fs.rmSync(this.path, { recursive: true, force: true });
  }
}

const MIB = 1024 * 1024;
const DISK_BYTES = 128 * MIB;
/** The least that mkfs.xfs makes is 300 MiB; copies take what was written since. */
const HOST_BYTES = 1024 * MIB;

/** An ext4 in a file in that directory, mounted. */
export function newDisk(directory: string): Disk {
  fs.mkdirSync(directory, { recursive: true });
  const disk = new Disk(join(directory, 'disk.img'), join(directory, 'disk'));
  disk.make(DISK_BYTES, 'mkfs.ext4', ['-q', '-F']);
  disk.mount();
  return disk;
}

/** An XFS whose files can be copied at once, mounted. */
export function newHost(directory: string): Disk {
  fs.mkdirSync(directory, { recursive: true });
  const host = new Disk(join(directory, 'host.img'), join(directory, 'host'));
  host.make(HOST_BYTES, 'mkfs.xfs', ['-q', '-f', '-m', 'reflink=1']);
  host.mount();
  return host;
}

/** Why disks cannot be mounted and cut here; `undefined` where they can. */
export function cutProblem(directory: string): string | undefined {
  return (
    missing(['mkfs.ext4', 'mount', 'umount']) ??
    (hasProgram('perl') || hasProgram('python3')
      ? undefined
      : 'needs perl or python3, for an ioctl') ??
    trying('a file system cannot be mounted or shut down', () => {
      const disk = newDisk(join(directory, 'probe'));
      try {
        disk.cut();
      } finally {
        disk.remove();
      }
    })
  );
}

/** Why a disk cannot be copied at once here; `undefined` where it can. */
export function copyProblem(directory: string): string | undefined {
  return (
    missing(['mkfs.ext4', 'mkfs.xfs', 'mount', 'umount', 'cp']) ??
    trying('a disk cannot be copied at once', () => {
      const host = newHost(join(directory, 'probe'));
      try {
        const file = join(host.path, 'file');
        fs.writeFileSync(file, 'x');
        copyAtOnce(file, `${file}.copy`);
      } finally {
        host.remove();
      }
    })
  );
}

/** A copy of one instant: writes to the file wait meanwhile. */
export function copyAtOnce(from: string, to: string): void {
  runProgram('cp', ['--reflink=always', from, to]);
}

function missing(programs: readonly string[]): string | undefined {
  if (process.platform !== 'linux') return 'needs Linux';
  if (process.getuid?.() !== 0) return 'needs root, to mount a file system';
  const absent = programs.find((program) => !hasProgram(program));
  return absent === undefined ? undefined : `there is no program ${absent}`;
}

function trying(what: string, attempt: () => void): string | undefined {
  try {
    attempt();
    return undefined;
  } catch (error) {
    return `${what}: ${(error as Error).message.trim()}`;
  }
}

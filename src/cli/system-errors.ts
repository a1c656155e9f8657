/** Errors of the operating system, in words: what was tried, what the code means, and what to do. */
import { errorCode, quote } from '../errors.ts';

const NOT_A_FILE = 'That is a directory: give the path of a file.';

/** What codes mean, and what to do. */
const ADVICE: Readonly<Record<string, string>> = {
  EACCES: 'This user may not do that: run as the owner, or change the permissions (see ls -ld).',
  EDQUOT: 'The quota of this user is used up: make room.',
  EEXIST: 'Something else is there already: give another path, or remove it.',
  EIO: 'The device failed: the log of the kernel says how (dmesg).',
  EISDIR: NOT_A_FILE,
  ELOOP: 'The symbolic links in that path lead in a circle: give another path.',
  EMFILE: 'This process has too many files open: raise its limit (ulimit -n).',
  ENAMETOOLONG: 'That path, or a part of it, is too long: give a shorter one.',
  ENFILE:
    'The system has too many files open: close some, or raise its limit (sysctl fs.file-max).',
  ENOENT:
    'There is nothing at that path, or a directory above it is missing: check how it is spelled.',
  ENOSPC: 'The disk is full, or has no inodes left: make room (see df and df -i).',
  ENOTDIR: 'Something in that path is a file and no directory: give another path.',
  ENXIO: 'That is a socket, or a device that is not there: give the path of a file.',
  EPERM: 'The system forbids it even to the owner: it may be immutable (see lsattr).',
  EROFS: 'That file system is read-only: give a path on another one, or mount it for writing.',
  ERR_MODULE_NOT_FOUND:
    'There is no such module, or it imports one that is missing: check the path, and install what it needs.',
  ERR_UNSUPPORTED_DIR_IMPORT: NOT_A_FILE,
};

/** What calls of the system are for, where their names do not say it. */
const PURPOSE: Readonly<Record<string, string>> = {
  fsync: 'flush',
  lstat: 'look at',
  mkdir: 'make the directory',
  mkdtemp: 'make a directory',
  scandir: 'list the directory',
  stat: 'look at',
  unlink: 'remove',
};

/** The message of an error, where it is Node's own for a failed call with what was tried in words. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code, syscall, path } = error as NodeJS.ErrnoException;
  if (code === undefined || syscall === undefined || !error.message.startsWith(`${code}: `)) {
    return error.message;
  }
  const what = `cannot ${PURPOSE[syscall] ?? syscall}`;
  return path === undefined ? `${what}: ${code}` : `${what} ${quote(path)}: ${code}`;
}

/** A code that the message ends with, in parentheses or not. */
const CODE_AT_END = /(?:: |\()(E[A-Z_]+)\)?$/;

/** What to do about an error that the system caused, in a sentence; `undefined` for any other. */
export function adviceOn(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const shown = CODE_AT_END.exec(messageOf(error))?.[1];
  const code = shown ?? errorCode(error.cause);
  return code !== undefined && Object.hasOwn(ADVICE, code) ? ADVICE[code] : undefined;
}

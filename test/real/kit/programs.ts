/** Which real programs there are on this machine. `scripts/install-components.sh` installs them. */
import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';

const PROGRAMS = ['containerd', 'ctr', 'docker-registry', 'htpasswd', 'openssl', 'setpriv'];

/** A container runtime to test against. */
export interface RuntimeProgram {
  /** For the names of tests. */
  readonly name: string;
  readonly binary: string;
  /** Why it cannot be used here; `undefined`: it can. */
  readonly problem: string | undefined;
  /** Whether it may be missing where everything has to be tested. */
  readonly optional: boolean;
}

/** The containerd of the distribution. */
export const CONTAINERD: RuntimeProgram = {
  name: 'containerd',
  binary: 'containerd',
  problem: commonProblem(),
  optional: false,
};

/** A newer one, where it could be fetched. */
export const NEXT_CONTAINERD: RuntimeProgram = nextContainerd();

function nextContainerd(): RuntimeProgram {
  const { PULLWARDEN_COMPONENTS: components, XDG_CACHE_HOME: cache } = process.env;
  const directory =
    components ?? join(cache ?? join(homedir(), '.cache'), 'pullwarden', 'components');
  const binary = join(directory, 'containerd-next', 'containerd');
  const problem =
    CONTAINERD.problem ?? (isExecutable(binary) ? undefined : `there is no ${binary}`);
  return { name: 'a newer containerd', binary, problem, optional: true };
}

function commonProblem(): string | undefined {
  if (process.platform !== 'linux') return 'containerd needs Linux';
  const missing = PROGRAMS.filter((program) => !isOnPath(program));
  if (missing.length > 0) return `not installed: ${missing.join(', ')}`;
  if (process.getuid?.() !== 0) return 'containerd needs root';
  // A container's root may lack it, and every pull mounts.
  const mayMount = spawnSync('unshare', ['--mount', 'true']).status === 0;
  return mayMount ? undefined : 'containerd needs the right to mount';
}

function isOnPath(program: string): boolean {
  const directories = (process.env.PATH ?? '').split(delimiter);
  return directories.some((directory) => isExecutable(join(directory, program)));
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

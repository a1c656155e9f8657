import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { acquireDirectoryLock, type DirectoryLock } from '../../src/accessors/directory-lock.ts';
import { codeOf } from '../conformance/accessor-suite.ts';
import { until } from '../support/wait.ts';
import { temporaryDirectory } from './open-store.ts';

const STORE_IN_USE = 'ERR_PULLMANAGER_STORE_IN_USE';
const STORE_UNAVAILABLE = 'ERR_PULLMANAGER_STORE_UNAVAILABLE';
const HOLDER = fileURLToPath(new URL('../fixtures/accessors/lock-holder.ts', import.meta.url));
const HOLDER_THREAD = new URL('../fixtures/accessors/lock-thread.mjs', import.meta.url);

const hasFlock = spawnSync('flock', ['--version']).error === undefined;
const isRoot = process.getuid?.() === 0;
const MECHANISMS = hasFlock ? (['flock', 'file'] as const) : (['file'] as const);

let parent: string;
let path: string;
const held: DirectoryLock[] = [];
const children: ChildProcess[] = [];

beforeEach(async () => {
  parent = await temporaryDirectory();
  path = join(parent, 'store');
});

afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  for (const lock of held.splice(0)) await lock.release();
  await rm(parent, { recursive: true, force: true });
});

async function acquire(mechanism?: 'flock' | 'file', at: string = path): Promise<DirectoryLock> {
  const lock = await acquireDirectoryLock(at, { mechanism });
  held.push(lock);
  return lock;
}

/** Starts a process that takes the directory; resolves with what it says about that. */
async function startHolder(
  mechanism: string,
  ending: 'release' | 'stay' | 'exit',
  wrapper: readonly string[] = [],
): Promise<{ child: ChildProcess; said: string }> {
  const command = [
    ...wrapper,
    process.execPath,
    '--import',
    'tsx',
    HOLDER,
    path,
    mechanism,
    ending,
  ];
  const child = spawn(command[0]!, command.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  for await (const line of createInterface({ input: child.stdout })) return { child, said: line };
  throw new Error('the holder said nothing');
}

/** An entry as a process would write it that has the given properties. */
async function writeOwner(changes: Record<string, unknown>): Promise<void> {
  const lock = await acquireDirectoryLock(path, { mechanism: 'file' });
  const own = JSON.parse(await readFile(join(path, 'LOCK.json'), 'utf8'));
  await lock.release();
  await writeFile(join(path, 'LOCK.json'), JSON.stringify({ ...own, ...changes }));
}

function deadPid(): number {
  return spawnSync(process.execPath, ['--version']).pid;
}

describe.each(MECHANISMS)('directory lock by %s', (mechanism) => {
  it('creates the directory for its owner only, and says which it is', async () => {
    path = join(parent, 'a', 'b');
    const lock = await acquire(mechanism);
    expect(lock).toMatchObject({ path, mechanism });
    expect(((await stat(path)).mode & 0o777).toString(8)).toBe('700');
    for (const name of await readdir(path)) {
      expect(((await stat(join(path, name))).mode & 0o777).toString(8)).toBe('600');
    }
  });

  it('refuses a second opener in the same process, by any path', async () => {
    await acquire(mechanism);
    await symlink(path, join(parent, 'link'));
    for (const at of [path, `${path}/../store/`, join(parent, 'link')]) {
      for (const other of MECHANISMS) {
        const failing = acquireDirectoryLock(at, { mechanism: other });
        await expect(failing).rejects.toMatchObject({
          code: STORE_IN_USE,
          path,
          message: expect.stringContaining(`process ${process.pid} `),
        });
      }
    }
  });

  it('lets the next one in once it is released, twice if need be', async () => {
    for (let round = 0; round < 3; round++) {
      const lock = await acquire(mechanism);
      await Promise.all([lock.release(), lock.release()]);
      await lock.release();
    }
    {
      await using last = await acquireDirectoryLock(path, { mechanism });
      expect(last.path).toBe(path);
      expect(await codeOf(() => acquire(mechanism))).toBe(STORE_IN_USE);
    }
    await acquire(mechanism);
  });

  it('leaves nothing behind but what it needs', async () => {
    const lock = await acquire(mechanism);
    await lock.release();
    expect(await readdir(path)).toEqual(mechanism === 'flock' ? ['LOCK'] : []);
  });

  it('refuses an opener in another process, and the other way round', async () => {
    const lock = await acquire(mechanism);
    const { said } = await startHolder(mechanism, 'exit');
    expect(said).toContain(STORE_IN_USE);
    expect(said).toContain(`process ${process.pid} `);
    await lock.release();
    const { child, said: saidThen } = await startHolder(mechanism, 'stay');
    expect(saidThen).toBe(`held by ${mechanism}`);
    await expect(acquire(mechanism)).rejects.toMatchObject({
      code: STORE_IN_USE,
      message: expect.stringContaining(`process ${child.pid} `),
    });
  });

  it('is not blocked by a process that was killed', async () => {
    const { child, said } = await startHolder(mechanism, 'stay');
    expect(said).toBe(`held by ${mechanism}`);
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect((await acquire(mechanism)).mechanism).toBe(mechanism);
  });

  it('is not blocked by a process that ended without releasing', async () => {
    const { child, said } = await startHolder(mechanism, 'exit');
    expect(said).toBe(`held by ${mechanism}`);
    if (child.exitCode === null) await once(child, 'exit');
    await acquire(mechanism);
  });

  it('goes to exactly one of many concurrent takers', async () => {
    for (let round = 0; round < 5; round++) {
      if (round % 2 === 1) await writeOwner({ pid: deadPid(), mechanism });
      const outcomes = await Promise.allSettled(
        Array.from({ length: 20 }, () => acquireDirectoryLock(path, { mechanism })),
      );
      const winners = outcomes.filter((outcome) => outcome.status === 'fulfilled');
      const codes = outcomes.flatMap((outcome) =>
        outcome.status === 'rejected' ? [outcome.reason.code] : [],
      );
      for (const winner of winners) held.push(winner.value);
      expect(winners).toHaveLength(1);
      expect(new Set(codes)).toEqual(new Set([STORE_IN_USE]));
      await held.pop()?.release();
    }
  });

  it('goes to exactly one of several processes that find a dead owner', async () => {
    for (let round = 0; round < 3; round++) {
      await writeOwner({ pid: deadPid(), mechanism });
      const holders = await Promise.all(
        Array.from({ length: 6 }, () => startHolder(mechanism, 'stay')),
      );
      const winners = holders.filter(({ said }) => said === `held by ${mechanism}`);
      expect(winners).toHaveLength(1);
      for (const { said } of holders)
        if (!said.startsWith('held')) expect(said).toMatch(STORE_IN_USE);
      const exits = holders.map(async ({ child }) => {
        child.kill('SIGKILL');
        if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
      });
      await Promise.all(exits);
    }
  });

  it.each([
    ['nothing', ''],
    ['words', 'garbage'],
    ['half an object', '{'],
    ['an array', '[]'],
    ['null', 'null'],
    ['everybody as the owner', '{"pid":-1}'],
    ['NULs', '\0'.repeat(100)],
    ['far too much', 'x'.repeat(100_000)],
  ])('does not mind %s in its files', async (_name, content) => {
    await mkdir(path);
    await writeFile(join(path, 'LOCK'), content);
    await writeFile(join(path, 'LOCK.json'), content);
    await acquire(mechanism);
    expect(await codeOf(() => acquire(mechanism))).toBe(STORE_IN_USE);
  });

  it('names a path that is a file, or lies below one', async () => {
    await writeFile(path, 'a file');
    for (const at of [path, join(path, 'below')]) {
      await expect(acquire(mechanism, at)).rejects.toMatchObject({
        code: STORE_UNAVAILABLE,
        path: at,
        message: expect.stringContaining('is a file'),
      });
    }
  });

  it.skipIf(isRoot)('names a directory that it may not write to', async () => {
    await mkdir(path);
    await chmod(path, 0o500);
    for (const at of [path, join(path, 'below')]) {
      await expect(acquire(mechanism, at)).rejects.toMatchObject({
        code: STORE_UNAVAILABLE,
        path: at,
        message: expect.stringContaining('EACCES'),
      });
    }
  });

  it('names a directory that cannot be made or that has a directory in place of its file', async () => {
    const impossible = acquire(mechanism, '/proc/no-such-directory');
    await expect(impossible).rejects.toMatchObject({ code: STORE_UNAVAILABLE });
    await mkdir(join(path, 'LOCK.json'), { recursive: true });
    expect(await codeOf(() => acquire(mechanism))).toBe(STORE_UNAVAILABLE);
    expect((await readdir(path)).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });
});

describe.runIf(hasFlock)('directory lock of the kernel', () => {
  it('ends with the thread that took it', async () => {
    const worker = new Worker(HOLDER_THREAD, { workerData: { path, mechanism: 'flock' } });
    expect(await once(worker, 'message')).toEqual(['held by flock']);
    expect(await codeOf(() => acquire('flock'))).toBe(STORE_IN_USE);
    await worker.terminate();
    await acquire('flock');
  });

  it('does not pass to other programs that the process starts', async () => {
    const lock = await acquire('flock');
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
    children.push(child);
    await once(child, 'spawn');
    await lock.release();
    await acquire('flock');
  });

  it('holds although somebody removes its entry', async () => {
    await acquire('flock');
    await rm(join(path, 'LOCK.json'));
    await expect(acquire('flock')).rejects.toMatchObject({
      code: STORE_IN_USE,
      message: expect.stringContaining('another process'),
    });
  });

  it('is refused to a process in another pid namespace', async (context) => {
    const unshare = ['unshare', '--pid', '--fork', '--mount-proc'];
    if (spawnSync('unshare', [...unshare.slice(1), 'true']).status !== 0) return context.skip();
    await acquire('flock');
    const { said } = await startHolder('flock', 'exit', unshare);
    expect(said).toContain(STORE_IN_USE);
  });

  it('leaves to LOCK.json what it cannot do itself', async () => {
    const before = process.env.PATH;
    try {
      process.env.PATH = parent;
      const lock = await acquire();
      expect(lock.mechanism).toBe('file');
      process.env.PATH = before;
      expect(await codeOf(() => acquire())).toBe(STORE_IN_USE);
      await lock.release();
      expect((await acquire()).mechanism).toBe('flock');
    } finally {
      process.env.PATH = before;
    }
  });

  it('is left to LOCK.json where the program fails', async () => {
    const before = process.env.PATH;
    const program = join(parent, 'flock');
    try {
      for (const script of ['echo no locks here >&2; exit 1', 'exit 71', 'kill -9 $$']) {
        await writeFile(program, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
        process.env.PATH = `${parent}:${before}`;
        const lock = await acquire();
        expect(lock.mechanism).toBe('file');
        await lock.release();
      }
    } finally {
      process.env.PATH = before;
    }
  });
});

describe('LOCK.json', () => {
  it.each(['flock', 'file'])('of a dead process gives way (%s)', async (mechanism) => {
    await writeOwner({ pid: deadPid(), mechanism });
    await acquire('file');
  });

  it('of a living process does not', async () => {
    await writeOwner({});
    for (const mechanism of MECHANISMS) {
      await expect(acquire(mechanism)).rejects.toMatchObject({
        code: STORE_IN_USE,
        message: expect.stringContaining(`process ${process.pid} `),
      });
    }
  });

  it.runIf(hasFlock)(
    'of a living process gives way if the kernel says that it let go',
    async () => {
      await writeOwner({ mechanism: 'flock' });
      await acquire('flock');
    },
  );

  it.runIf(process.platform === 'linux')('tells apart two uses of one pid', async () => {
    await writeOwner({ startTime: '1' });
    await acquire('file');
  });

  it.runIf(process.platform === 'linux')('of another boot gives way', async () => {
    await writeOwner({ bootId: '00000000-0000-0000-0000-000000000000' });
    await acquire('file');
  });

  it.runIf(process.platform === 'linux')('of another container cannot be judged', async () => {
    await writeOwner({ pidNamespace: 'pid:[1]', pid: deadPid() });
    await expect(acquire('file')).rejects.toMatchObject({
      code: STORE_IN_USE,
      message: expect.stringMatching(/if it is gone, delete .*LOCK\.json/),
    });
    await rm(join(path, 'LOCK.json'));
    await acquire('file');
  });

  it.runIf(process.platform === 'linux')('of a process nobody has reaped gives way', async () => {
    // The shell would reap it, and what takes its place does not.
    const script = 'sleep 60 >/dev/null & echo $!; exec sleep 60';
    const child = spawn('/bin/sh', ['-c', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    children.push(child);
    let pid = 0;
    for await (const line of createInterface({ input: child.stdout })) {
      pid = Number(line);
      break;
    }
    const statOf = (process: number): Promise<string> => readFile(`/proc/${process}/stat`, 'utf8');
    await until('the shell is gone', async () => (await statOf(child.pid!)).includes('(sleep)'));
    process.kill(pid, 'SIGKILL');
    await until('nobody has reaped it', async () => (await statOf(pid)).includes(') Z '));
    const startTime = (await statOf(pid)).split(' ')[21];
    await writeOwner({ pid, startTime });
    await acquire('file');
  });

  it('of a claimant that died is succeeded too, however long the line', async () => {
    await writeOwner({ pid: deadPid(), nonce: 'a'.repeat(32) });
    const dead = JSON.parse(await readFile(join(path, 'LOCK.json'), 'utf8'));
    for (const [nonce, next] of ['ab', 'bc', 'cd']) {
      await writeFile(
        join(path, `LOCK.json.${nonce!.repeat(32)}.next`),
        JSON.stringify({ ...dead, nonce: next!.repeat(32) }),
      );
    }
    await acquire('file');
    expect((await readdir(path)).filter((name) => name.endsWith('.next'))).toEqual([]);
  });

  it('is not taken from a living claimant', async () => {
    await writeOwner({ pid: deadPid(), nonce: 'a'.repeat(32) });
    const dead = JSON.parse(await readFile(join(path, 'LOCK.json'), 'utf8'));
    const claim = join(path, `LOCK.json.${'a'.repeat(32)}.next`);
    const { startTime } = JSON.parse(await ownEntry());
    await writeFile(claim, JSON.stringify({ ...dead, pid: process.pid, startTime }));
    expect(await codeOf(() => acquire('file'))).toBe(STORE_IN_USE);
    await rm(claim);
    await acquire('file');
  });

  it('is put in place by contenders that leave no files of theirs, dead ones included', async () => {
    await writeOwner({ pid: deadPid() });
    const dead = await readFile(join(path, 'LOCK.json'), 'utf8');
    await writeFile(join(path, `LOCK.json.${'e'.repeat(32)}.tmp`), dead);
    await writeFile(join(path, 'LOCK.json.notes.tmp'), dead);
    await acquire('file');
    expect((await readdir(path)).sort()).toEqual(['LOCK.json', 'LOCK.json.notes.tmp']);
  });

  async function ownEntry(): Promise<string> {
    const lock = await acquireDirectoryLock(join(parent, 'other'), { mechanism: 'file' });
    const entry = await readFile(join(parent, 'other', 'LOCK.json'), 'utf8');
    await lock.release();
    return entry;
  }
});

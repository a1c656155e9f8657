import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, lstat, mkdir, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { type ListeningSocket, listenOn } from '../../src/agent/unix-socket.ts';
import { errorCode } from '../../src/errors.ts';
import { afterTest, socketDirectory } from './kit.ts';

const IN_USE = 'ERR_PULLMANAGER_SOCKET_IN_USE';
const UNAVAILABLE = 'ERR_PULLMANAGER_SOCKET_UNAVAILABLE';
const INVALID = 'ERR_PULLMANAGER_INVALID_ARGUMENT';
const PERMISSIONS = 0o777;
const NOBODY = 65_534;
const isRoot = process.getuid?.() === 0;

const umask = process.umask();
afterEach(() => void process.umask(umask));

function newServer(): Server {
  const server = createServer((socket) => {
    // Who only looked whether somebody listens has gone by now.
    socket.on('error', () => {});
    socket.end('hello');
  });
  afterTest(async () => void server.close());
  return server;
}

/** Listens as an agent does. */
function start(path: string): Promise<ListeningSocket> {
  return listenOn(newServer(), path);
}

/** What a server says, or the code of why it cannot be reached. */
function greeting(path: string): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    connect(path)
      .on('data', (data) => {
        text += String(data);
      })
      .on('error', (error) => resolve(errorCode(error) ?? ''))
      .on('close', () => resolve(text));
  });
}

/** A process that listens; `node -e` with this script. */
const LISTENER = `require('node:net').createServer((s) => s.end('old')).listen(process.argv[1], () => console.log('up'))`;

/** Leaves a socket whose process was killed. */
async function leaveDead(path: string): Promise<void> {
  const child = spawn(process.execPath, ['-e', LISTENER, path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  child.kill('SIGKILL');
  await once(child, 'exit');
  expect((await lstat(path)).isSocket()).toBe(true);
}

describe('the socket of an agent', () => {
  it('is its owner’s alone, as is the lock beside it', async () => {
    process.umask(0);
    const directory = await socketDirectory();
    const socket = await start(join(directory, 'a.sock'));
    expect((await lstat(socket.path)).mode & PERMISSIONS).toBe(0o600);
    expect((await lstat(`${socket.path}.lock`)).mode & PERMISSIONS).toBe(0o700);
    expect(await readdir(directory)).toEqual(['a.sock', 'a.sock.lock']);
    expect(await greeting(socket.path)).toBe('hello');
  });

  it('has never been anybody else’s, not for an instant', async () => {
    process.umask(0);
    const directory = await socketDirectory();
    const seen = new Set<number>();
    for (let i = 0; i < 50; i++) {
      const path = join(directory, `${i}.sock`);
      const starting = start(path).then(() => 'listens');
      // Between any two steps of the start.
      for (let state = ''; state !== 'listens'; ) {
        state = await Promise.race([starting, lstat(path).then(String, String)]);
        const { mode } = await lstat(path).catch(() => ({ mode: undefined }));
        if (mode !== undefined) seen.add(mode & PERMISSIONS);
      }
    }
    expect([...seen]).toEqual([0o600]);
  });

  it.runIf(isRoot)('refuses other users', async () => {
    const directory = await socketDirectory();
    await chmod(directory, 0o755);
    const socket = await start(join(directory, 'a.sock'));
    const script = `require('node:net').connect(process.argv[1]).on('error', (e) => console.log(e.code)).on('data', String)`;
    const child = spawn(process.execPath, ['-e', script, socket.path], {
      uid: NOBODY,
      gid: NOBODY,
      cwd: '/',
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [printed] = (await once(child.stdout, 'data')) as [Buffer];
    expect(printed.toString()).toBe('EACCES\n');
  });

  it.each([
    {
      name: 'that others can enter',
      make: (path: string) => mkdir(path, { mode: 0o755 }).then(() => chmod(path, 0o755)),
    },
    {
      name: 'of which a link is there',
      make: async (path: string) => {
        await mkdir(`${path}-elsewhere`, { mode: 0o700 });
        await symlink(`${path}-elsewhere`, path);
      },
    },
  ])(
    'is not made in a directory $name: somebody could put another in its place',
    async ({ make }) => {
      const path = join(await socketDirectory(), 'a.sock');
      await make(`${path}.lock`);
      await expect(start(path)).rejects.toMatchObject({
        code: UNAVAILABLE,
        message: expect.stringContaining('a.sock.lock') as string,
      });
      expect(await greeting(path)).toBe('ENOENT');
    },
  );

  it('takes the place of one whose process was killed', async () => {
    const directory = await socketDirectory();
    const path = join(directory, 'a.sock');
    await leaveDead(path);
    await start(path);
    expect(await greeting(path)).toBe('hello');
    expect((await lstat(path)).mode & PERMISSIONS).toBe(0o600);
  });

  it('leaves one alone on which somebody listens', async () => {
    const directory = await socketDirectory();
    const path = join(directory, 'a.sock');
    await start(path);
    const error = await start(path).catch((failure: unknown) => failure);
    expect(error).toMatchObject({ code: IN_USE, path });
    expect(String(error)).toContain(path);
    expect(await greeting(path)).toBe('hello');
  });

  it('is that of one agent, however many start at once', async () => {
    const directory = await socketDirectory();
    const path = join(directory, 'a.sock');
    for (let round = 0; round < 10; round++) {
      await leaveDead(path);
      const servers = Array.from({ length: 8 }, newServer);
      const starts = await Promise.allSettled(servers.map((server) => listenOn(server, path)));
      const codes = starts.map((outcome) =>
        outcome.status === 'fulfilled' ? 'listens' : errorCode(outcome.reason),
      );
      expect(codes.filter((code) => code === 'listens')).toHaveLength(1);
      expect(codes.filter((code) => code === IN_USE)).toHaveLength(servers.length - 1);
      expect(await greeting(path)).toBe('hello');
      const winner = starts.find((outcome) => outcome.status === 'fulfilled');
      await winner?.value.stop();
    }
  });

  it('leaves one alone on which somebody listens who knows of no lock', async () => {
    const path = join(await socketDirectory(), 'a.sock');
    await once(newServer().listen(path), 'listening');
    await expect(start(path)).rejects.toMatchObject({ code: IN_USE, path });
    expect(await greeting(path)).toBe('hello');
  });

  it.each([
    { name: 'a file', make: (path: string) => writeFile(path, 'precious') },
    { name: 'a directory', make: (path: string) => mkdir(path) },
    { name: 'a symbolic link', make: (path: string) => symlink('/dev/null', path) },
  ])('is not put in the place of $name', async ({ make }) => {
    const path = join(await socketDirectory(), 'a.sock');
    await make(path);
    await expect(start(path)).rejects.toMatchObject({ code: UNAVAILABLE, path });
    expect((await lstat(path)).isSocket()).toBe(false);
    await rm(path, { recursive: true });
    await start(path);
    expect(await greeting(path)).toBe('hello');
  });

  it('gets the directories that are missing', async () => {
    const path = join(await socketDirectory(), 'run', 'pullwarden', 'a.sock');
    await start(path);
    expect((await lstat(dirname(path))).mode & PERMISSIONS).toBe(0o700);
  });

  it('is not made below a file', async () => {
    const file = join(await socketDirectory(), 'file');
    await writeFile(file, '');
    await expect(start(join(file, 'a.sock'))).rejects.toMatchObject({
      code: UNAVAILABLE,
      message: expect.stringMatching(/ENOTDIR|EEXIST/) as string,
    });
  });

  it('may have a path of 100 bytes, and no longer one', async () => {
    const directory = await socketDirectory();
    const name = 'n'.repeat(100 - directory.length - 1);
    await start(join(directory, name));
    expect(await greeting(join(directory, name))).toBe('hello');
    await expect(start(join(directory, `${name}n`))).rejects.toMatchObject({ code: INVALID });
  });

  it.each(['', 'a\0b'])('may not have %j as its path', async (path) => {
    await expect(start(path)).rejects.toMatchObject({ code: INVALID, argument: 'socket' });
  });

  it('is removed at the end, after which another may have the path', async () => {
    const path = join(await socketDirectory(), 'a.sock');
    const first = await start(path);
    await first.stop();
    await expect(lstat(path)).rejects.toMatchObject({ code: 'ENOENT' });
    const second = await start(path);
    // Once is enough: by now it is another's.
    await first.stop();
    expect(await greeting(path)).toBe('hello');
    await second.stop();
  });
});

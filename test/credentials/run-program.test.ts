import { execFileSync } from 'node:child_process';
import { setMaxListeners } from 'node:events';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  PROGRAM_PARALLEL_MAX,
  PROGRAM_WAITING_MAX,
  type Program,
  ProgramRunner,
} from '../../src/credentials/run-program.ts';
import { PULL_MANAGER_ERROR_CODES as CODES } from '../../src/errors.ts';
import { isAlive, linesOf, tellingPid, temporaryDirectory, writeProgram } from './programs.ts';

const SOON_MS = 300;
const NEVER_MS = 60_000;

function runner(timeoutMs = NEVER_MS, outputBytesMax?: number): ProgramRunner {
  const made = new ProgramRunner({
    timeoutMs,
    ...(outputBytesMax === undefined ? {} : { outputBytesMax }),
  });
  onTestFinished(() => made.close());
  return made;
}

function program(path: string, input = ''): Program {
  return { path, args: [], env: { PATH: process.env.PATH }, input };
}

function run(path: string, timeoutMs?: number, input?: string) {
  return runner(timeoutMs).run(program(path, input), new AbortController().signal);
}

describe('running a program', () => {
  it('gives it the input, arguments and environment, and gets what it wrote', async () => {
    const path = writeProgram(temporaryDirectory(), 'echo', 'cat; echo "$1 $2 $X $HOME."');
    const { exitCode, output } = await runner().run(
      { path, args: ['a b', '$c'], env: { PATH: process.env.PATH, X: 'x' }, input: 'in\n' },
      new AbortController().signal,
    );
    expect(exitCode).toBe(0);
    expect(output.toString()).toBe('in\na b $c x .\n');
  });

  it('tells the exit code', async () => {
    const path = writeProgram(temporaryDirectory(), 'three', 'echo so; exit 3');
    const { exitCode, output } = await run(path);
    expect(exitCode).toBe(3);
    expect(output.toString()).toBe('so\n');
  });

  const unstartable = [
    ['is not there', () => undefined, 'ENOENT'],
    ['is a directory', (path: string) => mkdirSync(path), 'EACCES'],
    ['may not be executed', (path: string) => writeFileSync(path, '#!/bin/sh\n'), 'EACCES'],
  ] as const;
  for (const [name, make, code] of unstartable) {
    it(`fails where the program ${name}`, async () => {
      const path = join(temporaryDirectory(), 'program');
      make(path);
      await expect(run(path)).rejects.toMatchObject({
        code: CODES.CREDENTIAL_PROVIDER_FAILED,
        path,
        reason: `cannot be started: ${code}`,
      });
    });
  }

  it('fails where an argument or variable cannot be one', async () => {
    const path = writeProgram(temporaryDirectory(), 'echo', 'cat');
    const asked = runner().run({ ...program(path), args: ['a\0b'] }, new AbortController().signal);
    await expect(asked).rejects.toMatchObject({ code: CODES.CREDENTIAL_PROVIDER_FAILED });
  });

  it('ends a program that hangs, and names the limit', async () => {
    const directory = temporaryDirectory();
    const pid = join(directory, 'pid');
    const path = writeProgram(directory, 'hang', tellingPid(pid, 'sleep 1000; echo late'));
    await expect(run(path, SOON_MS)).rejects.toMatchObject({
      code: CODES.CREDENTIAL_PROVIDER_FAILED,
      path,
      reason: `did not answer within ${SOON_MS} ms`,
      timeoutMs: SOON_MS,
    });
    await expect.poll(() => isAlive(pid)).toBe(false);
  });

  it('ends a program that ignores signals, with its children', async () => {
    const directory = temporaryDirectory();
    const pid = join(directory, 'child');
    const child = writeProgram(
      directory,
      'child',
      tellingPid(pid, "trap '' TERM INT HUP; sleep 1000"),
    );
    const script = `trap '' TERM INT HUP; '${child}' & wait; sleep 1000`;
    await expect(run(writeProgram(directory, 'stubborn', script), SOON_MS)).rejects.toThrow(
      /did not answer/,
    );
    await expect.poll(() => isAlive(pid)).toBe(false);
  });

  it('ends a program that writes without end', async () => {
    const path = writeProgram(temporaryDirectory(), 'flood', 'head -c 100000000 /dev/zero');
    await expect(run(path)).rejects.toMatchObject({
      code: CODES.CREDENTIAL_PROVIDER_FAILED,
      reason: 'wrote more than 1048576 bytes',
    });
  });

  it('takes as much output as the limit says', async () => {
    const directory = temporaryDirectory();
    const signal = new AbortController().signal;
    const exact = writeProgram(directory, 'exact', 'head -c 1000 /dev/zero');
    const { output } = await runner(NEVER_MS, 1000).run(program(exact), signal);
    expect(output).toHaveLength(1000);
    const over = writeProgram(directory, 'over', 'head -c 1001 /dev/zero');
    await expect(runner(NEVER_MS, 1000).run(program(over), signal)).rejects.toThrow(
      /wrote more than 1000 bytes/,
    );
  });

  it('does not mind a program that does not read its input', async () => {
    const path = writeProgram(temporaryDirectory(), 'deaf', 'exec 0<&-; echo answer');
    const { output } = await run(path, NEVER_MS, 'x'.repeat(2 ** 21));
    expect(output.toString()).toBe('answer\n');
  });

  it('does not wait for a child that keeps the output open, and ends it', async () => {
    const directory = temporaryDirectory();
    const pid = join(directory, 'pid');
    const child = writeProgram(directory, 'child', tellingPid(pid, 'sleep 1000'));
    const wait = `while [ ! -e '${pid}' ]; do :; done`;
    const path = writeProgram(directory, 'parent', `'${child}' & ${wait}; echo answer`);
    const { output } = await run(path);
    expect(output.toString()).toBe('answer\n');
    await expect.poll(() => isAlive(pid)).toBe(false);
  });

  it('ends a child that has closed the output', async () => {
    const directory = temporaryDirectory();
    const pid = join(directory, 'pid');
    const child = writeProgram(directory, 'child', tellingPid(pid, 'exec sleep 1000'));
    const wait = `while [ ! -e '${pid}' ]; do :; done`;
    const script = `'${child}' >/dev/null 2>&1 & ${wait}; echo answer`;
    const { output } = await run(writeProgram(directory, 'parent', script));
    expect(output.toString()).toBe('answer\n');
    await expect.poll(() => isAlive(pid)).toBe(false);
  });

  it('does not wait for a child that has left its process group', async () => {
    const directory = temporaryDirectory();
    const [done, gone] = [join(directory, 'done'), join(directory, 'gone')];
    const child = `while [ ! -e "${done}" ]; do sleep 0.1; done; touch "${gone}"`;
    const script = `setsid sh -c '${child}' & echo answer`;
    const { output } = await run(writeProgram(directory, 'parent', script));
    writeFileSync(done, '');
    expect(output.toString()).toBe('answer\n');
    // Before the directory goes: it would wait in it for ever.
    await expect.poll(() => existsSync(gone)).toBe(true);
  });

  it('fails where a program is ended by a signal', async () => {
    const path = writeProgram(temporaryDirectory(), 'dying', 'echo x; kill -9 $$');
    await expect(run(path)).rejects.toMatchObject({
      code: CODES.CREDENTIAL_PROVIDER_FAILED,
      reason: 'ended by SIGKILL',
    });
  });

  it('ends it when the caller aborts', async () => {
    const directory = temporaryDirectory();
    const pid = join(directory, 'pid');
    const path = writeProgram(directory, 'hang', tellingPid(pid, 'sleep 1000'));
    const abort = new AbortController();
    const asked = runner().run(program(path), abort.signal);
    await expect.poll(() => existsSync(pid)).toBe(true);
    abort.abort(new Error('enough'));
    await expect(asked).rejects.toMatchObject({ name: 'AbortError', code: CODES.ABORTED });
    await expect.poll(() => isAlive(pid)).toBe(false);
  });

  it('does not start where the caller has aborted', async () => {
    const directory = temporaryDirectory();
    const path = writeProgram(directory, 'touch', `touch '${directory}/ran'`);
    await expect(runner().run(program(path), AbortSignal.abort())).rejects.toMatchObject({
      code: CODES.ABORTED,
    });
    expect(existsSync(join(directory, 'ran'))).toBe(false);
  });

  it('ends all programs when it is closed, and starts none afterwards', async () => {
    const directory = temporaryDirectory();
    const pid = join(directory, 'pid');
    const path = writeProgram(directory, 'hang', tellingPid(pid, 'sleep 1000'));
    const closing = runner();
    const signal = new AbortController().signal;
    const asked = closing.run(program(path), signal);
    await expect.poll(() => existsSync(pid)).toBe(true);
    closing.close();
    await expect(asked).rejects.toMatchObject({ code: CODES.CLOSED });
    await expect.poll(() => isAlive(pid)).toBe(false);
    await expect(closing.run(program(path), signal)).rejects.toMatchObject({ code: CODES.CLOSED });
  });

  it('ends it when this process exits', async () => {
    const directory = temporaryDirectory();
    const pid = join(directory, 'pid');
    const path = writeProgram(directory, 'hang', tellingPid(pid, 'sleep 1000'));
    const module = new URL('../../src/credentials/run-program.ts', import.meta.url).href;
    const script = `
      import { existsSync } from 'node:fs';
      const { ProgramRunner } = await import(${JSON.stringify(module)});
      const program = { path: ${JSON.stringify(path)}, args: [], env: process.env, input: '' };
      void new ProgramRunner({ timeoutMs: ${NEVER_MS} }).run(program, new AbortController().signal);
      setInterval(() => existsSync(${JSON.stringify(pid)}) && process.exit(), 5);`;
    const loader = ['--import', import.meta.resolve('tsx'), '--input-type=module'];
    execFileSync(process.execPath, [...loader, '--eval', script]);
    expect(existsSync(pid)).toBe(true);
    await expect.poll(() => isAlive(pid)).toBe(false);
  });

  it('runs a program only so many times at once, and lets no more than a limit wait', async () => {
    const directory = temporaryDirectory();
    const log = join(directory, 'log');
    const path = writeProgram(directory, 'hang', `echo started >> '${log}'; sleep 1000`);
    const busy = runner();
    const abort = new AbortController();
    setMaxListeners(0, abort.signal);
    const calls = Array.from({ length: PROGRAM_PARALLEL_MAX + PROGRAM_WAITING_MAX }, () =>
      busy.run(program(path), abort.signal),
    );
    const settled = Promise.allSettled(calls);
    await expect(busy.run(program(path), abort.signal)).rejects.toMatchObject({
      code: CODES.QUEUE_FULL,
    });
    await expect.poll(() => linesOf(log).length).toBe(PROGRAM_PARALLEL_MAX);
    abort.abort();
    const codes = (await settled).map((one) => one.status === 'rejected' && one.reason.code);
    expect(new Set(codes)).toEqual(new Set([CODES.ABORTED]));
    expect(linesOf(log)).toHaveLength(PROGRAM_PARALLEL_MAX);
  });

  it('gives turns in order, also after some of those that wait have left', async () => {
    const directory = temporaryDirectory();
    const path = writeProgram(directory, 'echo', 'cat');
    const busy = runner();
    const leaving = new AbortController();
    const staying = new AbortController();
    setMaxListeners(0, leaving.signal, staying.signal);
    const calls = Array.from({ length: 5 * PROGRAM_PARALLEL_MAX }, (_, i) =>
      busy.run(program(path, String(i)), i % 3 === 1 ? leaving.signal : staying.signal),
    );
    const settled = Promise.allSettled(calls);
    leaving.abort();
    for (const [i, one] of (await settled).entries()) {
      if (i % 3 === 1) expect(one).toMatchObject({ reason: { code: CODES.ABORTED } });
      else expect(one.status === 'fulfilled' && one.value.output.toString()).toBe(String(i));
    }
  });

  it('counts the time of waiting for a turn', async () => {
    const path = writeProgram(temporaryDirectory(), 'hang', 'sleep 1000');
    const busy = runner(SOON_MS);
    const signal = new AbortController().signal;
    setMaxListeners(0, signal);
    const settled = await Promise.allSettled(
      Array.from({ length: 3 * PROGRAM_PARALLEL_MAX }, () => busy.run(program(path), signal)),
    );
    for (const one of settled) {
      expect(one).toMatchObject({ reason: { reason: `did not answer within ${SOON_MS} ms` } });
    }
  });
});

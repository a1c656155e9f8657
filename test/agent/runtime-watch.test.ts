/** What the agent says of a runtime that comes and goes. */
import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { RuntimeWatch } from '../../src/agent/runtime-watch.ts';
import type { AgentServices } from '../../src/agent/services.ts';
import { criRuntime } from '../../src/runtime/cri/cri-runtime.ts';
import { failed, gate, ScriptedRuntime, until } from '../image-manager/kit.ts';
import { rawServer } from '../runtime/cri/scripted-runtime.ts';
import { afterTest, type LogLine, MemoryLog, socketDirectory } from './kit.ts';

const SOCKET = '/run/runtime.sock';
const UNREACHABLE =
  'the container runtime cannot be reached: what needs it is refused until it answers';
const AGAIN = 'the container runtime can be reached again';

/** A watch of a runtime whose version is what a test says. */
function watched(version: () => Promise<unknown>, options: { everyMs?: number } = {}) {
  const log = new MemoryLog();
  const changes: string[] = [];
  const runtime: AgentServices['runtime'] = Object.assign(new ScriptedRuntime(), {
    socketPath: SOCKET,
    version,
  });
  const onChange = ({ state }: RuntimeWatch): number => changes.push(state);
  const watch = new RuntimeWatch({ runtime, logger: log, onChange, ...options });
  afterTest(async () => watch.stop());
  return { watch, log, changes };
}

const said = ({ lines }: MemoryLog): [level: LogLine['level'], message: string][] =>
  lines.map(({ level, message }) => [level, message]);

it('warns once where the runtime goes, and says once that it is back', async () => {
  let asked = 0;
  let isThere = true;
  const { watch, log, changes } = watched(
    async () => {
      asked++;
      if (!isThere) throw failed('unavailable', 'connect ECONNREFUSED /run/runtime.sock');
    },
    { everyMs: 1 },
  );
  expect(watch.state).toBe('unknown');
  await watch.start();
  expect(watch.state).toBe('reachable');
  expect(log.lines).toEqual([]);
  for (const present of [false, true, false]) {
    isThere = present;
    const before = asked;
    await until(() => asked > before + 5);
  }
  expect(said(log)).toEqual([
    ['warn', UNREACHABLE],
    ['info', AGAIN],
    ['warn', UNREACHABLE],
  ]);
  expect(log.lines[0]!.fields).toEqual({
    socket: SOCKET,
    reason: 'nobody listens on the socket; does the runtime run? (ECONNREFUSED)',
  });
  expect(changes).toEqual(['reachable', 'unreachable', 'reachable', 'unreachable']);
});

it('asks and says nothing more once it is stopped, even of an answer that comes then', async () => {
  const held = gate();
  let asked = 0;
  const { watch, log, changes } = watched(
    async () => {
      asked++;
      await held.promise;
      throw failed('unavailable', 'gone');
    },
    { everyMs: 1 },
  );
  const started = watch.start();
  watch.stop();
  held.open();
  await started;
  await delay(20);
  expect({ asked, lines: log.lines, changes }).toEqual({ asked: 1, lines: [], changes: [] });
});

it('asks once for all who ask at the same time', async () => {
  const held = gate();
  let asked = 0;
  const { watch } = watched(async () => {
    asked++;
    await held.promise;
  });
  const checks = [watch.check(), watch.check(), watch.check()];
  held.open();
  await Promise.all(checks);
  expect(asked).toBe(1);
});

it('repeats nothing that others have written', async () => {
  const { watch, log } = watched(() => Promise.reject(new Error('password hunter2')));
  await watch.check();
  expect(watch.state).toBe('unreachable');
  expect(watch.description + JSON.stringify(log.lines)).not.toContain('hunter2');
});

it('knows a socket that does not speak CRI', async () => {
  const socket = `${await socketDirectory()}/r.sock`;
  const server = await rawServer(socket, (connection) => {
    connection.write('HTTP/1.1 400 Bad Request\r\n\r\n');
  });
  afterTest(() => server.stop());
  const runtime = criRuntime({ socket });
  afterTest(() => runtime.close());
  const watch = new RuntimeWatch({ runtime, logger: new MemoryLog() });
  await watch.check();
  expect(watch.description).toContain(
    `the container runtime at "${socket}" cannot be reached: what listens there does not speak CRI v1`,
  );
});

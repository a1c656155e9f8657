import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { PUBLIC, PUBLIC_ID, until } from '../image-manager/kit.ts';
import { ensureBody, startAgent, type TestAgent } from './kit.ts';

const LONG_MS = 60_000;

/** A request whose pull is open until `finish`. */
async function withOpenPull({ client, runtime }: TestAgent): Promise<{
  reply: ReturnType<typeof client.post>;
  finish: () => void;
}> {
  let finish: () => void = () => {};
  runtime.onPull = () =>
    new Promise((resolve) => {
      finish = () => {
        runtime.have(PUBLIC, PUBLIC_ID);
        resolve(PUBLIC_ID);
      };
    });
  const reply = client.post('/v1/ensure', ensureBody(PUBLIC));
  await until(() => runtime.pulls.length === 1);
  return { reply, finish: () => finish() };
}

describe('an agent that is told to end', () => {
  it('finishes what it is doing and takes nothing new', async () => {
    const test = await startAgent();
    const { agent, client, socketPath } = test;
    const { reply, finish } = await withOpenPull(test);
    const drained = agent.drain(LONG_MS);
    await until(() => !existsSync(socketPath));
    await expect(client.get('/healthz')).rejects.toMatchObject({ code: 'ENOENT' });
    finish();
    expect(await reply).toMatchObject({
      status: 200,
      headers: { connection: 'close' },
      json: { imageRef: PUBLIC_ID, pulled: true },
    });
    await drained;
  });

  it('aborts what takes too long, and says so', async () => {
    const test = await startAgent();
    const { reply } = await withOpenPull(test);
    await test.agent.drain(1);
    expect(await reply).toMatchObject({
      status: 503,
      json: { error: { code: 'ERR_PULLMANAGER_ABORTED' } },
    });
  });

  it('does not wait for a request that is still being sent', async () => {
    const { agent, client } = await startAgent();
    const halves = ['GET /heal', 'POST /v1/ensure HTTP/1.1\r\nContent-Length: 10\r\n\r\n{'].map(
      (sent) => {
        const connection = client.connect();
        connection.write(sent);
        return connection;
      },
    );
    const idle = client.connect();
    idle.write('GET /healthz HTTP/1.1\r\n\r\n');
    await until(() => idle.received.includes('"ok"'));
    await agent.drain(1);
    await Promise.all([...halves, idle].map((connection) => connection.untilClosed()));
    expect(halves[0]!.received).toBe('');
    expect(halves[1]!.received).toContain('ERR_AGENT_SHUTTING_DOWN');
  });

  it('refuses the next request on a connection that is kept', async () => {
    const test = await startAgent();
    const { reply, finish } = await withOpenPull(test);
    const connection = test.client.connect();
    connection.write('GET /healthz HT');
    const drained = test.agent.drain(LONG_MS);
    connection.write('TP/1.1\r\n\r\n');
    expect(await connection.untilClosed()).toMatch(
      /^HTTP\/1.1 503 [\s\S]*ERR_AGENT_SHUTTING_DOWN|^$/,
    );
    finish();
    await reply;
    await drained;
  });
});

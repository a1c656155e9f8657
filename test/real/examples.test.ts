/** The examples, run as a user runs them, on the build. */
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { passwordOf } from './agent.ts';
import { describeReal } from './kit/describe-real.ts';
import { buildImage } from './kit/image-builder.ts';

const EXAMPLES = fileURLToPath(new URL('../../examples', import.meta.url));
const LINES_MAX = 60;

describeReal('the examples', (components) => {
  const image = buildImage({ content: 'example' });

  /** Runs an example, and answers what it prints and its exit code. */
  function run(
    name: string,
    args: readonly string[],
    input = '',
  ): Promise<{ readonly printed: string; readonly code: number }> {
    return new Promise((resolve, reject) => {
      const child = execFile(
        process.execPath,
        [join(EXAMPLES, name), ...args],
        (error, printed, stderr) => {
          const code = error === null ? 0 : error.code;
          if (stderr === '' && typeof code === 'number') resolve({ printed, code });
          else reject(new Error(stderr));
        },
      );
      child.stdin!.end(input);
    });
  }

  /** A docker configuration of a user of the registry. */
  function configOf(user: string): string {
    const auth = Buffer.from(`${user}:${passwordOf(user)}`).toString('base64');
    return JSON.stringify({ auths: { [components.registry.host]: { auth } } });
  }

  function allow(user: string, ...repositories: string[]): void {
    components.tokenServer.setUser(user, { password: passwordOf(user), repositories });
  }

  it('embed an agent in less than 60 lines', async () => {
    const lines = readFileSync(join(EXAMPLES, 'agent', 'agent.mjs'), 'utf8')
      .trim()
      .split('\n');
    expect(lines.length).toBeLessThan(LINES_MAX);
    const name = await components.registry.push(image, 'example/agent', 'v1');
    allow('alice', 'example/agent');
    allow('mallory');
    const pod = (podUid: string, user: string | undefined, pullPolicy: string): string => {
      const data = { '.dockerconfigjson': Buffer.from(configOf(user ?? '')).toString('base64') };
      const type = 'kubernetes.io/dockerconfigjson';
      const secrets =
        user === undefined ? [] : [{ uid: user, namespace: user, name: 'pull', type, data }];
      return `${JSON.stringify({ podUid, image: name, pullPolicy, secrets })}\n`;
    };
    const socket = components.containerd.socket;
    const records = components.directoryOf('agent-records');
    const answers = async (input: string): Promise<Record<string, unknown>[]> => {
      const { printed } = await run(join('agent', 'agent.mjs'), [socket, records], input);
      return printed
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, unknown>);
    };
    expect(await answers(pod('1', 'alice', 'IfNotPresent'))).toEqual([
      { podUid: '1', imageRef: image.id, pulled: true },
    ]);
    // In the next life, without the registry.
    await components.registry.stop();
    const next = await answers(
      'not JSON\n' +
        pod('2', 'alice', 'IfNotPresent') +
        pod('3', 'mallory', 'Never') +
        pod('4', undefined, 'Never'),
    );
    await components.registry.start();
    expect(next).toContainEqual({ podUid: '2', imageRef: image.id, pulled: false });
    expect(next).toContainEqual(expect.objectContaining({ error: 'SyntaxError' }) as object);
    for (const podUid of ['3', '4']) {
      expect(next).toContainEqual(
        expect.objectContaining({ podUid, error: 'ErrImageNeverPull' }) as object,
      );
    }
  });

  it('run the jobs of a team on a shared runner, and not those of another', async () => {
    const name = await components.registry.push(image, 'example/build', 'v1');
    const directory = components.directoryOf('configs');
    const job = (team: string): string => {
      const file = join(directory, `${team}.json`);
      writeFileSync(file, configOf(team));
      return `${team}=${file}`;
    };
    const socket = components.containerd.socket;
    const runner = join('ci-runner', 'ci-runner.mjs');
    const records = components.directoryOf('runner-records');
    allow('team-a', 'example/build');
    allow('team-b', 'example/other');
    const jobs = [job('team-a'), job('team-b'), job('team-a')];
    const id = `${image.id.slice(0, 19)}…`;
    expect(await run(runner, [socket, records, name, ...jobs])).toEqual({
      code: 1,
      printed: [
        `team-a's job runs ${id} (the registry was asked)`,
        "team-b's job is refused: ErrImagePull",
        `team-a's job runs ${id} (without the registry)`,
        '',
      ].join('\n'),
    });
    // With rights of its own, team B is let in by the registry, and then needs it no more.
    allow('team-b', 'example/build');
    expect(await run(runner, [socket, records, name, job('team-b'), job('team-b')])).toEqual({
      code: 0,
      printed: [
        `team-b's job runs ${id} (the registry was asked)`,
        `team-b's job runs ${id} (without the registry)`,
        '',
      ].join('\n'),
    });
  });
});

/** The examples of docs/agent.md, and the unit, run as they stand there. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { SERVER_LIMITS } from '../../src/agent/limits.ts';
import { runCli } from '../support/cli.ts';
import { consoleExamplesOf } from '../support/documents.ts';
import { AgentProcess, newHome } from './process-kit.ts';

const DOCUMENT = readFileSync(new URL('../../docs/agent.md', import.meta.url), 'utf8');
const UNIT = new URL('../../examples/systemd/pullwarden-agent.service', import.meta.url);
const RUNTIME = 'unix:///run/containerd/containerd.sock';
const APP = 'registry.example.com/team-a/app:1';
const APP_ID = 'sha256:b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c';

it('answers what the document says it answers', async () => {
  const home = await newHome();
  home.runtime.registry.set(APP, { id: APP_ID, users: ['alice'] });
  await home.startRuntime();
  const [, line] = /^```sh\npullwarden agent (.*)\n```$/m.exec(DOCUMENT)!;
  const flags = line!
    .replace(RUNTIME, `unix://${home.runtimeSocket}`)
    .replace('agent.sock', home.socketPath)
    .replace('journal:records', home.store);
  const agent = new AgentProcess(flags.split(' '), home.socketPath);
  await agent.logged('ready');
  const all = consoleExamplesOf('agent.md');
  expect(all.length).toBeGreaterThan(8);
  for (const { command, output } of all) {
    const { stdout } = await promisify(execFile)('sh', ['-c', command], { cwd: home.directory });
    expect(stdout, command).toBe(output);
  }
});

it('has the limits that the document says it has', () => {
  const { bodyBytes, headerBytes, connections, calls, callsOfConnection, ...times } = SERVER_LIMITS;
  expect([bodyBytes, headerBytes]).toEqual([3 << 20, 16 << 10]);
  expect([connections, calls, callsOfConnection]).toEqual([256, 1_024, 64]);
  expect(times).toEqual({
    headersMs: 10_000,
    requestMs: 30_000,
    answerMs: 30_000,
    keepAliveMs: 60_000,
  });
});

it('takes the flags of the unit', async () => {
  const [, start] = /^ExecStart=(.*(?:\\\n.*)*)$/m.exec(readFileSync(UNIT, 'utf8'))!;
  const [program, command, ...flags] = start!.replaceAll('\\\n', ' ').trim().split(/\s+/);
  expect([program, command]).toEqual(['/usr/bin/pullwarden', 'agent']);
  const { code, stderr } = await runCli(['agent', ...flags, '--help']);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
});

/** Whatever comes over the agent's socket, to a real agent; after each, it answers as ever. */
import { connect } from 'node:net';
import { join } from 'node:path';
import { Agent } from '../../../../src/agent/agent.ts';
import { CredentialLookup } from '../../../../src/credentials/credential-lookup.ts';
import type { Logger } from '../../../../src/logger.ts';
import type { Random } from '../../../../src/util/random.ts';
import { type Bench, openBench, PUBLIC } from '../../../image-manager/kit.ts';
import { happens, oddText, pick, several } from '../choice.ts';
import { type FuzzTarget, mustHold, type Verdict } from '../target.ts';
import { agentBodies } from './agent-bodies.ts';
import { nested, numbered, repeated } from './shapes.ts';

const LIMITS = { headersMs: 2_000, requestMs: 4_000, answerMs: 4_000 };
const GOOD = 'GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n';
const SECRET_START = '{"uid":"u","namespace":"n","name":"s","data":"';

let agent: Agent | undefined;
let bench: Bench | undefined;
let lookup: CredentialLookup | undefined;
let socketPath = '';
/** What the agent calls a mistake of its own. */
const mistakes: string[] = [];
const logger: Logger = {
  debug() {},
  info() {},
  warn() {},
  error: (message, fields) => {
    mistakes.push(`${message} ${JSON.stringify(fields)}`);
  },
};

export const agentSocket: FuzzTarget = {
  name: 'agent-socket',
  unit: 'connections',
  modules: ['src/agent/'],
  words: [
    '\r\n',
    '\r\n\r\n',
    'GET /v1/check HTTP/1.1\r\n',
    'Transfer-Encoding: chunked\r\n',
    'Content-Length: 5\r\n',
    'Expect: 100-continue\r\n',
    '0\r\n\r\n',
    'ffffffff\r\n',
    '\0',
    'a'.repeat(20_000),
    GOOD,
  ],
  async open(directory) {
    lookup = await CredentialLookup.open({ logger });
    bench = await openBench({ logger }, { logger });
    const { images: imageManager, pullManager, runtime } = bench;
    agent = new Agent({
      services: { imageManager, pullManager, lookup, runtime },
      logger,
      limits: LIMITS,
    });
    socketPath = join(directory, 'a.sock');
    await agent.listen(socketPath);
  },
  async close() {
    await agent?.drain(1_000);
    await bench?.[Symbol.asyncDispose]();
    await lookup?.close();
  },
  make: (random) => Buffer.concat(several(random, 4, () => requestOf(random))),
  feed,
  worstCases: [
    body('a body of one text', repeated('', 'a', `{"image":"`, '"}')),
    body('a body of brackets', nested('', '[', ']')),
    body(
      'a body of unknown names',
      numbered('', (i) => `"${i}":0`, '{', '}'),
    ),
    body(
      'a body of secrets',
      repeated(
        '',
        `${SECRET_START}e30="},`,
        `{"image":"${PUBLIC}","secrets":[`,
        `${SECRET_START}e30="}]}`,
      ),
    ),
    body(
      'a secret of entries',
      numbered(
        '',
        (i) => `"${i}.io":{"username":"u"}`,
        `{"image":"${PUBLIC}","secrets":[{"uid":"u","namespace":"n","name":"s","data":{"auths":{`,
        '}}}]}',
      ),
    ),
    repeated('a header without end', 'a', 'GET / HTTP/1.1\r\nX: '),
    repeated('empty lines', '\r\n'),
    repeated(
      'chunks of one byte',
      '1\r\n{\r\n',
      'POST /v1/check HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n',
    ),
    repeated('requests in a row', 'GET /healthz HTTP/1.1\r\n\r\n'),
  ],
};

function body(name: string, shape: ReturnType<typeof repeated>): ReturnType<typeof repeated> {
  return {
    name,
    make(bytes) {
      const content = Buffer.from(shape.make(bytes));
      return Buffer.concat([Buffer.from(headOf('POST', '/v1/check', content.length)), content]);
    },
  };
}

async function feed(input: Buffer): Promise<Verdict> {
  const answer = await exchange(input);
  mustHold(answer === '' || answer.startsWith('HTTP/1.1 '), 'what is answered is no HTTP');
  mustHold(!/\n\s+at |node:internal|\.ts:\d|\.js:\d/.test(answer), 'the answer has a stack in it');
  const good = await exchange(Buffer.from(GOOD));
  mustHold(
    good.startsWith('HTTP/1.1 200 ') && good.trimEnd().endsWith('{"status":"ok"}'),
    `the agent does not answer any more: ${good}`,
  );
  const [mistake] = mistakes.splice(0);
  mustHold(mistake === undefined, `the agent made a mistake: ${mistake}`);
  return answer.startsWith('HTTP/1.1 2') ? 'accepted' : 'refused';
}

/** Everything that is answered until the agent closes the connection. */
function exchange(input: Buffer): Promise<string> {
  return new Promise((resolve) => {
    let answer = '';
    const socket = connect(socketPath);
    socket.setEncoding('latin1').on('data', (piece) => {
      answer += piece;
    });
    // An agent that hangs up in the middle has had enough.
    socket.on('error', () => {});
    socket.on('close', () => resolve(answer));
    socket.end(input);
  });
}

function headOf(method: string, path: string, length: number): string {
  return `${method} ${path} HTTP/1.1\r\nContent-Length: ${length}\r\n\r\n`;
}

function requestOf(random: Random): Buffer {
  const method = pick(random, ['POST', 'POST', 'GET', 'HEAD', 'PUT', 'OPTIONS', 'CONNECT', '']);
  const path = pick(random, [
    '/v1/check',
    '/v1/ensure',
    '/v1/collect',
    '/v1/records',
    '/metrics',
    '/healthz',
    '/readyz',
    '/',
    '*',
    '/v1/check?x',
    `/${oddText(random)}`,
  ]);
  const content = happens(random, 0.8)
    ? Buffer.from(agentBodies.make(random))
    : Buffer.from(oddText(random, 40));
  if (happens(random, 0.5))
    return Buffer.concat([Buffer.from(headOf(method, path, content.length)), content]);
  const headers = several(random, 5, () =>
    pick(random, [
      `Content-Length: ${pick(random, ['0', '-1', '5', '99999999999999999999', 'x', String(content.length)])}`,
      'Transfer-Encoding: chunked',
      'Transfer-Encoding: gzip, chunked',
      'Content-Encoding: gzip',
      'Expect: 100-continue',
      'Expect: nothing',
      'Upgrade: h2c\r\nConnection: Upgrade',
      'Connection: close',
      `${oddText(random)}: ${oddText(random)}`,
      `X: ${'a'.repeat(random.below(20_000))}`,
    ]),
  );
  const version = pick(random, ['HTTP/1.1', 'HTTP/1.0', 'HTTP/2.0', 'HTTP/9', '']);
  const chunk = `${content.length.toString(16)}\r\n${content.toString('latin1')}\r\n0\r\n\r\n`;
  return Buffer.from(
    `${method} ${path} ${version}\r\n${headers.join('\r\n')}\r\n\r\n${happens(random, 0.5) ? chunk : content.toString('latin1')}`,
    'latin1',
  );
}

/**
 * What a runtime and the registries behind it say. The first line is what a password ends with; in the
 * rest `$P` stands for the password, `$B` for it in base64, `$U` as in addresses.
 */

import { answeredFailureKind, localFailureKind } from '../../../../src/runtime/cri/failure-kind.ts';
import { serverUrl } from '../../../../src/runtime/cri/messages.ts';
import { withoutSecrets } from '../../../../src/runtime/without-secrets.ts';
import { happens, oddText, pick, several } from '../choice.ts';
import { type FuzzTarget, mustHold, type Verdict } from '../target.ts';
import { repeated, upTo } from './shapes.ts';

/** Longer texts are withheld as a whole. */
const TEXT_BYTES_MAX = 16_000;
const CODES = 17;
/** Of what is shown at most; an escape takes up to ten characters for one. */
const SHOWN_LENGTH_MAX = 12_000;
const PIECES = [
  'failed to pull and unpack image "',
  'unexpected status: 401 Unauthorized',
  'Authorization: Basic ',
  'authorization:["Bearer ',
  '"password":"',
  'https://user:$P@r.io/v2/',
  '?token=$U&scope=x',
  '$P',
  '$B',
  '$U',
  'rpc error: code = Unknown desc = ',
  'RegistryUnavailable',
  ' ',
  '"',
  "'",
  '\n',
  '\u202e',
  'basic',
  'Bearer',
  '://',
];

export const runtimeTexts: FuzzTarget = {
  name: 'runtime-texts',
  unit: 'texts',
  modules: [
    'src/runtime/without-secrets',
    'src/runtime/cri/failure-kind',
    'src/runtime/cri/messages',
  ],
  words: PIECES,
  make(random) {
    const text = several(random, 12, () =>
      happens(random, 0.7) ? pick(random, PIECES) : oddText(random),
    );
    return Buffer.from(`${oddText(random).replaceAll('\n', '')}\n${text.join('')}`);
  },
  feed,
  worstCases: [
    ...[
      'authorization',
      'authorization: ',
      'basic ',
      'Basic aaaaaaaa ',
      '"auth":"',
      '://a',
      '?a=',
      'cookie" ',
      '\\"',
      ' ',
      'a',
      '$P',
      '$B',
      "'",
    ].map((unit) =>
      upTo(TEXT_BYTES_MAX, repeated(`${JSON.stringify(unit)} again and again`, unit, 'pw\n')),
    ),
    upTo(TEXT_BYTES_MAX, repeated('a value without end', 'a', 'pw\n"auth":"')),
    upTo(TEXT_BYTES_MAX, repeated('backslashes', '\\\\', 'pw\n"auth":"')),
    repeated('a long password', 'a', '', '\na'),
    ...[
      '"',
      'http://a:',
      'http://:',
      'desc = ',
      'rpc error: ',
      'stopped after 1',
      ': 5',
      'dial ',
    ].map((unit) => repeated(`kinds of ${JSON.stringify(unit)}`, unit, '\nrpc error: ')),
  ],
};

function feed(input: Buffer): Verdict {
  const whole = input.toString();
  const end = whole.indexOf('\n');
  // A beginning that no word and no escape has.
  const password = `Pw0rd#~${end === -1 ? '' : whole.slice(0, end)}`;
  const encoded = Buffer.from(password).toString('base64');
  const inUrl = encodeURIComponent(Buffer.from(password).toString());
  const text = whole
    .slice(end + 1)
    .replaceAll('$P', () => password)
    .replaceAll('$B', () => encoded)
    .replaceAll('$U', () => inUrl);
  const shown = withoutSecrets(text, { username: 'user', password });
  mustHold(!shown.includes(password), 'the password is shown');
  mustHold(!shown.includes(encoded), 'the password is shown in base64');
  mustHold(!shown.includes(inUrl), 'the password is shown as in addresses');
  mustHold(shown.length <= SHOWN_LENGTH_MAX, `${shown.length} characters are shown`);
  mustHold(!/[\p{Cc}\p{Zl}\p{Zp}\u202e]/u.test(shown), 'what is shown is unprintable');
  withoutSecrets(text, { auth: text });
  for (let code = 0; code <= CODES; code++) {
    mustHold(typeof answeredFailureKind(code, text) === 'string', 'a failure is of no kind');
    mustHold(
      typeof localFailureKind(code, text, code % 2 === 0) === 'string',
      'a failure is of no kind',
    );
  }
  mustHold(/^[a-z][a-z0-9+.-]*:\/\//i.test(serverUrl(text)), 'a server has no scheme');
  return shown.includes('[redacted]') ? 'refused' : 'accepted';
}

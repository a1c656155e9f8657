/** Bodies of requests to the agent, as JSON. */
import { parseCheck, parseCollect, parseEnsure } from '../../../../src/agent/requests.ts';
import { PullManagerError } from '../../../../src/errors.ts';
import { happens, pick } from '../choice.ts';
import { attempt, type FuzzTarget, mustHold, type Verdict } from '../target.ts';
import { anyJson, listOf, mapOf, objectOf, oneOf, type Rule, textRule } from './json-grammar.ts';
import { nested, numbered, repeated } from './shapes.ts';

const NAME: Rule = (random) => pick(random, ['"a"', '"team-a"', '"u-1"', textRule(random)]);
const DATA: Rule = (random) =>
  pick(random, [
    '"eyJhdXRocyI6e319"',
    '{"auths":{"r.io":{"auth":"dTpw"}}}',
    '{".dockerconfigjson":"e30="}',
    anyJson(random),
  ]);
const SECRET = objectOf(
  {
    uid: NAME,
    namespace: NAME,
    name: NAME,
    type: oneOf('kubernetes.io/dockerconfigjson', 'kubernetes.io/dockercfg'),
    data: DATA,
  },
  0.03,
);
const ACCOUNT = objectOf(
  {
    uid: NAME,
    namespace: NAME,
    name: NAME,
    token: textRule,
    annotations: mapOf(textRule),
    tokens: mapOf(textRule),
  },
  0.05,
);
const BAGGAGE = { secrets: listOf(SECRET), serviceAccount: ACCOUNT };
const ENSURE = objectOf(
  {
    image: oneOf('r.io/a', 'alpine'),
    pullPolicy: oneOf('Always', 'IfNotPresent', 'Never'),
    podUid: NAME,
    ...BAGGAGE,
  },
  0.02,
);
const CHECK = objectOf({ image: oneOf('r.io/a', 'alpine'), imageRef: NAME, ...BAGGAGE }, 0.05);
const START = '{"image":"a","pullPolicy":"Never","podUid":"p",';

export const agentBodies: FuzzTarget = {
  name: 'agent-bodies',
  unit: 'bodies',
  modules: ['src/agent/requests', 'src/agent/fields'],
  words: [
    '"secrets":[',
    '"data":{',
    '"__proto__":{"pullPolicy":"Never"}',
    '"tokens":{"__proto__":"x"}',
    'null',
    '{}',
    '[]',
    '""',
    '\\u0000',
  ],
  make: (random) => Buffer.from((happens(random, 0.6) ? ENSURE : CHECK)(random)),
  feed,
  worstCases: [
    repeated('a long name', 'a', '{"image":"', '"}'),
    repeated('an unknown field', 'a', '{"', '":1}'),
    repeated(
      'secrets',
      '{"uid":"u","namespace":"n","name":"s","data":""},',
      `${START}"secrets":[`,
      '{}]}',
    ),
    repeated(
      'a list of data',
      '[],',
      `${START}"secrets":[{"uid":"u","namespace":"n","name":"s","data":{"a":[`,
      '[]]}}]}',
    ),
    nested(
      'brackets of data',
      '[',
      ']',
      `${START}"secrets":[{"uid":"u","namespace":"n","name":"s","data":{"a":`,
      '}}]}',
    ),
    nested(
      'braces of data',
      '{"a":',
      '}',
      `${START}"secrets":[{"uid":"u","namespace":"n","name":"s","data":`,
      '}]}',
    ),
    numbered(
      'tokens',
      (i) => `"${i}":"t"`,
      `${START}"serviceAccount":{"uid":"u","namespace":"n","name":"s","tokens":{`,
      '}}}',
    ),
    numbered(
      'annotations',
      (i) => `"${i}":1`,
      `${START}"serviceAccount":{"uid":"u","namespace":"n","name":"s","annotations":{`,
      '}}}',
    ),
  ],
};

function feed(input: Buffer): Verdict {
  let body: unknown;
  try {
    body = JSON.parse(input.toString());
  } catch {
    // The agent's own words for it are tested over its socket.
    return 'refused';
  }
  const ensure = attempt(() => parseEnsure(body), isRefusal);
  const check = attempt(() => parseCheck(body), isRefusal);
  const collect = attempt(() => parseCollect(body), isRefusal);
  for (const parsed of [ensure, check, collect]) {
    if ('refusal' in parsed) {
      const { argument, message } = parsed.refusal as PullManagerError;
      mustHold(
        argument !== undefined && message.startsWith(argument),
        'the error does not name the field',
      );
    }
  }
  if ('value' in ensure)
    mustHold(ensure.value.image !== '' && ensure.value.podUid !== '', 'a name is empty');
  if ('value' in check) {
    const { serviceAccount } = check.value;
    for (const audience of ['__proto__', 'constructor', 'a']) {
      const token = attempt(
        () => serviceAccount?.token(audience, new AbortController().signal),
        isTokenMissing,
      );
      if ('value' in token)
        mustHold(
          token.value === undefined || typeof token.value === 'string',
          'a token is no text',
        );
    }
  }
  return 'value' in ensure || 'value' in check || 'value' in collect ? 'accepted' : 'refused';
}

function isRefusal(error: unknown): boolean {
  return error instanceof PullManagerError && error.code === 'ERR_PULLMANAGER_INVALID_ARGUMENT';
}

function isTokenMissing(error: unknown): boolean {
  return error instanceof PullManagerError && error.code === 'ERR_PULLMANAGER_CREDENTIALS_INVALID';
}

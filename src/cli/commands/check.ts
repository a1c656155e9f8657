/** `pullwarden check`: one decision of the real engine, and why. */
import { text as textOf } from 'node:stream/consumers';
import { invalidArgument, type PullManagerError, quote } from '../../errors.ts';
import type {
  ImagePullSecret,
  ImagePullServiceAccount,
  PodCredentials,
} from '../../records/record.ts';
import { checkPodCredentials } from '../../records/validate.ts';
import { explainDecision } from '../../records-tools/explain.ts';
import { harmless, printable } from '../../terminal/text.ts';
import { type ParsedArgs, positionalsOf } from '../args.ts';
import { COLOR_HELP, type Command, JSON_HELP, paintOf } from '../command.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import { openInput } from '../input.ts';
import { printJson } from '../output.ts';
import { POLICY_FLAGS, POLICY_HELP, policyChoiceOf } from './policy-flags.ts';
import { STORE_FLAGS, STORE_HELP, storeOf } from './store-flags.ts';

export const checkCommand: Command = {
  summary: 'ask for one decision, and why',
  flags: {
    ...STORE_FLAGS,
    secret: { type: 'string', multiple: true },
    'secret-file': { type: 'string', multiple: true },
    'service-account': { type: 'string' },
    ...POLICY_FLAGS,
    'exit-code': { type: 'boolean' },
    json: { type: 'boolean' },
  },
  help: {
    usage: 'check IMAGE IMAGEREF [options]',
    about: [
      'Asks the engine whether a pod that presents these credentials may use the image on the node, or ' +
        'must pull it, and says why. The store stays as it is: a match is not recorded.',
    ],
    options: [
      [
        '--secret LIST',
        'uid=…,namespace=…,name=…[,hash=…], a pull secret of the pod; repeatable (default: none)',
      ],
      [
        '--secret-file FILE',
        'JSON, one secret or a list: { uid, namespace, name, credentialHash }; - for the standard ' +
          'input; keeps hashes off the command line, which others can read; repeatable (default: none)',
      ],
      ['--service-account LIST', 'uid=…,namespace=…,name=…, that of the pod (default: none)'],
      ...POLICY_HELP,
      ...STORE_HELP,
      ['--exit-code', 'exit 3 where the answer is "must pull" (default: 0 for either answer)'],
      JSON_HELP,
      COLOR_HELP,
    ],
    exitCodes: {
      [EXIT.FAILED]: 'could not run, or the record is damaged',
      [EXIT.MUST_PULL]: '"must pull", with --exit-code',
    },
    examples: [
      'pullwarden check registry.example.com/a:1 sha256:c0ffee --secret uid=1,namespace=a,name=pull,hash=f0',
    ],
  },
  run,
};

const SCHEMA = 'pullwarden.check/1';

async function run(parsed: ParsedArgs, signal: AbortSignal): Promise<ExitCode> {
  const { values } = parsed;
  const [image, imageRef] = positionalsOf(parsed, ['IMAGE', 'IMAGEREF']);
  const store = storeOf(parsed);
  const { mustPull, reason, detail, cause } = await explainDecision(store, {
    image,
    imageRef,
    credentials: await credentialsOf(parsed, signal),
    ...policyChoiceOf(parsed),
  });
  if (values.json === true) {
    const why = cause === undefined ? {} : { cause: causeOf(cause) };
    const answer = { mustPull, reason, detail, ...why };
    await printJson(SCHEMA, store.label, { image, imageRef, ...answer });
  } else {
    const paint = paintOf(parsed);
    const verdict = mustPull ? paint('yellow', 'must pull') : paint('green', 'may be used');
    const why = cause === undefined ? '' : whyOf(cause);
    process.stdout.write(`${verdict} (${reason}): ${detail}\n${why}`);
  }
  if (reason === 'error') return EXIT.FAILED;
  return values['exit-code'] === true && mustPull ? EXIT.MUST_PULL : EXIT.PASSED;
}

function causeOf({ code, message, path, offset, reason }: PullManagerError): object {
  return { code, message, path, offset, reason };
}

/** Where and why, a line each; the path in whole, which messages shorten. */
function whyOf({ message, path, offset, reason }: PullManagerError): string {
  const at = offset === undefined ? '' : ` at offset ${offset}`;
  const where = path === undefined ? '' : `  where  ${printable(path)}${at}\n`;
  const isTold = path !== undefined && reason !== undefined;
  return `${where}  why    ${isTold ? printable(reason) : harmless(message)}\n`;
}

async function credentialsOf({ values }: ParsedArgs, signal: AbortSignal): Promise<PodCredentials> {
  const lists = (values.secret as readonly string[] | undefined) ?? [];
  const files = (values['secret-file'] as readonly string[] | undefined) ?? [];
  const secrets = lists.map(secretOf);
  for (const file of files) {
    for (const secret of await readSecrets(file, signal)) secrets.push(secret);
  }
  const account = values['service-account'] as string | undefined;
  return account === undefined ? { secrets } : { secrets, serviceAccount: accountOf(account) };
}

function secretOf(text: string): ImagePullSecret {
  const { uid, namespace, name, hash } = pairsOf(text, '--secret', [
    'uid',
    'namespace',
    'name',
    'hash',
  ]);
  return {
    uid: uid ?? '',
    namespace: namespace ?? '',
    name: name ?? '',
    credentialHash: hash ?? '',
  };
}

function accountOf(text: string): ImagePullServiceAccount {
  const { uid, namespace, name } = pairsOf(text, '--service-account', ['uid', 'namespace', 'name']);
  return { uid: uid ?? '', namespace: namespace ?? '', name: name ?? '' };
}

/** `key=value,key=value`. Messages name keys and never the text: it may hold a hash. */
function pairsOf(text: string, argument: string, known: readonly string[]): Record<string, string> {
  const pairs: Record<string, string> = Object.create(null);
  for (const part of text.split(',')) {
    const equals = part.indexOf('=');
    const key = equals === -1 ? undefined : known.find((name) => name === part.slice(0, equals));
    if (key === undefined) {
      throw invalidArgument(
        argument,
        `must be a list of ${known.map((name) => `${name}=…`).join(',')}`,
      );
    }
    if (pairs[key] !== undefined) throw invalidArgument(argument, `names ${key} twice`);
    pairs[key] = part.slice(equals + 1);
  }
  for (const key of known) {
    if (key !== 'hash' && pairs[key] === undefined)
      throw invalidArgument(argument, `lacks ${key}=…`);
  }
  return pairs;
}

async function readSecrets(path: string, signal: AbortSignal): Promise<readonly ImagePullSecret[]> {
  await using input = await openInput(path, '--secret-file', signal);
  const content = await textOf(input.stream);
  let value: unknown;
  try {
    value = JSON.parse(content);
  } catch {
    // Not what the parser says: it repeats the text.
    throw invalidArgument('--secret-file', `is not JSON: ${quote(path)}`);
  }
  const secrets = Array.isArray(value) ? value : [value];
  const problem = checkPodCredentials({ secrets });
  if (problem !== undefined) {
    throw invalidArgument('--secret-file', `${quote(path)}: ${problem.message}`);
  }
  return secrets as ImagePullSecret[];
}

/** Files of records that are imported. */
import { PullManagerError } from '../../../../src/errors.ts';
import {
  endLine,
  headerLine,
  itemLine,
  readExport,
} from '../../../../src/records-tools/export-format.ts';
import type { TransferItem } from '../../../../src/records-tools/items.ts';
import { happens, oddText, several } from '../choice.ts';
import { type FuzzTarget, mustHold, type Verdict } from '../target.ts';
import { anyJson, listOf, mapOf, objectOf, oneOf, textRule } from './json-grammar.ts';
import { nested, numbered, repeated } from './shapes.ts';

const ACCOUNT = { uid: textRule, namespace: textRule, name: textRule };
const INTENT = objectOf({ kind: oneOf('intent'), image: textRule }, 0.02);
const PULLED = objectOf(
  {
    kind: oneOf('pulled'),
    imageRef: textRule,
    lastUpdatedTimeMs: (random) => String(random.below(2 ** 31)),
    credentialMapping: mapOf(
      objectOf(
        {
          nodePodsAccessible: () => 'true',
          kubernetesSecrets: listOf(objectOf({ ...ACCOUNT, credentialHash: textRule }, 0.01)),
          kubernetesServiceAccounts: listOf(objectOf(ACCOUNT, 0.01)),
        },
        0.4,
      ),
    ),
  },
  0.02,
);
const HEADER = headerLine();
const CHUNK_BYTES = 7;
const REFUSALS: readonly string[] = [
  'ERR_PULLMANAGER_INVALID_ARGUMENT',
  'ERR_PULLMANAGER_STORE_VERSION_UNSUPPORTED',
];
const PULLED_START = `${HEADER}{"kind":"pulled","imageRef":"a","lastUpdatedTimeMs":0,"credentialMapping":{`;

export const recordsImport: FuzzTarget = {
  name: 'records-import',
  unit: 'files of records',
  modules: ['src/records-tools/export-format', 'src/util/lines', 'src/records/validate'],
  words: [
    HEADER,
    '\n',
    '\r\n',
    '{"kind":"intent","image":"a"}',
    '"kind":"end"',
    '"__proto__":{}',
    '\xff',
    'null',
    '1e400',
    '{}',
  ],
  make(random) {
    const lines = several(random, 5, () => {
      if (happens(random, 0.1)) return happens(random, 0.5) ? anyJson(random) : oddText(random);
      return happens(random, 0.4) ? INTENT(random) : PULLED(random);
    });
    const header = happens(random, 0.97) ? HEADER : `${anyJson(random)}\n`;
    const end = happens(random, 0.8)
      ? endLine({ intents: lines.length, records: 0, damaged: 0 })
      : '';
    return Buffer.from(header + lines.map((line) => `${line}\n`).join('') + end);
  },
  feed,
  worstCases: [
    repeated('empty lines', '\n', HEADER),
    repeated('a line without end', 'a', HEADER),
    repeated('damaged lines', '{\n', HEADER),
    repeated(
      'lines after the end',
      '{}\n',
      `${HEADER}${endLine({ intents: 0, records: 0, damaged: 0 })}`,
    ),
    repeated('intents', '{"kind":"intent","image":"a"}\n', HEADER),
    repeated('a field with a long name', 'x', `${HEADER}{"kind":"intent","`, '":1}\n'),
    numbered('names', (i) => `"${i}":{}`, PULLED_START, '}}\n'),
    numbered(
      'secrets',
      (i) => `{"uid":"${i}","namespace":"","name":"","credentialHash":""}`,
      `${PULLED_START}"a":{"kubernetesSecrets":[`,
      ']}}}\n',
    ),
    repeated(
      'equal secrets',
      '{"uid":"","namespace":"","name":"","credentialHash":""},',
      `${PULLED_START}"a":{"kubernetesSecrets":[`,
      '{}]}}}\n',
    ),
    nested('brackets', '[', ']', PULLED_START.slice(0, -1), '}\n'),
  ],
};

async function feed(input: Buffer): Promise<Verdict> {
  const whole = await read([input]);
  const pieces: Buffer[] = [];
  if (input.length <= 1_024) {
    for (let at = 0; at < input.length; at += CHUNK_BYTES)
      pieces.push(input.subarray(at, at + CHUNK_BYTES));
    const again = await read(pieces);
    mustHold(
      JSON.stringify(again) === JSON.stringify(whole),
      'in pieces it is read as something else',
    );
  }
  if (whole === undefined) return 'refused';
  let verdict: Verdict = 'refused';
  for (const item of whole) {
    if (item.kind === 'damaged') {
      mustHold(item.problem.message.startsWith('file: '), 'a problem does not name the file');
      continue;
    }
    verdict = 'accepted';
    if (input.length > 64 * 1_024) continue;
    const lines = Buffer.from(HEADER + itemLine(item));
    const [again] = (await read([lines])) ?? [];
    mustHold(
      JSON.stringify(again) === JSON.stringify(item),
      'an entry is another when it is written and read',
    );
  }
  return verdict;
}

/** Undefined: it is no such file. */
async function read(chunks: readonly Buffer[]): Promise<TransferItem[] | undefined> {
  async function* stream() {
    yield* chunks;
  }
  try {
    const items: TransferItem[] = [];
    for await (const item of await readExport(stream(), 'file')) items.push(item);
    return items;
  } catch (error) {
    if (error instanceof PullManagerError && REFUSALS.includes(error.code)) return undefined;
    throw error;
  }
}

/** The flags by which every tool is told its store. */
import { COMPATIBILITY_DEFAULT, checkCompatibility } from '../../compatibility.ts';
import { parseStoreChoice, type StoreChoice } from '../../records-tools/store-choice.ts';
import type { Flag, ParsedArgs } from '../args.ts';
import type { HelpRow } from '../help.ts';

const STORE_DEFAULT = 'journal:./pullwarden-data';

export const STORE_FLAGS: Readonly<Record<string, Flag>> = {
  store: { type: 'string' },
  'store-options': { type: 'string' },
  compatibility: { type: 'string' },
};

/** The rows of a help; `remark` says what comes of leaving the store out. */
export function storeHelp(remark: string): readonly HelpRow[] {
  return [
    ['--store KIND:PATH', `journal:PATH, lmdb:PATH, kubelet:DIR or module:MODULE (${remark})`],
    ['--store-options JSON', 'what the factory of a module is given (default: nothing)'],
    [
      '--compatibility LEVEL',
      `kubelet version whose behaviour is claimed (default: ${COMPATIBILITY_DEFAULT})`,
    ],
  ];
}

export const STORE_HELP: readonly HelpRow[] = storeHelp(`default: ${STORE_DEFAULT}`);

/** The store that the flags name. Throws `INVALID_ARGUMENT`. */
export function storeOf({ values }: ParsedArgs, flag: 'store' | 'from' = 'store'): StoreChoice {
  const text = (values[flag] as string | undefined) ?? STORE_DEFAULT;
  const level = values.compatibility as string | undefined;
  const compatibility =
    level === undefined ? undefined : checkCompatibility(level, '--compatibility');
  const options = values[`${flag}-options`] as string | undefined;
  return parseStoreChoice(text, `--${flag}`, compatibility, options);
}

/** The flags that say how decisions are made. */
import { invalidArgument, quote } from '../../errors.ts';
import type { PullManagerOptions } from '../../options.ts';
import { POLICIES, type VerificationPolicy } from '../../policies/enforcer.ts';
import { parseDuration } from '../../util/duration.ts';
import { suggestion } from '../../util/suggest.ts';
import { type Flag, type ParsedArgs, UsageError } from '../args.ts';
import type { HelpRow } from '../help.ts';

export const POLICY_FLAGS: Readonly<Record<string, Flag>> = {
  policy: { type: 'string' },
  allowlist: { type: 'string', multiple: true },
  'rotated-secrets': { type: 'string' },
  'reverify-after': { type: 'string' },
};

export const POLICY_HELP: readonly HelpRow[] = [
  ['--policy KIND', `${POLICIES.join(', ')} (default: NeverVerifyPreloadedImages)`],
  [
    '--allowlist PATTERN',
    'for NeverVerifyAllowlistedImages, and implies it; repeatable (default: none)',
  ],
  ['--rotated-secrets HOW', 'trust or verify (default: trust)'],
  ['--reverify-after TIME', 'age from which a proof must be given again (default: never)'],
];

/** Options of a pull manager that decide. */
export type PolicyChoice = Pick<PullManagerOptions, 'rotatedSecrets' | 'reverifyAfter'> & {
  readonly policy: VerificationPolicy;
};

/** What the flags say. Throws `INVALID_ARGUMENT`, `UsageError`. */
export function policyChoiceOf(parsed: ParsedArgs): PolicyChoice {
  const { values } = parsed;
  const reverifyAfter = values['reverify-after'];
  return {
    policy: policyOf(parsed),
    rotatedSecrets: rotatedOf(values['rotated-secrets'] as string | undefined),
    ...(reverifyAfter === undefined
      ? {}
      : { reverifyAfter: parseDuration(reverifyAfter, '--reverify-after') }),
  };
}

function policyOf({ values }: ParsedArgs): VerificationPolicy {
  const allowlist = values.allowlist as readonly string[] | undefined;
  const given = values.policy as string | undefined;
  const implied =
    allowlist === undefined ? 'NeverVerifyPreloadedImages' : 'NeverVerifyAllowlistedImages';
  const kind = POLICIES.find((known) => known === (given ?? implied));
  if (kind === undefined) {
    const hint = suggestion(given!, POLICIES);
    throw invalidArgument(
      '--policy',
      `must be one of ${POLICIES.join(', ')}, not ${quote(given!)}${hint}`,
    );
  }
  if (kind === 'NeverVerifyAllowlistedImages') return { kind, allowlist: allowlist ?? [] };
  if (allowlist !== undefined)
    throw new UsageError(`--allowlist says nothing with --policy ${kind}`);
  return { kind };
}

function rotatedOf(text: string | undefined): 'trust' | 'verify' {
  if (text === undefined || text === 'trust') return 'trust';
  if (text === 'verify') return 'verify';
  throw invalidArgument('--rotated-secrets', `must be trust or verify, not ${quote(text)}`);
}

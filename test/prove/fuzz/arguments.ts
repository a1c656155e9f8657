/** Arguments of this proof alone: which targets, and one input to be fed again. */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

export interface FuzzArguments {
  /** Empty: all. */
  readonly targets: readonly string[];
  readonly input: Buffer | undefined;
}

/** @param known Names of targets. */
export function parseFuzzArguments(
  rest: readonly string[],
  known: readonly string[],
): FuzzArguments {
  const { values } = parseArgs({
    args: [...rest],
    options: {
      target: { type: 'string', multiple: true, default: [] },
      input: { type: 'string' },
      file: { type: 'string' },
    },
  });
  for (const name of values.target) {
    if (!known.includes(name)) throw new Error(`no target is called ${name}: ${known.join(', ')}`);
  }
  const input = inputOf(values);
  if (input !== undefined && values.target.length !== 1) {
    throw new Error('an input goes with one --target');
  }
  return { targets: values.target, input };
}

function inputOf({ input, file }: { input?: string; file?: string }): Buffer | undefined {
  if (file !== undefined) return readFileSync(file);
  if (input === undefined) return undefined;
  if (!/^(?:[0-9a-f]{2})*$/i.test(input)) throw new Error('--input must be hexadecimal');
  return Buffer.from(input, 'hex');
}

import { describe, expect, it } from 'vitest';
import { parseCommandArgs, UsageError } from '../../src/cli/args.ts';

const FLAGS = {
  seed: { type: 'string' },
  threshold: { type: 'string', multiple: true },
  json: { type: 'boolean' },
  progress: { type: 'boolean' },
} as const;

describe('parseCommandArgs', () => {
  it('reads flags and positionals in any order', () => {
    const { values, positionals } = parseCommandArgs(
      [
        'smoke',
        '--seed',
        '1',
        '--threshold=a<1',
        '--json',
        '--threshold',
        'b<2',
        '--no-progress',
        '-h',
      ],
      FLAGS,
    );
    expect(positionals).toEqual(['smoke']);
    expect({ ...values }).toEqual({
      seed: '1',
      threshold: ['a<1', 'b<2'],
      json: true,
      progress: false,
      help: true,
    });
  });

  it('takes everything after -- as it is', () => {
    expect(parseCommandArgs(['--', '--seed'], FLAGS).positionals).toEqual(['--seed']);
  });

  it.each([
    [['--sed', '1'], 'unknown flag --sed (did you mean "--seed"?)'],
    [['--jsno'], 'unknown flag --jsno (did you mean "--json"?)'],
    [['--no-progres'], 'unknown flag --no-progres (did you mean "--no-progress"?)'],
    [['--no-seed'], 'unknown flag --no-seed'],
    [['--__proto__', 'x'], 'unknown flag --__proto__'],
    [['-x'], 'unknown flag -x'],
    [['--seed'], '--seed needs a value'],
    [['--json=yes'], '--json takes no value'],
  ])('refuses %j', (args, message) => {
    expect(() => parseCommandArgs(args, FLAGS)).toThrow(UsageError);
    expect(() => parseCommandArgs(args, FLAGS)).toThrow(message);
  });
});

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

  it('takes very many arguments, but not as many as would take for ever', () => {
    const many = (count: number, arg: string): string[] => Array.from({ length: count }, () => arg);
    expect(parseCommandArgs(many(16_000, 'x'), FLAGS).positionals).toHaveLength(16_000);
    const { values } = parseCommandArgs(many(8_000, '--threshold=a<1'), FLAGS);
    expect(values.threshold).toHaveLength(8_000);
    const tooMany = /^there are more than 16000 arguments$/;
    expect(() => parseCommandArgs(many(16_001, 'x'), FLAGS)).toThrow(tooMany);
    expect(() => parseCommandArgs([`-${'h'.repeat(16_000)}`], FLAGS)).toThrow(tooMany);
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

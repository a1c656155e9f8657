import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RecordFormatError } from '../../../src/accessors/kubelet/record-format.ts';
import { StrictJsonReader, VALUES_MAX } from '../../../src/accessors/kubelet/strict-json.ts';

function textOf(json: string | Uint8Array): string {
  const reader = new StrictJsonReader(typeof json === 'string' ? Buffer.from(json) : json);
  const text = reader.string('the text');
  reader.end();
  return text;
}

function errorOf(run: () => unknown): RecordFormatError {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(RecordFormatError);
    return error as RecordFormatError;
  }
  throw new Error('nothing was thrown');
}

/** Reads a whole array of `null`. */
function countOf(json: string): number {
  const reader = new StrictJsonReader(Buffer.from(json));
  let count = 0;
  reader.openArray('the list');
  for (let isFirst = true; reader.hasItem(isFirst); isFirst = false) {
    if (!reader.null()) throw new Error('not null');
    count++;
  }
  reader.end();
  return count;
}

describe('a text', () => {
  it('is read as JSON.parse reads it, if it is well-formed', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.boolean(), (text, isEscaped) => {
        const json = JSON.stringify(text);
        const escaped = json.replace(
          /[^"\\ -~]/g,
          (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
        );
        expect(textOf(isEscaped ? escaped : json)).toBe(text);
      }),
    );
  });

  it('is refused where JSON.parse refuses it', () => {
    const pieces = fc.constantFrom('\\', '"', 'u', '0', 'a', 'F', 'n', 'x', '\n', '\u2028', 'é');
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 8 }), (list) => {
        const json = `"${list.join('')}"`;
        let expected: string | undefined;
        try {
          expected = JSON.parse(json) as string;
        } catch {
          expect(errorOf(() => textOf(json)).reason).not.toBe('');
          return;
        }
        expect(textOf(json)).toBe(expected);
      }),
      { numRuns: 2000 },
    );
  });

  it('has one U+FFFD for each byte that is not UTF-8', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 12, min: 0x80 }), (bytes) => {
        const text = textOf(Buffer.concat([Buffer.from('"'), bytes, Buffer.from('"')]));
        let rest = Buffer.from(bytes);
        for (const character of text) {
          const size = Buffer.byteLength(character);
          const isWhole = rest.subarray(0, size).equals(Buffer.from(character));
          expect(isWhole || character === '\ufffd').toBe(true);
          rest = rest.subarray(isWhole ? size : 1);
        }
        expect(rest).toHaveLength(0);
        // Whatever is valid stays whole.
        expect(text.replaceAll('\ufffd', '')).toBe(
          Buffer.from(bytes).toString('utf8').replaceAll('\ufffd', ''),
        );
      }),
      { numRuns: 2000 },
    );
  });

  it.each([
    ['"abc', 'the text ends too early', 4],
    ['"abc\\"', 'the text ends too early', 6],
    [' "a\tb"', 'a text has a bare control character', 3],
    [' "a\\qb"', 'a text has an unknown escape', 1],
    ['"a" "b"', 'there is more behind the end', 4],
    ['', 'the file ends too early', 0],
    ['nul', 'the text must be a string', 0],
  ])('%j is refused: %s, at byte %i', (json, reason, offset) => {
    expect(errorOf(() => textOf(json))).toMatchObject({ reason, offset });
  });

  it('may be 32 MiB long and all escapes or all damage', () => {
    const size = 2 ** 25;
    expect(textOf(`"${'\\n'.repeat(size / 2)}"`)).toHaveLength(size / 2);
    const damage = Buffer.alloc(size, 0xe2);
    damage[0] = 0x22;
    damage[size - 1] = 0x22;
    expect(textOf(damage)).toHaveLength(size - 2);
  });
});

describe('a list', () => {
  it('may have as many values as the limit, and not one more', () => {
    expect(countOf(`[${'null,'.repeat(VALUES_MAX - 1)}null]`)).toBe(VALUES_MAX);
    const error = errorOf(() => countOf(`[${'null,'.repeat(VALUES_MAX)}null]`));
    expect(error.reason).toBe('there are too many values');
  });

  it.each(['[null,]', '[,null]', '[null null]', '[null', '[', '[nulll]'])(
    'is refused: %s',
    (json) => {
      expect(() => countOf(json)).toThrow();
    },
  );
});

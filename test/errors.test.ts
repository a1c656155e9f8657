import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  AllowlistPatternError,
  abortedError,
  closedError,
  errorCode,
  fromWire,
  ImageNameError,
  invalidArgument,
  PULL_MANAGER_ERROR_CODES,
  PullManagerError,
  type PullManagerErrorFields,
  type PullManagerErrorName,
  quote,
  storeError,
  toWire,
} from '../src/errors.ts';

const NAMES = Object.keys(PULL_MANAGER_ERROR_CODES) as PullManagerErrorName[];

const FIELDS: Required<PullManagerErrorFields> = {
  image: 'ubuntu:22.04',
  imageRef: 'sha256:abc',
  path: '/var/lib/store',
  argument: 'options.store',
  pattern: '*',
  stripeIndex: 0,
  workerIndex: 1,
  timeoutMs: 250,
  offset: 4096,
  reason: 'format',
};

/** As another thread sees an error: its wire form, cloned, and rebuilt. */
function sent(error: unknown): Error {
  return fromWire(structuredClone(toWire(error)));
}

describe('codes', () => {
  it('are the short names behind one prefix', () => {
    for (const name of NAMES) {
      expect(PULL_MANAGER_ERROR_CODES[name]).toBe(`ERR_PULLMANAGER_${name}`);
    }
  });
});

describe('an error sent to another thread', () => {
  it.each(NAMES)('keeps code, name, message and fields: %s', (name) => {
    const error = new PullManagerError(name, `message of ${name}`, FIELDS);
    const received = sent(error);
    expect(received).toBeInstanceOf(PullManagerError);
    expect(received).toMatchObject({ ...FIELDS, code: error.code });
    expect(received.name).toBe(name === 'ABORTED' ? 'AbortError' : 'PullManagerError');
    expect(received.message).toBe(error.message);
  });

  it.each(NAMES)('has no fields that were not there: %s', (name) => {
    const own = Object.keys(sent(new PullManagerError(name, 'message')));
    expect(own.filter((key) => key in FIELDS)).toEqual([]);
  });

  it('keeps the class of an image name error', () => {
    const error = new ImageNameError('Ubuntu', 'uppercase', 'must be lowercase');
    const received = sent(error);
    expect(received).toBeInstanceOf(ImageNameError);
    expect(received).toBeInstanceOf(PullManagerError);
    expect(received).not.toBeInstanceOf(AllowlistPatternError);
    expect(received).toMatchObject({
      name: 'ImageNameError',
      image: 'Ubuntu',
      reason: 'uppercase',
    });
    expect(received.message).toBe(error.message);
  });

  it('keeps the class and the cause of an allow-list pattern error', () => {
    const cause = new ImageNameError('A', 'uppercase', 'must be lowercase');
    const received = sent(new AllowlistPatternError('A', 'not an image name', cause));
    expect(received).toBeInstanceOf(AllowlistPatternError);
    expect(received).not.toBeInstanceOf(ImageNameError);
    expect(received).toMatchObject({ name: 'AllowlistPatternError', pattern: 'A' });
    expect(received.cause).toBeInstanceOf(ImageNameError);
    expect(received.cause).toMatchObject({ image: 'A' });
  });

  it('keeps the code of a foreign error and of its cause', () => {
    const cause = Object.assign(new Error('no space left'), { code: 'ENOSPC' });
    const received = sent(storeError('write', cause, '/var/lib/store'));
    expect(received).toMatchObject({
      code: 'ERR_PULLMANAGER_STORE_UNAVAILABLE',
      path: '/var/lib/store',
    });
    expect(received.cause).toBeInstanceOf(Error);
    expect(received.cause).not.toBeInstanceOf(PullManagerError);
    expect(received.cause).toMatchObject({ code: 'ENOSPC', message: 'no space left' });
  });

  it('keeps name and message of a plain error, and invents no code', () => {
    const received = sent(new RangeError('too far'));
    expect(received).toMatchObject({ name: 'RangeError', message: 'too far' });
    expect(received).not.toHaveProperty('code');
    expect(received.cause).toBeUndefined();
  });

  it('is the same after a second journey', () => {
    for (const name of NAMES) {
      const wire = toWire(
        new PullManagerError(name, 'message', { ...FIELDS, cause: new Error('x') }),
      );
      expect(toWire(fromWire(wire))).toEqual(wire);
    }
  });

  it('ends a chain of causes that has no end', () => {
    const first = new Error('first');
    const second = new Error('second', { cause: first });
    first.cause = second;
    const messages: string[] = [];
    let received: unknown = sent(first);
    while (received instanceof Error && messages.length < 100) {
      messages.push(received.message);
      received = received.cause;
    }
    expect(messages).toEqual(['first', 'second', 'first', 'second']);
  });

  it('ends a chain in which an error is its own cause', () => {
    const error = new PullManagerError('CLOSED', 'closed');
    error.cause = error;
    expect(sent(error)).toMatchObject({
      code: 'ERR_PULLMANAGER_CLOSED',
      cause: { message: 'closed' },
    });
  });

  it.each([
    [null],
    [undefined],
    ['a secret text'],
    [7],
    [7n],
    [Symbol('a secret text')],
    [() => 'a secret text'],
    [{ message: 'a secret text' }],
    [Object.create(null)],
    [Object.freeze(['a secret text'])],
  ])('may be any thrown value, of which only the type is told: case %#', (thrown) => {
    const received = sent(thrown);
    expect(received.message).toBe(`thrown value of type ${typeof thrown}`);
    expect(received).not.toBeInstanceOf(PullManagerError);
  });

  it('may be an error whose cause is no error', () => {
    expect(sent(new Error('outer', { cause: 'inner' })).cause).toMatchObject({
      message: 'thrown value of type string',
    });
    expect(sent(new Error('outer', { cause: null })).cause).toMatchObject({
      message: 'thrown value of type object',
    });
  });

  it('may be an abort of the platform', () => {
    expect(sent(AbortSignal.abort().reason)).toMatchObject({ name: 'AbortError' });
  });

  it('may be frozen or have a code that is no text', () => {
    expect(sent(Object.freeze(new Error('frozen'))).message).toBe('frozen');
    expect(sent(Object.assign(new Error('odd'), { code: 17 }))).not.toHaveProperty('code');
  });

  it('may be whatever was thrown', () => {
    fc.assert(
      fc.property(fc.anything(), (thrown) => {
        expect(sent(thrown)).toBeInstanceOf(Error);
        expect(sent(new Error('outer', { cause: thrown })).message).toBe('outer');
      }),
    );
  });
});

describe('instanceof', () => {
  const BRAND = Symbol.for('pullwarden.PullManagerError');

  it('recognises the errors of another copy of the package', () => {
    class PullManagerErrorOfAnotherCopy extends Error {}
    Object.defineProperty(PullManagerErrorOfAnotherCopy.prototype, BRAND, { value: true });
    const error: unknown = new PullManagerErrorOfAnotherCopy('closed');
    expect(error instanceof PullManagerError).toBe(true);
    expect(error instanceof ImageNameError).toBe(false);
  });

  it.each([[null], [undefined], ['text'], [7], [{}], [new Error('x')], [BRAND]])(
    'is false for anything else: case %#',
    (value: unknown) => {
      expect(value instanceof PullManagerError).toBe(false);
      expect(value instanceof ImageNameError).toBe(false);
    },
  );

  it('tells the subclasses apart', () => {
    const image: unknown = new ImageNameError('A', 'uppercase', 'must be lowercase');
    expect(image instanceof ImageNameError).toBe(true);
    expect(image instanceof AllowlistPatternError).toBe(false);
    expect(image instanceof Error).toBe(true);
  });
});

describe('the makers of errors', () => {
  it('name the argument', () => {
    const error = invalidArgument('options.workerCount', 'must be a number');
    expect(error.code).toBe('ERR_PULLMANAGER_INVALID_ARGUMENT');
    expect(error.argument).toBe('options.workerCount');
    expect(error.message).toBe('options.workerCount must be a number');
  });

  it('call an abort an AbortError and keep its reason', () => {
    const error = abortedError('withPull', 'changed my mind');
    expect(error).toMatchObject({
      name: 'AbortError',
      code: 'ERR_PULLMANAGER_ABORTED',
      cause: 'changed my mind',
    });
  });

  it('name the call on a closed engine', () => {
    expect(closedError('decide')).toMatchObject({ code: 'ERR_PULLMANAGER_CLOSED' });
    expect(closedError('decide').message).toContain('decide');
  });

  it('leave an error of the engine as it is', () => {
    const error = closedError('decide');
    expect(storeError('read', error)).toBe(error);
  });

  it.each([
    ['MY_RECORD_CORRUPT', 'ERR_PULLMANAGER_RECORD_CORRUPT'],
    ['RECORD_CORRUPT', 'ERR_PULLMANAGER_RECORD_CORRUPT'],
    ['RECORD_CORRUPTED', 'ERR_PULLMANAGER_STORE_UNAVAILABLE'],
    ['EIO', 'ERR_PULLMANAGER_STORE_UNAVAILABLE'],
  ])('tell a store failure with code %s as %s', (code, wanted) => {
    const cause = Object.assign(new Error('x'), { code });
    expect(storeError('read', cause)).toMatchObject({ code: wanted, cause });
    expect(storeError('read', { code })).toMatchObject({ code: wanted });
  });

  it.each([[null], [undefined], ['text'], [7]])('accept what a store threw: %j', (thrown) => {
    expect(storeError('read', thrown).code).toBe('ERR_PULLMANAGER_STORE_UNAVAILABLE');
    expect(errorCode(thrown)).toBeUndefined();
  });
});

describe('a quoted text', () => {
  it('is whole up to 120 characters and cut after them', () => {
    expect(quote('x'.repeat(120))).toBe(`"${'x'.repeat(120)}"`);
    expect(quote('x'.repeat(121))).toBe(`"${'x'.repeat(120)}…" (121 characters)`);
    // With its escapes a text is no longer either.
    expect(quote('\u0001'.repeat(60))).toBe(`"${'\\u0001'.repeat(60)}"`);
    expect(quote('\u0001'.repeat(61))).toBe(`"${'\\u0001'.repeat(60)}…" (61 characters)`);
  });

  it('has its quotes and line breaks escaped', () => {
    expect(quote('a"b\n\u001b[31m')).toBe('"a\\"b\\n\\u001b[31m"');
  });

  it('has no half character where it is cut', () => {
    const text = `${'x'.repeat(119)}\u{1f600}`;
    expect(quote(text)).toBe(`"${'x'.repeat(119)}\\ud83d…" (121 characters)`);
  });
});

import { describe, expect, it } from 'vitest';
import { ImageRuntimeError, isUnanswered } from '../../src/runtime/image-runtime.ts';

function causeOfItself(): Error {
  const error = new Error('x');
  error.cause = error;
  return error;
}

describe('isUnanswered', () => {
  it.each([true, false])('believes an error that says answered: %s', (answered) => {
    expect(isUnanswered(new ImageRuntimeError('other', 'x', { answered }))).toBe(!answered);
    expect(isUnanswered(Object.assign(new Error('x'), { code: 14, answered }))).toBe(!answered);
  });

  it.each<[string, unknown]>([
    ['an abort', new DOMException('x', 'AbortError')],
    ['a timeout', new DOMException('x', 'TimeoutError')],
    ['a lost connection', Object.assign(new Error('x'), { code: 'ECONNRESET' })],
    ['a broken pipe', Object.assign(new Error('x'), { code: 'EPIPE' })],
    [
      'an HTTP/2 session that ended',
      Object.assign(new Error('x'), { code: 'ERR_HTTP2_SESSION_ERROR' }),
    ],
    [
      'a fetch whose connection was lost',
      new TypeError('fetch failed', {
        cause: Object.assign(new Error('x'), { code: 'ECONNRESET' }),
      }),
    ],
    ['a request that its client has cancelled', { code: 'ERR_CANCELED' }],
    ...[1, 4, 8, 12, 13, 14].map((code) => [`gRPC code ${code}`, { code }] as [string, unknown]),
  ])('is true of %s', (_name, error) => {
    expect(isUnanswered(error)).toBe(true);
  });

  it.each([
    ['any other error', new Error('x')],
    ['a failure that a runtime tells by gRPC', Object.assign(new Error('x'), { code: 2 })],
    ['an error that is its own cause', causeOfItself()],
    ['nothing', undefined],
    ['null', null],
    ['a text', 'ECONNRESET'],
  ])('is false of %s', (_name, error) => {
    expect(isUnanswered(error)).toBe(false);
  });
});

describe('ImageRuntimeError', () => {
  it('has the name of an abort where it is one', () => {
    expect(new ImageRuntimeError('aborted', 'x', { answered: false }).name).toBe('AbortError');
    expect(new ImageRuntimeError('other', 'x', { answered: true })).toMatchObject({
      name: 'ImageRuntimeError',
      code: 'ERR_PULLMANAGER_RUNTIME_FAILED',
    });
  });
});

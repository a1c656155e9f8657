import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { CHANNELS } from '../../src/events/channels.ts';
import { Emitter } from '../../src/events/emitter.ts';
import type { IntentMessage } from '../../src/events/messages.ts';
import type { Logger } from '../../src/logger.ts';

const TOLD = { image: 'app', durationMs: 0 };

function emitterOf(warn: Logger['warn']): Emitter<IntentMessage> {
  const nothing = (): void => {};
  const logger = { debug: nothing, info: nothing, warn, error: nothing };
  return new Emitter<IntentMessage>('intent', { manager: {}, logger });
}

describe('an event', () => {
  it('is told to all, whatever a listener throws', () => {
    const warnings: string[] = [];
    const emitter = emitterOf((message) => warnings.push(message));
    const hostile = Object.defineProperty(new Error('hostile'), 'name', {
      get: () => {
        throw new Error('hostile');
      },
    });
    let heard = 0;
    for (const thrown of [
      hostile,
      new Proxy({}, { getPrototypeOf: () => hostile.name as never }),
    ]) {
      emitter.on(() => {
        throw thrown;
      });
    }
    emitter.on(() => heard++);
    emitter.emit(TOLD);
    expect(heard).toBe(1);
    emitter.close();
  });

  it('is told to all, also where the logger throws', () => {
    const emitter = emitterOf(() => {
      throw new Error('logger');
    });
    let heard = 0;
    emitter.on(() => {
      throw new Error('listener');
    });
    emitter.on(() => heard++);
    emitter.emit(TOLD);
    expect(heard).toBe(1);
    emitter.close();
  });

  it('takes a rejection of another realm for the failure of its listener', async () => {
    const warned = new Promise<unknown>((resolve) => {
      const emitter = emitterOf((_, fields) => resolve(fields));
      emitter.on(runInNewContext('() => Promise.reject(7)') as () => void);
      emitter.emit(TOLD);
      emitter.close();
    });
    expect(await warned).toEqual({ event: 'intent', error: 'number' });
  });

  it('keeps nobody who listens to it after its end', () => {
    const emitter = emitterOf(() => {});
    emitter.close();
    const stop = emitter.on(() => {});
    expect(CHANNELS.intent.hasSubscribers).toBe(false);
    expect(emitter.isWatched).toBe(false);
    stop();
  });
});

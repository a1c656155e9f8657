import { Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { openLog } from '../../src/agent/log.ts';

/** Takes what is written when a test says so. */
class SlowReader extends Writable {
  readonly lines: string[] = [];
  #take: (() => void) | undefined;
  #isOpen = false;

  override _write(chunk: Buffer, _: BufferEncoding, taken: () => void): void {
    const take = (): void => {
      this.lines.push(chunk.toString());
      taken();
    };
    if (this.#isOpen) take();
    else this.#take = take;
  }

  readOn(): void {
    this.#isOpen = true;
    this.#take?.();
  }
}

function parsed(reader: SlowReader): Record<string, unknown>[] {
  return reader.lines.filter(Boolean).map((line) => JSON.parse(line) as Record<string, unknown>);
}

describe('the log of the agent', () => {
  it('is a JSON object a line, with time, level and what was said', async () => {
    const reader = new SlowReader();
    reader.readOn();
    const log = openLog('info', reader);
    log.debug('unheard');
    log.info('heard', { image: 'a\nb' });
    log.error('bad');
    await log.flush();
    const time = expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/) as string;
    const { pid } = process;
    expect(parsed(reader)).toEqual([
      { level: 30, time, pid, image: 'a\nb', msg: 'heard' },
      { level: 50, time, pid, msg: 'bad' },
    ]);
  });

  it('drops lines that nobody reads, and says how many', async () => {
    const reader = new SlowReader();
    const log = openLog('info', reader);
    const count = 3_000;
    for (let i = 0; i < count; i++) log.info('line', { text: 'x'.repeat(1_000) });
    reader.readOn();
    await log.flush();
    log.info('last');
    await log.flush();
    const lines = parsed(reader);
    const kept = lines.filter(({ msg }) => msg === 'line').length;
    expect(kept).toBeGreaterThan(500);
    expect(lines.find(({ msg }) => String(msg).startsWith('log lines were'))).toMatchObject({
      level: 40,
      count: count - kept,
    });
    expect(lines.at(-1)).toMatchObject({ msg: 'last' });
  });

  it('goes on without a reader', async () => {
    const reader = new SlowReader();
    const log = openLog('info', reader);
    reader.destroy(new Error('EPIPE'));
    log.info('unheard');
    await log.flush();
  });
});

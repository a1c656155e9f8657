import { execFileSync } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer, text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { openReadable } from '../../src/util/open-readable.ts';

const newPath = (): string => join(mkdtempSync(join(tmpdir(), 'pullwarden-')), 'path');

function newPipe(): string {
  const path = newPath();
  execFileSync('mkfifo', [path]);
  return path;
}

describe('openReadable', () => {
  it('reads a file', async () => {
    const path = newPath();
    const bytes = Buffer.alloc(300_000, 'bytes');
    writeFileSync(path, bytes);
    expect(await buffer(await openReadable(path))).toEqual(bytes);
  });

  it('says what is wrong with one that is not there, or is none', async () => {
    await expect(openReadable(newPath())).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(text(await openReadable(tmpdir()))).rejects.toMatchObject({ code: 'EISDIR' });
  });

  it('waits for who writes to a pipe, and reads until nobody does', async () => {
    const path = newPipe();
    const content = text(await openReadable(path));
    const writer = await open(path, 'w');
    await writer.write('a');
    await writer.write('b'.repeat(300_000));
    await writer.close();
    expect(await content).toBe(`a${'b'.repeat(300_000)}`);
  });

  it.each(['nobody writes to', 'somebody keeps open'])('gives up a pipe that %s', async (how) => {
    const path = newPipe();
    const controller = new AbortController();
    const stream = await openReadable(path, controller.signal);
    const content = text(stream);
    const writer = how === 'nobody writes to' ? undefined : await open(path, 'w');
    await writer?.write('a');
    controller.abort();
    await expect(content).rejects.toMatchObject({ name: 'AbortError' });
    expect(stream.destroyed).toBe(true);
    await writer?.close();
  });
});

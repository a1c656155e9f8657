import { renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { WatchedFile } from '../../src/credentials/watched-file.ts';
import { PULL_MANAGER_ERROR_CODES as CODES } from '../../src/errors.ts';
import { temporaryDirectory } from './programs.ts';

const LATER_MS = 10_000;

/** A file, read as if `ageMs` had gone by since it was written. */
function watched(content: string, ageMs: number) {
  const path = join(temporaryDirectory(), 'file');
  writeFileSync(path, content);
  const parsed: string[] = [];
  const file = new WatchedFile(path, {
    what: 'file',
    bytesMax: 10,
    parse: (bytes) => {
      parsed.push(bytes.toString());
      return { content: bytes.toString() };
    },
    wallClock: () => Date.now() + ageMs,
  });
  return { path, file, parsed };
}

for (const [age, ageMs] of [
  ['just changed', 0],
  ['changed long ago', LATER_MS],
] as const) {
  describe(`a watched file that has ${age}`, () => {
    it('is parsed once while it stays as it is', async () => {
      const { file, parsed } = watched('one', ageMs);
      const first = await file.read();
      expect(await file.read()).toBe(first);
      expect(await Promise.all([file.read(), file.read()])).toEqual([first, first]);
      expect(parsed).toEqual(['one']);
    });

    it('is read again when it is written, replaced, removed and made', async () => {
      const { path, file } = watched('one', ageMs);
      expect(await file.read()).toEqual({ content: 'one' });
      writeFileSync(path, 'two');
      expect(await file.read()).toEqual({ content: 'two' });
      writeFileSync(`${path}.new`, 'six');
      renameSync(`${path}.new`, path);
      expect(await file.read()).toEqual({ content: 'six' });
      rmSync(path);
      expect(await file.read()).toBeUndefined();
      writeFileSync(path, 'ten');
      expect(await file.read()).toEqual({ content: 'ten' });
    });

    it('is read again after a change that sets the time of the last one', async () => {
      const { path, file } = watched('one', ageMs);
      const past = new Date('2020-01-01T00:00:00Z');
      utimesSync(path, past, past);
      await file.read();
      writeFileSync(path, 'two');
      utimesSync(path, past, past);
      expect(await file.read()).toEqual({ content: 'two' });
    });

    it('is refused where it has grown too large, and taken again afterwards', async () => {
      const { path, file } = watched('one', ageMs);
      await file.read();
      writeFileSync(path, 'x'.repeat(11));
      await expect(file.read()).rejects.toMatchObject({
        code: CODES.CREDENTIALS_INVALID,
        message: `the file "${path}" is not valid: it has more than 10 bytes`,
      });
      writeFileSync(path, 'x'.repeat(10));
      expect(await file.read()).toEqual({ content: 'x'.repeat(10) });
    });
  });
}

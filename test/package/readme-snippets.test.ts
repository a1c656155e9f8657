import { describe, expect, it } from 'vitest';
import { readmeSnippets } from '../../scripts/readme-snippets.mjs';

describe('the runnable snippets of a text', () => {
  it('are the blocks fenced as js, with the line at which each begins', () => {
    const text = ['# Title', '', '```js', 'one();', 'two();', '```', '```sh', 'npm test', '```'];
    expect(readmeSnippets(text.join('\n'))).toEqual([{ line: 4, code: 'one();\ntwo();' }]);
  });

  it('do not end at a shorter fence inside, nor begin inside another block', () => {
    const text = ['````md', '```js', 'no();', '```', '````', '```js', 'const a = `', '`;', '```'];
    expect(readmeSnippets(text.join('\n'))).toEqual([{ line: 7, code: 'const a = `\n`;' }]);
  });
});

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { embeddedJson, escaped, html, Markup } from '../../../../src/storm/report/html/markup.ts';

describe('a template of HTML', () => {
  it('escapes what is put in, and takes HTML as it is', () => {
    const list = ['<a>', '&'].map((text) => html`<li>${text}`);
    expect(html`<ul title="${'"\''}">${list}${undefined}${7}</ul>`.text).toBe(
      '<ul title="&quot;&#39;"><li>&lt;a&gt;<li>&amp;7</ul>',
    );
    expect(html`${Markup.trusted('<b>')}`.text).toBe('<b>');
  });

  it('leaves nothing in a text that could end it', () => {
    fc.assert(
      fc.property(
        fc.string({
          unit: fc.constantFrom('<', '>', '&', '"', "'", '\0', '\u001f', '\ud800', 'a', 'é'),
        }),
        (text) => {
          expect(escaped(text)).not.toMatch(/[<>"'\0]/);
        },
      ),
    );
  });
});

describe('embedded JSON', () => {
  it('is the same value, and cannot end its element', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const { text } = embeddedJson(['</script><!--<script>', value]);
        expect(text).not.toContain('<');
        expect(JSON.parse(text)).toEqual(
          JSON.parse(JSON.stringify(['</script><!--<script>', value])),
        );
      }),
    );
  });
});

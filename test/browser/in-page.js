// @ts-check
/** What the tests ask of a page, from within it. Tests call these by name. */

/**
 * A colour of CSS as red, green, blue and opacity, each up to 1.
 *
 * @param {string} text
 * @returns {[number, number, number, number]}
 */
function parsedColour(text) {
  const [red = 0, green = 0, blue = 0, opacity = 1] = (text.match(/[\d.]+/g) ?? []).map(Number);
  return [red / 255, green / 255, blue / 255, opacity];
}

/** @param {readonly number[]} colour */
function luminance([red = 0, green = 0, blue = 0]) {
  /** @param {number} part */
  const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
}

/** The ratio of WCAG. @param {readonly number[]} a @param {readonly number[]} b */
function contrast(a, b) {
  const lights = [luminance(a), luminance(b)];
  return (Math.max(...lights) + 0.05) / (Math.min(...lights) + 0.05);
}

/** What is behind an element. @param {Element | null} element @returns {readonly number[]} */
function groundOf(element) {
  for (let one = element; one !== null; one = one.parentElement) {
    const colour = parsedColour(getComputedStyle(one).backgroundColor);
    if (colour[3] === 1) return colour;
    if (colour[3] !== 0) throw new Error(`half-transparent ground: ${one.outerHTML.slice(0, 99)}`);
  }
  throw new Error('no ground');
}

/** @param {string} name of a colour of the page, opaque */
function namedColour(name) {
  const probe = document.createElement('i');
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const colour = parsedColour(getComputedStyle(probe).color);
  probe.remove();
  return colour;
}

/** Red, green, blue and opacity, one after the other. @param {HTMLCanvasElement} canvas */
function pixelsOf(canvas) {
  // Not read where it is: a browser warns of slow reading, and draws differently from then on.
  const copy = new OffscreenCanvas(canvas.width, canvas.height);
  const context = copy.getContext('2d', { willReadFrequently: true });
  if (context === null) throw new Error('no canvas');
  context.drawImage(canvas, 0, 0);
  return context.getImageData(0, 0, canvas.width, canvas.height).data;
}

/** Pixels of a canvas by colour, those that are seen through left out. @param {HTMLCanvasElement} canvas */
function coloursOf(canvas) {
  const data = pixelsOf(canvas);
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (let i = 0; i < data.length; i += 4) {
    if (data[i + 3] !== 255) continue;
    const colour = `${data[i]},${data[i + 1]},${data[i + 2]}`;
    counts.set(colour, (counts.get(colour) ?? 0) + 1);
  }
  return counts;
}

/** @param {string} selector @returns {HTMLElement} */
function found(selector) {
  const element = document.querySelector(selector);
  if (!(element instanceof HTMLElement)) throw new Error(`no ${selector}`);
  return element;
}

const inPage = {
  /** Texts that are hard to read, by the limits of WCAG AA. */
  unreadable() {
    const problems = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    let looked = 0;
    for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
      const parent = /** @type {Element} */ (node.parentElement);
      if (!node.textContent?.trim() || !parent.checkVisibility()) continue;
      const style = getComputedStyle(parent);
      const size = Number.parseFloat(style.fontSize);
      const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
      const ratio = contrast(parsedColour(style.color), groundOf(parent));
      looked++;
      if (ratio < (isLarge ? 3 : 4.5)) {
        problems.push(`${ratio.toFixed(2)}: ${node.textContent.trim().slice(0, 60)}`);
      }
    }
    if (looked === 0) problems.push('no text at all');
    return problems;
  },

  /** A box with a table scrolled to its right end. @param {string} selector */
  scrolled(selector) {
    const box = found(selector);
    box.scrollLeft = box.scrollWidth;
    const { left } = box.getBoundingClientRect();
    const ends = Array.from(box.querySelectorAll('tbody th'), (heading) => {
      return heading.getBoundingClientRect().right - left;
    });
    // How far the row headings reach into what is seen; 0 or less: they are out of sight.
    return { own: box.clientWidth, whole: box.scrollWidth, headings: Math.min(...ends) };
  },

  /** Colours of the charts that are hard to tell from the ground. @returns {string[]} */
  faint() {
    const ground = namedColour('ground');
    const limits = {
      ink: 4.5,
      muted: 4.5,
      good: 4.5,
      bad: 4.5,
      ...Object.fromEntries([1, 2, 3, 4, 5, 6].map((tone) => [`tone-${tone}`, 3])),
    };
    return Object.entries(limits)
      .map(([name, limit]) => ({ name, limit, ratio: contrast(namedColour(name), ground) }))
      .filter(({ ratio, limit }) => ratio < limit)
      .map(({ name, ratio }) => `${name}: ${ratio.toFixed(2)}`);
  },

  /** Lines of charts whose colour is nowhere in the drawing. @returns {string[]} */
  undrawn() {
    const problems = [];
    for (const plot of document.querySelectorAll('.plot')) {
      const { chart } = /** @type {HTMLElement} */ (plot).dataset;
      const canvas = plot.querySelector('canvas');
      if (canvas === null) {
        problems.push(`${chart}: no canvas`);
        continue;
      }
      const colours = coloursOf(canvas);
      const swatches = plot.parentElement?.querySelectorAll('.legend .swatch') ?? [];
      for (const swatch of swatches) {
        const [red, green, blue] = parsedColour(getComputedStyle(swatch).stroke);
        const key = [red, green, blue].map((part) => Math.round(part * 255)).join(',');
        if (!colours.has(key)) problems.push(`${chart}: ${swatch.parentElement?.textContent}`);
      }
    }
    return problems;
  },

  /** Pixels of a chart that are only tinted. @param {string} chart */
  shaded(chart) {
    const canvas = found(`.plot[data-chart="${chart}"]`).querySelector('canvas');
    return pixelsOf(/** @type {HTMLCanvasElement} */ (canvas)).filter(
      (value, i) => i % 4 === 3 && value > 0 && value < 50,
    ).length;
  },

  /** Pixels of a colour of the page in a chart. @param {string} chart @param {string} name */
  pixels(chart, name) {
    const canvas = found(`.plot[data-chart="${chart}"]`).querySelector('canvas');
    const key = namedColour(name)
      .slice(0, 3)
      .map((part) => Math.round(part * 255))
      .join(',');
    return coloursOf(/** @type {HTMLCanvasElement} */ (canvas)).get(key) ?? 0;
  },

  /** Elements without a name for who does not see them, and broken references between elements. */
  nameless() {
    const problems = [];
    const named = 'a, button, summary, [role="slider"], [role="region"], figure, section, nav';
    for (const element of document.querySelectorAll(named)) {
      const by = element.getAttribute('aria-labelledby');
      const label = element.getAttribute('aria-label') ?? '';
      const text =
        by === null ? label || element.textContent : document.getElementById(by)?.textContent;
      if (!text?.trim()) problems.push(element.outerHTML.slice(0, 99));
    }
    for (const element of document.querySelectorAll('[aria-describedby]')) {
      const by = element.getAttribute('aria-describedby') ?? '';
      if (document.getElementById(by) === null) problems.push(`describedby ${by}`);
    }
    const ids = Array.from(document.querySelectorAll('[id]'), ({ id }) => id);
    if (new Set(ids).size !== ids.length) problems.push('an id twice');
    const levels = Array.from(document.querySelectorAll('h1, h2, h3'), ({ tagName }) =>
      Number(tagName[1]),
    );
    for (const [i, level] of levels.entries()) {
      if (level > (levels[i - 1] ?? 0) + 1) problems.push(`heading ${i} skips a level`);
    }
    return problems;
  },

  /** What has the focus: whether that is seen, and what it is. */
  focused() {
    const element = document.activeElement;
    if (element === null || element === document.body) return undefined;
    const { outlineStyle, outlineWidth } = getComputedStyle(element);
    const { left, right, width } = element.getBoundingClientRect();
    return {
      name: `${element.tagName.toLowerCase()} ${element.getAttribute('aria-labelledby') ?? element.getAttribute('aria-label') ?? element.textContent}`,
      isSeen: outlineStyle === 'solid' && Number.parseFloat(outlineWidth) >= 2 && width > 0,
      isOnScreen: right > 0 && left < innerWidth,
    };
  },

  /** How many elements the tab key should reach. */
  focusable() {
    const all = document.querySelectorAll('a[href], button, summary, [tabindex="0"]');
    return Array.from(all).filter((element) => element.checkVisibility()).length;
  },

  /** Charts with their values, and the texts of their tables. */
  charts() {
    /** @type {import('../../src/storm/report/html/chart.ts').Chart[]} */
    const charts = JSON.parse(found('#charts').textContent ?? '');
    return charts
      .filter(({ id }) => document.querySelector(`.plot[data-chart="${id}"]`) !== null)
      .map(({ id, lines, x }) => {
        const figure = found(`.plot[data-chart="${id}"]`).parentElement;
        const rows = figure?.querySelectorAll('tr') ?? [];
        return {
          id,
          kind: x.kind,
          names: lines.map(({ name }) => name),
          places: x.values.length,
          table: Array.from(rows, ({ cells }) =>
            Array.from(cells, (cell) => cell.textContent?.trim()),
          ),
        };
      });
  },
};

Object.assign(globalThis, { inPage });

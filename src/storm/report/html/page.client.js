// @ts-check
/**
 * The script of a page: draws its charts, and lets pointers and keys read them. It runs in a browser,
 * as it is: the page holds it whole.
 */

/** @import { Chart, ChartUnit } from './chart.ts' */

(() => {
  const Plot = /** @type {{ uPlot: typeof import('uplot') }} */ (/** @type {unknown} */ (window))
    .uPlot;
  const FONT = '12px system-ui, sans-serif';
  const HEIGHT = 280;
  const HEIGHT_NARROW = 240;
  const NARROW = 480;
  /** Of a line of text within a chart. */
  const LABEL_HEIGHT = 17;
  const HINT = 'Point at the chart, or select it and use the arrow keys, to read its values.';
  const DASHES = { solid: [], dashed: [8, 4], dotted: [2, 3] };
  /** Steps of a time axis, in seconds. */
  const STEPS = [
    0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200,
    14400, 21600, 43200, 86400,
  ];

  // Figures as people read them: the same words as in the tables.

  /** @param {number} value */
  function threeDigits(value) {
    if (value < 9.995) return value.toFixed(2);
    return value < 99.95 ? value.toFixed(1) : String(Math.round(value));
  }

  /** A value in the largest of four units that fits. @param {number} value @param {string[]} units */
  function scaled(value, [one = '', thousand = '', million = '', billion = '']) {
    if (value < 1e3) return `${Math.round(value)} ${one}`;
    if (value < 1e6) return `${threeDigits(value / 1e3)} ${thousand}`;
    if (value < 1e9) return `${threeDigits(value / 1e6)} ${million}`;
    return `${threeDigits(value / 1e9)} ${billion}`;
  }

  /** @type {Readonly<Record<ChartUnit, (value: number) => string>>} */
  const FORMATS = {
    ns: (value) => scaled(value, ['ns', 'µs', 'ms', 's']),
    bytes: (value) => scaled(value, ['B', 'kB', 'MB', 'GB']),
    count: (value) => value.toLocaleString('en-US', { maximumFractionDigits: value < 10 ? 3 : 1 }),
    perSecond: (value) => value.toLocaleString('en-US', { maximumFractionDigits: 0 }),
    processors: (value) => value.toFixed(2),
    percent: (value) => `${value.toFixed(1)} %`,
  };

  /** A figure beside an axis: without zeros behind. @param {number} value @param {ChartUnit} unit */
  function tick(value, unit) {
    if (value === 0) return '0';
    if (unit === 'count' || unit === 'perSecond') {
      return value.toLocaleString('en-US', { notation: 'compact', maximumFractionDigits: 2 });
    }
    return FORMATS[unit](value)
      .replace(/(\.\d*?)0+(?=\D|$)/, '$1')
      .replace(/\.(?=\D|$)/, '');
  }

  /** @param {number} seconds */
  function timeText(seconds) {
    const rounded = Math.round(seconds * 1_000) / 1_000;
    if (rounded < 120) return `${rounded} s`;
    const [hours, minutes] = [Math.floor(rounded / 3_600), Math.floor((rounded % 3_600) / 60)];
    const rest = Math.round(rounded % 60);
    const parts = [hours && `${hours} h`, minutes && `${minutes} min`, rest && `${rest} s`];
    return parts.filter(Boolean).join(' ');
  }

  /** @param {number} nines of a percentile: 2 is the 99th */
  function percentileText(nines) {
    const digits = Math.max(0, Math.ceil(nines - 1e-6) - 2);
    const text = (100 * (1 - 10 ** -nines)).toFixed(Math.max(digits, nines % 1 === 0 ? 0 : 1));
    return `p${text.replace(/\.0+$/, '')}`;
  }

  /** The 50th, the 90th, the 99th and so on. */
  const MARKED_PERCENTILES = [Math.log10(2), 1, 2, 3, 4, 5, 6, 7, 8, 9];

  /** @param {Chart} chart @param {number} at */
  function placeText({ x }, at) {
    return x.kind === 'seconds' ? `at ${timeText(at)}` : percentileText(at);
  }

  // Drawing.

  /** @param {string} name of a colour of the page */
  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  }

  /** Powers of ten, with steps between them where there are few. @param {number} min @param {number} max */
  function decades(min, max) {
    const factors = Math.log10(max / min) < 2.5 ? [1, 2, 5] : [1];
    const values = [];
    for (let power = Math.round(Math.log10(min)); 10 ** power <= max * 1.001; power++) {
      for (const factor of factors) {
        if (factor * 10 ** power <= max * 1.001) values.push(factor * 10 ** power);
      }
    }
    return values;
  }

  /** Stretches of the axis, behind everything. @param {uPlot} u @param {Chart} chart */
  function drawSpans(u, { spans }) {
    const { ctx, bbox } = u;
    const ratio = Plot.pxRatio;
    ctx.save();
    useFont(ctx);
    for (const [i, { from, to, label }] of spans.entries()) {
      const left = Math.max(bbox.left, u.valToPos(from, 'x', true));
      const right = Math.min(bbox.left + bbox.width, u.valToPos(to, 'x', true));
      if (right <= left) continue;
      ctx.fillStyle = colour(i % 2 === 0 ? 'span-even' : 'span-odd');
      ctx.fillRect(left, bbox.top, right - left, bbox.height);
      if (ctx.measureText(label).width > right - left) continue;
      ctx.fillStyle = colour('muted');
      ctx.fillText(label, left, bbox.top - 4 * ratio);
    }
    ctx.restore();
  }

  /** Events, behind the lines. @param {uPlot} u @param {Chart} chart */
  function drawMarks(u, { marks, spans }) {
    const { ctx, bbox } = u;
    const ratio = Plot.pxRatio;
    ctx.save();
    useFont(ctx);
    ctx.lineWidth = ratio;
    const top = bbox.top - (spans.length > 0 ? LABEL_HEIGHT : 0) * ratio;
    const end = bbox.left + bbox.width;
    ctx.strokeStyle = ctx.fillStyle = colour('ink');
    ctx.setLineDash([2 * ratio, 4 * ratio]);
    let free = Number.NEGATIVE_INFINITY;
    for (const { at, label } of marks) {
      const x = u.valToPos(at, 'x', true);
      if (x < bbox.left || x > end) continue;
      line(ctx, x, top, x, bbox.top + bbox.height);
      const { width } = ctx.measureText(label);
      const start = Math.min(x, end - width);
      // A text over another one tells nothing: the table of events has them all.
      if (start < free) continue;
      ctx.fillText(label, start, top - 4 * ratio);
      free = start + width + 8 * ratio;
    }
    ctx.restore();
  }

  /** Limits, over the lines. @param {uPlot} u @param {Chart} chart */
  function drawLimits(u, { limits }) {
    const { ctx, bbox } = u;
    const ratio = Plot.pxRatio;
    ctx.save();
    clip(u);
    useFont(ctx);
    ctx.textAlign = 'right';
    for (const { value, label, isKept } of limits) {
      const y = u.valToPos(value, 'y', true);
      const stroke = colour(isKept ? 'good' : 'bad');
      ctx.strokeStyle = stroke;
      ctx.lineWidth = (isKept ? 1.5 : 2.5) * ratio;
      ctx.setLineDash([12 * ratio, 4 * ratio, 3 * ratio, 4 * ratio]);
      line(ctx, bbox.left, y, bbox.left + bbox.width, y);
      const isHigh = y - bbox.top < LABEL_HEIGHT * ratio;
      const [mark, word] = isKept ? ['✓', 'kept'] : ['✕', 'crossed'];
      const room = bbox.width - 8 * ratio;
      const whole = `${mark} ${word}: ${label}`;
      const text = ctx.measureText(whole).width > room ? `${mark} ${label}` : whole;
      const at = /** @type {const} */ ([
        bbox.left + bbox.width - 4 * ratio,
        y + (isHigh ? LABEL_HEIGHT - 4 : -4) * ratio,
      ]);
      // It must be readable on the lines that it covers.
      const width = Math.min(room, ctx.measureText(text).width);
      ctx.fillStyle = colour('ground');
      ctx.globalAlpha = 0.8;
      ctx.fillRect(at[0] - width, at[1] - 11 * ratio, width, 14 * ratio);
      ctx.globalAlpha = 1;
      ctx.fillStyle = stroke;
      ctx.fillText(text, ...at, room);
    }
    ctx.restore();
  }

  /** @param {uPlot} u */
  function clip({ ctx, bbox: { left, top, width, height } }) {
    ctx.beginPath();
    ctx.rect(left, top, width, height);
    ctx.clip();
  }

  /** @param {CanvasRenderingContext2D} ctx @param {[number, number, number, number]} ends */
  function line(ctx, ...[x1, y1, x2, y2]) {
    ctx.beginPath();
    ctx.moveTo(x1, y1);
    ctx.lineTo(x2, y2);
    ctx.stroke();
  }

  /** @param {CanvasRenderingContext2D} ctx */
  function useFont(ctx) {
    ctx.font = FONT.replace(/^\d+/, (size) => String(Number(size) * Plot.pxRatio));
    ctx.textAlign = 'left';
    ctx.textBaseline = 'alphabetic';
  }

  /** @param {Chart} chart @param {number} width @param {(u: uPlot) => void} onCursor */
  function options(chart, width, onCursor) {
    const { x, y, spans, marks } = chart;
    // The names of stages and of events stand above, where no line is.
    const above = (spans.length > 0 ? LABEL_HEIGHT : 0) + (marks.length > 0 ? LABEL_HEIGHT : 0);
    const axis = {
      stroke: colour('muted'),
      font: FONT,
      labelFont: FONT,
      labelSize: 20,
      grid: { stroke: colour('grid'), width: 1 },
      ticks: { stroke: colour('grid'), width: 1, size: 4 },
    };
    /** @type {import('uplot').Options} */
    const result = {
      width,
      height: width < NARROW ? HEIGHT_NARROW : HEIGHT,
      padding: [above + 8, null, null, null],
      legend: { show: false },
      cursor: {
        y: false,
        points: { size: 8 },
        drag: { x: true, y: false },
        ...(x.kind === 'seconds' ? { sync: { key: 'seconds', scales: ['x', null] } } : {}),
      },
      scales: {
        x: { time: false, min: x.min, max: x.max },
        y: {
          // The library's names for them exist in its types only.
          // oxlint-disable-next-line typescript/no-unsafe-enum-assignment
          distr: y.isLogarithmic ? 3 : 1,
          range: () => [y.min, y.max],
        },
      },
      axes: [
        {
          ...axis,
          label: x.label,
          size: 32,
          space: 64,
          ...(x.kind === 'seconds'
            ? { incrs: STEPS, values: (_, splits) => splits.map(timeText) }
            : {
                splits: () => MARKED_PERCENTILES.filter((at) => at <= x.max),
                values: (_, splits) => splits.map(percentileText),
              }),
        },
        {
          ...axis,
          label: y.label,
          size: 64,
          ...(y.isLogarithmic ? { splits: () => decades(y.min, y.max) } : {}),
          values: (_, splits) => splits.map((value) => tick(value, y.unit)),
        },
      ],
      series: [
        {},
        ...chart.lines.map(({ name, tone, stroke, isJoined = false }, i) => ({
          label: name,
          stroke: colour(`tone-${tone}`),
          width: 2,
          dash: DASHES[stroke],
          spanGaps: isJoined,
          // Smaller ones over larger ones: equal values of several lines are all seen.
          points: { size: Math.max(4, 10 - 2 * i), fill: colour('ground') },
        })),
      ],
      hooks: {
        drawClear: [(u) => drawSpans(u, chart)],
        drawAxes: [(u) => drawMarks(u, chart)],
        draw: [(u) => drawLimits(u, chart)],
        setCursor: [onCursor],
      },
    };
    return result;
  }

  // Reading by pointer and by keys.

  /** @param {Chart} chart @param {number} index */
  function valueAt({ x }, index) {
    return x.values[index] ?? x.min;
  }

  /** What a chart says at a place of its axis. @param {Chart} chart @param {number} index */
  function reading(chart, index) {
    const values = chart.lines.flatMap(({ name, values: all }) => {
      const value = all[index];
      return value === null || value === undefined
        ? []
        : [`${name} ${FORMATS[chart.y.unit](value)}`];
    });
    return `${placeText(chart, valueAt(chart, index))}: ${values.join(', ') || 'no values'}`;
  }

  /** @param {Chart} chart @param {HTMLElement} plot */
  function show(chart, plot) {
    const last = chart.x.values.length - 1;
    const readout = /** @type {HTMLElement} */ (plot.parentElement?.querySelector('.readout'));
    const buttons = plot.parentElement?.querySelectorAll('.legend button') ?? [];
    const data = /** @type {import('uplot').AlignedData} */ ([
      chart.x.values,
      ...chart.lines.map(({ values }) => values),
    ]);
    /** @type {uPlot} */
    let u;

    /** @param {uPlot} of */
    const onCursor = ({ cursor }) => {
      const { idx } = cursor;
      if (idx === null || idx === undefined) {
        readout.textContent = HINT;
        readout.classList.remove('read');
        return;
      }
      readout.textContent = reading(chart, idx);
      readout.classList.add('read');
      plot.setAttribute('aria-valuenow', String(idx));
      plot.setAttribute('aria-valuetext', readout.textContent);
    };

    const draw = () => {
      u?.destroy();
      u = new Plot(options(chart, plot.clientWidth, onCursor), data, plot);
      for (const [i, button] of buttons.entries()) {
        if (button.getAttribute('aria-pressed') === 'false') u.setSeries(i + 1, { show: false });
      }
    };

    /** @param {number} index */
    const goTo = (index) => {
      const left = u.valToPos(valueAt(chart, index), 'x');
      u.setCursor({ left, top: u.over.clientHeight / 2 });
    };

    /** @param {number} factor of what is seen; at the cursor, or else the middle */
    const zoom = (factor) => {
      const { min = chart.x.min, max = chart.x.max } = u.scales.x ?? {};
      const { idx } = u.cursor;
      const centre = idx === null || idx === undefined ? (min + max) / 2 : valueAt(chart, idx);
      const width = Math.min(chart.x.max - chart.x.min, (max - min) * factor);
      const from = Math.min(Math.max(chart.x.min, centre - width / 2), chart.x.max - width);
      u.setScale('x', { min: from, max: from + width });
    };
    const whole = () => u.setScale('x', { min: chart.x.min, max: chart.x.max });

    /** @param {(index: number) => number} next */
    const move = (next) => {
      const { idx } = u.cursor;
      const from = idx ?? -1;
      goTo(Math.min(last, Math.max(0, Math.round(next(from)))));
    };
    const page = Math.max(1, last / 10);
    /** @type {Readonly<Record<string, () => void>>} */
    const keys = {
      ArrowRight: () => move((index) => index + 1),
      ArrowUp: () => move((index) => index + 1),
      ArrowLeft: () => move((index) => index - 1),
      ArrowDown: () => move((index) => index - 1),
      PageUp: () => move((index) => index + page),
      PageDown: () => move((index) => index - page),
      Home: () => goTo(0),
      End: () => goTo(last),
      Escape: () => u.setCursor({ left: -10, top: -10 }),
      '+': () => zoom(0.5),
      '-': () => zoom(2),
      0: whole,
    };

    readout.textContent = HINT;
    // A slider is what a screen reader knows that arrow keys move, and whose value it reads out.
    const attributes = { role: 'slider', tabindex: '0', 'aria-valuetext': HINT };
    const range = { 'aria-valuemin': '0', 'aria-valuemax': String(last), 'aria-valuenow': '0' };
    for (const [name, value] of Object.entries({ ...attributes, ...range })) {
      plot.setAttribute(name, value);
    }
    plot.addEventListener('keydown', (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      const action = Object.hasOwn(keys, event.key) ? keys[event.key] : undefined;
      if (action === undefined) return;
      event.preventDefault();
      action();
    });
    plot.addEventListener('dblclick', whole);
    for (const [i, button] of buttons.entries()) {
      button.addEventListener('click', () => {
        const isShown = button.getAttribute('aria-pressed') !== 'true';
        button.setAttribute('aria-pressed', String(isShown));
        u.setSeries(i + 1, { show: isShown });
      });
    }

    draw();
    new ResizeObserver(() => {
      const width = plot.clientWidth;
      if (width === 0 || width === u.width) return;
      u.setSize({ width, height: width < NARROW ? HEIGHT_NARROW : HEIGHT });
    }).observe(plot);
    return draw;
  }

  document.documentElement.classList.add('scripted');
  const element = /** @type {HTMLElement} */ (document.getElementById('charts'));
  /** @type {readonly Chart[]} */
  const charts = JSON.parse(element.textContent ?? '[]');
  const redraws = charts.flatMap((chart) => {
    const plot = document.querySelector(`.plot[data-chart="${chart.id}"]`);
    return plot instanceof HTMLElement ? [show(chart, plot)] : [];
  });
  const redraw = () => {
    for (const draw of redraws) draw();
  };

  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
  // Paper is white, whatever the screen is.
  for (const [name, isPrinting] of /** @type {const} */ ([
    ['beforeprint', true],
    ['afterprint', false],
  ])) {
    addEventListener(name, () => {
      document.documentElement.classList.toggle('print', isPrinting);
      redraw();
    });
  }
})();

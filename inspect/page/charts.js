'use strict';
// Line charts in SVG with a shared cross-hair: pointing at a step in one chart shows it in all.
const charts = new Set();
const WIDTH = 400, HEIGHT = 168, LEFT = 38, RIGHT = 8, TOP = 8, BOTTOM = 20;

function niceTicks(low, high, wanted = 4) {
  const span = high - low || Math.abs(high) || 1;
  const raw = span / wanted;
  const power = Math.pow(10, Math.floor(Math.log10(raw)));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= raw);
  const ticks = [];
  for (let t = Math.ceil(low / step - 1e-9) * step; t <= high + step * 1e-6; t += step) ticks.push(Math.abs(t) < step * 1e-6 ? 0 : t);
  return ticks;
}

// lines: [{name, color, values, steps, dash, band: {low, high}, format}]; options: title, hint, format, min, max,
// baseline: value drawn dashed with its label.
function lineChart(title, hint, lines, options = {}) {
  const format = options.format || compact;
  const drawn = lines.filter((line) => line.values.some((v) => v !== null && v !== undefined));
  const panel = h('section', { class: 'panel', 'data-chart': title }, h('h2', {}, title, h('span', { class: 'dim' }, hint || '')));
  if (drawn.length === 0) return add(panel, [h('p', { class: 'dim small' }, 'not recorded yet')]);
  const svg = h('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': title, tabindex: 0 });
  const legend = h('div', { class: 'legend' });
  const all = [];
  for (const line of drawn) {
    for (const v of line.values) if (v !== null && v !== undefined && isFinite(v)) all.push(v);
    if (line.band) for (const v of [...line.band.low, ...line.band.high]) if (v !== null && isFinite(v)) all.push(v);
  }
  if (options.baseline !== undefined && isFinite(options.baseline)) all.push(options.baseline);
  let low = options.min !== undefined ? options.min : Math.min(...all), high = options.max !== undefined ? Math.max(options.max, ...all) : Math.max(...all);
  if (options.zero) { low = Math.min(low, 0); high = Math.max(high, 0); }
  if (low === high) { low -= Math.abs(low) * 0.1 || 0.5; high += Math.abs(high) * 0.1 || 0.5; }
  const steps = drawn.flatMap((line) => line.steps);
  const first = Math.min(...steps), last = Math.max(...steps, first + 1);
  let width = WIDTH;
  const x = (step) => LEFT + (width - LEFT - RIGHT) * (step - first) / (last - first);
  const y = (value) => HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / (high - low);
  const path = (line, values) => {
    let out = '', pen = false;
    line.steps.forEach((step, i) => {
      const v = values[i];
      if (v === null || v === undefined || !isFinite(v)) { pen = false; return; }
      out += (pen ? 'L' : 'M') + x(step).toFixed(1) + ' ' + y(v).toFixed(1);
      pen = true;
    });
    return out;
  };
  const bandPath = (line) => {
    const known = line.steps.map((s, i) => i).filter((i) => line.band.low[i] !== null && line.band.high[i] !== null);
    if (known.length < 2) return '';
    return 'M' + known.map((i) => x(line.steps[i]).toFixed(1) + ' ' + y(line.band.high[i]).toFixed(1)).join('L') +
      'L' + known.reverse().map((i) => x(line.steps[i]).toFixed(1) + ' ' + y(line.band.low[i]).toFixed(1)).join('L') + 'Z';
  };
  const draw = () => {
    clear(svg);
    svg.setAttribute('viewBox', `0 0 ${width} ${HEIGHT}`);
    for (const t of niceTicks(low, high)) {
      add(svg, [h('line', { class: 'axis', x1: LEFT, x2: width - RIGHT, y1: y(t), y2: y(t) }),
        h('text', { x: LEFT - 5, y: y(t) + 3, 'text-anchor': 'end' }, format(t))]);
    }
    for (const t of niceTicks(first, last, 5).filter(Number.isInteger)) {
      add(svg, [h('text', { x: x(t), y: HEIGHT - 5, 'text-anchor': 'middle' }, compact(t))]);
    }
    if (options.baseline !== undefined && isFinite(options.baseline)) {
      const at = y(options.baseline);
      add(svg, [h('line', { x1: LEFT, x2: width - RIGHT, y1: at, y2: at, stroke: cssVar('--faint'), 'stroke-dasharray': '5 4' }),
        h('text', { x: width - RIGHT, y: at - 4, 'text-anchor': 'end' }, 'step ' + first + ': ' + format(options.baseline))]);
    }
    for (const line of drawn) {
      const color = cssVar('--' + line.color);
      if (line.band) add(svg, [h('path', { d: bandPath(line), fill: color, opacity: 0.16 })]);
      add(svg, [h('path', { d: path(line, line.values), fill: 'none', stroke: color, 'stroke-width': line.dash ? 1.4 : 1.9,
        'stroke-linejoin': 'round', 'stroke-dasharray': line.dash ? '5 4' : null, opacity: line.dash ? 0.8 : 1 })]);
      // A single point makes no line.
      if (line.values.filter((v) => v !== null).length === 1) {
        const i = line.values.findIndex((v) => v !== null);
        add(svg, [h('circle', { cx: x(line.steps[i]), cy: y(line.values[i]), r: 3, fill: color })]);
      }
    }
    cross = h('g', {});
    add(svg, [cross]);
  };
  let cross = null;
  const chart = {
    svg,
    show(step) {
      clear(cross);
      clear(legend);
      for (const line of drawn) {
        let at = -1;
        const wanted = step === null ? Infinity : step;
        line.steps.forEach((s, i) => { if (s <= wanted && line.values[i] !== null && line.values[i] !== undefined) at = i; });
        const value = at < 0 ? null : line.values[at];
        add(legend, [h('span', {}, h('i', { style: { background: cssVar('--' + line.color) } }), line.name, ' ', h('b', {}, (line.format || format)(value)))]);
        if (step !== null && value !== null) add(cross, [h('circle', { cx: x(line.steps[at]), cy: y(value), r: 3, fill: cssVar('--' + line.color) })]);
      }
      if (step !== null && step >= first && step <= last) add(cross, [h('line', { class: 'cross', x1: x(step), x2: x(step), y1: TOP, y2: HEIGHT - BOTTOM })]);
    },
    resize() {
      const now = svg.clientWidth;
      if (now > 40 && now !== width) { width = now; draw(); this.show(null); }
    },
  };
  const known = [...new Set(steps)].sort((a, b) => a - b);
  const stepAt = (event) => {
    const box = svg.getBoundingClientRect();
    const wanted = first + (last - first) * ((event.clientX - box.left) * width / box.width - LEFT) / (width - LEFT - RIGHT);
    return known.reduce((best, s) => (Math.abs(s - wanted) < Math.abs(best - wanted) ? s : best), known[0]);
  };
  let keyed = null;
  svg.addEventListener('pointermove', (event) => { keyed = stepAt(event); charts.forEach((c) => c.show(keyed)); tip(event, h('b', {}, 'step ' + keyed), h('span', { class: 'dim' }, '  click to open')); });
  svg.addEventListener('pointerleave', () => { untip(); charts.forEach((c) => c.show(null)); });
  svg.addEventListener('click', (event) => { untip(); openNearestStep(stepAt(event)); });
  svg.addEventListener('keydown', (event) => {
    if (!['ArrowLeft', 'ArrowRight', 'Enter'].includes(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
    let i = keyed === null ? known.length - 1 : known.indexOf(keyed);
    if (event.key === 'Enter') { openNearestStep(known[i]); return; }
    i = Math.max(0, Math.min(known.length - 1, i + (event.key === 'ArrowLeft' ? -1 : 1)));
    keyed = known[i];
    charts.forEach((c) => c.show(keyed));
  });
  svg.addEventListener('blur', () => charts.forEach((c) => c.show(null)));
  charts.add(chart);
  draw();
  chart.show(null);
  return add(panel, [h('div', { class: 'chart' }, svg), legend]);
}
const resizeCharts = () => charts.forEach((chart) => chart.resize());
addEventListener('resize', resizeCharts);

// A histogram whose bars filter. values: numbers; choose(low, high) or choose(null).
function histogram(title, values, current, choose, format = compact) {
  const known = values.filter((v) => v !== null && isFinite(v));
  const panel = h('section', { class: 'panel', 'data-hist': title }, h('h2', {}, title, h('span', { class: 'dim' }, known.length ? 'mean ' + format(known.reduce((a, b) => a + b, 0) / known.length) : '')));
  if (known.length === 0) return add(panel, [h('p', { class: 'dim small' }, 'none')]);
  const low = Math.min(...known), high = Math.max(...known);
  const distinct = new Set(known).size;
  const bins = low === high ? 1 : Math.min(24, Math.max(distinct <= 12 ? distinct : 16, 2));
  const width = (high - low) / bins || 1;
  const counts = new Array(bins).fill(0);
  for (const v of known) counts[Math.min(bins - 1, Math.floor((v - low) / width))]++;
  const most = Math.max(...counts);
  const chosen = current ? current.title === title : false;
  const bars = counts.map((count, i) => {
    const from = low + i * width, to = i === bins - 1 ? high : from + width;
    const pressed = chosen && Math.abs(current.low - from) < 1e-9;
    const label = count + ' samples from ' + format(from) + ' to ' + format(to);
    return h('button', { type: 'button', 'aria-pressed': String(pressed), 'aria-label': label, title: label, disabled: count === 0,
      onclick: () => choose(pressed ? null : { title, low: from, high: to, last: i === bins - 1 }) },
    h('i', { style: { height: (count === 0 ? 0 : Math.max(3, 100 * count / most)) + '%' } }));
  });
  return add(panel, [h('div', { class: 'hist' + (chosen ? ' filtered' : '') }, bars), h('div', { class: 'range' }, h('span', {}, format(low)), h('span', {}, format(high)))]);
}
const inBin = (value, bin) => value !== null && value >= bin.low - 1e-12 && (bin.last ? value <= bin.high + 1e-12 : value < bin.high - 1e-12);

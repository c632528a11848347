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

// What all charts of the timeline share; kept in the address and in this browser.
const chartView = { x: 'step', smooth: 0, log: false };
const X_AXES = [['step', 'step'], ['tokens', 'tokens'], ['time', 'time']];
function duration(s) {
  if (s === null || s === undefined || !isFinite(s)) return '–';
  const [size, unit] = s < 90 ? [1, 's'] : s < 5400 ? [60, 'min'] : s < 129600 ? [3600, 'h'] : [86400, 'd'];
  const n = s / size;
  return (n < 10 && unit !== 's' ? n.toFixed(1).replace(/\.0$/, '') : Math.round(n)) + ' ' + unit;
}
const formatX = (value, axis = chartView.x) => (axis === 'time' ? duration(value) : compact(value));

// Exponential moving average over the known values, without the pull towards its start.
function smoothed(values, weight) {
  let sum = 0, mass = 0;
  return values.map((v) => {
    if (v === null || v === undefined || !isFinite(v)) return null;
    sum = sum * weight + (1 - weight) * v;
    mass = mass * weight + (1 - weight);
    return sum / mass;
  });
}
const isKnown = (v) => v !== null && v !== undefined && isFinite(v);

// lines: [{name, color, values, steps, axes: {tokens: [..], time: [..]}, dash, band: {low, high}, format}]; options: title,
// hint, format, min, max, zero, baseline: value drawn dashed with its label, plain: neither smoothed nor logarithmic.
// A line goes on over the steps that have no value; where values are few, each has a point.
function lineChart(title, hint, lines, options = {}) {
  const format = options.format || compact;
  const drawn = lines.filter((line) => line.values.some(isKnown));
  const panel = h('section', { class: 'panel', 'data-chart': title }, h('h2', {}, title, h('span', { class: 'dim' }, hint || '')));
  if (drawn.length === 0) return add(panel, [h('p', { class: 'dim small' }, 'not recorded yet')]);
  const svg = h('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': title, tabindex: 0 });
  const legend = h('div', { class: 'legend' });
  const axis = options.plain || !drawn.every((line) => line.axes && line.axes[chartView.x]) ? 'step' : chartView.x;
  const weight = options.plain ? 0 : chartView.smooth;
  const xs = new Map(drawn.map((line) => [line, axis === 'step' ? line.steps : line.axes[axis]]));
  const points = new Map(drawn.map((line) => [line, line.steps.map((_, i) => i).filter((i) => isKnown(line.values[i]) && isKnown(xs.get(line)[i]))]));
  const soft = new Map(drawn.map((line) => [line, weight > 0 && points.get(line).length > 2 ? smoothed(line.values, weight) : line.values]));
  const all = [];
  for (const line of drawn) {
    for (const i of points.get(line)) all.push(line.values[i]);
    if (line.band) for (const v of [...line.band.low, ...line.band.high]) if (isKnown(v)) all.push(v);
  }
  const log = !options.plain && chartView.log && all.some((v) => v > 0);
  if (options.baseline !== undefined && isKnown(options.baseline)) all.push(options.baseline);
  const inScale = log ? all.filter((v) => v > 0) : all;
  let low = Math.min(...inScale), high = Math.max(...inScale);
  if (!log) {
    if (options.min !== undefined) low = options.min;
    if (options.max !== undefined) high = Math.max(options.max, high);
    if (options.zero) { low = Math.min(low, 0); high = Math.max(high, 0); }
    if (low === high) { if (low === 0) high = 1; else { low -= Math.abs(low) * 0.1; high += Math.abs(high) * 0.1; } }
  } else if (low === high) { low /= 2; high *= 2; }
  const steps = drawn.flatMap((line) => points.get(line).map((i) => line.steps[i]));
  const places = drawn.flatMap((line) => points.get(line).map((i) => xs.get(line)[i]));
  const first = Math.min(...places), last = Math.max(...places, first + (axis === 'step' ? 1 : 1e-9));
  let width = WIDTH;
  const scale = log ? Math.log : (v) => v;
  const x = (place) => LEFT + (width - LEFT - RIGHT) * (place - first) / (last - first);
  const y = (value) => HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (scale(value) - scale(low)) / (scale(high) - scale(low));
  const shown = (v) => isKnown(v) && (!log || v > 0);
  const at = (line, values, i) => x(xs.get(line)[i]).toFixed(1) + ' ' + y(values[i]).toFixed(1);
  const path = (line, values) => points.get(line).filter((i) => shown(values[i])).map((i, n) => (n ? 'L' : 'M') + at(line, values, i)).join('');
  const bandPath = (line) => {
    const known = points.get(line).filter((i) => shown(line.band.low[i]) && shown(line.band.high[i]));
    if (known.length < 2) return '';
    return 'M' + known.map((i) => at(line, line.band.high, i)).join('L') + 'L' + known.reverse().map((i) => at(line, line.band.low, i)).join('L') + 'Z';
  };
  const ticks = () => {
    if (!log) return niceTicks(low, high);
    const out = [];
    for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++) for (const m of [1, 2, 5]) { const t = m * Math.pow(10, e); if (t >= low * 0.999 && t <= high * 1.001) out.push(t); }
    return out.length > 6 ? out.filter((t) => Math.abs(Math.log10(t) % 1) < 1e-6) : out.length ? out : niceTicks(low, high);
  };
  // Few points, or gaps between them: a line alone would hide where was measured.
  const sparse = (line) => points.get(line).length <= 40 && points.get(line).length < 0.7 * line.steps.length || points.get(line).length === 1;
  const draw = () => {
    clear(svg);
    svg.setAttribute('viewBox', `0 0 ${width} ${HEIGHT}`);
    for (const t of ticks()) {
      add(svg, [h('line', { class: 'axis', x1: LEFT, x2: width - RIGHT, y1: y(t), y2: y(t) }),
        h('text', { x: LEFT - 5, y: y(t) + 3, 'text-anchor': 'end' }, format(t))]);
    }
    for (const t of niceTicks(first, last, 5).filter((t) => axis !== 'step' || Number.isInteger(t))) {
      if (x(t) <= width - RIGHT + 1) add(svg, [h('text', { x: Math.min(x(t), width - 14), y: HEIGHT - 5, 'text-anchor': 'middle' }, formatX(t, axis))]);
    }
    if (options.baseline !== undefined && shown(options.baseline)) {
      const height = y(options.baseline);
      add(svg, [h('line', { x1: LEFT, x2: width - RIGHT, y1: height, y2: height, stroke: cssVar('--faint'), 'stroke-dasharray': '5 4' }),
        h('text', { x: width - RIGHT, y: height - 4, 'text-anchor': 'end' }, 'step ' + Math.min(...steps) + ': ' + format(options.baseline))]);
    }
    for (const line of drawn) {
      const color = cssVar('--' + line.color), values = soft.get(line);
      if (line.band) add(svg, [h('path', { d: bandPath(line), fill: color, opacity: 0.16 })]);
      if (values !== line.values) add(svg, [h('path', { d: path(line, line.values), fill: 'none', stroke: color, 'stroke-width': 1, opacity: 0.25 })]);
      add(svg, [h('path', { d: path(line, values), fill: 'none', stroke: color, 'stroke-width': line.dash ? 1.4 : 1.9,
        'stroke-linejoin': 'round', 'stroke-dasharray': line.dash ? '5 4' : null, opacity: line.dash ? 0.8 : 1 })]);
      if (sparse(line)) for (const i of points.get(line)) if (shown(line.values[i])) add(svg, [h('circle', { class: 'dot', cx: x(xs.get(line)[i]), cy: y(line.values[i]), r: points.get(line).length === 1 ? 3 : 2.4, fill: color })]);
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
      let place = null;
      for (const line of drawn) {
        const wanted = step === null ? Infinity : step;
        let found = -1;
        for (const i of points.get(line)) if (line.steps[i] <= wanted) found = i;
        const value = found < 0 ? null : soft.get(line)[found];
        add(legend, [h('span', {}, h('i', { style: { background: cssVar('--' + line.color) } }), line.name, ' ', h('b', {}, (line.format || format)(value)))]);
        if (step === null || found < 0) continue;
        if (shown(value)) add(cross, [h('circle', { cx: x(xs.get(line)[found]), cy: y(value), r: 3, fill: cssVar('--' + line.color) })]);
        if (place === null) place = axis === 'step' ? step : xs.get(line)[found];
      }
      if (place !== null && place >= first && place <= last) add(cross, [h('line', { class: 'cross', x1: x(place), x2: x(place), y1: TOP, y2: HEIGHT - BOTTOM })]);
    },
    resize() {
      const now = svg.clientWidth;
      if (now > 40 && now !== width) { width = now; draw(); this.show(null); }
    },
  };
  // step -> where it lies, for pointing.
  const known = new Map();
  for (const line of drawn) for (const i of points.get(line)) if (!known.has(line.steps[i])) known.set(line.steps[i], xs.get(line)[i]);
  const order = [...known.keys()].sort((a, b) => a - b);
  const stepAt = (event) => {
    const box = svg.getBoundingClientRect();
    const wanted = first + (last - first) * ((event.clientX - box.left) * width / box.width - LEFT) / (width - LEFT - RIGHT);
    return order.reduce((best, s) => (Math.abs(known.get(s) - wanted) < Math.abs(known.get(best) - wanted) ? s : best), order[0]);
  };
  let keyed = null;
  svg.addEventListener('pointermove', (event) => {
    keyed = stepAt(event);
    charts.forEach((c) => c.show(keyed));
    tip(event, h('b', {}, 'step ' + keyed), axis !== 'step' && h('span', { class: 'dim' }, '  ' + formatX(known.get(keyed), axis) + (axis === 'tokens' ? ' tokens' : '')), h('span', { class: 'dim' }, '  click to open'));
  });
  svg.addEventListener('pointerleave', () => { untip(); charts.forEach((c) => c.show(null)); });
  svg.addEventListener('click', (event) => { untip(); openNearestStep(stepAt(event)); });
  svg.addEventListener('keydown', (event) => {
    if (!['ArrowLeft', 'ArrowRight', 'Enter'].includes(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
    let i = keyed === null ? order.length - 1 : order.indexOf(keyed);
    if (event.key === 'Enter') { openNearestStep(order[i]); return; }
    i = Math.max(0, Math.min(order.length - 1, i + (event.key === 'ArrowLeft' ? -1 : 1)));
    keyed = order[i];
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

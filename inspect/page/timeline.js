'use strict';
let stepsWithSamples = null;
async function loadSteps() {
  stepsWithSamples = await api('steps').catch(() => []);
  return stepsWithSamples;
}
async function openNearestStep(step) {
  const known = stepsWithSamples && stepsWithSamples.length ? stepsWithSamples : await loadSteps();
  const steps = known.filter((s) => s.source === 'train');
  if (steps.length === 0) { go('#/timeline'); return; }
  const nearest = steps.reduce((best, s) => (Math.abs(s.step - step) < Math.abs(best.step - step) ? s : best), steps[0]);
  go('#/step/' + nearest.step);
}

const column = (rows, get) => rows.map((row) => { const v = get(row); return v === undefined ? null : v; });

async function viewTimeline(root, self, args, params) {
  const [data, info] = await Promise.all([api('timeline'), api('info')]);
  const other = info.compare ? await api('timeline', { run: 2 }) : null;
  loadSteps();
  const rows = data.scan, steps = rows.map((r) => r.step);
  const head = h('div', { class: 'head' }, h('h1', {}, 'Run timeline'),
    info.last_step !== null && pill('step ' + info.last_step, 'accent'),
    info.samples ? pill(info.samples.toLocaleString('en') + ' samples', '') : null,
    info.compare && pill('compared with ' + info.compare, 'info'),
    h('span', { class: 'grow' }),
    !EXPORTED && info.traces && h('a', { class: 'btn', href: 'api/export', download: '' }, 'Export one file'));
  add(root, [head]);
  if (info.damage > 0) add(root, [h('div', { class: 'note alert' }, info.damage + ' damaged places in the trace stream; every other record is shown.')]);
  if (info.no_task) add(root, [h('div', { class: 'note' }, 'Flips are unknown: ' + info.no_task)]);
  if (info.to_index > info.indexed) add(root, [h('div', { class: 'note' }, `Indexing the traces: ${info.indexed.toLocaleString('en')} of ${info.to_index.toLocaleString('en')} groups; counts grow while it runs.`)]);
  const series = (name) => data.series[name] || [];
  const metric = (label, name, color) => ({ name: label, color, values: series(name), steps: data.steps });
  const scan = (label, get, color, format) => ({ name: label, color, values: column(rows, get), steps, format });
  const otherMetric = (name, color) => (other && other.series[name] ? [{ name: info.compare, color, values: other.series[name], steps: other.steps, dash: true }] : []);
  const otherScan = (get, color) => (other && other.scan.length ? [{ name: info.compare, color, values: column(other.scan, get), steps: other.scan.map((r) => r.step), dash: true }] : []);
  if (rows.length === 0 && data.steps.length === 0) {
    add(root, [h('div', { class: 'empty' }, 'No step is finished yet. This page fills itself as the run goes on.')]);
    return;
  }
  if (rows.length > 0) {
    const a = rows[0], z = rows[rows.length - 1];
    const tile = (label, value, was) => h('div', { class: 'tile' }, h('div', { class: 'label' }, label), h('div', { class: 'value' }, value), h('div', { class: 'was' }, was));
    add(root, [h('div', { class: 'tiles' },
      tile('Solve rate', percent(z.solve), `step ${a.step}: ${percent(a.solve)}`),
      tile('Reward', fixed(z.reward), `step ${a.step}: ${fixed(a.reward)}`),
      tile('Length', compact(z.length), `step ${a.step}: ${compact(a.length)} tokens`),
      tile('W→R flips a trace', fixed(z.flips[0], 2), `step ${a.step}: ${fixed(a.flips[0], 2)}`),
      tile('Traces with an aha', percent(z.aha, 1), `already at step ${a.step}: ${percent(a.aha, 1)}`),
      tile('Reflection pays', z.reflection_gap ? signed(z.reflection_gap.value) : '–', z.reflection_gap ? `95%: ${signed(z.reflection_gap.low)} to ${signed(z.reflection_gap.high)}` : 'P(right | reflected) − P(right | not)'))]);
  }
  const grid = h('div', { class: 'grid' });
  const lists = info.lists || [];
  const partial = (name) => rows.length > 0 ? rows[0][name] : undefined;
  add(grid, [
    lineChart('Reward', 'mean of a sample', [metric('reward', 'reward', 'c0'), ...otherMetric('reward', 'c2')]),
    lineChart('Solve rate', 'share of samples with a right answer', [scan('solved', (r) => r.solve, 'c1'), ...otherScan((r) => r.solve, 'c2')], { format: percent, min: 0, baseline: partial('solve') }),
    lineChart('Length', 'mean tokens', [scan('tokens', (r) => r.length, 'c4'), ...otherScan((r) => r.length, 'c2')], { min: 0 }),
    lineChart('Entropy', 'nats per token', [scan('entropy', (r) => r.entropy, 'c6'), ...otherScan((r) => r.entropy, 'c2')], { min: 0 }),
    lineChart('Flips', 'per trace, by grading every candidate', [
      scan('wrong→right', (r) => r.flips[0], 'c1'), scan('right→wrong', (r) => r.flips[1], 'c3'),
      scan('right→right', (r) => r.flips[2], 'c4'), scan('wrong→wrong', (r) => r.flips[3], 'c2')], { min: 0 }),
    lineChart('Reflection and aha', 'share of traces', [scan('reflection words', (r) => r.reflection, 'c2', percent), scan('aha', (r) => r.aha, 'c0', percent), ...otherScan((r) => r.aha, 'c3')], { format: percent, min: 0, baseline: partial('aha') }),
    lineChart('Does reflection pay?', 'P(right | reflected) − P(right | not), 95%', [
      { ...scan('difference', (r) => (r.reflection_gap ? r.reflection_gap.value : null), 'c0'),
        band: { low: column(rows, (r) => (r.reflection_gap ? r.reflection_gap.low : null)), high: column(rows, (r) => (r.reflection_gap ? r.reflection_gap.high : null)) } }], { format: (v) => (v === null ? '–' : signed(v)), zero: true }),
    lineChart('Does thinking pay?', 'P(right | several tries) − P(right | one), 95%', [
      { ...scan('difference', (r) => (r.thinking_gap ? r.thinking_gap.value : null), 'c6'),
        band: { low: column(rows, (r) => (r.thinking_gap ? r.thinking_gap.low : null)), high: column(rows, (r) => (r.thinking_gap ? r.thinking_gap.high : null)) } }], { format: (v) => (v === null ? '–' : signed(v)), zero: true }),
    lineChart('Words per 1,000 tokens', 'whole words, code left out', lists.filter((l) => l.reflection).map((list, i) => {
      const at = lists.indexOf(list);
      return scan(list.name + ' v' + list.version, (r) => r.per_1k[at], ['c0', 'c1', 'c2', 'c3', 'c5'][i % 5]);
    }), { min: 0 }),
    lineChart('Behaviours per trace', 'by pattern', lists.map((list, at) => [list, at]).filter(([list]) => !list.reflection).map(([list, at], i) =>
      scan(list.name, (r) => r.per_trace[at], ['c4', 'c3', 'c5', 'c6', 'c1'][i % 5])), { min: 0 }),
    lineChart('Truncated and looping', 'share of traces', [scan('truncated', (r) => r.truncated, 'c2'), scan('loops', (r) => r.loops, 'c3')], { format: percent, min: 0 }),
    lineChart('Zero-variance groups', 'no signal for the update', [scan('share', (r) => r.zero, 'c3')], { format: percent, min: 0 }),
  ]);
  add(root, [grid]);
  const shown = new Set(['reward']);
  const rest = Object.keys(data.series).filter((name) => !shown.has(name) && !name.startsWith('scan/')).sort();
  const more = h('details', { style: { 'margin-top': '18px' } }, h('summary', {}, `All ${rest.length} recorded metrics`));
  more.addEventListener('toggle', () => {
    if (!more.open || more.children.length > 1) return;
    const inner = h('div', { class: 'grid', style: { 'margin-top': '12px' } });
    for (const name of rest) add(inner, [lineChart(name, '', [metric(name.split('/').pop(), name, 'c4'), ...otherMetric(name, 'c2')])]);
    add(more, [inner]);
    resizeCharts();
  });
  add(root, [more]);
  requestAnimationFrame(resizeCharts);
}

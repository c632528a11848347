'use strict';
let stepsWithSamples = null;
async function loadSteps() {
  const info = await api('info', {}, false);
  stepsWithSamples = info.traces ? await api('steps') : [];
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

// Runs drawn over this one: from the address of the page, else as the server was told.
function overlayIds(info) {
  const over = new URLSearchParams(location.search).get('over');
  const ids = over === null ? (RUN === 0 ? info.overlay || [] : []) : over.split(',').filter((id) => /^\d+$/.test(id)).map(Number);
  return EXPORTED ? [] : ids.filter((id) => id !== RUN && Number.isInteger(id)).slice(0, 6);
}
const OVER_COLORS = ['c2', 'c3', 'c5', 'c6', 'c1', 'c4'];
async function loadOverlays(info) {
  const ids = overlayIds(info);
  if (!ids.length) return [];
  const runs = await api('runs');
  return (await Promise.all(ids.map((id, i) => api('timeline', { run: id }).then((data) => ({ id, data, name: runNames(runs)[id], color: OVER_COLORS[i] })).catch(() => null)))).filter(Boolean);
}
// Names, with their folder where two runs have the same one.
function runNames(runs) {
  return runs.map((run) => (runs.some((other) => other.id !== run.id && other.name === run.name) ? run.path : run.name));
}

// Where each step lies on the other axes: tokens sampled so far, seconds of steps so far.
function axesOf(data) {
  const tokens = data.series.num_tokens, time = data.series['timing/step_time'] || data.series['timing/step_seconds'];
  let sum = 0;
  return { tokens: tokens || null, time: data.time || (time ? time.map((t) => (isKnown(t) ? (sum += t) : sum)) : null) };
}
// The same for rows that have steps of their own.
function axesAt(data, steps) {
  const axes = axesOf(data), at = new Map(data.steps.map((step, i) => [step, i]));
  const pick = (values) => (values ? steps.map((step) => (at.has(step) ? values[at.get(step)] : null)) : null);
  return { tokens: pick(axes.tokens), time: pick(axes.time) };
}

const STATE_KIND = { running: 'good', finished: 'accent', stopped: 'bad', failed: 'bad', interrupted: 'warn', killed: 'bad' };
const STATE_TEXT = { interrupted: 'stopped early' };
function statePill(run) {
  if (!run || run.state === 'unknown') return null;
  const words = run.state === 'stopped' ? 'stopped by ' + run.why : STATE_TEXT[run.state] || run.state;
  return pill([run.state === 'running' && h('i', { class: 'beat' }), words], 'state ' + STATE_KIND[run.state], run.why);
}
function progressBar(run) {
  if (!run || !run.steps) return null;
  const share = Math.min(1, run.done / run.steps);
  return h('div', { class: 'progress', role: 'progressbar', 'aria-valuemin': 0, 'aria-valuemax': run.steps, 'aria-valuenow': run.done, 'aria-label': 'steps done' },
    h('div', { class: 'track' }, h('i', { style: { width: 100 * share + '%' } })),
    h('span', { class: 'num' }, `step ${run.done.toLocaleString('en')} of ${run.steps.toLocaleString('en')}`),
    run.step_s !== null && h('span', { class: 'dim num' }, duration(run.step_s) + ' a step'),
    run.eta_s !== null && h('span', { class: 'dim num', id: 'eta' }, 'about ' + duration(run.eta_s) + ' to go'),
    run.why && run.state !== 'stopped' && h('span', { class: 'dim' }, run.why));
}
function alarmNotes(alarms) {
  return (alarms || []).map((alarm) => h('div', { class: 'note alert alarm', role: 'alert' }, h('b', {}, alarm.name.replace(/_/g, ' ')), ' ',
    h('a', { href: '#/step/' + alarm.last }, 'at step ' + alarm.last), alarm.times > 1 && h('span', { class: 'dim' }, `, ${alarm.times} times since step ${alarm.first}`),
    alarm.message && h('div', { class: 'small' }, visibleText(alarm.message, 1000))));
}

// {a: {b: 1}} as [["a.b", 1], ..].
function flattened(value, name = '', out = []) {
  if (value !== null && typeof value === 'object' && !Array.isArray(value) && Object.keys(value).length) for (const [k, v] of Object.entries(value)) flattened(v, name ? name + '.' + k : k, out);
  else if (name) out.push([name, value]);
  return out;
}
const asText = (value) => (typeof value === 'string' ? value : JSON.stringify(value));
const NOTES = ['provenance', 'inputs', 'history'];
function configPanels(config) {
  if (config === null || typeof config !== 'object') return null;
  const table = (rows) => h('div', { class: 'scroll' }, h('table', { class: 'fields' }, h('tbody', {}, rows.map(([k, v]) => h('tr', {}, h('td', { class: 'mono' }, visible(k)), h('td', { class: 'mono' }, visibleText(asText(v), 4000)))))));
  const own = Object.fromEntries(Object.entries(config).filter(([k]) => !NOTES.includes(k)));
  const facts = flattened(config.provenance || {}).concat(flattened({ inputs: config.inputs || {} }).filter(([k]) => k !== 'inputs'));
  const history = Array.isArray(config.history) ? config.history.filter((e) => e && typeof e === 'object') : [];
  return [
    foldable('config', 'Config', flattened(own).length + ' fields', () => [h('input', { class: 'btn filter', type: 'search', placeholder: 'filter fields', 'aria-label': 'filter fields of the config', oninput: (event) => filterRows(event.target) }), table(flattened(own))]),
    facts.length > 0 && foldable('provenance', 'Where it came from', '', () => [table(facts)]),
    history.length > 0 && foldable('history', 'History', history.length + (history.length === 1 ? ' entry' : ' entries'), () => [h('ol', { class: 'history' }, history.map(historyEntry))]),
  ];
}
function historyEntry(entry) {
  const { event, step, time, changes, ...rest } = entry;
  const when = typeof time === 'number' ? new Date(time * 1000).toLocaleString() : time;
  return h('li', {}, h('b', {}, visible(asText(event || 'changed'))), step !== undefined && h('span', { class: 'dim' }, ' at step ' + step), when && h('span', { class: 'dim' }, ' · ' + asText(when)),
    changes && typeof changes === 'object' && Object.entries(changes).map(([field, pair]) => h('div', { class: 'mono small' }, visible(field), ': ',
      Array.isArray(pair) && pair.length === 2 ? [h('span', { class: 'dim' }, visible(asText(pair[0]))), ' → ', h('b', {}, visible(asText(pair[1])))] : visible(asText(pair)))),
    flattened(rest).map(([k, v]) => h('div', { class: 'mono small dim' }, visible(k), ': ', visible(asText(v)))));
}
function filterRows(input) {
  const wanted = input.value.toLowerCase();
  input.parentElement.querySelectorAll('table.fields tr').forEach((row) => { row.hidden = !row.textContent.toLowerCase().includes(wanted); });
}

// What is open stays open when the page draws itself anew.
const openFolds = new Set();
function foldable(id, title, hint, fill) {
  const box = h('details', { class: 'fold-group', 'data-group': id, open: openFolds.has(id) }, h('summary', {}, h('b', {}, title), ' ', h('span', { class: 'dim small' }, hint)));
  const content = () => { if (box.open && box.children.length === 1) { add(box, fill()); resizeCharts(); } };
  box.addEventListener('toggle', () => { box.open ? openFolds.add(id) : openFolds.delete(id); content(); });
  content();
  return box;
}

// Recorded metrics by what they are about; a name belongs to the first group that wants it.
const GROUPS = [
  ['held-out', 'Held out', /^(eval|eval_end|evaluation|probe)\b/],
  ['rewards', 'Rewards and reasons', /^(rewards?\b|reward_|reasons\/|frac_reward|masked_share|checker_error|faults\/|format)/],
  ['optimization', 'Loss and optimization', /^(loss|policy_loss|kl|grad|learning_rate|updates|clip_ratio|entropy_loss|advantage)/],
  ['policy', 'Policy and completions', /^(completions\/|entropy|overlong)/],
  ['facts', 'Facts of the task', /^facts\//],
  ['sampling', 'Sampling', /^(sampling\/|dynamic_sampling|curriculum|staleness)/],
  ['experts', 'Experts', /^moe\//],
  ['scan', 'Scanners', /^scan\//],
  ['progress', 'Progress and time', /^(timing\/|num_tokens|trained_tokens|epoch|memory|tokens)/],
  ['other', 'Other', /./],
];

async function viewTimeline(root, self, args, params) {
  const [data, info] = await Promise.all([api('timeline'), api('info')]);
  const overlays = await loadOverlays(info);
  loadSteps().catch(() => {});
  readChartView(params);
  const rows = data.scan, steps = rows.map((r) => r.step);
  const run = info.run_state;
  add(root, [h('div', { class: 'head' }, h('h1', {}, 'Run timeline'), statePill(run),
    info.samples ? pill(info.samples.toLocaleString('en') + ' samples', '') : null,
    overlays.map((o) => pill([h('i', { class: 'swatch', style: { background: 'var(--' + o.color + ')' } }), o.name], 'info', 'drawn over this run')),
    h('span', { class: 'grow' }),
    !EXPORTED && info.traces && h('a', { class: 'btn', href: 'api/export?' + query({ run: RUN || '' }), download: '' }, 'Export one file')),
  progressBar(run), alarmNotes(info.alarms)]);
  if (info.damage > 0) add(root, [h('div', { class: 'note alert' }, info.damage + ' damaged places in the trace stream; every other record is shown.')]);
  if (info.no_task) add(root, [h('div', { class: 'note' }, 'Flips are unknown: ' + info.no_task)]);
  if (info.to_index > info.indexed) add(root, [h('div', { class: 'note' }, `Indexing the traces: ${info.indexed.toLocaleString('en')} of ${info.to_index.toLocaleString('en')} groups; counts grow while it runs.`)]);
  if (rows.length === 0 && data.steps.length === 0) {
    add(root, [h('div', { class: 'empty' }, 'No step is finished yet. This page fills itself as the run goes on.'), configPanels(info.config)]);
    return;
  }
  const series = (name) => data.series[name] || [];
  const axes = axesOf(data), rowAxes = axesAt(data, steps);
  const metric = (label, name, color, format) => ({ name: label, color, values: series(name), steps: data.steps, axes, format });
  const scan = (label, get, color, format) => ({ name: label, color, values: column(rows, get), steps, axes: rowAxes, format });
  const overMetric = (name) => overlays.filter((o) => o.data.series[name]).map((o) => ({ name: o.name, color: o.color, values: o.data.series[name], steps: o.data.steps, axes: axesOf(o.data), dash: true }));
  const overScan = (get) => overlays.filter((o) => o.data.scan.length).map((o) => { const at = o.data.scan.map((r) => r.step); return { name: o.name, color: o.color, values: column(o.data.scan, get), steps: at, axes: axesAt(o.data, at), dash: true }; });
  add(root, [tiles(data, rows, series), chartTools(info)]);
  const grid = h('div', { class: 'grid' });
  const lists = info.lists || [];
  const partial = (name) => (rows.length > 0 && rows[0][name] !== null ? rows[0][name] : undefined);
  const has = (name) => series(name).some(isKnown);
  const named = (names, colors, format) => names.filter(has).map((name, i) => metric(name.split('/').slice(-2, -1)[0] || name, name, colors[i % colors.length], format));
  const heldOut = heldOutNames(data);
  const parts = Object.keys(data.series).filter((name) => /^rewards\/.+\/mean$/.test(name)).slice(0, 6);
  const signedOrNone = (v) => (v === null ? '–' : signed(v));
  const gap = (title, hint, name, color) => lineChart(title, hint, [{ ...scan('difference', (r) => (r[name] ? r[name].value : null), color),
    band: { low: column(rows, (r) => (r[name] ? r[name].low : null)), high: column(rows, (r) => (r[name] ? r[name].high : null)) } }], { format: signedOrNone, zero: true });
  add(grid, [
    heldOut.length > 0 && lineChart('Held-out accuracy', 'problems that are never trained on', [...heldOut.map(([label, name], i) => metric(label, name, ['c0', 'c4', 'c1', 'c6'][i % 4], percent)), ...overMetric(heldOut[0][1])], { format: percent, min: 0, baseline: series(heldOut[0][1]).find(isKnown) }),
    lineChart('Reward', 'mean of a sample', [metric('reward', 'reward', 'c0'), ...overMetric('reward')]),
    lineChart('Solve rate', 'share of graded samples with a right answer', [scan('solved', (r) => r.solve, 'c1'), ...overScan((r) => r.solve)], { format: percent, min: 0, baseline: partial('solve') }),
    rows.some((r) => r.failed > 0) && lineChart('Grading failures', 'share of samples that could not be graded', [scan('failed', (r) => r.failed, 'c3')], { format: percent, min: 0 }),
    lineChart('Length', 'mean tokens', [scan('tokens', (r) => r.length, 'c4'), ...overScan((r) => r.length)], { min: 0 }),
    lineChart('Entropy', 'nats per token', [scan('entropy', (r) => r.entropy, 'c6'), ...overScan((r) => r.entropy)], { min: 0 }),
    parts.length > 1 && lineChart('Reward parts', 'mean score', named(parts, ['c1', 'c0', 'c2', 'c4', 'c6', 'c5'])),
    has('grad_norm') && lineChart('Gradient norm', 'before clipping', [metric('norm', 'grad_norm', 'c2'), ...overMetric('grad_norm')], { min: 0 }),
    has('learning_rate') && lineChart('Learning rate', '', [metric('rate', 'learning_rate', 'c5'), ...overMetric('learning_rate')], { min: 0 }),
    has('kl') && lineChart('KL to the reference', 'nats per token', [metric('KL', 'kl', 'c3'), ...overMetric('kl')], { min: 0 }),
    lineChart('Flips', 'per trace, by grading every candidate', [
      scan('wrong→right', (r) => r.flips[0], 'c1'), scan('right→wrong', (r) => r.flips[1], 'c3'),
      scan('right→right', (r) => r.flips[2], 'c4'), scan('wrong→wrong', (r) => r.flips[3], 'c2')], { min: 0 }),
    lineChart('Reflection and aha', 'share of traces', [scan('reflection words', (r) => r.reflection, 'c2', percent), scan('aha', (r) => r.aha, 'c0', percent), ...overScan((r) => r.aha)], { format: percent, min: 0, baseline: partial('aha') }),
    gap('Does reflection pay?', 'P(right | reflected) − P(right | not), 95%', 'reflection_gap', 'c0'),
    gap('Does thinking pay?', 'P(right | several tries) − P(right | one), 95%', 'thinking_gap', 'c6'),
    lineChart('Words per 1,000 tokens', 'whole words, code left out', lists.filter((l) => l.reflection).map((list, i) => {
      const at = lists.indexOf(list);
      return scan(list.name + ' v' + list.version, (r) => r.per_1k[at], ['c0', 'c1', 'c2', 'c3', 'c5'][i % 5]);
    }), { min: 0 }),
    lineChart('Behaviours per trace', 'by pattern', lists.map((list, at) => [list, at]).filter(([list]) => !list.reflection).map(([list, at], i) =>
      scan(list.name, (r) => r.per_trace[at], ['c4', 'c3', 'c5', 'c6', 'c1'][i % 5])), { min: 0 }),
    lineChart('Truncated and looping', 'share of traces', [scan('truncated', (r) => r.truncated, 'c2'), scan('loops', (r) => r.loops, 'c3')], { format: percent, min: 0 }),
    lineChart('Zero-variance groups', 'no signal for the update', [scan('share', (r) => r.zero, 'c3')], { format: percent, min: 0 }),
  ]);
  const groups = h('div', { class: 'groups' });
  const names = Object.keys(data.series).sort();
  const taken = new Set();
  for (const [id, title, pattern] of GROUPS) {
    const mine = names.filter((name) => !taken.has(name) && pattern.test(name));
    mine.forEach((name) => taken.add(name));
    if (mine.length) add(groups, [foldable('metrics-' + id, title, mine.length + (mine.length === 1 ? ' metric' : ' metrics'), () => [h('div', { class: 'grid' }, mine.map((name) => lineChart(name, '', [metric(name.split('/').pop(), name, 'c4'), ...overMetric(name)])))])]);
  }
  const found = h('div', { class: 'grid', id: 'found', hidden: true });
  add(root, [found, grid, h('h2', { class: 'part' }, 'Everything recorded'), groups, configPanels(info.config) && h('h2', { class: 'part' }, 'The run itself'), configPanels(info.config)]);
  // The filter looks through all charts, those of closed groups too.
  const filter = () => {
    const wanted = viewTimeline.filter.trim().toLowerCase();
    clear(found);
    found.hidden = !wanted;
    grid.hidden = !!wanted;
    groups.hidden = !!wanted;
    root.querySelectorAll('h2.part').forEach((title) => { title.hidden = !!wanted; });
    if (!wanted) return resizeCharts();
    const words = wanted.split(/\s+/);
    const fits = (text) => words.every((word) => text.toLowerCase().includes(word));
    const hits = names.filter(fits).slice(0, 60);
    add(found, [[...grid.querySelectorAll('[data-chart]')].filter((panel) => fits(panel.dataset.chart)).map((panel) => h('a', { class: 'btn', href: '#', onclick: (event) => { event.preventDefault(); setFilter(''); panel.scrollIntoView({ block: 'center' }); } }, panel.dataset.chart, ' ↓')),
      hits.map((name) => lineChart(name, '', [metric(name, name, 'c4'), ...overMetric(name)])), hits.length === 0 && h('div', { class: 'empty' }, 'No metric has that name.')]);
    requestAnimationFrame(resizeCharts);
  };
  const setFilter = (text) => { viewTimeline.filter = text; const input = $('chart-filter'); if (input) input.value = text; setParams({ find: text || null }); filter(); };
  root.addEventListener('input', (event) => { if (event.target.id === 'chart-filter') setFilter(event.target.value); });
  if (viewTimeline.filter) filter();
  requestAnimationFrame(resizeCharts);
}
viewTimeline.filter = '';

// The curves that say whether the policy has learnt: pass@1 of every held-out set, pass@K, the probe.
function heldOutNames(data) {
  const names = Object.keys(data.series).filter((name) => data.series[name].some(isKnown));
  const sets = names.filter((name) => /^(eval|evaluation)\b.*\/pass@1$/.test(name)).sort((a, b) => a.length - b.length);
  const label = (name) => { const inner = name.split('/').slice(1, -1).join('/'); return 'pass@1' + (inner ? ' ' + inner : ''); };
  const out = sets.slice(0, 4).map((name) => [label(name), name]);
  if (sets.length === 1) { const k = sets[0].replace('pass@1', 'pass@K'), samples = data.series[sets[0].replace('pass@1', 'samples')]; if (names.includes(k) && samples && samples.some((n) => n > 1)) out.push(['pass@K', k]); }
  if (names.includes('probe/avg@K')) out.push(['probe', 'probe/avg@K']);
  return out;
}

function tiles(data, rows, series) {
  const tile = (label, value, was) => h('div', { class: 'tile' }, h('div', { class: 'label' }, label), h('div', { class: 'value' }, value), h('div', { class: 'was' }, was));
  const out = [];
  const held = heldOutNames(data).find(([, name]) => !name.startsWith('probe'));
  if (held) {
    const known = data.steps.map((step, i) => [step, series(held[1])[i]]).filter(([, v]) => isKnown(v)), [a, z] = [known[0], known[known.length - 1]];
    out.push(tile('Held-out accuracy', percent(z[1], 1), known.length > 1 ? `step ${a[0]}: ${percent(a[1], 1)}` : 'measured once, at step ' + z[0]));
  }
  if (rows.length > 0) {
    const a = rows[0], z = rows[rows.length - 1];
    out.push(tile('Solve rate', percent(z.solve), z.failed > 0 ? percent(z.failed) + ' could not be graded' : `step ${a.step}: ${percent(a.solve)}`),
      tile('Reward', fixed(z.reward), `step ${a.step}: ${fixed(a.reward)}`),
      tile('Length', compact(z.length), `step ${a.step}: ${compact(a.length)} tokens`),
      tile('W→R flips a trace', fixed(z.flips[0], 2), `step ${a.step}: ${fixed(a.flips[0], 2)}`),
      tile('Traces with an aha', percent(z.aha, 1), `already at step ${a.step}: ${percent(a.aha, 1)}`),
      tile('Reflection pays', z.reflection_gap ? signed(z.reflection_gap.value) : '–', z.reflection_gap ? `95%: ${signed(z.reflection_gap.low)} to ${signed(z.reflection_gap.high)}` : 'P(right | reflected) − P(right | not)'));
  }
  return h('div', { class: 'tiles' }, out);
}

function readChartView(params) {
  let kept = {};
  try { kept = JSON.parse(localStorage.getItem('zeroth-charts') || '{}') || {}; } catch (error) { /* none kept */ }
  const x = params.get('x') || kept.x;
  chartView.x = X_AXES.some(([id]) => id === x) ? x : 'step';
  chartView.smooth = Math.min(0.99, Math.max(0, Number(params.get('smooth') || kept.smooth || 0) || 0));
  chartView.log = (params.has('log') ? params.get('log') === '1' : !!kept.log);
  if (params.has('find')) viewTimeline.filter = params.get('find');
}
function setChartView(changes) {
  Object.assign(chartView, changes);
  try { localStorage.setItem('zeroth-charts', JSON.stringify(chartView)); } catch (error) { /* nor kept */ }
  setParams({ x: chartView.x === 'step' ? null : chartView.x, smooth: chartView.smooth || null, log: chartView.log ? '1' : null });
  route.keepScroll = true;
  route();
}
function chartTools(info) {
  const slider = h('input', { type: 'range', id: 'smooth', min: 0, max: 0.99, step: 0.01, value: chartView.smooth, 'aria-label': 'smoothing', onchange: (event) => setChartView({ smooth: Number(event.target.value) }) });
  return h('div', { class: 'tools chart-tools' },
    h('input', { class: 'btn filter', id: 'chart-filter', type: 'search', placeholder: 'find a metric', 'aria-label': 'find a metric', value: viewTimeline.filter }),
    segment(X_AXES, chartView.x, (x) => setChartView({ x }), 'x axis'),
    h('label', { class: 'slide' }, 'smoothing', slider, h('span', { class: 'num dim' }, chartView.smooth ? chartView.smooth.toFixed(2) : 'off')),
    h('button', { class: 'btn', type: 'button', id: 'log', 'aria-pressed': String(chartView.log), onclick: () => setChartView({ log: !chartView.log }) }, 'log scale'),
    !EXPORTED && info.runs > 1 && h('a', { class: 'btn', href: '#/runs' }, 'compare runs'));
}

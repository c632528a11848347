'use strict';
// Annotations that are logarithms of ratios, and what the page calls the ratios.
const RATIOS = { log_ratios: 'ratio', reference_log_ratios: 'ratio to reference' };
// Colour modes: name, how a token's value is found, its scale. Masked or missing values stay uncoloured, so that one
// placeholder cannot flatten the scale.
function colourModes(trace) {
  const modes = [{ id: 'plain', label: 'plain' }];
  const perToken = (values) => values && values.length === trace.ids.length && trace.ids.length > 0;
  if (perToken(trace.logprobs)) modes.push({ id: 'logprob', label: 'log-prob', values: trace.logprobs, low: -4, high: 0, unit: 'nats', reversed: true });
  if (perToken(trace.entropies)) modes.push({ id: 'entropy', label: 'entropy', values: trace.entropies, low: 0, high: quantile(trace.entropies, 0.99, 0.1), unit: 'nats' });
  const advantages = perToken(trace.annotations.advantages) ? trace.annotations.advantages : trace.ids.map(() => trace.adv);
  if (trace.ids.length) { const most = Math.max(1e-6, ...advantages.map((v) => Math.abs(v || 0))); modes.push({ id: 'advantage', label: 'advantage', values: advantages, low: -most, high: most, diverging: true }); }
  for (const [name, values] of Object.entries(trace.annotations)) {
    if (name === 'advantages' || name === 'loss' || !perToken(values)) continue;
    if (RATIOS[name]) { const most = quantile(values.map(Math.abs), 0.99, 0.01); modes.push({ id: name, label: RATIOS[name], values, low: -most, high: most, diverging: true, logarithm: true }); }
    else modes.push({ id: name, label: name.replace(/_/g, ' '), values, low: Math.min(...values), high: Math.max(...values) });
  }
  if (trace.experts && trace.moe && trace.moe.layers) {
    modes.push({ id: 'expert', label: 'expert', experts: true });
    if (sure(trace)) modes.push({ id: 'confidence', label: 'router confidence', confidence: true, reversed: true, ...confidenceScale(trace) });
  }
  return modes;
}
function quantile(values, share, least) {
  const known = values.filter((v) => v !== null).sort((a, b) => a - b);
  return Math.max(least, known.length ? known[Math.min(known.length - 1, Math.floor(share * known.length))] : least);
}
// The experts that a layer chose for the token's row, the surest first (in streams without confidence: by number).
function choices(trace, i, layer) {
  const { layers, top_k: k } = trace.moe, from = (i * layers + layer) * k;
  return trace.experts.slice(from, from + k);
}
const sure = (trace) => trace.router_confidence && trace.router_confidence.length === trace.ids.length * trace.moe.layers;
// The router's score of its first choice: softmax probability or sigmoid. layer -1: the mean over all layers.
function confidence(trace, i, layer) {
  const of = trace.router_confidence.slice(i * trace.moe.layers, (i + 1) * trace.moe.layers);
  return (layer >= 0 ? of[layer] : of.reduce((a, b) => a + b, 0) / of.length) / 255;
}
function confidenceScale(trace) {
  const all = [];
  for (let layer = 0; layer < trace.moe.layers; layer++) trace.ids.forEach((_, i) => all.push(confidence(trace, i, layer)));
  const low = quantile(all, 0.01, 0), high = quantile(all, 0.99, 0);
  return { low, high: Math.max(high, low + 0.01) };
}
const expertColour = (expert) => `hsl(${(expert * 47) % 360} 65% 55% / .38)`;
// How often each expert was a layer's first choice in this trace, most often first.
function expertLegend(trace, layer) {
  const times = new Map();
  trace.ids.forEach((_, i) => { const [expert] = choices(trace, i, layer); times.set(expert, (times.get(expert) || 0) + 1); });
  return h('span', { class: 'scale many' }, [...times].sort((a, b) => b[1] - a[1]).slice(0, 16).map(([expert, n]) => h('b', { title: `expert ${expert}: first choice of ${n} tokens` }, h('i', { style: { background: expertColour(expert) } }), `${expert} ×${n}`)));
}
function tokenColour(mode, i, layer, trace) {
  if (mode.experts) {
    const expert = choices(trace, i, Math.max(0, layer))[0];
    return expert === undefined ? '' : expertColour(expert);
  }
  if (!mode.values || mode.values[i] === null || mode.values[i] === undefined) return '';
  const v = mode.values[i];
  if (mode.diverging) {
    const share = Math.max(-1, Math.min(1, v / Math.max(Math.abs(mode.low), Math.abs(mode.high))));
    return share >= 0 ? `rgb(40 170 110 / ${(0.55 * share).toFixed(3)})` : `rgb(225 70 85 / ${(-0.55 * share).toFixed(3)})`;
  }
  let share = Math.max(0, Math.min(1, (v - mode.low) / (mode.high - mode.low || 1)));
  if (mode.reversed) share = 1 - share;
  return `rgb(var(--heat) / ${(0.62 * share).toFixed(3)})`;
}

function legendOf(mode) {
  if (!mode.values) return null;
  const colours = mode.diverging ? 'rgb(225 70 85 / .55), transparent, rgb(40 170 110 / .55)' : mode.reversed ? 'rgb(var(--heat) / .62), transparent' : 'transparent, rgb(var(--heat) / .62)';
  const shown = mode.logarithm ? [Math.exp(mode.low), Math.exp(mode.high)] : [mode.low, mode.high];
  return h('span', { class: 'scale' }, compact(shown[0]), h('i', { style: { background: `linear-gradient(90deg, ${colours})` } }), compact(shown[1]) + (mode.unit ? ' ' + mode.unit : ''));
}

function tokenTip(trace, i) {
  const row = (name, value) => (value === null || value === undefined ? null : h('tr', {}, h('td', { class: 'dim' }, name), h('td', { class: 'mono' }, value)));
  const p = trace.logprobs[i];
  if ((trace.turns || []).some((turn) => i >= turn.end && i < turn.next)) return h('table', {}, row('token', `#${i}, id ${trace.ids[i]}`), row('from', 'the environment: no loss'));
  const rows = [row('token', `#${i}, id ${trace.ids[i]}`), p !== undefined && row('log-prob', p === null ? 'none' : `${fixed(p, 4)}  (${percent(Math.exp(p), 1)})`),
    trace.entropies[i] !== undefined && row('entropy', fixed(trace.entropies[i], 4))];
  for (const [name, values] of Object.entries(trace.annotations)) if (values.length === trace.ids.length && name !== 'loss') rows.push(RATIOS[name] ? row(RATIOS[name], fixed(Math.exp(values[i]), 4)) : row(name.replace(/_/g, ' '), fixed(values[i], 4)));
  const kept = trace.kept && trace.kept[i];
  if (kept) rows.push(row('kept ' + kept.of, kept.tokens.map((t) => JSON.stringify(t)).join(' ')));
  if (trace.experts && trace.moe.layers) {
    const shown = (layer) => choices(trace, i, layer).map((expert, j) => (j === 0 && sure(trace) ? `${expert} (${percent(confidence(trace, i, layer))})` : expert)).join(', ');
    for (let layer = 0; layer < Math.min(trace.moe.layers, 8); layer++) rows.push(row('experts, layer ' + layer, shown(layer)));
  }
  return [h('div', { class: 'mono' }, JSON.stringify(trace.pieces[i]).slice(0, 60)), h('table', {}, rows)];
}

// Where the thinking is, in tokens; nothing when there is none.
function thinkRange(trace) {
  let at = 0, open = -1, close = -1;
  const text = trace.pieces.join('');
  const from = text.indexOf('<think>'), to = text.indexOf('</think>');
  if (to < 0 && from < 0) return null;
  trace.pieces.forEach((piece, i) => {
    if (open < 0 && (from < 0 || at >= from + 7)) open = i;
    if (close < 0 && to >= 0 && at + piece.length > to) close = i;
    at += piece.length;
  });
  if (close < 0) close = trace.pieces.length;
  return open >= 0 && close - open > 1 ? [open, close] : null;
}

// The reference answer and what else the row of the data holds.
function referencePanel(problem) {
  const meta = problem.meta !== null && typeof problem.meta === 'object' ? flattened(problem.meta).filter(([name]) => name) : [];
  return h('section', { class: 'panel reference' }, h('h2', {}, 'Reference answer'),
    problem.answer ? h('div', { class: 'mono answer' }, visibleText(problem.answer, 4000)) : h('p', { class: 'dim small' }, 'The problem names none.'),
    meta.length > 0 && h('details', { class: 'small', open: meta.length <= 6 }, h('summary', {}, meta.length + (meta.length === 1 ? ' field' : ' fields') + ' of the row'),
      h('dl', { class: 'kv' }, meta.slice(0, 100).map(([k, v]) => [h('dt', { class: 'mono' }, visible(k)), h('dd', { class: 'mono' }, visible(asText(v)))]))));
}

// A picture of codes as cells. Names of codes that are CSS colours in brackets are shown in them, others in colours of
// their own; cells that differ from `wanted` (names, or null) are framed. tokens: the cells' tokens, for tips; none: null.
const cellName = (piece) => (/^\[[^\[\]]+\]$/.test(piece || '') ? piece.slice(1, -1) : null);
function cellColour(name, code) {
  if (name === '.' || name === 'blank') return 'var(--soft)';
  if (name && CSS.supports('color', name)) return name;
  return `hsl(${(code * 137.508) % 360} 62% ${45 + (code % 3) * 12}%)`;
}
function pictureOf(rows, columns, cells, wanted) {
  const size = Math.max(6, Math.min(36, Math.floor(420 / Math.max(rows, columns))));
  const svg = h('svg', { class: 'picture', width: columns * size + 2, height: rows * size + 2, role: 'img', 'aria-label': cells.map((c) => c.name || c.code).join(' ') });
  for (let i = 0; i < rows * columns; i++) {
    const cell = cells[i], wrong = cell && wanted && wanted[i] !== cell.name;
    svg.append(h('rect', { x: (i % columns) * size + 2, y: Math.floor(i / columns) * size + 2, width: size - 2, height: size - 2, rx: Math.min(4, size / 5), 'data-i': cell && cell.token !== undefined ? cell.token : null,
      class: (cell ? 'cell' : 'cell none') + (wrong ? ' wrong' : ''), style: cell ? { fill: cellColour(cell.name, cell.code) } : {} }));
  }
  return svg;
}
function picturePanel(trace) {
  if (!trace.pictures || trace.pictures.length === 0) return null;
  const meta = trace.meta && Array.isArray(trace.meta.cells) ? trace.meta : null;
  const panel = h('section', { class: 'panel', id: 'pictures' }, h('h2', {}, trace.pictures.length > 1 ? 'Pictures' : 'Picture', h('span', { class: 'dim' }, `${trace.pictures[0].rows} × ${trace.pictures[0].columns} codes`)),
    h('div', { class: 'pictures' }, trace.pictures.map((p) => {
      const cells = p.codes.map((code, i) => ({ code, token: p.first + i, name: cellName(trace.pieces[p.first + i]) }));
      const fits = meta && meta.rows === p.rows && meta.columns === p.columns && meta.cells.length === p.rows * p.columns;
      return [h('figure', {}, pictureOf(p.rows, p.columns, cells, fits ? meta.cells : null), h('figcaption', {}, cells.length < p.rows * p.columns ? `drawn, ${cells.length} of ${p.rows * p.columns} cells` : 'drawn')),
        fits && h('figure', {}, pictureOf(p.rows, p.columns, meta.cells.map((name, i) => ({ name: String(name), code: i })), null), h('figcaption', {}, 'asked for'))];
    })));
  panel.addEventListener('pointermove', (event) => {
    const cell = event.target.closest('[data-i]');
    if (cell) tip(event, tokenTip(trace, Number(cell.dataset.i))); else untip();
  });
  panel.addEventListener('pointerleave', untip);
  return panel;
}

async function viewTrace(root, self, args, params) {
  const at = args[0];
  const trace = await api('trace', { at }, false);
  const address = parseAddress(at);
  const sibling = (i) => addressOf(address.step, address.group, i, address.source);
  const move = (by) => { const to = address.sample + by; if (to >= 0 && to < trace.siblings.length) go('#/trace/' + sibling(to) + (place().params.toString() ? '?' + place().params : '')); };
  self.left = () => move(-1);
  self.right = () => move(1);
  self.up = () => go('#/step/' + address.step + (address.source === 'train' ? '' : '?source=' + address.source));
  const modes = colourModes(trace);
  let mode = modes.find((m) => m.id === params.get('color')) || modes.find((m) => m.id === viewTrace.mode) || modes[Math.min(1, modes.length - 1)];
  let layer = params.has('layer') && trace.moe ? Math.min(Number(params.get('layer')), trace.moe.layers - 1) : trace.moe && trace.moe.layers > 1 ? -1 : 0;
  let folded = params.get('fold') === '1';
  let current = params.has('token') ? Number(params.get('token')) : -1;
  add(root, [h('div', { class: 'head' },
    h('a', { class: 'btn', href: '#/step/' + address.step + (address.source === 'train' ? '' : '?source=' + address.source), title: 'back to the step (Esc)' }, '← step ' + address.step),
    h('h1', {}, 'Trace ' + at),
    gradePill(trace), finishPill(trace.finish), trace.zero && pill('zero variance', 'warn'), trace.loop && pill('loop', 'warn'), flipPills(trace.flips, trace.aha),
    h('span', { class: 'grow' }), h('span', { class: 'strip', 'aria-label': 'siblings' }, trace.siblings.map((s, i) =>
      h('a', { href: '#/trace/' + sibling(i), class: verdictOf(s), 'aria-current': i === address.sample ? 'true' : null, title: `sample ${i}: ${s.failed ? 'not graded' : 'reward ' + fixed(s.reward, 2)}, ${s.len} tokens` }, i))))]);
  const tools = h('div', { class: 'tools' });
  const body = h('div', { class: 'tokens', id: 'tokens' });
  const side = h('div', { class: 'side' });
  const main = h('div', {}, h('section', { class: 'panel', style: { 'margin-bottom': '14px' } }, h('h2', {}, 'Prompt', h('span', { class: 'dim' }, trace.task + ' · ' + trace.problem)),
    h('div', { class: 'tokens prompt' }, visibleText(trace.prompt))), picturePanel(trace), h('section', { class: 'panel' }, tools, body));
  add(root, [h('div', { class: 'trace-grid' }, main, side)]);

  const spans = new Array(trace.ids.length).fill('');
  const cover = (span, name) => { for (let t = span[0]; t < span[1] && t < spans.length; t++) spans[t] += ' ' + name; };
  trace.aha_spans.forEach((s) => cover(s, 'aha'));
  trace.candidates.forEach((c) => cover(c.span, c.correct ? 'cand-right' : 'cand-wrong'));
  trace.markers.forEach((s) => cover(s, 'mark'));
  if (trace.loop_at) cover([trace.loop_at[0] + trace.loop_at[1], spans.length], 'loop');
  const turns = trace.turns || [];
  turns.forEach((turn) => cover([turn.end, turn.next], 'env'));
  const opens = new Map(turns.length > 1 ? turns.map((turn, i) => [turn.begin, i]) : []);
  const after = new Map();
  trace.candidates.forEach((c, i) => { const t = c.span[1] - 1; after.set(t, [...(after.get(t) || []), [c, i]]); });
  const think = thinkRange(trace);

  const select = (i, scroll) => {
    current = i;
    body.querySelectorAll('.tok.at').forEach((n) => n.classList.remove('at'));
    const node = body.querySelector('[data-i="' + i + '"]');
    if (!node) return;
    node.classList.add('at');
    if (scroll) node.scrollIntoView({ block: 'center', behavior: 'auto' });
    setParams({ token: i });
  };
  const draw = () => keepFocus(root, redraw, '#fold');
  const redraw = () => {
    if (mode.confidence) mode.values = trace.ids.map((_, i) => confidence(trace, i, layer));
    clear(tools);
    add(tools, [segment(modes.map((m) => [m.id, m.label]), mode.id, (id) => { mode = modes.find((m) => m.id === id); viewTrace.mode = id; setParams({ color: id }); draw(); }, 'colour of tokens'),
      (mode.experts || mode.confidence) && h('select', { class: 'btn', 'aria-label': 'layer', onchange: (event) => { layer = Number(event.target.value); setParams({ layer }); draw(); } },
        mode.confidence && trace.moe.layers > 1 && h('option', { value: -1, selected: layer < 0 }, 'all layers'),
        [...Array(trace.moe.layers).keys()].map((l) => h('option', { value: l, selected: l === (mode.experts ? Math.max(0, layer) : layer) }, 'layer ' + l))),
      mode.experts ? expertLegend(trace, Math.max(0, layer)) : legendOf(mode), h('span', { class: 'grow' }),
      think && h('button', { class: 'btn', id: 'fold', 'aria-pressed': String(folded), onclick: () => { folded = !folded; setParams({ fold: folded ? '1' : null }); draw(); } }, folded ? 'open thinking' : 'fold thinking')]);
    clear(body);
    const fragment = document.createDocumentFragment();
    trace.pieces.forEach((piece, i) => {
      if (folded && think && i >= think[0] && i < think[1]) {
        if (i === think[0]) fragment.append(h('button', { class: 'fold', onclick: () => { folded = false; setParams({ fold: null }); draw(); } }, `thinking: ${think[1] - think[0]} tokens, ${trace.candidates.filter((c) => c.span[0] >= think[0] && c.span[1] <= think[1]).length} candidates`));
        return;
      }
      if (opens.has(i)) fragment.append(h('span', { class: 'turn', title: 'reward of the turn ' + fixed(turns[opens.get(i)].reward, 2) }, 'turn ' + (opens.get(i) + 1)));
      const colour = spans[i].includes(' env') ? null : tokenColour(mode, i, layer, trace);
      fragment.append(h('span', { class: 'tok' + spans[i] + (trace.masked ? ' off' : ''), 'data-i': i, style: colour ? { 'background-color': colour } : {} }, visible(piece)));
      for (const [c, n] of after.get(i) || []) {
        fragment.append(h('button', { class: 'mk ' + (c.correct ? 'good' : 'bad'), 'data-cand': n, title: (c.correct ? 'right' : 'wrong') + ': ' + (c.answer || 'not a legal answer') },
          (c.correct ? '✓' : '✗') + (c.flip && c.flip !== 'W->W' && c.flip !== 'R->R' ? ' ' + c.flip.replace('->', '→') : '')));
      }
    });
    body.append(fragment);
    if (current >= 0) select(current, false);
  };
  body.addEventListener('pointermove', (event) => {
    const node = event.target.closest('.tok');
    if (node) tip(event, tokenTip(trace, Number(node.dataset.i))); else untip();
  });
  body.addEventListener('pointerleave', untip);
  body.addEventListener('click', (event) => { const node = event.target.closest('.tok'); if (node) select(Number(node.dataset.i), false); });
  self.cycle = () => { mode = modes[(modes.indexOf(mode) + 1) % modes.length]; viewTrace.mode = mode.id; setParams({ color: mode.id }); draw(); };
  self.fold = () => { folded = !folded; setParams({ fold: folded ? '1' : null }); draw(); };
  self.next = () => { const starts = trace.candidates.map((c) => c.span[0]); const to = starts.find((s) => s > current); select(to === undefined ? starts[0] || 0 : to, true); };
  self.previous = () => { const starts = trace.candidates.map((c) => c.span[0]); const to = starts.filter((s) => s < current).pop(); select(to === undefined ? starts[starts.length - 1] || 0 : to, true); };
  draw();

  const kv = (rows) => h('dl', { class: 'kv' }, rows.filter(Boolean).map(([k, v]) => [h('dt', {}, k), h('dd', {}, v)]));
  add(side, [trace.failed && h('section', { class: 'panel off' }, h('h2', {}, 'Not graded'), h('p', { class: 'small dim', style: { margin: 0, 'overflow-wrap': 'anywhere' } }, visible(trace.failed))),
  h('section', { class: 'panel' }, h('h2', {}, 'Reward', h('span', { class: 'dim num' }, fixed(trace.reward, 3) + ' · advantage ' + signed(trace.adv, 3))),
    trace.verdicts.map((v) => h('div', { style: { 'margin-top': '6px' } },
      h('div', {}, h('b', {}, v.name), ' ', h('span', { class: 'num' }, fixed(v.score, 2) + ' × ' + compact(v.weight)), ' ', reasonPill(v)),
      v.info && v.info.said && h('div', { class: 'small' }, visible(v.info.said)),
      v.extracted && h('div', { class: 'mono small dim', style: { 'overflow-wrap': 'anywhere' } }, visible(v.extracted)),
      v.info && Object.keys(v.info).length > 0 && h('details', { class: 'small' }, h('summary', {}, 'facts'), kv(Object.entries(v.info).map(([k, x]) => [k.replace(/_/g, ' '), typeof x === 'object' ? JSON.stringify(x) : String(x)])))))),
  referencePanel(trace),
  h('section', { class: 'panel' }, h('h2', {}, 'Candidate answers', h('span', { class: 'dim' }, trace.candidates.length ? 'keys n, p' : 'none found')),
    h('ol', { class: 'cands' }, trace.candidates.map((c) => h('li', { tabindex: 0, onclick: () => select(c.span[0], true), onkeydown: (event) => { if (event.key === 'Enter') { event.stopPropagation(); select(c.span[0], true); } } },
      h('span', { class: c.correct ? 'good' : 'bad' }, c.correct ? '✓' : '✗'), h('code', {}, c.answer ? visible(c.answer) : h('span', { class: 'faint' }, 'illegal')),
      c.restated ? h('span', { class: 'faint small' }, 'restated') : c.flip && (c.flip === 'W->R' ? pill('W→R', 'good') : c.flip === 'R->W' ? pill('R→W', 'bad') : h('span', { class: 'faint small' }, c.flip.replace('->', '→'))))))),
  h('section', { class: 'panel' }, h('h2', {}, 'Sample'), kv([
    trace.judge && ['judge, 0 to 3', `${trace.judge.score}: ${trace.judge.reason} (${trace.judge.model})`], ['tokens', trace.len], turns.length > 0 && ['turns', turns.length], turns.some((turn) => turn.reward !== 0) && ['rewards of turns', turns.map((turn) => fixed(turn.reward, 2)).join(', ')], ['finish', trace.finish], trace.annotations.loss && trace.annotations.loss.length > 0 && ['share of the loss', compact(trace.annotations.loss[0])], ['weights version', trace.version], ['repeated 4-grams', percent(trace.repetition)], trace.switches > 0 && ['language switches', trace.switches],
    ['mean log-prob', fixed(trace.logprobs.reduce((a, b) => a + b, 0) / Math.max(1, trace.len), 3)], ['mean entropy', fixed(trace.entropies.reduce((a, b) => a + b, 0) / Math.max(1, trace.len), 3)],
    ...Object.entries(trace.words).map(([name, [whole, any]]) => [name, whole + (any > whole ? ' (+' + (any - whole) + ' inside words)' : '')]), ['draws', trace.key.join(' / ')]])),
  h('section', { class: 'panel', id: 'elsewhere' }, h('h2', {}, 'Same problem at other steps'), h('p', { class: 'dim small' }, 'looking …'))]);
  api('problem', { task: trace.task, id: trace.problem }, false).then((found) => {
    const others = found.groups.filter((g) => !(g.step === address.step && g.group === address.group && g.source === address.source));
    const box = $('elsewhere');
    if (!box) return;
    clear(box);
    add(box, [h('h2', {}, 'Same problem at other steps', h('span', { class: 'dim' }, others.length + ' times')), others.length === 0 ? h('p', { class: 'dim small' }, 'It was drawn once.') :
      others.slice(0, 12).map((g) => h('div', { class: 'small', style: { display: 'flex', gap: '8px', padding: '2px 0' } }, h('a', { href: '#/trace/' + addressOf(g.step, g.group, 0, g.source) }, 'step ' + g.step), h('span', { class: 'dim' }, g.correct + ' of ' + (g.n - (g.failed || 0)) + ' right'),
        h('span', { class: 'grow', style: { flex: 1 } }), h('a', { href: '#/diff/' + addressOf(g.step, g.group, Math.min(address.sample, g.n - 1), g.source) + '/' + at }, 'compare')))]);
  }).catch(() => { const box = $('elsewhere'); if (box) box.remove(); });
}

'use strict';
function hitRow(hit) {
  return h('tr', { class: 'row item', 'data-at': hit.at, tabindex: -1, onclick: () => go('#/trace/' + hit.at) },
    h('td', {}, h('a', { href: '#/trace/' + hit.at, class: 'mono' }, hit.at)),
    h('td', { class: 'r' }, h('b', { class: hit.failed ? 'faint' : hit.correct ? 'good' : 'bad' }, fixed(hit.reward, 2))),
    h('td', { class: 'r hide-s' }, hit.len),
    h('td', {}, h('div', { style: { display: 'flex', gap: '4px', 'flex-wrap': 'wrap', 'margin-bottom': '3px' } }, flipPills(hit.flips, hit.aha), finishPill(hit.finish), hit.failed && pill('not graded', 'off', hit.failed), hit.loop && pill('loop', 'warn')), h('div', { class: 'snip' }, visible(hit.text))));
}
const hitTable = (hits) => h('div', { class: 'scroll panel' }, h('table', {}, h('thead', {}, h('tr', {}, h('th', {}, 'sample'), h('th', { class: 'r' }, 'reward'), h('th', { class: 'r hide-s' }, 'tokens'), h('th', {}, 'text'))), h('tbody', {}, hits.map(hitRow))));

const EXAMPLES = ['flips>0', 'aha>0 correct=1', 'text~"wait" reward<1', 'finish=length', 'loop=1', 'len>100 step<10', 'lost>0', 'zero=1 solved=1'];
async function viewSearch(root, self, args, params) {
  const text = params.get('q') || '';
  const order = params.get('order') || 'step';
  const offset = Number(params.get('offset') || 0);
  const limit = 50;
  $('search').value = text;
  const info = await api('info');
  const link = (q, o = order, from = 0) => '#/search?' + query({ q, order: o === 'step' ? '' : o, offset: from || '' });
  const result = await api('search', { q: text, order, offset, limit });
  add(root, [h('div', { class: 'head' }, h('h1', {}, 'Search'), !result.error && pill((result.exact ? '' : 'about ') + result.total.toLocaleString('en') + ' samples', 'accent'), h('span', { class: 'grow' }),
    h('select', { class: 'btn', 'aria-label': 'order', onchange: (event) => go(link(text, event.target.value)) },
      [['step', 'oldest first'], ['-step', 'newest first'], ['-flips', 'most flips'], ['-aha', 'most ahas'], ['-reward', 'highest reward'], ['-len', 'longest'], ['len', 'shortest'], ['-entropy', 'highest entropy']].map(([v, t]) => h('option', { value: v, selected: v === order }, t)))),
  h('div', { class: 'chips' }, EXAMPLES.map((q) => h('a', { class: 'btn' + (q === text ? ' on' : ''), href: link(q) }, h('span', { class: 'mono small' }, q))))]);
  if (result.error) {
    // The caret counts characters as they are drawn; the server counts bytes.
    const before = new TextDecoder().decode(new TextEncoder().encode(text).slice(0, result.at));
    add(root, [h('div', { class: 'queryerr', role: 'alert' }, text + '\n' + ' '.repeat([...before].length) + '^', h('div', { class: 'why' }, result.error))]);
  } else if (result.hits.length === 0) {
    add(root, [h('div', { class: 'empty' }, result.exact ? 'Nothing matches.' : 'No match among the texts that were compared in the time a search has. A further term, such as step<10, narrows it.')]);
  } else {
    add(root, [hitTable(result.hits), h('div', { class: 'tools', style: { 'margin-top': '12px' } },
      h('button', { class: 'btn', disabled: offset === 0, onclick: () => go(link(text, order, Math.max(0, offset - limit))) }, '← earlier'),
      h('span', { class: 'dim num' }, `${offset + 1}–${offset + result.hits.length}`),
      h('button', { class: 'btn', disabled: offset + result.hits.length >= result.total, onclick: () => go(link(text, order, offset + limit)) }, 'later →'))]);
  }
  add(root, [h('details', { style: { 'margin-top': '18px' }, open: !!result.error }, h('summary', {}, 'The search language'), h('p', { class: 'dim' }, 'Terms next to each other must all hold; or, not and brackets as usual. Numbers may end in k or m. A bare word or "quoted words" search the text; the last word may end with *.'),
    h('div', { class: 'scroll' }, h('table', {}, h('tbody', {}, info.fields.map((f) => h('tr', {}, h('td', { class: 'mono' }, f.name), h('td', { class: 'dim' }, f.help)))))))]);
  self.items = [...root.querySelectorAll('tr.item')];
}

async function viewAhas(root, self, args, params) {
  const [result, timeline] = await Promise.all([api('ahas', { limit: 100 }), api('timeline')]);
  const first = timeline.scan[0];
  add(root, [h('div', { class: 'head' }, h('h1', {}, 'First ahas'), pill(result.total.toLocaleString('en') + ' in all', 'accent')),
    h('div', { class: 'note' }, 'A reflection marker after a wrong candidate, before a right one. Every candidate is graded by the task itself, so these are turns from wrong to right, not just words. ',
      first && h('b', {}, `Also present at step ${first.step}: ${percent(first.aha, 1)} of traces.`)),
    result.hits.length ? hitTable(result.hits) : h('div', { class: 'empty' }, 'None yet.')]);
  self.items = [...root.querySelectorAll('tr.item')];
}

async function viewProblems(root, self, args, params) {
  const rows = await api('probes');
  add(root, [h('div', { class: 'head' }, h('h1', {}, 'Same problem, different steps'))]);
  if (rows.length === 0) { add(root, [h('div', { class: 'empty' }, 'No problem was sampled at two steps yet. Probe problems are sampled every few steps when the run asks for it.')]); return; }
  add(root, [h('div', { class: 'scroll panel' }, h('table', {}, h('thead', {}, h('tr', {}, ['problem', 'task', 'times', 'first', 'last', 'solved'].map((t, i) => h('th', { class: i === 1 ? 'hide-s' : i > 1 ? 'r' : '' }, t)))),
    h('tbody', {}, rows.map((r) => { const to = '#/problem/' + encodeURIComponent(r.task) + '/' + encodeURIComponent(r.problem); return h('tr', { class: 'row item', tabindex: -1, onclick: () => go(to) },
      h('td', {}, h('a', { href: to, class: 'mono' }, r.problem), ' ', r.probe && pill('probe', 'accent')), h('td', { class: 'dim hide-s' }, r.task), h('td', { class: 'r' }, r.times), h('td', { class: 'r' }, r.first), h('td', { class: 'r' }, r.last), h('td', { class: 'r' }, percent(r.solved))); }))))]);
  self.items = [...root.querySelectorAll('tr.item')];
}

async function viewProblem(root, self, args, params) {
  const found = await api('problem', { task: args[0], id: args[1] });
  const groups = found.groups;
  let a = 0, b = groups.length - 1;
  const out = h('div', {});
  const graded = (g) => g.n - (g.failed || 0);
  const label = (g) => `step ${g.step} · ` + (graded(g) ? `${g.correct} of ${graded(g)} right` : 'not graded') + (g.source === 'train' ? '' : ' · ' + g.source);
  const pick = (name, value, set) => h('select', { class: 'btn', 'aria-label': name, onchange: (event) => { set(Number(event.target.value)); draw(); } }, groups.map((g, i) => h('option', { value: i, selected: i === value }, label(g))));
  const bar = h('div', { class: 'tools' });
  add(root, [h('div', { class: 'head' }, h('h1', {}, 'Problem ', h('span', { class: 'mono' }, args[1])), pill(args[0], ''), pill(groups.length + ' times', 'accent')),
    lineChart('Solved', 'share of the group, by step', [{ name: 'solved', color: 'c1', values: groups.map((g) => (graded(g) ? g.correct / graded(g) : null)), steps: groups.map((g) => g.step) }], { format: percent, min: 0, max: 1, plain: true }), bar, out]);
  if (found.prompt !== undefined) root.insertBefore(h('div', { class: 'problem-grid' }, h('section', { class: 'panel' }, h('h2', {}, 'Prompt', h('span', { class: 'dim' }, 'as the policy sees it')), h('div', { class: 'tokens prompt' }, visibleText(found.prompt))), referencePanel(found)), root.children[1]);
  const drawBar = () => {
    clear(bar);
    if (groups.length < 2) add(bar, [h('a', { class: 'btn', href: '#/trace/' + addressOf(groups[0].step, groups[0].group, 0, groups[0].source) }, label(groups[0]))]);
    else add(bar, [pick('first', a, (v) => { a = v; }), h('span', { class: 'dim' }, 'against'), pick('second', b, (v) => { b = v; })]);
  };
  const draw = async () => {
    keepFocus(bar, drawBar);
    clear(out);
    if (groups.length > 1) await drawDiff(out, addressOf(groups[a].step, groups[a].group, 0, groups[a].source), addressOf(groups[b].step, groups[b].group, 0, groups[b].source));
  };
  await draw();
  requestAnimationFrame(resizeCharts);
}

// Longest common subsequence by words; long texts are compared by their words' first differences only as far as the
// table fits.
function diffWords(first, second) {
  const words = (text) => text.match(/[\p{L}\p{N}_]+|[^]/gu) || [];
  const a = words(first), b = words(second);
  let start = 0, endA = a.length, endB = b.length;
  while (start < endA && start < endB && a[start] === b[start]) start++;
  while (endA > start && endB > start && a[endA - 1] === b[endB - 1]) { endA--; endB--; }
  const n = endA - start, m = endB - start;
  const parts = [];
  const push = (side, text) => { if (parts.length && parts[parts.length - 1][0] === side) parts[parts.length - 1][1] += text; else parts.push([side, text]); };
  a.slice(0, start).forEach((w) => push('both', w));
  if (n * m > 4e6) {
    a.slice(start, endA).forEach((w) => push('first', w));
    b.slice(start, endB).forEach((w) => push('second', w));
  } else {
    const table = new Uint32Array((n + 1) * (m + 1));
    for (let i = n - 1; i >= 0; i--) for (let j = m - 1; j >= 0; j--) table[i * (m + 1) + j] = a[start + i] === b[start + j] ? table[(i + 1) * (m + 1) + j + 1] + 1 : Math.max(table[(i + 1) * (m + 1) + j], table[i * (m + 1) + j + 1]);
    let i = 0, j = 0;
    while (i < n || j < m) {
      if (i < n && j < m && a[start + i] === b[start + j]) { push('both', a[start + i]); i++; j++; }
      else if (j < m && (i === n || table[i * (m + 1) + j + 1] > table[(i + 1) * (m + 1) + j])) push('second', b[start + j++]);
      else push('first', a[start + i++]);
    }
  }
  a.slice(endA).forEach((w) => push('both', w));
  return parts;
}
async function drawDiff(root, left, right) {
  const [a, b] = await Promise.all([api('trace', { at: left }, false), api('trace', { at: right }, false)]);
  const parts = diffWords(a.text, b.text);
  const side = (trace, mine, tag) => h('section', { class: 'panel' }, h('h2', {}, h('a', { href: '#/trace/' + trace.at }, trace.at), gradePill(trace), h('span', { class: 'dim num' }, fixed(trace.reward, 2) + ' · ' + trace.len + ' tokens'), flipPills(trace.flips, trace.aha)),
    h('div', { class: 'strip', style: { margin: '4px 0 10px' } }, trace.siblings.map((s, i) => {
      const at = addressOf(trace.step, trace.group, i, trace.source);
      return h('a', { href: mine === 'first' ? '#/diff/' + at + '/' + right : '#/diff/' + left + '/' + at, class: verdictOf(s), 'aria-current': i === trace.sample ? 'true' : null, title: 'sample ' + i + ': reward ' + fixed(s.reward, 2) }, i);
    })),
    h('div', { class: 'diff' }, parts.filter(([s]) => s === 'both' || s === mine).map(([s, text]) => (s === 'both' ? h('span', {}, visibleText(text)) : h(tag, {}, visibleText(text))))));
  clear(root);
  add(root, [h('div', { class: 'diffs' }, side(a, 'first', 'del'), side(b, 'second', 'ins'))]);
}
async function viewDiff(root, self, args, params) {
  const swap = () => go('#/diff/' + args[1] + '/' + args[0]);
  const out = h('div', {});
  add(root, [h('div', { class: 'head' }, h('h1', {}, 'Compare'), h('button', { class: 'btn', onclick: swap }, 'swap')), out]);
  await drawDiff(out, args[0], args[1]);
}

async function viewWorkers(root, self, args, params) {
  const fleet = await api('fleet');
  const count = (group, name) => { const value = fleet && fleet[group] && fleet[group][name]; return typeof value === 'number' ? value.toLocaleString('en') : '–'; };
  const text = (value) => visible(typeof value === 'string' ? value : '–');
  const workers = (fleet && Array.isArray(fleet.workers) ? fleet.workers : []).slice(0, 1000);
  add(root, [h('div', { class: 'head' }, h('h1', {}, 'Workers'), fleet && pill(compact(fleet.workers_alive) + ' alive', 'accent'))]);
  if (!fleet) { add(root, [h('div', { class: 'empty' }, 'This run draws its samples itself. Workers join with: zeroth train CONFIG --set fleet.listen=HOST:PORT')]); return; }
  add(root, [h('div', { class: 'note' }, `${count('leases', 'waiting')} pieces wait, ${count('leases', 'lent')} are lent. Since the start: ${count('counts', 'results')} results, ${count('leases', 'expired')} leases ran out, ${count('leases', 'duplicates')} results came twice, ${count('counts', 'audited')} were computed again, ${count('counts', 'mismatches')} were wrong, ${count('counts', 'unauthorised')} requests had no right.`)]);
  const shut = Object.entries(fleet.quarantined && typeof fleet.quarantined === 'object' ? fleet.quarantined : {});
  if (shut.length) add(root, [h('section', { class: 'panel' }, h('h2', {}, 'Quarantined'), h('div', { class: 'scroll' }, h('table', {}, h('tbody', {}, shut.map(([name, why]) => h('tr', {}, h('td', { class: 'mono' }, visible(name)), h('td', { class: 'bad' }, text(why))))))))]);
  add(root, [h('div', { class: 'scroll panel' }, h('table', {}, h('thead', {}, h('tr', {}, ['worker', 'state', 'kernels', 'threads', 'weights', 'tokens/s', 'tokens', 'leases', 'ran out', 'faults'].map((t, i) => h('th', { class: i > 4 || i === 3 ? 'r' : '' }, t)))),
    h('tbody', {}, workers.map((w) => h('tr', { class: 'row item', tabindex: -1 }, h('td', { class: 'mono' }, text(w.name)), h('td', {}, w.alive ? pill(w.waiting ? 'waits' : 'works', w.waiting ? '' : 'good') : pill('gone', 'off')), h('td', {}, text(w.isa)), h('td', { class: 'r' }, compact(w.threads)),
      h('td', {}, w.current ? pill('current', 'accent') : pill('older', 'warn')), h('td', { class: 'r' }, compact(w.tokens_per_s)), h('td', { class: 'r' }, compact(w.tokens)), h('td', { class: 'r' }, compact(w.leases)), h('td', { class: 'r' }, compact(w.expired)), h('td', { class: 'r' }, h('span', { class: w.faults > 0 ? 'bad' : '' }, compact(w.faults))))))))]);
  self.items = [...root.querySelectorAll('tr.item')];
}

async function viewExperts(root, self, args, params) {
  const data = await api('experts');
  add(root, [h('div', { class: 'head' }, h('h1', {}, 'Expert load'), h('span', { class: 'dim' }, 'tokens routed to each expert, 1 is an even share'),
    data.steps.length > 0 && h('span', { class: 'scale' }, 'none', h('i', { style: { background: 'linear-gradient(90deg, rgb(80 120 245), rgb(80 120 245 / .12) 50%, rgb(245 150 60 / .12) 50%, rgb(245 150 60))' } }), '2 or more'))]);
  if (data.steps.length === 0) { add(root, [h('div', { class: 'empty' }, 'This run did not record routed experts. Set "record_experts": true in its engine options.')]); return; }
  const layers = data.load[0].length, experts = data.load[0][0].length;
  const vio = data.load.map((step) => Math.max(...step.map((layer) => Math.max(...layer) - 1)));
  const grid = h('div', { class: 'grid', style: { 'align-items': 'start' } });
  add(grid, [lineChart('Worst overload', 'largest load − 1 over layers (max vio)', [{ name: 'max vio', color: 'c3', values: vio, steps: data.steps }], { min: 0 })]);
  for (let layer = 0; layer < layers; layer++) {
    const cell = 8;
    const canvas = h('canvas', { width: data.steps.length, height: experts * cell, style: { height: experts * 13 + 'px' }, 'aria-label': 'load of the experts of layer ' + layer });
    const draw = canvas.getContext('2d');
    data.load.forEach((step, x) => step[layer].forEach((load, e) => {
      // 0 dark blue, 1 the panel's own colour, 2 and more orange.
      const over = Math.min(1, Math.max(0, load - 1)), under = Math.min(1, Math.max(0, 1 - load));
      draw.fillStyle = over > 0 ? `rgb(245 150 60 / ${0.12 + 0.88 * over})` : `rgb(80 120 245 / ${0.12 + 0.88 * under})`;
      draw.fillRect(x, e * cell, 1, cell - 1);
    }));
    const where = (event) => { const box = canvas.getBoundingClientRect(); return [Math.min(data.steps.length - 1, Math.max(0, Math.floor((event.clientX - box.left) / box.width * data.steps.length))), Math.min(experts - 1, Math.max(0, Math.floor((event.clientY - box.top) / box.height * experts)))]; };
    canvas.addEventListener('pointermove', (event) => { const [x, e] = where(event); tip(event, h('b', {}, `step ${data.steps[x]}, expert ${e}`), ' load ' + fixed(data.load[x][layer][e], 2)); });
    canvas.addEventListener('pointerleave', untip);
    canvas.addEventListener('click', (event) => { untip(); openNearestStep(data.steps[where(event)[0]]); });
    add(grid, [h('section', { class: 'panel heat' }, h('h2', {}, 'Layer ' + layer, h('span', { class: 'dim' }, experts + ' experts, down; steps across')),
      h('div', { class: 'map' }, h('div', { 'aria-hidden': 'true' }, [...Array(experts).keys()].map((e) => h('span', {}, e))), canvas), h('div', { class: 'range' }, h('span', {}, 'step ' + data.steps[0]), h('span', {}, 'step ' + data.steps[data.steps.length - 1])))]);
  }
  add(root, [grid]);
  requestAnimationFrame(resizeCharts);
}

// What each stage of a pipeline came to: means with their 95% intervals.
function stagePanel(pipeline) {
  const of = (row, name) => (row.measures && row.measures[name]) || {};
  const cell = (measure, show) => [show(measure.mean), h('div', { class: 'small dim' }, Array.isArray(measure.ci95) ? measure.ci95.map(show).join(' to ') : '')];
  const share = (x) => percent(x, 1), tokens = (x) => fixed(x, 1);
  const columns = [['accuracy', share], ['format', share], ['language', share], ['length', tokens], ['right_length', tokens]];
  return h('section', { class: 'scroll panel stages' }, h('h2', {}, 'Stages of ', visible(pipeline.name), h('span', { class: 'dim' }, 'held out, with 95% intervals')),
    h('table', { class: 'runs' }, h('thead', {}, h('tr', {}, [['after', ''], ['accuracy', 'r'], ['format', 'r'], ['language', 'r'], ['tokens', 'r'], ['tokens of right answers', 'r'], ['cut off', 'r hide-s']].map(([t, c]) => h('th', { class: c }, t)))),
      h('tbody', {}, pipeline.rows.filter((row) => row && typeof row === 'object').map((row) => h('tr', { class: 'row' }, h('td', {}, visible(String(row.after))),
        columns.map(([name, show]) => h('td', { class: 'r' }, cell(of(row, name), show))), h('td', { class: 'r hide-s' }, share(row.truncated)))))));
}

// The runs of this page: what has become of each, and which are drawn over which.
async function viewRuns(root, self, args, params) {
  const [runs, info, pipelines] = await Promise.all([api('runs'), api('info'), api('stages')]);
  const names = runNames(runs), over = new Set(overlayIds(info));
  const address = (id, others) => '?' + query({ run: id || '', over: [...others].filter((o) => o !== id).join(',') }) + '#/timeline';
  const choose = (id, on) => { on ? over.add(id) : over.delete(id); location.assign('?' + query({ run: RUN || '', over: [...over].join(',') || '-' }) + '#/runs'); };
  const ago = (s) => (s < 5 ? 'now' : duration(s) + ' ago');
  add(root, [h('div', { class: 'head' }, h('h1', {}, 'Runs'), pill(runs.length + (runs.length === 1 ? ' run' : ' runs'), 'accent'), h('span', { class: 'grow' }),
    over.size > 0 && h('a', { class: 'btn on', href: address(RUN, over) }, 'draw ' + (over.size + 1) + ' runs together')),
  pipelines.map(stagePanel),
  h('div', { class: 'scroll panel' }, h('table', { class: 'runs' }, h('thead', {}, h('tr', {}, [['draw', ''], ['run', ''], ['state', ''], ['steps', 'r'], ['held out', 'r'], ['reward', 'r hide-s'], ['task', 'hide-s'], ['model', 'hide-s'], ['wrote', 'r hide-s']].map(([t, c]) => h('th', { class: c }, t)))),
    h('tbody', {}, runs.map((run) => h('tr', { class: 'row item', tabindex: -1, onclick: (event) => { if (event.target.tagName !== 'INPUT') location.assign(address(run.id, over)); } },
      h('td', {}, run.id === RUN ? pill('shown', 'accent') : h('input', { type: 'checkbox', checked: over.has(run.id), 'aria-label': 'draw ' + names[run.id] + ' over the run that is shown', onchange: (event) => choose(run.id, event.target.checked) })),
      h('td', {}, h('a', { href: address(run.id, over), title: run.path }, visible(names[run.id]))),
      h('td', {}, statePill(run)),
      h('td', { class: 'r' }, run.done.toLocaleString('en'), run.steps > 0 && h('span', { class: 'dim' }, ' / ' + run.steps.toLocaleString('en')), run.eta_s !== null && h('div', { class: 'small dim' }, duration(run.eta_s) + ' to go')),
      h('td', { class: 'r' }, percent(run.held_out, 1)), h('td', { class: 'r hide-s' }, fixed(run.reward)), h('td', { class: 'hide-s dim' }, visible(run.task)), h('td', { class: 'hide-s dim cut' }, visible(run.model)), h('td', { class: 'r hide-s dim' }, ago(run.age_s)))))))]);
  self.items = [...root.querySelectorAll('tr.item')];
}

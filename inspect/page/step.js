'use strict';
const SOURCES = ['train', 'probe', 'eval', 'discarded'];

function sampleCard(step, source, group, sample, index) {
  const at = addressOf(step, group, index, source);
  return h('a', { class: 'card item ' + verdictOf(sample), href: '#/trace/' + at, 'data-at': at },
    h('div', { class: 'top' },
      h('b', { class: 'num' }, fixed(sample.reward, 2)),
      h('span', { class: 'dim num' }, signed(sample.adv)),
      h('span', { class: 'meter', title: sample.len + ' tokens' }, h('i', { style: { width: Math.min(100, 100 * sample.len / sampleCard.longest) + '%' } })),
      h('span', { class: 'dim num' }, sample.len),
      flipPills(sample.flips, sample.aha), finishPill(sample.finish), sample.failed && pill('not graded', 'off', sample.failed), sample.loop && pill('loop', 'warn'), sample.masked && pill('masked', '')),
    h('div', { class: 'top', style: { 'margin-top': '4px' } }, sample.parts.map((part) =>
      h('span', { class: 'small ' + (part.score > 0 ? 'good' : 'faint'), title: part.reason }, part.name + ' ' + (REASON_KIND[part.reason] === 'off' ? 'not graded' : fixed(part.score, part.score % 1 ? 2 : 0))))),
    sample.failed && h('div', { class: 'small faint why' }, visible(sample.failed)),
    h('div', { class: 'snip' }, visible(sample.text)));
}

async function viewStep(root, self, args, params) {
  const step = Number(args[0]);
  const source = params.get('source') || 'train';
  const [data, steps] = await Promise.all([api('step', { step, source }), stepsWithSamples ? stepsWithSamples : loadSteps()]);
  const columns = Object.fromEntries(data.columns.map((name, i) => [name, i]));
  const here = steps.filter((s) => s.source === source).map((s) => s.step);
  const at = here.indexOf(step);
  const jump = (to) => { if (to !== undefined) go('#/step/' + to + (source === 'train' ? '' : '?source=' + source)); };
  self.left = () => jump(here[at - 1]);
  self.right = () => jump(here[at + 1]);
  let bin = null, only = '';
  const sources = SOURCES.filter((s) => steps.some((row) => row.step === step && row.source === s));
  const solved = data.samples.filter((row) => row[columns.correct]).length, failed = data.samples.filter((row) => row[columns.failed]).length;
  const graded = data.samples.length - failed;
  const slider = h('input', { type: 'range', min: 0, max: Math.max(0, here.length - 1), value: Math.max(0, at), 'aria-label': 'step', style: { width: '180px', 'accent-color': 'var(--accent)' },
    onchange: (event) => jump(here[Number(event.target.value)]) });
  add(root, [h('div', { class: 'head' },
    h('h1', {}, 'Step ' + step),
    h('button', { class: 'btn', disabled: at <= 0, onclick: self.left, 'aria-label': 'previous step' }, '←'),
    h('button', { class: 'btn', disabled: at < 0 || at >= here.length - 1, onclick: self.right, 'aria-label': 'next step' }, '→'),
    here.length > 2 && slider,
    sources.length > 1 && segment(sources.map((s) => [s, s]), source, (s) => go('#/step/' + step + (s === 'train' ? '' : '?source=' + s)), 'source'),
    h('span', { class: 'grow' }),
    pill(data.total_groups + ' groups', ''), pill(data.samples.length + ' samples', ''),
    failed > 0 && pill(failed + ' not graded', 'off', 'they count neither as right nor as wrong'),
    solvedPill(solved, graded, percent(solved / Math.max(1, graded)) + ' solved'))]);
  const hists = h('div', { class: 'hists' });
  const tools = h('div', { class: 'tools' });
  const list = h('div', { id: 'groups' });
  add(root, [hists, tools, list]);
  const value = (row, title) => ({ Reward: row[columns.reward], Length: row[columns.len], Advantage: row[columns.adv], 'Mean entropy': row[columns.entropy] }[title]);
  const keep = (row) => (!bin || inBin(value(row, bin.title), bin)) &&
    (!only || (only === 'right' && row[columns.correct]) || (only === 'wrong' && !row[columns.correct] && !row[columns.failed]) || (only === 'failed' && row[columns.failed]) || (only === 'flip' && row[columns.flips] > 0) || (only === 'aha' && row[columns.aha] > 0) || (only === 'cut' && row[columns.finish] === 1));
  sampleCard.longest = Math.max(1, ...data.samples.map((row) => row[columns.len]));
  const draw = () => keepFocus(root, redraw, '.seg[aria-label=filter] button');
  const redraw = () => {
    clear(hists);
    add(hists, ['Reward', 'Length', 'Advantage', 'Mean entropy'].map((title) =>
      histogram(title, data.samples.map((row) => value(row, title)), bin, (chosen) => { bin = chosen; draw(); })));
    const kept = new Set(data.samples.filter(keep).map((row) => row[columns.group] + '.' + row[columns.sample]));
    clear(tools);
    add(tools, [segment([['', 'all'], ['right', 'right'], ['wrong', 'wrong'], ...(failed > 0 ? [['failed', 'not graded']] : []), ['flip', 'W→R'], ['aha', 'aha'], ['cut', 'truncated']], only, (v) => { only = v; draw(); }, 'filter'),
      (bin || only) && h('span', { class: 'dim', id: 'kept' }, kept.size + ' of ' + data.samples.length + ' samples'),
      (bin || only) && h('button', { class: 'btn', onclick: () => { bin = null; only = ''; draw(); } }, 'clear filter')]);
    clear(list);
    for (const group of data.groups) {
      if (group.damaged) { add(list, [h('div', { class: 'note alert' }, 'Group ' + group.group + ': ' + group.damaged)]); continue; }
      const cards = group.samples.map((sample, i) => [sample, i]).filter(([, i]) => kept.has(group.group + '.' + i));
      if (cards.length === 0) continue;
      add(list, [h('section', { class: 'panel group' },
        h('header', {},
          h('h2', {}, h('a', { href: '#/problem/' + encodeURIComponent(group.task) + '/' + encodeURIComponent(group.problem) }, group.problem.length > 40 ? group.problem.slice(0, 40) + '…' : group.problem)),
          pill(group.task, ''), solvedPill(group.correct, group.n - (group.failed || 0), group.correct + ' of ' + (group.n - (group.failed || 0)) + ' right'),
          group.failed > 0 && pill(group.failed + ' not graded', 'off'),
          group.zero && pill('zero variance', 'warn', 'all rewards are equal: no signal'),
          h('span', { class: 'dim small num' }, 'mean reward ' + fixed(group.reward, 3)),
          group.answer && h('span', { class: 'dim small' }, 'reference ', h('span', { class: 'mono' }, visible(group.answer))),
          h('div', { class: 'prompt' }, visible(group.prompt))),
        h('div', { class: 'cards' }, cards.map(([sample, i]) => sampleCard(step, source, group.group, sample, i))))]);
    }
    if (data.total_groups > data.groups.length) add(list, [h('p', { class: 'dim' }, `The first ${data.groups.length} of ${data.total_groups} groups are shown; the search finds the others.`)]);
    if (!list.children.length) add(list, [h('div', { class: 'empty' }, 'No sample is left by this filter.')]);
    self.items = [...list.querySelectorAll('.item')];
  };
  draw();
}

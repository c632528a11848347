'use strict';
// What the current view lets the keyboard do.
let page = { items: [], at: -1 };
const VIEWS = { timeline: viewTimeline, step: viewStep, trace: viewTrace, search: viewSearch, ahas: viewAhas, problems: viewProblems, problem: viewProblem, diff: viewDiff, experts: viewExperts, workers: viewWorkers, runs: viewRuns };
const ALL_TABS = [['timeline', 'Timeline', '#/timeline'], ['step', 'Steps', '#/step'], ['ahas', 'First ahas', '#/ahas'], ['search', 'Search', '#/search'], ['problems', 'Problems', '#/problems'], ['experts', 'Experts', '#/experts']];
// With several runs there is a list of them, behind the others so that the keys 1 to 6 stay what they are.
let TABS = ALL_TABS;
const PARENT = { trace: 'step', problem: 'problems', diff: 'problems' };
let routing = 0;

async function route() {
  const here = place();
  const mine = ++routing;
  const live = route.keepScroll;
  route.keepScroll = false;
  if (!live) untip();
  if (here.view === 'step' && !here.args[0]) {
    const steps = (await loadSteps()).filter((s) => s.source === 'train');
    if (mine !== routing) return;
    if (steps.length) { history.replaceState(null, '', '#/step/' + steps[steps.length - 1].step); route(); return; }
  }
  const active = PARENT[here.view] || here.view;
  add(clear($('tabs')), TABS.map(([name, label, to]) => h('a', { href: to, 'aria-current': name === active ? 'page' : null }, label)));
  const tab = $('tabs').querySelector('[aria-current]');
  if (tab) $('tabs').scrollLeft = tab.offsetLeft - ($('tabs').clientWidth - tab.offsetWidth) / 2;
  const root = h('div', {});
  // Each view fills an object of its own; keys belong to the view that is on the screen.
  const self = { items: [], at: -1 };
  const before = [...charts];
  charts.clear();
  const view = VIEWS[here.view];
  try {
    if (!view) throw new Error('There is no view "' + here.view + '".');
    if (here.view === 'step' && !here.args[0]) add(root, [h('div', { class: 'empty' }, 'No samples are stored yet.')]);
    else await view(root, self, here.args, here.params);
  } catch (error) {
    clear(root);
    add(root, [h('div', { class: 'note alert', role: 'alert' }, error.message)]);
  }
  if (mine !== routing) return;
  if (live && (!$('tip').hidden || here.view !== place().view)) {
    // Someone points at a chart: the redraw waits for the next change, so that a click hits what was seen.
    charts.clear();
    before.forEach((chart) => charts.add(chart));
    return;
  }
  page = self;
  const main = $('main');
  // The same place drawn anew, as after a change of theme, is still the reader's place.
  const again = live || route.drawn === location.hash;
  route.drawn = location.hash;
  if (again) keepFocus(main, () => clear(main).append(root));
  else clear(main).append(root);
  if (document.activeElement === document.body) main.focus({ preventScroll: true });
  if (here.view !== 'search') $('search').value = '';
  document.body.dataset.view = here.view;
  resizeCharts();
  if (!live) scrollTo(0, 0);
}

function markItem(to) {
  const items = page.items || [];
  if (!items.length) return;
  if (page.at >= 0 && items[page.at]) items[page.at].classList.remove('at');
  page.at = Math.max(0, Math.min(items.length - 1, to));
  items[page.at].classList.add('at');
  items[page.at].scrollIntoView({ block: 'nearest' });
  items[page.at].focus({ preventScroll: true });
}
function openItem() {
  const item = (page.items || [])[page.at];
  if (!item) return false;
  if (item.dataset.at) go('#/trace/' + item.dataset.at); else item.click();
  return true;
}

const KEYS = [['/', 'search'], ['j, k or ↓, ↑', 'next and previous card or row'], ['Enter', 'open it'], ['h, l or ←, →', 'previous and next step, or sibling of a trace'], ['Esc', 'back: trace to step, step to timeline'], ['n, p', 'next and previous candidate answer of a trace'], ['c', 'next colouring of tokens'], ['f', 'fold or open the thinking'], ['1 … 6', 'timeline, steps, ahas, search, problems, experts'], ['7, 8', 'workers and the list of runs, where there are any'], ['t', 'dark or light'], ['?', 'this list']];
function showKeys() {
  const dialog = $('keys');
  if (dialog.open) { dialog.close(); return; }
  clear(dialog);
  add(dialog, [h('h2', {}, 'Keys'), h('dl', {}, KEYS.map(([k, what]) => [h('dt', {}, k.split(/(, | or )/).map((part) => (/^(, | or )$/.test(part) ? part : h('kbd', {}, part)))), h('dd', {}, what)])), h('p', {}, h('button', { class: 'btn', autofocus: true, onclick: () => dialog.close() }, 'close'))]);
  dialog.showModal();
}
function back() {
  const here = place();
  if (page.up) page.up();
  else if (here.view !== 'timeline') go('#/timeline');
}
addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $('keys').open) return;
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
  if (typing) {
    if (event.key === 'Escape') event.target.blur();
    return;
  }
  const actions = {
    '/': () => { $('search').focus(); $('search').select(); }, '?': showKeys, t: toggleTheme, Escape: back,
    j: () => markItem(page.at + 1), ArrowDown: () => markItem(page.at + 1), k: () => markItem(page.at - 1), ArrowUp: () => markItem(page.at - 1),
    h: () => page.left && page.left(), ArrowLeft: () => page.left && page.left(), l: () => page.right && page.right(), ArrowRight: () => page.right && page.right(),
    n: () => page.next && page.next(), p: () => page.previous && page.previous(), c: () => page.cycle && page.cycle(), f: () => page.fold && page.fold(),
  };
  if (event.key === 'Enter') {
    const marked = event.target === (page.items || [])[page.at];
    if (!marked && event.target.closest('a, button, summary, [tabindex]') && event.target.id !== 'main') return;
    if (openItem()) event.preventDefault();
    return;
  }
  if (/^[1-8]$/.test(event.key)) { const tab = TABS[Number(event.key) - 1]; if (tab) go(tab[2]); return; }
  const action = actions[event.key];
  if (!action) return;
  if (event.key.startsWith('Arrow') && (event.key === 'ArrowDown' || event.key === 'ArrowUp') && !(page.items || []).length) return;
  event.preventDefault();
  action();
});

// The light in the bar tells of the run; a connection that is lost is said in its place.
let lastState = null, connected = EXPORTED !== null;
function showState(run) {
  if (run) lastState = run;
  const light = $('live'), state = lastState ? lastState.state : 'unknown';
  const words = EXPORTED ? 'exported' : !connected ? 'not connected' : state === 'unknown' ? 'connected' : STATE_TEXT[state] || state;
  light.classList.toggle('on', !EXPORTED && connected && state === 'running');
  light.classList.toggle('ill', !EXPORTED && connected && ['stopped', 'failed', 'killed'].includes(state));
  light.querySelector('b').textContent = words;
}
function startLive() {
  showState(null);
  if (EXPORTED) return;
  const events = new EventSource('api/events');
  events.onopen = () => { connected = true; showState(null); };
  events.onerror = () => { connected = false; showState(null); };
  events.onmessage = () => {
    cache.clear();
    stepsWithSamples = null;
    api('info').then((info) => showState(info.run_state)).catch(() => {});
    // Only what does not move under a reader redraws by itself.
    const typing = /^(INPUT|SELECT)$/.test(document.activeElement.tagName);
    if (['timeline', 'ahas', 'experts', 'workers', 'runs'].includes(place().view) && !typing && $('tip').hidden) { route.keepScroll = true; route(); }
  };
}

async function start() {
  initTheme();
  $('theme').addEventListener('click', toggleTheme);
  $('help').addEventListener('click', showKeys);
  $('searchbox').addEventListener('submit', (event) => { event.preventDefault(); $('search').blur(); go('#/search?q=' + encodeURIComponent($('search').value)); });
  addEventListener('hashchange', () => route());
  try {
    const info = await api('info');
    TABS = [...ALL_TABS, !EXPORTED && info.fleet && ['workers', 'Workers', '#/workers'], !EXPORTED && (info.runs > 1 || info.pipelines > 0) && ['runs', 'Runs', '#/runs']].filter(Boolean);
    showState(info.run_state);
    $('run-name').textContent = info.run;
    document.title = info.run + ' · zeroth';
  } catch (error) { /* the view says it */ }
  await route();
  startLive();
}
start();

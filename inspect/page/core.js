'use strict';
// Elements are only ever made by h(): text goes into text nodes, so that no trace can become markup.
function h(tag, attributes, ...children) {
  const svg = ['svg', 'path', 'line', 'rect', 'text', 'circle', 'g'].includes(tag);
  const node = svg ? document.createElementNS('http://www.w3.org/2000/svg', tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (name === 'style' && typeof value === 'object') Object.entries(value).forEach(([k, v]) => node.style.setProperty(k, v));
    else node.setAttribute(name, value === true ? '' : value);
  }
  add(node, children);
  return node;
}
function add(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : String(child));
  }
  return node;
}
const $ = (id) => document.getElementById(id);
const clear = (node) => { node.replaceChildren(); return node; };

// Numbers.
const fixed = (x, digits = 3) => (x === null || x === undefined || !isFinite(x) ? '–' : Number(x).toFixed(digits));
const percent = (x, digits = 0) => (x === null || x === undefined || !isFinite(x) ? '–' : (100 * x).toFixed(digits) + '%');
function compact(x) {
  if (x === null || x === undefined || !isFinite(x)) return '–';
  const size = Math.abs(x);
  if (size >= 1e6) return (x / 1e6).toFixed(size >= 1e7 ? 0 : 1) + 'M';
  if (size >= 1e4) return (x / 1e3).toFixed(size >= 1e5 ? 0 : 1) + 'k';
  if (size < 1e-9) return '0';
  const trimmed = (digits) => String(Number(x.toFixed(digits)));
  if (size >= 100) return trimmed(0);
  if (size >= 10) return trimmed(1);
  if (size >= 1) return trimmed(2);
  return size < 1e-3 ? x.toExponential(1) : trimmed(3);
}
const signed = (x, digits = 2) => (x >= 0 ? '+' : '−') + Math.abs(x).toFixed(digits);

// Characters that are invisible or steer the reader are shown as little labels.
const STEERING = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufffd]/;
const LONGEST_PIECE = 400;
function visible(text) {
  const out = [];
  let shown = text;
  if (shown.length > LONGEST_PIECE) shown = shown.slice(0, LONGEST_PIECE);
  let plain = '';
  for (const c of shown) {
    if (!STEERING.test(c)) { plain += c; continue; }
    if (plain) out.push(plain);
    plain = '';
    out.push(h('span', { class: 'vis' }, c === '\ufffd' ? 'bytes' : 'U+' + c.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')));
  }
  if (plain) out.push(plain);
  if (text.length > shown.length) out.push(h('span', { class: 'vis' }, '… ' + text.length.toLocaleString('en') + ' characters'));
  return out;
}
// For running text that is not cut.
function visibleText(text, limit = 20000) {
  const parts = [];
  for (let at = 0; at < Math.min(text.length, limit); at += LONGEST_PIECE) parts.push(...visible(text.slice(at, Math.min(at + LONGEST_PIECE, limit))));
  if (text.length > limit) parts.push(h('span', { class: 'vis' }, '… ' + text.length.toLocaleString('en') + ' characters'));
  return parts;
}

// Data: from the server, or from the file itself when it was exported.
const EXPORTED = window.ZEROTH_EXPORT || null;
// The number of the run that this page shows; the address keeps it in front of the view.
const RUN = EXPORTED ? 0 : Number(new URLSearchParams(location.search).get('run')) || 0;
const cache = new Map();
const query = (parameters) => Object.entries(parameters).filter(([, v]) => v !== undefined && v !== null && v !== '')
  .map(([k, v]) => k + '=' + encodeURIComponent(v)).join('&');
async function api(name, parameters = {}, fresh = true) {
  if (parameters.run === undefined && RUN) parameters = { ...parameters, run: RUN };
  const key = name + '?' + query(parameters);
  if (EXPORTED) return exportedApi(name, parameters);
  if (!fresh && cache.has(key)) return cache.get(key);
  let response;
  try {
    response = await fetch('api/' + key, { headers: { accept: 'application/json' } });
  } catch (error) {
    throw new Error('The server of this page does not answer. Start it again with: zeroth inspect RUN');
  }
  const data = await response.json();
  if (!response.ok) throw new Error(data.error || 'the server answered ' + response.status);
  if (cache.size > 60) cache.delete(cache.keys().next().value);
  cache.set(key, data);
  return data;
}
const addressOf = (step, group, sample, source) => step + '.' + group + '.' + sample + (source && source !== 'train' ? '.' + source : '');
function parseAddress(at) {
  const parts = at.split('.');
  return { step: +parts[0], group: +parts[1], sample: +parts[2], source: parts[3] || 'train' };
}

// Addresses of the page: #/view/argument?x=y
const go = (hash) => { if (location.hash === hash) route(); else location.hash = hash; };
function decoded(text) {
  try { return decodeURIComponent(text); } catch (error) { return text; }  // an address typed by hand
}
function place() {
  const [path, search] = (location.hash.replace(/^#\/?/, '') || 'timeline').split('?');
  const parts = path.split('/').map(decoded);
  return { view: parts[0] || 'timeline', args: parts.slice(1), params: new URLSearchParams(search || '') };
}
// Changes parameters of the address without a new entry in the history.
function setParams(changes) {
  const here = place();
  for (const [k, v] of Object.entries(changes)) v === null ? here.params.delete(k) : here.params.set(k, v);
  const text = here.params.toString();
  history.replaceState(null, '', '#/' + [here.view, ...here.args.map(encodeURIComponent)].join('/') + (text ? '?' + text : ''));
}

// Theme.
function applyTheme(theme) {
  document.documentElement.dataset.theme = theme;
  try { localStorage.setItem('zeroth-theme', theme); } catch (error) { /* a file: page may have no storage */ }
}
function initTheme() {
  let theme = null;
  try { theme = localStorage.getItem('zeroth-theme'); } catch (error) { /* see above */ }
  if (theme !== 'dark' && theme !== 'light') theme = matchMedia('(prefers-color-scheme: light)').matches ? 'light' : 'dark';
  applyTheme(theme);
}
const toggleTheme = () => { applyTheme(document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark'); route(); };
const cssVar = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// The one tooltip.
function tip(event, ...content) {
  const box = $('tip');
  add(clear(box), content);
  box.hidden = false;
  const margin = 14;
  const x = Math.min(event.clientX + margin, innerWidth - box.offsetWidth - 8);
  let y = event.clientY + margin;
  if (y + box.offsetHeight > innerHeight - 8) y = event.clientY - box.offsetHeight - margin;
  box.style.left = Math.max(8, x) + 'px';
  box.style.top = Math.max(8, y) + 'px';
}
const untip = () => { $('tip').hidden = true; };

// Draws anew below `root` and gives the focus back to the control that had it, or to `otherwise`: who works by keys must
// not be thrown to the top of the page.
function keepFocus(root, draw, otherwise) {
  const name = (node) => {
    const part = node.closest('[data-hist], [data-chart]');
    return [node.tagName, part ? part.dataset.hist || part.dataset.chart : '', node.id || node.getAttribute('aria-label') || node.textContent].join('|');
  };
  const held = document.activeElement, had = held !== root && root.contains(held), wanted = had && name(held);
  draw();
  if (!had) return;
  const to = [...root.querySelectorAll('a, button, input, select, summary, [tabindex]')].find((node) => name(node) === wanted) || (otherwise && root.querySelector(otherwise));
  if (to) to.focus({ preventScroll: true });
}

const pill = (text, kind, title) => h('span', { class: 'pill ' + (kind || ''), title }, text);
const segment = (options, current, choose, label) => h('div', { class: 'seg', role: 'group', 'aria-label': label },
  options.map(([value, text]) => h('button', { type: 'button', 'aria-pressed': String(value === current), onclick: () => choose(value) }, text)));
// Right, wrong, or neither: what could not be graded is never called wrong.
const verdictOf = (sample) => (sample.failed ? 'failed' : sample.correct ? 'right' : 'wrong');
const gradePill = (sample) => (sample.failed ? pill('not graded', 'off', sample.failed) : pill(sample.correct ? 'right' : 'wrong', sample.correct ? 'good' : 'bad'));
const REASON_KIND = { correct: 'good', format_ok: 'good', checker_error: 'off', bad_gold: 'off', none: 'off', shaped: '' };
const reasonPill = (verdict) => pill(verdict.reason.replace(/_/g, ' '), verdict.reason in REASON_KIND ? REASON_KIND[verdict.reason] : 'bad');
function solvedPill(right, graded, words) {
  if (graded <= 0) return pill('none graded', 'off');
  return pill(words, right === 0 ? 'bad' : right * 2 >= graded ? 'good' : 'warn');
}
const finishPill = (finish) => (finish === 'stop' ? null : pill(finish === 'length' ? 'truncated' : finish, 'warn'));
function flipPills(flips, aha) {
  return [
    aha > 0 && pill('aha ' + (aha > 1 ? aha : ''), 'accent', 'a reflection marker, then wrong turned right'),
    flips[0] > 0 && pill('W→R' + (flips[0] > 1 ? ' ' + flips[0] : ''), 'good', 'wrong turned into right'),
    flips[1] > 0 && pill('R→W' + (flips[1] > 1 ? ' ' + flips[1] : ''), 'bad', 'right turned into wrong'),
  ];
}

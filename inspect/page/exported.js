'use strict';
// Answers of the server, from the data in the file itself.
function exportedApi(name, parameters) {
  const missing = (what) => { throw new Error(what + ' is not part of this exported file.'); };
  const all = EXPORTED.traces;
  switch (name) {
    case 'info': case 'timeline': case 'steps': case 'experts': case 'probes':
      return EXPORTED[name];
    case 'step': {
      const key = parameters.step + '.' + (parameters.source || 'train');
      return EXPORTED.step[key] || missing('Step ' + parameters.step);
    }
    case 'trace': return all[parameters.at] || missing('Trace ' + parameters.at);
    case 'problem': {
      const groups = new Map();
      for (const t of Object.values(all)) {
        if (t.task !== parameters.task || t.problem !== parameters.id) continue;
        groups.set(t.step + '.' + t.group + '.' + t.source, { step: t.step, group: t.group, source: t.source, n: t.siblings.length, correct: t.siblings.filter((s) => s.correct).length, failed: t.siblings.filter((s) => s.failed).length, prompt: t.prompt, answer: t.answer, meta: t.meta, reward: t.siblings.reduce((a, s) => a + s.reward, 0) / t.siblings.length });
      }
      const sorted = [...groups.values()].sort((a, b) => a.step - b.step), last = sorted[sorted.length - 1] || {};
      return { task: parameters.task, problem: parameters.id, groups: sorted, prompt: last.prompt, answer: last.answer, meta: last.meta };
    }
    case 'ahas': return exportedSearch('aha>0', 0, parameters.limit, 'step');
    case 'search': return exportedSearch(parameters.q || '', parameters.offset || 0, parameters.limit || 50, parameters.order || 'step');
  }
  return missing(name);
}

// The search language over the samples of the file; the server's grammar.
function compileSearch(text) {
  let at = 0;
  const fail = (what, where) => { const error = new Error(what); error.at = new TextEncoder().encode(text.slice(0, where)).length; throw error; };
  const skip = () => { while (/\s/.test(text[at] || '')) at++; };
  const word = (wanted) => {
    skip();
    const part = text.slice(at, at + wanted.length), next = text[at + wanted.length];
    if (part.toLowerCase() !== wanted || (next !== undefined && !/[\s()]/.test(next))) return false;
    at += wanted.length;
    return true;
  };
  const fields = {
    judge: (t) => (t.judge ? t.judge.score : null), step: (t) => t.step, reward: (t) => t.reward, adv: (t) => t.adv, len: (t) => t.len, correct: (t) => +t.correct, failed: (t) => +!!t.failed, masked: (t) => +t.masked, refl: (t) => t.refl, cands: (t) => t.cands,
    flips: (t) => t.flips[0], lost: (t) => t.flips[1], kept: (t) => t.flips[2], stuck: (t) => t.flips[3], aha: (t) => t.aha, loop: (t) => +t.loop, rep: (t) => Math.round(100 * t.repetition), switch: (t) => t.switches,
    first: (t) => { const c = t.candidates.find((x) => x.correct); return c ? c.span[0] : null; }, sample: (t) => t.sample, group: (t) => t.group, zero: (t) => +t.zero, solved: (t) => t.siblings.filter((s) => s.correct).length / t.siblings.length,
    entropy: (t) => t.entropies.reduce((a, b) => a + b, 0) / Math.max(1, t.entropies.length), logprob: (t) => t.logprobs.reduce((a, b) => a + b, 0) / Math.max(1, t.logprobs.length),
  };
  for (const list of EXPORTED.info.lists) fields[list.name] = (t) => (t.words[list.name] || [0])[0];
  const texts = { finish: (t) => t.finish, source: (t) => t.source, task: (t) => t.task, problem: (t) => t.problem };
  const quoted = () => {
    const open = at++;
    let out = '';
    while (at < text.length && text[at] !== '"') { if (text[at] === '\\' && at + 1 < text.length) at++; out += text[at++]; }
    if (at === text.length) fail('this quote is never closed', open);
    at++;
    return out;
  };
  const until = () => { const start = at; while (at < text.length && !/[\s()]/.test(text[at])) at++; return text.slice(start, at); };
  const phrase = (value, where) => {
    const star = value.endsWith('*'), core = star ? value.slice(0, -1) : value;
    if (!/[\p{L}\p{N}]/u.test(core)) fail('there is no word or number to search for', where);
    const quotedCore = core.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
    const edge = (c) => /[\p{L}\p{N}]/u.test(c);
    const pattern = new RegExp((edge(core[0]) ? '(?<![\\p{L}\\p{N}])' : '') + quotedCore + (!star && edge(core[core.length - 1]) ? '(?![\\p{L}\\p{N}])' : ''), 'iu');
    return (t) => pattern.test(t.text);
  };
  const term = () => {
    const start = at;
    if (text[at] === '"') return phrase(quoted(), start);
    while (at < text.length && /[\w-]/.test(text[at])) at++;
    const name = text.slice(start, at);
    const op = (text.slice(at).match(/^(!=|<=|>=|==|=|<|>|~)/) || [''])[0];
    if (!op) { until(); const bare = text.slice(start, at); if (!bare) fail('"' + text[start] + '" cannot start a term', start); return phrase(bare, start); }
    at += op.length;
    const where = at;
    const value = text[at] === '"' ? quoted() : until();
    if (value === '' && text[where] !== '"') fail('a value is missing here', where);
    if (op === '~') { if (name !== 'text') fail('only text can be searched with ~', start); return phrase(value, where); }
    if (texts[name]) {
      if (!/^(!=|==?)$/.test(op)) fail('"' + name + '" is text and can only be compared with = and !=', where);
      return (t) => (texts[name](t) === value) === (op !== '!=');
    }
    if (!fields[name]) fail('there is no field "' + name + '"', start);
    const parsed = { true: 1, yes: 1, false: 0, no: 0 }[value] ?? Number(value.replace(/[km]$/, '')) * (value.endsWith('k') ? 1e3 : value.endsWith('m') ? 1e6 : 1);
    if (!isFinite(parsed)) fail('"' + value + '" is no number', where);
    const test = { '=': (x) => Math.abs(x - parsed) < 1e-6, '==': (x) => Math.abs(x - parsed) < 1e-6, '!=': (x) => Math.abs(x - parsed) >= 1e-6, '<': (x) => x < parsed, '<=': (x) => x <= parsed, '>': (x) => x > parsed, '>=': (x) => x >= parsed }[op];
    return (t) => { const x = fields[name](t); return x !== null && test(x); };
  };
  const one = () => {
    skip();
    if (at >= text.length) fail('a term is missing here', at);
    if (word('not')) { const inner = one(); return (t) => !inner(t); }
    if (text[at] !== '(') return term();
    const open = at++;
    const inner = any();
    skip();
    if (text[at] !== ')') fail('this bracket is never closed', open);
    at++;
    return inner;
  };
  const all = () => {
    const terms = [one()];
    for (;;) {
      skip();
      if (at >= text.length || text[at] === ')') break;
      const before = at;
      if (word('or')) { at = before; break; }
      word('and');
      terms.push(one());
    }
    return (t) => terms.every((f) => f(t));
  };
  const any = () => { const parts = [all()]; while (word('or')) parts.push(all()); return (t) => parts.some((f) => f(t)); };
  skip();
  if (at >= text.length) return { test: () => true, fields };
  const test = any();
  skip();
  if (at < text.length) fail('a bracket closes that was never opened', at);
  return { test, fields };
}
function exportedSearch(text, offset, limit, order) {
  let compiled;
  try { compiled = compileSearch(text); } catch (error) { return { error: error.message, at: error.at || 0 }; }
  const found = Object.values(EXPORTED.traces).filter(compiled.test);
  const down = order.startsWith('-'), key = compiled.fields[down ? order.slice(1) : order];
  if (key) found.sort((a, b) => (down ? key(b) - key(a) : key(a) - key(b)) || a.step - b.step || a.group - b.group || a.sample - b.sample);
  return { total: found.length, exact: true, hits: found.slice(offset, offset + limit).map((t) => ({ ...t, text: t.text.slice(0, 240) })) };
}

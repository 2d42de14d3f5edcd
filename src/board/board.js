'use strict';
// Keeps the page true: asks for its body again when something changed, draws the trends, and
// sends what people decide.

const main = document.querySelector('main');
const lost = document.getElementById('lost');
const by = document.getElementById('by');
by.value = localStorage.getItem('andon.by') || '';
by.addEventListener('change', () => localStorage.setItem('andon.by', by.value.trim()));

let shown = null;
let busy = false;
let again = false;

async function refresh() {
  if (busy) { again = true; return; }
  busy = true;
  try {
    const answer = await fetch(location.href, { headers: { 'x-andon-body': '1' } });
    const body = await answer.text();
    if (answer.ok && body !== shown) { shown = body; put(body); }
    rates();
    lost.textContent = '';
  } catch {
    lost.textContent = document.body.dataset.lost;
  }
  busy = false;
  if (again) { again = false; refresh(); }
}

// Links within the page hand the chosen language on, as the menu's do.
function speak() {
  const { lang } = document.body.dataset;
  if (!lang) return;
  for (const a of main.querySelectorAll('a[href^="/"]:not([href^="/api/"])')) {
    const url = new URL(a.href);
    url.searchParams.set('lang', lang);
    a.href = url;
  }
}

// How fast counts grow: over the last ten seconds, as far as they were seen.
const counts = new Map();

function rates() {
  const now = performance.now();
  for (const cell of main.querySelectorAll('[data-rate-of]')) {
    const { rateOf, count } = cell.dataset;
    if (!counts.has(rateOf)) counts.set(rateOf, []);
    const seen = counts.get(rateOf);
    seen.push({ now, count: Number(count) });
    while (seen.length > 2 && seen[0].now < now - 10_000) seen.shift();
    const span = (now - seen[0].now) / 1000;
    if (span >= 0.5) cell.textContent = Math.max(0, (Number(count) - seen[0].count) / span).toFixed(1);
  }
}

// Keeps the focus, what is typed, what is unfolded, what an action answered, and the drawn trends.
function put(body) {
  const focus = document.activeElement && document.activeElement.id;
  const said = new Map([...main.querySelectorAll('.card')].map(
    card => [key(card), card.querySelector('[role=alert]').textContent]));
  const typed = new Map([...main.querySelectorAll('input[id]')].map(input => [input.id, input.value]));
  const open = [...main.querySelectorAll('details[open]')].map(details => details.id);
  const scrolled = [...main.querySelectorAll('pre')].map(pre => pre.scrollLeft);
  const pictures = new Map([...main.querySelectorAll('img')].map(img => [img.src, img]));
  main.innerHTML = body;
  // A picture that is there already is not loaded and drawn anew.
  for (const img of main.querySelectorAll('img')) {
    const there = pictures.get(img.src);
    if (there?.naturalWidth && pictures.delete(img.src)) { there.alt = img.alt; img.replaceWith(there); }
  }
  for (const input of main.querySelectorAll('input[id]')) input.value = typed.get(input.id) ?? input.value;
  for (const id of open) document.getElementById(id)?.setAttribute('open', '');
  main.querySelectorAll('pre').forEach((pre, at) => { pre.scrollLeft = scrolled[at] ?? 0; });
  speak();
  for (const card of main.querySelectorAll('.card')) {
    card.querySelector('[role=alert]').textContent = said.get(key(card)) || '';
  }
  if (focus) document.getElementById(focus)?.focus();
  draw();
}

const key = card => JSON.stringify([card.dataset.asset, card.dataset.prediction]);

main.addEventListener('click', async event => {
  const button = event.target.closest('button[data-action]');
  if (!button) return;
  const card = button.closest('.card');
  const note = card.querySelector('[role=alert]');
  if (!by.value.trim()) { by.focus(); note.textContent = by.parentElement.textContent.trim() + '?'; return; }
  const { asset, prediction } = card.dataset;
  const order = { action: button.dataset.action, by: by.value.trim(), alert_id: button.dataset.alert };
  if (order.action === 'shelve') order.for = '1h';
  const path = `/api/v1/alerts/${encodeURIComponent(asset)}/${encodeURIComponent(prediction)}/command`;
  const headers = { 'content-type': 'application/json' };
  let token = localStorage.getItem('andon.token');
  for (;;) {
    if (token) headers.authorization = `Bearer ${token}`;
    const answer = await fetch(path, { method: 'POST', headers, body: JSON.stringify(order) });
    if (answer.ok) { note.textContent = ''; break; }
    const { error } = await answer.json().catch(() => ({ error: answer.statusText }));
    if (answer.status === 401 && (token = prompt(error))) { localStorage.setItem('andon.token', token); continue; }
    note.textContent = `${document.body.dataset.failed} ${error}`;
    break;
  }
  refresh();
});

// --- Trends: what the buffer has, then what comes -------------------------------------------

const SPAN = 600_000;
const trends = new Map();

async function load(asset, tag) {
  if (!trends.has(tag)) trends.set(tag, { time_ms: [], min: [], max: [], last: [], quality: [] });
  const query = new URLSearchParams({ asset, tag, points: 600 });
  const answer = await fetch(`/api/v1/samples?${query}`);
  if (!answer.ok) return;
  const stored = await answer.json();
  const series = trends.get(tag);
  const newest = stored.time_ms.at(-1) ?? 0;
  for (const name in series) {
    series[name] = stored[name].concat(series[name].filter((_, at) => series.time_ms[at] > newest));
  }
  draw();
}

// What came between two seconds is in the buffer only.
setInterval(() => {
  for (const { dataset } of main.querySelectorAll('[data-trend-tag]')) load(dataset.trendAsset, dataset.trendTag);
}, 10_000);

function take(readings) {
  for (const { tag, time, value, quality } of readings) append(trends.get(tag), Date.parse(time), value, quality);
}

function append(series, at, value, quality = 'good') {
  if (!series || at <= (series.time_ms.at(-1) ?? 0)) return;
  series.time_ms.push(at);
  series.quality.push(quality);
  for (const name of ['min', 'max', 'last']) series[name].push(value);
  while (series.time_ms[0] < at - SPAN) for (const name in series) series[name].shift();
}

// A model's scores are not in the buffer: they are kept from the page's opening on.
const scores = new Map();

function drawScores() {
  for (const figure of main.querySelectorAll('[data-score-of]')) {
    const { scoreOf, score, scoreAt } = figure.dataset;
    if (!scores.has(scoreOf)) scores.set(scoreOf, { time_ms: [], min: [], max: [], last: [], quality: [] });
    append(scores.get(scoreOf), Number(scoreAt), Number(score));
    curve(figure, scores.get(scoreOf), figure.dataset);
  }
}

function draw() {
  drawScores();
  for (const figure of main.querySelectorAll('[data-trend-tag]')) {
    const { trendAsset: asset, trendTag: tag } = figure.dataset;
    const series = trends.get(tag);
    if (!series) { load(asset, tag); continue; }
    if (series.time_ms.length) curve(figure, series, figure.dataset);
  }
}

// Much longer between two readings than usual is a gap.
function patience(times) {
  const steps = times.slice(1).map((at, i) => at - times[i]).sort((a, b) => a - b);
  return Math.max(5 * (steps[steps.length >> 1] ?? 0), 3000);
}

function curve(figure, { time_ms, min, max, last, quality }, { limit, marks, windows }) {
  const end = time_ms.at(-1), begin = Math.max(time_ms[0], end - SPAN);
  const least = Math.min(...min.filter(Number.isFinite)), most = Math.max(...max.filter(Number.isFinite));
  if (!Number.isFinite(least)) return;
  // A rule's limit is part of the picture.
  const limits = limit === undefined ? [] : [Number(limit)];
  const low = Math.min(least, ...limits), high = Math.max(most, ...limits);
  const x = at => ((at - begin) / Math.max(end - begin, 1) * 600).toFixed(1);
  const y = value => (112 - (value - low) / (high - low || 1) * 104).toFixed(1);
  let path = '', gaps = '', dots = '';
  const bands = [];
  let run = null;
  const longest = patience(time_ms);
  time_ms.forEach((at, i) => {
    if (i && at - time_ms[i - 1] > longest) {
      run = null;
      gaps += `<rect class="gap" x="${x(time_ms[i - 1])}" y="0" width="${x(at) - x(time_ms[i - 1])}" height="120"/>`;
    }
    if (!Number.isFinite(last[i])) {
      run = null;
      gaps += `<rect class="gap" x="${x(at)}" y="0" width="3" height="120"/>`;
      return;
    }
    // In a bucket with readings some may be missing.
    if (quality[i] === 'bad') gaps += `<rect class="gap" x="${x(at)}" y="0" width="3" height="120"/>`;
    if (quality[i] === 'uncertain') dots += `M${x(at)} ${y(last[i])}h0`;
    // A reading that stands alone is a dot.
    path += run ? `L${x(at)} ${y(last[i])}` : `M${x(at)} ${y(last[i])}h0`;
    if (!run) bands.push(run = []);
    run.push(i);
  });
  const band = run => run.map(i => `${x(time_ms[i])},${y(max[i])}`)
    .concat(run.toReversed().map(i => `${x(time_ms[i])},${y(min[i])}`)).join(' ');
  const svg = figure.querySelector('svg');
  svg.innerHTML = shaded(windows, begin, end, x) + gaps + bands.map(run => `<polygon class="band" points="${band(run)}"/>`).join('')
    + limits.map(value => `<line class="limit" x1="0" x2="600" y1="${y(value)}" y2="${y(value)}"/>`).join('')
    + (marks || '').split(',').filter(mark => mark >= begin && mark <= end)
      .map(mark => `<line class="mark" x1="${x(mark)}" x2="${x(mark)}" y1="0" y2="120"/>`).join('')
    + `<path class="curve" d="${path}"/><path class="uncertain" d="${dots}"/>`;
  let scale = figure.querySelector('small');
  if (!scale) figure.append(scale = document.createElement('small'));
  const clock = at => new Date(at).toLocaleTimeString();
  scale.textContent = '';
  for (const text of [clock(begin), `${short(least)} … ${short(most)}`, clock(end)]) {
    scale.append(Object.assign(document.createElement('span'), { textContent: text }));
  }
}

// The windows that the last verdicts rest on.
const shaded = (windows, begin, end, x) => (windows || '').split(',').map(span => span.split(':').map(Number))
  .map(([from, to]) => [Math.max(from, begin), Math.min(to, end)])
  .filter(([from, to]) => from < to)
  .map(([from, to]) => `<rect class="window" x="${x(from)}" y="0" width="${(x(to) - x(from)).toFixed(1)}" height="120"/>`).join('');

const short = value => Number(value.toPrecision(4)).toString();

// --- What the box tells ---------------------------------------------------------------------

const here = location.pathname.match(/^\/assets\/(.+)$/);
const asset = here && decodeURIComponent(here[1]);
const query = asset ? `?${new URLSearchParams({ asset })}` : '';
const events = new EventSource(`/api/v1/events${query}`);
events.addEventListener('alerts', refresh);
events.addEventListener('assets', refresh);
events.addEventListener('tags', event => { take(JSON.parse(event.data)); draw(); });
events.addEventListener('error', () => { lost.textContent = document.body.dataset.lost; });
draw();
speak();

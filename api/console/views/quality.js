// The quality report: what is missing, frozen or out of range, and whether the MVs moved enough to learn from.
import { get } from "../api.js";
import { Mark, Name, Trouble, some, useRead } from "../components.js";
import { duration, number, percent, time, unitOf } from "../format.js";
import { html } from "../lib.js";
import { href, path, slug } from "../state.js";

const VERDICT = {
  identifiable: ["ok", "its effects can be learnt"],
  weak: ["attention", "moves too little: its effects will be uncertain"],
  unidentifiable: ["attention", "its effects cannot be told from this telemetry"],
};

export function Quality({ version }) {
  const { value: q, error } = useRead(() => get(path("/telemetry/quality")), [slug.value, version]);
  return html`<section class="panel"><h2>Quality of what is stored</h2>
    <${Trouble} error=${error} />
    ${!q && !error && html`<p class="quiet">Reading …</p>`}
    ${q && q.rows === 0 && html`<p class="quiet">No telemetry yet.</p>`}
    ${q && q.rows > 0 && html`<${Whole} q=${q} /><div class="halves wide"><${Tags} tags=${q.tags} /><${Moves} q=${q} /></div>`}
  </section>`;
}

function Whole({ q }) {
  const { gaps } = q;
  return html`<p>${q.rows} rows, ${time(q.start)} to ${time(q.end)}, in ${gaps.runs} run${gaps.runs === 1 ? "" : "s"}${gaps.count
      ? `; ${gaps.count} gap${gaps.count === 1 ? "" : "s"} of ${duration(gaps.total_s)} in all` : ", without a gap"}.</p>
    <${Readiness} ready=${q.readiness} />
    ${q.warnings.length > 0 && html`<ul>${q.warnings.map((w) => html`<li><${Mark} kind="attention">${w.detail}<//></li>`)}</ul>`}
    ${gaps.count > 0 && html`<details><summary>The longest gaps</summary><table><tbody>${gaps.longest.map((g) => html`<tr><td>
      <a href=${around(g)}>${time(g.start)} – ${time(g.end)}</a></td><td class="n">${duration(g.seconds)}</td></tr>`)}</tbody></table></details>`}`;
}

/** What training would make of it. */
function Readiness({ ready }) {
  if (!ready) return null;
  if (!ready.can_train) return html`<p><${Mark} kind="attention">A twin cannot be trained on this yet: ${ready.why}.<//></p>`;
  const { rows_used: used, windows, rows_dropped: dropped, never_moved: still } = ready;
  return html`<p>Training would use ${used} of these rows, in ${windows} windows${dropped ? `; ${dropped} lie in runs too short for one` : ""}.
    ${still.length > 0 && html` <${Mark} kind="attention">Never moved: ${some(still)}.<//>`}</p>`;
}

/** The trend of a span, with some room. */
function around({ start, end }, tag) {
  const [a, b] = [Date.parse(start) / 1000, Date.parse(end) / 1000];
  const room = Math.max(b - a, 60);
  return href("trends", { start: Math.round(a - room), end: Math.round(b + room), ...(tag && { tags: tag }) });
}

const rowsWith = (tag) => ["holes", "frozen", "below_range", "above_range", "spikes"].reduce((sum, part) => sum + (tag[part]?.rows ?? 0), 0);

/** Tags with something wrong come first, the others as the plant has them. */
const worstFirst = ([, a], [, b]) => rowsWith(b) - rowsWith(a);

function Tags({ tags }) {
  const spans = (name, part) => {
    if (!part.count) return html`<td class="n quiet">0</td>`;
    const [longest] = part.longest;
    return html`<td class="n whole"><a href=${around(longest, name)} title=${`longest from ${time(longest.start)}`}>${part.rows} rows</a></td>`;
  };
  return html`<div class="scroll tall" tabindex="0" role="region" aria-label="Quality by tag"><table>
    <thead><tr><th>Tag</th><th class="n">Covered</th><th class="n">Missing</th><th class="n">Frozen</th><th class="n">Below</th><th class="n">Above</th><th class="n">Spikes</th><th>Seen</th></tr></thead>
    <tbody>${Object.entries(tags).sort(worstFirst).map(([name, t]) => html`<tr><td><${Name} of=${name} /></td><td class="n">${percent(t.coverage)}</td>
      ${spans(name, t.holes)}${spans(name, t.frozen)}${spans(name, t.below_range)}${spans(name, t.above_range)}${spans(name, t.spikes ?? { count: 0 })}
      <td><span class="whole">${t.min === undefined ? "–" : `${number(t.min, 3)} … ${number(t.max, 3)}`}</span> <span class="quiet">${unitOf(t)}</span></td></tr>`)}</tbody></table></div>`;
}

function Moves({ q }) {
  const entries = Object.entries(q.mvs);
  if (!entries.length) return null;
  const { rank, full } = q.persistent_excitation;
  return html`<div class="scroll"><table>
    <thead><tr><th>MV</th><th class="n">Moves</th><th class="n">Of its range</th><th>Can its effect be learnt?</th></tr></thead>
    <tbody>${entries.map(([mv, m]) => {
      const [kind, words] = VERDICT[m.verdict] ?? ["", m.verdict];
      return html`<tr><td><${Name} of=${mv} /></td><td class="n">${m.moves}</td><td class="n">${m.range_used == null ? "–" : percent(m.range_used)}</td><td><${Mark} kind=${kind}>${words}<//></td></tr>`;
    })}</tbody></table>
    <p class="quiet small">Persistent excitation: rank ${rank} of ${full}.</p></div>`;
}

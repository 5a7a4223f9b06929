// Above the trends: which tags, which span, and the ways through time.
import { Chips, Moment, save } from "../components.js";
import { duration } from "../format.js";
import { html, useState } from "../lib.js";
import { plant } from "../state.js";
import { table } from "./whatif_export.js";

const SPANS = [600, 3600, 8 * 3600, 86400, 7 * 86400, 30 * 86400, 365 * 86400];
const MANY = 16; // tags, from which on they are looked for by name

export function Tags({ tags, setTags }) {
  const [text, setText] = useState("");
  const all = plant.value.tags.filter((tag) => tag.role !== "ov"); // a vector has no trend of its own
  const many = all.length > MANY;
  const like = (tag) => `${tag.name} ${tag.role} ${tag.description}`.toLowerCase().includes(text.toLowerCase());
  const shown = many ? all.filter((tag) => tags.includes(tag.name) || (text && like(tag))) : all;
  return html`<section class="panel">
    ${many && html`<div class="bar"><label class="inline">Find tags <input type="search" value=${text} placeholder="name, role or description"
        onInput=${(e) => setText(e.target.value)} /></label>
      <span class="quiet small" role="status">${tags.length} of ${all.length} tags shown${text ? `, ${all.filter(like).length} found` : ""}</span></div>`}
    <${Chips} tags=${shown} chosen=${tags} choose=${setTags} /></section>`;
}

export function TrendsBar({ span, whole, go, back, follow, setFollow, data }) {
  const [start, end] = span;
  const width = end - start;
  const zoom = (factor) => go([(start + end - width * factor) / 2, (start + end + width * factor) / 2]);
  const pan = (share) => go([start + share * width, end + share * width]);
  const last = whole?.[1];
  const choose = (event) => {
    const seconds = Number(event.target.value);
    event.target.selectedIndex = 0;
    go([(last ?? end) - seconds, last ?? end]);
  };
  return html`<div class="bar">
    <h2 class="unseen">Span</h2>
    <${Moment} label="Start" value=${start} change=${(t) => go([t, Math.max(end, t + 1)])} /> –
    <${Moment} label="End" value=${end} change=${(t) => go([Math.min(start, t - 1), t])} />
    <b class="push">${duration(width)}</b>
    <button onClick=${() => pan(-0.5)} aria-label="Earlier">◀</button>
    <button onClick=${() => pan(0.5)} aria-label="Later">▶</button>
    <button onClick=${() => zoom(0.5)} aria-label="Zoom in">+</button>
    <button onClick=${() => zoom(2)} aria-label="Zoom out">−</button>
    <button onClick=${back} title="To the span before">Back</button>
    <select aria-label="Span" onChange=${choose}>
      <option selected disabled>the last …</option>
      ${SPANS.map((s) => html`<option value=${s}>${duration(s)}</option>`)}
    </select>
    <button onClick=${() => whole && go(whole)} disabled=${!whole}>All</button>
    <label class="inline"><input type="checkbox" checked=${follow} onChange=${(e) => setFollow(e.target.checked)} /> follow</label>
    <button disabled=${!data} onClick=${() => save("trends.csv", asCsv(data))}>CSV</button>
  </div>`;
}

const asCsv = ({ x, values }) => table(new Map([["time", x.map((s) => new Date(s * 1000).toISOString())], ...Object.entries(values)]));

// What-if: history left of now, forecasts right of it; moves are drawn on the trends or typed, and the forecast follows.
import { NumberField, Trouble, Trust, save } from "../components.js";
import { duration, number, percent, signed, time } from "../format.js";
import { html, useEffect, useMemo } from "../lib.js";
import { of, path, plant } from "../state.js";
import { clippedOf, crossing } from "../words.js";
import { CvTrend, InputTrend, colourOf } from "./trend_pair.js";
import { asCsv, asPng } from "./whatif_export.js";
import { Inquiry } from "./whatif_state.js";

const COVERAGES = [0.8, 0.9, 0.95, 0.99];
const MOST = 4; // scenarios side by side: as many as there are line colours

export function WhatIf() {
  const inquiry = useMemo(() => new Inquiry(), []);
  useEffect(() => {
    inquiry.open();
    return () => inquiry.close();
  }, []);
  const { answer, history, error } = inquiry;
  return html`<${Bar} inquiry=${inquiry} />
    <${Trouble} error=${error.value} />
    ${history.value && html`<div class="split">
      <div>
        <section class="panel charts">${of("cv").map((tag) => html`<${CvTrend} key=${tag.name} inquiry=${inquiry} tag=${tag} />`)}</section>
        <section class="panel">
          <p class="quiet small">Press on the right of “now” to add a move, drag it, double-click to take it away; or type it at the right.</p>
          <div class="charts">
            ${[...of("mv"), ...of("dv")].map((tag) => html`<${InputTrend} key=${tag.name} inquiry=${inquiry} tag=${tag} />`)}
          </div>
        </section>
        ${answer.value && html`<${Comparison} answer=${answer.value} />`}
      </div>
      <aside>
        <${Scenarios} inquiry=${inquiry} />
        ${answer.value && html`<${Verdict} inquiry=${inquiry} answer=${answer.value} />`}
      </aside>
    </div>`}`;
}

function Bar({ inquiry }) {
  const { at, horizon, coverage, took } = inquiry;
  const copy = () => navigator.clipboard.writeText(location.href);
  return html`<div class="bar">
    <h2>What if, from ${time(at.value)}</h2>
    <button onClick=${() => inquiry.refresh()}>Move to the latest row</button>
    <label class="inline">Horizon <${NumberField} label="Horizon in seconds" min="0" value=${horizon.value}
      change=${(v) => v > 0 && (horizon.value = v)} /> s</label>
    <label class="inline">Bands <select value=${coverage.value} onChange=${(e) => (coverage.value = Number(e.target.value))}>
      ${COVERAGES.map((c) => html`<option value=${c}>${percent(c)}</option>`)}
    </select></label>
    <button onClick=${copy} disabled=${!navigator.clipboard} title="The address of this page holds the whole question">Copy link</button>
    <button onClick=${() => save("what-if.csv", asCsv(inquiry))} disabled=${!inquiry.answer.value}>CSV</button>
    <button onClick=${async () => save("what-if.png", await asPng(plant.value.name))}>PNG</button>
    <span class="quiet small" aria-live="off">${took.value ? `answered in ${took.value} ms` : ""}</span>
  </div>`;
}

function Scenarios({ inquiry }) {
  const { scenarios, active } = inquiry;
  const scenario = scenarios.value[active.value];
  const rename = (name) => inquiry.change((s) => ({ ...s, name }));
  return html`<section class="panel">
    <div class="tabs" role="group" aria-label="Scenarios">
      ${scenarios.value.map((s, i) => html`<button aria-pressed=${i === active.value} onClick=${() => (active.value = i)}>
        <${Swatch} i=${i} />${s.name}</button>`)}
      <button onClick=${() => inquiry.add()} disabled=${scenarios.value.length >= MOST} title="A copy of this one">+ scenario</button>
    </div>
    <div class="bar">
      <label class="inline">Name <input value=${scenario.name} maxlength="60" onChange=${(e) => e.target.value.trim() && rename(e.target.value.trim())} /></label>
      <button class="plain" onClick=${() => inquiry.drop(active.value)} disabled=${scenarios.value.length < 2}>take away</button>
    </div>
    ${of("mv").map((tag) => html`<${Moves} key=${tag.name} inquiry=${inquiry} tag=${tag} kind="moves" />`)}
    ${of("dv").length > 0 && html`<details open=${of("mv").length === 0}><summary>Disturbances</summary>
      ${of("dv").map((tag) => html`<${Moves} key=${tag.name} inquiry=${inquiry} tag=${tag} kind="disturbances" />`)}
    </details>`}
  </section>`;
}

const Swatch = ({ i }) => html`<i class="swatch" style=${{ borderColor: `var(--${colourOf(i)})` }}></i>`;

/** The moves of one input as a list: the way in by keyboard. */
function Moves({ inquiry, tag, kind }) {
  const steps = inquiry.steps(tag.name);
  const limits = tag.low != null || tag.high != null ? `${number(tag.low)} … ${number(tag.high)} ${tag.unit}` : tag.unit;
  const rate = tag.rate_limit_per_s != null ? `, ≤ ${number(tag.rate_limit_per_s)} ${tag.unit}/s` : "";
  const field = (i, name, label) => html`<${NumberField} label=${`${tag.name}, move ${i + 1}: ${label}`} value=${steps[i][name]}
    change=${(v) => v !== null && inquiry.edit(tag.name, i, { [name]: v })} />`;
  return html`<div>
    <div class="bar"><h3>${tag.name}</h3><button class="plain push" aria-label=${`Add a move of ${tag.name}`}
      onClick=${() => inquiry.addStep(tag.name, kind)}>add</button></div>
    <p class="quiet small">now ${number(inquiry.present(tag.name))} ${tag.unit}; ${limits}${rate}</p>
    ${steps.length > 0 && html`<div class="moves">
      <span class="quiet small">after, s</span><span class="quiet small">to, ${tag.unit}</span><span class="quiet small">ramp, s</span><span></span>
      ${steps.map((_, i) => html`${field(i, "after_s", "seconds from now")} ${field(i, "value", `value in ${tag.unit}`)}
        ${field(i, "ramp_s", "ramp in seconds")}
        <button class="plain" aria-label=${`Remove move ${i + 1} of ${tag.name}`} onClick=${() => inquiry.removeStep(tag.name, i)}>✕</button>`)}
    </div>`}
    <${DeadTimes} inquiry=${inquiry} mv=${tag.name} />
  </div>`;
}

function DeadTimes({ inquiry, mv }) {
  const times = inquiry.deadTimes.value?.[mv];
  if (!times || !inquiry.steps(mv).length) return null;
  const words = Object.entries(times).map(([cv, t]) => (t ? `${cv} ${t.mean ? duration(t.mean) : "none"}` : `${cv} not known`));
  return html`<p class="quiet small">Dead time to ${words.join(", ")}.</p>`;
}

function Verdict({ inquiry, answer }) {
  const asked = inquiry.asked.value[inquiry.active.value];
  const scenario = answer.scenarios.find((s) => s.name === asked?.name);
  const unit = (name) => plant.value.tags.find((tag) => tag.name === name).unit;
  return html`<section class="panel">
    <h3>Can this be trusted?</h3>
    <${Trust} trust=${scenario?.trust ?? answer.trust} />
    ${scenario?.clipped.length > 0 && html`<h3>Not done as asked</h3>
      <ul>${scenario.clipped.map((clip) => html`<li>${clippedOf(clip, unit(clip.tag))}</li>`)}</ul>`}
    <p class="quiet small">Twin <code>${answer.twin}</code>; bands hold ${percent(answer.coverage)} of values at each time, where the twin knows the ground.</p>
  </section>`;
}

function Comparison({ answer }) {
  const cell = (tag, band, change) => {
    const crossed = crossing(tag, answer.times, band);
    return html`<td class="n">${number(band.mean.at(-1))} ${change && html`<span class="quiet">(${signed(change.at(-1), 3)})</span>`}
      ${crossed && html`<div class="mark attention small">▲ ${crossed}</div>`}</td>`;
  };
  return html`<section class="panel">
    <h3>At the end, ${time(answer.times.at(-1), false)}</h3>
    <div class="scroll"><table>
      <thead><tr><th>CV</th><th>Unit</th><th class="n">No move</th>${answer.scenarios.map((s) => html`<th class="n">${s.name} (change)</th>`)}</tr></thead>
      <tbody>${of("cv").map((tag) => html`<tr><td>${tag.name}</td><td class="quiet">${tag.unit}</td>${cell(tag, answer.baseline[tag.name])}
        ${answer.scenarios.map((s) => cell(tag, s.cvs[tag.name], s.change[tag.name]))}</tr>`)}</tbody>
    </table></div>
  </section>`;
}

// The scenarios of what-if and their moves as lists: the way in by keyboard.
import { Name, NumberField } from "../components.js";
import { duration, number, unitOf } from "../format.js";
import { html } from "../lib.js";
import { of } from "../state.js";
import { colourOf } from "./trend_pair.js";

const FEW = 6; // CVs whose dead times are told in a line
const MOST = 4; // scenarios side by side: as many as there are line colours

export function Scenarios({ inquiry }) {
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

/** The moves of one input. */
function Moves({ inquiry, tag, kind }) {
  const steps = inquiry.steps(tag.name);
  const unit = unitOf(tag);
  const limits = tag.low != null || tag.high != null ? `${number(tag.low)} … ${number(tag.high)} ${unit}`.trimEnd() : unit;
  const rate = tag.rate_limit_per_s != null ? `, ≤ ${number(tag.rate_limit_per_s)} ${unit}/s` : "";
  const field = (i, name, label) => html`<${NumberField} label=${`${tag.name}, move ${i + 1}: ${label}`} value=${steps[i][name]}
    change=${(v) => v !== null && inquiry.edit(tag.name, i, { [name]: v })} />`;
  return html`<div>
    <div class="bar"><h3><${Name} of=${tag.name} /></h3><button class="plain push" aria-label=${`Add a move of ${tag.name}`}
      onClick=${() => inquiry.addStep(tag.name, kind)}>add</button></div>
    <p class="quiet small">${`now ${number(inquiry.present(tag.name))} ${unit}`.trimEnd()}${limits && `; ${limits}`}${rate}</p>
    ${steps.length > 0 && html`<div class="moves">
      <span class="quiet small">after, s</span><span class="quiet small">${unit ? `to, ${unit}` : "to"}</span><span class="quiet small">ramp, s</span><span></span>
      ${steps.map((_, i) => html`${field(i, "after_s", "seconds from now")} ${field(i, "value", unit ? `value in ${unit}` : "value")}
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
  if (words.length <= FEW) return html`<p class="quiet small">Dead time to ${words.join(", ")}.</p>`;
  const known = Object.values(times).flatMap((t) => (t ? [t.mean] : []));
  const span = known.length ? `${duration(Math.min(...known))} to ${duration(Math.max(...known))}` : "not known";
  return html`<details class="quiet small"><summary>Dead time ${span}</summary><ul>${words.map((line) => html`<li>${line}</li>`)}</ul></details>`;
}

// What is wanted of a plan, as a form that starts from the plant: empty fields leave the plant's own limits in force.
import { Farther, Name, NumberField, isLong } from "../components.js";
import { number, percent, unitOf } from "../format.js";
import { html } from "../lib.js";
import { health, of, plant } from "../state.js";

const COVERAGES = [0.8, 0.9, 0.95, 0.99];
const MANY = 16; // tags

function Cell({ planning, tag, field, hint, min }) {
  const row = planning.rows.value[tag.name];
  return html`<td><${NumberField} label=${`${tag.name} ${field.replaceAll("_", " ")}`} value=${row[field]} min=${min}
    placeholder=${hint == null ? "" : typeof hint === "string" ? hint : number(hint)} change=${(v) => planning.set(tag.name, field, v)} /></td>`;
}

function Check({ planning, tag, field }) {
  return html`<td><input type="checkbox" aria-label=${`${tag.name} ${field}`} checked=${Boolean(planning.rows.value[tag.name][field])}
    onChange=${(e) => planning.set(tag.name, field, e.target.checked)} /></td>`;
}

const Tag = ({ tag }) => html`<td title=${tag.description}><${Name} of=${tag.name} /> <span class="quiet small">${unitOf(tag)}</span></td>`;

function Cvs({ planning }) {
  return html`<table>
    <thead><tr><th>Controlled</th><th class="n">Now</th><th>Setpoint</th><th title="of its setpoint">Weight</th><th>Low</th><th>High</th><th title="of its limits: 1 matters most">Rank</th><th title="per unit and hour; positive is a cost, negative an income">Price/h</th><th title="its limits are relaxed after those of every rank">Hard</th></tr></thead>
    <tbody>${of("cv").map((tag) => html`<tr><${Tag} tag=${tag} /><td class="n quiet">${number(planning.present(tag.name))}</td>
      <${Cell} ...${{ planning, tag, field: "setpoint" }} /><${Cell} ...${{ planning, tag, field: "weight", hint: 1, min: 0 }} />
      <${Cell} ...${{ planning, tag, field: "low", hint: tag.limit_low }} /><${Cell} ...${{ planning, tag, field: "high", hint: tag.limit_high }} />
      <${Cell} ...${{ planning, tag, field: "rank", min: 1 }} /><${Cell} ...${{ planning, tag, field: "price" }} />
      <${Check} ...${{ planning, tag, field: "hard" }} /></tr>`)}</tbody>
  </table>`;
}

function Mvs({ planning }) {
  return html`<table>
    <thead><tr><th>Manipulated</th><th class="n">Now</th><th title="where it should be if nothing else asks">Rest at</th><th>Low</th><th>High</th><th title="largest change a second">Rate/s</th><th title="per unit and hour; positive is a cost, negative an income">Price/h</th><th title="weight of its moves: more is calmer. Left empty it is 0.01, and with prices as much as these may come to">Calm</th><th title="it stays where it is">Hold</th></tr></thead>
    <tbody>${of("mv").map((tag) => html`<tr><${Tag} tag=${tag} /><td class="n quiet">${number(planning.present(tag.name))}</td>
      <${Cell} ...${{ planning, tag, field: "setpoint" }} />
      <${Cell} ...${{ planning, tag, field: "low", hint: tag.low }} /><${Cell} ...${{ planning, tag, field: "high", hint: tag.high }} />
      <${Cell} ...${{ planning, tag, field: "rate_per_s", hint: tag.rate_limit_per_s, min: 0 }} /><${Cell} ...${{ planning, tag, field: "price" }} />
      <${Cell} ...${{ planning, tag, field: "suppression", hint: "usual", min: 0 }} /><${Check} ...${{ planning, tag, field: "hold" }} /></tr>`)}
      ${of("dv").map((tag) => html`<tr><${Tag} tag=${tag} /><td class="n quiet">${number(planning.present(tag.name))}</td><td colspan="7"><label class="inline quiet">disturbance, will be
        <${NumberField} label=${`${tag.name} announced`} value=${planning.rows.value[tag.name].disturbance} placeholder="auto"
          change=${(v) => planning.set(tag.name, "disturbance", v)} /></label></td></tr>`)}</tbody>
  </table>`;
}

/** What is asked for more seldom: zones, where things end, limits approached, largest moves, MVs in manual. */
function More({ planning }) {
  const cell = (tag, field, min) => html`<${Cell} ...${{ planning, tag, field, min }} />`;
  return html`<details><summary class="small">Zones, where to end, largest moves, MVs in manual</summary><div class="halves wide">
    <div class="scroll"><table><thead><tr><th>Controlled</th><th title="inside a zone nothing costs">Zone from</th><th>Zone to</th><th>Weight</th>
        <th title="where it is to be at the end of the horizon">End at</th><th>Weight</th><th title="a limit that is broken now is approached over so long">Ramp in, s</th></tr></thead>
      <tbody>${of("cv").map((tag) => html`<tr><${Tag} tag=${tag} />${cell(tag, "zone_low")}${cell(tag, "zone_high")}${cell(tag, "zone_weight", 0)}
        ${cell(tag, "end")}${cell(tag, "end_weight", 0)}${cell(tag, "ramp_s", 0)}</tr>`)}</tbody></table></div>
    <div class="scroll"><table><thead><tr><th>Manipulated</th><th title="where it is to come to rest">End at</th><th>Weight</th>
        <th title="from one row to the next">Largest move</th><th title="its operator moves it: a disturbance to this plan">In manual</th></tr></thead>
      <tbody>${of("mv").map((tag) => html`<tr><${Tag} tag=${tag} />${cell(tag, "end")}${cell(tag, "end_weight", 0)}${cell(tag, "max_move", 0)}
        <${Check} ...${{ planning, tag, field: "manual" }} /></tr>`)}</tbody></table></div></div></details>`;
}

/** Tables of many tags scroll by themselves, so that the plan stays near. */
function Rows({ label, children }) {
  if (plant.value.tags.length <= MANY) return html`<div class="scroll">${children}</div>`;
  return html`<div class="scroll tall low" tabindex="0" role="region" aria-label=${label}>${children}</div>`;
}

export function Form({ planning }) {
  const submit = (event) => {
    event.preventDefault();
    planning.ask();
  };
  return html`<form class="panel plan-form" onSubmit=${submit}>
    <div class="bar"><h2>What is wanted, and what must hold</h2>
      <label class="inline">Horizon <${NumberField} label="Horizon in seconds" min="0" value=${planning.horizon.value}
        change=${(v) => (planning.horizon.value = v)} /> s<${Farther} seconds=${planning.farther.value} /></label>
      <label class="inline">Keep limits with <select value=${planning.coverage.value} onChange=${(e) => (planning.coverage.value = Number(e.target.value))}>
        ${COVERAGES.map((c) => html`<option value=${c}>${percent(c)}</option>`)}</select></label>
      <label class="inline" title="where the twin extrapolates"><input type="checkbox" checked=${planning.beyond.value}
        onChange=${(e) => (planning.beyond.value = e.target.checked)} /> beyond the trained range</label>
      <button class="primary" disabled=${planning.busy.value || !planning.horizon.value}>${planning.busy.value ? "Planning …" : "Plan"}</button>
    </div>
    <div class=${plant.value.tags.some((tag) => isLong(tag.name)) ? "" : "halves wide"}>
      <${Rows} label="Controlled"><${Cvs} planning=${planning} /><//><${Rows} label="Manipulated"><${Mvs} planning=${planning} /><//></div>
    <${More} planning=${planning} />
    ${planning.busy.value && health.value?.ready === false && html`<p class="quiet small" role="status">The twin's programs are still being compiled; the first plan waits for them.</p>`}
    <p class="quiet small">Grey numbers are the plant's own. A limit here can tighten them, never widen them.</p>
  </form>`;
}

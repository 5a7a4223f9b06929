// Data: the plant's tags, uploads with their receipts, the quality of what is stored; keys for admins.
import { get, remove } from "../api.js";
import { Mark, Name, Trouble, useRead } from "../components.js";
import { number, time } from "../format.js";
import { html, useState } from "../lib.js";
import { path, plant, slug } from "../state.js";
import { Audit } from "./audit.js";
import { Keys } from "./keys.js";
import { PlantForm } from "./plant_form.js";
import { Quality } from "./quality.js";
import { Sources } from "./sources.js";
import { StepTest } from "./step_test.js";
import { Upload } from "./upload.js";

const SHOWN = 8; // receipts

export function Data() {
  const [version, setVersion] = useState(0); // counts the changes made here, so that what was read is read again
  const [editing, edit] = useState(plant.value ? null : "new");
  const changed = () => setVersion((n) => n + 1);
  if (editing) {
    return html`<${PlantForm} key=${editing} given=${editing === "new" ? null : plant.value} close=${plant.value ? () => edit(null) : null} />`;
  }
  return html`<div class="halves wide">
      <div><${Sources} /><${Upload} done=${changed} /><${Receipts} version=${version} changed=${changed} /></div>
      <div><${Tags} edit=${edit} /><${StepTest} /><${Keys} /><${Audit} /></div>
    </div>
    <${Quality} version=${version} />`;
}

function Tags({ edit }) {
  const { tags, sample_period_s, version, name } = plant.value;
  const pair = (low, high) => (low == null && high == null ? "–" : `${number(low)} … ${number(high)}`);
  return html`<section class="panel">
    <div class="bar"><h2>${name}</h2><button onClick=${() => edit("this")}>Change</button><button onClick=${() => edit("new")}>Describe another plant</button></div>
    <p class="quiet small"><code>${slug.value}</code>, version ${version}, a row every ${number(sample_period_s)} s</p>
    <div class="scroll tall" tabindex="0" role="region" aria-label="Tags"><table>
      <thead><tr><th>Tag</th><th>Role</th><th>Unit</th><th>Range</th><th>Limits</th><th class="n">Rate/s</th></tr></thead>
      <tbody>${tags.map((tag) => html`<tr title=${tag.description}><td><${Name} of=${tag.name} /></td><td>${tag.role.toUpperCase()}${tag.shape ? html` <span class="quiet whole">${tag.shape.join(" × ")}</span>` : ""}</td><td>${tag.unit}</td>
        <td class="whole">${pair(tag.low, tag.high)}</td><td class="whole">${pair(tag.limit_low, tag.limit_high)}</td><td class="n">${number(tag.rate_limit_per_s)}</td></tr>`)}</tbody>
    </table></div>
  </section>`;
}

function Receipts({ version, changed }) {
  const { value, error } = useRead(() => get(path("/telemetry/uploads")), [slug.value, version]);
  const [refused, setRefused] = useState(null);
  const [sure, setSure] = useState(null);
  const takeBack = (upload) => {
    setSure(null);
    remove(path(`/telemetry/uploads/${upload}`)).then(changed, setRefused);
  };
  const items = (value?.items ?? []).slice(0, SHOWN);
  return html`<section class="panel"><h2>Last uploads</h2>
    <${Trouble} error=${error ?? refused} />
    ${value && !items.length && html`<p class="quiet">None yet.</p>`}
    ${items.length > 0 && html`<div class="scroll"><table>
      <thead><tr><th>At</th><th class="n">Rows</th><th class="n">Stored</th><th class="n">Duplicate</th><th class="n">Rejected</th><th></th></tr></thead>
      <tbody>${items.map((r) => html`<tr title=${`${r.upload}: ${time(r.first_time)} to ${time(r.last_time)}`}><td>${time(r.at)}</td>
        <td class="n">${r.rows_received}</td><td class="n">${r.rows_stored}</td><td class="n">${r.rows_duplicate}</td>
        <td class="n">${r.rows_rejected ? html`<${Mark} kind="attention">${r.rows_rejected}<//>` : 0}</td>
        <td>${r.taken_back ? html`<span class="quiet">taken back</span>`
          : sure === r.upload
            ? html`<button onClick=${() => takeBack(r.upload)}>Yes, take back ${r.rows_stored} rows</button>`
            : html`<button class="plain" onClick=${() => setSure(r.upload)}>take back</button>`}</td></tr>`)}</tbody></table></div>`}
  </section>`;
}

// All plants in a line each: how fresh their telemetry is, what is beyond its limits, who answers, what is being trained.
import { get, telemetry } from "../api.js";
import { Mark, Trouble, useRead } from "../components.js";
import { percent } from "../format.js";
import { html } from "../lib.js";
import { lastRow, plants, slug } from "../state.js";
import { against, freshness } from "../words.js";

const MOST = 24; // plants that are looked at
const EVERY_MS = 10_000;
const ROWS = 5; // a value is looked for in so many rows

async function state({ plant, tags, sample_period_s }) {
  const last = await lastRow(plant);
  if (last === null) return { last, beyond: [] };
  const { values } = await telemetry(plant, sample_period_s, { start: last - ROWS * sample_period_s });
  const known = tags.filter((tag) => tag.role !== "ov"); // of a vector the service answers components by their names alone
  const beyond = known.filter((tag) => against(tag, values[tag.name].findLast((v) => v !== null))[0]);
  return { last, beyond: beyond.map((tag) => tag.name) };
}

async function all() {
  const shown = plants.value.slice(0, MOST);
  const [jobs, ...states] = await Promise.all([get("/v1/jobs", { limit: 100 }), ...shown.map(state)]);
  const going = (name) => jobs.items.find((job) => job.plant === name && ["queued", "running"].includes(job.state));
  return shown.map((plant, i) => ({ ...plant, ...states[i], job: going(plant.plant) }));
}

export function Plants() {
  const { value, error } = useRead(all, [plants.value], EVERY_MS);
  if (plants.value.length < 2) return null;
  return html`<section class="panel"><h2>Plants</h2>
    <${Trouble} error=${error} />
    <div class="scroll"><table>
      <thead><tr><th>Plant</th><th>Telemetry</th><th>Beyond limits or range</th><th>Champion</th><th>Training</th></tr></thead>
      <tbody>${(value ?? []).map((p) => html`<${Line} key=${p.plant} plant=${p} />`)}</tbody></table></div>
    ${plants.value.length > MOST && html`<p class="quiet small">The first ${MOST} of ${plants.value.length}.</p>`}
  </section>`;
}

function Line({ plant }) {
  const [kind, words] = freshness(plant.last, plant.sample_period_s);
  const { beyond, job, aliases } = plant;
  return html`<tr class=${plant.plant === slug.value ? "chosen" : ""}>
    <td><a href=${`#/${plant.plant}/overview`}>${plant.name}</a></td><td><${Mark} kind=${kind}>${words}<//></td>
    <td>${beyond.length ? html`<${Mark} kind="attention">${beyond.slice(0, 3).join(", ")}${beyond.length > 3 ? ` and ${beyond.length - 3} more` : ""}<//>` : html`<span class="quiet">none</span>`}</td>
    <td>${aliases.champion ? html`<code>${aliases.champion}</code>` : html`<span class="quiet">none yet</span>`}</td>
    <td>${job ? `${job.state} ${percent(job.progress)}` : html`<span class="quiet">–</span>`}</td></tr>`;
}

// Fleets: what similar plants have in common, learnt from all of them, for new ones with few rows to start from.
import { get, post, remove } from "../api.js";
import { Mark, Name, NumberField, Trouble, useRead } from "../components.js";
import { duration, number } from "../format.js";
import { html, useEffect, useState } from "../lib.js";
import { Key, Lines } from "../plots.js";
import { href, plants } from "../state.js";
import { GOING, Progress, useJob } from "./job.js";
import { TagNames, missing } from "./tag_names.js";

const RECENT = 50; // jobs, among which one that learns may still be going

export function Fleets() {
  const { value, error, again } = useRead(() => get("/v1/fleets", { limit: 1000 }), []);
  const [chosen, choose] = useState(null);
  const items = value?.items ?? [];
  const shown = items.find((fleet) => fleet.fleet === chosen) ?? items[0];
  return html`<div class="halves wide">
      <${List} items=${items} known=${value} shown=${shown} choose=${choose} error=${error} />
      <${Learn} done=${again} />
    </div>
    ${shown && html`<${Card} key=${shown.version} fleet=${shown} again=${again} />`}`;
}

const rowsOf = (fleet) => fleet.units.reduce((sum, unit) => sum + unit.rows, 0);

function List({ items, known, shown, choose, error }) {
  return html`<section class="panel"><h2>Fleets</h2>
    <${Trouble} error=${error} />
    <p class="quiet small">Similar units, such as pumps of one make, learn together. A new unit starts from them with a fraction of the rows:${" "}
      choose the fleet where you <a href=${href("twin")}>train its twin</a>.</p>
    ${known && !items.length && html`<p class="quiet">No fleet yet.</p>`}
    ${items.length > 0 && html`<div class="scroll"><table>
      <thead><tr><th>Fleet</th><th>Version</th><th class="n">Units</th><th class="n">Rows</th><th>Looks ahead</th><th class="n" title="of forecasts for units that it had not seen: 1 is the linear part alone">Error, 1 is linear</th></tr></thead>
      <tbody>${items.map((fleet) => html`<tr class=${fleet === shown ? "chosen" : ""}>
        <td><button class="plain" aria-pressed=${fleet === shown} onClick=${() => choose(fleet.fleet)}>${fleet.fleet}</button></td>
        <td><code>${fleet.version}</code></td><td class="n">${fleet.units.length}</td><td class="n">${rowsOf(fleet)}</td>
        <td>${duration(fleet.horizon_s)}</td><td class="n">${number(fleet.card.residual.out_of_unit, 3)}</td></tr>`)}</tbody></table></div>`}
  </section>`;
}

function Learn({ done }) {
  const all = plants.value ?? [];
  const [name, setName] = useState("");
  const [units, setUnits] = useState([]); // slugs in the order in which they were chosen
  const [names, setNames] = useState({}); // slug: {fleet's tag: its tag}
  const [asked, setAsked] = useState({});
  const at = useJob(done);
  useEffect(() => {
    const still = ({ items }) => items.find((job) => job.fleet && GOING.includes(job.state));
    get("/v1/jobs", { limit: RECENT }).then((found) => still(found) && at.begin(still(found)), at.fail);
  }, []);
  const of = (slug) => all.find((plant) => plant.plant === slug);
  const tags = units.length ? of(units[0]).tags : [];
  const toggle = (slug, on) => setUnits(on ? [...units, slug] : units.filter((other) => other !== slug));
  const learn = async (event) => {
    event.preventDefault();
    try {
      const given = Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== null));
      const mapped = units.map((slug) => ({ plant: slug, tags: missing(tags, of(slug)).length ? (names[slug] ?? {}) : {} }));
      at.begin(await post(`/v1/fleets/${name}`, { units: mapped, ...given }));
    } catch (problem) {
      at.fail(problem);
    }
  };
  const field = (key, label) => html`<label class="inline">${label} <${NumberField} label=${label} value=${asked[key] ?? null} min="0"
    placeholder="usual" change=${(v) => setAsked({ ...asked, [key]: v })} /></label>`;
  return html`<section class="panel"><form onSubmit=${learn}>
    <div class="bar"><h2>Learn a fleet</h2>
      <label class="inline">Name <input required pattern="[a-z0-9][a-z0-9_\\-]*" maxlength="64" title="small letters, digits, - and _" value=${name} onInput=${(e) => setName(e.target.value)} /></label>
      ${field("horizon_s", "Horizon, s")} ${field("budget_s", "Budget, s")}
      <button class="primary" disabled=${at.going || units.length < 2}>Learn from ${units.length} plants</button></div>
    <p class="quiet small">Two plants or more with the same MVs, DVs, CVs and sample period. The first one chosen gives the fleet's tags their names. A name that exists gets a new version.</p>
    <div class="chips" role="group" aria-label="Plants of the fleet">${all.map((plant) => html`<label key=${plant.plant} title=${`a row every ${number(plant.sample_period_s)} s`}>
      <input type="checkbox" checked=${units.includes(plant.plant)} disabled=${units.length > 0 && plant.sample_period_s !== of(units[0]).sample_period_s} onChange=${(e) => toggle(plant.plant, e.target.checked)} />${plant.name}${units.indexOf(plant.plant) === 0 ? " (names)" : ""}</label>`)}</div>
    ${units.slice(1).map((slug) => html`<${TagNames} key=${slug} tags=${tags} plant=${of(slug)} names=${names[slug] ?? {}} change=${(own) => setNames({ ...names, [slug]: own })} />`)}
    </form>
    <${Progress} of=${at} label="Learning" />
  </section>`;
}

function Card({ fleet, again }) {
  const { card, units, tags } = fleet;
  const [sure, setSure] = useState(false);
  const [refused, setRefused] = useState(null);
  const forget = () => remove(`/v1/fleets/${fleet.fleet}`).then(again, setRefused);
  const { residual, order } = card;
  const series = [{ label: "error for units held out, 1 is the linear part alone", values: residual.curve.map((c) => c.out_of_unit), colour: "s1" }];
  const gain = 1 - residual.out_of_unit;
  return html`<div class="bar"><h2>${fleet.fleet}, version <code>${fleet.version}</code></h2>
      ${sure
        ? html`<button onClick=${forget}>Yes, forget what ${fleet.fleet} has learnt</button>`
        : html`<button class="plain" onClick=${() => setSure(true)}>forget</button>`}</div>
    <${Trouble} error=${refused} />
    <div class="halves wide">
      <section class="panel"><h3>What it gives units that it has not seen</h3>
        <p><${Mark} kind=${gain > 0 ? "ok" : ""}>${gain > 0.005
          ? `The latent part takes ${number(100 * gain, 2)} % off the error that the linear part alone makes.`
          : "The latent part gives nothing beyond the linear part."}<//></p>
        <p class="quiet small">Measured on ${card.how}. Linear part: ${order.lags} rows of the CVs, ${order.input_rows} of the inputs.${" "}
          ${card.shared_scaler ? "Its units run at similar sizes and share one scale." : "Its units differ in size: each has a scale of its own."} Took ${duration(card.seconds)}.</p>
        ${residual.curve.length > 1 && html`<${Lines} title="Error for units held out" x=${residual.curve.map((c) => c.step)} series=${series} xUnit="steps" rule=${1} /><${Key} series=${series} />`}
      </section>
      <section class="panel"><h3>Its units and tags</h3>
        <div class="scroll tall" tabindex="0" role="region" aria-label="Units of the fleet"><table>
          <thead><tr><th>Plant</th><th class="n">Rows</th><th>Names of its own</th></tr></thead>
          <tbody>${units.map((unit) => html`<tr><td><${Name} of=${unit.unit} /></td><td class="n">${unit.rows}</td>
            <td class="quiet small">${Object.entries(unit.tags).map(([tag, own]) => `${tag} is ${own}`).join(", ") || "–"}</td></tr>`)}</tbody></table></div>
        <p class="small">${tags.map((tag) => html`<span class="whole">${tag.name} <span class="quiet">${tag.role.toUpperCase()}, ${tag.unit}</span></span>; `)}
          a row every ${number(fleet.sample_period_s)} s</p>
      </section>
    </div>`;
}

// Training: what may be asked, and the job as it goes: progress, remaining time, losses, alarms.
import { get, post } from "../api.js";
import { Moment, Name, NumberField, useRead } from "../components.js";
import { number } from "../format.js";
import { html, useEffect, useState } from "../lib.js";
import { Key, Lines } from "../plots.js";
import { path, plant, slug } from "../state.js";
import { GOING, Progress, useJob } from "./job.js";
import { TagNames, missing } from "./tag_names.js";

const CURVES = [
  { name: "out_of_fold", label: "error on held-out blocks (1 is the backbone alone)", colour: "s1" },
  { name: "latent", label: "latent prediction loss", colour: "s2", dash: "4 2" },
];

export function Training({ done }) {
  const [asked, setAsked] = useState({});
  const [signs, setSigns] = useState({});
  const [slow, setSlow] = useState(false);
  const [fleet, setFleet] = useState(null);
  const [names, setNames] = useState({});
  const at = useJob(done);
  const { value: known } = useRead(() => get("/v1/fleets", { limit: 1000 }), []);
  const fleets = (known?.items ?? []).filter((one) => one.sample_period_s === plant.value.sample_period_s);

  useEffect(() => {
    const still = ({ items: [last] }) => last && !last.fleet && GOING.includes(last.state);
    get("/v1/jobs", { plant: slug.value, limit: 1 }).then((found) => still(found) && at.begin(found.items[0]), at.fail);
  }, []);

  const train = async (event) => {
    event.preventDefault();
    try {
      const { start, ...rest } = Object.fromEntries(Object.entries(asked).filter(([, v]) => v !== null));
      const options = { ...(Object.keys(signs).length > 0 && { gain_sign: signs }), ...(slow && { hierarchy: true }) };
      const shared = fleet && { from_fleet: fleet.fleet, ...(missing(fleet.tags, plant.value).length > 0 && { fleet_tags: names }) };
      const body = { ...rest, ...shared, ...(start && { start: new Date(start * 1000).toISOString() }), ...(Object.keys(options).length > 0 && { options }) };
      at.begin(await post(path("/twins"), body));
    } catch (problem) {
      at.fail(problem);
    }
  };
  const field = (name, label) => html`<label class="inline">${label} <${NumberField} label=${label} value=${asked[name] ?? null} min="0"
    placeholder="usual" change=${(v) => setAsked({ ...asked, [name]: v })} /></label>`;
  const choose = (name) => {
    setFleet(fleets.find((one) => one.fleet === name) ?? null);
    setAsked({ ...asked, horizon_s: null }); // the fleet's holds
    setNames({});
  };
  return html`<section class="panel">
    <form class="bar" onSubmit=${train}><h2>Train</h2>
      <label class="inline">From <${Moment} label="Learn from" value=${asked.start} placeholder="the first row" change=${(t) => setAsked({ ...asked, start: t })} /></label>
      ${!fleet && field("horizon_s", "Horizon, s")} ${field("budget_s", "Budget, s")}
      ${fleets.length > 0 && html`<label class="inline">Start from <select aria-label="Start from" value=${fleet?.fleet ?? ""} disabled=${slow} onChange=${(e) => choose(e.target.value)}>
        <option value="">these rows alone</option>${fleets.map((one) => html`<option value=${one.fleet}>fleet ${one.fleet}</option>`)}</select></label>`}
      <label class="inline" title="a slow model of averages beneath the fast one, for forecasts and plans over many settling times">
        <input type="checkbox" checked=${slow} disabled=${fleet !== null} onChange=${(e) => setSlow(e.target.checked)} /> two time scales</label>
      <button class="primary" disabled=${at.going}>Train a new twin</button></form>
    ${fleet && html`<p class="quiet small">A twin of these rows alone is trained beside it, and the better one kept; the report says which.</p>
      <${TagNames} tags=${fleet.tags} plant=${plant.value} names=${names} change=${setNames} />`}
    <${GainSigns} signs=${signs} change=${setSigns} />
    <${Progress} of=${at} label="Training" />
    <${Losses} points=${at.points} />
    ${!at.job && html`<p class="quiet small">Nothing needs to be set: it learns from all telemetry stored by now, in a minute or two.</p>`}
  </section>`;
}

const SIGNS = [["", "as the telemetry says"], ["1", "+ rises"], ["-1", "− falls"], ["0", "0 none"]];

/** What is known of the process: a sign for each MV → CV, none by default. */
function GainSigns({ signs, change }) {
  const of = (role) => (plant.value?.tags ?? []).filter((tag) => tag.role === role).map((tag) => tag.name);
  const [mvs, cvs] = [of("mv"), of("cv")];
  if (!mvs.length) return null;
  const set = (mv, cv, value) => {
    const { [cv]: _, ...rest } = signs[mv] ?? {};
    const { [mv]: __, ...others } = signs;
    const now = value === "" ? rest : { ...rest, [cv]: Number(value) };
    change(Object.keys(now).length ? { ...others, [mv]: now } : others);
  };
  const cell = (mv, cv) => html`<td><select aria-label=${`Sign of ${mv} on ${cv}`} value=${String(signs[mv]?.[cv] ?? "")} onChange=${(e) => set(mv, cv, e.target.value)}>
    ${SIGNS.map(([value, words]) => html`<option value=${value}>${words}</option>`)}</select></td>`;
  return html`<details><summary>Signs of gains that you know</summary>
    <p class="quiet small">What a CV does after a rise of an MV, if you know it: the twin keeps to it, whatever the telemetry seems to say, and its report says whether it does.</p>
    <div class="scroll tall" tabindex="0" role="region" aria-label="Signs of gains"><table>
      <thead><tr><th></th>${mvs.map((mv) => html`<th><${Name} of=${mv} /></th>`)}</tr></thead>
      <tbody>${cvs.map((cv) => html`<tr><th scope="row"><${Name} of=${cv} /></th>${mvs.map((mv) => cell(mv, cv))}</tr>`)}</tbody></table></div></details>`;
}

function Losses({ points }) {
  const told = points.filter((p) => p.step !== undefined && p.losses?.out_of_fold !== undefined);
  const backbone = points.findLast((p) => p.losses?.backbone !== undefined)?.losses.backbone;
  if (told.length < 2) return backbone === undefined ? null : html`<p class="quiet small">Backbones: best free-run error so far ${number(backbone, 3)}</p>`;
  const series = CURVES.map((c) => ({ ...c, values: told.map((p) => p.losses[c.name] ?? null) }));
  const { sigreg, rank } = told.at(-1).losses;
  return html`<${Lines} title="Losses" x=${told.map((p) => p.step)} series=${series} xUnit="steps" />
    <${Key} series=${series} />
    <p class="quiet small">Collapse watch: SIGReg ${number(sigreg, 3)} (about 1 when the latent is Gaussian), effective rank ${number(rank, 3)}.</p>`;
}

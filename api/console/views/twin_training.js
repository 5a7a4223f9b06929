// Training: what may be asked, and the job as it goes: progress, remaining time, losses, alarms.
import { events, get, post, remove } from "../api.js";
import { Mark, Moment, Name, NumberField, Trouble } from "../components.js";
import { duration, number, percent } from "../format.js";
import { html, useEffect, useState } from "../lib.js";
import { Key, Lines } from "../plots.js";
import { path, plant, slug } from "../state.js";
import { JOB } from "../words.js";

const GOING = ["queued", "running"];
const CURVES = [
  { name: "out_of_fold", label: "error on held-out blocks (1 is the backbone alone)", colour: "s1" },
  { name: "latent", label: "latent prediction loss", colour: "s2", dash: "4 2" },
];

export function Training({ done }) {
  const [asked, setAsked] = useState({});
  const [job, setJob] = useState(null);
  const [points, setPoints] = useState([]);
  const [alarms, setAlarms] = useState([]);
  const [error, setError] = useState(null);
  const [signs, setSigns] = useState({});

  useEffect(() => {
    get("/v1/jobs", { plant: slug.value, limit: 1 }).then(({ items: [last] }) => last && GOING.includes(last.state) && setJob(last), setError);
  }, []);
  useEffect(() => {
    if (!job) return undefined;
    const abort = new AbortController();
    follow(job.job, abort.signal).catch((problem) => problem.name === "AbortError" || setError(problem));
    return () => abort.abort();
  }, [job?.job]);

  async function follow(id, abort) {
    for await (const { event, data } of events(`/v1/jobs/${id}/events`, abort)) {
      if (event === "progress") {
        setPoints((before) => [...before, data]);
        setJob((before) => ({ ...before, progress: data.progress, eta_s: data.eta_s, state: "running" }));
      }
      if (event === "alarm") setAlarms((before) => [...before, data.detail]);
    }
    setJob(await get(`/v1/jobs/${id}`));
    done();
  }

  const train = async (event) => {
    event.preventDefault();
    try {
      const { start, ...rest } = Object.fromEntries(Object.entries(asked).filter(([, v]) => v !== null));
      const known = Object.keys(signs).length > 0 && { options: { gain_sign: signs } };
      const body = { ...rest, ...(start && { start: new Date(start * 1000).toISOString() }), ...known };
      const started = await post(path("/twins"), body);
      setPoints([]);
      setAlarms([]);
      setError(null);
      setJob(started);
    } catch (problem) {
      setError(problem);
    }
  };
  const cancel = () => remove(`/v1/jobs/${job.job}`).then(setJob, setError);
  const going = job && GOING.includes(job.state);
  const field = (name, label) => html`<label class="inline">${label} <${NumberField} label=${label} value=${asked[name] ?? null} min="0"
    placeholder="usual" change=${(v) => setAsked({ ...asked, [name]: v })} /></label>`;
  return html`<section class="panel">
    <form class="bar" onSubmit=${train}><h2>Train</h2>
      <label class="inline">From <${Moment} label="Learn from" value=${asked.start} placeholder="the first row" change=${(t) => setAsked({ ...asked, start: t })} /></label>
      ${field("horizon_s", "Horizon, s")} ${field("budget_s", "Budget, s")}
      <button class="primary" disabled=${going}>Train a new twin</button></form>
    <${GainSigns} signs=${signs} change=${setSigns} />
    <${Trouble} error=${error} />
    ${job && html`<${Progress} job=${job} going=${going} cancel=${cancel} />`}
    ${[...new Set(alarms)].map((alarm) => html`<p><${Mark} kind="attention">${alarm}<//></p>`)}
    <${Losses} points=${points} />
    ${!job && html`<p class="quiet small">Nothing needs to be set: it learns from all telemetry stored by now, in a minute or two.</p>`}
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

function Progress({ job, going, cancel }) {
  const [kind, words] = JOB[job.state];
  return html`<div class="bar" aria-live="polite"><${Mark} kind=${kind}>${words}<//>
      ${going && html`<span>${percent(job.progress)}${job.eta_s >= 1 ? `, about ${duration(job.eta_s)} left` : ""}</span>
        <button class="plain push" onClick=${cancel}>cancel</button>`}
      ${job.result && html`<code>${job.result.twin}</code>`}</div>
    ${going && html`<progress aria-label="Training" value=${job.progress}></progress>`}
    <${Trouble} error=${job.error && { message: job.error.detail, errors: job.error.errors }} />`;
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

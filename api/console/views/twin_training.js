// Training: what may be asked, and the job as it goes: progress, remaining time, losses, alarms.
import { events, get, post, remove } from "../api.js";
import { Mark, Moment, NumberField, Trouble } from "../components.js";
import { duration, number, percent } from "../format.js";
import { html, useEffect, useState } from "../lib.js";
import { Key, Lines } from "../plots.js";
import { path, slug } from "../state.js";
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
      const body = { ...rest, ...(start && { start: new Date(start * 1000).toISOString() }) };
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
    <${Trouble} error=${error} />
    ${job && html`<${Progress} job=${job} going=${going} cancel=${cancel} />`}
    ${[...new Set(alarms)].map((alarm) => html`<p><${Mark} kind="attention">${alarm}<//></p>`)}
    <${Losses} points=${points} />
    ${!job && html`<p class="quiet small">Nothing needs to be set: it learns from all telemetry stored by now, in a minute or two.</p>`}
  </section>`;
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

// Overview: all plants, the open one as it is now, the twin that answers for it, and what was asked lately.
import { get, post } from "../api.js";
import { Mark, Trouble, Trust, some, useRead } from "../components.js";
import { duration, number, percent, time } from "../format.js";
import { html, useState } from "../lib.js";
import { href, path, plant, slug } from "../state.js";
import { JOB, STATUS } from "../words.js";
import { Controller } from "./overview_controller.js";
import { Live } from "./overview_live.js";
import { Plants } from "./overview_plants.js";

const LIVE_MS = 3000;
const SLOW_MS = 10_000;

/** The champion and its forecast from the last row; null where there is none. */
async function standing() {
  const { champion } = plant.value.aliases;
  if (!champion) return null;
  const predict = path("/predict"); // another plant may be open when the twin has come
  const twin = await get(path(`/twins/${champion}`));
  return { twin, forecast: await post(predict, { horizon_s: twin.horizon_s }) };
}

function Standing({ value, error }) {
  const { champion } = plant.value.aliases;
  return html`<section class="panel">
    <div class="bar"><h2>Champion</h2>${champion && html`<a href=${href("twin")}>report</a>`}</div>
    ${!champion && html`<p>No twin answers yet: <a href=${href("twin")}>train one</a>.</p>`}
    <${Trouble} error=${error} />
    ${champion && !value && !error && html`<p class="quiet" role="status">Asking the twin …</p>`}
    ${value && html`<dl>
        <dt>Twin</dt><dd><code>${value.twin.twin}</code></dd>
        <dt>Trained</dt><dd>${time(value.twin.created)}</dd>
        <dt>Calibrated to</dt><dd>${duration(value.twin.horizon_s)} ahead</dd>
      </dl>
      <h3>Can it be trusted now?</h3><${Trust} trust=${value.forecast.trust} />
      <p><a href=${href("whatif")}>What if …</a></p>`}
  </section>`;
}

function Jobs() {
  const { value, error } = useRead(() => get("/v1/jobs", { plant: slug.value, limit: 5 }), [slug.value], LIVE_MS);
  return html`<section class="panel">
    <div class="bar"><h2>Training jobs</h2><a href=${href("twin")}>train</a></div>
    <${Trouble} error=${error} />
    ${value?.items.length === 0 && html`<p class="quiet">None yet.</p>`}
    ${value?.items.length > 0 && html`<table><tbody>${value.items.map((job) => {
      const [kind, words] = JOB[job.state];
      const more = job.state === "running" ? ` ${percent(job.progress)}${job.eta_s >= 1 ? `, ${duration(job.eta_s)} left` : ""}` : "";
      return html`<tr><td>${time(job.created)}</td>
        <td><${Mark} kind=${kind}>${words}${more}<//> ${job.error && html`<span>${job.error.detail}</span>`}</td>
        <td><code>${job.result?.twin}</code></td></tr>`;
    })}</tbody></table>`}
  </section>`;
}

/** The time of day, with the date where that is another. */
const moment = (stamp) => (time(stamp).slice(0, 10) === time(Date.now() / 1000).slice(0, 10) ? time(stamp, false) : time(stamp));

function Recommendations() {
  const read = () => get(path("/recommendations"), { limit: 6 });
  const { value, error } = useRead(read, [slug.value], SLOW_MS);
  return html`<section class="panel">
    <div class="bar"><h2>Recent recommendations</h2><a href=${href("optimize")}>optimize</a></div>
    <${Trouble} error=${error} />
    ${value?.items.length === 0 && html`<p class="quiet">None yet.</p>`}
    ${value?.items.length > 0 && html`<table class="tight"><tbody>${value.items.map((item) => html`<${Recommendation} key=${item.id} item=${item} />`)}</tbody></table>`}
  </section>`;
}

/** One answer of optimize: it can be asked again as of now, and computed again as of then. */
function Recommendation({ item: { id, created, outcome, request } }) {
  const [verdict, setVerdict] = useState(null);
  const [kind, words] = STATUS[outcome.status];
  const next = outcome.status === "abstained" ? "MVs held" : some(Object.entries(outcome.next ?? {}).map(([tag, v]) => `${tag} ${number(v)}`));
  const check = async () => {
    try {
      const { same, differences } = await post(path(`/recommendations/${id}/replay`), {});
      setVerdict(same ? ["ok", "the same again"] : ["attention", `differs: ${differences.map((d) => d.field ?? JSON.stringify(d)).join(", ")}`]);
    } catch (problem) {
      setVerdict(["attention", problem.message]);
    }
  };
  return html`<tr title=${outcome.status_detail}>
    <td><a href=${href("optimize", { q: JSON.stringify(request) })} title="Ask this again, as of now">${moment(created)}</a></td>
    <td><${Mark} kind=${kind}>${words.split(":")[0]}<//></td>
    <td class="detail">${next} ${verdict ? html`<${Mark} kind=${verdict[0]}>${verdict[1]}<//>`
      : html`<button class="plain small" onClick=${check} title="Compute it again from the rows, twin and limits of then">check</button>`}</td></tr>`;
}

export function Overview() {
  const { value, error } = useRead(standing, [slug.value, plant.value.aliases.champion], SLOW_MS);
  return html`<${Plants} />
    <div class="split live">
      <div><${Live} forecast=${value?.forecast} /></div>
      <div><${Standing} value=${value} error=${error} /><${Controller} /><${Jobs} /><${Recommendations} /></div>
    </div>`;
}

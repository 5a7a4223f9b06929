// Overview: the plant as it is now, the twin that answers for it, and what was asked lately.
import { get, post, telemetry } from "../api.js";
import { Mark, Trouble, Trust, useRead } from "../components.js";
import { duration, number, percent, time } from "../format.js";
import { html } from "../lib.js";
import { go, href, lastRow, path, plant, slug } from "../state.js";
import { JOB, STATUS, against, freshness } from "../words.js";

const ROWS = 120; // of the small trends
const LIVE_MS = 3000;
const SLOW_MS = 10_000;
const ROLES = { cv: "Controlled variables", mv: "Manipulated variables", dv: "Disturbance variables" };

async function now() {
  const last = await lastRow();
  if (last === null) return { last, x: [], values: {} };
  const period = plant.value.sample_period_s;
  return { last, ...(await telemetry(slug.value, period, { start: last - ROWS * period })) };
}

/** The range of a tag, its limits in it, and where it stands: a moving analog indicator. */
function Gauge({ tag, value, kind }) {
  const low = tag.low ?? tag.limit_low;
  const high = tag.high ?? tag.limit_high;
  if (low == null || high == null || value == null) return null;
  const at = (v) => 100 * Math.min(Math.max((v - low) / (high - low), 0), 1);
  const [from, to] = [at(tag.limit_low ?? low), at(tag.limit_high ?? high)];
  return html`<svg class="gauge" viewBox="0 0 100 12" preserveAspectRatio="none" role="img"
    aria-label=${`${number(value)} in ${number(low)} to ${number(high)}`}>
    <rect class="range" x="0" y="3" width="100" height="6" />
    <rect class="zone" x=${from} y="3" width=${to - from} height="6" />
    <rect class=${`now ${kind}`} x=${Math.min(at(value), 98)} y="0" width="2" height="12" />
  </svg>`;
}

function Spark({ values }) {
  const known = values.filter((v) => v !== null);
  if (known.length < 2) return null;
  const [low, high] = [Math.min(...known), Math.max(...known)];
  let pen = "M";
  const points = values.map((v, i) => {
    if (v === null) {
      pen = "M";
      return "";
    }
    const point = `${pen}${(100 * i) / (values.length - 1)} ${19 - (18 * (v - low)) / (high - low || 1)}`;
    pen = "L";
    return point;
  });
  return html`<svg class="spark" viewBox="0 0 100 20" preserveAspectRatio="none" aria-hidden="true"><path d=${points.join("")} /></svg>`;
}

function Values({ role, live }) {
  const tags = plant.value.tags.filter((tag) => tag.role === role);
  if (!tags.length) return null;
  return html`<tbody>
    <tr><th colspan="6">${ROLES[role]}</th></tr>
    ${tags.map((tag) => {
      const values = live.values[tag.name] ?? [];
      const value = values.at(-1);
      const [kind, words] = against(tag, value);
      return html`<tr title=${tag.description}>
        <td><a href=${href("trends", { tags: tag.name })}>${tag.name}</a></td>
        <td class="n"><b>${number(value)}</b></td>
        <td class="quiet">${tag.unit}</td>
        <td><${Gauge} tag=${tag} value=${value} kind=${kind} /></td>
        <td><${Spark} values=${values} /></td>
        <td><${Mark} kind=${kind}>${words}<//></td>
      </tr>`;
    })}
  </tbody>`;
}

function Live() {
  const { value: live, error } = useRead(now, [slug.value], LIVE_MS);
  const [kind, words] = live ? freshness(live.last, plant.value.sample_period_s) : ["", ""];
  return html`<section class="panel">
    <div class="bar"><h2>Now</h2><${Mark} kind=${kind}>${words}<//> <span class="quiet">${live?.last && time(live.last)}</span></div>
    <${Trouble} error=${error} />
    ${live?.last === null && html`<p>No telemetry yet: <a href=${href("data")}>upload some</a>.</p>`}
    ${live?.last && html`<table>
      <thead><tr><th>Tag</th><th class="n">Value</th><th>Unit</th><th>In its range</th><th>Last ${duration(ROWS * plant.value.sample_period_s)}</th><th>Against limits</th></tr></thead>
      ${Object.keys(ROLES).map((role) => html`<${Values} role=${role} live=${live} />`)}
    </table>`}
  </section>`;
}

function Standing() {
  const champion = plant.value.aliases.champion;
  const read = async () => {
    if (!champion) return null;
    const twin = await get(path(`/twins/${champion}`));
    const { trust } = await post(path("/predict"), { horizon_s: twin.horizon_s });
    return { twin, trust };
  };
  const { value, error } = useRead(read, [slug.value, champion], SLOW_MS);
  return html`<section class="panel">
    <div class="bar"><h2>Champion</h2>${champion && html`<a href=${href("twin")}>report</a>`}</div>
    ${!champion && html`<p>No twin answers yet: <a href=${href("twin")}>train one</a>.</p>`}
    <${Trouble} error=${error} />
    ${value && html`<dl>
        <dt>Twin</dt><dd><code>${value.twin.twin}</code></dd>
        <dt>Trained</dt><dd>${time(value.twin.created)}</dd>
        <dt>Calibrated to</dt><dd>${duration(value.twin.horizon_s)} ahead</dd>
      </dl>
      <h3>Can it be trusted now?</h3><${Trust} trust=${value.trust} />`}
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
      const more = job.state === "running" ? ` ${percent(job.progress)}, ${duration(job.eta_s)} left` : "";
      return html`<tr><td>${time(job.created)}</td>
        <td><${Mark} kind=${kind}>${words}${more}<//> ${job.error && html`<span>${job.error.detail}</span>`}</td>
        <td><code>${job.result?.twin}</code></td></tr>`;
    })}</tbody></table>`}
  </section>`;
}

function Recommendations() {
  const read = () => get(path("/recommendations"), { limit: 6 });
  const { value, error } = useRead(read, [slug.value], SLOW_MS);
  return html`<section class="panel">
    <div class="bar"><h2>Recent recommendations</h2><a href=${href("optimize")}>optimize</a></div>
    <${Trouble} error=${error} />
    ${value?.items.length === 0 && html`<p class="quiet">None yet.</p>`}
    ${value?.items.length > 0 && html`<table><tbody>${value.items.map(({ created, outcome }) => {
      const [kind, words] = STATUS[outcome.status];
      const next = Object.entries(outcome.next ?? {}).map(([tag, v]) => `${tag} ${number(v)}`).join(", ");
      return html`<tr title=${outcome.status_detail}><td>${time(created, false)}</td>
        <td><${Mark} kind=${kind}>${words.split(":")[0]}<//></td><td>${next}</td></tr>`;
    })}</tbody></table>`}
  </section>`;
}

export function Overview() {
  return html`<div class="split">
    <div><${Live} /><button onClick=${() => go("whatif")} class="primary">What if …</button></div>
    <div><${Standing} /><${Jobs} /><${Recommendations} /></div>
  </div>`;
}

// The plant as it is now: each value in its range and against its limits, and where it goes if nothing is moved.
import { telemetry } from "../api.js";
import { Mark, Name, Trouble, useRead } from "../components.js";
import { duration, number, time, unitOf } from "../format.js";
import { html } from "../lib.js";
import { href, lastRow, plant, slug } from "../state.js";
import { against, crossing, freshness } from "../words.js";

const ROWS = 120; // of the small trends
const LIVE_MS = 3000;
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

/** Where a CV goes if nothing is moved: its value at the end of the forecast, and the limit that it will cross. */
function Ahead({ tag, forecast, kind }) {
  const band = forecast?.baseline[tag.name];
  if (!band) return html`<td></td><td></td>`;
  const crossed = !kind && crossing(tag, forecast.times, band);
  return html`<td class="n quiet">${number(band.mean.at(-1))}</td><td>${crossed && html`<${Mark} kind="attention">${crossed}<//>`}</td>`;
}

function Values({ role, live, forecast }) {
  const tags = plant.value.tags.filter((tag) => tag.role === role);
  if (!tags.length) return null;
  return html`<tbody>
    <tr><th colspan="8" scope="rowgroup">${ROLES[role]}</th></tr>
    ${tags.map((tag) => {
      const values = live.values[tag.name] ?? [];
      const value = values.at(-1);
      const [kind, words] = against(tag, value);
      return html`<tr title=${tag.description}>
        <td><a href=${href("trends", { tags: tag.name })}><${Name} of=${tag.name} /></a></td>
        <td class="n"><b>${number(value)}</b></td>
        <td class="quiet">${unitOf(tag)}</td>
        <td><${Gauge} tag=${tag} value=${value} kind=${kind} /></td>
        <td><${Spark} values=${values} /></td>
        <td class="whole"><${Mark} kind=${kind}>${words}<//></td>
        <${Ahead} tag=${tag} forecast=${forecast} kind=${kind} />
      </tr>`;
    })}
  </tbody>`;
}

export function Live({ forecast }) {
  const { value: live, error } = useRead(now, [slug.value], LIVE_MS);
  const [kind, words] = live ? freshness(live.last, plant.value.sample_period_s) : ["", ""];
  return html`<section class="panel">
    <div class="bar"><h2>Now</h2><${Mark} kind=${kind}>${words}<//> <span class="quiet">${live?.last && time(live.last)}</span></div>
    <${Trouble} error=${error} />
    ${live?.last === null && html`<p>No telemetry yet: <a href=${href("data")}>upload some</a>.</p>`}
    ${live?.last && html`<div class="scroll"><table>
      <thead><tr><th>Tag</th><th class="n">Value</th><th>Unit</th><th>In its range</th><th>Last ${duration(ROWS * plant.value.sample_period_s)}</th><th>Against limits</th>
        <th class="n">${forecast && `In ${duration(forecast.times.length * plant.value.sample_period_s)}`}</th><th>${forecast && "If nothing is moved"}</th></tr></thead>
      ${Object.keys(ROLES).map((role) => html`<${Values} role=${role} live=${live} forecast=${forecast} />`)}
    </table></div>`}
  </section>`;
}

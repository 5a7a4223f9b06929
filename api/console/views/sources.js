// How the sources of a collector fare; nothing where no collector reports.
import { get } from "../api.js";
import { Mark, useRead } from "../components.js";
import { number, time } from "../format.js";
import { html } from "../lib.js";
import { path, slug } from "../state.js";

const EVERY_MS = 10_000;
const AHEAD_S = 5; // a clock that is so much off is marked

export function Sources() {
  const { value } = useRead(() => get(path("/sources")), [slug.value], EVERY_MS);
  const sources = value?.sources ?? [];
  if (!sources.length) return null;
  return html`<section class="panel"><h2>Sources</h2>
    <div class="scroll"><table>
      <thead><tr><th>Source</th><th>State</th><th class="n">Samples</th><th class="n">Refused</th><th class="n">Lag s</th><th class="n">Clock ahead s</th><th class="n">Waiting</th></tr></thead>
      <tbody>${sources.map((s) => html`<tr title=${s.last_error}><td>${s.name} <span class="quiet small">${s.kind}</span></td><td>${state(s)}</td>
        <td class="n">${s.received}</td><td class="n">${s.refused ? html`<${Mark} kind="attention">${s.refused}<//>` : 0}</td>
        <td class="n">${number(s.lag_s)}</td>
        <td class="n">${s.skew_s > AHEAD_S ? html`<${Mark} kind="attention">${number(s.skew_s)}<//>` : number(s.skew_s)}</td>
        <td class="n">${s.full ? html`<${Mark} kind="alarm">${s.buffered}<//>` : s.buffered}</td></tr>`)}</tbody>
    </table></div></section>`;
}

function state(source) {
  if (source.silent) return html`<${Mark} kind="alarm">silent since ${time(source.told)}<//>`;
  return source.connected ? html`<${Mark} kind="ok">connected<//>` : html`<${Mark} kind="alarm">not connected<//>`;
}

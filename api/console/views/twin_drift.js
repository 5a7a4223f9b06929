// Drift: whether a twin still fits its plant, by the telemetry since its training, and what differs.
import { get } from "../api.js";
import { Mark, Name, Trouble, useRead } from "../components.js";
import { number, percent, seconds, signed, time } from "../format.js";
import { html } from "../lib.js";
import { Lines } from "../plots.js";
import { path } from "../state.js";
import { localised } from "../words.js";

const STATUS = {
  stable: ["ok", "As in its report"],
  watch: ["attention", "To be watched"],
  retrain: ["attention", "To be trained again"],
  unknown: ["", "Not known yet"],
};
const SPANS = [["s", 1], ["min", 60], ["h", 3600], ["d", 86400]];

export function Drift({ twin }) {
  const { value: found, error } = useRead(() => get(path(`/twins/${twin}/drift`)), [twin]);
  return html`<section class="panel"><h2>Since its training</h2>
    <${Trouble} error=${error} />
    ${!found && !error && html`<p class="quiet">Reading …</p>`}
    ${found && html`<${Verdict} found=${found} />`}
    ${found?.windows > 0 && html`<${Errors} found=${found} /><${Course} found=${found} />`}
  </section>`;
}

function Verdict({ found: { status, detail, reasons, start, end, rows } }) {
  const [kind, words] = STATUS[status] ?? ["", status];
  return html`<p><${Mark} kind=${kind}>${words}:<//> ${localised(detail)}.</p>
    ${start && html`<p class="quiet small">${rows} rows that it was not trained on, ${time(start)} to ${time(end)}.</p>`}
    ${reasons.length > 1 && html`<ul>${reasons.map((r) => html`<li>${r.detail}${r.since ? `, since ${time(r.since)}` : ""}
      ${r.certain && html` <${Mark} kind="attention">more than chance<//>`}</li>`)}</ul>`}`;
}

function Errors({ found: { cvs } }) {
  const range = ({ mean, low, high }, write) => html`<span class="whole">${write(mean)} <span class="quiet">(${write(low)} … ${write(high)})</span></span>`;
  const share = (value) => (value === null ? "–" : percent(value));
  return html`<div class="scroll tall" tabindex="0" role="region" aria-label="Errors since the training"><table>
    <thead><tr><th>CV</th><th class="n">Error in the report</th><th class="n">since</th><th>Unit</th><th class="n">Times as large</th>
      <th class="n">Bands held in the report</th><th class="n">since</th><th class="n">Off to one side by</th></tr></thead>
    <tbody>${Object.entries(cvs).map(([cv, c]) => html`<tr><td><${Name} of=${cv} /></td><td class="n">${number(c.rmse.report, 3)}</td>
      <td class="n">${number(c.rmse.since, 3)}</td><td class="quiet">${c.unit}</td><td class="n">${range(c.ratio, (v) => number(v, 3))}</td>
      <td class="n">${share(c.coverage.report)}</td><td class="n">${range(c.coverage.since, share)}</td><td class="n">${c.bias === null ? "–" : signed(c.bias, 3)}</td></tr>`)}</tbody></table></div>`;
}

/** How it went, a block of time after the other. */
function Course({ found: { timeline, start } }) {
  const ends = timeline.times.map((end) => seconds(end) - seconds(start));
  if (ends.length < 2) return null;
  const [unit, length] = SPANS.findLast(([, s]) => ends.at(-1) >= 3 * s) ?? SPANS[0];
  const x = ends.map((end) => end / length);
  return html`<p class="quiet small">Errors since the training over those of the report, block by block; the dashed line is as in the report.</p>
    <div class="charts">${Object.entries(timeline.ratio).map(([cv, ratio]) => html`<div><h3><${Name} of=${cv} /></h3>
      <${Lines} title=${`Errors of ${cv} over those of the report`} x=${x} xUnit=${unit} rule=${1} from=${0} height="3.4rem"
        series=${[{ label: "ratio", values: ratio, colour: "s1" }]} /></div>`)}</div>`;
}

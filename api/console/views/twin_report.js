// The report of a twin: backtest, step responses, gains, coverage of the bands, and how it was trained.
import { Mark, Name, some } from "../components.js";
import { duration, number, percent, time } from "../format.js";
import { html } from "../lib.js";
import { Key, Lines } from "../plots.js";
import { Drift } from "./twin_drift.js";
import { GainMap, Whiteness } from "./twin_gains.js";
import { Steps } from "./twin_steps.js";

const WHO = [
  { who: "twin", label: "twin", colour: "s1" },
  { who: "arx", label: "ARX", colour: "s2", dash: "4 2" },
  { who: "persistence", label: "nothing changes", colour: "base", dash: "6 2 1.5 2" },
];

export function Report({ card }) {
  return html`<${Summary} card=${card} />
    <${Drift} twin=${card.twin} />
    <${Backtest} backtest=${card.backtest} diagnostics=${card.diagnostics} />
    <${Steps} steps=${card.step_responses} card=${card} />
    <${GainMap} card=${card} />
    <${Coverage} backtest=${card.backtest} />
    <${Training} training=${card.training} />`;
}

function Summary({ card }) {
  const unknown = Object.entries(card.unknown_effects ?? {});
  const worse = Object.entries(card.backtest.cvs).filter(([, cv]) => cv.rmse.twin.at(-1) > cv.rmse.persistence.at(-1));
  return html`<section class="panel"><dl>
      <dt>Learned from</dt><dd>${card.data.rows} rows in ${card.data.runs} run${card.data.runs === 1 ? "" : "s"}, ${time(card.data.start)} to ${time(card.data.end)}</dd>
      <dt>Looks</dt><dd>${card.history} rows back, ${duration(card.horizon_s)} ahead (calibrated)</dd>
      <dt>Needs</dt><dd>${card.min_history_rows} rows without a gap before a question</dd></dl>
    ${unknown.map(([mv, why]) => html`<p><${Mark} kind="attention">The effect of ${mv} is not known: ${why}<//></p>`)}
    <${Signs} found=${card.gain_sign} />
    ${worse.length > 0 && html`<p><${Mark} kind="attention">${some(worse.map(([cv]) => cv))}: at the end of the horizon the twin is no better than saying that nothing changes.<//></p>`}
  </section>`;
}

const SIGN = { "-1": "−", 0: "none", 1: "+" };
const KEPT = { kept: ["ok", "kept"], bound: ["attention", "kept against the telemetry"], broken: ["alarm", "broken"], unknown: ["attention", "unknown"] };

/** Signs of gains that were asked for, and whether the twin keeps them all over the trained region. */
function Signs({ found }) {
  if (!found) return null;
  const rows = Object.entries(found.effects).flatMap(([mv, of]) => Object.entries(of).map(([cv, sign]) => ({ mv, cv, ...sign })));
  return html`<h3>Gain signs asked for</h3><div class="scroll" tabindex="0" role="region" aria-label="Gain signs"><table>
    <thead><tr><th>Effect</th><th>Sign</th><th>Is it kept?</th></tr></thead>
    <tbody>${rows.map((r) => html`<tr><td><${Name} of=${`${r.mv} → ${r.cv}`} /></td><td>${SIGN[r.asked]}</td>
      <td><${Mark} kind=${KEPT[r.status][0]}>${KEPT[r.status][1]}<//> <span class="small quiet">${r.why}</span></td></tr>`)}</tbody></table></div>`;
}

function Backtest({ backtest, diagnostics }) {
  const cvs = Object.entries(backtest.cvs);
  const last = (name, k) => WHO.map(({ who }) => html`<td class="n">${number(name.rmse[who]?.[k - 1], 3)}</td>`);
  return html`<section class="panel"><h2>Backtest</h2>
    <p class="quiet small">Root mean square error of forecasts over ${backtest.windows} windows by horizon, ${backtest.how}; lower is better. The scale is logarithmic.</p>
    <${Key} series=${WHO} />
    <div class="charts">${cvs.map(([name, cv]) => html`<div><h3><${Name} of=${name} /> <span class="quiet">${cv.unit}</span></h3>
      <${Lines} title=${`Error of ${name}`} unit=${cv.unit} log=${true} x=${backtest.times_s}
        series=${WHO.filter(({ who }) => cv.rmse[who]).map((w) => ({ ...w, values: cv.rmse[w.who] }))} /></div>`)}</div>
    <${Whiteness} diagnostics=${diagnostics} />
    <details><summary>As a table</summary><div class="scroll"><table>
      <thead><tr><th>CV</th><th>Unit</th>${backtest.horizons.map((k) => WHO.map((w) => html`<th class="n">${w.label}, ${duration(backtest.times_s[k - 1])}</th>`))}</tr></thead>
      <tbody>${cvs.map(([name, cv]) => html`<tr><td>${name}</td><td class="quiet">${cv.unit}</td>${backtest.horizons.map((k) => last(cv, k))}</tr>`)}</tbody>
    </table></div></details>
  </section>`;
}

function Coverage({ backtest }) {
  const cvs = Object.entries(backtest.cvs);
  const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
  return html`<section class="panel"><h2>Coverage of the bands</h2>
    <p class="quiet small">Share of values that were inside their band, measured on blocks that neither the model nor the band had seen. The dashed line is what was asked for.</p>
    <div class="charts">${cvs.map(([name, { coverage }]) => html`<div>
      <h3><${Name} of=${name} /> <span class="quiet">asked ${percent(coverage.asked)}, measured ${percent(mean(coverage.measured))} on average</span></h3>
      <${Lines} title=${`Coverage of ${name}`} x=${backtest.times_s} rule=${coverage.asked} from=${1} height="3.4rem"
        series=${[{ label: "measured", values: coverage.measured, colour: "s1" }]} /></div>`)}</div>
  </section>`;
}

function Training({ training }) {
  const curve = training.curve ?? [];
  const series = [{ label: "error on held-out blocks, 1 is the backbone alone", values: curve.map((c) => c.out_of_fold), colour: "s1" }];
  const watch = Object.entries(training.collapse ?? {}).map(([name, value]) => `${name.replace("_", " ")} ${number(value, 3)}`);
  return html`<section class="panel"><h2>How it was trained</h2>
    <p>Backbone: ${training.backbone.name}. ${training.polynomial?.why ?? ""} ${training.residual.why} Took ${duration(training.seconds)}.</p>
    ${training.sampling?.errors.length > 0 && html`<p>${training.sampling.why}</p>`}
    <${FromFleet} common=${training.common} />
    ${curve.length > 1 && html`<${Lines} title="Training" x=${curve.map((c) => c.step)} series=${series} xUnit="steps" rule=${1} /><${Key} series=${series} />`}
    ${watch.length > 0 && html`<p class="quiet small">Collapse watch at the end: ${watch.join(", ")}.</p>`}
  </section>`;
}

/** A twin that started from a fleet beside one of its own rows alone, and which was kept. */
function FromFleet({ common }) {
  if (!common) return null;
  const { out_of_fold: errors, kept, units, why } = common;
  const rows = [["common", `from the fleet (${units} units)`], ["own", "from its own rows alone"]];
  return html`<h3>Started from a fleet</h3><table>
    <thead><tr><th>Twin</th><th class="n" title="over CVs and horizon, in deviations">Error out of fold</th><th></th></tr></thead>
    <tbody>${rows.map(([who, label]) => html`<tr><td>${label}</td><td class="n">${number(errors[who], 3)}</td>
      <td>${kept === who && html`<${Mark} kind="ok">kept<//>`}</td></tr>`)}</tbody></table>
    <p class="quiet small">${why}.</p>`;
}

// Two twins side by side: errors out of fold, coverage, and how far their gains agree.
import { get, post } from "../api.js";
import { Mark, Trouble, useRead } from "../components.js";
import { duration, number, percent, time } from "../format.js";
import { html, useState } from "../lib.js";
import { path } from "../state.js";

const ALIKE = 0.02; // errors that differ by less are equal

/** `twin` beside `other`, each as the list of versions has it; `card` is the report of `twin`. */
export function Compare({ twin, card, other }) {
  const { value, error } = useRead(() => get(path(`/twins/${other.twin}/report`)), [other.twin]);
  return html`<section class="panel">
    <h2>Beside the ${other.aliases[0] ?? "other"} <code>${other.twin}</code></h2>
    <${Trouble} error=${error} />
    ${value && html`<${Table} ours=${card} theirs=${value} names=${[nameOf(twin), nameOf(other)]} />`}
    <${OnNewRows} key=${`${twin.twin} ${other.twin}`} twin=${twin} other=${other} />
  </section>`;
}

/** Which of the two is better on rows that neither was trained on; asked for, as it takes a moment. */
function OnNewRows({ twin, other }) {
  const [found, setFound] = useState(null);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const ask = async () => {
    setBusy(true);
    await post(path(`/twins/${other.twin}/backtest`), { against: [twin.twin] }).then(setFound, setError);
    setBusy(false);
  };
  if (!found) {
    return html`<p><button onClick=${ask} disabled=${busy}>${busy ? "Comparing …" : "Compare on rows since both trainings"}</button></p>
      <${Trouble} error=${error} />`;
  }
  const [{ better, detail }] = found.comparisons;
  const named = [twin, other].reduce((text, t) => text.replaceAll(t.twin, `the ${nameOf(t)}`), detail);
  return html`<p aria-live="polite"><${Mark} kind=${better === twin.twin ? "ok" : ""}>On ${found.windows} forecasts of rows that neither was trained on,<//> ${named}.
    <span class="quiet small">${time(found.start)} to ${time(found.end)}</span></p>`;
}

const nameOf = ({ twin, aliases }) => aliases[0] ?? twin;

const mean = (values) => values.reduce((sum, v) => sum + v, 0) / values.length;

function Table({ ours, theirs, names }) {
  const cvs = Object.keys(ours.backtest.cvs).filter((cv) => theirs.backtest.cvs[cv]);
  const rows = Math.min(ours.backtest.times_s.length, theirs.backtest.times_s.length);
  const at = [1, Math.ceil(rows / 2), rows].filter((k, i, all) => all.indexOf(k) === i);
  const covered = ({ coverage }) => percent(mean(coverage.measured));
  const same = ours.data.start === theirs.data.start && ours.data.end === theirs.data.end;
  return html`<div class="scroll"><table>
      <thead><tr><th rowspan="2">CV</th><th rowspan="2">Unit</th>${at.map((k) => html`<th colspan="3">Error ${duration(ours.backtest.times_s[k - 1])} ahead</th>`)}
          <th colspan="2">Bands hold</th></tr>
        <tr>${at.map(() => html`<th class="n">${names[0]}</th><th class="n">${names[1]}</th><th>${names[0]} is</th>`)}<th class="n">${names[0]}</th><th class="n">${names[1]}</th></tr></thead>
      <tbody>${cvs.map((cv) => {
        const [a, b] = [ours.backtest.cvs[cv], theirs.backtest.cvs[cv]];
        return html`<tr><td>${cv}</td><td class="quiet">${a.unit}</td>
          ${at.map((k) => html`<${Errors} ours=${a.rmse.twin[k - 1]} theirs=${b.rmse.twin[k - 1]} />`)}
          <td class="n">${covered(a)}</td><td class="n">${covered(b)}</td></tr>`;
      })}</tbody></table></div>
    <p class="quiet small">${same
      ? "Both learned from the same telemetry; each error is out of fold."
      : `Learned from different telemetry (to ${time(ours.data.end)} and to ${time(theirs.data.end)}): errors out of fold on different data compare only roughly.`}</p>
    ${disagreements(ours, theirs).map((words) => html`<p><${Mark} kind="attention">${words}<//></p>`)}`;
}

function Errors({ ours, theirs }) {
  const share = ours / theirs - 1;
  const words = Math.abs(share) < ALIKE ? "equal" : `${percent(Math.abs(share))} ${share < 0 ? "better" : "worse"}`;
  return html`<td class="n">${number(ours, 3)}</td><td class="n">${number(theirs, 3)}</td><td class="quiet small">${words}</td>`;
}

/** Effects on whose gain the two do not agree: their ranges do not meet. */
function disagreements(ours, theirs) {
  return Object.entries(ours.step_responses.gains).flatMap(([mv, row]) =>
    Object.entries(row).flatMap(([cv, gain]) => {
      const other = theirs.step_responses.gains[mv]?.[cv];
      if (!gain || !other || (gain.low <= other.high && other.low <= gain.high)) return [];
      return [`${mv} → ${cv}: the gains ${number(gain.mean, 3)} and ${number(other.mean, 3)} disagree by more than their ranges.`];
    }),
  );
}

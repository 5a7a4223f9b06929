// Step responses as small multiples, gains with their ranges, and whether the telemetry shows each effect at all.
import { Band, Mark, Name } from "../components.js";
import { duration, number } from "../format.js";
import { html } from "../lib.js";
import { Lines } from "../plots.js";

const VERDICT = { identifiable: "shown", weak: "weakly shown", unidentifiable: "not shown" };

/** The verdict on one effect; null on reports that have none. */
const effectOf = (card, mv, cv) => card.identifiability?.effects[mv]?.[cv] ?? null;

const reasonsOf = (verdict) => verdict.reasons.map((r) => r.detail).join("; ");

export function Steps({ steps, card }) {
  const mvs = Object.keys(steps.responses);
  const cvs = Object.keys(card.backtest.cvs);
  const cell = (mv, cv) => {
    const response = steps.responses[mv][cv];
    if (!response) return html`<td><p class="quiet">not known</p></td>`;
    const bounded = response.low.every(Number.isFinite) ? { low: response.low, high: response.high } : undefined;
    const verdict = effectOf(card, mv, cv);
    return html`<td><${Lines} title=${`${cv} after a step of ${mv}`} x=${steps.times_s} rule=${0} band=${bounded}
      series=${[{ label: cv, values: response.mean, colour: "s1" }]} />
      ${verdict && verdict.verdict !== "identifiable" && html`<div class="small" title=${reasonsOf(verdict)}><${Mark} kind="attention">${VERDICT[verdict.verdict]}<//></div>`}</td>`;
  };
  return html`<section class="panel"><h2>Step responses</h2>
    <p class="quiet small">What a step of one unit in each MV does to each CV when all else holds, with the range in which the effect lies (90 %).</p>
    <div class="scroll tall high" tabindex="0" role="region" aria-label="Step responses"><table class="matrix">
      <thead><tr><th></th>${mvs.map((mv) => html`<th><${Name} of=${mv} /></th>`)}</tr></thead>
      <tbody>${cvs.map((cv) => html`<tr><th scope="row"><${Name} of=${cv} /></th>${mvs.map((mv) => cell(mv, cv))}</tr>`)}</tbody></table></div>
    <div class="scroll tall high" tabindex="0" role="region" aria-label="Effects"><table>
      <thead><tr><th>Effect</th><th>Gain</th><th>Unit</th><th>Dead time, s</th><th>Settling time, s</th>${card.identifiability && html`<th>Does the telemetry show it?</th>`}</tr></thead>
      <tbody>${mvs.flatMap((mv) => cvs.map((cv) => html`<tr><td><${Name} of=${`${mv} → ${cv}`} /></td>
        <td><${Gain} gain=${steps.gains[mv][cv]} /></td><td class="quiet">${steps.gain_units?.[mv][cv].replaceAll("delta_", "")}</td>
        <td><${Band} triple=${steps.dead_times_s[mv][cv]} /></td><td><${Band} triple=${steps.settling_times_s[mv][cv]} /></td>
        ${card.identifiability && html`<td><${Shown} verdict=${effectOf(card, mv, cv)} /></td>`}</tr>`))}</tbody></table></div>
    <${Tied} tied=${card.identifiability?.tied} />
    <p class="quiet small">A gain whose range holds zero may be no effect at all. “–”: not known, or not settled within ${duration(steps.times_s.at(-1))}.</p>
  </section>`;
}

function Gain({ gain }) {
  if (!gain) return html`<span class="quiet">not known</span>`;
  const unsure = gain.low <= 0 && gain.high >= 0;
  return html`<${Band} triple=${gain} /> ${unsure && html`<${Mark} kind="attention">perhaps none<//>`}`;
}

function Shown({ verdict }) {
  if (!verdict) return "–";
  const kind = verdict.verdict === "identifiable" ? "ok" : "attention";
  return html`<${Mark} kind=${kind}>${VERDICT[verdict.verdict]}<//> <span class="small quiet">${reasonsOf(verdict)}</span>`;
}

/** MVs that keep a combination of themselves constant. */
function Tied({ tied }) {
  if (!tied?.length) return null;
  const sum = (weights) => Object.entries(weights).map(([mv, w]) => `${number(w, 3)} × ${mv}`).join(" + ");
  return html`${tied.map((t) => html`<p><${Mark} kind="attention">${sum(t.weights)} never changed: one of these MVs moved alone is something that the twin has not seen.<//></p>`)}`;
}

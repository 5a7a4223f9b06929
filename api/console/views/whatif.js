// What-if: history left of now, forecasts right of it; moves are drawn on the trends or typed, and the forecast follows.
import { Chooser, Farther, Moment, NumberField, Trouble, save, useChosen } from "../components.js";
import { percent, time } from "../format.js";
import { html, useEffect, useMemo, useState } from "../lib.js";
import { health, of, plant } from "../state.js";
import { CvTrend, InputTrend } from "./trend_pair.js";
import { asCsv, asPng } from "./whatif_export.js";
import { Scenarios } from "./whatif_moves.js";
import { Inquiry } from "./whatif_state.js";
import { Comparison, Verdict } from "./whatif_verdict.js";

const COVERAGES = [0.8, 0.9, 0.95, 0.99];

export function WhatIf() {
  const inquiry = useMemo(() => new Inquiry(), []);
  const [cvs, choose] = useChosen("cv");
  useEffect(() => {
    inquiry.open();
    return () => inquiry.close();
  }, []);
  const { answer, history, error } = inquiry;
  return html`<${Bar} inquiry=${inquiry} />
    <${Trouble} error=${error.value} />
    ${!history.value && !error.value && html`<p class="quiet">Reading …</p>`}
    ${history.value && html`<div class="split">
      <div>
        <section class="panel"><${Chooser} role="cv" chosen=${cvs} choose=${choose} />
          <div class="charts">${of("cv").filter((tag) => cvs.includes(tag.name)).map((tag) => html`<${CvTrend} key=${tag.name} inquiry=${inquiry} tag=${tag} />`)}</div></section>
        <section class="panel">
          <p class="quiet small">Press on the right of “now” to add a move, drag its circle; drag its square to make it a ramp; double-click to take it away. Or type it in the list.</p>
          <div class="charts">
            ${[...of("mv"), ...of("dv")].map((tag) => html`<${InputTrend} key=${tag.name} inquiry=${inquiry} tag=${tag} />`)}
          </div>
        </section>
        ${answer.value && html`<${Comparison} answer=${answer.value} />`}
      </div>
      <aside>
        <${Scenarios} inquiry=${inquiry} />
        ${answer.value ? html`<${Verdict} inquiry=${inquiry} answer=${answer.value} />` : !error.value && html`<${Waiting} />`}
      </aside>
    </div>`}`;
}

function Bar({ inquiry }) {
  const { at, horizon, coverage, asChange, took } = inquiry;
  return html`<div class="bar">
    <h2>What if …</h2>
    <label class="inline">From <${Moment} label="Ask from" value=${at.value} change=${(t) => inquiry.from(t)} /></label>
    <button onClick=${() => inquiry.refresh()}>Latest row</button>
    <label class="inline">Horizon <${NumberField} label="Horizon in seconds" min="0" value=${horizon.value}
      change=${(v) => v > 0 && (horizon.value = v)} /> s<${Farther} seconds=${inquiry.farther.value} /></label>
    <label class="inline">Bands <select value=${coverage.value} onChange=${(e) => (coverage.value = Number(e.target.value))}>
      ${COVERAGES.map((c) => html`<option value=${c}>${percent(c)}</option>`)}
    </select></label>
    <label class="inline"><input type="checkbox" checked=${asChange.value} onChange=${(e) => (asChange.value = e.target.checked)} /> as change</label>
    <${CopyLink} />
    <button onClick=${() => save("what-if.csv", asCsv(inquiry))} disabled=${!inquiry.answer.value}>CSV</button>
    <button onClick=${async () => save("what-if.png", await asPng(`${plant.value.name}, from ${time(at.value)}`))} disabled=${!inquiry.answer.value}>PNG</button>
    <span class="quiet small answered" aria-live="off">${took.value ? `answered in ${took.value} ms` : ""}</span>
  </div>`;
}

/** The first answer of a twin may wait for its programs. */
const Waiting = () => html`<section class="panel" role="status"><p class="quiet">Asking the twin …
  ${health.value?.ready === false && "Its programs are still being compiled; this first time takes up to a minute."}</p></section>`;

/** The address of this page holds the whole question. Without a secure connection a page may not write the clipboard. */
function CopyLink() {
  const [state, setState] = useState(null); // "copied", or "shown" to be copied by hand
  const copy = async () => {
    const copied = await navigator.clipboard?.writeText(location.href).then(() => true, () => false);
    setState(copied ? "copied" : "shown");
    if (copied) setTimeout(() => setState(null), 2000);
  };
  return html`<button onClick=${copy} title="The address of this page holds the whole question">${state === "copied" ? "Copied" : "Copy link"}</button>
    ${state === "shown" && html`<input aria-label="Link" readonly value=${location.href} onFocus=${(e) => e.target.select()} />`}`;
}

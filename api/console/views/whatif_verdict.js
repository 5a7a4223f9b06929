// What came of the scenarios in words and figures: trust, what was clipped, and where each CV ends.
import { Name, Trust } from "../components.js";
import { number, percent, signed, time } from "../format.js";
import { html } from "../lib.js";
import { of, plant } from "../state.js";
import { clippedOf, crossing } from "../words.js";

const HALF_DIGIT = 5e-5; // of a value with four digits

export function Verdict({ inquiry, answer }) {
  const asked = inquiry.asked.value[inquiry.active.value];
  const scenario = answer.scenarios.find((s) => s.name === asked?.name);
  const tagOf = (name) => plant.value.tags.find((tag) => tag.name === name);
  return html`<section class="panel">
    <h3>Can this be trusted?</h3>
    <${Trust} trust=${scenario?.trust ?? answer.trust} />
    ${scenario?.clipped.length > 0 && html`<h3>Not done as asked</h3>
      <ul>${scenario.clipped.map((clip) => html`<li>${clippedOf(clip, tagOf(clip.tag))}</li>`)}</ul>`}
    <p class="quiet small">Twin <code>${answer.twin}</code>; bands hold ${percent(answer.coverage)} of values at each time, where the twin knows the ground.</p>
  </section>`;
}

/** A change that the value beside it would not show is none. */
const seen = (change, value) => (Math.abs(change) < HALF_DIGIT * Math.abs(value) ? 0 : change);

export function Comparison({ answer }) {
  const cell = (tag, band, change) => {
    const crossed = crossing(tag, answer.times, band);
    return html`<td class="n">${number(band.mean.at(-1))} ${change && html`<span class="quiet">(${signed(seen(change.at(-1), band.mean.at(-1)), 3)})</span>`}
      ${crossed && html`<div class="mark attention small">▲ ${crossed}</div>`}</td>`;
  };
  return html`<section class="panel">
    <h3>At the end, ${time(answer.times.at(-1), false)}</h3>
    <div class="scroll"><table>
      <thead><tr><th>CV</th><th>Unit</th><th class="n">No move</th>${answer.scenarios.map((s) => html`<th class="n">${s.name} (change)</th>`)}</tr></thead>
      <tbody>${of("cv").map((tag) => html`<tr><td><${Name} of=${tag.name} /></td><td class="quiet">${tag.unit}</td>${cell(tag, answer.baseline[tag.name])}
        ${answer.scenarios.map((s) => cell(tag, s.cvs[tag.name], s.change[tag.name]))}</tr>`)}</tbody>
    </table></div>
  </section>`;
}

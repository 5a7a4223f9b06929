// Gains over the operating range as small multiples, and what the errors of one row ahead still tell.
import { Mark, Name, some } from "../components.js";
import { unitOf } from "../format.js";
import { html } from "../lib.js";
import { Lines } from "../plots.js";

/** The local gain of each MV on each CV where that MV is held at another level; nothing on reports without it. */
export function GainMap({ card }) {
  const maps = Object.entries(card.gain_map ?? {}).filter(([, found]) => found);
  if (!maps.length) return null;
  const cvs = Object.keys(maps[0][1].gains);
  const unit = (name) => unitOf(card.plant.tags.find((tag) => tag.name === name) ?? { unit: "" });
  const turns = maps.flatMap(([mv, { gains }]) => cvs.filter((cv) => changesSign(gains[cv])).map((cv) => `${mv} → ${cv}`));
  return html`<section class="panel"><h2>Gains over the operating range</h2>
    <p class="quiet small">The gain where an MV is held at another level and the other inputs stay, with its range (90 %). A flat line is a linear process.</p>
    ${turns.length > 0 && html`<p><${Mark} kind="attention">A gain changes its sign: ${some(turns)}.<//></p>`}
    <div class="scroll tall high" tabindex="0" role="region" aria-label="Gains over the operating range"><table class="matrix">
      <thead><tr><th></th>${maps.map(([mv]) => html`<th><${Name} of=${mv} /></th>`)}</tr></thead>
      <tbody>${cvs.map((cv) => html`<tr><th scope="row"><${Name} of=${cv} /></th>${maps.map(([mv, { levels, gains }]) => html`<td>
        <${Lines} title=${`Gain of ${mv} on ${cv}`} x=${levels} xUnit=${unit(mv)} rule=${0} band=${gains[cv]} height="3.4rem"
          series=${[{ label: "gain", values: gains[cv].mean, colour: "s1" }]} /></td>`)}</tr>`)}</tbody></table></div>
  </section>`;
}

/** Surely of both signs: somewhere its whole range lies above zero, elsewhere below. */
const changesSign = ({ low, high }) => low.some((v) => v > 0) && high.some((v) => v < 0);

/** Whether the errors one row ahead are noise; where they are not, the model has left something unsaid. */
export function Whiteness({ diagnostics }) {
  if (!diagnostics) return null;
  const told = Object.entries(diagnostics.cvs).filter(([, cv]) => !cv.white).map(([name]) => name);
  return html`<p class="small">${told.length
    ? html`<${Mark} kind="attention">Errors one row ahead are not white noise: ${some(told)}.<//> Something that acts on these CVs is not in the model.`
    : html`<${Mark} kind="ok">Errors one row ahead are white noise for every CV.<//>`}</p>`;
}

// A step test, designed: moves inside limits and rates from which a twin can learn, drawn and saved as a schedule.
import { post } from "../api.js";
import { Chart } from "../charts.js";
import { Chips, NumberField, Trouble, save } from "../components.js";
import { duration, number, time } from "../format.js";
import { html, useState } from "../lib.js";
import { of, path, plant, slug } from "../state.js";
import { limitLines } from "./trend_pair.js";
import { table } from "./whatif_export.js";

export function StepTest() {
  const [mvs, setMvs] = useState(() => of("mv").map((tag) => tag.name));
  const [settling, setSettling] = useState(null);
  const [length, setLength] = useState(null);
  const [test, setTest] = useState(null);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const design = async (event) => {
    event.preventDefault();
    const given = Object.entries({ settling_s: settling, length_s: length }).filter(([, v]) => v !== null);
    setBusy(true);
    try {
      setTest(await post(path("/step-tests"), { mvs, ...Object.fromEntries(given) }));
      setError(null);
    } catch (problem) {
      setError(problem);
    }
    setBusy(false);
  };
  return html`<details class="panel"><summary><h2>Design a step test</h2></summary>
    <p class="quiet small">Moves from which a twin can learn what each MV does: inside the plant's limits and rates, and as independent of each other as can be. Nothing is written to the plant.</p>
    <form onSubmit=${design}><${Chips} tags=${of("mv")} chosen=${mvs} choose=${setMvs} />
      <div class="bar"><label class="inline">Effects settle in <${NumberField} label="Settling time in seconds" min="0" value=${settling} placeholder="twin’s" change=${setSettling} /> s</label>
        <label class="inline">Length <${NumberField} label="Length in seconds" min="0" value=${length} placeholder="usual" change=${setLength} /> s</label>
        <button disabled=${busy || !mvs.length}>${busy ? "Designing …" : "Design"}</button>
        ${test && html`<button type="button" onClick=${() => save(`${slug.value}-step-test.csv`, schedule(test))}>CSV</button>`}</div></form>
    <${Trouble} error=${error} />
    ${test && html`<${Design} test=${test} />`}
  </details>`;
}

const schedule = ({ times, moves }) => table(new Map([["time", times], ...Object.entries(moves)]));

function Design({ test }) {
  const x = test.times.map((t) => Date.parse(t) / 1000);
  const chosen = Object.entries(test.mvs);
  const tag = (name) => plant.value.tags.find((t) => t.name === name);
  return html`<p>${time(test.times[0])} to ${time(test.times.at(-1))}, ${duration(x.at(-1) - x[0])}.</p>
    ${test.notes.map((note) => html`<p>${note}</p>`)}
    <div class="charts">${chosen.map(([mv]) => html`<${Chart} key=${mv} title=${mv} unit=${tag(mv).unit} height=${90} stepped=${true} sync="step-test" x=${x}
      series=${[{ label: "schedule", colour: "s1", values: test.moves[mv] }]} lines=${limitLines(tag(mv))} />`)}</div>
    <div class="scroll"><table><thead><tr><th>MV</th><th class="n">Low</th><th class="n">High</th><th>Unit</th><th class="n">Switches</th><th>Why so</th></tr></thead>
      <tbody>${chosen.map(([mv, m]) => html`<tr><td>${mv}</td><td class="n">${number(m.low)}</td><td class="n">${number(m.high)}</td>
        <td class="quiet">${tag(mv).unit}</td><td class="n">${m.switches}</td><td class="small">${m.why}</td></tr>`)}</tbody></table></div>
    ${Object.keys(test.cvs).length > 0 && html`<p class="small">Expected of the CVs: ${Object.entries(test.cvs)
      .map(([cv, range]) => `${cv} ${number(range.low, 3)} … ${number(range.high, 3)} ${tag(cv).unit}`).join(", ")}.</p>`}`;
}

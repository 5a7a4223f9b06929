// The controller beside the plant, where one runs: its mode, why, what it advises, and the modes that may be asked for
// from here. Closed loop is not among them: that takes a typed confirmation at the command line.
import { get, put } from "../api.js";
import { Mark, Trouble, useRead } from "../components.js";
import { number, time } from "../format.js";
import { html, useState } from "../lib.js";
import { path, plant, slug } from "../state.js";

const EVERY_MS = 3000;
const MODES = { off: "off", shadow: "shadow: it computes and logs", advisory: "advisory: it shows its moves", closed: "closed: it writes to the plant", shedding: "shedding: it leads the MVs to their safe values" };
const FROM_HERE = ["off", "shadow", "advisory"];

export function Controller() {
  const { value, error, again } = useRead(() => get(path("/controller")), [slug.value], EVERY_MS);
  const [refused, setRefused] = useState(null);
  if (!value?.state) return null; // none runs here, as far as is known
  const ask = async (mode) => {
    try {
      await put(path("/controller"), { mode, reason: "asked for in the console" });
      setRefused(null);
      again();
    } catch (problem) {
      setRefused(problem);
    }
  };
  return html`<section class="panel"><h2>Controller</h2>
    <${Trouble} error=${error ?? refused} />
    ${value && html`<${Standing} ...${value} />
      <div class="bar"><span class="quiet small">Ask for</span>${FROM_HERE.map((mode) => html`<button onClick=${() => ask(mode)}
        disabled=${value.state.mode === mode}>${mode}</button>`)}</div>`}
  </section>`;
}

function Standing({ running, seen, state, wanted }) {
  const { last } = state;
  const unit = (name) => plant.value.tags.find((tag) => tag.name === name)?.unit;
  const fault = last?.fault && (last.fault.detail ?? String(last.fault));
  const waits = wanted?.mode && running && wanted.mode !== state.mode;
  return html`<p><${Mark} kind=${running ? "" : "attention"}>${running ? MODES[state.mode] ?? state.mode : `not running; it was heard of last at ${time(seen)}`}<//></p>
    ${running && state.since && html`<p class="quiet small">since ${time(state.since)}${state.why ? `: ${state.why}` : ""}</p>`}
    ${waits && html`<p class="quiet small">${wanted.mode} has been asked for.</p>`}
    ${fault && html`<p><${Mark} kind="attention">${fault}<//></p>`}
    ${state.advice && html`<table><tbody>${Object.entries(state.advice).map(([mv, v]) => html`<tr><td>${mv}</td>
      <td class="n"><b>${number(v)}</b></td><td class="quiet">${unit(mv)}</td></tr>`)}</tbody></table>`}`;
}

// Twin: the versions and which one answers, training as it goes, and the report of one of them.
import { get, put, report } from "../api.js";
import { Mark, Trouble, save, useRead } from "../components.js";
import { duration, time } from "../format.js";
import { html, useState } from "../lib.js";
import { of, path, readPlants, slug } from "../state.js";
import { Report } from "./twin_report.js";
import { Training } from "./twin_training.js";

const ALIASES = ["champion", "challenger"];

export function Twin() {
  const twins = useRead(() => get(path("/twins")), [slug.value]);
  const [chosen, choose] = useState(null);
  const items = twins.value?.items ?? [];
  const shown = items.find((t) => t.twin === chosen) ?? items.find((t) => t.aliases.includes("champion")) ?? items[0];
  const again = () => {
    twins.again();
    readPlants();
  };
  return html`<div class="halves">
      <${Versions} items=${items} shown=${shown} choose=${choose} again=${again} error=${twins.error} />
      <${Training} done=${again} />
    </div>
    ${shown && html`<${Card} key=${shown.twin} twin=${shown.twin} />`}`;
}

function Versions({ items, shown, choose, again, error }) {
  const [refused, setRefused] = useState(null);
  const promote = async (alias, twin) => {
    try {
      await put(path(`/aliases/${alias}`), { twin });
      setRefused(null);
      again();
    } catch (problem) {
      setRefused(problem);
    }
  };
  return html`<section class="panel">
    <h2>Versions</h2>
    <${Trouble} error=${error ?? refused} />
    ${!items.length && !error && html`<p class="quiet">No twin yet. Training needs telemetry in which the ${of("mv").length} MVs have moved.</p>`}
    ${items.length > 0 && html`<table>
      <thead><tr><th>Twin</th><th>Trained</th><th>Looks ahead</th><th>Data</th><th>Answers as</th></tr></thead>
      <tbody>${items.map((t) => html`<tr class=${t === shown ? "chosen" : ""}>
        <td><button class="plain" aria-pressed=${t === shown} onClick=${() => choose(t.twin)}><code>${t.twin}</code></button></td>
        <td>${time(t.created)}</td><td>${duration(t.horizon_s)}</td><td title="version of the telemetry">${t.data_version}</td>
        <td>${ALIASES.map((alias) =>
          t.aliases.includes(alias)
            ? html`<${Mark} kind="ok">${alias}<//> `
            : html`<button class="plain" onClick=${() => promote(alias, t.twin)}>make ${alias}</button> `,
        )}</td></tr>`)}</tbody></table>`}
  </section>`;
}

function Card({ twin }) {
  const { value: card, error } = useRead(() => get(path(`/twins/${twin}/report`)), [twin]);
  const [refused, setRefused] = useState(null);
  const download = async () => {
    try {
      save(`${slug.value}-${twin}.html`, await report(path(`/twins/${twin}/report`)));
    } catch (problem) {
      setRefused(problem);
    }
  };
  return html`<div class="bar"><h2>Report of <code>${twin}</code></h2>
      <button onClick=${download} disabled=${!card}>Save as HTML</button></div>
    <${Trouble} error=${error ?? refused} />
    ${card && html`<${Report} card=${card} />`}`;
}

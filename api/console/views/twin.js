// Twin: the versions and which one answers, training as it goes, and the report of one of them.
import { get, put, report } from "../api.js";
import { Mark, Trouble, save, useRead } from "../components.js";
import { duration, time } from "../format.js";
import { html, useState } from "../lib.js";
import { path, readPlants, slug } from "../state.js";
import { Compare } from "./twin_compare.js";
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
  return html`<div class="halves wide">
      <${Versions} items=${items} shown=${shown} choose=${choose} again=${again} error=${twins.error} />
      <${Training} done=${again} />
    </div>
    ${shown && html`<${Card} key=${shown.twin} twin=${shown} other=${rival(shown, items)} />`}`;
}

/** The twin to compare one with: the champion, or of the champion the challenger. */
function rival(shown, items) {
  const named = (alias) => items.find((t) => t.aliases.includes(alias) && t !== shown);
  return shown.aliases.includes("champion") ? named("challenger") : named("champion");
}

function Versions({ items, shown, choose, again, error }) {
  const [refused, setRefused] = useState(null);
  const [sure, setSure] = useState(null); // the twin that is about to become champion
  const promote = async (alias, twin) => {
    setSure(null);
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
    ${!items.length && !error && html`<p class="quiet">No twin yet. Training needs telemetry in which MVs have moved.</p>`}
    ${items.length > 0 && html`<div class="scroll"><table>
      <thead><tr><th>Twin</th><th>Trained</th><th>Looks ahead</th><th>Data version</th><th>Answers as</th></tr></thead>
      <tbody>${items.map((t) => html`<tr class=${t === shown ? "chosen" : ""}>
        <td><button class="plain" aria-pressed=${t === shown} onClick=${() => choose(t.twin)}><code>${t.twin}</code></button></td>
        <td>${time(t.created)}</td><td>${duration(t.horizon_s)}</td><td title="version of the telemetry it learned from">${t.data_version}</td>
        <td>${ALIASES.map((alias) =>
          t.aliases.includes(alias)
            ? html`<${Mark} kind="ok">${alias}<//> `
            : sure === t.twin && alias === "champion"
              ? html`<button onClick=${() => promote(alias, t.twin)}>Yes, let it answer from now on</button> `
              : html`<button class="plain" onClick=${() => (alias === "champion" ? setSure(t.twin) : promote(alias, t.twin))}>make ${alias}</button> `,
        )}</td></tr>`)}</tbody></table></div>`}
  </section>`;
}

function Card({ twin: version, other }) {
  const { twin } = version;
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
    ${!card && !error && html`<p class="quiet">Reading …</p>`}
    ${card && other && html`<${Compare} twin=${version} card=${card} other=${other} />`}
    ${card && html`<${Report} card=${card} />`}`;
}

// The audit log, for admins: who changed what and when, and whether the log is what was written.
import { get } from "../api.js";
import { Mark, Trouble } from "../components.js";
import { time } from "../format.js";
import { html, useEffect, useState } from "../lib.js";

const PAGE = 25;
const HIDDEN = [403, 404]; // no admin; a service without such a log

export function Audit() {
  const [entries, setEntries] = useState([]);
  const [next, setNext] = useState(null);
  const [error, setError] = useState(null);
  const [verdict, setVerdict] = useState(null);
  const more = async (after) => {
    try {
      const { items, next: rest } = await get("/v1/audit", { limit: PAGE, after });
      setEntries((before) => (after ? [...before, ...items] : items));
      setNext(rest);
      setError(null);
    } catch (problem) {
      setError(problem);
    }
  };
  const verify = () => get("/v1/audit/verify").then(setVerdict, setError);
  useEffect(() => void more(), []);
  if (HIDDEN.includes(error?.status)) return null;
  return html`<details class="panel"><summary><h2>Audit log</h2></summary>
    <${Trouble} error=${error} />
    <div class="bar"><button onClick=${verify}>Is it what was written?</button> <button onClick=${() => more()}>Read again</button></div>
    ${verdict && html`<${Verdict} verdict=${verdict} />`}
    <div class="scroll tall" tabindex="0" role="region" aria-label="Entries"><table><thead><tr><th>At</th><th>Key</th><th>Did</th><th>To</th><th>Detail</th></tr></thead>
      <tbody>${entries.map((e) => html`<tr key=${e.id}><td class="whole">${time(e.at)}</td><td>${e.key}</td><td>${e.action}</td><td>${e.subject}</td>
        <td class="small quiet detail">${detailOf(e.detail)}</td></tr>`)}</tbody></table></div>
    ${next && html`<button onClick=${() => more(next)}>Older</button>`}
  </details>`;
}

const DIGEST = /\b([0-9a-f]{12})[0-9a-f]{20,}\b/g; // its beginning is enough to tell one from another

const detailOf = (detail) =>
  Object.entries(detail ?? {})
    .map(([name, value]) => `${name} ${typeof value === "object" ? JSON.stringify(value) : value}`.replace(DIGEST, "$1…"))
    .join(", ");

function Verdict({ verdict }) {
  if (verdict.ok) return html`<p aria-live="polite"><${Mark} kind="ok">Yes: ${verdict.entries} entries, each chained to the one before. Head <code>${verdict.head}</code><//></p>`;
  return html`<div aria-live="polite"><${Mark} kind="alarm">No.<//><ul>${verdict.problems.map((words) => html`<li>${words}</li>`)}</ul></div>`;
}

// Upload: drop a file, see what its columns are taken for, send it, read the receipt.
import { upload } from "../api.js";
import { Mark, Trouble } from "../components.js";
import { percent, time, zone } from "../format.js";
import { html, useRef, useState } from "../lib.js";
import { path, plant } from "../state.js";
import { csvHead, timeColumn, withHeader } from "./csv_head.js";

const TYPES = { csv: "text/csv", txt: "text/csv", parquet: "application/vnd.apache.parquet", arrow: "application/vnd.apache.arrow.stream", arrows: "application/vnd.apache.arrow.stream" };
const UNUSED = "";

/** [media type, packed] by the file's name. */
function kindOf(name) {
  const parts = name.toLowerCase().split(".");
  const packed = parts.at(-1) === "gz";
  return [TYPES[parts.at(packed ? -2 : -1)] ?? "text/csv", packed];
}

export function Upload({ done }) {
  const [chosen, setChosen] = useState(null); // {file, head, names}
  const [timezone, setTimezone] = useState("");
  const [share, setShare] = useState(null);
  const [receipt, setReceipt] = useState(null);
  const [error, setError] = useState(null);

  const choose = async (file) => {
    const [type, packed] = kindOf(file.name);
    const head = type === "text/csv" && !packed ? await csvHead(file) : null;
    setChosen({ file, head, names: head && head.columns.map((c) => guess(c, head)) });
    setReceipt(null);
    setError(null);
  };
  const send = async () => {
    const { file, head, names } = chosen;
    const [type, packed] = kindOf(file.name);
    const headers = { "Content-Type": type, ...(packed && { "Content-Encoding": "gzip" }), "Idempotency-Key": crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}` };
    const content = head && !head.long ? withHeader(file, head, names) : file;
    setShare(0);
    try {
      const query = timezone ? `?${new URLSearchParams({ timezone })}` : "";
      setReceipt(await upload(path(`/telemetry${query}`), content, headers, setShare));
      setChosen(null);
      setError(null);
      done();
    } catch (problem) {
      setError(problem);
    }
    setShare(null);
  };
  return html`<section class="panel"><h2>Upload telemetry</h2>
    <${Drop} choose=${choose} />
    ${chosen && html`<p><b>${chosen.file.name}</b> <span class="quiet">${(chosen.file.size / 1e6).toFixed(2)} MB</span></p>
      ${chosen.head && html`<${Mapping} chosen=${chosen} setNames=${(names) => setChosen({ ...chosen, names })} />`}
      <div class="bar">
        <label class="inline">Times without an offset are in
          <select value=${timezone} onChange=${(e) => setTimezone(e.target.value)}><option value="">(refuse them)</option>
            ${[...new Set([zone.value, "UTC", ...Intl.supportedValuesOf("timeZone")])].map((name) => html`<option>${name}</option>`)}</select></label>
        <button class="primary" onClick=${send} disabled=${share !== null}>${share === null ? "Upload" : share < 1 ? `Sending ${percent(share)}` : "Storing …"}</button>
      </div>`}
    <${Trouble} error=${error} />
    ${receipt && html`<${Receipt} receipt=${receipt} />`}
  </section>`;
}

/** What a column is taken for: a tag of its name, the time, or nothing. */
function guess(column, { columns }) {
  const names = plant.value.tags.map((tag) => tag.name);
  const like = (name) => name.toLowerCase().replace(/[^a-z0-9]/g, "");
  const base = column.replace(/__quality$/, "");
  if (names.includes(base)) return column;
  if (column === timeColumn(columns)) return "time";
  return names.find((name) => like(name) === like(column) && !columns.includes(name)) ?? UNUSED;
}

function Drop({ choose }) {
  const [over, setOver] = useState(false);
  const input = useRef(null);
  const drop = (event) => {
    event.preventDefault();
    setOver(false);
    if (event.dataTransfer.files[0]) choose(event.dataTransfer.files[0]);
  };
  return html`<div class=${`drop ${over ? "over" : ""}`} onDragOver=${(e) => { e.preventDefault(); setOver(true); }} onDragLeave=${() => setOver(false)} onDrop=${drop}>
    <p>Drop a file here: CSV, Parquet or an Arrow stream, gzip too; a column <code>time</code> and one a tag, or long: time, tag, value.</p>
    <button onClick=${() => input.current.click()}>Choose a file</button>
    <input ref=${input} type="file" hidden accept=".csv,.txt,.gz,.parquet,.arrow,.arrows" aria-label="Telemetry file"
      onChange=${(e) => { if (e.target.files[0]) choose(e.target.files[0]); e.target.value = ""; }} />
  </div>`;
}

function Mapping({ chosen: { head, names }, setNames }) {
  if (head.long) return html`<p class="quiet small">Long layout: one value a row.</p>`;
  const set = (i, name) => setNames(names.map((old, j) => (j === i ? name : old)));
  const options = ["time", ...plant.value.tags.map((tag) => tag.name)];
  const missing = plant.value.tags.filter((tag) => !names.includes(tag.name)).map((tag) => tag.name);
  return html`<div class="scroll"><table>
      <thead><tr><th>Column</th><th>First value</th><th>Is</th></tr></thead>
      <tbody>${head.columns.map((column, i) => html`<tr><td>${column}</td><td class="quiet">${head.first[i]}</td>
        <td><select aria-label=${`${column} is`} value=${names[i]} onChange=${(e) => set(i, e.target.value)}>
          <option value=${UNUSED}>not used</option>
          ${[...new Set([...options, ...(names[i] ? [names[i]] : [])])].map((name) => html`<option>${name}</option>`)}</select></td></tr>`)}</tbody></table></div>
    ${!names.includes("time") && html`<p><${Mark} kind="attention">No column is the time.<//></p>`}
    ${missing.length > 0 && html`<p class="quiet small">Without a column: ${missing.join(", ")}.</p>`}`;
}

function Receipt({ receipt }) {
  const rows = [
    ["received", "rows_received"], ["stored", "rows_stored"], ["of them changing a value", "rows_replaced"], ["of them late", "rows_late"],
    ["duplicate", "rows_duplicate"], ["rejected", "rows_rejected"], ["values refused in kept rows", "cells_rejected"],
  ];
  const rejected = receipt.rejected;
  return html`<div aria-live="polite"><h3>Receipt <code>${receipt.upload}</code></h3>
    <dl>${rows.filter(([, name]) => receipt[name] !== undefined).map(([label, name]) => html`<dt>${label}</dt><dd>${receipt[name]}</dd>`)}
      <dt>span</dt><dd>${time(receipt.first_time)} – ${time(receipt.last_time)}</dd>
      <dt>telemetry is now</dt><dd>version ${receipt.version}</dd></dl>
    ${receipt.unknown_tags.length > 0 && html`<p><${Mark} kind="attention">Columns that are no tag of this plant were left out: ${receipt.unknown_tags.join(", ")}<//></p>`}
    ${rejected.length > 0 && html`<div class="scroll"><table><thead><tr><th class="n">Row</th><th>Tag</th><th>Refused because</th></tr></thead>
      <tbody>${rejected.map((r) => html`<tr><td class="n">${r.row}</td><td>${r.tag}</td><td>${r.reason}</td></tr>`)}</tbody></table></div>`}
  </div>`;
}

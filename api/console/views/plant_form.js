// A plant and its tags, described or changed; the tags can be taken from the header of a CSV file.
import { etag, put } from "../api.js";
import { NumberField, Trouble } from "../components.js";
import { html, useEffect, useState } from "../lib.js";
import { readPlants, route } from "../state.js";
import { csvHead, timeColumn } from "./csv_head.js";

const ROLES = { mv: "MV, we move it", dv: "DV, it disturbs", cv: "CV, it matters", ov: "OV, a vector" };
const NUMBERS = { low: "Low", high: "High", limit_low: "Low limit", limit_high: "High limit", rate_limit_per_s: "Rate/s" };
const ALL = Object.keys(NUMBERS);
const FIELDS = { mv: ["low", "high", "rate_limit_per_s"], dv: ["low", "high", "limit_low", "limit_high"], cv: ["low", "high", "limit_low", "limit_high"], ov: [] };
const BLANK = { name: "", role: "cv", unit: "1" };

const slugOf = (name) => name.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 64);

const OF_ROLE = { formula: "cv", shape: "ov" }; // what tags of one role alone have

/** A number is asked for where the role has it; one that is given all the same stays in view. */
const shown = (tag, field) => FIELDS[tag.role].includes(field) || tag[field] != null;

/** Without what was left empty, and what belongs to another role that it had. */
const filled = (tag) =>
  Object.fromEntries(Object.entries(tag).filter(([field, value]) => value !== null && value !== "" && tag.role === (OF_ROLE[field] ?? tag.role)));

export function PlantForm({ given, close }) {
  const [name, setName] = useState(given?.name ?? "");
  const [period, setPeriod] = useState(given?.sample_period_s ?? null);
  const [tags, setTags] = useState(given?.tags ?? [BLANK]);
  const [error, setError] = useState(null);
  const [version, setVersion] = useState(null); // the ETag of what is being changed
  useEffect(() => {
    if (given) etag(`/v1/plants/${given.plant}`).then(setVersion, setError);
  }, []);
  const slug = given?.plant ?? slugOf(name);
  const set = (i, part) => setTags(tags.map((tag, j) => (j === i ? { ...tag, ...part } : tag)));

  const save = async (event) => {
    event.preventDefault();
    try {
      const body = { name, sample_period_s: period, tags: tags.filter((tag) => tag.name).map(filled) };
      await put(`/v1/plants/${slug}`, body, { headers: given ? { "If-Match": version } : { "If-None-Match": "*" } });
      await readPlants();
      close?.();
      location.hash = `#/${slug}/data`;
      route.value = { ...route.value, plant: slug };
    } catch (problem) {
      setError(problem);
    }
  };
  const fromFile = async (file) => {
    const head = await csvHead(file);
    const stamp = timeColumn(head.columns);
    const columns = head.columns.filter((c) => c !== stamp && !c.endsWith("__quality"));
    setTags(columns.map((column) => tags.find((tag) => tag.name === column) ?? { ...BLANK, name: column }));
    const at = head.columns.indexOf(stamp);
    const step = (Date.parse(head.second[at]) - Date.parse(head.first[at])) / 1000;
    if (step > 0 && period === null) setPeriod(step);
  };
  return html`<form class="panel plan-form" onSubmit=${save}>
    <div class="bar"><h2>${given ? `Change ${given.name}` : "Describe a plant"}</h2>
      <label class="inline">Name <input required maxlength="200" value=${name} onInput=${(e) => setName(e.target.value)} /></label>
      <span class="quiet"><code>${slug}</code></span>
      <label class="inline">A row every <${NumberField} label="Sample period in seconds" value=${period} min="0" change=${setPeriod} /> s</label>
      <label class="inline">Tags from a CSV header <input type="file" accept=".csv,.txt" onChange=${(e) => e.target.files[0] && fromFile(e.target.files[0])} /></label></div>
    <${Trouble} error=${error} />
    <div class="scroll"><table>
      <thead><tr><th>Tag</th><th>Role</th><th>Unit</th>${Object.values(NUMBERS).map((label) => html`<th>${label}</th>`)}<th>Description</th><th>Formula of a calculated CV, shape of a vector</th><th></th></tr></thead>
      <tbody>${tags.map((tag, i) => html`<tr>
        <td><input aria-label=${`Tag ${i + 1} name`} value=${tag.name} onInput=${(e) => set(i, { name: e.target.value })} /></td>
        <td><select aria-label=${`Tag ${i + 1} role`} value=${tag.role} onChange=${(e) => set(i, { role: e.target.value })}>
          ${Object.entries(ROLES).map(([role, label]) => html`<option value=${role}>${label}</option>`)}</select></td>
        <td><input class="short" aria-label=${`Tag ${i + 1} unit`} value=${tag.unit} onInput=${(e) => set(i, { unit: e.target.value })} /></td>
        ${ALL.map((field) => html`<td>${shown(tag, field) && html`<${NumberField} label=${`Tag ${i + 1} ${NUMBERS[field]}`} value=${tag[field]} change=${(v) => set(i, { [field]: v })} />`}</td>`)}
        <td><input aria-label=${`Tag ${i + 1} description`} value=${tag.description ?? ""} onInput=${(e) => set(i, { description: e.target.value })} /></td>
        <td>${tag.role === "cv" && html`<input aria-label=${`Tag ${i + 1} formula`} placeholder="measured" value=${tag.formula ?? ""} onInput=${(e) => set(i, { formula: e.target.value })} />`}
          ${tag.role === "ov" && html`<input class="short" aria-label=${`Tag ${i + 1} shape`} placeholder="64 or 24 × 32" title="elements of a spectrum, or rows × columns of an image" value=${tag.shape?.join(" × ") ?? ""}
            onChange=${(e) => set(i, { shape: e.target.value.match(/\d+/g)?.map(Number) ?? [] })} />`}</td>
        <td><button type="button" class="plain" aria-label=${`Remove tag ${i + 1}`} onClick=${() => setTags(tags.filter((_, j) => j !== i))}>✕</button></td></tr>`)}</tbody></table></div>
    <div class="bar"><button type="button" onClick=${() => setTags([...tags, BLANK])}>Add a tag</button>
      <span class="quiet small push">An MV needs low and high, its hard limits, before plans can be made. Of a CV or DV they are the range of the instrument.</span>
      ${close && html`<button type="button" onClick=${close}>Leave it</button>`}
      <button class="primary">Save</button></div>
  </form>`;
}

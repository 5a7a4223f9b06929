// Plants of a fleet whose tags have other names: which of their tags is which of the fleet's.
import { Name } from "../components.js";
import { html } from "../lib.js";

const ROLES = ["mv", "dv", "cv"];

/** The fleet's tags that a plant has not by that name and role. */
export const missing = (tags, plant) =>
  tags.filter((tag) => ROLES.includes(tag.role) && !plant.tags.some((own) => own.name === tag.name && own.role === tag.role));

/** A row a missing tag: names = {fleet's tag: its tag}; `change` gets them anew. Nothing where all names agree. */
export function TagNames({ tags, plant, names, change }) {
  const lacks = missing(tags, plant);
  if (!lacks.length) return null;
  const taken = new Set(tags.map((tag) => tag.name).filter((name) => !lacks.some((tag) => tag.name === name)));
  const set = (tag, own) => {
    const { [tag]: _, ...rest } = names;
    change(own ? { ...rest, [tag]: own } : rest);
  };
  return html`<div class="scroll"><table>
    <thead><tr><th>The fleet's tag</th><th>Role</th><th>Is in ${plant.name}</th></tr></thead>
    <tbody>${lacks.map((tag) => html`<tr><td><${Name} of=${tag.name} /></td><td>${tag.role.toUpperCase()}</td>
      <td><select aria-label=${`${tag.name} in ${plant.name}`} value=${names[tag.name] ?? ""} onChange=${(e) => set(tag.name, e.target.value)}>
        <option value="">choose …</option>
        ${plant.tags.filter((own) => own.role === tag.role && !taken.has(own.name)).map((own) => html`<option value=${own.name}>${own.name}</option>`)}
      </select></td></tr>`)}</tbody></table></div>`;
}

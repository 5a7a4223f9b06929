// API keys, for admins: made, listed, revoked. Who is no admin sees nothing of it.
import { get, post, remove } from "../api.js";
import { Trouble, useRead } from "../components.js";
import { time } from "../format.js";
import { html, useState } from "../lib.js";
import { slug } from "../state.js";

const SCOPES = ["read", "upload", "train", "predict", "optimize", "control", "admin"];
const FORBIDDEN = 403;

export function Keys() {
  const { value, error, again } = useRead(() => get("/v1/keys"), []);
  const [name, setName] = useState("");
  const [scopes, setScopes] = useState(["read", "predict"]);
  const [only, setOnly] = useState(false); // for this plant only
  const [sure, setSure] = useState(null); // the key that is about to be revoked
  const [made, setMade] = useState(null);
  const [refused, setRefused] = useState(null);
  if (error?.status === FORBIDDEN) return null;
  const make = async (event) => {
    event.preventDefault();
    try {
      setMade(await post("/v1/keys", { name, scopes, ...(only && { plants: [slug.value] }) }));
      setRefused(null);
      again();
    } catch (problem) {
      setRefused(problem);
    }
  };
  const revoke = (id) => {
    setSure(null);
    remove(`/v1/keys/${id}`).then(again, setRefused);
  };
  const toggle = (scope) => setScopes(scopes.includes(scope) ? scopes.filter((s) => s !== scope) : [...scopes, scope]);
  return html`<details class="panel"><summary><h2>API keys</h2></summary>
    <${Trouble} error=${error ?? refused} />
    <table><tbody>${(value?.items ?? []).map((k) => html`<tr><td>${k.name}</td><td class="quiet small">${k.scopes.join(", ")}</td>
      <td class="quiet small">${k.plants?.join(", ") ?? ""}</td><td>${k.expires ? `until ${time(k.expires)}` : ""}</td>
      <td>${sure === k.id
        ? html`<button onClick=${() => revoke(k.id)}>Yes, revoke ${k.name}</button>`
        : html`<button class="plain" aria-label=${`Revoke ${k.name}`} onClick=${() => setSure(k.id)}>revoke</button>`}</td></tr>`)}</tbody></table>
    <form onSubmit=${make}><div class="bar"><label class="inline">Name <input required value=${name} onInput=${(e) => setName(e.target.value)} /></label><button>Make a key</button></div>
      <div class="chips">${SCOPES.map((s) => html`<label><input type="checkbox" checked=${scopes.includes(s)} onChange=${() => toggle(s)} />${s}</label>`)}
        <label><input type="checkbox" checked=${only} onChange=${(e) => setOnly(e.target.checked)} />for this plant only</label></div></form>
    ${made && html`<p>The key, told this once: <code>${made.key}</code></p>`}
  </details>`;
}

// The shell: the door, the header, and the view that the address names.
import { Problem, get, key, remember } from "./api.js";
import { Mark, Trouble } from "./components.js";
import { chooseZone, here, zone } from "./format.js";
import { html, render, useState } from "./lib.js";
import { health, href, plant, plants, problem, route, slug } from "./state.js";
import { theme, toggleTheme } from "./theme.js";
import { Data } from "./views/data.js";
import { Optimize } from "./views/optimize.js";
import { Overview } from "./views/overview.js";
import { Trends } from "./views/trends.js";
import { Twin } from "./views/twin.js";
import { WhatIf } from "./views/whatif.js";

const VIEWS = {
  overview: ["Overview", Overview],
  trends: ["Trends", Trends],
  whatif: ["What-if", WhatIf],
  optimize: ["Optimize", Optimize],
  twin: ["Twin", Twin],
  data: ["Data", Data],
};

function Door() {
  const [text, setText] = useState("");
  const [error, setError] = useState(null);
  const enter = async (event) => {
    event.preventDefault();
    try {
      await get("/v1/plants", { limit: 1 }, { headers: { Authorization: `Bearer ${text.trim()}` } });
      remember(text.trim());
    } catch (refused) {
      setError(refused.status === 401 ? new Problem(401, "The service does not know this key.") : refused);
    }
  };
  return html`<main class="door">
    <h1>Plant Twin</h1>
    <form onSubmit=${enter}>
      <label>API key <input type="password" autocomplete="off" required autofocus value=${text} onInput=${(e) => setText(e.target.value)} /></label>
      <button class="primary">Open</button>
      <p class="quiet">It is kept for this browser tab only. The service printed it when it first started; an admin makes more with <code>twin keys</code>.</p>
      <${Trouble} error=${error} />
    </form>
  </main>`;
}

function Zone() {
  const zones = [...new Set([here, "UTC", ...Intl.supportedValuesOf("timeZone")])];
  return html`<select aria-label="Time zone" value=${zone.value} onChange=${(e) => chooseZone(e.target.value)}>
    ${zones.map((name) => html`<option value=${name}>${name === here ? `${name} (here)` : name}</option>`)}
  </select>`;
}

function Header() {
  const ready = health.value;
  return html`<header>
    <a class="brand" href="#/"><img src=${new URL("./icon.svg", import.meta.url).pathname} alt="" /> Plant Twin</a>
    <select aria-label="Plant" value=${slug.value ?? ""} onChange=${(e) => (location.hash = `#/${e.target.value}/${route.value.view}`)}>
      ${(plants.value ?? []).map((p) => html`<option value=${p.plant}>${p.name}</option>`)}
    </select>
    <nav aria-label="Views">
      ${Object.entries(VIEWS).map(
        ([view, [title]]) =>
          html`<a href=${href(view)} aria-current=${route.value.view === view ? "page" : undefined}>${title}</a>`,
      )}
    </nav>
    <span class="state" role="status">
      ${ready && (ready.ready ? html`<${Mark} kind="">ready<//>` : html`<span title=${ready.reasons.join("; ")}><${Mark} kind="attention">not ready<//></span>`)}
    </span>
    <${Zone} />
    <button onClick=${toggleTheme} title="Light or dark">${theme.value === "dark" ? "Light" : "Dark"}</button>
    <button onClick=${() => remember(null)} title="Forget the key">Leave</button>
  </header>`;
}

function Body() {
  if (problem.value) return html`<${Trouble} error=${problem.value} />`;
  if (plants.value === null) return html`<p class="quiet">Reading the plants …</p>`;
  const [title, View] = VIEWS[route.value.view] ?? VIEWS.overview;
  if (!plants.value.length) return html`<${Data} />`;
  if (!plant.value) return html`<${Trouble} error=${new Problem(404, `There is no plant '${slug.value}'.`)} />`;
  return html`<h1 class="unseen">${plant.value.name}: ${title}</h1><${View} key=${slug.value} />`;
}

function App() {
  if (!key.value) return html`<${Door} />`;
  return html`<${Header} /><main><${Body} /></main>`;
}

render(html`<${App} />`, document.getElementById("app"));

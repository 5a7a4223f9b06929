// The shell: the door, the header, and the view that the address names.
import { Problem, get, key, refused, remember } from "./api.js";
import { Mark, Trouble } from "./components.js";
import { chooseZone, here, zone } from "./format.js";
import { html, render, useEffect, useState } from "./lib.js";
import { health, href, plant, plants, problem, readPlants, route, slug } from "./state.js";
import { theme, toggleTheme } from "./theme.js";
import { Data } from "./views/data.js";
import { Fleets } from "./views/fleets.js";
import { Optimize } from "./views/optimize.js";
import { Overview } from "./views/overview.js";
import { Trends } from "./views/trends.js";
import { Twin } from "./views/twin.js";
import { WhatIf } from "./views/whatif.js";

const AGAIN_MS = 5000;

const VIEWS = {
  overview: ["Overview", Overview],
  trends: ["Trends", Trends],
  whatif: ["What-if", WhatIf, true], // needs a champion
  optimize: ["Optimize", Optimize, true],
  twin: ["Twin", Twin],
  data: ["Data", Data],
  fleets: ["Fleets", Fleets],
};

function Door() {
  const [text, setText] = useState("");
  const [error, setError] = useState(refused.value);
  const enter = async (event) => {
    event.preventDefault();
    try {
      await get("/v1/plants", { limit: 1 }, { headers: { Authorization: `Bearer ${text.trim()}` } });
      refused.value = null;
      remember(text.trim());
    } catch (problem) {
      setError(problem.status === 401 ? new Problem(401, "The service does not know this key.") : problem);
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
    ${zones.map((name) => html`<option value=${name}>${name}</option>`)}
  </select>`;
}

/** Whether the service can answer, in a word or two; the reasons stand in the title. */
function readiness({ ready, silent, reasons }) {
  if (ready) return "ready";
  if (silent) return "no answer";
  return reasons.every((reason) => reason.includes("compiled")) ? "compiling" : "not ready";
}

function Header() {
  const ready = health.value;
  return html`<header>
    <button class="skip" onClick=${() => document.querySelector("main").focus()}>To the content</button>
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
      ${ready && html`<span title=${ready.reasons.join("; ")}><${Mark} kind=${ready.ready ? "" : "attention"}>${readiness(ready)}<//></span>`}
    </span>
    <${Zone} />
    <button onClick=${toggleTheme} title="Light or dark">${theme.value === "dark" ? "Light" : "Dark"}</button>
    <button onClick=${() => remember(null)} title="Forget the key">Leave</button>
  </header>`;
}

function Body() {
  if (problem.value) return html`<${Trouble} error=${problem.value} />`;
  if (plants.value === null) return html`<p class="quiet">Reading the plants …</p>`;
  const [title, View, asks] = VIEWS[route.value.view] ?? VIEWS.overview;
  if (!plants.value.length) return html`<${Data} />`;
  if (!plant.value) return html`<${Trouble} error=${new Problem(404, `There is no plant '${slug.value}'.`)} />`;
  const Shown = asks && !plant.value.aliases.champion ? NoTwin : View;
  return html`<h1 class="unseen">${plant.value.name}: ${title}</h1><${Shown} key=${slug.value} />`;
}

/** Where a view needs a twin and there is none: the way to one. It looks again by itself. */
function NoTwin() {
  useEffect(() => {
    readPlants();
    const timer = setInterval(readPlants, AGAIN_MS);
    return () => clearInterval(timer);
  }, []);
  return html`<section class="panel"><h2>No twin answers for this plant yet</h2>
    <p>A twin is learned from telemetry in which the MVs have moved: <a href=${href("data")}>upload some</a>, then${" "}
      <a href=${href("twin")}>train a twin</a>. That takes a minute or two, and nothing needs to be set.</p></section>`;
}

function App() {
  if (!key.value) return html`<${Door} />`;
  return html`<${Header} /><main tabindex="-1"><${Body} /></main>`;
}

render(html`<${App} />`, document.getElementById("app"));

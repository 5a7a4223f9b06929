// Optimize: what is wanted and what must hold, the plan against its limits, and the certificate.
import { Chooser, Mark, Name, Trouble, Trust, useChosen } from "../components.js";
import { number, percent, time, unitOf } from "../format.js";
import { html, useEffect, useMemo } from "../lib.js";
import { href, of, plant } from "../state.js";
import { STATUS, localised } from "../words.js";
import { Form } from "./optimize_form.js";
import { PlanInput, PlanTrend } from "./optimize_charts.js";
import { Planning } from "./optimize_state.js";
import { WhyNotBetter, marginOf, spanOf, tagOf } from "./optimize_why.js";
import { asRamps } from "./ramps.js";

export function Optimize() {
  const planning = useMemo(() => new Planning(), []);
  useEffect(() => void planning.open(), []);
  const [cvs, choose] = useChosen("cv");
  const plan = planning.plan.value;
  return html`<${Form} planning=${planning} />
    <${Trouble} error=${planning.error.value} />
    ${plan && html`<div class="split answer">
      <div>
        <section class="panel"><${Chooser} role="cv" chosen=${cvs} choose=${choose} />
          <div class="charts">
            ${of("cv").filter((tag) => cvs.includes(tag.name)).map((tag) => html`<${PlanTrend} key=${tag.name} planning=${planning} tag=${tag} />`)}
            ${[...of("mv"), ...of("dv")].map((tag) => html`<${PlanInput} key=${tag.name} planning=${planning} tag=${tag} />`)}
          </div>
        </section>
        <${Certificate} entries=${plan.certificate} />
      </div>
      <aside>
        <${Outcome} planning=${planning} plan=${plan} />
        <${TwoScales} told=${plan.hierarchy} />
        <${WhyNotBetter} planning=${planning} plan=${plan} />
        <${Cost} cost=${plan.cost} before=${planning.before.value?.cost} />
      </aside>
    </div>`}`;
}

function Outcome({ planning, plan }) {
  const [kind, words] = STATUS[plan.status];
  const before = planning.before.value;
  const present = planning.present;
  const moves = Object.entries(plan.moves)
    .filter(([, values]) => values[0] !== null)
    .map(([tag, values]) => [tag, asRamps(values, present(tag), plant.value.sample_period_s)]);
  const scenario = { name: "Plan", moves: Object.fromEntries(moves), disturbances: {} };
  const horizon_s = plan.times.length * plant.value.sample_period_s;
  const q = JSON.stringify({ scenarios: [scenario], at: Date.parse(plan.at) / 1000, horizon_s });
  return html`<section class="panel" aria-live="polite">
    <p class="headline"><${Mark} kind=${kind}>${words}<//></p>
    ${plan.hard_violated && html`<p><${Mark} kind="alarm">A hard limit is broken.<//></p>`}
    <p>${sentence(localised(plan.status_detail))}</p>
    ${!wanted(plan.question) && html`<p class="quiet small">Nothing is wanted yet: no setpoint, zone or price is given, so this plan keeps the limits with as few moves as it can.</p>`}
    ${plan.next && html`<h3>${plan.status === "abstained" ? "Hold" : "Do next"}</h3>
      <table><thead><tr><th>MV</th><th class="n">To</th><th>Unit</th><th class="n">Now</th>${before && html`<th class="n">Before</th>`}</tr></thead>
        <tbody>${Object.entries(plan.next).map(([name, value]) => html`<tr><td><${Name} of=${name} /></td><td class="n"><b>${number(value)}</b></td>
          <td class="quiet">${unitOf(tagOf(name))}</td><td class="n quiet">${number(present(name))}</td>
          ${before && html`<td class="n quiet">${number(before.next?.[name])}</td>`}</tr>`)}</tbody></table>`}
    <h3>Can this be trusted?</h3>
    <${Trust} trust=${plan.trust} />
    <p class="quiet small">From ${time(plan.at)}, twin <code>${plan.twin}</code>, ${number(plan.solve_ms, 3)} ms, ${plan.iterations} iteration${plan.iterations === 1 ? "" : "s"}.
      Every answer is logged. ${moves.length > 0 && html`<a href=${href("whatif", { q })}>Try it in what-if</a>`}</p>
  </section>`;
}

/** Whether a question asks for more than its limits. */
const wanted = ({ objective }) => ["setpoints", "zones", "steady_state", "prices"].some((part) => part in objective);

/** Text of the service as a sentence; the name of a tag keeps its spelling. */
function sentence(text) {
  const named = plant.value.tags.some((tag) => text.startsWith(tag.name));
  return `${named ? text : text.charAt(0).toUpperCase() + text.slice(1)}.`;
}

const WAYS = { hierarchical: "At two time scales", flat: "Flat" };

/** Which of two plans this is: the one that follows a slow plan, or the one without. */
function TwoScales({ told }) {
  if (!told) return null;
  return html`<section class="panel">
    <h3>Two time scales</h3>
    <p>${WAYS[told.used]}: ${told.why}.</p>
    <table><thead><tr><th>Plan</th><th class="n">Cost of the whole horizon</th><th>Status</th></tr></thead>
      <tbody>${[["hierarchical", told.guided], ["flat", told.flat]].map(([name, made]) => html`<tr><td>${WAYS[name]}</td>
        <td class="n">${number(told.cost[name], 3)}</td><td>${made?.status ?? "–"}</td></tr>`)}
        <tr><td>Slow model</td><td class="n">${number(told.slow.cost?.total, 3)}</td><td>${told.slow.status}</td></tr></tbody></table>
  </section>`;
}

/** Broken limits first, then the nearest. */
const byMargin = (a, b) => a.margin / spanOf(a) - b.margin / spanOf(b);

function Certificate({ entries }) {
  if (!entries.length) return null;
  const kept = (e) =>
    e.kept
      ? html`<${Mark} kind="ok">kept<//>`
      : html`<${Mark} kind="attention">relaxed by ${number(e.relaxed_by, 3)}<//> <span class="quiet small">${time(e.span.start, false)} – ${time(e.span.end, false)}</span>`;
  return html`<section class="panel">
    <h3>Certificate: the worst of each limit over the horizon</h3>
    <div class="scroll"><table>
      <thead><tr><th>Tag</th><th>Side</th><th class="n">Limit</th><th class="n">Worst</th><th class="n">Margin</th><th>Unit</th><th>Verdict</th><th class="n">Rank</th><th class="n">Coverage</th></tr></thead>
      <tbody>${[...entries].sort(byMargin).map((e) => html`<tr><td><${Name} of=${e.tag} /></td><td>${e.side}</td><td class="n">${e.ramp && html`<span class="quiet">${number(e.ramp.first)} → </span>`}${number(e.limit)}</td><td class="n">${number(e.worst)}</td>
        <td class="n">${number(marginOf(e), 3)}</td><td class="quiet">${e.side === "rate" ? `${tagOf(e.tag).unit}/s` : unitOf(tagOf(e.tag))}</td><td>${kept(e)}</td>
        <td class="n">${e.rank ?? (e.hard ? "hard" : "–")}</td><td class="n">${e.coverage === 1 ? "exact" : percent(e.coverage)}</td></tr>`)}</tbody>
    </table></div>
  </section>`;
}

function termOf(name) {
  const [kind, ...tag] = name.split("."); // the name of a tag may have points of its own
  return [kind.replace("_", " "), ...(tag.length ? [tag.join(".")] : [])].join(": ");
}

function Cost({ cost, before }) {
  const terms = Object.entries(cost?.by_term ?? {});
  if (!terms.length) return null;
  return html`<section class="panel">
    <h3>Cost</h3>
    <table><thead><tr><th>Term</th><th class="n">This plan</th>${before && html`<th class="n">The one before</th>`}</tr></thead>
      <tbody>${[["total", cost.total], ...terms].map(([term, value]) => html`<tr><td>${termOf(term)}</td>
        <td class="n">${number(value, 3)}</td>${before && html`<td class="n">${number(term === "total" ? before.total : before.by_term[term], 3)}</td>`}</tr>`)}</tbody></table>
  </section>`;
}

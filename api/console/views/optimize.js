// Optimize: what is wanted and what must hold, the plan against its limits, and the certificate.
import { Mark, Trouble, Trust } from "../components.js";
import { number, percent, time } from "../format.js";
import { html, useEffect, useMemo } from "../lib.js";
import { href, of, plant } from "../state.js";
import { STATUS, localised } from "../words.js";
import { Form } from "./optimize_form.js";
import { PlanInput, PlanTrend } from "./optimize_charts.js";
import { Planning } from "./optimize_state.js";
import { asRamps } from "./ramps.js";

const ACTIVE = 0.01; // of a tag's span: a limit with less left is active

export function Optimize() {
  const planning = useMemo(() => new Planning(), []);
  useEffect(() => void planning.open(), []);
  const plan = planning.plan.value;
  return html`<${Form} planning=${planning} />
    <${Trouble} error=${planning.error.value} />
    ${plan && html`<div class="split">
      <div>
        <section class="panel charts">
          ${of("cv").map((tag) => html`<${PlanTrend} key=${tag.name} planning=${planning} tag=${tag} />`)}
          ${of("mv").map((tag) => html`<${PlanInput} key=${tag.name} planning=${planning} tag=${tag} />`)}
        </section>
        <${Certificate} entries=${plan.certificate} />
      </div>
      <aside>
        <${Outcome} plan=${plan} history=${planning.history.value} />
        <${WhyNotBetter} plan=${plan} />
        <${Cost} cost=${plan.cost} before=${planning.before.value?.cost} />
      </aside>
    </div>`}`;
}

const tagOf = (name) => plant.value.tags.find((tag) => tag.name === name);

function Outcome({ plan, history }) {
  const [kind, words] = STATUS[plan.status];
  const present = (name) => history?.values[name]?.findLast((v) => v !== null);
  const moves = Object.entries(plan.moves)
    .filter(([, values]) => values[0] !== null)
    .map(([tag, values]) => [tag, asRamps(values, present(tag), plant.value.sample_period_s)]);
  const scenario = { name: "Plan", moves: Object.fromEntries(moves), disturbances: {} };
  const horizon_s = plan.times.length * plant.value.sample_period_s;
  const q = JSON.stringify({ scenarios: [scenario], at: Date.parse(plan.at) / 1000, horizon_s });
  return html`<section class="panel" aria-live="polite">
    <p class="headline"><${Mark} kind=${kind}>${words}<//></p>
    ${plan.hard_violated && html`<p><${Mark} kind="alarm">A hard limit is broken.<//></p>`}
    <p>${localised(plan.status_detail)}.</p>
    ${plan.next && html`<h3>${plan.status === "abstained" ? "Hold" : "Do next"}</h3>
      <table><tbody>${Object.entries(plan.next).map(([name, value]) => html`<tr><td>${name}</td>
        <td class="n"><b>${number(value)}</b> ${tagOf(name).unit}</td><td class="quiet">now ${number(present(name))}</td></tr>`)}</tbody></table>`}
    <h3>Can this be trusted?</h3>
    <${Trust} trust=${plan.trust} />
    <p class="quiet small">From ${time(plan.at)}, twin <code>${plan.twin}</code>, ${number(plan.solve_ms, 3)} ms, ${plan.iterations} iterations.
      Every answer is logged. ${moves.length > 0 && html`<a href=${href("whatif", { q })}>Try it in what-if</a>`}</p>
  </section>`;
}

function WhyNotBetter({ plan }) {
  const active = plan.certificate.filter((entry) => entry.kept && entry.margin <= ACTIVE * span(entry));
  if (!active.length && plan.status !== "relaxed") return null;
  const word = { low: "low limit", high: "high limit", rate: "rate limit" };
  return html`<section class="panel">
    <h3>Why not better?</h3>
    <ul>
      ${plan.certificate.filter((e) => !e.kept).map((e) => html`<li><${Mark} kind="attention">${e.tag}: no plan keeps its ${word[e.side]} ${number(e.limit)}<//></li>`)}
      ${active.map((e) => html`<li>${e.tag}: its ${word[e.side]} ${number(e.limit)} is reached${e.side !== "rate" && e.coverage < 1 ? `, at a coverage of ${percent(e.coverage)}` : ""}.</li>`)}
    </ul>
  </section>`;
}

function span({ tag, side, limit }) {
  if (side === "rate") return Math.abs(limit);
  const { low, high } = tagOf(tag);
  return low == null || high == null ? Math.max(Math.abs(limit), 1e-9) : high - low;
}

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
      <tbody>${entries.map((e) => html`<tr><td>${e.tag}</td><td>${e.side}</td><td class="n">${number(e.limit)}</td><td class="n">${number(e.worst)}</td>
        <td class="n">${number(e.margin, 3)}</td><td class="quiet">${tagOf(e.tag).unit}${e.side === "rate" ? "/s" : ""}</td><td>${kept(e)}</td>
        <td class="n">${e.rank ?? (e.hard ? "hard" : "–")}</td><td class="n">${e.coverage === 1 ? "exact" : percent(e.coverage)}</td></tr>`)}</tbody>
    </table></div>
  </section>`;
}

function termOf(name) {
  const [kind, ...tag] = name.split(".");
  return [kind.replace("_", " "), ...tag].join(": ");
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

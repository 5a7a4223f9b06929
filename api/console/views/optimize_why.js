// Why a plan is not better: the limits that it reaches, and on request what each of them is worth.
import { Mark, Trouble } from "../components.js";
import { number, percent } from "../format.js";
import { html, useState } from "../lib.js";
import { plant } from "../state.js";

const ACTIVE = 0.005; // of a tag's span: a limit with less left is active
const NOTHING = 1e-6; // of a tag's span: a margin that is rounding
const REACHED = 0.01; // of a tag's span: a setpoint is reached within this
const NUDGE = 0.02; // of a tag's span: how much is taken away to learn what a limit is worth
const WORD = { low: "low limit", high: "high limit", rate: "rate limit", move: "largest move" };
const FIELD = { low: "low", high: "high", rate: "rate_per_s", move: "max_move" };
const SPEEDS = ["rate", "move"]; // limits of how fast, not of where

export const tagOf = (name) => plant.value.tags.find((tag) => tag.name === name);

/** The size that a margin is compared with. */
export function spanOf({ tag, side, limit }) {
  if (SPEEDS.includes(side)) return Math.max(Math.abs(limit), 1e-12);
  const { low, high, limit_low, limit_high } = tagOf(tag);
  if (limit_low != null && limit_high != null) return limit_high - limit_low;
  return low == null || high == null ? Math.max(Math.abs(limit), 1e-9) : high - low;
}

/** What is left to a limit; rounding is nothing. */
export const marginOf = (entry) => (Math.abs(entry.margin) < NOTHING * spanOf(entry) ? 0 : entry.margin);

/** Setpoints that are not reached by the end of the horizon: [{tag, unit, wanted, end}]. */
function missed({ question, cvs, moves }) {
  return Object.entries(question.objective.setpoints ?? {}).flatMap(([tag, { value: wanted }]) => {
    const end = (cvs[tag]?.mean ?? moves[tag])?.at(-1);
    const far = end != null && Math.abs(end - wanted) > REACHED * spanOf({ tag, limit: wanted });
    return far ? [{ tag, unit: tagOf(tag).unit, wanted, end }] : [];
  });
}

/** MVs that the plan keeps where the twin has seen them, in the words of the service. */
const ofTraining = (plan) => plan.status_detail.split("; ").filter((words) => words.includes("its trained range"));

export function WhyNotBetter({ planning, plan }) {
  const active = plan.certificate.filter((entry) => entry.kept && entry.margin <= ACTIVE * spanOf(entry));
  if (plan.status === "abstained") return null;
  const broken = plan.certificate.filter((e) => !e.kept);
  const short = missed(plan);
  const trained = ofTraining(plan);
  const beyond = () => {
    planning.beyond.value = true;
    planning.ask();
  };
  const free = !active.length && !broken.length && !trained.length;
  return html`<section class="panel">
    <h3>Why not better?</h3>
    ${short.map((s) => html`<p>${s.tag} comes to ${number(s.end)} ${s.unit} by the end, not to ${number(s.wanted)}.</p>`)}
    ${free && html`<p>No limit is in the way: ${short.length ? "it takes longer than the horizon, costs more than it brings, or is beyond what the MVs can do." : "what is left of the cost is the wish itself, and the moves it takes."}</p>`}
    <ul>
      ${broken.map((e) => html`<li><${Mark} kind="attention">${e.tag}: no plan keeps its ${WORD[e.side]} ${number(e.limit)}<//>
        ${(plan.remedies ?? []).filter((r) => r.tag === e.tag && r.side === e.side).map((r) => html`<br /><span class="quiet">${r.detail.slice(e.tag.length + 2)}</span>`)}</li>`)}
      ${active.map((e) => html`<li key=${`${e.tag} ${e.side} ${plan.at}`}>${e.tag}: its ${WORD[e.side]} ${number(e.limit)} is reached${e.coverage < 1 ? `, at a coverage of ${percent(e.coverage)}` : ""}.
        <${Worth} planning=${planning} plan=${plan} entry=${e} /></li>`)}
      ${trained.map((words) => html`<li>${words}.</li>`)}
    </ul>
    ${trained.length > 0 && html`<p><button onClick=${beyond} title="There the twin extrapolates: try it with care">Plan beyond what the twin has seen</button></p>`}
  </section>`;
}

/** The question of a plan with one limit tightened by `by`. */
function tightened(question, { tag, side, limit }, by) {
  const value = side === "low" ? limit + by : limit - by;
  return { ...question, limits: { ...question.limits, [tag]: { ...question.limits?.[tag], [FIELD[side]]: value } } };
}

/**
 * What a limit costs: the same question is asked with a little less room. The cost of a plan is about convex in its
 * limits, so that more room gains no more than this.
 */
function Worth({ planning, plan, entry }) {
  const [found, setFound] = useState(null);
  const [error, setError] = useState(null);
  const unit = `${tagOf(entry.tag).unit}${entry.side === "rate" ? "/s" : ""}`;
  const find = async () => {
    const by = NUDGE * spanOf(entry);
    try {
      const other = await planning.once(tightened(plan.question, entry, by));
      setFound(other.cost && plan.cost ? { slope: (other.cost.total - plan.cost.total) / by, status: other.status } : { slope: null });
      setError(null);
    } catch (problem) {
      setError(problem);
    }
  };
  if (error) return html`<${Trouble} error=${error} />`;
  if (!found) return html`<button class="plain" onClick=${find} title="Asks again with a little less room; the answer is logged like any other">What is it worth?</button>`;
  if (found.slope === null || found.status === "relaxed") return html`<span>With less room no plan keeps every limit.</span>`;
  if (found.slope <= 0) return html`<span>Nothing: with a little less room the plan is as good.</span>`;
  return html`<span>Each ${unit} more room would lower the cost by up to <b>${number(found.slope, 2)}</b>.</span>`;
}

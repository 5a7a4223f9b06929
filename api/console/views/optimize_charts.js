// The plan on trends: CVs with their bands against limits and setpoints, MVs as they would be moved.
import { Chart } from "../charts.js";
import { number } from "../format.js";
import { html } from "../lib.js";
import { setpointLines } from "./setpoints.js";

const HEIGHT = 128;
const nulls = (n) => new Array(n).fill(null);

/** The values of an earlier plan at the times of this one. */
function aligned(before, values, x) {
  if (!before || !values) return nulls(x.length);
  const at = new Map(before.x.map((t, k) => [t, values[k]]));
  return x.map((t) => at.get(t) ?? null);
}

/** The limits in force, as the certificate has them, and what is wanted. */
function linesOf({ certificate, question }, tag) {
  const limits = certificate
    .filter((e) => e.tag === tag.name && (e.side === "low" || e.side === "high"))
    .map((e) => ({ value: e.limit, label: `${e.side} ${number(e.limit)}`, kind: "limit" }));
  return [...limits, ...(setpointLines(question)[tag.name] ?? [])];
}

/** The rows of the slow plan behind those of the plan, and its values there by `of`. */
function slowRows(plan) {
  const slow = plan.hierarchy?.slow;
  const end = plan.x.at(-1);
  const all = (slow?.times ?? []).map((t) => Date.parse(t) / 1000);
  const first = all.findIndex((t) => t > end);
  if (first < 0) return { x: [], of: () => [] };
  return { x: all.slice(first), of: (values) => (values ? values.slice(first) : nulls(all.length - first)) };
}

/** What the slow model says behind the plan, where it has something to say. */
function slowLine(before, slow, values) {
  return slow.x.length ? [{ label: "slow plan", colour: "base", width: 1.6, values: [...before, ...slow.of(values)] }] : [];
}

function frame(planning, tag) {
  const { history, plan, before } = planning;
  const slow = slowRows(plan.value);
  const x = [...history.value.x, ...plan.value.x, ...slow.x];
  const past = nulls(history.value.x.length);
  const measured = { label: "measured", colour: "measured", values: [...history.value.values[tag.name], ...nulls(plan.value.x.length + slow.x.length)] };
  const now = Date.parse(plan.value.at) / 1000;
  const marks = [{ x: now, label: "now" }];
  return { x, past, slow, later: nulls(slow.x.length), measured, earlier: before.value, plan: plan.value, marks, now, lines: linesOf(plan.value, tag) };
}

export function PlanTrend({ planning, tag }) {
  const { x, past, slow, later, measured, earlier, plan, marks, now, lines } = frame(planning, tag);
  const band = plan.cvs[tag.name] ?? { mean: nulls(plan.x.length), low: nulls(plan.x.length), high: nulls(plan.x.length) };
  const series = [
    measured,
    { label: "plan", colour: "s1", width: 2.2, values: [...past, ...band.mean, ...later] },
    { label: "before", colour: "base", dash: [6, 4], values: [...past, ...aligned(earlier, earlier?.cvs?.[tag.name]?.mean, plan.x), ...later] },
    ...slowLine([...past, ...nulls(plan.x.length)], slow, plan.hierarchy?.slow.cvs[tag.name]?.mean),
  ];
  const bands = [{ colour: "s1", low: [...past, ...band.low, ...later], high: [...past, ...band.high, ...later] }];
  return html`<${Chart} title=${tag.name} unit=${tag.unit} height=${HEIGHT} sync="plan" x=${x} series=${series} bands=${bands}
    lines=${lines} marks=${marks} untilNow=${now} />`;
}

/** An MV as it is planned, or a DV as the plan supposes it: announced, or what the twin expects of it. */
export function PlanInput({ planning, tag }) {
  const { x, past, slow, later, measured, earlier, plan, marks, now, lines } = frame(planning, tag);
  const label = tag.role === "mv" ? "plan" : plan.unannounced.includes(tag.name) ? "expected" : "announced";
  const of = (answer) => answer?.moves?.[tag.name] ?? answer?.disturbances?.[tag.name];
  const series = [
    measured,
    { label, colour: "s1", width: 2.2, values: [...past, ...(of(plan) ?? nulls(plan.x.length)), ...later] },
    { label: "before", colour: "base", dash: [6, 4], values: [...past, ...aligned(earlier, of(earlier), plan.x), ...later] },
    ...slowLine([...past, ...nulls(plan.x.length)], slow, plan.hierarchy?.slow.moves[tag.name]),
  ];
  return html`<${Chart} title=${tag.name} unit=${tag.unit} height=${HEIGHT} stepped=${true} sync="plan" x=${x} series=${series}
    lines=${lines} marks=${marks} untilNow=${now} />`;
}

// The trends of what-if: a CV with its forecasts and band, and an input with the moves that can be drawn on it.
import { Chart } from "../charts.js";
import { number } from "../format.js";
import { html } from "../lib.js";
import { plant } from "../state.js";

const HEIGHT = 128;

export const colourOf = (i) => `s${i + 1}`;

/** The limits of a tag as lines. */
export function limitLines(tag) {
  const line = (value, what) => (value == null ? [] : [{ value, label: `${what} ${number(value)}`, kind: "limit" }]);
  if (tag.role === "mv") return [...line(tag.low, "low"), ...line(tag.high, "high")];
  return [...line(tag.limit_low, "low"), ...line(tag.limit_high, "high")];
}

const nulls = (n) => new Array(n).fill(null);

/** One series a scenario of the question, without values where the answer has none: a chart keeps its shape. */
function scenarioSeries({ scenarios, active, asked, answer }, before, values) {
  return scenarios.value.map((scenario, i) => {
    const found = asked.value[i] && answer.value?.scenarios.find((s) => s.name === asked.value[i].name);
    const width = i === active.value ? 2.2 : 1.2;
    const all = found ? [...before, ...values(found, i)] : nulls(before.length + (answer.value?.x.length ?? 0));
    return { label: scenario.name, colour: colourOf(i), width, values: all };
  });
}

/** What was measured, and as many empty rows as the forecast has. */
const measured = (history, tag, rows) => ({
  label: "measured",
  colour: "measured",
  values: [...history.values[tag], ...nulls(rows)],
});

export function CvTrend({ inquiry, tag }) {
  const { history, answer, asked, active, at } = inquiry;
  const past = history.value;
  const future = answer.value?.x ?? [];
  const before = nulls(past.x.length);
  const base = answer.value?.baseline[tag.name] ?? { mean: [], low: [], high: [] };
  const front = answer.value?.scenarios.find((s) => s.name === asked.value[active.value]?.name);
  const band = front?.cvs[tag.name] ?? base;
  const series = [
    measured(past, tag.name, future.length),
    { label: "no move", colour: "base", dash: [6, 4], values: [...before, ...base.mean] },
    ...scenarioSeries(inquiry, before, (s) => s.cvs[tag.name].mean),
  ];
  const shade = front ? colourOf(active.value) : "base";
  const bands = [{ colour: shade, low: [...before, ...band.low], high: [...before, ...band.high] }];
  return html`<${Chart} title=${tag.name} unit=${tag.unit} height=${HEIGHT} sync="whatif" x=${[...past.x, ...future]}
    series=${series} bands=${bands} lines=${limitLines(tag)} untilNow=${at.value} marks=${[{ x: at.value, label: "now" }]} />`;
}

export function InputTrend({ inquiry, tag }) {
  const past = inquiry.history.value;
  const future = inquiry.answer.value?.x ?? [];
  const before = nulls(past.x.length);
  const now = inquiry.at.value;
  const kind = tag.role === "mv" ? "moves" : "disturbances";
  const steps = inquiry.steps(tag.name);
  const series = [
    measured(past, tag.name, future.length),
    ...scenarioSeries(inquiry, before, (s, i) => s.moves[tag.name] ?? held(inquiry, tag.name, i, future)),
  ];
  const moves = {
    start: now,
    period_s: plant.value.sample_period_s,
    colour: colourOf(inquiry.active.value),
    steps: steps.map((step) => ({ x: now + step.after_s + ramp(step), value: step.value })), // where a ramp ends
    add: (step) => inquiry.addStep(tag.name, kind, step),
    change: (i, { after_s, value }) =>
      inquiry.edit(tag.name, i, { after_s: Math.max(0, after_s - ramp(steps[i])), value }),
    remove: (i) => inquiry.removeStep(tag.name, i),
  };
  return html`<${Chart} title=${tag.name} unit=${tag.unit} height=${HEIGHT - 20} sync="whatif" stepped=${true} x=${[...past.x, ...future]}
    series=${series} lines=${limitLines(tag)} within=${reach(tag)} moves=${moves} untilNow=${now} marks=${[{ x: now, label: "now" }]} />`;
}

const ramp = ({ ramp_s }) => ramp_s ?? 0;

/** What a scenario gives for a DV over the horizon; the answer holds MVs alone. */
function held(inquiry, tag, i, future) {
  const steps = [...(inquiry.asked.value[i]?.disturbances[tag] ?? [])].sort((a, b) => a.after_s - b.after_s);
  const period = plant.value.sample_period_s;
  return future.map((_, k) => steps.findLast((s) => s.after_s <= k * period)?.value ?? inquiry.present(tag));
}

/** An input's whole range, so that there is room to draw. */
function reach({ low, high }) {
  if (low == null || high == null) return undefined;
  const room = 0.06 * (high - low);
  return [low - room, high + room];
}

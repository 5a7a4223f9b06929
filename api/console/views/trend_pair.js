// The trends of what-if: a CV with its forecasts and band, and an input with the moves that can be drawn on it.
import { Chart } from "../charts.js";
import { duration, number } from "../format.js";
import { html } from "../lib.js";
import { plant } from "../state.js";
import { dragged, handlesOf } from "./ramps.js";

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

/** What was measured before now, and after it where the question is about the past. */
function measured({ history, later }, tag, x) {
  const came = later.value && x.map((t) => later.value.get(t)?.[tag] ?? null);
  const rows = [{ label: "measured", colour: "measured", values: [...history.value.values[tag], ...nulls(x.length)] }];
  const known = came?.some((v) => v !== null);
  return [...rows, { label: "what came", colour: "measured", dash: [2, 3], values: [...nulls(history.value.x.length), ...(known ? came : nulls(x.length))] }];
}

/** The dead times from the moves of the scenario in hand to a CV, one an MV: from its first move. */
function delaysOf({ deadTimes, scenarios, active, at }, cv) {
  const moves = Object.entries(scenarios.value[active.value].moves);
  return moves.flatMap(([mv, steps]) => {
    const delay = deadTimes.value?.[mv]?.[cv]?.mean;
    if (!delay || !steps.length) return [];
    const from = at.value + Math.min(...steps.map((step) => step.after_s));
    const words = `dead time ${duration(delay)}`;
    return [{ from, to: from + delay, label: `${mv}: ${words}`, drawn: moves.length > 1 ? `${mv}: ${words}` : words }];
  });
}

/** A band as its change from what happens without a move. */
const less = (band, base) =>
  Object.fromEntries(["mean", "low", "high"].map((part) => [part, band[part].map((v, k) => v - base.mean[k])]));

export function CvTrend({ inquiry, tag }) {
  const { history, answer, asked, active, at, asChange } = inquiry;
  const past = history.value;
  const future = answer.value?.x ?? [];
  const before = nulls(past.x.length);
  const none = answer.value?.baseline[tag.name] ?? { mean: [], low: [], high: [] };
  const shown = (band) => (asChange.value ? less(band, none) : band);
  const base = shown(none);
  const front = answer.value?.scenarios.find((s) => s.name === asked.value[active.value]?.name);
  const band = front ? shown(front.cvs[tag.name]) : base;
  const series = [
    ...(asChange.value ? [] : measured(inquiry, tag.name, future)),
    { label: "no move", colour: "base", dash: [6, 4], values: [...before, ...base.mean] },
    ...scenarioSeries(inquiry, before, (s) => shown(s.cvs[tag.name]).mean),
  ];
  const shade = front ? colourOf(active.value) : "base";
  const bands = [{ colour: shade, low: [...before, ...band.low], high: [...before, ...band.high] }];
  const title = asChange.value ? `change of ${tag.name}` : tag.name;
  return html`<${Chart} title=${title} unit=${tag.unit} height=${HEIGHT} sync="whatif" x=${[...past.x, ...future]}
    series=${series} bands=${bands} lines=${asChange.value ? [] : limitLines(tag)} untilNow=${at.value} marks=${[{ x: at.value, label: "now" }]}
    delays=${delaysOf(inquiry, tag.name)} />`;
}

export function InputTrend({ inquiry, tag }) {
  const past = inquiry.history.value;
  const future = inquiry.answer.value?.x ?? [];
  const before = nulls(past.x.length);
  const now = inquiry.at.value;
  const kind = tag.role === "mv" ? "moves" : "disturbances";
  const steps = inquiry.steps(tag.name);
  const expected = inquiry.answer.value?.disturbances[tag.name];
  const idle = expected ? [{ label: "expected", colour: "base", dash: [6, 4], values: [...before, ...expected] }] : [];
  const series = [
    ...measured(inquiry, tag.name, future),
    ...idle,
    ...scenarioSeries(inquiry, before, (s) => s.moves[tag.name] ?? s.disturbances[tag.name]),
  ];
  const moves = {
    start: now,
    period_s: plant.value.sample_period_s,
    colour: colourOf(inquiry.active.value),
    count: steps.length,
    handles: handlesOf(steps, now, inquiry.present(tag.name)),
    add: (step) => inquiry.addStep(tag.name, kind, step),
    drag: (held, point) => inquiry.edit(tag.name, held.i, dragged(held.kind, inquiry.steps(tag.name)[held.i], point)),
    remove: (i) => inquiry.removeStep(tag.name, i),
  };
  return html`<${Chart} title=${tag.name} unit=${tag.unit} height=${HEIGHT - 20} sync="whatif" stepped=${true} x=${[...past.x, ...future]}
    series=${series} lines=${limitLines(tag)} within=${reach(tag)} moves=${moves} untilNow=${now} marks=${[{ x: now, label: "now" }]} />`;
}

/** An input's whole range, so that there is room to draw. */
function reach({ low, high }) {
  if (low == null || high == null) return undefined;
  const room = 0.06 * (high - low);
  return [low - room, high + room];
}

// Moves as people give them, {after_s, value, ramp_s}, and as the service takes them: one step a sample period.

/** A ramp becomes one step a period, the last of which is its value. */
export function asSteps(moves, present, period_s) {
  let from = present;
  return [...moves]
    .sort((a, b) => a.after_s - b.after_s)
    .flatMap(({ after_s, value, ramp_s = 0 }) => {
      const count = Math.max(1, Math.round(ramp_s / period_s));
      const start = from ?? value;
      from = value;
      const part = (i) => (i + 1 === count ? value : start + ((value - start) * (i + 1)) / count);
      return Array.from({ length: count }, (_, i) => ({ after_s: after_s + i * period_s, value: part(i) }));
    });
}

const ALIKE = 1e-3; // of the largest move: steps that differ by less belong to one ramp

/** Values, one a period, as few ramps and steps. */
export function asRamps(values, present, period_s) {
  const moves = values.map((value, k) => value - (k ? values[k - 1] : (present ?? value)));
  const same = ALIKE * Math.max(...moves.map(Math.abs), 0);
  const out = [];
  for (let k = 0; k < moves.length; ) {
    let end = k + 1;
    while (end < moves.length && Math.abs(moves[end] - moves[k]) <= same) end += 1;
    if (Math.abs(moves[k]) > same) {
      const rows = end - k;
      const ramp_s = rows > 1 ? rows * period_s : 0;
      out.push({ after_s: k * period_s, value: Number(values[end - 1].toPrecision(6)), ramp_s });
    }
    k = end;
  }
  return out;
}

const ramp = ({ ramp_s }) => ramp_s ?? 0;

/** Each move as two handles: where its ramp begins, at the value before it, and where it ends. */
export function handlesOf(steps, now, present) {
  const order = steps.map((step, i) => ({ ...step, i })).sort((a, b) => a.after_s - b.after_s);
  return order.flatMap((step, k) => [
    { i: step.i, kind: "ramp", x: now + step.after_s, value: order[k - 1]?.value ?? present ?? step.value },
    { i: step.i, kind: "end", x: now + step.after_s + ramp(step), value: step.value },
  ]);
}

/** What dragging a handle to a point changes of a move: its end takes it along, its beginning makes the ramp longer. */
export function dragged(kind, step, { after_s, value }) {
  if (!step) return {};
  if (kind === "end") return { after_s: Math.max(0, after_s - ramp(step)), value };
  const end = step.after_s + ramp(step);
  const begin = Math.min(after_s, end);
  return { after_s: begin, ramp_s: end - begin };
}

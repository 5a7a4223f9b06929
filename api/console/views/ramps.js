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

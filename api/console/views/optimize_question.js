// The form of optimize and the body of its request, each from the other.

const given = (value) => value !== null && value !== undefined && value !== "";

/** The entries of an object that hold something. */
const filled = (object) => Object.fromEntries(Object.entries(object).filter(([, value]) => given(value)));

/**
 * The body of the request: only what was filled in.
 *
 * rows: one a tag, {setpoint, weight, low, high, rate_per_s, rank, hard, price, suppression, hold, disturbance}.
 */
export function asked({ rows, horizon_s, coverage, beyond }) {
  const body = {
    horizon_s,
    coverage,
    beyond_trained_range: beyond,
    objective: { setpoints: {}, prices: {}, move_suppression: {} },
    limits: {},
    disturbances: {},
    hold_mvs: [],
  };
  for (const [tag, row] of Object.entries(rows)) {
    if (given(row.setpoint)) body.objective.setpoints[tag] = filled({ value: row.setpoint, weight: row.weight });
    if (given(row.price)) body.objective.prices[tag] = row.price;
    if (given(row.suppression)) body.objective.move_suppression[tag] = row.suppression;
    if (given(row.disturbance)) body.disturbances[tag] = [{ after_s: 0, value: row.disturbance }];
    if (row.hold) body.hold_mvs.push(tag);
    const { low, high, rate_per_s, rank } = row;
    const limit = filled({ low, high, rate_per_s, rank, hard: row.hard || null });
    if (Object.keys(limit).length) body.limits[tag] = limit;
  }
  return body;
}

/** The form that asks what a request asked: a new one starts from the plant, with nothing filled in. */
export function formOf(body, tags) {
  const { setpoints = {}, prices = {}, move_suppression = {} } = body.objective ?? {};
  const rowOf = ({ name }) => {
    const { value, weight } = setpoints[name] ?? {};
    const rest = { price: prices[name], suppression: move_suppression[name], disturbance: body.disturbances?.[name]?.[0]?.value };
    return filled({ setpoint: value, weight, ...rest, ...body.limits?.[name], hold: body.hold_mvs?.includes(name) || null });
  };
  return {
    rows: Object.fromEntries(tags.map((tag) => [tag.name, rowOf(tag)])),
    horizon_s: body.horizon_s ?? null,
    coverage: body.coverage ?? 0.95,
    beyond: body.beyond_trained_range ?? false,
  };
}

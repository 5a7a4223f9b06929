// The form of optimize and the body of its request, each from the other.

const given = (value) => value !== null && value !== undefined && value !== "";

/** The entries of an object that hold something. */
const filled = (object) => Object.fromEntries(Object.entries(object).filter(([, value]) => given(value)));

/** What the rows of the form hold in some fields, by tag; `of` makes the entry, null where there is none. */
const byTag = (rows, of) => filled(Object.fromEntries(Object.entries(rows).map(([tag, row]) => [tag, of(row)])));

/** The fields that hold something; null where none of them does. */
function some(fields, needed = Object.keys(fields)) {
  const found = filled(fields);
  return needed.some((name) => name in found) ? found : null;
}

/** Without the parts in which nothing was filled in. */
const trimmed = (object) => Object.fromEntries(Object.entries(object).filter(([, part]) => Object.keys(part).length));

/**
 * The body of the request: only what was filled in.
 *
 * rows: one a tag, {setpoint, weight, low, high, rate_per_s, max_move, rank, hard, ramp_s, price, suppression, hold,
 * manual, disturbance, zone_low, zone_high, zone_weight, end, end_weight}.
 */
export function asked({ rows, horizon_s, coverage, beyond }) {
  const objective = {
    setpoints: byTag(rows, (r) => some({ value: r.setpoint, weight: r.weight }, ["value"])),
    zones: byTag(rows, (r) => some({ low: r.zone_low, high: r.zone_high, weight: r.zone_weight }, ["low", "high"])),
    steady_state: byTag(rows, (r) => some({ value: r.end, weight: r.end_weight }, ["value"])),
    prices: byTag(rows, (r) => r.price),
    move_suppression: byTag(rows, (r) => r.suppression),
  };
  const limit = (r) => some({ low: r.low, high: r.high, rate_per_s: r.rate_per_s, max_move: r.max_move, rank: r.rank, hard: r.hard || null, ramp_s: r.ramp_s });
  const parts = {
    limits: byTag(rows, limit),
    disturbances: byTag(rows, (r) => (given(r.disturbance) ? [{ after_s: 0, value: r.disturbance }] : null)),
    hold_mvs: Object.keys(rows).filter((tag) => rows[tag].hold),
    manual_mvs: byTag(rows, (r) => (r.manual ? [] : null)),
  };
  return { horizon_s, coverage, beyond_trained_range: beyond, objective: trimmed(objective), ...trimmed(parts) };
}

/** The form that asks what a request asked: a new one starts from the plant, with nothing filled in. */
export function formOf(body, tags) {
  const { setpoints = {}, zones = {}, steady_state = {}, prices = {}, move_suppression = {} } = body.objective ?? {};
  const rowOf = ({ name }) => {
    const { value, weight } = setpoints[name] ?? {};
    const zone = { zone_low: zones[name]?.low, zone_high: zones[name]?.high, zone_weight: zones[name]?.weight };
    const end = { end: steady_state[name]?.value, end_weight: steady_state[name]?.weight };
    const rest = { price: prices[name], suppression: move_suppression[name], disturbance: body.disturbances?.[name]?.[0]?.value };
    return filled({ setpoint: value, weight, ...zone, ...end, ...rest, ...body.limits?.[name],
      hold: body.hold_mvs?.includes(name) || null, manual: (body.manual_mvs && name in body.manual_mvs) || null });
  };
  return {
    rows: Object.fromEntries(tags.map((tag) => [tag.name, rowOf(tag)])),
    horizon_s: body.horizon_s ?? null,
    coverage: body.coverage ?? 0.95,
    beyond: body.beyond_trained_range ?? false,
  };
}

// The question of the optimize view and its answers: the plan, and the one before it.
import { get, post, telemetry } from "../api.js";
import { batch, signal } from "../lib.js";
import { lastRow, path, plant, slug } from "../state.js";

const given = (value) => value !== null && value !== undefined && value !== "";

/** The entries of an object that hold something. */
const filled = (object) => Object.fromEntries(Object.entries(object).filter(([, value]) => given(value)));

export class Planning {
  constructor() {
    // One row a tag: {setpoint, weight, low, high, rate_per_s, rank, hard, price, suppression, hold, disturbance}.
    this.rows = signal(Object.fromEntries(plant.value.tags.map((tag) => [tag.name, {}])));
    this.horizon = signal(null);
    this.coverage = signal(0.95);
    this.beyond = signal(false);
    this.busy = signal(false);
    this.error = signal(null);
    this.history = signal(null);
    this.plan = signal(null);
    this.before = signal(null);
  }

  async open() {
    try {
      this.horizon.value = (await get(path("/twins/champion"))).horizon_s;
    } catch (error) {
      this.error.value = error.status === 404 ? new Error(`${error.message}. Train a twin first, in the view Twin.`) : error;
    }
  }

  set(tag, field, value) {
    this.rows.value = { ...this.rows.value, [tag]: { ...this.rows.value[tag], [field]: value } };
  }

  /** The body of the request: only what was filled in. */
  question(at) {
    const body = {
      at: new Date(at * 1000).toISOString(),
      horizon_s: this.horizon.value,
      coverage: this.coverage.value,
      beyond_trained_range: this.beyond.value,
      objective: { setpoints: {}, prices: {}, move_suppression: {} },
      limits: {},
      disturbances: {},
      hold_mvs: [],
    };
    for (const [tag, row] of Object.entries(this.rows.value)) {
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

  async ask() {
    this.busy.value = true;
    try {
      const at = await lastRow();
      const period = plant.value.sample_period_s;
      const span = Math.max(this.horizon.value, 30 * period);
      const [history, plan] = await Promise.all([
        telemetry(slug.value, period, { start: at - span, end: at }),
        post(path("/optimize"), this.question(at)),
      ]);
      batch(() => {
        this.before.value = this.plan.value;
        this.history.value = history;
        this.plan.value = { ...plan, x: plan.times.map((t) => Date.parse(t) / 1000), asked: this.rows.value };
        this.error.value = null;
      });
    } catch (error) {
      this.error.value = error;
    }
    this.busy.value = false;
  }
}

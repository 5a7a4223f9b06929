// The question of the optimize view and its answers: the plan, and the one before it.
import { get, post, telemetry } from "../api.js";
import { batch, signal } from "../lib.js";
import { href, lastRow, path, plant, route, slug } from "../state.js";
import { asked, formOf } from "./optimize_question.js";

export class Planning {
  constructor() {
    const given = JSON.parse(route.value.query.get("q") ?? "{}");
    const form = formOf(given, plant.value.tags);
    this.rows = signal(form.rows);
    this.horizon = signal(form.horizon_s);
    this.coverage = signal(form.coverage);
    this.beyond = signal(form.beyond);
    this.farther = signal(null); // s that the slow model of a twin with two time scales reaches
    this.busy = signal(false);
    this.error = signal(null);
    this.history = signal(null);
    this.plan = signal(null);
    this.before = signal(null);
  }

  async open() {
    try {
      const [twin, last, log] = await Promise.all([get(path("/twins/champion")), lastRow(), get(path("/recommendations"), { limit: 1 })]);
      this.horizon.value ??= twin.horizon_s;
      this.farther.value = twin.slow?.horizon_s ?? null;
      if (last !== null) this.history.value = await this.#history(last);
      this.before.value = log.items[0] ? logged(log.items[0]) : null;
    } catch (error) {
      this.error.value = error;
    }
  }

  /** The last known value of a tag. */
  present = (tag) => this.history.value?.values[tag]?.findLast((v) => v !== null) ?? null;

  set(tag, field, value) {
    this.rows.value = { ...this.rows.value, [tag]: { ...this.rows.value[tag], [field]: value } };
  }

  #history(at) {
    const period = plant.value.sample_period_s;
    return telemetry(slug.value, period, { start: at - Math.max(this.horizon.value, 30 * period), end: at });
  }

  /** The answer to a question, for itself. */
  once = (question) => post(path("/optimize"), question);

  async ask() {
    this.busy.value = true;
    try {
      const at = await lastRow();
      const form = { rows: this.rows.value, horizon_s: this.horizon.value, coverage: this.coverage.value, beyond: this.beyond.value };
      const question = { ...asked(form), at: new Date(at * 1000).toISOString() };
      const [past, plan] = await Promise.all([this.#history(at), this.once(question)]);
      batch(() => {
        this.before.value = this.plan.value ?? this.before.value;
        this.history.value = past;
        this.plan.value = { ...plan, x: plan.times.map((t) => Date.parse(t) / 1000), question };
        this.error.value = null;
      });
      history.replaceState(null, "", href("optimize", { q: JSON.stringify(asked(form)) }));
    } catch (error) {
      this.error.value = error;
    }
    this.busy.value = false;
  }
}

/** A plan of the log, as far as it is kept there: its moves, not its CVs. */
function logged({ outcome }) {
  const rows = Math.max(0, ...Object.values(outcome.moves ?? {}).map((values) => values.length));
  const at = Date.parse(outcome.at) / 1000;
  return { ...outcome, cvs: {}, x: Array.from({ length: rows }, (_, k) => at + (k + 1) * plant.value.sample_period_s) };
}

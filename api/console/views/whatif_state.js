// The question that the what-if view asks, and its answer. It asks again on every change, one request at a time.
import { get, post, telemetry } from "../api.js";
import { SIGNIFICANT, duration, time } from "../format.js";
import { batch, effect, signal } from "../lib.js";
import { href, lastRow, path, plant, route, slug } from "../state.js";
import { asSteps } from "./ramps.js";

const HISTORY = 1; // horizons of history shown
const NEAR_ROWS = 50; // a time that is asked from has a row so near before it
const SETTLE_MS = 300; // before the address follows

/** Calls `run` with the latest argument, never twice at once: what comes meanwhile replaces what waits. */
export function latest(run) {
  let busy = false;
  let waiting = null;
  return async (argument) => {
    waiting = { argument };
    if (busy) return;
    busy = true;
    while (waiting) {
      const { argument: now } = waiting;
      waiting = null;
      await run(now);
    }
    busy = false;
  };
}

const byTime = ({ x, values }) =>
  new Map(x.map((t, k) => [t, Object.fromEntries(Object.entries(values).map(([tag, all]) => [tag, all[k]]))]));

const NAMES = ["A", "B", "C", "D", "E"];
const EMPTY = { name: "A", moves: {}, disturbances: {} };

export class Inquiry {
  constructor() {
    const given = JSON.parse(route.value.query.get("q") ?? "{}");
    this.scenarios = signal(given.scenarios ?? [EMPTY]);
    this.active = signal(0);
    this.horizon = signal(given.horizon_s ?? null);
    this.farther = signal(null); // s that the slow model of a twin with two time scales reaches
    this.coverage = signal(given.coverage ?? 0.9);
    this.at = signal(given.at ?? null); // seconds since 1970
    this.history = signal(null);
    this.later = signal(null); // time: {tag: value} of the rows behind `at`, where it is past
    this.asChange = signal(false); // show changes from no move
    this.answer = signal(null);
    this.asked = signal([]); // the scenarios that `answer` is about
    this.error = signal(null);
    this.took = signal(null);
    this.deadTimes = signal(null);
    this.ask = latest((question) => this.#ask(question));
  }

  async open() {
    try {
      const twin = await get(path("/twins/champion"));
      if (this.at.value === null) this.at.value = await lastRow();
      if (this.at.value === null) throw new Error("There is no telemetry to start from: upload some in Data.");
      if (this.horizon.value === null) this.horizon.value = twin.horizon_s;
      this.farther.value = twin.slow?.horizon_s ?? null;
      get(path("/twins/champion/step-responses")).then((r) => (this.deadTimes.value = r.dead_times_s), () => null);
    } catch (error) {
      this.error.value = error;
      return;
    }
    this.stops = [effect(() => this.#read(this.at.value, this.horizon.value)), effect(() => this.#follow())];
    this.stops.push(effect(() => this.#remember()));
  }

  close() {
    this.stops?.forEach((stop) => stop());
    clearTimeout(this.timer);
  }

  async refresh() {
    try {
      this.at.value = await lastRow();
    } catch (error) {
      this.error.value = error;
    }
  }

  /** Ask from the last row at or before a time. */
  async from(seconds) {
    const period = plant.value.sample_period_s;
    try {
      const { x } = await telemetry(slug.value, period, { start: seconds - NEAR_ROWS * period, end: seconds, points: 4 * NEAR_ROWS });
      if (!x.length) throw new Error(`There are no rows in the ${duration(NEAR_ROWS * period)} before ${time(seconds)}.`);
      this.at.value = x.at(-1);
    } catch (error) {
      this.error.value = error;
    }
  }

  /** The body of the request. */
  question() {
    const named = this.scenarios.value.filter((s) => Object.keys({ ...s.moves, ...s.disturbances }).length);
    const ramped = ([tag, list]) => [tag, asSteps(list, this.present(tag), plant.value.sample_period_s)];
    const expand = (moves) => Object.fromEntries(Object.entries(moves).map(ramped));
    return {
      at: new Date(this.at.value * 1000).toISOString(),
      horizon_s: this.horizon.value,
      coverage: this.coverage.value,
      scenarios: named.map((s) => ({ name: s.name, moves: expand(s.moves), disturbances: expand(s.disturbances) })),
    };
  }

  /** Ask again whenever the question changes; ramps start from the present, so history comes first. */
  #follow() {
    if (this.history.value) this.ask(this.question());
  }

  async #ask(question) {
    const begun = performance.now();
    const asked = this.scenarios.peek();
    try {
      const answer = await post(path("/predict"), question);
      const x = answer.times.map((t) => Date.parse(t) / 1000);
      batch(() => {
        this.answer.value = { ...answer, x };
        this.asked.value = asked;
        this.error.value = null;
        this.took.value = Math.round(performance.now() - begun);
      });
    } catch (error) {
      this.error.value = error;
    }
  }

  async #read(at, horizon) {
    const period = plant.value.sample_period_s;
    try {
      const span = Math.max(HISTORY * horizon, 30 * period);
      const [history, later] = await Promise.all([
        telemetry(slug.value, period, { start: at - span, end: at }),
        telemetry(slug.value, period, { start: at + period / 2, end: at + horizon }),
      ]);
      batch(() => {
        this.history.value = history;
        this.later.value = later.x.length ? byTime(later) : null;
      });
    } catch (error) {
      this.error.value = error;
    }
  }

  /** Let the address of the page hold the question. */
  #remember() {
    const [scenarios, horizon_s] = [this.scenarios.value, this.horizon.value];
    const q = JSON.stringify({ scenarios, horizon_s, coverage: this.coverage.value, at: this.at.value });
    clearTimeout(this.timer);
    this.timer = setTimeout(() => history.replaceState(null, "", href("whatif", { q })), SETTLE_MS);
  }

  /** The last known value of a tag. */
  present(tag) {
    return this.history.value?.values[tag]?.findLast((v) => v !== null) ?? null;
  }

  steps(tag) {
    const { moves, disturbances } = this.scenarios.value[this.active.value];
    return moves[tag] ?? disturbances[tag] ?? [];
  }

  change(how) {
    this.scenarios.value = this.scenarios.value.map((s, i) => (i === this.active.value ? how(s) : s));
  }

  #setSteps(tag, list, kind) {
    this.change((scenario) => {
      const place = kind ?? (scenario.moves[tag] ? "moves" : "disturbances");
      const { [tag]: _, ...rest } = scenario[place];
      return { ...scenario, [place]: list.length ? { ...rest, [tag]: list } : rest };
    });
  }

  addStep(tag, kind, step = { after_s: 0, value: Number((this.present(tag) ?? 0).toPrecision(SIGNIFICANT)) }) {
    this.#setSteps(tag, [...this.steps(tag), { ramp_s: 0, ...step }], kind);
  }

  edit(tag, i, part) {
    this.#setSteps(tag, this.steps(tag).map((step, j) => (j === i ? { ...step, ...part } : step)));
  }

  removeStep(tag, i) {
    this.#setSteps(tag, this.steps(tag).filter((_, j) => j !== i));
  }

  add() {
    const names = this.scenarios.value.map((s) => s.name);
    const name = NAMES.find((free) => !names.includes(free));
    const copy = structuredClone(this.scenarios.value[this.active.value]);
    batch(() => {
      this.scenarios.value = [...this.scenarios.value, { ...copy, name }];
      this.active.value = this.scenarios.value.length - 1;
    });
  }

  drop(i) {
    batch(() => {
      this.scenarios.value = this.scenarios.value.filter((_, j) => j !== i);
      this.active.value = Math.max(0, Math.min(i, this.scenarios.value.length - 1));
    });
  }
}

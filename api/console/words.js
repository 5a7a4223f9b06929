// Verdicts of the service in words.
import { duration, number, percent, time, unitOf } from "./format.js";

export const STATUS = {
  optimal: ["ok", "Optimal: the best plan found, and every limit is kept."],
  feasible: ["ok", "Feasible: every limit is kept; the search stopped before it was sure that nothing is better."],
  relaxed: ["attention", "Relaxed: no plan keeps every limit. This one breaks them as little as their ranks allow."],
  abstained: ["attention", "Abstained: there is no plan to trust. The present values are held."],
};

export const JOB = {
  queued: ["", "waiting for a worker"],
  running: ["", "running"],
  succeeded: ["ok", "done"],
  failed: ["alarm", "failed"],
  cancelled: ["", "cancelled"],
};

const NEARLY = 0.8; // the score of an answer that is only just outside

/** [kind, sentence] of a trust verdict. */
export function trustOf(trust) {
  const score = `score ${percent(trust.score)}`;
  if (trust.in_distribution && !trust.reasons.length) return ["ok", `The twin knows this ground (${score}).`];
  if (trust.in_distribution) return ["ok", `The twin knows this ground, with a reservation (${score}).`];
  if (trust.score > NEARLY) return ["attention", `Just beyond what the twin has seen; take it with care (${score}).`];
  return ["attention", `The twin has not seen this; do not rely on it (${score}).`];
}

/** A sentence of the service with its times in the zone chosen. */
export const localised = (text) => text.replace(/\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)/g, (stamp) => time(stamp));

/** One clipped move as a sentence. */
export function clippedOf(clip, tag) {
  const value = (amount) => `${number(amount)} ${unitOf(tag)}`.trimEnd();
  return `${clip.tag}: ${value(clip.asked)} asked for at ${time(clip.time, false)}, ${value(clip.used)} used at first: ${clip.reason}.`;
}

/** Where a value lies against a tag's limits: [kind, words]. */
export function against(tag, value) {
  if (value === null || value === undefined) return ["attention", "no value"];
  const { low, high, limit_low, limit_high } = tag;
  if (limit_high != null && value > limit_high) return ["attention", `above high limit ${number(limit_high)}`];
  if (limit_low != null && value < limit_low) return ["attention", `below low limit ${number(limit_low)}`];
  if (high != null && value > high) return ["attention", `above its range, ${number(high)}`];
  if (low != null && value < low) return ["attention", `below its range, ${number(low)}`];
  if (limit_high != null || limit_low != null) return ["", "within limits"];
  return ["", low != null || high != null ? "within range" : "no limits given"];
}

/** How old the last row is: [kind, words]. */
export function freshness(last, period_s) {
  if (last === null) return ["attention", "no telemetry yet"];
  const age = Date.now() / 1000 - last;
  if (age < -period_s) return ["", `${duration(age)} ahead of this computer's clock`];
  if (age > 10 * period_s) return ["attention", `last row is ${duration(age)} old`];
  return ["", `last row ${duration(Math.max(age, 0))} ago`];
}

/** Minimum distance between a band and a limit over the horizon, in words; null where it is kept. */
export function crossing(tag, times, band) {
  const at = (test) => times[band.mean.findIndex(test)];
  const over = tag.limit_high != null && at((v) => v > tag.limit_high);
  const under = tag.limit_low != null && at((v) => v < tag.limit_low);
  if (over) return `above ${number(tag.limit_high)} from ${time(over, false)}`;
  if (under) return `below ${number(tag.limit_low)} from ${time(under, false)}`;
  return null;
}

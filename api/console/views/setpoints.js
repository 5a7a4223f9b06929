// What an objective wants of each tag, as lines on its trend.
import { number } from "../format.js";

/** {tag: [{value, label, kind}]} of the request of a plan: setpoints, and both edges of zones. */
export function setpointLines(request) {
  const { setpoints = {}, zones = {} } = request?.objective ?? {};
  const lines = {};
  const add = (tag, value, what) => value != null && (lines[tag] ??= []).push({ value, label: `${what} ${number(value)}`, kind: "setpoint" });
  for (const [tag, { value, trajectory }] of Object.entries(setpoints)) add(tag, value ?? trajectory?.at(-1), "setpoint");
  for (const [tag, { low, high }] of Object.entries(zones)) {
    add(tag, low, "zone from");
    add(tag, high, "zone to");
  }
  return lines;
}

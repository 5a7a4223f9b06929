// Numbers, times and durations as people read them.
import { signal } from "./lib.js";

export const SIGNIFICANT = 4;

/** The time zone of everything shown: an IANA name. */
export const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
export const zone = signal(localStorage.getItem("zone") ?? here);

export function chooseZone(name) {
  localStorage.setItem("zone", name);
  zone.value = name;
}

export function number(value, digits = SIGNIFICANT) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value !== 0 && (Math.abs(value) >= 1e6 || Math.abs(value) < 1e-3)) return value.toExponential(digits - 1);
  return String(Number(value.toPrecision(digits)));
}

/** A unit as it stands behind a value: of a plain number, none. */
export const unitOf = (tag) => (tag.unit === "1" ? "" : tag.unit);

export const signed = (value, digits) => (value > 0 ? "+" : "") + number(value, digits).replace("-", "−");
export const percent = (share) => `${(100 * share).toFixed(0)} %`;

const PARTS = { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit" };
const writers = new Map(); // a formatter for each zone; making one is slow

function writer(name) {
  if (!writers.has(name)) writers.set(name, new Intl.DateTimeFormat("sv-SE", { ...PARTS, timeZone: name }));
  return writers.get(name);
}

/** A time (text, Date or seconds since 1970) in the zone chosen, such as 2026-01-31 08:00:00. */
export function time(value, withDate = true) {
  if (value === null || value === undefined) return "–";
  const text = writer(zone.value).format(typeof value === "number" ? value * 1000 : new Date(value));
  return withDate ? text : text.slice(11);
}

/** Seconds since 1970 of a time written in the zone chosen, such as 2026-01-31T08:00; NaN where it is none. */
export function instant(text) {
  const written = Date.parse(`${text.trim().replace(" ", "T")}Z`) / 1000;
  if (!Number.isFinite(written)) return NaN;
  const shift = (at) => Date.parse(`${time(at).replace(" ", "T")}Z`) / 1000 - Math.floor(at);
  const near = written - shift(written);
  return written - shift(near);
}

/** Seconds as 45 s, 12 min, 3 h 20 min or 5 d. */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  const s = Math.abs(seconds);
  if (s < 120) return `${number(s < 10 ? s : Math.round(s), 3)} s`;
  if (s < 7200) return `${Math.round(s / 60)} min`;
  if (s < 172800) return `${Math.floor(s / 3600)} h ${Math.round((s % 3600) / 60)} min`;
  return `${Math.round(s / 86400)} d`;
}

export const seconds = (text) => Date.parse(text) / 1000;

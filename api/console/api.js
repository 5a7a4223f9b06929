// Requests to the REST interface of the service that serves this page. Every refusal becomes a Problem.
import { signal } from "./lib.js";

export const key = signal(sessionStorage.getItem("key"));
export const refused = signal(null); // why a key that was given has been forgotten

/** An RFC 9457 problem: `message` says what was wrong, `errors` where. `status` is 0 where no answer came. */
export class Problem extends Error {
  constructor(status, detail, errors = []) {
    super(detail);
    this.status = status;
    this.errors = errors;
  }
}

export function remember(text) {
  if (text) sessionStorage.setItem("key", text);
  else sessionStorage.removeItem("key");
  key.value = text;
}

function problemOf(status, text) {
  let body = {};
  try {
    body = JSON.parse(text);
  } catch {
    body.detail = `the service answered ${status}`;
  }
  const problem = new Problem(status, body.detail ?? body.title ?? `the service answered ${status}`, body.errors);
  if (status === 401) {
    if (key.value) refused.value = problem;
    remember(null);
  }
  return problem;
}

async function send(method, path, { query = {}, body, headers = {}, signal: abort } = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const url = given.length ? `${path}?${new URLSearchParams(given)}` : path;
  const all = { Authorization: `Bearer ${key.value}`, Accept: "application/json", ...headers };
  if (body !== undefined) all["Content-Type"] = "application/json";
  if (!key.value && !headers.Authorization) throw new Problem(401, "The key has been forgotten.");
  let answer;
  try {
    answer = await fetch(url, { method, headers: all, body: body && JSON.stringify(body), signal: abort });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "The service does not answer. Is it running, and reachable from here?");
  }
  if (!answer.ok) throw problemOf(answer.status, await answer.text());
  return answer;
}

const json = async (...question) => {
  const answer = await send(...question);
  return answer.status === 204 ? null : answer.json();
};
export const get = (path, query, options) => json("GET", path, { query, ...options });
export const post = (path, body, options) => json("POST", path, { body, ...options });
export const put = (path, body, options) => json("PUT", path, { body, ...options });
export const remove = (path) => json("DELETE", path);
export const etag = async (path) => (await send("GET", path)).headers.get("ETag");
export const report = async (path) => (await send("GET", path, { headers: { Accept: "text/html" } })).blob();

/** Server-sent events; EventSource cannot send a key. Yields {event, data, id} until the stream ends. */
export async function* events(path, abort) {
  const answer = await send("GET", path, { headers: { Accept: "text/event-stream" }, signal: abort });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const fields = Object.fromEntries(part.split("\n").map((line) => line.split(/: ?(.*)/s, 2)));
      if (fields.data) yield { ...fields, data: JSON.parse(fields.data) };
    }
  }
}

/** Upload a file as it is; `tell` is called with the share that has been sent. Resolves to the receipt. */
export function upload(path, content, headers, tell) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    for (const [name, value] of Object.entries({ Authorization: `Bearer ${key.value}`, ...headers })) {
      request.setRequestHeader(name, value);
    }
    request.upload.onprogress = (event) => tell(event.loaded / event.total);
    request.onload = () => {
      if (request.status < 300) resolve(JSON.parse(request.responseText));
      else reject(problemOf(request.status, request.responseText));
    };
    request.onerror = () => reject(new Problem(0, "The upload was cut off; nothing of it was stored."));
    request.send(content);
  });
}

/**
 * Telemetry as {x: seconds since 1970, values: {tag: []}, bad: {tag: [[from, to]]}}; holes in the times become rows of
 * null. `bad`, the spans of bad quality, are asked for only where wanted.
 */
export async function telemetry(plant, period_s, { start, end, tags, points = 4000, bad }, abort) {
  const stamp = (seconds) => (seconds === undefined ? undefined : new Date(seconds * 1000).toISOString());
  const query = { start: stamp(start), end: stamp(end), tags: tags?.join(","), max_points: points, bad };
  const answer = await get(`/v1/plants/${plant}/telemetry`, query, { signal: abort });
  const times = answer.times.map((time) => Date.parse(time) / 1000);
  const spans = Object.entries(answer.bad ?? {}).map(([tag, all]) => [tag, all.map((s) => [Date.parse(s.start) / 1000, Date.parse(s.end) / 1000])]);
  return { ...withGaps(times, answer.values, period_s), bad: Object.fromEntries(spans) };
}

function withGaps(times, values, period_s) {
  const steps = times.slice(1).map((time, i) => time - times[i]).sort((a, b) => a - b);
  const hole = 2.5 * Math.max(period_s, steps[steps.length >> 1] ?? 0);
  const tags = Object.keys(values);
  const x = [];
  const out = Object.fromEntries(tags.map((tag) => [tag, []]));
  times.forEach((time, i) => {
    if (i && time - times[i - 1] > hole) {
      x.push(times[i - 1] + period_s);
      for (const tag of tags) out[tag].push(null);
    }
    x.push(time);
    for (const tag of tags) out[tag].push(values[tag][i]);
  });
  return { x, values: out };
}

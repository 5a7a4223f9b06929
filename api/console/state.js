// What all views share: the address, the plants, the plant that is open, and the last row that it has.
import { get, key } from "./api.js";
import { computed, effect, signal } from "./lib.js";

/** The address `#/plant/view?question`. */
function parse() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const [plant, view] = path.split("/");
  return { plant: plant || null, view: view || "overview", query: new URLSearchParams(query) };
}

export const route = signal(parse());
addEventListener("hashchange", () => (route.value = parse()));

export const plants = signal(null);
export const slug = computed(() => route.value.plant ?? plants.value?.[0]?.plant ?? null);
export const plant = computed(() => plants.value?.find((p) => p.plant === slug.value) ?? null);
export const problem = signal(null); // of the shell: plants that cannot be read
export const health = signal(null); // {ready, reasons}

export const href = (view, query) => `#/${slug.value ?? ""}/${view}${query ? `?${new URLSearchParams(query)}` : ""}`;
export const go = (view, query) => (location.hash = href(view, query));
export const of = (role) => plant.value.tags.filter((tag) => tag.role === role);
export const path = (rest = "") => `/v1/plants/${slug.value}${rest}`;

export async function readPlants() {
  try {
    plants.value = (await get("/v1/plants", { limit: 1000 })).items;
    problem.value = null;
  } catch (error) {
    problem.value = error;
  }
}

const lastKnown = new Map(); // plant: the time of a row near its last one, as RFC 3339

/**
 * The time of the last row of a plant, in seconds since 1970; null where there is none. From the second time on only
 * the end of the telemetry is read.
 */
export async function lastRow(name = slug.value) {
  const tags = plants.value?.find((p) => p.plant === name)?.tags.find((tag) => tag.role !== "ov")?.name; // a frame may come seldom
  const read = async (start) => (await get(`/v1/plants/${name}/telemetry`, { start, tags, max_points: 4 })).times.at(-1);
  const last = (lastKnown.has(name) && (await read(lastKnown.get(name)))) || (await read());
  if (last === undefined) lastKnown.delete(name);
  else lastKnown.set(name, last);
  return last === undefined ? null : Date.parse(last) / 1000;
}

async function readHealth() {
  const answer = await fetch("/readyz").catch(() => null);
  if (answer && problem.value) readPlants(); // it answers again
  health.value = answer ? await answer.json() : { ready: false, silent: true, reasons: ["the service does not answer"] };
}

effect(() => {
  if (key.value) readPlants();
});
readHealth();
setInterval(readHealth, 5000);

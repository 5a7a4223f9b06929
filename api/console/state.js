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

/** The time of the last row of the open plant, in seconds since 1970; null where there is none. */
export async function lastRow() {
  const { times } = await get(path("/telemetry"), { max_points: 4 });
  return times.length ? Date.parse(times.at(-1)) / 1000 : null;
}

async function readHealth() {
  const answer = await fetch("/readyz").catch(() => null);
  health.value = answer ? await answer.json() : { ready: false, reasons: ["the service does not answer"] };
}

effect(() => {
  if (key.value) readPlants();
});
readHealth();
setInterval(readHealth, 5000);

// Trends: any tags over any span. The service thins the rows out, so that a year draws as fast as an hour.
import { get, telemetry } from "../api.js";
import { Chart } from "../charts.js";
import { Trouble, save } from "../components.js";
import { duration, time } from "../format.js";
import { html, useEffect, useRef, useState } from "../lib.js";
import { href, path, plant, route, slug } from "../state.js";
import { limitLines } from "./trend_pair.js";
import { table } from "./whatif_export.js";

const SPANS = [600, 3600, 8 * 3600, 86400, 7 * 86400, 30 * 86400, 365 * 86400];
const SETTLE_MS = 120; // after the last zoom or pan, before the service is asked
const FOLLOW_MS = 2000;
const FIRST_ROWS = 720; // shown at first
const FEWEST = 4; // sample periods in a span
const MOST_TAGS = 4; // at first

function initialTags() {
  const asked = (route.value.query.get("tags") ?? "").split(",").filter((name) => plant.value.tags.some((t) => t.name === name));
  return asked.length ? asked : plant.value.tags.slice(0, MOST_TAGS).map((tag) => tag.name);
}

function initialSpan() {
  const [start, end] = ["start", "end"].map((name) => Number(route.value.query.get(name)));
  return end > start ? [start, end] : null;
}

export function Trends() {
  const [tags, setTags] = useState(initialTags);
  const [span, setSpan] = useState(initialSpan);
  const [whole, setWhole] = useState(null); // the first and the last time there is
  const [follow, setFollow] = useState(false);
  const [data, setData] = useState(null);
  const [error, setError] = useState(null);
  const period = plant.value.sample_period_s;

  const readWhole = async () => {
    const { times } = await get(path("/telemetry"), { max_points: 4 });
    const ends = times.length ? [Date.parse(times[0]) / 1000, Date.parse(times.at(-1)) / 1000] : null;
    setWhole(ends ?? []);
    return ends;
  };
  useEffect(() => {
    readWhole().then((ends) => ends && setSpan((before) => before ?? [ends[1] - FIRST_ROWS * period, ends[1]]), setError);
  }, []);
  useEffect(() => {
    if (!follow) return undefined;
    const timer = setInterval(async () => {
      const ends = await readWhole().catch(setError);
      if (ends) setSpan(([a, b]) => [ends[1] - (b - a), ends[1]]);
    }, FOLLOW_MS);
    return () => clearInterval(timer);
  }, [follow]);
  useRows(span, tags, setData, setError);
  useEffect(() => {
    const query = { tags: tags.join(","), ...(span && { start: Math.round(span[0]), end: Math.round(span[1]) }) };
    const timer = setTimeout(() => history.replaceState(null, "", href("trends", query)), 400);
    return () => clearTimeout(timer);
  }, [tags, span]);

  const go = ([start, end]) => {
    const least = FEWEST * period;
    const centre = (start + end) / 2;
    setFollow(false);
    setSpan(end - start < least ? [centre - least / 2, centre + least / 2] : [start, end]);
  };
  return html`<section class="panel">
      <div class="chips" role="group" aria-label="Tags">${plant.value.tags.map((tag) => html`<label title=${`${tag.role}: ${tag.description}`}>
        <input type="checkbox" checked=${tags.includes(tag.name)} onChange=${(e) =>
          setTags(e.target.checked ? [...tags, tag.name] : tags.filter((name) => name !== tag.name))} />${tag.name}</label>`)}</div>
    </section>
    <${Trouble} error=${error} />
    ${whole?.length === 0 && html`<p>No telemetry yet: <a href=${href("data")}>upload some</a>.</p>`}
    ${span && html`<${Bar} ...${{ span, whole, go, follow, setFollow, data }} />
      <${Stack} ...${{ tags, span, data, go }} />`}`;
}

/** Read the rows of a span once it rests; what was read before stays drawn until then. */
function useRows(span, tags, setData, setError) {
  const waiting = useRef(null);
  useEffect(() => {
    if (!span || !tags.length) return undefined;
    const abort = new AbortController();
    waiting.current = setTimeout(async () => {
      try {
        const points = Math.max(400, Math.round(2 * innerWidth));
        const [start, end] = span;
        setData(await telemetry(slug.value, plant.value.sample_period_s, { start, end, tags, points }, abort.signal));
        setError(null);
      } catch (problem) {
        if (problem.name !== "AbortError") setError(problem);
      }
    }, SETTLE_MS);
    return () => {
      clearTimeout(waiting.current);
      abort.abort();
    };
  }, [span, tags]);
}

function Bar({ span, whole, go, follow, setFollow, data }) {
  const [start, end] = span;
  const width = end - start;
  const zoom = (factor) => go([(start + end - width * factor) / 2, (start + end + width * factor) / 2]);
  const pan = (share) => go([start + share * width, end + share * width]);
  const last = whole?.[1];
  return html`<div class="bar">
    <h2>${time(start)} – ${time(end)} <span class="quiet small">${duration(width)}</span></h2>
    <button onClick=${() => pan(-0.5)} aria-label="Earlier">◀</button>
    <button onClick=${() => pan(0.5)} aria-label="Later">▶</button>
    <button onClick=${() => zoom(0.5)} aria-label="Zoom in">+</button>
    <button onClick=${() => zoom(2)} aria-label="Zoom out">−</button>
    <select aria-label="Span" onChange=${(e) => go([(last ?? end) - Number(e.target.value), last ?? end])}>
      <option selected disabled>the last …</option>
      ${SPANS.map((s) => html`<option value=${s}>${duration(s)}</option>`)}
    </select>
    <button onClick=${() => whole && go(whole)} disabled=${!whole}>All</button>
    <label class="inline"><input type="checkbox" checked=${follow} onChange=${(e) => setFollow(e.target.checked)} /> follow</label>
    <button disabled=${!data} onClick=${() => save("trends.csv", asCsv(data))}>CSV</button>
  </div>`;
}

const asCsv = ({ x, values }) => table(new Map([["time", x.map((s) => new Date(s * 1000).toISOString())], ...Object.entries(values)]));

function Stack({ tags, span, data, go }) {
  const shown = tags.filter((name) => data?.values[name]);
  const height = Math.max(90, Math.min(190, Math.round((innerHeight - 190) / Math.max(shown.length, 1)) - 22));
  return html`<section class="panel stack">
    ${!tags.length && html`<p class="quiet">Choose a tag above.</p>`}
    ${shown.map((name) => {
      const tag = plant.value.tags.find((t) => t.name === name);
      const series = [{ label: "", colour: "measured", values: data.values[name] }];
      return html`<${Chart} key=${name} title=${name} unit=${tag.unit} height=${height} stepped=${tag.role === "mv"} sync="trends" x=${data.x}
        series=${series} lines=${limitLines(tag)} span=${span} onZoom=${go} />`;
    })}
    <p class="quiet small">Drag across to zoom; the wheel zooms, with shift it pans. Grey ground: no value, or one of bad quality.</p>
  </section>`;
}

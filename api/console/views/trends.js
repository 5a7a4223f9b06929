// Trends: any tags over any span. The service thins the rows out, so that a year draws as fast as an hour.
import { get, telemetry } from "../api.js";
import { Chart } from "../charts.js";
import { Trouble } from "../components.js";
import { html, useEffect, useRef, useState } from "../lib.js";
import { href, of, path, plant, route, slug } from "../state.js";
import { setpointLines } from "./setpoints.js";
import { limitLines } from "./trend_pair.js";
import { Tags, TrendsBar } from "./trends_bar.js";

const SETTLE_MS = 120; // after the last zoom or pan, before the service is asked
const FOLLOW_MS = 2000;
const FIRST_ROWS = 720; // shown at first
const FEWEST = 4; // sample periods in a span
const MOST_TAGS = 4; // at first
const APART_MS = 1000; // moves nearer than that are one, and one way back

function initialTags() {
  const asked = (route.value.query.get("tags") ?? "").split(",").filter((name) => plant.value.tags.some((t) => t.name === name && t.role !== "ov"));
  return asked.length ? asked : mixed();
}

/** The first CVs and the first MVs, half and half where there are enough of both. */
function mixed() {
  const [cvs, mvs] = [of("cv"), of("mv")];
  const few = cvs.slice(0, Math.max(MOST_TAGS / 2, MOST_TAGS - mvs.length));
  return [...few, ...mvs].slice(0, MOST_TAGS).map((tag) => tag.name);
}

function initialSpan() {
  const [start, end] = ["start", "end"].map((name) => Number(route.value.query.get(name)));
  return end > start ? [start, end] : null;
}

export function Trends() {
  const [tags, setTags] = useState(initialTags);
  const [whole, setWhole] = useState(null); // the first and the last time there is
  const [follow, setFollow] = useState(false);
  const [data, setData] = useState(null);
  const [error, setError] = useState(null);
  const period = plant.value.sample_period_s;
  const { span, setSpan, go, back } = useSpan(FEWEST * period, () => setFollow(false));
  const setpoints = useSetpoints();

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

  return html`<${Tags} tags=${tags} setTags=${setTags} />
    <${Trouble} error=${error} />
    ${!whole && !error && html`<p class="quiet">Reading …</p>`}
    ${whole?.length === 0 && html`<p>No telemetry yet: <a href=${href("data")}>upload some</a>.</p>`}
    ${span && html`<${TrendsBar} ...${{ span, whole, go, back, follow, setFollow, data }} />
      <${Stack} ...${{ tags, span, data, go, setpoints }} />`}`;
}

/** The span shown, never narrower than `least`, and the way back to the ones before. */
function useSpan(least, moved) {
  const [span, setSpan] = useState(initialSpan);
  const before = useRef([]);
  const moment = useRef(-Infinity); // of the last move
  const now = useRef(span);
  now.current = span;
  const show = ([start, end]) => {
    const centre = (start + end) / 2;
    moved();
    setSpan(end - start < least ? [centre - least / 2, centre + least / 2] : [start, end]);
  };
  const go = (next) => {
    if (performance.now() - moment.current > APART_MS) before.current.push(now.current);
    moment.current = performance.now();
    show(next);
  };
  const back = () => {
    moment.current = -Infinity;
    if (before.current.length) show(before.current.pop());
  };
  return { span, setSpan, go, back };
}

/** The setpoints of the last plan by tag. */
function useSetpoints() {
  const [lines, setLines] = useState({});
  useEffect(() => {
    get(path("/recommendations"), { limit: 1 }).then(({ items }) => setLines(setpointLines(items[0]?.request)), () => null);
  }, []);
  return lines;
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
        setData(await telemetry(slug.value, plant.value.sample_period_s, { start, end, tags, points, bad: true }, abort.signal));
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

function Stack({ tags, span, data, go, setpoints }) {
  const shown = tags.filter((name) => data?.values[name]);
  const height = Math.max(90, Math.min(190, Math.round((innerHeight - 210) / Math.max(shown.length, 1)) - 22));
  return html`<section class="panel stack">
    ${!tags.length && html`<p class="quiet">Choose a tag above.</p>`}
    ${shown.map((name) => {
      const tag = plant.value.tags.find((t) => t.name === name);
      const series = [{ label: "", colour: "measured", values: data.values[name] }];
      return html`<${Chart} key=${name} title=${name} unit=${tag.unit} height=${height} stepped=${tag.role === "mv"} sync="trends" x=${data.x}
        series=${series} lines=${[...limitLines(tag), ...(setpoints[name] ?? [])]} bad=${data.bad[name]} span=${span} onZoom=${go} />`;
    })}
    <p class="quiet small">Drag across to zoom, with shift to pan; the wheel zooms, with shift it pans; fingers pan and pinch; arrows, + and − where a trend has the focus. Grey ground: no value; hatched: bad quality; dotted: setpoint of the last plan.</p>
  </section>`;
}

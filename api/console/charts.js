// Trends: uPlot with bands, limits as lines, "now", gaps, a shared cursor, spans that zoom, and moves that can be dragged.
import { ground, overlay } from "./chart_draw.js";
import { isLong } from "./components.js";
import { Navigation } from "./chart_nav.js";
import { Moves } from "./drag.js";
import { number, time, unitOf, zone } from "./format.js";
import { html, useLayoutEffect, useRef } from "./lib.js";
import { colour, theme } from "./theme.js";
import uPlot from "./vendor/uPlot.mjs";

const FEW = 3; // entries of a legend that stand beside the title
const ROOMY = 50; // letters that stand beside each other
const VALUE = 8; // letters of a swatch and a value
const ROOM = 26; // right of the last row, for the label of a tick that stands there
const LABEL_PX = 6.2; // a character of a label, about
const SMALL = "11px system-ui, sans-serif";
const stepped = uPlot.paths.stepped({ align: -1 }); // a row's MV was in force on the way to that row

/**
 * One chart of one quantity.
 *
 * series: [{label, values, colour, width?, dash?, points?, quiet?}], quiet ones without a legend entry.
 * bands: [{low, high, colour}], each a list of values.
 * lines: [{value, label, kind}], kind "limit" or "setpoint"; marks: [{x, label}], vertical.
 * bad: [[from, to]], spans of bad quality; delays: [{from, to, label, drawn}], dead times, and what is drawn beside them.
 * moves: {handles: [{x, value, kind, i}], add, drag, remove, start, period_s}, drawn as handles that can be dragged.
 * onZoom: is given the span that wheel, drag, fingers or keys ask for.
 */
export function Chart(props) {
  const { title, unit = "", height = 150, x } = props;
  const place = useRef(null);
  const legend = useRef(null);
  const kept = useRef({});
  kept.current.props = props;
  const shape = JSON.stringify([
    props.series.map((s) => [s.label, s.colour, s.dash, s.width, s.quiet]),
    (props.bands ?? []).length,
    height,
    props.stepped,
    Boolean(props.moves),
    zone.value,
    theme.value,
  ]);
  useLayoutEffect(() => {
    const box = place.current;
    const plot = build(box, legend.current, kept);
    kept.current.plot = plot;
    const watch = new ResizeObserver(() => plot.setSize({ width: box.clientWidth, height }));
    watch.observe(box);
    return () => {
      watch.disconnect();
      plot.destroy();
    };
  }, [shape]);
  useLayoutEffect(() => {
    const { plot, drawn } = kept.current;
    if (drawn === plot) plot.setData(rows(props), true);
    kept.current.drawn = plot;
  });
  return html`<figure class="chart">
    <figcaption class=${isLong(title) || named(props.series) > FEW || letters(props) > ROOMY ? "two" : ""}><b>${title}</b> <span class="quiet">${unitOf({ unit })}</span> <span class="legend" ref=${legend}></span></figcaption>
    <div ref=${place} role="img" tabindex=${props.onZoom ? 0 : undefined} aria-label=${`${title}: ${describe(props, x)}`}></div>
  </figure>`;
}

/** How many series the legend tells of. */
const named = (series) => series.filter((s) => !s.quiet && s.values.some((v) => v != null)).length;

/** About how many letters stand above a chart: title, unit, and each series with its value. */
const letters = ({ title, unit = "", series }) =>
  series.filter((s) => !s.quiet && s.values.some((v) => v != null)).reduce((sum, s) => sum + s.label.length + VALUE, title.length + unit.length);

/** The trend in words, for those who do not see it. */
function describe({ series, unit = "", bad = [], delays = [] }, x) {
  if (!x.length) return "no data";
  const last = series.map((s) => [s.label, s.values.findLast((v) => v !== null && v !== undefined)]).filter(([, v]) => v !== undefined);
  const ends = `${last.map(([label, v]) => `${label} ${number(v)} ${unit}`.trim()).join(", ")} at the end, ${time(x.at(-1))}`;
  const spoilt = bad.slice(0, 3).map(([from, to]) => `bad quality from ${time(from)} to ${time(to)}`);
  return [ends, ...spoilt, ...delays.map((delay) => delay.label)].join("; ");
}

const rows = ({ x, series, bands = [] }) => [x, ...series.map((s) => s.values), ...bands.flatMap((b) => [b.high, b.low])];

function build(place, legend, kept) {
  const get = () => kept.current.props;
  const { series, bands = [], height, sync, onZoom } = get();
  const line = (s) => ({
    label: s.label,
    stroke: colour(s.colour),
    width: s.width ?? 1.5,
    dash: s.dash,
    paths: get().stepped ? stepped : undefined,
    points: { show: (plot, i) => lone(plot.data[i]).length > 0, filter: (plot, i) => lone(plot.data[i]), size: 4, fill: colour(s.colour) },
  });
  const edge = { stroke: "transparent", width: 0, points: { show: false } };
  const first = series.length + 1;
  const options = {
    width: place.clientWidth || 400,
    height: height ?? 150,
    padding: [7, ROOM, 0, 0],
    tzDate: (s) => uPlot.tzDate(new Date(s * 1000), zone.value),
    legend: { show: false },
    cursor: {
      y: false,
      drag: { x: Boolean(onZoom), y: false, setScale: false },
      bind: { mousedown: (_, __, begin) => (event) => event.shiftKey || begin(event) }, // with shift it pans
      sync: sync ? { key: sync } : undefined,
      points: { size: 5 },
    },
    scales: { x: { time: true, range: () => get().span ?? ends(get().x) }, y: { range: (_, low, high) => range(low, high, get()) } },
    axes: [axis({ space: 76, size: 22, values: clock }), axis({ size: 48, space: 22, values: (_, ticks) => ticks.map((v) => number(v)) })],
    series: [{}, ...series.map(line), ...bands.flatMap(() => [edge, edge])],
    bands: bands.map((_, i) => ({ series: [first + 2 * i, first + 2 * i + 1], fill: () => `${colour(get().bands[i].colour)}${theme.value === "dark" ? "55" : "30"}` })),
    hooks: {
      setCursor: [(plot) => tell(plot, legend, get())],
      setData: [(plot) => tell(plot, legend, get())],
      ready: [(plot) => tell(plot, legend, get())],
      drawClear: [(plot) => ground(plot, get())],
      draw: [(plot) => overlay(plot, get())],
      setSelect: [(plot) => onZoom && zoomed(plot, get())],
    },
    plugins: [],
  };
  const plot = new uPlot(options, rows(get()), place);
  if (get().moves) new Moves(plot, () => get().moves);
  if (onZoom) new Navigation(plot, place, get);
  return plot;
}

/** Where a series has a value and none on either side: no line shows it, as of a CV that the laboratory measures. */
function lone(values) {
  const known = (i) => values[i] !== null && values[i] !== undefined;
  return values.flatMap((_, i) => (known(i) && !known(i - 1) && !known(i + 1) ? [i] : []));
}

const axis = (more) => ({
  stroke: colour("quiet"),
  font: SMALL,
  grid: { stroke: colour("grid"), width: 1 },
  ticks: { stroke: colour("grid"), width: 1, size: 4 },
  ...more,
});

/** Times of day; the date where a day begins, or where ticks are days apart. */
function clock(plot, ticks, place, space, step) {
  return ticks.map((tick, i) => {
    const text = labelOf(time(tick), i, step);
    const fits = plot.valToPos(tick, "x") + (text.length * LABEL_PX) / 2 <= plot.over.clientWidth + ROOM;
    return fits ? text : null;
  });
}

function labelOf(text, i, step) {
  if (step >= 86400) return text.slice(0, 10);
  if (i && text.slice(11, 16) === "00:00") return text.slice(5, 10);
  return text.slice(11, step < 60 ? 19 : 16);
}

const ends = (x) => (x.length ? [x[0], x.at(-1)] : [0, 1]);

/** Room for the values, and for limits and setpoints that are near them. */
function range(low, high, { lines = [], within, moves }) {
  const handles = (moves?.handles ?? []).map((handle) => handle.value);
  if (within) return handles.some((v) => v < within[0] || v > within[1]) ? spread([...within, ...handles]) : within;
  if (low === null || high === null) return lines.length ? spread(lines.map((l) => l.value)) : [0, 1];
  const reach = Math.max(high - low, Math.abs(high) * 0.01, 1e-9);
  const near = lines.map((l) => l.value).filter((v) => v > low - reach && v < high + reach);
  return spread([low, high, ...near, ...handles]);
}

function spread(values, share = 0.08) {
  const low = Math.min(...values);
  const high = Math.max(...values);
  const pad = Math.max(share * (high - low), Math.abs(high) * 0.002, 1e-9);
  return [low - pad, high + pad];
}

function tell(plot, legend, { series, x }) {
  const i = plot.cursor.idx ?? x.length - 1;
  legend.replaceChildren(
    ...series.flatMap((s, j) => {
      if (s.quiet || s.values.every((v) => v == null)) return [];
      const value = plot.cursor.idx == null ? s.values.findLast((v) => v != null) : s.values[i];
      const swatch = document.createElement("i");
      swatch.className = s.dash ? "swatch dashed" : "swatch";
      swatch.style.borderColor = colour(s.colour);
      const text = document.createElement("span");
      text.textContent = `${s.label} ${number(value, 3)}`;
      return j ? [" ", swatch, text] : [swatch, text];
    }),
  );
  if (plot.cursor.idx != null) legend.append(` · ${time(x[i])}`);
}

function zoomed(plot, { onZoom }) {
  const { left, width } = plot.select;
  if (width < 4) return;
  onZoom([plot.posToVal(left, "x"), plot.posToVal(left + width, "x")]);
  plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
}

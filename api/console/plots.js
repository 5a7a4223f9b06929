// Small plots in SVG over a plain number such as a horizon: lines, one band, and the ends of both axes in figures.
import { number } from "./format.js";
import { html } from "./lib.js";

const W = 100;
const H = 40;
const FAR = 0.05; // of the right end of the axis: a left end beyond it is told

const extent = (values) => {
  const known = values.filter((v) => v !== null && Number.isFinite(v));
  return known.length ? [Math.min(...known), Math.max(...known)] : [0, 1];
};

/**
 * series: [{label, values, colour, dash}]; band: {low, high}; rule: a horizontal line at a value;
 * from: a value that the axis holds in any case; log: logarithmic values.
 */
export function Lines({ title, x, series, band, rule, from, unit = "", xUnit = "s", log = false, height = "5.2rem" }) {
  const scale = (v) => (log ? Math.log10(Math.max(v, 1e-12)) : v);
  const given = [...series.flatMap((s) => s.values), ...(band ? [...band.low, ...band.high] : [])];
  const [low, high] = extent([...given, ...[rule, from].filter((v) => v !== undefined)]);
  const [left, right] = extent(x);
  const px = (v) => (W * (v - left)) / (right - left || 1);
  const py = (v) => H - 1 - ((H - 2) * (scale(v) - scale(low))) / (scale(high) - scale(low) || 1);
  const points = (values) => values.flatMap((v, i) => (v === null || !Number.isFinite(v) ? [] : [`${px(x[i])} ${py(v)}`]));
  const outline = band && [...points(band.high), ...points(band.low).reverse()].join("L");
  const words = `${title}: ${series.map((s) => `${s.label} ${number(s.values.at(-1), 3)} ${unit}`).join(", ")} at ${number(x.at(-1))} ${xUnit}`;
  return html`<figure class="plot">
    <svg class="small-multiple" style=${{ height }} viewBox="0 0 ${W} ${H}" preserveAspectRatio="none" role="img" aria-label=${words}>
      ${rule !== undefined && html`<path class="zero" d="M0 ${py(rule)}L${W} ${py(rule)}" />`}
      ${outline && html`<path class="area" d="M${outline}Z" />`}
      ${series.map((s) => html`<path class="line" d=${`M${points(s.values).join("L")}`} style=${{ stroke: `var(--${s.colour})`, strokeDasharray: s.dash }} />`)}
    </svg>
    <span class="hi">${number(high, 3)} ${unit}</span><span class="lo">${number(low, 3)}</span>
    ${left > FAR * right && html`<span class="start">${number(left)} ${xUnit}</span>`}<span class="end">${number(right)} ${xUnit}</span>
  </figure>`;
}

export const Key = ({ series }) =>
  html`<p class="small quiet">${series.map((s) => html`<i class=${`swatch ${s.dash ? "dashed" : ""}`} style=${{ borderColor: `var(--${s.colour})` }}></i>${s.label}  `)}</p>`;

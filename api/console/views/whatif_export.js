// What-if as files: every number as CSV, the trends as PNG.
import { colour } from "../theme.js";
import { of, plant } from "../state.js";

const iso = (seconds) => new Date(seconds * 1000).toISOString();
const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

/** Columns by name over the rows of history, then of the forecast; what a row does not have is empty. */
export function asCsv({ history: { value: past }, answer: { value: answer } }) {
  const columns = new Map([["time", [...past.x, ...answer.x].map(iso)]]);
  const blank = past.x.map(() => null);
  for (const { name } of plant.value.tags) columns.set(name, [...past.values[name], ...answer.x.map(() => null)]);
  const bands = (who, cvs) => {
    for (const { name } of of("cv")) {
      for (const part of ["mean", "low", "high"]) columns.set(`${who}: ${name} ${part}`, [...blank, ...cvs[name][part]]);
    }
  };
  bands("no move", answer.baseline);
  for (const scenario of answer.scenarios) {
    for (const [tag, values] of Object.entries(scenario.moves)) columns.set(`${scenario.name}: ${tag}`, [...blank, ...values]);
    bands(scenario.name, scenario.cvs);
  }
  return table(columns);
}

/** A Map of columns as CSV. */
export function table(columns) {
  const all = [...columns.values()];
  const lines = all[0].map((_, i) => all.map((values) => values[i] ?? "").join(","));
  return [[...columns.keys()].map(quoted).join(","), ...lines].join("\n") + "\n";
}

const COLUMNS = 2;
const ROW = 22; // pixels of a line of text

/** All charts of the page, two beside each other, as one picture with a title. */
export async function asPng(title) {
  const charts = [...document.querySelectorAll("figure.chart")];
  const pictures = charts.map((chart) => chart.querySelector("canvas"));
  const row = ROW * devicePixelRatio;
  const width = Math.max(...pictures.map((p) => p.width));
  const height = Math.max(...pictures.map((p) => p.height)) + 2 * row;
  const sheet = document.createElement("canvas");
  sheet.width = COLUMNS * width;
  sheet.height = row + Math.ceil(charts.length / COLUMNS) * height;
  const ctx = sheet.getContext("2d");
  ctx.fillStyle = colour("panel");
  ctx.fillRect(0, 0, sheet.width, sheet.height);
  write(ctx, title, 6, row - 6, colour("ink"), true);
  charts.forEach((chart, i) => {
    const [x, y] = [(i % COLUMNS) * width, row + Math.floor(i / COLUMNS) * height];
    write(ctx, `${chart.querySelector("b").textContent}  ${chart.querySelector("figcaption .quiet").textContent}`, x + 6, y + row - 6, colour("ink"), true);
    legend(ctx, chart, x + 6, y + 2 * row - 8);
    ctx.drawImage(pictures[i], x, y + 2 * row);
  });
  return new Promise((resolve) => sheet.toBlob(resolve, "image/png"));
}

function write(ctx, text, x, y, ink, bold = false) {
  ctx.font = `${bold ? "600 " : ""}${(bold ? 13 : 12) * devicePixelRatio}px system-ui, sans-serif`;
  ctx.fillStyle = ink;
  ctx.fillText(text, x, y);
  return x + ctx.measureText(text).width;
}

/** The entries of a chart's legend, each behind a piece of its line. */
function legend(ctx, chart, x, y) {
  const unit = devicePixelRatio;
  let at = x;
  for (const swatch of chart.querySelectorAll(".swatch")) {
    ctx.strokeStyle = swatch.style.borderColor;
    ctx.lineWidth = 2 * unit;
    ctx.setLineDash(swatch.classList.contains("dashed") ? [4 * unit, 2 * unit] : []);
    ctx.beginPath();
    ctx.moveTo(at, y - 4 * unit);
    ctx.lineTo(at + 16 * unit, y - 4 * unit);
    ctx.stroke();
    at = write(ctx, swatch.nextSibling.textContent, at + 20 * unit, y, colour("quiet")) + 12 * unit;
  }
}

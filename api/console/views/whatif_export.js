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

/** All charts of the page below each other as one picture. */
export async function asPng(title) {
  const charts = [...document.querySelectorAll("figure.chart")];
  const pictures = charts.map((chart) => chart.querySelector("canvas"));
  const caption = 22 * devicePixelRatio;
  const sheet = document.createElement("canvas");
  sheet.width = Math.max(...pictures.map((p) => p.width));
  sheet.height = caption + pictures.reduce((sum, p) => sum + p.height + caption, 0);
  const ctx = sheet.getContext("2d");
  ctx.fillStyle = colour("panel");
  ctx.fillRect(0, 0, sheet.width, sheet.height);
  ctx.fillStyle = colour("ink");
  ctx.font = `${13 * devicePixelRatio}px system-ui, sans-serif`;
  ctx.fillText(title, 6, caption - 6);
  let y = caption;
  charts.forEach((chart, i) => {
    ctx.fillText(chart.querySelector("figcaption").textContent, 6, y + caption - 6);
    ctx.drawImage(pictures[i], 0, y + caption);
    y += pictures[i].height + caption;
  });
  return new Promise((resolve) => sheet.toBlob(resolve, "image/png"));
}

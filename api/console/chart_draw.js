// What is drawn below and above the lines of a chart: gaps, bad quality, limits, "now", dead times, handles.
import { colour } from "./theme.js";

const FONT = "11px system-ui, sans-serif";

/** Work on the canvas of a plot, cut off at its edges; `draw` gets the context and lengths in its pixels. */
function within(plot, draw) {
  const { ctx, bbox } = plot;
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.font = FONT.replace("11", String(11 * ratio));
  ctx.textAlign = "left";
  ctx.textBaseline = "alphabetic";
  ctx.lineWidth = ratio;
  draw(ctx, { ...bbox, ratio, x: (v) => plot.valToPos(v, "x", true), y: (v) => plot.valToPos(v, "y", true) });
  ctx.restore();
}

const isKnown = (value) => value !== null && value !== undefined;

/** Below the lines, not of values that come one by one: grey where the first series has no values between two that it has, hatched where they are bad. */
export function ground(plot, { x, series, untilNow, bad = [] }) {
  const values = series[0]?.values ?? [];
  within(plot, (ctx, box) => {
    const hatched = bad.map((span) => stretch(span, box));
    let known = -1;
    const seldom = values.filter((value, i) => isKnown(value) && !isKnown(values[i - 1]) && !isKnown(values[i + 1])).length;
    const often = 2 * seldom < values.filter(isKnown).length;
    values.forEach((value, i) => {
      if (!often || !isKnown(value) || (untilNow && x[i] > untilNow)) return;
      if (known >= 0 && i > known + 1) gap(ctx, box, box.x(x[known]), box.x(x[i]), hatched);
      known = i;
    });
    for (const [a, b] of hatched) hatch(ctx, box, a, b);
  });
}

/** A span in pixels, wide enough to be seen. */
function stretch([from, to], { x, ratio }) {
  const [a, b] = [x(from), x(to)];
  return b - a < 3 * ratio ? [(a + b) / 2 - 1.5 * ratio, (a + b) / 2 + 1.5 * ratio] : [a, b];
}

function gap(ctx, { top, height, ratio }, a, b, hatched) {
  ctx.fillStyle = colour("gap");
  ctx.fillRect(a, top, b - a, height);
  const covered = hatched.some(([from, to]) => from < b && to > a);
  ctx.fillStyle = colour("quiet");
  if (b - a > 60 * ratio && !covered) ctx.fillText("no value", a + 4, top + 14 * ratio);
}

function hatch(ctx, { top, height, ratio }, a, b) {
  ctx.fillStyle = colour("gap");
  ctx.fillRect(a, top, b - a, height);
  ctx.save();
  ctx.beginPath();
  ctx.rect(a, top, b - a, height);
  ctx.clip();
  ctx.strokeStyle = colour("attention");
  ctx.beginPath();
  for (let at = a - height; at < b; at += 7 * ratio) {
    ctx.moveTo(at, top + height);
    ctx.lineTo(at + height, top);
  }
  ctx.stroke();
  ctx.restore();
  ctx.fillStyle = colour("attention");
  if (b - a > 66 * ratio) ctx.fillText("bad quality", a + 4, top + 14 * ratio);
}

/** Over the lines. */
export function overlay(plot, { lines = [], marks = [], delays = [], moves }) {
  within(plot, (ctx, box) => {
    for (const line of lines) level(ctx, box, line);
    for (const mark of marks) upright(ctx, box, mark);
    delays.forEach((delay, row) => bracket(ctx, box, delay, row));
    ctx.setLineDash([]);
    for (const handle of moves?.handles ?? []) grip(ctx, box, handle, moves.colour);
  });
}

/** Text that stays readable over lines: on a ground of its own. */
function say(ctx, text, x, y) {
  const { width, actualBoundingBoxAscent: above, actualBoundingBoxDescent: below } = ctx.measureText(text);
  const room = 2 * devicePixelRatio;
  ctx.save();
  ctx.globalAlpha = 0.85;
  ctx.fillStyle = colour("panel");
  ctx.fillRect((ctx.textAlign === "right" ? x - width : x) - room, y - above - room, width + 2 * room, above + below + 2 * room);
  ctx.restore();
  ctx.fillText(text, x, y);
}

/** A limit or a setpoint, named on its own side so that the names seldom meet. */
function level(ctx, { left, top, width, height, ratio, y }, { value, label, kind }) {
  const at = y(value);
  if (at < top - 1 || at > top + height + 1) return;
  const limit = kind === "limit";
  ctx.strokeStyle = ctx.fillStyle = colour(kind);
  ctx.setLineDash(limit ? [8 * ratio, 4 * ratio] : [2 * ratio, 3 * ratio]);
  stroke(ctx, left, at, left + width, at);
  ctx.textAlign = limit ? "left" : "right";
  say(ctx, label, limit ? left + 4 * ratio : left + width - 4 * ratio, at < top + 16 * ratio ? at + 12 * ratio : at - 4 * ratio);
  ctx.textAlign = "left";
}

function upright(ctx, { top, height, ratio, x }, mark) {
  const at = x(mark.x);
  ctx.strokeStyle = ctx.fillStyle = colour("ink");
  ctx.setLineDash([]);
  stroke(ctx, at, top, at, top + height);
  ctx.textAlign = "right";
  say(ctx, mark.label, at - 4 * ratio, top + 11 * ratio);
  ctx.textAlign = "left";
}

/** A dead time: from the move to where its effect begins. */
function bracket(ctx, { left, top, width, height, ratio, x }, { from, to, label, drawn = label }, row) {
  const [a, b, at] = [x(from), x(to), top + height - (6 + 13 * row) * ratio];
  ctx.strokeStyle = ctx.fillStyle = colour("ink");
  ctx.setLineDash([]);
  stroke(ctx, a, at, b, at);
  for (const end of [a, b]) stroke(ctx, end, at - 3 * ratio, end, at + 3 * ratio);
  const fits = b + 4 * ratio + ctx.measureText(drawn).width < left + width;
  ctx.textAlign = fits ? "left" : "right";
  say(ctx, drawn, fits ? b + 4 * ratio : a - 4 * ratio, at + 4 * ratio);
  ctx.textAlign = "left";
}

/** A circle where a move ends, a small square where its ramp begins. */
function grip(ctx, { ratio, x, y }, handle, name) {
  const [px, py] = [x(handle.x), y(handle.value)];
  ctx.fillStyle = colour("panel");
  ctx.strokeStyle = colour(name);
  ctx.lineWidth = 2 * ratio;
  ctx.beginPath();
  if (handle.kind === "ramp") ctx.rect(px - 4 * ratio, py - 4 * ratio, 8 * ratio, 8 * ratio);
  else ctx.arc(px, py, 5.5 * ratio, 0, 2 * Math.PI);
  ctx.fill();
  ctx.stroke();
}

function stroke(ctx, x0, y0, x1, y1) {
  ctx.beginPath();
  ctx.moveTo(x0, y0);
  ctx.lineTo(x1, y1);
  ctx.stroke();
}

// Moves drawn by hand on an MV's trend: drag a circle to move it, its square to make it a ramp; press on free ground to
// add one, double-click to take one away.

const NEAR = 14; // pixels around a handle

export class Moves {
  constructor(plot, get) {
    this.plot = plot;
    this.get = get;
    this.held = null; // {kind, i}
    plot.over.style.touchAction = "none";
    plot.over.addEventListener("pointerdown", (event) => this.down(event));
    plot.over.addEventListener("pointermove", (event) => this.move(event));
    plot.over.addEventListener("pointerup", () => (this.held = null));
    plot.over.addEventListener("pointercancel", () => (this.held = null));
    plot.over.addEventListener("dblclick", (event) => this.double(event));
  }

  /** The handle nearest to the pointer; null where none is near. */
  at({ offsetX, offsetY }) {
    const { plot } = this;
    const far = ({ x, value }) => Math.hypot(plot.valToPos(x, "x") - offsetX, plot.valToPos(value, "y") - offsetY);
    const [nearest] = this.get().handles.map((handle) => ({ handle, far: far(handle) })).sort((a, b) => a.far - b.far);
    return nearest && nearest.far < NEAR ? nearest.handle : null;
  }

  /** Where the pointer is, on the grid of the plant and in readable steps of the value. */
  point({ offsetX, offsetY }) {
    const { start, period_s } = this.get();
    const after = Math.max(0, Math.round((this.plot.posToVal(offsetX, "x") - start) / period_s)) * period_s;
    const { min, max } = this.plot.scales.y;
    const grain = 10 ** Math.floor(Math.log10((max - min) / 50));
    const value = Math.round(this.plot.posToVal(offsetY, "y") / grain) * grain;
    return { after_s: after, value: Number(value.toPrecision(6)) };
  }

  down(event) {
    const { start, add, count } = this.get();
    const found = this.at(event);
    if (!found && this.plot.posToVal(event.offsetX, "x") < start) return;
    event.preventDefault();
    this.plot.over.setPointerCapture(event.pointerId);
    if (!found) add(this.point(event));
    this.held = found ?? { kind: "end", i: count };
  }

  move(event) {
    this.plot.over.style.cursor = this.held || this.at(event) ? "grab" : "crosshair";
    if (this.held) this.get().drag(this.held, this.point(event));
  }

  double(event) {
    const found = this.at(event);
    if (found) this.get().remove(found.i);
  }
}

// Moves drawn by hand on an MV's trend: drag a handle, press on free ground to add one, double-click to take one away.

const NEAR = 14; // pixels around a handle

export class Moves {
  constructor(plot, get) {
    this.plot = plot;
    this.get = get;
    this.held = null;
    plot.over.style.touchAction = "none";
    plot.over.addEventListener("pointerdown", (event) => this.down(event));
    plot.over.addEventListener("pointermove", (event) => this.move(event));
    plot.over.addEventListener("pointerup", () => (this.held = null));
    plot.over.addEventListener("pointercancel", () => (this.held = null));
    plot.over.addEventListener("dblclick", (event) => this.double(event));
  }

  /** The handle under the pointer, as its place in the list; -1 where there is none. */
  at({ offsetX, offsetY }) {
    const { plot } = this;
    return this.get().steps.findIndex((step) => {
      const dx = plot.valToPos(step.x, "x") - offsetX;
      const dy = plot.valToPos(step.value, "y") - offsetY;
      return Math.hypot(dx, dy) < NEAR;
    });
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
    const { start, add, steps } = this.get();
    const found = this.at(event);
    if (found < 0 && this.plot.posToVal(event.offsetX, "x") < start) return;
    event.preventDefault();
    this.plot.over.setPointerCapture(event.pointerId);
    if (found < 0) add(this.point(event));
    this.held = found < 0 ? steps.length : found;
  }

  move(event) {
    this.plot.over.style.cursor = this.held !== null || this.at(event) >= 0 ? "grab" : "crosshair";
    if (this.held !== null) this.get().change(this.held, this.point(event));
  }

  double(event) {
    const found = this.at(event);
    if (found >= 0) this.get().remove(found);
  }
}

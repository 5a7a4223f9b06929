// Ways through time on a chart: wheel, fingers, drag with shift, keys. Each asks `onZoom` for a span, once a picture.

const STEP = 0.2; // of the span, by a key
const SCALE = 1.25;

export class Navigation {
  constructor(plot, place, get) {
    this.plot = plot;
    this.get = get;
    this.next = null; // the span asked for in the next picture
    this.held = new Map(); // pointer: where it was pressed, in pixels and as a time
    const { over } = plot;
    over.style.touchAction = "pan-y";
    over.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    over.addEventListener("pointerdown", (event) => this.down(event));
    over.addEventListener("pointermove", (event) => this.move(event));
    for (const end of ["pointerup", "pointercancel"]) over.addEventListener(end, (event) => this.up(event));
    place.onkeydown = (event) => this.key(event);
  }

  get span() {
    return this.next ?? [this.plot.scales.x.min, this.plot.scales.x.max];
  }

  ask(span) {
    if (this.next === null) {
      requestAnimationFrame(() => {
        const asked = this.next;
        this.next = null;
        this.get().onZoom(asked);
      });
    }
    this.next = span;
  }

  /** Zoom around a place, given as a share of the width. */
  zoom(factor, share = 0.5) {
    const [start, end] = this.span;
    const centre = start + share * (end - start);
    this.ask([centre - (centre - start) * factor, centre + (end - centre) * factor]);
  }

  pan(share) {
    const [start, end] = this.span;
    this.ask([start + share * (end - start), end + share * (end - start)]);
  }

  wheel(event) {
    event.preventDefault();
    const sideways = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
    if (sideways) this.pan((event.deltaX || event.deltaY) / 800);
    else this.zoom(Math.exp(event.deltaY / 500), event.offsetX / this.plot.over.clientWidth);
  }

  /** Fingers, and the mouse with shift, hold on to the times below them. */
  down(event) {
    if (event.pointerType === "mouse" && !event.shiftKey) return;
    this.plot.over.setPointerCapture(event.pointerId);
    this.held.set(event.pointerId, { at: event.offsetX, time: 0 });
    this.hold();
  }

  hold() {
    const [start, end] = this.span;
    const width = this.plot.over.clientWidth;
    for (const finger of this.held.values()) finger.time = start + (finger.at / width) * (end - start);
  }

  move(event) {
    const finger = this.held.get(event.pointerId);
    if (!finger) return;
    finger.at = event.offsetX;
    const width = this.plot.over.clientWidth;
    const [first, second] = this.held.values();
    const [start, end] = this.span;
    const wide = second && Math.abs(second.at - first.at) > 10;
    const scale = wide ? (second.time - first.time) / (second.at - first.at) : (end - start) / width;
    if (scale > 0) this.ask([first.time - first.at * scale, first.time + (width - first.at) * scale]);
  }

  up(event) {
    if (this.held.delete(event.pointerId)) this.hold();
  }

  key(event) {
    const acts = {
      ArrowLeft: () => this.pan(-STEP),
      ArrowRight: () => this.pan(STEP),
      "+": () => this.zoom(1 / SCALE),
      "=": () => this.zoom(1 / SCALE),
      "-": () => this.zoom(SCALE),
    };
    if (!acts[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    acts[event.key]();
  }
}

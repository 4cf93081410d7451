// The chosen moment, and every way to it: keys, mouse, touch, buttons, links from elsewhere on the page.

// How much room an event needs so that its mark stands beside the next one's.
const ROOM_PX = 7.5;

class Cursor {
  constructor(timeline) {
    this.timeline = timeline;
    this.listeners = [];
    this.canvas = timeline.canvas;
    this.zoom = d3.zoom().filter(wantsZoom).on("zoom", (event) => {
      timeline.scale.zoomed(event.transform);
      timeline.later();
    });
    d3.select(this.canvas).call(this.zoom).on("dblclick.zoom", null);
    this.canvas.addEventListener("click", (event) => this.clicked(event));
    this.canvas.addEventListener("mousemove", (event) => this.hovered(event));
    this.canvas.addEventListener("dblclick", (event) => this.zoomBy(3, event.offsetX));
    this.canvas.addEventListener("keydown", (event) => this.pressed(event));
    this.overview();
    this.buttons();
  }

  resized() {
    const { width, height, scale } = this.timeline;
    this.zoom.extent([[0, 0], [width, height]]).translateExtent([[0, 0], [width, height]]).scaleExtent([1, scale.deepest()]);
    this.zoomTo(scale.transform);
  }

  zoomTo(transform) {
    d3.select(this.canvas).call(this.zoom.transform, transform);
  }

  zoomBy(factor, x = null) {
    const { scale, width, chosen } = this.timeline;
    const own = chosen >= 0 ? scale.x(chosen) : -1;
    const at = x ?? (own >= 0 && own <= width ? own : width / 2);
    d3.select(this.canvas).call(this.zoom.scaleBy, factor, [at, 0]);
  }

  panBy(share) {
    const { scale, width } = this.timeline;
    d3.select(this.canvas).call(this.zoom.translateBy, (-share * width) / scale.transform.k, 0);
  }

  choose(i, zoomIn = false) {
    const { timeline } = this;
    if (i < 0 || i >= timeline.events.length) return;
    timeline.chosen = i;
    if (zoomIn) this.closeUp(i);
    const x = timeline.scale.x(i);
    if (x < 24 || x > timeline.width - 24) this.center(i);
    timeline.later();
    for (const listener of this.listeners) listener(i);
  }

  center(i) {
    const { scale, width } = this.timeline;
    d3.select(this.canvas).call(this.zoom.translateTo, scale.base(scale.value(i)), 0, [width / 2, 0]);
  }

  // A moment with its neighbours, so many events before and after it.
  closeUp(i, around = 20) {
    const { scale, width, events } = this.timeline;
    const last = events.length - 1;
    const [from, to] = [Math.max(0, i - around), Math.min(last, i + around)].map((n) => scale.base(scale.value(n)));
    const here = scale.base(scale.value(i));
    const reach = Math.max(2 * Math.max(here - from, to - here), 1e-9);
    const k = Math.min(Math.max(1, width / reach), this.zoom.scaleExtent()[1]);
    this.zoomTo(d3.zoomIdentity.translate(width / 2, 0).scale(k).translate(-here, 0));
    this.center(i);
  }

  // How a run is first seen: all of it where its events have room side by side, else what is around a moment.
  open(i) {
    const side = this.timeline.width / ROOM_PX;
    if (this.timeline.events.length > side) this.closeUp(i, Math.floor(side / 2));
  }

  // The next event, whatever its lane.
  step(by) {
    const { chosen, events } = this.timeline;
    this.choose(chosen < 0 ? (by > 0 ? 0 : events.length - 1) : Math.min(events.length - 1, Math.max(0, chosen + by)));
  }

  fault(by) {
    const { faults, chosen } = this.timeline;
    if (!faults.length) return;
    const next = by > 0 ? faults.find((i) => i > chosen) : faults.findLast((i) => i < chosen || chosen < 0);
    this.choose(next ?? (by > 0 ? faults[0] : faults[faults.length - 1]), true);
  }

  // The nearest event of the lane above or below.
  lane(by) {
    const { timeline } = this;
    if (timeline.chosen < 0) return this.step(1);
    const order = [...timeline.lanes.keys(), null].filter((lane) => timeline.inLane.has(lane));
    const here = order.indexOf(timeline.events[timeline.chosen].lane);
    const there = timeline.inLane.get(order[here + by]);
    if (!there) return undefined;
    const near = (i) => Math.abs(timeline.scale.value(i) - timeline.scale.value(timeline.chosen));
    return this.choose(there.reduce((best, i) => (near(i) < near(best) ? i : best)));
  }

  pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { events, scale } = this.timeline;
    const pan = event.shiftKey;
    const keys = table({
      ArrowLeft: () => (pan ? this.panBy(-0.2) : this.step(-1)),
      ArrowRight: () => (pan ? this.panBy(0.2) : this.step(1)),
      ArrowUp: () => this.lane(-1),
      ArrowDown: () => this.lane(1),
      Home: () => this.choose(0),
      End: () => this.choose(events.length - 1),
      PageUp: () => this.fault(-1),
      PageDown: () => this.fault(1),
      "+": () => this.zoomBy(1.6),
      "=": () => this.zoomBy(1.6),
      "-": () => this.zoomBy(1 / 1.6),
      0: () => this.zoomTo(d3.zoomIdentity),
    });
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key](scale);
  }

  clicked(event) {
    if (event.defaultPrevented) return;
    const found = this.timeline.at(event.offsetX, event.offsetY);
    this.choose(found >= 0 ? found : this.timeline.nearest(event.offsetX));
  }

  hovered(event) {
    const found = event.buttons ? -1 : this.timeline.at(event.offsetX, event.offsetY);
    this.canvas.title = found >= 0 ? wordsOf(this.timeline.events[found]) : "";
  }

  // On the strip a press or a drag brings that part into the middle.
  overview() {
    const strip = this.timeline.overview;
    const go = (event) => {
      if (!event.buttons) return;
      const { scale, width } = this.timeline;
      if (scale.transform.k === 1) this.zoomBy(6, event.offsetX);
      d3.select(this.canvas).call(this.zoom.translateTo, event.offsetX, 0, [width / 2, 0]);
    };
    strip.addEventListener("pointerdown", (event) => {
      strip.setPointerCapture(event.pointerId);
      go(event);
    });
    strip.addEventListener("pointermove", go);
  }

  buttons() {
    const acts = {
      "zoom-in": () => this.zoomBy(1.6),
      "zoom-out": () => this.zoomBy(1 / 1.6),
      "zoom-all": () => this.zoomTo(d3.zoomIdentity),
      "next-event": () => this.step(1),
      "previous-event": () => this.step(-1),
      "next-fault": () => this.fault(1),
      "previous-fault": () => this.fault(-1),
      "by-time": () => this.spacing(true),
      "by-order": () => this.spacing(false),
    };
    for (const [id, act] of Object.entries(acts)) byId(id).addEventListener("click", act);
    byId("next-fault").disabled = byId("previous-fault").disabled = !this.timeline.faults.length;
  }

  spacing(byTime) {
    const { timeline } = this;
    timeline.scale.byTime = byTime;
    timeline.scale.transform = d3.zoomIdentity;
    timeline.scale.refit();
    byId("by-time").setAttribute("aria-pressed", String(byTime));
    byId("by-order").setAttribute("aria-pressed", String(!byTime));
    this.resized();
    if (timeline.chosen >= 0 && !byTime) this.open(timeline.chosen);
    timeline.later();
  }
}

// The wheel alone scrolls the page, as everywhere; with Ctrl (or a pinch on a touchpad) it zooms.
function wantsZoom(event) {
  return event.type === "wheel" ? event.ctrlKey || event.metaKey : !event.button;
}

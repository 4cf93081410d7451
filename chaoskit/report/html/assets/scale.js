// Where an event stands: by its time, or one step an event. Zooming and panning change only the transform.

class Scale {
  constructor(events) {
    this.events = events;
    this.byTime = false;
    this.width = 1;
    this.transform = d3.zoomIdentity;
    this.base = d3.scaleLinear();
    this.refit();
  }

  value(i) {
    return this.byTime ? this.events[i].t : i;
  }

  // The whole run with a margin, so that the first and the last event are not at the very edge.
  refit() {
    const last = this.events.length - 1;
    const from = this.value(0), to = Math.max(this.value(last), from + 1e-6);
    const margin = (to - from) * 0.02;
    this.base.domain([from - margin, to + margin]).range([0, this.width]);
    this.visible = this.transform.rescaleX(this.base);
  }

  resize(width) {
    this.width = width;
    this.refit();
  }

  zoomed(transform) {
    this.transform = transform;
    this.visible = transform.rescaleX(this.base);
  }

  x(i) {
    return this.visible(this.value(i));
  }

  // The first event at or after a place on the screen.
  from(x) {
    const wanted = this.visible.invert(x);
    let low = 0, high = this.events.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.value(middle) < wanted) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  // How far in one can go: until the two events that are nearest to each other are well apart.
  deepest() {
    const [from, to] = this.base.domain();
    let least = to - from;
    for (let i = 1; i < this.events.length; i += 1) {
      const gap = this.value(i) - this.value(i - 1);
      if (gap > 0 && gap < least) least = gap;
    }
    return Math.min(1e6, Math.max(8, (30 * (to - from)) / (least * this.width)));
  }

  ticks() {
    const count = Math.max(2, this.width / 110);
    const format = this.visible.tickFormat(count);
    const ticks = this.visible.ticks(count);
    if (this.byTime) return ticks.map((tick) => [this.visible(tick), `${format(tick)} s`]);
    // One step an event: what a step says is when it happened.
    const steps = ticks.filter((tick) => Number.isInteger(tick) && this.events[tick]);
    return steps.map((step) => [this.visible(step), seconds(this.events[step].t)]);
  }
}

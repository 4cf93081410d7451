// The drawing: lanes of programs and queues on one canvas. It draws only what is in sight, and of many events of one
// kind in one column of pixels only one, so that ten thousand events cost no more than what can be seen of them.

const AXIS = 22, BADGE = 20, PROGRAM = 74, QUEUE = 66, FREE = 44;
const ROWS = table({ life: 28, log: 44, call: 61, published: 28, delivered: 42, acked: 56 });

class Timeline {
  constructor(events, lanes, scale) {
    this.events = events;
    this.lanes = lanes;
    this.scale = scale;
    this.canvas = byId("timeline-canvas");
    this.overview = byId("overview");
    this.chosen = -1;
    this.waiting = false;
    this.place();
    this.group();
    this.readColours();
  }

  // Lanes from top to bottom; events that are nobody's (the pipeline is ready) stand at the bottom.
  place() {
    let y = AXIS + BADGE;
    for (const lane of this.lanes) {
      lane.top = y;
      lane.height = lane.kind === "queue" ? QUEUE : PROGRAM;
      y += lane.height;
    }
    this.free = { top: y, height: FREE, name: "run", kind: "run" };
    this.height = y + FREE;
    const label = (lane) => {
      const role = lane.role ? `, ${lane.role}` : lane.kind === "queue" ? ", queue" : "";
      const made = el("p", {}, el("b", {}, lane.name), role);
      made.style.top = `${lane.top + 3}px`;
      return made;
    };
    byId("lane-names").append(...[...this.lanes, this.free].map(label));
  }

  // What is drawn as one thing over several events: lives of programs, ways of messages, faults.
  group() {
    this.lives = [];
    this.ways = [];
    this.faults = [];
    this.inLane = new Map();
    const open = new Map(), under = new Map();
    this.events.forEach((event, i) => {
      if (!this.inLane.has(event.lane)) this.inLane.set(event.lane, []);
      this.inLane.get(event.lane).push(i);
      if (event.kind === "start") open.set(event.lane, { lane: event.lane, life: event.life, from: i, to: -1 });
      if (event.kind === "exit" && open.has(event.lane)) {
        this.lives.push({ ...open.get(event.lane), to: i, died: Boolean(event.flags & BAD) });
        open.delete(event.lane);
      }
      if (event.kind === "fault") this.faults.push(i);
      if (event.kind === "message" && event.text && !(event.flags & INJECTED)) this.way(under, event, i);
    });
    for (const life of open.values()) this.lives.push({ ...life, to: this.events.length - 1, died: false });
  }

  way(under, event, i) {
    const key = `${event.lane} ${event.text}`;
    if (under.has(key) && event.what !== "published" && ROWS[event.what]) {
      this.ways.push({ lane: event.lane, from: under.get(key), to: i });
    }
    if (ROWS[event.what]) under.set(key, i);
  }

  readColours() {
    const style = getComputedStyle(document.documentElement);
    this.colours = new Proxy({}, {
      get: (known, name) => (known[name] ??= style.getPropertyValue(`--${name}`).trim()),
    });
    this.font = `11px ${getComputedStyle(document.body).fontFamily}`;
  }

  laneOf(event) {
    return event.lane === null ? this.free : this.lanes[event.lane];
  }

  y(event) {
    const lane = this.laneOf(event);
    if (lane === this.free) return lane.top + 26;
    if (event.kind === "message") return lane.top + (ROWS[event.what] || (event.what === "confirmed" ? ROWS.published : ROWS.acked));
    if (event.kind === "call") return lane.top + ROWS.call;
    if (event.kind === "log" || event.kind === "verdict") return lane.top + ROWS.log;
    return lane.top + (lane.kind === "queue" ? ROWS.delivered : ROWS.life);
  }

  later() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.draw();
    });
  }

  resize() {
    const width = this.canvas.parentElement.clientWidth;
    const dots = window.devicePixelRatio || 1;
    for (const [canvas, height] of [[this.canvas, this.height], [this.overview, 26]]) {
      canvas.width = Math.round(width * dots);
      canvas.height = Math.round(height * dots);
      canvas.style.height = `${height}px`;
      canvas.getContext("2d").setTransform(dots, 0, 0, dots, 0, 0);
    }
    this.width = width;
    this.scale.resize(width);
    this.later();
  }

  draw() {
    const ctx = this.canvas.getContext("2d");
    ctx.clearRect(0, 0, this.width, this.height);
    ctx.font = this.font;
    ctx.textBaseline = "middle";
    this.drawLanes(ctx);
    this.drawAxis(ctx);
    this.drawLives(ctx);
    this.drawWays(ctx);
    this.drawFaults(ctx);
    this.drawEvents(ctx);
    this.drawCursor(ctx);
    drawOverview(this);
  }

  drawLanes(ctx) {
    for (const lane of this.lanes) {
      if (lane.kind === "queue") {
        ctx.fillStyle = this.colours.queue;
        ctx.fillRect(0, lane.top, this.width, lane.height);
      }
      ctx.fillStyle = this.colours.line;
      ctx.fillRect(0, lane.top + lane.height - 1, this.width, 1);
    }
  }

  drawAxis(ctx) {
    ctx.textAlign = "center";
    for (const [x, text] of this.scale.ticks()) {
      ctx.fillStyle = this.colours.line;
      ctx.fillRect(x, AXIS - 4, 1, this.height);
      ctx.fillStyle = this.colours.muted;
      ctx.fillText(text, Math.min(Math.max(x, 24), this.width - 24), 10);
    }
  }

  drawLives(ctx) {
    ctx.textAlign = "left";
    for (const life of this.lives) {
      const from = Math.max(this.scale.x(life.from), -10), to = Math.min(this.scale.x(life.to), this.width + 10);
      if (to < 0 || from > this.width) continue;
      const y = this.lanes[life.lane].top + ROWS.life;
      ctx.fillStyle = this.colours.life;
      ctx.fillRect(from, y - 7, Math.max(to - from, 1), 14);
      ctx.fillStyle = this.colours["life-edge"];
      ctx.fillRect(from, y - 7, 1, 14);
      if (to - from > 60) {
        ctx.fillStyle = this.colours.muted;
        ctx.fillText(`life ${life.life}`, Math.max(from, 0) + 12, y);
      }
    }
  }

  drawWays(ctx) {
    ctx.strokeStyle = this.colours.message;
    ctx.globalAlpha = 0.45;
    ctx.beginPath();
    for (const way of this.ways) {
      const from = this.scale.x(way.from), to = this.scale.x(way.to);
      if (to < 0 || from > this.width || to - from < 2) continue;
      ctx.moveTo(from, this.y(this.events[way.from]));
      ctx.lineTo(to, this.y(this.events[way.to]));
    }
    ctx.stroke();
    ctx.globalAlpha = 1;
  }

  drawFaults(ctx) {
    ctx.textAlign = "center";
    let busyUntil = -1;
    for (const i of this.faults) {
      const x = this.scale.x(i);
      if (x < -10 || x > this.width + 10) continue;
      ctx.strokeStyle = this.colours.bad;
      ctx.setLineDash([4, 3]);
      ctx.beginPath();
      ctx.moveTo(x, AXIS + BADGE);
      ctx.lineTo(x, this.height);
      ctx.stroke();
      ctx.setLineDash([]);
      if (x - 9 < busyUntil) continue;
      busyUntil = x + 9;
      ctx.fillStyle = this.colours.bad;
      ctx.beginPath();
      ctx.arc(x, AXIS + 9, 9, 0, 7);
      ctx.fill();
      ctx.fillStyle = this.colours.surface;
      ctx.fillText(String(this.events[i].nth + 1), x, AXIS + 9.5);
    }
  }

  drawEvents(ctx) {
    const drawn = new Map();
    const end = this.scale.from(this.width + 8);
    const special = [];
    for (let i = this.scale.from(-8); i < end; i += 1) {
      // What is not as usual comes last, so that nothing usual lies over it.
      if (this.events[i].flags) special.push(i);
      else this.drawEvent(ctx, i, drawn);
    }
    for (const i of special) this.drawEvent(ctx, i, drawn);
  }

  drawEvent(ctx, i, drawn) {
    const event = this.events[i];
    const x = Math.round(this.scale.x(i)), y = this.y(event), name = glyphOf(event);
    const column = `${event.lane} ${y} ${name}`;
    // A mark is ten pixels wide: one that would cover another of its kind almost wholly tells nothing new.
    if (x - (drawn.get(column) ?? -99) < 2) return;
    drawn.set(column, x);
    this.mark(ctx, name, x, y);
  }

  mark(ctx, name, x, y, size = 1) {
    const glyph = GLYPHS[name];
    ctx.save();
    ctx.translate(x, y);
    ctx.scale(size, size);
    ctx.lineWidth = 1.6;
    if (glyph.hollow) {
      ctx.strokeStyle = this.colours[glyph.tone];
      ctx.stroke(SHAPES[name]);
    } else {
      ctx.fillStyle = this.colours[glyph.tone];
      ctx.fill(SHAPES[name], "evenodd");
    }
    ctx.restore();
  }

  drawCursor(ctx) {
    if (this.chosen < 0) return;
    const event = this.events[this.chosen];
    const x = this.scale.x(this.chosen), y = this.y(event);
    ctx.strokeStyle = this.colours.cursor;
    ctx.fillStyle = this.colours.cursor;
    ctx.globalAlpha = 0.5;
    ctx.fillRect(x - 0.5, AXIS - 4, 1, this.height);
    ctx.globalAlpha = 1;
    ctx.lineWidth = 2;
    ctx.beginPath();
    ctx.arc(x, y, 9, 0, 7);
    ctx.stroke();
    ctx.lineWidth = 1;
    this.mark(ctx, glyphOf(event), x, y, 1.15);
  }

  // The event at a place on the canvas: the nearest in that lane, if there is one within reach of a finger.
  at(x, y) {
    const reach = 14;
    let best = -1, least = reach;
    const end = this.scale.from(x + reach);
    for (let i = this.scale.from(x - reach); i < end; i += 1) {
      const distance = Math.hypot(this.scale.x(i) - x, this.y(this.events[i]) - y);
      if (distance < least || (i === this.chosen && distance <= least)) {
        best = i;
        least = distance;
      }
    }
    return best;
  }

  // The event nearest to a place across, whatever its lane.
  nearest(x) {
    const i = Math.min(this.scale.from(x), this.events.length - 1);
    return i > 0 && Math.abs(this.scale.x(i - 1) - x) < Math.abs(this.scale.x(i) - x) ? i - 1 : i;
  }
}

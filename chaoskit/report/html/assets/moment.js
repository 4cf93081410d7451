// The chosen moment in words, and the lines beside it.

const AROUND = 60;

class Moment {
  constructor(timeline, cursor) {
    this.timeline = timeline;
    this.cursor = cursor;
    this.onlyLogs = true;
    this.lane = "";
    byId("only-logs").addEventListener("click", () => this.showing(true));
    byId("everything").addEventListener("click", () => this.showing(false));
    byId("find").addEventListener("keydown", (event) => event.key === "Enter" && this.find(event.shiftKey ? -1 : 1));
    byId("beside-scroll").addEventListener("keydown", (event) => this.pressed(event));
    const names = timeline.lanes.map((lane, i) => el("option", { value: i }, lane.name));
    byId("beside-lane").append(el("option", { value: "" }, "all"), ...names);
    byId("beside-lane").addEventListener("change", (event) => {
      this.lane = event.currentTarget.value;
      this.list();
    });
    cursor.listeners.push((i) => this.chosen(i));
    if (!timeline.events.some(isLine)) this.showing(false);
  }

  chosen(i) {
    const event = this.timeline.events[i];
    byId("moment-what").textContent = `${laneName(this.timeline, event)}: ${wordsOf(event)}`;
    byId("moment-details").replaceChildren(...details(this.timeline, event, i).flatMap(
      ([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
    this.list();
  }

  showing(onlyLogs) {
    this.onlyLogs = onlyLogs;
    byId("only-logs").setAttribute("aria-pressed", String(onlyLogs));
    byId("everything").setAttribute("aria-pressed", String(!onlyLogs));
    this.list();
  }

  wanted(event) {
    const mine = this.lane === "" || event.lane === Number(this.lane) || event.actor === Number(this.lane);
    return mine && (!this.onlyLogs || isLine(event));
  }

  // The wanted events before and after the chosen one.
  near() {
    const { events, chosen } = this.timeline;
    const before = [], after = [];
    for (let i = chosen; i >= 0 && before.length < AROUND; i -= 1) if (this.wanted(events[i])) before.unshift(i);
    for (let i = chosen + 1; i < events.length && after.length < AROUND; i += 1) if (this.wanted(events[i])) after.push(i);
    return [before, after];
  }

  list() {
    if (this.timeline.chosen < 0) return;
    const [before, after] = this.near();
    const rows = [...before, ...after].map((i) => this.row(i));
    // Where the moment itself is no line, a rule stands where it is between them.
    if (!this.wanted(this.timeline.events[this.timeline.chosen]) && rows[before.length]) rows[before.length].classList.add("now");
    byId("beside-table").replaceChildren(el("tbody", {}, ...rows));
    const more = rows.length ? "" : "Nothing to show here: choose Everything, or all programs.";
    byId("beside-note").textContent = more || `${plural(rows.length, "line")} around ${seconds(this.timeline.events[this.timeline.chosen].t)}. Click one to go there.`;
    const scroll = byId("beside-scroll");
    const here = rows[Math.min(before.length, rows.length - 1)];
    if (here) scroll.scrollTop = here.offsetTop - scroll.clientHeight / 2;
  }

  row(i) {
    const event = this.timeline.events[i];
    const tone = event.kind === "fault" ? "fault" : "";
    const made = el("tr", { class: `${tone}${i === this.timeline.chosen ? " chosen" : ""}` || null },
      el("td", { class: "number" }, event.t.toFixed(4)),
      el("td", { class: "who" }, laneName(this.timeline, event)),
      el("td", { class: "line" }, event.kind === "log" || event.kind === "verdict" ? event.text : wordsOf(event)));
    if (i === this.timeline.chosen) made.setAttribute("aria-current", "true");
    made.addEventListener("click", () => this.cursor.choose(i));
    return made;
  }

  pressed(event) {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const { events, chosen } = this.timeline;
    for (let i = chosen + by; i >= 0 && i < events.length; i += by) {
      if (this.wanted(events[i])) return this.cursor.choose(i);
    }
  }

  find(by) {
    const wanted = byId("find").value.toLowerCase();
    const { events, chosen } = this.timeline;
    for (let n = 1; wanted && n <= events.length; n += 1) {
      const i = (chosen + by * n + 2 * events.length) % events.length;
      if (`${laneName(this.timeline, events[i])} ${wordsOf(events[i])}`.toLowerCase().includes(wanted)) {
        this.cursor.choose(i, true);
        announce(wordsOf(events[i]));
        return;
      }
    }
    byId("beside-note").textContent = wanted ? "Nothing in this run has that in it." : "";
  }
}

function isLine(event) {
  return event.kind === "log" || event.kind === "verdict" || event.kind === "fault";
}

function laneName(timeline, event) {
  return event.lane === null ? "run" : timeline.lanes[event.lane].name;
}

function details(timeline, event, i) {
  const place = (lane) => (lane === null || lane === undefined ? null : timeline.lanes[lane].name);
  const fault = event.kind === "fault" ? data.faults[event.nth] : null;
  const pairs = [
    ["time", seconds(event.t, 6)],
    ["event", `${i + 1} of ${timeline.events.length}`],
    ["what", event.kind === "message" || event.kind === "call" ? `${event.kind}: ${event.what}` : event.kind],
    ["seen at", place(event.actor)],
    ["life", event.life],
    ["place", fault && fault.place],
    ["marks", [event.flags & REDELIVERED && "redelivered", event.flags & INJECTED && "injected by chaoskit"].filter(Boolean).join(", ")],
  ];
  return pairs.filter(([, value]) => value !== null && value !== "" && value !== undefined).map(([name, value]) => [name, String(value)]);
}

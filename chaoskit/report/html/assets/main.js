// Puts the page together from its data.

const NAMES = ["t", "kind", "lane", "what", "text", "life", "nth", "size", "flags", "actor"];
let chooseFault = () => {};

function eventOf(row) {
  const event = {};
  NAMES.forEach((name, i) => { event[name] = row[i]; });
  return event;
}

function drawTimeline() {
  const events = data.timeline.rows.map(eventOf);
  if (!events.length) return () => {};
  show("timeline");
  const left = data.timeline.left_out;
  if (left) note("timeline-left-out", `${plural(left, "event")} far from every fault are not shown here, to keep the page small: journal.jsonl has them all.`);
  if (data.exploration) byId("timeline-title").textContent = "Timeline of the control run";
  legend(events);
  const timeline = new Timeline(events, data.timeline.lanes, new Scale(events));
  const cursor = new Cursor(timeline);
  new Moment(timeline, cursor);
  timeline.resize();
  cursor.resized();
  new ResizeObserver(() => {
    if (timeline.width === timeline.canvas.parentElement.clientWidth) return;
    timeline.resize();
    cursor.resized();
  }).observe(timeline.canvas.parentElement);
  begin(timeline, cursor);
  chooseFault = (step) => {
    const i = timeline.faults.find((n) => events[n].nth === step);
    if (i === undefined) return;
    cursor.choose(i, true);
    byId("timeline").scrollIntoView();
    timeline.canvas.focus({ preventScroll: true });
  };
  return () => {
    timeline.readColours();
    timeline.later();
  };
}

// The page opens at the first fault, or at the first verdict that is bad, else at the end.
function begin(timeline, cursor) {
  const { events, faults } = timeline;
  const bad = events.findIndex((event) => event.kind === "verdict" && event.flags & BAD);
  const i = faults.length ? faults[0] : bad >= 0 ? bad : events.length - 1;
  cursor.open(i);
  cursor.choose(i);
}

function parts() {
  const links = [...document.querySelectorAll("main section[id] > h2")]
    .filter((title) => !title.parentElement.hidden)
    .map((title) => el("a", { href: `#${title.parentElement.id}` }, title.textContent));
  byId("parts").append(...links);
}

story();
crashmap();
hexdumps();
const redraw = drawTimeline();
theme(redraw);
parts();

// The symbols of the timeline: one shape a kind, so that nothing is told by colour alone. Boxes reach from -5 to 5.

const GLYPHS = table({
  write: { path: "M-4,-4H4V4H-4Z", tone: "call", name: "write" },
  fsync: { path: "M0,-5L5,0L0,5L-5,0Z", tone: "call", name: "fsync", hollow: true },
  create: { path: "M-5,-1.2H-1.2V-5H1.2V-1.2H5V1.2H1.2V5H-1.2V1.2H-5Z", tone: "call", name: "create" },
  mkdir: { path: "M-5,-4H-1L0.5,-2.5H5V4H-5Z", tone: "call", name: "mkdir" },
  unlink: { path: "M-5,-1.3H5V1.3H-5Z", tone: "call", name: "unlink" },
  rename: { path: "M-5,-1.2H0V-4.5L5,0L0,4.5V1.2H-5Z", tone: "call", name: "rename" },
  truncate: { path: "M-4,-4H-1V4H-4ZM1,-4H2.4V4H1Z", tone: "call", name: "truncate" },
  send: { path: "M-3,-3.4L4,0L-3,3.4Z", tone: "send", name: "send" },
  other: { path: "M-2.5,-2.5H2.5V2.5H-2.5Z", tone: "call", name: "other call" },
  published: { path: "M0,-5L5,4H-5Z", tone: "message", name: "published" },
  delivered: { path: "M0,5L5,-4H-5Z", tone: "message", name: "delivered" },
  redelivered: { path: "M0,5L5,-4H-5Z", tone: "message", name: "redelivered", hollow: true },
  injected: { path: "M0,-6L6,0L0,6L-6,0ZM0,-2.4L-2.4,0L0,2.4L2.4,0Z", tone: "bad", name: "injected copy" },
  acked: { path: "M-5,0L-3.4,-1.6L-1.4,0.6L3.6,-4.6L5,-3L-1.3,4Z", tone: "acked", name: "acknowledged" },
  confirmed: { path: "M-2,-2H2V2H-2Z", tone: "acked", name: "confirmed to the sender" },
  refused: { path: "M-4.6,-3.2L-3.2,-4.6L0,-1.4L3.2,-4.6L4.6,-3.2L1.4,0L4.6,3.2L3.2,4.6L0,1.4L-3.2,4.6L-4.6,3.2L-1.4,0Z", tone: "warn", name: "rejected, returned" },
  log: { path: "M-0.8,-5H0.8V5H-0.8Z", tone: "log", name: "log line" },
  start: { path: "M-4,-5L5,0L-4,5Z", tone: "good", name: "start" },
  stopped: { path: "M-4,-4H4V4H-4Z", tone: "send", name: "end" },
  died: { path: "M0,-6A6,6 0 1 1 -0.01,-6ZM-3.2,-2.2L-1,0L-3.2,2.2L-2.2,3.2L0,1L2.2,3.2L3.2,2.2L1,0L3.2,-2.2L2.2,-3.2L0,-1L-2.2,-3.2Z", tone: "bad", name: "death" },
  fault: { path: "M1,-7L-4,1H-0.6L-1.6,7L4,-1.4H0.5Z", tone: "bad", name: "fault" },
  good: { path: "M-5,0L-3.4,-1.6L-1.4,0.6L3.6,-4.6L5,-3L-1.3,4Z", tone: "good", name: "SUCCESS" },
  ill: { path: "M-5,-3.4L-3.4,-5L0,-1.6L3.4,-5L5,-3.4L1.6,0L5,3.4L3.4,5L0,1.6L-3.4,5L-5,3.4L-1.6,0Z", tone: "bad", name: "FAILURE" },
  note: { path: "M0,-4A4,4 0 1 1 -0.01,-4Z", tone: "warn", name: "note" },
});
const SHAPES = table(Object.fromEntries(Object.entries(GLYPHS).map(([name, glyph]) => [name, new Path2D(glyph.path)])));
const REDELIVERED = 1, INJECTED = 2, BAD = 4;
const MESSAGES = table({ published: "published", delivered: "delivered", acked: "acked", confirmed: "confirmed" });

// The symbol of an event.
function glyphOf(event) {
  if (event.kind === "call") return GLYPHS[event.what] ? event.what : "other";
  if (event.kind === "verdict") return event.flags & BAD ? "ill" : "good";
  if (event.kind === "exit") return event.flags & BAD ? "died" : "stopped";
  if (event.kind !== "message") return Object.hasOwn(GLYPHS, event.kind) ? event.kind : "note";
  if (event.flags & INJECTED) return "injected";
  if (event.flags & REDELIVERED && event.what === "delivered") return "redelivered";
  return MESSAGES[event.what] || "refused";
}

// The event in one line, as the pane beside the timeline and a screen reader have it.
function wordsOf(event) {
  const nth = event.nth && event.kind !== "fault" ? ` #${event.nth}` : "";
  const bytes = event.size ? `, ${plural(event.size, "byte")}` : "";
  if (event.kind === "call") return `${event.what} ${event.text}${nth}${bytes}${event.flags & BAD ? " (failed)" : ""}`;
  if (event.kind === "message") return `${glyphOf(event) === "injected" ? "injected copy " : ""}${event.flags & REDELIVERED ? "again " : ""}${event.what}${nth}${event.text ? ` ${event.text}` : ""}${bytes}`;
  if (event.kind === "start") return `start of life ${event.life} (${event.text})`;
  if (event.kind === "exit") return `end of life ${event.life}: ${event.what} (${event.text})`;
  if (event.kind === "fault") return `fault ${event.nth + 1}: ${event.text}`;
  if (event.kind === "note") return `${event.what}: ${event.text}`;
  return event.text;
}

function legend(events) {
  const present = new Set(events.map(glyphOf));
  const item = ([name, glyph]) => el("li", {},
    svg("svg", { viewBox: "-7 -7 14 14", "aria-hidden": "true" }, svg("path", {
      d: glyph.path, "fill-rule": "evenodd", "stroke-width": "1.4",
      class: `tone-${glyph.tone}${glyph.hollow ? " hollow" : ""}`,
    })), glyph.name);
  byId("legend").append(...Object.entries(GLYPHS).filter(([name]) => present.has(name)).map(item));
}

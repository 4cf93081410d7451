// The verdict at the top, and the tables: what was done, what came of it, findings, facts.

const RESULTS = table({ pass: "✓ PASS", fail: "✗ FAIL", error: "✗ ERROR", inconclusive: "? INCONCLUSIVE" });
const OUTCOMES = table({ SUCCESS: ["✓ SUCCESS", "good"], FAILURE: ["✗ FAILURE", "bad"], MISSING: ["✗ MISSING", "bad"] });

function outcome(name) {
  const [text, tone] = OUTCOMES[name] || [name, "warn"];
  return el("span", { class: `outcome ${tone}` }, text);
}

function story() {
  const sentence = data.sentence || data.result;
  byId("verdict").classList.add(data.result);
  byId("result").textContent = RESULTS[data.result] || data.result;
  byId("sentence").textContent = `${sentence}.`;
  byId("sentence").classList.toggle("long", sentence.length > 170);
  byId("replay").textContent = data.replay;
  byId("copy-replay").addEventListener("click", (event) => copy(data.replay, event.currentTarget));
  byId("bar-scenario").textContent = data.scenario;
  document.title = `${(RESULTS[data.result] || data.result).slice(2)} ${data.scenario} - chaoskit`;
  faults();
  verdicts();
  findings();
  byId("facts-list").append(...data.facts.map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", {}, text))));
}

function faults() {
  if (!data.faults.length) return;
  const rows = data.faults.map((fault, step) => [String(step + 1), faultStory(fault, step), faultTime(fault), faultBack(fault)]);
  fill(byId("faults-table"), ["", "fault", "when", "back after"], rows, [2, 3]);
  show("faults");
}

function faultStory(fault, step) {
  const words = fault.words || `${fault.fault} ${fault.target}`;
  const title = fault.fired
    ? el("button", { type: "button", class: "link", click: () => chooseFault(step) }, words)
    : el("span", { class: "warn" }, `${words}: never happened`);
  const exact = fault.fired && !fault.exact ? " (timed)" : "";
  return el("div", {}, title, el("div", { class: "small mono" }, `${fault.place}${exact}`),
    fault.note ? el("div", { class: "small" }, fault.note) : null);
}

function faultTime(fault) {
  return fault.fired && fault.t_s !== null ? seconds(fault.t_s) : el("span", { class: "warn outcome" }, "never");
}

function faultBack(fault) {
  return fault.back_s === null ? "" : seconds(fault.back_s);
}

function verdicts() {
  if (!data.verdicts.length) return;
  fill(byId("verdicts-table"), ["verdict", "outcome", "detail"], data.verdicts.map(([id, name, detail]) => [id, outcome(name), detail]));
  if (data.exploration) byId("verdicts-title").textContent = "Verdicts of the control run";
  if (data.verdicts_left_out) note("verdicts-left-out", `${plural(data.verdicts_left_out, "more verdict")}, all SUCCESS or further down: see report.json.`);
  show("verdicts");
}

function findings() {
  if (!data.findings.length) return;
  const line = (f) => el("li", {}, el("b", { class: f.note ? "small" : "warn" }, f.note ? "note" : f.check), ` ${f.text}`);
  byId("findings-list").append(...data.findings.map(line));
  show("findings");
}

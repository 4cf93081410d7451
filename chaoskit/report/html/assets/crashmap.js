// The map of crash points of an exploration: files down, operations across, one button a point.

function crashmap() {
  const { map } = data;
  if (!map) return;
  const [found, run, survived, merged] = map.figures;
  byId("map-figures").textContent = `${plural(run, "experiment")} of ${found} were made, ${survived} were survived, ${run - survived} were not`
    + (merged ? `; ${plural(merged, "recovery")} met a state that had been explored and were left out.`.replace("recoverys", "recoveries") : ".");
  byId("map-key").append(
    el("span", {}, el("span", { class: "spot good" }, "✓"), "survived every experiment"),
    el("span", {}, el("span", { class: "spot bad" }, "✗"), "did not: choose it to see which"));
  fill(byId("map-table"), ["file", ...map.ops], map.rows.map((row) => [row.path, ...row.cells.map(cell)]));
  const left = [
    map.spots_left_out && `${plural(map.spots_left_out, "survived point")} are only counted here, to keep the page small.`,
    map.failures_left_out && `${plural(map.failures_left_out, "more failure")} are in report.json.`,
  ];
  note("map-left-out", left.filter(Boolean).join(" "));
  show("map");
  const worst = [...byId("map-table").querySelectorAll(".spot.bad")];
  const first = worst.find((button) => button.dataset.name === map.worst) || worst[0];
  if (first) choose(first);
  rove(byId("map-table"));
}

function cell(found) {
  if (!found) return el("span", { class: "small", "aria-label": "none" }, "");
  const failed = found.run - found.survived;
  const count = failed ? `${failed} of ${found.run} not survived` : `${found.run} survived`;
  return el("div", {}, el("div", { class: "spots" }, ...found.spots.map(spot)), el("span", { class: "count" }, count));
}

function spot([name, run, survived]) {
  const bad = survived < run;
  const label = `${name}: ${bad ? `${run - survived} of ${run} experiments not survived` : `all ${run} experiments survived`}`;
  return el("button", {
    type: "button", class: `spot ${bad ? "bad" : "good"}`, tabindex: "-1", title: label, "aria-label": label,
    "aria-pressed": "false", "data-name": name, click: (event) => choose(event.currentTarget, true),
  }, bad ? "✗" : "✓");
}

// One button of the map is reached with Tab, the others from there with the arrow keys.
function rove(within) {
  const buttons = [...within.querySelectorAll(".spot")];
  if (!buttons.length) return;
  (within.querySelector("[aria-pressed=true]") || buttons[0]).tabIndex = 0;
  within.addEventListener("keydown", (event) => {
    const here = buttons.indexOf(document.activeElement);
    const there = here < 0 ? null : next(buttons, here, event.key);
    if (!there) return;
    event.preventDefault();
    buttons[here].tabIndex = -1;
    there.tabIndex = 0;
    there.focus();
  });
}

function next(buttons, here, key) {
  if (key === "ArrowRight") return buttons[here + 1];
  if (key === "ArrowLeft") return buttons[here - 1];
  if (key === "Home") return buttons[0];
  if (key === "End") return buttons[buttons.length - 1];
  if (key !== "ArrowDown" && key !== "ArrowUp") return null;
  // Up and down: the button of the row above or below that is nearest across.
  const row = (button) => button.closest("tr").rowIndex;
  const across = (button) => Math.abs(button.getBoundingClientRect().left - buttons[here].getBoundingClientRect().left);
  const wanted = row(buttons[here]) + (key === "ArrowDown" ? 1 : -1);
  const there = buttons.filter((button) => row(button) === wanted);
  return there.length ? there.reduce((best, button) => (across(button) < across(best) ? button : best)) : null;
}

function choose(button, scroll = false) {
  for (const other of byId("map-table").querySelectorAll("[aria-pressed=true]")) other.setAttribute("aria-pressed", "false");
  button.setAttribute("aria-pressed", "true");
  const failures = data.map.failures.filter((failure) => failure.spot === button.dataset.name);
  const title = el("h3", {}, button.getAttribute("aria-label"));
  byId("map-details").replaceChildren(title, ...failures.map(failure));
  if (scroll && failures.length) byId("map-details").scrollIntoView({ block: "nearest" });
}

function failure(found) {
  const steps = found.plan.map((step) => el("li", { class: "mono" }, step));
  const words = found.sentence ? `${found.sentence}.` : "";
  return el("div", { class: "failure" },
    words ? el("p", {}, el("b", {}, words)) : null,
    el("p", { class: "small" }, `Failed ${found.rate} times. What was done:`),
    el("ul", {}, ...steps),
    ...found.verdicts.map(([id, name, detail]) => el("p", {}, outcome(name), ` ${id}${detail ? ` - ${detail}` : ""}`)),
    ...found.findings.map((text) => el("p", { class: "warn" }, text)),
    el("div", { class: "again" }, el("code", {}, found.replay), copyButton(found.replay),
      found.link ? el("a", { href: encodeURI(found.link) }, "Report of this run") : null));
}

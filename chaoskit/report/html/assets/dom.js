"use strict";

// The only ways in which this page makes elements. What came from a run goes in as text, never as markup.

const data = JSON.parse(document.getElementById("data").textContent);

// A table of names that come from a run: it knows no name but its own, not even those that every object has.
function table(entries) {
  return Object.assign(Object.create(null), entries);
}

function byId(id) {
  return document.getElementById(id);
}

function el(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

function svg(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function show(id) {
  byId(id).hidden = false;
}

function note(id, text) {
  if (text) {
    byId(id).textContent = text;
    show(id);
  }
}

// A table with a head. Cells are texts or elements; `numbers` are the columns that stand to the right.
function fill(into, heads, rows, numbers = []) {
  const side = (column) => (numbers.includes(column) ? "number" : null);
  const head = el("tr", {}, ...heads.map((text, i) => el("th", { scope: "col", class: side(i) }, text)));
  const cell = (content, i) =>
    i === 0 ? el("th", { scope: "row" }, content) : el("td", { class: side(i) }, content ?? "");
  const body = rows.map((row) => el("tr", {}, ...row.map(cell)));
  into.replaceChildren(el("thead", {}, head), el("tbody", {}, ...body));
}

function plural(n, word) {
  return `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;
}

function seconds(t, digits = 3) {
  return `${t.toFixed(digits)} s`;
}

function announce(text) {
  byId("announce").textContent = text;
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Where a page from a file may not use the clipboard, a selection can still be copied.
    const field = el("textarea", { class: "unseen", readonly: true, "aria-hidden": "true" });
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
    button.focus();
  }
  const before = button.textContent;
  button.textContent = "Copied";
  announce("The command is copied.");
  setTimeout(() => { button.textContent = before; }, 1600);
}

function copyButton(text) {
  const button = el("button", { type: "button", "aria-label": `Copy: ${text}` }, "Copy");
  button.addEventListener("click", () => copy(text, button));
  return button;
}

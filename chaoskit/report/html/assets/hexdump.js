// Files byte by byte: as they were when a fault fell on them, and later. What a cut write left behind is marked, and
// in the later ones what is not as it was.

function hexdumps() {
  if (!data.files.length) return;
  byId("files-list").append(...data.files.map(file));
  show("files");
}

function file(found) {
  const [first, ...later] = found.moments;
  const title = `${found.path} of ${found.program}`;
  const story = data.faults[found.fault] ? data.faults[found.fault].words : "";
  return el("div", { class: "file" },
    el("h3", {}, title),
    story ? el("p", { class: "small" }, `Fault ${found.fault + 1}: ${story}`) : null,
    el("div", { class: "dumps" }, dump(found, first, null), ...later.map((moment) => dump(found, moment, first))));
}

function bytesOf(moment) {
  return moment.hex.match(/../g) || [];
}

// One moment of a file. Rows are of sixteen bytes, of eight where there is no room, and begin at the file's offsets.
function dump(found, moment, before) {
  const wide = window.matchMedia("(min-width: 44rem)").matches ? 16 : 8;
  const bytes = bytesOf(moment), old = before ? bytesOf(before) : [];
  const shown = moment.size === null ? old : bytes;
  const count = Math.max(bytes.length, moment.size === null ? 0 : lostFrom(bytes, old, moment));
  const mark = marker(moment, before, bytes, old);
  const rows = [];
  const begin = found.offset - (found.offset % wide);
  for (let at = begin; at < found.offset + Math.max(count, 1) && count; at += wide) rows.push(at);
  const made = el("table", { class: "dump" }, el("caption", {}, caption(found, moment)),
    el("tbody", {}, ...rows.map((at) => line(found, at, wide, bytes, old, mark))));
  if (moment.size === null) made.append(el("tbody", {}, el("tr", {}, el("td", {}, "the file is gone"))));
  else if (!shown.length) made.append(el("tbody", {}, el("tr", {}, el("td", {}, "empty"))));
  return el("div", { class: "scroll" }, made);
}

// How many bytes to show: where the file was cut back, the bytes that went are shown too, struck out.
function lostFrom(bytes, old, moment) {
  return moment.torn === 0 && old.length > bytes.length ? old.length : bytes.length;
}

function marker(moment, before, bytes, old) {
  return (n) => {
    if (!before) return n >= bytes.length - moment.torn ? (n === bytes.length - 1 && moment.torn ? "torn last" : "torn") : null;
    if (n >= bytes.length) return "gone";
    return bytes[n] === old[n] ? null : "changed";
  };
}

function caption(found, moment) {
  const size = moment.size === null ? "gone" : plural(moment.size, "byte");
  const torn = moment.torn ? `; the last ${moment.torn} are what the cut write left, the framed one is the torn end` : "";
  const from = found.offset ? `, shown from byte ${found.offset}` : "";
  return el("span", {}, `${moment.name[0].toUpperCase()}${moment.name.slice(1)} `,
    el("span", { class: "small" }, `${seconds(moment.t_s)}, ${size}${from}${torn}`));
}

function line(found, at, wide, bytes, old, mark) {
  const hex = [], text = [];
  for (let n = at - found.offset; n < at - found.offset + wide; n += 1) {
    const byte = n < 0 ? undefined : bytes[n] ?? old[n];
    const gap = (n - (at - found.offset)) === 8 ? "  " : n === at - found.offset ? "" : " ";
    if (byte === undefined) {
      hex.push(`${gap}  `);
      text.push(" ");
      continue;
    }
    const how = mark(n);
    hex.push(gap, how ? el("i", { class: how }, byte) : byte);
    text.push(how ? el("i", { class: how }, printable(byte)) : printable(byte));
  }
  return el("tr", {}, el("td", { class: "offset" }, at.toString(16).padStart(8, "0")), el("td", {}, ...hex), el("td", {}, ...text));
}

// A byte as one character: a line end has a picture of its own, what cannot be printed is a dot.
function printable(byte) {
  const code = parseInt(byte, 16);
  if (code === 0x0a) return "↵";
  return code >= 0x20 && code < 0x7f ? String.fromCharCode(code) : "·";
}

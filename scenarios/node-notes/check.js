// Judges the notes (first argument) with what the program has reported (second argument): the exit code is the verdict,
// the last line the reason.
const fs = require("node:fs");

function problem(notes, log) {
  const wanted = Array.from({ length: Number(process.env.NOTES) }, (_, n) => `note ${n + 1}`);
  if (JSON.stringify(notes) !== JSON.stringify(wanted)) return `expected ${wanted.length} notes, found ${JSON.stringify(notes)}`;
  let saved = 0;
  for (const [, word, count] of log.matchAll(/^(found|saved) (\d+)$/gm)) {
    if (word === "found" && Number(count) < saved) return `saved: ${saved}, found after a restart: ${count}`;
    if (word === "saved") saved = Number(count);
  }
  return "";
}

const found = problem(JSON.parse(fs.readFileSync(process.argv[2])), fs.readFileSync(process.argv[3], "utf8"));
console.log(found || "all notes are there, none was lost");
process.exit(found ? 1 : 0);

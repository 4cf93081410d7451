// Adds NOTES notes to the file that is named by its argument, and goes on where it was when it is started again. The file
// is replaced: a new one beside it is made durable, takes the old one's name in one step, and then the directory is made
// durable. Node does each of these in one of its threads, so they are other threads than the one that runs this.
const fs = require("node:fs/promises");
const path = require("node:path");

const file = process.argv[2];
const wanted = Number(process.env.NOTES);

async function load() {
  try {
    return JSON.parse(await fs.readFile(file, "utf8"));
  } catch (error) {
    if (error.code === "ENOENT") return [];
    throw error;
  }
}

async function synced(name, flags, use) {
  const handle = await fs.open(name, flags);
  try {
    await use(handle);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function save(notes) {
  await synced(`${file}.new`, "w", (handle) => handle.writeFile(JSON.stringify(notes)));
  await fs.rename(`${file}.new`, file);
  await synced(path.dirname(file), "r", () => {});
}

async function main() {
  const notes = await load();
  console.log(`found ${notes.length}`);
  while (notes.length < wanted) {
    notes.push(`note ${notes.length + 1}`);
    await save(notes);
    console.log(`saved ${notes.length}`);
  }
}

main();

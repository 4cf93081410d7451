-- Three commits to a ledger; what is there already is left alone, so that it can be run again after a crash.
-- What it found and what it has committed is said to the world by a process of its own each, at that moment: sqlite3
-- itself keeps its output in memory until it ends.
CREATE TABLE IF NOT EXISTS entry (number INTEGER PRIMARY KEY, amount INTEGER NOT NULL);
.once |cat
SELECT 'found ' || count(*) FROM entry;
INSERT OR IGNORE INTO entry VALUES (1, 100);
.shell echo committed 1
INSERT OR IGNORE INTO entry VALUES (2, 200);
.shell echo committed 2
INSERT OR IGNORE INTO entry VALUES (3, 300);
.shell echo committed 3

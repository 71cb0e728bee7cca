-- Times are UTC, ISO 8601. The number of the last file done is in PRAGMA user_version.
CREATE TABLE IF NOT EXISTS transitions (
    id INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    target TEXT NOT NULL,
    before TEXT NOT NULL,
    after TEXT NOT NULL,
    verdict TEXT NOT NULL,
    reason TEXT NOT NULL,
    message TEXT NOT NULL,
    instance TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS transitions_by_target ON transitions (target, id);

-- Written before we act, so that a death in the midst of it is known afterwards.
CREATE TABLE IF NOT EXISTS acts (
    id INTEGER PRIMARY KEY,
    target TEXT NOT NULL,
    verb TEXT NOT NULL,
    by_operator INTEGER NOT NULL,
    began_at TEXT NOT NULL,
    ended_at TEXT,
    outcome TEXT,
    counts INTEGER NOT NULL DEFAULT 1 -- 0: nothing was tried, so it spends no restart budget
) STRICT;
CREATE INDEX IF NOT EXISTS acts_by_target ON acts (target, id);

-- One row for each target that is in a trouble: those that fail for one cause share its id. The first to fall has the
-- lowest number.
CREATE TABLE incidents (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    target TEXT NOT NULL,
    instance TEXT,
    opened_at TEXT NOT NULL,
    closed_at TEXT, -- NULL: it was still open when we last wrote
    ending TEXT,
    verdict TEXT NOT NULL,
    reason TEXT NOT NULL,
    message TEXT NOT NULL,
    cause TEXT, -- NULL: nobody has looked for one yet; so are the four after it then
    says TEXT,
    cure TEXT,
    helps_restart INTEGER,
    signal TEXT,
    acted_at TEXT NOT NULL DEFAULT '[]', -- JSON, a list of times
    would_act_at TEXT,
    asked INTEGER NOT NULL DEFAULT 0,
    was TEXT, -- the id it went by before it was known to be shared
    UNIQUE (id, target)
) STRICT;
CREATE INDEX incidents_by_target ON incidents (target, number);

-- What an operator has said that we leave alone; target '*' is all of them.
CREATE TABLE holds (
    target TEXT NOT NULL PRIMARY KEY,
    since TEXT NOT NULL,
    until TEXT, -- NULL: until it is released
    why TEXT NOT NULL
) STRICT;

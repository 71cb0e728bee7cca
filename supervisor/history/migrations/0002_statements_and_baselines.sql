-- What every witness said when the phase changed: JSON, [{"witness", "says", "age_s"}].
ALTER TABLE transitions ADD COLUMN statements TEXT NOT NULL DEFAULT '[]';

-- What each target has shown to be normal for it: JSON, lists of seconds, oldest first.
CREATE TABLE baselines (
    target TEXT PRIMARY KEY,
    json TEXT NOT NULL,
    at TEXT NOT NULL
) STRICT;

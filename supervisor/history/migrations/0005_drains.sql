-- Which targets an operator has taken out of rotation: as `holds`, beside which they stand.
CREATE TABLE drains (
    target TEXT NOT NULL PRIMARY KEY,
    since TEXT NOT NULL,
    until TEXT, -- NULL: until it is released
    why TEXT NOT NULL
) STRICT;

-- What an event led to: the number's mark, and its carrier times 65536; -1 for events accepted before there were marks.
ALTER TABLE events ADD COLUMN led_to INTEGER NOT NULL DEFAULT -1;

-- A report of history: it is no news, so that nobody is told of it.
ALTER TABLE reports ADD COLUMN history INTEGER NOT NULL DEFAULT 0;

-- What a client's contract allows; 0 is the hub's default.
ALTER TABLE clients ADD COLUMN checks_per_second INTEGER NOT NULL DEFAULT 0;
ALTER TABLE clients ADD COLUMN checks_per_day INTEGER NOT NULL DEFAULT 0;

-- Which replica of the index an app's contract grants: 0 none, 1 of the numbers it uploaded, 2 the whole.
ALTER TABLE parties ADD COLUMN replica INTEGER NOT NULL DEFAULT 0;

-- How many checks a client asked on a day of the national time zone, by outcome.
CREATE TABLE usage (
  client     TEXT    NOT NULL,
  day        INTEGER NOT NULL, -- since 1970-01-01
  checks     INTEGER NOT NULL,
  unchanged  INTEGER NOT NULL,
  changed    INTEGER NOT NULL,
  no_holder  INTEGER NOT NULL,
  unknown    INTEGER NOT NULL,
  PRIMARY KEY (day, client)
) STRICT, WITHOUT ROWID;

-- Up to which exchange of its usage each process of a hub has been counted, so that none is counted twice.
CREATE TABLE usage_exchanges (
  meter TEXT PRIMARY KEY,
  seq   INTEGER NOT NULL,
  at    INTEGER NOT NULL
) STRICT;

-- The numbers an app uploaded for its replica, some thousands a row, sealed. A later row outweighs an earlier one.
CREATE TABLE replica_numbers (
  id      INTEGER PRIMARY KEY,
  party   INTEGER NOT NULL,
  removed INTEGER NOT NULL,
  numbers INTEGER NOT NULL,
  sealed  BLOB    NOT NULL,
  at      INTEGER NOT NULL
) STRICT;
CREATE INDEX replica_numbers_party ON replica_numbers (party, id);
INSERT INTO counters (name, value) VALUES ('replica_number', 0);

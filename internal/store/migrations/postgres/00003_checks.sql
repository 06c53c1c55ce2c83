-- What an event led to: the number's mark, and its carrier times 65536; -1 for events accepted before there were marks.
ALTER TABLE events ADD COLUMN led_to BIGINT NOT NULL DEFAULT -1;

-- A report of history: it is no news, so that nobody is told of it.
ALTER TABLE reports ADD COLUMN history SMALLINT NOT NULL DEFAULT 0;

-- What a client's contract allows; 0 is the hub's default.
ALTER TABLE clients ADD COLUMN checks_per_second BIGINT NOT NULL DEFAULT 0;
ALTER TABLE clients ADD COLUMN checks_per_day BIGINT NOT NULL DEFAULT 0;

-- Which replica of the index an app's contract grants: 0 none, 1 of the numbers it uploaded, 2 the whole.
ALTER TABLE parties ADD COLUMN replica SMALLINT NOT NULL DEFAULT 0;

-- How many checks a client asked on a day of the national time zone, by outcome.
CREATE TABLE usage (
  client     TEXT   NOT NULL,
  day        BIGINT NOT NULL, -- since 1970-01-01
  checks     BIGINT NOT NULL,
  unchanged  BIGINT NOT NULL,
  changed    BIGINT NOT NULL,
  no_holder  BIGINT NOT NULL,
  unknown    BIGINT NOT NULL,
  PRIMARY KEY (day, client)
);

-- Up to which exchange of its usage each process of a hub has been counted, so that none is counted twice.
CREATE TABLE usage_exchanges (
  meter TEXT PRIMARY KEY,
  seq   BIGINT NOT NULL,
  at    BIGINT NOT NULL
);

-- The numbers an app uploaded for its replica, some thousands a row, sealed. A later row outweighs an earlier one.
CREATE TABLE replica_numbers (
  id      BIGINT PRIMARY KEY,
  party   BIGINT NOT NULL,
  removed SMALLINT NOT NULL,
  numbers BIGINT NOT NULL,
  sealed  BYTEA NOT NULL,
  at      BIGINT NOT NULL
);
CREATE INDEX replica_numbers_party ON replica_numbers (party, id);
CREATE SEQUENCE replica_number_ids;

-- 1: the app takes no part yet; 1: the app lets one number have one account.
ALTER TABLE parties ADD COLUMN not_joined INTEGER NOT NULL DEFAULT 0;
ALTER TABLE parties ADD COLUMN one_per_number INTEGER NOT NULL DEFAULT 0;

-- Who signed in at a carrier. Tokens are kept as hashes: token is in use, next was issued in its place and not seen yet, before is what token
-- replaced at turned_at.
CREATE TABLE holder_sessions (
  id          INTEGER PRIMARY KEY,
  token       BLOB    NOT NULL UNIQUE,
  next        BLOB    UNIQUE,
  before      BLOB,
  turned_at   INTEGER NOT NULL,
  issued_at   INTEGER NOT NULL,
  created_at  INTEGER NOT NULL,
  seen_at     INTEGER NOT NULL,
  sealed      BLOB    NOT NULL, -- the number
  tenure      INTEGER NOT NULL,
  carrier     INTEGER NOT NULL,
  started_at  INTEGER NOT NULL, -- of the tenure, in the carrier's words
  origin      INTEGER NOT NULL,
  control     INTEGER NOT NULL,
  verified_at INTEGER NOT NULL,
  identity    INTEGER NOT NULL,
  identity_at INTEGER NOT NULL
) STRICT;
CREATE INDEX holder_sessions_before ON holder_sessions (before) WHERE before IS NOT NULL;
CREATE INDEX holder_sessions_tenure ON holder_sessions (tenure);
CREATE INDEX holder_sessions_seen ON holder_sessions (seen_at);

-- A request before it is made: what the holder chose (VERIFYING of DOMAIN.md §6). request is what it became, 0: nothing yet.
CREATE TABLE drafts (
  id           INTEGER PRIMARY KEY,
  tenure       INTEGER NOT NULL,
  apps         TEXT    NOT NULL, -- ids, separated by blanks; empty: all
  kinds        TEXT    NOT NULL,
  consent      TEXT    NOT NULL, -- the version of the text that was agreed to; empty: not yet
  consented_at INTEGER NOT NULL,
  created_at   INTEGER NOT NULL,
  request      INTEGER NOT NULL
) STRICT;
CREATE INDEX drafts_created ON drafts (created_at);

CREATE TABLE identity_failures (
  lookup BLOB    NOT NULL,
  at     INTEGER NOT NULL
) STRICT;
CREATE INDEX identity_failures_lookup ON identity_failures (lookup, at);
CREATE INDEX identity_failures_at ON identity_failures (at);

-- Complaints of holders about a task (kind 1), and what former holders report (kind 2: sealed and lookup are the number).
CREATE TABLE cases (
  id        INTEGER PRIMARY KEY,
  kind      INTEGER NOT NULL,
  opened_at INTEGER NOT NULL,
  app       INTEGER NOT NULL,
  request   INTEGER NOT NULL,
  task      INTEGER NOT NULL,
  view      INTEGER NOT NULL, -- how the holder saw the task
  what      INTEGER NOT NULL, -- what befell a former holder
  sealed    BLOB    NOT NULL,
  lookup    BLOB    NOT NULL
) STRICT;
CREATE UNIQUE INDEX cases_task ON cases (task) WHERE kind = 1;
CREATE INDEX cases_request ON cases (request) WHERE kind = 1;
CREATE INDEX cases_lookup ON cases (lookup, opened_at) WHERE kind = 2;

-- Who wants an app that takes no part yet: a keyed hash of the tenure, once.
CREATE TABLE demand (
  app    INTEGER NOT NULL,
  tenure BLOB    NOT NULL,
  at     INTEGER NOT NULL,
  PRIMARY KEY (app, tenure)
) STRICT, WITHOUT ROWID;

INSERT INTO counters (name, value) VALUES ('holder_session', 0), ('draft', 0), ('case', 0);

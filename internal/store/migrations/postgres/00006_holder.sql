-- 1: the app takes no part yet; 1: the app lets one number have one account.
ALTER TABLE parties ADD COLUMN not_joined SMALLINT NOT NULL DEFAULT 0;
ALTER TABLE parties ADD COLUMN one_per_number SMALLINT NOT NULL DEFAULT 0;

-- Who signed in at a carrier. Tokens are kept as hashes: token is in use, next was issued in its place and not seen yet, before is what token
-- replaced at turned_at.
CREATE TABLE holder_sessions (
  id          BIGINT PRIMARY KEY,
  token       BYTEA    NOT NULL UNIQUE,
  next        BYTEA    UNIQUE,
  before      BYTEA,
  turned_at   BIGINT NOT NULL,
  issued_at   BIGINT NOT NULL,
  created_at  BIGINT NOT NULL,
  seen_at     BIGINT NOT NULL,
  sealed      BYTEA    NOT NULL, -- the number
  tenure      BIGINT NOT NULL,
  carrier     BIGINT NOT NULL,
  started_at  BIGINT NOT NULL, -- of the tenure, in the carrier's words
  origin      BIGINT NOT NULL,
  control     BIGINT NOT NULL,
  verified_at BIGINT NOT NULL,
  identity    BIGINT NOT NULL,
  identity_at BIGINT NOT NULL
);
CREATE INDEX holder_sessions_before ON holder_sessions (before) WHERE before IS NOT NULL;
CREATE INDEX holder_sessions_tenure ON holder_sessions (tenure);
CREATE INDEX holder_sessions_seen ON holder_sessions (seen_at);

-- A request before it is made: what the holder chose (VERIFYING of DOMAIN.md §6). request is what it became, 0: nothing yet.
CREATE TABLE drafts (
  id           BIGINT PRIMARY KEY,
  tenure       BIGINT NOT NULL,
  apps         TEXT    NOT NULL, -- ids, separated by blanks; empty: all
  kinds        TEXT    NOT NULL,
  consent      TEXT    NOT NULL, -- the version of the text that was agreed to; empty: not yet
  consented_at BIGINT NOT NULL,
  created_at   BIGINT NOT NULL,
  request      BIGINT NOT NULL
);
CREATE INDEX drafts_created ON drafts (created_at);

CREATE TABLE identity_failures (
  lookup BYTEA    NOT NULL,
  at     BIGINT NOT NULL
);
CREATE INDEX identity_failures_lookup ON identity_failures (lookup, at);
CREATE INDEX identity_failures_at ON identity_failures (at);

-- Complaints of holders about a task (kind 1), and what former holders report (kind 2: sealed and lookup are the number).
CREATE TABLE cases (
  id        BIGINT PRIMARY KEY,
  kind      BIGINT NOT NULL,
  opened_at BIGINT NOT NULL,
  app       BIGINT NOT NULL,
  request   BIGINT NOT NULL,
  task      BIGINT NOT NULL,
  view      BIGINT NOT NULL, -- how the holder saw the task
  what      BIGINT NOT NULL, -- what befell a former holder
  sealed    BYTEA    NOT NULL,
  lookup    BYTEA    NOT NULL
);
CREATE UNIQUE INDEX cases_task ON cases (task) WHERE kind = 1;
CREATE INDEX cases_request ON cases (request) WHERE kind = 1;
CREATE INDEX cases_lookup ON cases (lookup, opened_at) WHERE kind = 2;

-- Who wants an app that takes no part yet: a keyed hash of the tenure, once.
CREATE TABLE demand (
  app    BIGINT NOT NULL,
  tenure BYTEA    NOT NULL,
  at     BIGINT NOT NULL,
  PRIMARY KEY (app, tenure)
);

CREATE SEQUENCE holder_session_ids;
CREATE SEQUENCE draft_ids;
CREATE SEQUENCE case_ids;

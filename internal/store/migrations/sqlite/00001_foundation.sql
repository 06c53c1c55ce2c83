-- Times are integer microseconds UTC; 0 is none. Enumerations are the numbers of the root package.

CREATE TABLE parties (
  no            INTEGER PRIMARY KEY,
  id            TEXT    NOT NULL UNIQUE,
  kind          INTEGER NOT NULL,
  name_zh       TEXT    NOT NULL,
  name_en       TEXT    NOT NULL,
  class         TEXT    NOT NULL,
  kinds         TEXT    NOT NULL, -- task kinds an app serves, words separated by blanks
  domains       TEXT    NOT NULL, -- an app's registered domains, separated by blanks
  release_delay INTEGER NOT NULL, -- microseconds
  cooling_days  INTEGER NOT NULL,
  contact_name  TEXT    NOT NULL,
  contact_email TEXT    NOT NULL,
  contact_hook  TEXT    NOT NULL,
  disabled      INTEGER NOT NULL,
  created_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE clients (
  id          TEXT    PRIMARY KEY,
  party       INTEGER NOT NULL REFERENCES parties (no),
  scopes      TEXT    NOT NULL,
  secret_hash BLOB,             -- SHA-256 of 256 random bits
  jwks        BLOB,
  disabled    INTEGER NOT NULL,
  created_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE used_assertions (
  client TEXT    NOT NULL,
  jti    TEXT    NOT NULL,
  exp    INTEGER NOT NULL,
  PRIMARY KEY (client, jti)
) STRICT, WITHOUT ROWID;
CREATE INDEX used_assertions_exp ON used_assertions (exp);

CREATE TABLE signing_keys (
  kid      TEXT    PRIMARY KEY,
  alg      TEXT    NOT NULL,
  sealed   BLOB    NOT NULL,
  from_at  INTEGER NOT NULL,
  until_at INTEGER NOT NULL
) STRICT;

-- One row a name: ids given out (commit-ordered: the row is locked until commit) and the registry's version.
CREATE TABLE counters (
  name  TEXT    PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT;
INSERT INTO counters (name, value) VALUES ('batch', 0), ('audit', 0), ('report', 0), ('request', 0), ('task', 0), ('step', 0), ('message', 0), ('registry', 1);

CREATE TABLE settings (
  name  TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT;

CREATE TABLE leases (
  name   TEXT    PRIMARY KEY,
  holder TEXT    NOT NULL,
  until  INTEGER NOT NULL
) STRICT;

-- The number log. An event's id is its batch's number times 2^20 plus its place in the batch; prev is the event of the
-- same number accepted before it, so that a number's history is read without an index of its own.
CREATE TABLE events (
  id       INTEGER PRIMARY KEY,
  carrier  INTEGER NOT NULL,
  event_id TEXT    NOT NULL,
  number   INTEGER NOT NULL,
  kind     INTEGER NOT NULL,
  at       INTEGER NOT NULL,
  origin   INTEGER NOT NULL,
  corrects INTEGER NOT NULL,
  prev     INTEGER NOT NULL,
  UNIQUE (carrier, event_id)
) STRICT;

CREATE TABLE event_batches (
  id          INTEGER PRIMARY KEY,
  report      INTEGER NOT NULL,
  reported_at INTEGER NOT NULL,
  events      INTEGER NOT NULL
) STRICT;

-- Where a batch stands in the number log: position of its first event. Written by the sequencer alone.
CREATE TABLE log_positions (
  first INTEGER PRIMARY KEY,
  batch INTEGER NOT NULL UNIQUE,
  events INTEGER NOT NULL
) STRICT;

-- What waits for a position: log 1 is the number log, 2 the audit log.
CREATE TABLE unsequenced (
  log    INTEGER NOT NULL,
  id     INTEGER NOT NULL,
  events INTEGER NOT NULL,
  PRIMARY KEY (log, id)
) STRICT, WITHOUT ROWID;

-- What the events of a number add up to. Built from the log, and can be built again.
CREATE TABLE numbers (
  number     INTEGER PRIMARY KEY,
  phase      INTEGER NOT NULL,
  carrier    INTEGER NOT NULL,
  tenure     INTEGER NOT NULL,
  started_at INTEGER NOT NULL,
  origin     INTEGER NOT NULL,
  ended_at   INTEGER NOT NULL,
  last_at    INTEGER NOT NULL,
  head       INTEGER NOT NULL  -- the event accepted last
) STRICT;

CREATE TABLE reports (
  id             INTEGER PRIMARY KEY,
  carrier        INTEGER NOT NULL,
  client         TEXT    NOT NULL,
  started_at     INTEGER NOT NULL,
  finished_at    INTEGER NOT NULL,
  accepted       INTEGER NOT NULL,
  duplicates     INTEGER NOT NULL,
  rejected       INTEGER NOT NULL,
  complete_until INTEGER NOT NULL
) STRICT;

CREATE TABLE coverage (
  carrier        INTEGER PRIMARY KEY,
  covered_since  INTEGER NOT NULL,
  complete_until INTEGER NOT NULL
) STRICT;

CREATE TABLE requests (
  id           INTEGER PRIMARY KEY,
  sealed       BLOB    NOT NULL, -- the number
  lookup       BLOB    NOT NULL, -- the number, as a keyed hash
  tenure       INTEGER NOT NULL,
  started_at   INTEGER NOT NULL,
  origin       INTEGER NOT NULL,
  carrier      INTEGER NOT NULL, -- who may read it
  asked_by     INTEGER NOT NULL,
  submitted_at INTEGER NOT NULL,
  control      INTEGER NOT NULL,
  identity     INTEGER NOT NULL,
  verified_at  INTEGER NOT NULL,
  cancelled_at INTEGER NOT NULL,
  aborted_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX requests_tenure ON requests (tenure);
CREATE INDEX requests_lookup ON requests (lookup);

-- Tasks and answers name their request and task without a foreign key: one statement writes both, and the check of a
-- parent a row would cost more than the row.
CREATE TABLE tasks (
  id         INTEGER PRIMARY KEY,
  request    INTEGER NOT NULL,
  app        INTEGER NOT NULL,
  kind       INTEGER NOT NULL,
  tenure     INTEGER NOT NULL,
  state      INTEGER NOT NULL,
  open       INTEGER NOT NULL, -- 1 while the app has to answer
  created_at INTEGER NOT NULL,
  release_at INTEGER NOT NULL,
  due_at     INTEGER NOT NULL,
  last_step  INTEGER NOT NULL,
  step_at    INTEGER NOT NULL,
  pauses     TEXT    NOT NULL, -- "from-to,from-"; empty nearly always
  retry_at   INTEGER NOT NULL,
  failures   INTEGER NOT NULL,
  outcome    INTEGER NOT NULL,
  reason     INTEGER NOT NULL,
  late       INTEGER NOT NULL,
  answers    INTEGER NOT NULL, -- how many are recorded
  asked_at   INTEGER NOT NULL, -- when the holder asked again
  ended_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX tasks_request ON tasks (request);
CREATE INDEX tasks_app ON tasks (app, id) WHERE open = 1;
CREATE UNIQUE INDEX tasks_one_open ON tasks (tenure, app, kind) WHERE open = 1;
CREATE INDEX tasks_step ON tasks (step_at) WHERE open = 1;
CREATE INDEX tasks_retry ON tasks (retry_at) WHERE retry_at > 0;

CREATE TABLE answers (
  task    INTEGER NOT NULL,
  n       INTEGER NOT NULL,
  outcome INTEGER NOT NULL,
  reason  INTEGER NOT NULL,
  link    TEXT    NOT NULL,
  note    TEXT    NOT NULL,
  client  TEXT    NOT NULL,
  at      INTEGER NOT NULL,
  late    INTEGER NOT NULL,
  void    INTEGER NOT NULL,
  PRIMARY KEY (task, n)
) STRICT, WITHOUT ROWID;

-- The steps of the clock that were taken.
CREATE TABLE steps (
  id      INTEGER PRIMARY KEY,
  task    INTEGER NOT NULL,
  app     INTEGER NOT NULL,
  step    INTEGER NOT NULL,
  due_at  INTEGER NOT NULL,
  at      INTEGER NOT NULL, -- when it was taken
  message INTEGER NOT NULL  -- the message that told the contact; 0: none could be sent
) STRICT;
CREATE INDEX steps_app ON steps (app, id);
CREATE UNIQUE INDEX steps_once ON steps (task, step);

-- Signed messages to contacts' webhooks, without any number.
CREATE TABLE messages (
  id           INTEGER PRIMARY KEY,
  party        INTEGER NOT NULL,
  body         TEXT    NOT NULL,
  created_at   INTEGER NOT NULL,
  attempts     INTEGER NOT NULL,
  next_at      INTEGER NOT NULL, -- 0: delivered or given up
  delivered_at INTEGER NOT NULL,
  last_error   TEXT    NOT NULL
) STRICT;
CREATE INDEX messages_next ON messages (next_at) WHERE next_at > 0;

CREATE TABLE idempotency (
  client     TEXT    NOT NULL,
  key        TEXT    NOT NULL,
  digest     BLOB    NOT NULL, -- keyed: the body holds a number
  result     INTEGER NOT NULL, -- what was made
  refusal    TEXT    NOT NULL, -- or how it was refused, as JSON
  created_at INTEGER NOT NULL,
  PRIMARY KEY (client, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_created ON idempotency (created_at);

CREATE TABLE audit (
  id      INTEGER PRIMARY KEY,
  at      INTEGER NOT NULL,
  party   INTEGER NOT NULL, -- 0: the hub itself
  client  TEXT    NOT NULL,
  action  TEXT    NOT NULL,
  subject TEXT    NOT NULL,
  refused TEXT    NOT NULL, -- the code; empty: done
  detail  TEXT    NOT NULL  -- JSON, never a number
) STRICT;

CREATE TABLE audit_positions (
  position INTEGER PRIMARY KEY,
  audit    INTEGER NOT NULL UNIQUE
) STRICT;

CREATE TRIGGER events_no_update BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;
CREATE TRIGGER events_no_delete BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events are never erased'); END;
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is never changed'); END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is never erased'); END;
CREATE TRIGGER answers_no_update BEFORE UPDATE ON answers BEGIN SELECT RAISE(ABORT, 'answers are never changed'); END;
CREATE TRIGGER answers_no_delete BEFORE DELETE ON answers BEGIN SELECT RAISE(ABORT, 'answers are never erased'); END;

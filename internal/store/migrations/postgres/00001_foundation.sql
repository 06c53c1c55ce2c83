-- Times are integer microseconds UTC; 0 is none. Enumerations are the numbers of the root package.

CREATE TABLE parties (
  no            BIGINT PRIMARY KEY,
  id            TEXT    NOT NULL UNIQUE,
  kind          SMALLINT NOT NULL,
  name_zh       TEXT    NOT NULL,
  name_en       TEXT    NOT NULL,
  class         TEXT    NOT NULL,
  kinds         TEXT    NOT NULL, -- task kinds an app serves, words separated by blanks
  domains       TEXT    NOT NULL, -- an app's registered domains, separated by blanks
  release_delay BIGINT NOT NULL, -- microseconds
  cooling_days  SMALLINT NOT NULL,
  contact_name  TEXT    NOT NULL,
  contact_email TEXT    NOT NULL,
  contact_hook  TEXT    NOT NULL,
  disabled      SMALLINT NOT NULL,
  created_at    BIGINT NOT NULL
);

CREATE TABLE clients (
  id          TEXT    PRIMARY KEY,
  party       BIGINT NOT NULL REFERENCES parties (no),
  scopes      TEXT    NOT NULL,
  secret_hash BYTEA,             -- SHA-256 of 256 random bits
  jwks        BYTEA,
  disabled    SMALLINT NOT NULL,
  created_at  BIGINT NOT NULL
);

CREATE TABLE used_assertions (
  client TEXT    NOT NULL,
  jti    TEXT    NOT NULL,
  exp    BIGINT NOT NULL,
  PRIMARY KEY (client, jti)
);
CREATE INDEX used_assertions_exp ON used_assertions (exp);

CREATE TABLE signing_keys (
  kid      TEXT    PRIMARY KEY,
  alg      TEXT    NOT NULL,
  sealed   BYTEA    NOT NULL,
  from_at  BIGINT NOT NULL,
  until_at BIGINT NOT NULL
);

-- Ids that need no order of commits come from sequences.
CREATE SEQUENCE batch_ids CACHE 1;
CREATE SEQUENCE audit_ids;
CREATE SEQUENCE report_ids;
CREATE SEQUENCE request_ids;
CREATE SEQUENCE step_ids;
CREATE SEQUENCE message_ids;

-- One row a name: ids given out (commit-ordered: the row is locked until commit) and the registry's version.
CREATE TABLE counters (
  name  TEXT    PRIMARY KEY,
  value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('task', 0), ('registry', 1);

CREATE TABLE settings (
  name  TEXT PRIMARY KEY,
  value TEXT NOT NULL
);

CREATE TABLE leases (
  name   TEXT    PRIMARY KEY,
  holder TEXT    NOT NULL,
  until  BIGINT NOT NULL
);

-- The number log. An event's id is its batch's number times 2^20 plus its place in the batch; prev is the event of the
-- same number accepted before it, so that a number's history is read without an index of its own.
CREATE TABLE events (
  id       BIGINT PRIMARY KEY,
  carrier  BIGINT NOT NULL,
  event_id TEXT    NOT NULL,
  number   BIGINT NOT NULL,
  kind     SMALLINT NOT NULL,
  at       BIGINT NOT NULL,
  origin   SMALLINT NOT NULL,
  corrects BIGINT NOT NULL,
  prev     BIGINT NOT NULL,
  UNIQUE (carrier, event_id)
);

CREATE TABLE event_batches (
  id          BIGINT PRIMARY KEY,
  report      BIGINT NOT NULL,
  reported_at BIGINT NOT NULL,
  events      INTEGER NOT NULL
);

-- Where a batch stands in the number log: position of its first event. Written by the sequencer alone.
CREATE TABLE log_positions (
  first  BIGINT PRIMARY KEY,
  batch BIGINT NOT NULL UNIQUE,
  events INTEGER NOT NULL
);

-- What waits for a position: log 1 is the number log, 2 the audit log.
CREATE TABLE unsequenced (
  log    SMALLINT NOT NULL,
  id     BIGINT NOT NULL,
  events INTEGER NOT NULL,
  PRIMARY KEY (log, id)
);

-- What the events of a number add up to. Built from the log, and can be built again.
CREATE TABLE numbers (
  number     BIGINT PRIMARY KEY,
  phase      SMALLINT NOT NULL,
  carrier    BIGINT NOT NULL,
  tenure     BIGINT NOT NULL,
  started_at BIGINT NOT NULL,
  origin     SMALLINT NOT NULL,
  ended_at   BIGINT NOT NULL,
  last_at    BIGINT NOT NULL,
  head       BIGINT NOT NULL  -- the event accepted last
);

CREATE TABLE reports (
  id             BIGINT PRIMARY KEY,
  carrier        BIGINT NOT NULL,
  client         TEXT    NOT NULL,
  started_at     BIGINT NOT NULL,
  finished_at    BIGINT NOT NULL,
  accepted       BIGINT NOT NULL,
  duplicates     BIGINT NOT NULL,
  rejected       BIGINT NOT NULL,
  complete_until BIGINT NOT NULL
);

CREATE TABLE coverage (
  carrier        BIGINT PRIMARY KEY,
  covered_since  BIGINT NOT NULL,
  complete_until BIGINT NOT NULL
);

CREATE TABLE requests (
  id           BIGINT PRIMARY KEY,
  sealed       BYTEA    NOT NULL, -- the number
  lookup       BYTEA    NOT NULL, -- the number, as a keyed hash
  tenure       BIGINT NOT NULL,
  started_at   BIGINT NOT NULL,
  origin       SMALLINT NOT NULL,
  carrier      BIGINT NOT NULL, -- who may read it
  asked_by     BIGINT NOT NULL,
  submitted_at BIGINT NOT NULL,
  control      SMALLINT NOT NULL,
  identity     SMALLINT NOT NULL,
  verified_at  BIGINT NOT NULL,
  cancelled_at BIGINT NOT NULL,
  aborted_at   BIGINT NOT NULL
);
CREATE INDEX requests_tenure ON requests (tenure);
CREATE INDEX requests_lookup ON requests (lookup);

-- Tasks and answers name their request and task without a foreign key: one statement writes both, and the check of a
-- parent a row would cost more than the row.
CREATE TABLE tasks (
  id         BIGINT PRIMARY KEY,
  request    BIGINT NOT NULL,
  app        BIGINT NOT NULL,
  kind       SMALLINT NOT NULL,
  tenure     BIGINT NOT NULL,
  state      SMALLINT NOT NULL,
  open       SMALLINT NOT NULL, -- 1 while the app has to answer
  created_at BIGINT NOT NULL,
  release_at BIGINT NOT NULL,
  due_at     BIGINT NOT NULL,
  last_step  SMALLINT NOT NULL,
  step_at    BIGINT NOT NULL,
  pauses     TEXT    NOT NULL, -- "from-to,from-"; empty nearly always
  retry_at   BIGINT NOT NULL,
  failures   INTEGER NOT NULL,
  outcome    SMALLINT NOT NULL,
  reason     SMALLINT NOT NULL,
  late       SMALLINT NOT NULL,
  answers    INTEGER NOT NULL, -- how many are recorded
  asked_at   BIGINT NOT NULL, -- when the holder asked again
  ended_at   BIGINT NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX tasks_request ON tasks (request);
CREATE INDEX tasks_app ON tasks (app, id) WHERE open = 1;
CREATE UNIQUE INDEX tasks_one_open ON tasks (tenure, app, kind) WHERE open = 1;
CREATE INDEX tasks_step ON tasks (step_at) WHERE open = 1;
CREATE INDEX tasks_retry ON tasks (retry_at) WHERE retry_at > 0;

CREATE TABLE answers (
  task    BIGINT NOT NULL,
  n       INTEGER NOT NULL,
  outcome SMALLINT NOT NULL,
  reason  SMALLINT NOT NULL,
  link    TEXT    NOT NULL,
  note    TEXT    NOT NULL,
  client  TEXT    NOT NULL,
  at      BIGINT NOT NULL,
  late    SMALLINT NOT NULL,
  void    SMALLINT NOT NULL,
  PRIMARY KEY (task, n)
);

-- The steps of the clock that were taken.
CREATE TABLE steps (
  id      BIGINT PRIMARY KEY,
  task    BIGINT NOT NULL,
  app     BIGINT NOT NULL,
  step    SMALLINT NOT NULL,
  due_at  BIGINT NOT NULL,
  at      BIGINT NOT NULL, -- when it was taken
  message BIGINT NOT NULL  -- the message that told the contact; 0: none could be sent
);
CREATE INDEX steps_app ON steps (app, id);
CREATE UNIQUE INDEX steps_once ON steps (task, step);

-- Signed messages to contacts' webhooks, without any number.
CREATE TABLE messages (
  id           BIGINT PRIMARY KEY,
  party        BIGINT NOT NULL,
  body         TEXT    NOT NULL,
  created_at   BIGINT NOT NULL,
  attempts     INTEGER NOT NULL,
  next_at      BIGINT NOT NULL, -- 0: delivered or given up
  delivered_at BIGINT NOT NULL,
  last_error   TEXT    NOT NULL
);
CREATE INDEX messages_next ON messages (next_at) WHERE next_at > 0;

CREATE TABLE idempotency (
  client     TEXT    NOT NULL,
  key        TEXT    NOT NULL,
  digest     BYTEA    NOT NULL, -- keyed: the body holds a number
  result     BIGINT NOT NULL, -- what was made
  refusal    TEXT    NOT NULL, -- or how it was refused, as JSON
  created_at BIGINT NOT NULL,
  PRIMARY KEY (client, key)
);
CREATE INDEX idempotency_created ON idempotency (created_at);

CREATE TABLE audit (
  id      BIGINT PRIMARY KEY,
  at      BIGINT NOT NULL,
  party   BIGINT NOT NULL, -- 0: the hub itself
  client  TEXT    NOT NULL,
  action  TEXT    NOT NULL,
  subject TEXT    NOT NULL,
  refused TEXT    NOT NULL, -- the code; empty: done
  detail  TEXT    NOT NULL  -- JSON, never a number
);

CREATE TABLE audit_positions (
  position BIGINT PRIMARY KEY,
  audit    BIGINT NOT NULL UNIQUE
);

CREATE FUNCTION never_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$;
CREATE TRIGGER events_never_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON events EXECUTE FUNCTION never_changed();
CREATE TRIGGER audit_never_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON audit EXECUTE FUNCTION never_changed();
CREATE TRIGGER answers_never_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON answers EXECUTE FUNCTION never_changed();

-- The feed log: everything that streams may be told of, in one order. A row stands for what one transaction made; its items
-- have the positions from first on. Written by the sequencer alone.
CREATE TABLE feed_positions (
  first BIGINT PRIMARY KEY,
  kind  SMALLINT NOT NULL, -- 1 a batch of number events, 2 the tasks that a request began with, 3 notes about tasks
  ref   BIGINT NOT NULL, -- the batch of events, the request, or the batch of notes
  items BIGINT NOT NULL,
  UNIQUE (kind, ref)
);

-- What waits for its positions in the feed log. What came of something that was committed before has a higher seq than that.
CREATE TABLE feed_waiting (
  seq   BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind  SMALLINT NOT NULL,
  ref   BIGINT NOT NULL,
  items BIGINT NOT NULL
);

-- What streams are told because of an event of a number, where that is more or other than the event itself: for that a code in
-- the event's led_to is enough.
CREATE TABLE notices (
  event BIGINT NOT NULL,
  n     SMALLINT NOT NULL, -- counts them, from 0
  type  SMALLINT NOT NULL,
  about BIGINT NOT NULL, -- the event that is announced, or whose notice is taken back
  PRIMARY KEY (event, n)
);
CREATE INDEX notices_about ON notices (about, event);

-- What became of tasks beside being made with their request and answered. An id is its batch's number times 2^20 plus its place.
CREATE TABLE task_notes (
  id   BIGINT PRIMARY KEY,
  task BIGINT NOT NULL,
  kind SMALLINT NOT NULL,
  at   BIGINT NOT NULL
);
CREATE INDEX task_notes_task ON task_notes (task);

-- SSF streams, as their receivers configured them.
CREATE TABLE streams (
  id          BIGINT PRIMARY KEY,
  client      TEXT NOT NULL,
  method      SMALLINT NOT NULL, -- 1 push, 2 poll
  endpoint    TEXT NOT NULL, -- of push
  header      BYTEA NOT NULL, -- the authorization header of push, sealed; empty: none
  requested   TEXT NOT NULL, -- the event types that were asked for, as JSON
  description TEXT NOT NULL,
  wake_up     TEXT NOT NULL, -- where a webhook without any number goes when there is something to poll; empty: nowhere
  status      SMALLINT NOT NULL, -- 1 enabled, 2 paused, 3 disabled
  reason      TEXT NOT NULL,
  by_hub      SMALLINT NOT NULL, -- 1: the hub set the status, not the receiver
  created_at  BIGINT NOT NULL,
  verified_at BIGINT NOT NULL, -- when a verification was asked for last
  subjects    BIGINT NOT NULL DEFAULT 0 -- how many rows of stream_subjects are its
);
CREATE INDEX streams_client ON streams (client);

-- Streams that were deleted and of which rows are left. Housekeeping takes them away piece by piece: subjects may be millions.
CREATE TABLE stream_remains (
  stream BIGINT PRIMARY KEY
);

-- How far each stream is. Apart from streams, because it changes with every poll.
CREATE TABLE stream_states (
  stream    BIGINT PRIMARY KEY,
  start     BIGINT NOT NULL, -- the feed's head when it was made: it is told of what has a later position
  tell_from BIGINT NOT NULL, -- what has an earlier position is not handed out: start + 1, or the feed's end when it was enabled after being disabled
  outbox    BYTEA NOT NULL, -- huanxin.Outbox: the cursor and what was taken and is not acknowledged
  active_at BIGINT NOT NULL  -- when its receiver was last heard of
);

-- The numbers that receivers added or removed, as keyed hashes.
CREATE TABLE stream_subjects (
  lookup BYTEA NOT NULL,
  stream BIGINT NOT NULL,
  added  SMALLINT NOT NULL, -- 1 added, 0 removed
  since  BIGINT NOT NULL, -- from which position of the feed on
  PRIMARY KEY (lookup, stream)
);
CREATE INDEX stream_subjects_stream ON stream_subjects (stream, added);

-- What a stream is told about itself, outside the feed log; gone when it is acknowledged.
CREATE TABLE stream_signals (
  id     BIGINT PRIMARY KEY,
  stream BIGINT NOT NULL,
  kind   SMALLINT NOT NULL, -- 1 verification, 2 stream-updated
  state  TEXT NOT NULL, -- the state to echo, or the status
  reason TEXT NOT NULL,
  at     BIGINT NOT NULL
);
CREATE INDEX stream_signals_stream ON stream_signals (stream, id);

-- What a receiver refused, or could not be brought for 72 hours.
CREATE TABLE dead_letters (
  stream      BIGINT NOT NULL,
  no          BIGINT NOT NULL, -- its place in the feed: huanxin.FeedNo
  err         TEXT NOT NULL,
  description TEXT NOT NULL,
  attempts    BIGINT NOT NULL,
  at          BIGINT NOT NULL,
  PRIMARY KEY (stream, no)
);
CREATE INDEX dead_letters_at ON dead_letters (at);

-- Answers that came as SETs signed by the app: kept as they came.
CREATE TABLE answer_sets (
  task  BIGINT NOT NULL,
  n     BIGINT NOT NULL, -- the answer's number
  token TEXT NOT NULL,
  PRIMARY KEY (task, n)
);

-- Whether an app's contract grants it the start of a tenure in identifier-recycled.
ALTER TABLE parties ADD COLUMN feed_start SMALLINT NOT NULL DEFAULT 0;
-- Of a client's streams: 1 they hear only of numbers that were added, whatever the hub's default; and by what they are signed.
ALTER TABLE clients ADD COLUMN feed_narrow SMALLINT NOT NULL DEFAULT 0;
ALTER TABLE clients ADD COLUMN feed_alg TEXT NOT NULL DEFAULT '';

CREATE SEQUENCE task_note_ids;
CREATE SEQUENCE stream_ids;
CREATE SEQUENCE stream_signal_ids;

CREATE TRIGGER notices_never_changed BEFORE UPDATE OR TRUNCATE ON notices EXECUTE FUNCTION never_changed();
CREATE TRIGGER task_notes_never_changed BEFORE UPDATE OR TRUNCATE ON task_notes EXECUTE FUNCTION never_changed();
CREATE TRIGGER answer_sets_never_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON answer_sets EXECUTE FUNCTION never_changed();

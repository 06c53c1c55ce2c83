-- The agent's own state. Times are microseconds UTC; NULL is never, or not yet.

CREATE TABLE IF NOT EXISTS tasks (
	no           INTEGER PRIMARY KEY,
	id           TEXT NOT NULL UNIQUE,
	kind         TEXT NOT NULL,
	number       BLOB,             -- sealed for this id; NULL once it is erased
	tenure       TEXT NOT NULL,
	started_at   INTEGER NOT NULL,
	origin       TEXT NOT NULL,
	digest       TEXT NOT NULL,
	due_at       INTEGER,
	seen_at      INTEGER NOT NULL,
	jti          TEXT NOT NULL,    -- of the SET that asked last
	phase        INTEGER NOT NULL, -- 1 waiting, 2 standing, 3 done, 4 closed
	next_at      INTEGER,          -- when there is something to do
	tries        INTEGER NOT NULL DEFAULT 0, -- that failed in a row
	problem      TEXT NOT NULL DEFAULT '',
	outcome      TEXT NOT NULL DEFAULT '', -- the answer
	reason       TEXT NOT NULL DEFAULT '',
	decided_at   INTEGER,
	sent_at      INTEGER,          -- when the hub took it
	ended        TEXT NOT NULL DEFAULT '', -- why nothing is done any more: cancelled, aborted, stale …
	retracted_at INTEGER,          -- when the hub took its tenure back
	erase_at     INTEGER,          -- when its number is no longer needed
	news         INTEGER NOT NULL DEFAULT 0 -- counts what was told of it from outside
) STRICT;
CREATE INDEX IF NOT EXISTS tasks_next ON tasks (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS tasks_unsent ON tasks (no) WHERE outcome <> '' AND sent_at IS NULL;
CREATE INDEX IF NOT EXISTS tasks_erase ON tasks (erase_at) WHERE erase_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS tasks_tenure ON tasks (tenure);
CREATE INDEX IF NOT EXISTS tasks_open ON tasks (no) WHERE phase <= 2;

-- How a task stands with each binding.
CREATE TABLE IF NOT EXISTS bindings (
	task          INTEGER NOT NULL REFERENCES tasks,
	key           BLOB NOT NULL,   -- keyed digest of the binding's id
	ref           BLOB,            -- id and account, sealed; NULL once erased
	bound_at      TEXT NOT NULL,
	last_proof    TEXT NOT NULL,
	same_person   TEXT NOT NULL,
	class         TEXT NOT NULL,
	hold_back     TEXT NOT NULL,
	row           INTEGER NOT NULL, -- of the decision table
	outcome       TEXT NOT NULL,
	reason        TEXT NOT NULL,
	decided_at    INTEGER NOT NULL,
	intent        INTEGER NOT NULL DEFAULT 0, -- what was about to be done: 1 suspend, 2 resume, 3 unbind, 4 restore
	intent_at     INTEGER,
	token         TEXT NOT NULL DEFAULT '',   -- by which it can be restored
	suspended_at  INTEGER,
	final_at      INTEGER,         -- when the unbinding is final
	acted_at      INTEGER,
	restore_until INTEGER,
	restored_at   INTEGER,
	finding       TEXT NOT NULL DEFAULT '', -- of a person, as JSON
	PRIMARY KEY (task, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS bindings_token ON bindings (token) WHERE token <> '';

-- What people asked of the agent beside it: huanxin agent restore.
CREATE TABLE IF NOT EXISTS orders (
	no       INTEGER PRIMARY KEY,
	order_   TEXT NOT NULL,
	at       INTEGER NOT NULL,
	done_at  INTEGER,
	result   TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX IF NOT EXISTS orders_open ON orders (no) WHERE done_at IS NULL;

-- What could be neither done nor repeated, for people to look at.
CREATE TABLE IF NOT EXISTS dead_letters (
	no   INTEGER PRIMARY KEY,
	at   INTEGER NOT NULL,
	what TEXT NOT NULL,
	task TEXT NOT NULL,
	code TEXT NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, n INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

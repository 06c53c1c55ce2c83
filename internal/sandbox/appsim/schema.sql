-- The database of one app of the demo world. Times are microseconds UTC, days YYYY-MM-DD in the national zone; numbers are the
-- digits after the plus. NULL is unknown.

CREATE TABLE IF NOT EXISTS accounts (
	id             TEXT PRIMARY KEY,
	nickname       TEXT NOT NULL,
	balance_fen    INTEGER NOT NULL,
	owner_key      TEXT NOT NULL, -- whose it really is. The agent's statements never read it: see the package comment
	other_contact  INTEGER NOT NULL,
	legal_hold     INTEGER NOT NULL,
	business       INTEGER NOT NULL,
	owed           INTEGER NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS bindings (
	id               INTEGER PRIMARY KEY,
	account          TEXT NOT NULL REFERENCES accounts,
	number           INTEGER NOT NULL,
	bound_at         INTEGER, -- B: exactly,
	bound_day        TEXT,    -- or to the day
	last_bound_at    INTEGER,
	proof_at         INTEGER, -- V: by anything but the number, exactly,
	proof_day        TEXT,    -- or to the day;
	proof_never      INTEGER NOT NULL, -- or every proof is recorded and there is none
	verified         TEXT NOT NULL CHECK (verified IN ('', 'yes', 'no')), -- the owner was the number's holder at verified_at
	verified_at      INTEGER,
	is_login_key     INTEGER NOT NULL DEFAULT 1,
	is_recovery      INTEGER NOT NULL DEFAULT 1,
	is_second_factor INTEGER NOT NULL DEFAULT 1,
	notify           INTEGER NOT NULL DEFAULT 1,
	discoverable     INTEGER NOT NULL DEFAULT 1,
	stopped_at       INTEGER, -- the number is no key while a task of a high-value app is pending
	stopped_by       TEXT,
	detached_at      INTEGER,
	detached_by      TEXT,
	restore_token    TEXT,
	restore_until    INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS bindings_number ON bindings (number);

-- What really was. Only reviews and checks read these two.
CREATE TABLE IF NOT EXISTS truth_bindings (binding INTEGER PRIMARY KEY REFERENCES bindings, bound_at INTEGER) STRICT;
CREATE TABLE IF NOT EXISTS truth_accounts (account TEXT PRIMARY KEY, sum TEXT NOT NULL) STRICT;

CREATE TABLE IF NOT EXISTS sessions (
	id             INTEGER PRIMARY KEY,
	account        TEXT NOT NULL REFERENCES accounts,
	through_number INTEGER NOT NULL,
	started_at     INTEGER NOT NULL,
	ended_at       INTEGER,
	ended_by       TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS sessions_account ON sessions (account);

-- What former holders were told, on channels other than the phone.
CREATE TABLE IF NOT EXISTS notices (
	id      INTEGER PRIMARY KEY,
	account TEXT NOT NULL REFERENCES accounts,
	channel TEXT NOT NULL CHECK (channel = 'other_contact'),
	task    TEXT NOT NULL,
	about   TEXT NOT NULL,
	at      INTEGER NOT NULL
) STRICT;

-- What the app keeps on a number itself: one table a kind of task.
CREATE TABLE IF NOT EXISTS call_list (id TEXT PRIMARY KEY, number INTEGER NOT NULL, since INTEGER NOT NULL, grave INTEGER NOT NULL,
	removed_at INTEGER, removed_by TEXT) STRICT;
CREATE TABLE IF NOT EXISTS labels (id TEXT PRIMARY KEY, number INTEGER NOT NULL, since INTEGER NOT NULL, grave INTEGER NOT NULL,
	removed_at INTEGER, removed_by TEXT) STRICT;
CREATE TABLE IF NOT EXISTS bans (id TEXT PRIMARY KEY, number INTEGER NOT NULL, since INTEGER NOT NULL, grave INTEGER NOT NULL,
	removed_at INTEGER, removed_by TEXT) STRICT;

-- Everything that was done to bindings and marks, and by people, in order: written in the transaction that does it. Nothing is changed or erased here.
CREATE TABLE IF NOT EXISTS actions (
	no         INTEGER PRIMARY KEY,
	task       TEXT NOT NULL,
	binding    INTEGER, -- NULL: a mark's
	mark       TEXT NOT NULL DEFAULT '',
	what       TEXT NOT NULL CHECK (what IN ('key_stopped', 'key_lifted', 'unbound', 'restored', 'removed', 'reviewed', 'confirmed')),
	started_at INTEGER NOT NULL, -- the tenure's, as the task says
	at         INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS actions_task ON actions (task);

-- What was sent that the hub had to refuse.
CREATE TABLE IF NOT EXISTS nonsense (
	no    INTEGER PRIMARY KEY,
	task  TEXT NOT NULL,
	what  TEXT NOT NULL,
	taken INTEGER NOT NULL,
	said  TEXT NOT NULL,
	at    INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS nonsense_task ON nonsense (task);

-- What was heard by the feed, each SET once however often it came, written down before it is acknowledged.
CREATE TABLE IF NOT EXISTS heard (
	no      INTEGER PRIMARY KEY,
	jti     TEXT NOT NULL UNIQUE,
	type    TEXT NOT NULL,
	txn     TEXT NOT NULL,
	task    TEXT NOT NULL, -- '' where it is about none
	reason  TEXT NOT NULL,
	pushed  INTEGER NOT NULL,
	times   INTEGER NOT NULL,
	at      INTEGER NOT NULL,
	last_at INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS heard_task ON heard (task) WHERE task <> '';

-- Numbers whose holder changed or gave them up, as the feed told: what a login page would look at.
CREATE TABLE IF NOT EXISTS recycled (
	jti          TEXT PRIMARY KEY,
	number       INTEGER NOT NULL,
	what         TEXT NOT NULL CHECK (what IN ('reassigned', 'transferred', 'released')),
	started_at   INTEGER, -- of the tenure, where the contract grants it
	at           INTEGER NOT NULL,
	retracted_at INTEGER -- it was taken back
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS recycled_number ON recycled (number);

package agent

import (
	"context"
	"database/sql"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/seal"
)

// state is what the agent knows, on stable storage. It has one connection, kept only while it is used: nothing may ask it inside a
// transaction but by that transaction.
type state struct {
	dir  string
	keys *seal.Keys
	sync string // SQLite's synchronous
	zone *time.Location
	lock *fileLease

	opening sync.Mutex
	db      *sql.DB
}

// openState opens the state in a directory, which is made with mode 0700. relaxed survives a killed process, and not a power cut.
func openState(dir string, zone *time.Location, relaxed bool) (*state, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	keys, err := seal.Open(filepath.Join(dir, "keys.json"))
	if err != nil {
		return nil, err
	}
	s := &state{dir: dir, keys: keys, sync: "full", zone: zone, lock: &fileLease{path: filepath.Join(dir, "lock")}}
	if relaxed {
		s.sync = "normal"
	}
	return s, nil
}

// idleFile is how long a connection to a SQLite file is kept that is not used: it costs memory and three file handles, of each of the
// agents of one process, and little to make anew.
const idleFile = 20 * time.Second

//go:embed state.sql
var stateSchema string

func (s *state) open(ctx context.Context) (*sql.DB, error) {
	s.opening.Lock()
	defer s.opening.Unlock()
	if s.db != nil {
		return s.db, nil
	}
	path, err := filepath.Abs(filepath.Join(s.dir, "agent.db"))
	if err != nil {
		return nil, err
	}
	v := url.Values{"_txlock": {"immediate"}, "_pragma": {"busy_timeout(10000)", "journal_mode(wal)", "synchronous(" + s.sync + ")",
		"foreign_keys(on)", "secure_delete(on)", "cache_size(-4000)", "temp_store(memory)"}}
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: v.Encode()}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	db.SetConnMaxIdleTime(idleFile)
	if err := inTx(ctx, db, func(tx *sql.Tx) error { return s.prepare(ctx, tx) }); err != nil {
		return nil, errors.Join(tell("the agent's state in %s: %w", s.dir, err), db.Close())
	}
	s.db = db
	return db, nil
}

// prepare makes the tables and notices a key file that is not the one the numbers were sealed with.
func (s *state) prepare(ctx context.Context, tx *sql.Tx) error {
	if _, err := tx.ExecContext(ctx, stateSchema); err != nil {
		return err
	}
	for name, want := range map[string]string{"format": "1", "keys": s.keys.Fingerprint()} {
		if _, err := tx.ExecContext(ctx, `INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING`, name, want); err != nil {
			return err
		}
		var have string
		if err := tx.QueryRowContext(ctx, `SELECT value FROM meta WHERE name = ?`, name).Scan(&have); err != nil {
			return err
		}
		if have != want {
			return tell("it was written with another %s than is here; restore them together", name)
		}
	}
	return nil
}

func (s *state) close() error {
	s.opening.Lock()
	defer s.opening.Unlock()
	var err error
	if s.db != nil {
		err = s.db.Close()
		s.db = nil
	}
	return errors.Join(err, s.lock.release())
}

// write runs f in a transaction and commits unless f failed.
func (s *state) write(ctx context.Context, f func(tx *sql.Tx) error) error {
	db, err := s.open(ctx)
	if err != nil {
		return err
	}
	return inTx(ctx, db, f)
}

func inTx(ctx context.Context, db *sql.DB, f func(tx *sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after a commit
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// phase is where a task stands here.
type phase int

const (
	waiting  phase = iota + 1 // not answered yet
	standing                  // answered, but not finally
	done                      // answered finally
	closed                    // nothing more is done: see task.ended
)

// task is a task with how it stands.
type task struct {
	want
	no            int64
	kindWord      string
	digest        string
	due, seen     time.Time
	jti           string
	phase         phase
	next          time.Time // zero: never
	tries         int
	problem       string
	answer        huanxin.Verdict // zero: none yet
	decided, sent time.Time
	ended         string
	retracted     time.Time
	news          int64
	bindings      []*binding
	counts        []string // of decisions, which are not on storage yet
}

func (t *task) count(what string) { t.counts = append(t.counts, what) }

// binding is how a task stands with one binding.
type binding struct {
	key      []byte
	facts    Facts
	decision decision
	decided  time.Time
	// intent is what was about to be done; it stays until it is noted what became of it.
	intent                                   deed
	intentAt                                 time.Time
	token                                    string
	suspended, final, acted, until, restored time.Time
	finding                                  *Finding

	present bool             // find gave it
	failure *huanxin.Verdict // of this round: it could not be done
	dirty   bool             // what is on storage is older
}

const taskColumns = `no, id, kind, number, tenure, started_at, origin, digest, coalesce(due_at, 0), seen_at, jti, phase, coalesce(next_at, 0),
	tries, problem, outcome, reason, coalesce(decided_at, 0), coalesce(sent_at, 0), ended, coalesce(retracted_at, 0), news`

func (s *state) scanTask(r *sql.Rows) (*task, error) {
	t := &task{}
	var number []byte
	var started, due, seen, next, decided, sent, retracted int64
	var outcome, reason string
	err := r.Scan(&t.no, &t.task, &t.kindWord, &number, &t.tenure, &started, &t.origin, &t.digest, &due, &seen, &t.jti, &t.phase, &next,
		&t.tries, &t.problem, &outcome, &reason, &decided, &sent, &t.ended, &retracted, &t.news)
	if err != nil {
		return nil, err
	}
	t.kind, _ = huanxin.ParseTaskKind(t.kindWord) // 0: one that this program does not know
	t.zone = s.zone
	if number != nil {
		if t.number, err = s.keys.Unseal(number, []byte(t.task)); err != nil {
			return nil, err
		}
	}
	t.started, t.due, t.seen, t.next = time.UnixMicro(started).UTC(), instant(due), instant(seen), instant(next)
	t.decided, t.sent, t.retracted = instant(decided), instant(sent), instant(retracted)
	t.answer.Outcome, _ = huanxin.ParseOutcome(outcome)
	t.answer.Reason, _ = huanxin.ParseReason(reason)
	return t, nil
}

const bindingColumns = `task, key, ref, bound_at, last_proof, same_person, class, hold_back, row, outcome, reason, decided_at, intent,
	coalesce(intent_at, 0), token, coalesce(suspended_at, 0), coalesce(final_at, 0), coalesce(acted_at, 0), coalesce(restore_until, 0),
	coalesce(restored_at, 0), finding`

func (s *state) scanBinding(r *sql.Rows) (no int64, b *binding, err error) {
	b = &binding{}
	var ref []byte
	var bound, proof, same, hold, outcome, reason, finding string
	var decided, intentAt, suspended, final, acted, until, restored int64
	err = r.Scan(&no, &b.key, &ref, &bound, &proof, &same, &b.facts.Class, &hold, &b.decision.row, &outcome, &reason, &decided, &b.intent,
		&intentAt, &b.token, &suspended, &final, &acted, &until, &restored, &finding)
	if err != nil {
		return 0, nil, err
	}
	if ref != nil {
		plain, err := s.keys.UnsealBytes(ref, refBinding(no))
		if err != nil {
			return 0, nil, err
		}
		var pair [2]string
		if err := json.Unmarshal(plain, &pair); err != nil {
			return 0, nil, err
		}
		b.facts.ID, b.facts.Account = pair[0], pair[1]
	}
	var err1, err2 error
	b.facts.FirstBound, err1 = ParseWhen(bound, s.zone)
	b.facts.LastProof, err2 = ParseWhen(proof, s.zone)
	if finding != "" {
		b.finding = &Finding{}
		err = b.finding.unmarshal(finding, s.zone)
	}
	b.facts.SamePerson, _ = triOf(same)
	b.facts.HoldBack, _ = huanxin.ParseReason(hold)
	b.decision.Outcome, _ = huanxin.ParseOutcome(outcome)
	b.decision.Reason, _ = huanxin.ParseReason(reason)
	b.decided, b.intentAt, b.suspended, b.final = instant(decided), instant(intentAt), instant(suspended), instant(final)
	b.acted, b.until, b.restored = instant(acted), instant(until), instant(restored)
	return no, b, errors.Join(err, err1, err2)
}

// refBinding binds a sealed reference to its task.
func refBinding(no int64) []byte {
	return binary.BigEndian.AppendUint64([]byte("binding "), uint64(no))
}

// word gives an enum's word, or nothing for its zero value.
func word[T interface {
	~uint8
	String() string
}](v T) string {
	if v == 0 {
		return ""
	}
	return v.String()
}

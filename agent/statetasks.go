package agent

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"time"
)

// querySQL is a database or a transaction.
type querySQL interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// tasks gives those that a condition names, with their bindings, in the order in which they were seen.
func (s *state) tasks(ctx context.Context, where string, args ...any) ([]*task, error) {
	var all []*task
	err := s.read(ctx, func(q querySQL) (err error) {
		all, err = s.tasksOf(ctx, q, where, args...)
		return err
	})
	return all, err
}

// read runs f on the database, in one transaction where more than one statement must see the same.
func (s *state) read(ctx context.Context, f func(q querySQL) error) error {
	db, err := s.open(ctx)
	if err != nil {
		return err
	}
	return f(db)
}

func (s *state) tasksOf(ctx context.Context, q querySQL, where string, args ...any) ([]*task, error) {
	rows, err := q.QueryContext(ctx, `SELECT `+taskColumns+` FROM tasks WHERE `+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []*task
	byNo := map[int64]*task{}
	for rows.Next() {
		t, err := s.scanTask(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, t)
		byNo[t.no] = t
	}
	if err := rows.Err(); err != nil || len(all) == 0 {
		return nil, err
	}
	if err := rows.Close(); err != nil {
		return nil, err
	}
	return all, s.loadBindings(ctx, q, byNo)
}

func (s *state) loadBindings(ctx context.Context, q querySQL, byNo map[int64]*task) error {
	nos := make([]int64, 0, len(byNo))
	for no := range byNo {
		nos = append(nos, no)
	}
	list, err := json.Marshal(nos)
	if err != nil {
		return err
	}
	rows, err := q.QueryContext(ctx, `SELECT `+bindingColumns+` FROM bindings WHERE task IN (SELECT value FROM json_each(?)) ORDER BY task, key`, string(list))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		no, b, err := s.scanBinding(rows)
		if err != nil {
			return err
		}
		byNo[no].bindings = append(byNo[no].bindings, b)
	}
	return rows.Err()
}

// incoming is a task as the hub asks for it.
type incoming struct {
	*task
	again bool // asked once more, whatever stands here
}

// take writes tasks down as they are asked for, and what is told of tasks that are here. It says how many are new.
func (s *state) take(ctx context.Context, asked []incoming, told []notice, now time.Time) (fresh int, err error) {
	err = s.write(ctx, func(tx *sql.Tx) error {
		fresh = 0
		insert, err := tx.PrepareContext(ctx, `INSERT INTO tasks (id, kind, number, tenure, started_at, origin, digest, due_at, seen_at, jti, phase, next_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?) ON CONFLICT DO NOTHING`)
		if err != nil {
			return err
		}
		defer insert.Close()
		for _, in := range asked {
			r, err := insert.ExecContext(ctx, in.want.task, in.kindWord, s.keys.Seal(in.number, []byte(in.want.task)), in.tenure, in.started.UnixMicro(),
				in.origin, in.digest, micros(in.due), micros(in.seen), in.jti, micros(in.next))
			if err != nil {
				return err
			}
			n, err := r.RowsAffected()
			if err != nil {
				return err
			}
			if fresh += int(n); n == 0 {
				if err := s.askedAgain(ctx, tx, in, now); err != nil {
					return err
				}
			}
		}
		for _, n := range told {
			if err := n.note(ctx, tx, now); err != nil {
				return err
			}
		}
		return nil
	})
	return fresh, err
}

// askedAgain has an answer that was given sent again, and what is not final decided anew. A SET that only comes again does nothing.
func (s *state) askedAgain(ctx context.Context, tx *sql.Tx, in incoming, now time.Time) error {
	_, err := tx.ExecContext(ctx, `UPDATE tasks SET sent_at = NULL, next_at = iif(phase <= 2, min(coalesce(next_at, ?1), ?1), next_at), news = news + 1,
		jti = iif(?2 = '', jti, ?2) WHERE id = ?3 AND phase <= 3 AND outcome <> '' AND (?4 OR ?2 <> '' AND jti <> ?2)`,
		micros(now), in.jti, in.want.task, in.again)
	return err
}

// notice is what the hub tells of a task beside asking for it.
type notice struct {
	id    string // "": what was unbound for the tenure, if that is one here
	ended string // cancelled, aborted; "": its tenure was taken back
	// tenure is that of a notice without a task: one that was worked when it was too late has none of its own.
	tenure string
}

func (n *notice) note(ctx context.Context, tx *sql.Tx, now time.Time) error {
	q := `UPDATE tasks SET ended = ?1, next_at = iif(phase <= 2, ?2, next_at), news = news + 1 WHERE id = ?3 AND ended = ''`
	if n.ended == "" {
		q = `UPDATE tasks SET retracted_at = ?2, next_at = ?2, news = news + 1 WHERE id = ?3 AND retracted_at IS NULL AND ?1 = ''`
	}
	if n.id == "" {
		q = `UPDATE tasks SET retracted_at = ?2, next_at = ?2, news = news + 1 WHERE tenure = ?3 AND retracted_at IS NULL AND ?1 = ''
			AND EXISTS (SELECT 1 FROM bindings b WHERE b.task = tasks.no AND b.acted_at IS NOT NULL)`
	}
	_, err := tx.ExecContext(ctx, q, n.ended, micros(now), cmp.Or(n.id, n.tenure))
	return err
}

// saveIntents writes down what is about to be done.
func (s *state) saveIntents(ctx context.Context, todo []*todo) error {
	if len(todo) == 0 {
		return nil
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		put, err := tx.PrepareContext(ctx, putBinding)
		if err != nil {
			return err
		}
		defer put.Close()
		counts := map[string]int{}
		for _, o := range todo {
			if err := s.putBindings(ctx, put, o.t, counts); err != nil {
				return err
			}
		}
		return count(ctx, tx, counts)
	})
}

// save writes down how tasks stand, with their bindings that changed, and counts decisions. An answer that is not the one on storage has
// not been sent; what was told of a task meanwhile is worked next.
func (s *state) save(ctx context.Context, tasks []*task, now time.Time) error {
	if len(tasks) == 0 {
		return nil
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		update, err := tx.PrepareContext(ctx, `UPDATE tasks SET phase = ?1, next_at = iif(news = ?2, ?3, ?4), tries = ?5, problem = ?6, outcome = ?7,
			reason = ?8, decided_at = ?9, sent_at = iif(decided_at IS ?9, sent_at, NULL), ended = iif(ended = '', ?10, ended),
			erase_at = iif(news = ?2, ?11, NULL) WHERE no = ?12`)
		if err != nil {
			return err
		}
		defer update.Close()
		put, err := tx.PrepareContext(ctx, putBinding)
		if err != nil {
			return err
		}
		defer put.Close()
		counts := map[string]int{}
		for _, t := range tasks {
			if _, err := update.ExecContext(ctx, t.phase, t.news, micros(t.next), micros(now), t.tries, t.problem, word(t.answer.Outcome),
				word(t.answer.Reason), micros(t.decided), t.ended, micros(t.eraseAt()), t.no); err != nil {
				return err
			}
			if err := s.putBindings(ctx, put, t, counts); err != nil {
				return err
			}
		}
		return count(ctx, tx, counts)
	})
}

// putBindings writes a task's bindings that changed.
func (s *state) putBindings(ctx context.Context, put *sql.Stmt, t *task, counts map[string]int) error {
	for _, what := range t.counts {
		counts[what]++
	}
	t.counts = nil
	for _, b := range t.bindings {
		if !b.dirty || b.decided.IsZero() { // one that was only seen is none of the task's
			continue
		}
		if err := s.putBinding(ctx, put, t.no, b); err != nil {
			return err
		}
	}
	return nil
}

// eraseAt is when a task's number is no longer needed: it is ended, and nothing can be restored any more.
func (t *task) eraseAt() time.Time {
	if t.phase < done || !t.next.IsZero() {
		return time.Time{}
	}
	at := t.seen
	for _, b := range t.bindings {
		if !b.acted.IsZero() && b.until.After(at) {
			at = b.until
		}
	}
	return at
}

const putBinding = `INSERT INTO bindings (task, key, ref, bound_at, last_proof, same_person, class, hold_back, row, outcome, reason, decided_at,
		intent, intent_at, token, suspended_at, final_at, acted_at, restore_until, restored_at)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
	ON CONFLICT DO UPDATE SET ref = excluded.ref, bound_at = excluded.bound_at, last_proof = excluded.last_proof, same_person = excluded.same_person,
		class = excluded.class, hold_back = excluded.hold_back, row = excluded.row, outcome = excluded.outcome, reason = excluded.reason,
		decided_at = excluded.decided_at, intent = excluded.intent, intent_at = excluded.intent_at, token = excluded.token,
		suspended_at = excluded.suspended_at, final_at = excluded.final_at, acted_at = excluded.acted_at,
		restore_until = excluded.restore_until, restored_at = excluded.restored_at`

func (s *state) putBinding(ctx context.Context, put *sql.Stmt, no int64, b *binding) error {
	ref, err := json.Marshal([2]string{b.facts.ID, b.facts.Account})
	if err != nil {
		return err
	}
	_, err = put.ExecContext(ctx, no, b.key, s.keys.SealBytes(ref, refBinding(no)), b.facts.FirstBound.String(), b.facts.LastProof.String(),
		triWord(b.facts.SamePerson), b.facts.Class, word(b.facts.HoldBack), b.decision.row, word(b.decision.Outcome), word(b.decision.Reason),
		micros(b.decided), b.intent, micros(b.intentAt), b.token, micros(b.suspended), micros(b.final), micros(b.acted), micros(b.until), micros(b.restored))
	if err == nil {
		b.dirty = false
	}
	return err
}

func count(ctx context.Context, tx *sql.Tx, counts map[string]int) error {
	for name, n := range counts {
		if _, err := tx.ExecContext(ctx, `INSERT INTO counters (name, n) VALUES (?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n`, name, n); err != nil {
			return err
		}
	}
	return nil
}

// sent notes which answers the hub took, and which it refused: those are for people to look at, or say that the task has ended.
func (s *state) sentAnswers(ctx context.Context, tasks []*task, refused map[int]string, now time.Time) error {
	answers := make([][2]int64, len(tasks))
	for i, t := range tasks {
		answers[i] = [2]int64{t.no, t.decided.UnixMicro()}
	}
	list, err := json.Marshal(answers)
	if err != nil {
		return err
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		// An answer that was decided since then is another one.
		if _, err := tx.ExecContext(ctx, `UPDATE tasks SET sent_at = ?1 FROM json_each(?2) j WHERE no = j.value->>0 AND decided_at = j.value->>1`,
			micros(now), string(list)); err != nil {
			return err
		}
		counts := map[string]int{}
		for i, t := range tasks {
			code := refused[i]
			if code == "" {
				counts["answered "+word(t.answer.Outcome)]++
				continue
			}
			counts["refused "+code]++
			if _, err := tx.ExecContext(ctx, `UPDATE tasks SET ended = ?1, phase = iif(phase <= 2, phase, 3), next_at = iif(phase <= 2, ?2, next_at), news = news + 1
				WHERE no = ?3 AND ended = ''`, code, micros(now), t.no); err != nil {
				return err
			}
			if code == "no_effect" {
				continue // it was cancelled, or its tenure ended: which is no fault
			}
			if _, err := tx.ExecContext(ctx, `INSERT INTO dead_letters (at, what, task, code) VALUES (?, 'answer', ?, ?)`, micros(now), t.task, code); err != nil {
				return err
			}
		}
		return count(ctx, tx, counts)
	})
}

// next gives when there is something to do here; zero: nothing is known of.
func (s *state) nextAt(ctx context.Context) (time.Time, error) {
	var at int64
	err := s.read(ctx, func(q querySQL) error {
		return q.QueryRowContext(ctx, `SELECT coalesce(min(at), 0) FROM (SELECT min(next_at) AS at FROM tasks WHERE next_at IS NOT NULL
			UNION ALL SELECT min(erase_at) FROM tasks WHERE erase_at IS NOT NULL
			UNION ALL SELECT 1 FROM tasks WHERE outcome <> '' AND sent_at IS NULL
			UNION ALL SELECT 1 FROM orders WHERE done_at IS NULL)`).Scan(&at)
	})
	return instant(at), err
}

// erase takes the numbers and accounts out of tasks that need them no longer, and forgets tasks that are older than keep.
func (s *state) erase(ctx context.Context, now time.Time, keep time.Duration) error {
	var some bool
	if err := s.read(ctx, func(q querySQL) error {
		return q.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM tasks WHERE erase_at <= ?1) OR EXISTS (SELECT 1 FROM tasks WHERE no =
			(SELECT min(no) FROM tasks) AND seen_at < ?2)`, micros(now), micros(now.Add(-keep))).Scan(&some)
	}); err != nil || !some {
		return err
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		for _, q := range []string{
			`UPDATE bindings SET ref = NULL, token = '' WHERE task IN (SELECT no FROM tasks WHERE erase_at <= ?1)`,
			`UPDATE tasks SET number = NULL, erase_at = NULL WHERE erase_at <= ?1`,
			`DELETE FROM bindings WHERE task IN (SELECT no FROM tasks WHERE number IS NULL AND seen_at < ?2)`,
			`DELETE FROM tasks WHERE number IS NULL AND seen_at < ?2`,
			`DELETE FROM orders WHERE done_at < ?2`,
			`DELETE FROM dead_letters WHERE at < ?2`,
		} {
			if _, err := tx.ExecContext(ctx, q, micros(now), micros(now.Add(-keep))); err != nil {
				return err
			}
		}
		return nil
	})
}

// binding gives that of an id, which is made if it is new here.
func (t *task) binding(s *state, id string) *binding {
	key := s.keys.MAC([]byte(id))
	for _, b := range t.bindings {
		if bytes.Equal(b.key, key) {
			return b
		}
	}
	b := &binding{key: key}
	t.bindings = append(t.bindings, b)
	return b
}

// openIDs gives the ids of open tasks that came until a time.
func (s *state) openIDs(ctx context.Context, until time.Time) (ids []string, err error) {
	err = s.read(ctx, func(q querySQL) error {
		rows, err := q.QueryContext(ctx, `SELECT id FROM tasks WHERE phase <= 2 AND seen_at <= ? AND ended = ''`, until.UnixMicro())
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				return err
			}
			ids = append(ids, id)
		}
		return rows.Err()
	})
	return ids, err
}

// meta reads and setMeta writes a word that the agent keeps for itself.
func (s *state) meta(ctx context.Context, name string) (value string, err error) {
	err = s.read(ctx, func(q querySQL) error {
		err := q.QueryRowContext(ctx, `SELECT value FROM meta WHERE name = ?`, name).Scan(&value)
		if err == sql.ErrNoRows {
			return nil
		}
		return err
	})
	return value, err
}

func (s *state) setMeta(ctx context.Context, name, value string) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value`, name, value)
		return err
	})
}

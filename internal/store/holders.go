package store

import (
	"slices"
	"strings"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// SessionRow is a holder's session: how its tokens stand, and who it is, the number being sealed.
type SessionRow struct {
	huanxin.Session
	Holder huanxin.Holder // without Number
	Sealed []byte
}

const sessionColumns = `id, token, next, before, turned_at, issued_at, created_at, seen_at, sealed, tenure, carrier, started_at, origin,
	control, verified_at, identity, identity_at`

// NextSession gives the number of a new session.
func (t *Tx) NextSession() (int64, error) { return t.nextID("holder_session", 1) }

// InsertSession writes a new session.
func (t *Tx) InsertSession(s SessionRow) error {
	h := &s.Holder
	_, err := t.exec("INSERT INTO holder_sessions ("+sessionColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
		h.Session, s.Token, s.Next, s.Before, micros(s.TurnedAt), micros(s.IssuedAt), micros(s.CreatedAt), micros(s.SeenAt), s.Sealed, int64(h.Tenure),
		int64(h.Carrier), micros(h.StartedAt), int64(h.Origin), int64(h.Proof.Control), micros(h.Proof.VerifiedAt), int64(h.Proof.Identity), micros(h.IdentityAt))
	return err
}

// Session gives a session; found is false where there is none.
func (t *Tx) Session(id int64) (s SessionRow, found bool, err error) { return t.session("id = $1", id) }

// LockSession gives a session, and nobody else changes it until the transaction ends.
func (t *Tx) LockSession(id int64) (s SessionRow, found bool, err error) {
	return t.session("id = $1 {lock}", id)
}

func (t *Tx) session(where string, id int64) (s SessionRow, found bool, err error) {
	err = t.queryAll("SELECT "+sessionColumns+" FROM holder_sessions WHERE "+where, []any{id}, func(r scanner) error {
		var turned, issued, created, seen, started, verified, identified int64
		h := &s.Holder
		err := r.Scan(&h.Session, &s.Token, &s.Next, &s.Before, &turned, &issued, &created, &seen, &s.Sealed, &h.Tenure, &h.Carrier, &started, &h.Origin,
			&h.Proof.Control, &verified, &h.Proof.Identity, &identified)
		s.TurnedAt, s.IssuedAt, s.CreatedAt, s.SeenAt = fromMicros(turned), fromMicros(issued), fromMicros(created), fromMicros(seen)
		h.StartedAt, h.Proof.VerifiedAt, h.IdentityAt = fromMicros(started), fromMicros(verified), fromMicros(identified)
		found = true
		return err
	})
	return s, found, err
}

// SaveSession writes how a session's tokens stand, when it was seen, and its proof.
func (t *Tx) SaveSession(s SessionRow) error {
	p := &s.Holder.Proof
	_, err := t.exec(`UPDATE holder_sessions SET token = $1, next = $2, before = $3, turned_at = $4, issued_at = $5, seen_at = $6, control = $7, verified_at = $8,
		identity = $9, identity_at = $10 WHERE id = $11`, s.Token, s.Next, s.Before, micros(s.TurnedAt), micros(s.IssuedAt), micros(s.SeenAt), int64(p.Control),
		micros(p.VerifiedAt), int64(p.Identity), micros(s.Holder.IdentityAt), s.Holder.Session)
	return err
}

// EndSession ends a session, EndSessionsOf every one of a tenure.
func (t *Tx) EndSession(id int64) error {
	_, err := t.exec("DELETE FROM holder_sessions WHERE id = $1", id)
	return err
}

// EndSessionsOf ends every session of a tenure.
func (t *Tx) EndSessionsOf(tenure huanxin.TenureID) error {
	_, err := t.exec("DELETE FROM holder_sessions WHERE tenure = $1", int64(tenure))
	return err
}

// DraftRow is a request before it is made.
type DraftRow struct {
	ID          int64
	Tenure      huanxin.TenureID
	Apps        []string // none: all
	Kinds       []huanxin.TaskKind
	Consent     string
	ConsentedAt time.Time
	CreatedAt   time.Time
	Request     huanxin.RequestID
}

// InsertDraft writes a new draft and gives its number.
func (t *Tx) InsertDraft(d DraftRow) (int64, error) {
	id, err := t.nextID("draft", 1)
	if err != nil {
		return 0, err
	}
	words := make([]string, len(d.Kinds))
	for i, k := range d.Kinds {
		words[i] = k.String()
	}
	_, err = t.exec("INSERT INTO drafts (id, tenure, apps, kinds, consent, consented_at, created_at, request) VALUES ($1, $2, $3, $4, '', 0, $5, 0)",
		id, int64(d.Tenure), strings.Join(d.Apps, " "), strings.Join(words, " "), micros(d.CreatedAt))
	return id, err
}

// LockDraft gives a draft, and nobody else changes it until the transaction ends.
func (t *Tx) LockDraft(id int64) (d DraftRow, found bool, err error) {
	return t.draft("id = $1 {lock}", id)
}

// Draft gives a draft; found is false where there is none.
func (t *Tx) Draft(id int64) (d DraftRow, found bool, err error) { return t.draft("id = $1", id) }

func (t *Tx) draft(where string, id int64) (d DraftRow, found bool, err error) {
	var apps, kinds string
	var consented, created int64
	found, err = t.queryRow("SELECT id, tenure, apps, kinds, consent, consented_at, created_at, request FROM drafts WHERE "+where, []any{id},
		&d.ID, &d.Tenure, &apps, &kinds, &d.Consent, &consented, &created, &d.Request)
	if err != nil || !found {
		return d, false, err
	}
	d.Apps, d.ConsentedAt, d.CreatedAt = strings.Fields(apps), fromMicros(consented), fromMicros(created)
	for _, w := range strings.Fields(kinds) {
		k, err := huanxin.ParseTaskKind(w)
		if err != nil {
			return d, false, err
		}
		d.Kinds = append(d.Kinds, k)
	}
	return d, true, nil
}

// SaveDraft writes what was agreed to, and what became of a draft.
func (t *Tx) SaveDraft(d DraftRow) error {
	_, err := t.exec("UPDATE drafts SET consent = $1, consented_at = $2, request = $3 WHERE id = $4", d.Consent, micros(d.ConsentedAt), int64(d.Request), d.ID)
	return err
}

// InsertIdentityFailure notes an identity check of a number that failed, or has not succeeded yet.
func (t *Tx) InsertIdentityFailure(lookup []byte, at time.Time) error {
	_, err := t.exec("INSERT INTO identity_failures (lookup, at) VALUES ($1, $2)", lookup, micros(at))
	return err
}

// IdentityFailures gives when the identity checks of a number failed after a time, oldest first.
func (t *Tx) IdentityFailures(lookups [][]byte, after time.Time) (out []time.Time, err error) {
	for _, l := range lookups {
		err = t.queryAll("SELECT at FROM identity_failures WHERE lookup = $1 AND at > $2 ORDER BY at", []any{l, micros(after)}, func(r scanner) error {
			var at int64
			err := r.Scan(&at)
			out = append(out, fromMicros(at))
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(out, time.Time.Compare) // those under one key before those under another
	return out, nil
}

// TakeBackIdentityFailure drops the last that was noted of a number: it succeeded.
func (t *Tx) TakeBackIdentityFailure(lookups [][]byte) error {
	for _, l := range lookups {
		res, err := t.exec("DELETE FROM identity_failures WHERE lookup = $1 AND at = (SELECT MAX(at) FROM identity_failures WHERE lookup = $1)", l)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n > 0 {
			return err
		}
	}
	return nil
}

// ForgetHolders drops sessions that were not seen since idle or began before life, drafts from before drafts, and failed checks from before
// failures. It says how many rows went.
func (t *Tx) ForgetHolders(idle, life, drafts, failures time.Time) (n int64, err error) {
	for _, s := range []struct {
		q    string
		args []any
	}{
		{"DELETE FROM holder_sessions WHERE seen_at < $1 OR created_at < $2", []any{micros(idle), micros(life)}},
		{"DELETE FROM drafts WHERE created_at < $1", []any{micros(drafts)}},
		{"DELETE FROM identity_failures WHERE at < $1", []any{micros(failures)}},
	} {
		res, err := t.exec(s.q, s.args...)
		if err != nil {
			return n, err
		}
		gone, err := res.RowsAffected()
		if n += gone; err != nil {
			return n, err
		}
	}
	return n, nil
}

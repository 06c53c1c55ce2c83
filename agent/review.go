package agent

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// findingJSON is a Finding on storage.
type findingJSON struct {
	Outcome    string    `json:"outcome"`
	Reason     string    `json:"reason"`
	FirstBound string    `json:"bound_at,omitempty"`
	SamePerson string    `json:"same_person,omitempty"`
	By         string    `json:"by"`
	At         time.Time `json:"at"`
}

func (f *Finding) marshal() (string, error) {
	b, err := json.Marshal(findingJSON{word(f.Outcome), word(f.Reason), f.FirstBound.String(), triWord(f.SamePerson), f.By, f.At})
	return string(b), err
}

func (f *Finding) unmarshal(text string, zone *time.Location) error {
	var in findingJSON
	if err := json.Unmarshal([]byte(text), &in); err != nil {
		return err
	}
	var err error
	f.Outcome, _ = huanxin.ParseOutcome(in.Outcome)
	f.Reason, _ = huanxin.ParseReason(in.Reason)
	f.SamePerson, _ = triOf(in.SamePerson)
	f.By, f.At = in.By, in.At
	f.FirstBound, err = ParseWhen(in.FirstBound, zone)
	return err
}

// InReview is a binding that waits for a person, or for the holder.
type InReview struct {
	Task, Kind       string
	Binding, Account string
	Outcome, Reason  string
	Row              int
	TenureStart      time.Time
	TenureKnown      bool
	FirstBound       string
	LastProof        string
	SamePerson       string
	Found            bool // a person has said what was found
	Due              time.Time
}

// Reviews lists the bindings that are in review, wait for the holder or could not be worked.
func (a *Agent) Reviews(ctx context.Context) ([]InReview, error) {
	return a.state.reviews(ctx)
}

func (s *state) reviews(ctx context.Context) (out []InReview, err error) {
	tasks, err := s.tasks(ctx, `phase <= 2 ORDER BY no`)
	for _, t := range tasks {
		for _, b := range t.bindings {
			if o := b.decision.Outcome; o != huanxin.InReview && o != huanxin.ActionRequired || !b.acted.IsZero() {
				continue
			}
			out = append(out, InReview{Task: t.task, Kind: t.kindWord, Binding: b.facts.ID, Account: b.facts.Account,
				Outcome: word(b.decision.Outcome), Reason: word(b.decision.Reason), Row: b.decision.row, TenureStart: t.started,
				TenureKnown: claimOf(t.started, t.origin, s.zone).Known, FirstBound: b.facts.FirstBound.String(),
				LastProof: b.facts.LastProof.String(), SamePerson: triWord(b.facts.SamePerson), Found: b.finding != nil, Due: t.due})
		}
	}
	return out, err
}

// Review notes what a person found out about a binding, and has its task decided anew. Whatever was found, nothing that was bound at or
// after the tenure's start is unbound.
func (a *Agent) Review(ctx context.Context, task, binding string, f Finding) error {
	if f.At.IsZero() {
		f.At = a.now()
	}
	err := a.state.review(ctx, task, binding, f)
	if err == nil {
		a.wake()
	}
	return err
}

func (s *state) review(ctx context.Context, task, binding string, f Finding) error {
	if f.Outcome != huanxin.Unbound && f.Outcome != huanxin.Kept || !f.Outcome.Fits(f.Reason) || f.Reason == huanxin.BoundByCurrentHolder {
		return huanxin.Errorf(huanxin.Invalid, "invalid", "a review ends with unbound or kept, and one of its reasons")
	}
	text, err := f.marshal()
	if err != nil {
		return err
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `UPDATE bindings SET finding = ? WHERE key = ? AND acted_at IS NULL AND task = (SELECT no FROM tasks WHERE id = ? AND phase <= 2)`,
			text, s.keys.MAC([]byte(binding)), task)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil {
			return err
		} else if n == 0 {
			return huanxin.Errorf(huanxin.NotFound, "not_found", "no open task of this id has such a binding that was not unbound yet")
		}
		_, err = tx.ExecContext(ctx, `UPDATE tasks SET next_at = ?, news = news + 1 WHERE id = ?`, micros(f.At), task)
		return err
	})
}

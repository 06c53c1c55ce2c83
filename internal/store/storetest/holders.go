package storetest

import (
	"bytes"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/store"
)

var holderTests = []sentence{
	{"a session comes back as it was saved", sessionRows},
	{"a session ends alone, or with all of its tenure", sessionEnds},
	{"a draft comes back as it was made, and with what became of it", draftRows},
	{"failed identity checks are found by number and time", identityFailures},
	{"what holders left behind is forgotten in its time", holdersForgotten},
	{"of a task there is one complaint", caseRows},
	{"who wants an app is counted once", demandRows},
}

func newSession(id byte) store.SessionRow {
	return store.SessionRow{Session: huanxin.Session{Token: []byte{id, 1}, TurnedAt: start, CreatedAt: start, SeenAt: start}, Sealed: []byte{0, id, 255},
		Holder: huanxin.Holder{Session: int64(id), Tenure: 7, Carrier: 2, StartedAt: start.Add(-time.Hour), Origin: huanxin.OriginReassigned,
			Proof: huanxin.Proof{Control: huanxin.ControlSMS, VerifiedAt: start}}}
}

func sessionOf(t testing.TB, s *store.Store, id int64) (row store.SessionRow, found bool) {
	t.Helper()
	read(t, s, func(tx *store.Tx) (err error) {
		row, found, err = tx.Session(id)
		return err
	})
	return row, found
}

func sessionRows(t *testing.T, s *store.Store) {
	row := newSession(1)
	write(t, s, func(tx *store.Tx) error { return tx.InsertSession(row) })
	write(t, s, func(tx *store.Tx) error { return tx.InsertSession(newSession(2)) })
	got, found := sessionOf(t, s, 1)
	if !found {
		t.Fatal("it is not there")
	}
	equal(t, "the session", got, row)
	row.Token, row.Next, row.Before, row.IssuedAt, row.SeenAt = []byte("t"), []byte("n"), []byte("b"), start.Add(1), start.Add(time.Minute)
	row.IssuedAt = start.Add(time.Second)
	row.Holder.Proof.Identity, row.Holder.IdentityAt = huanxin.IdentityFace, start.Add(time.Second)
	write(t, s, func(tx *store.Tx) error { return tx.SaveSession(row) })
	got, _ = sessionOf(t, s, 1)
	equal(t, "the saved session", got, row)
	if _, found := sessionOf(t, s, 9); found {
		t.Error("a session that nobody began is there")
	}
	refused(t, s, func(tx *store.Tx) error {
		again := newSession(3)
		again.Token = []byte("t")
		return tx.InsertSession(again)
	})
	write(t, s, func(tx *store.Tx) error {
		got, found, err := tx.LockSession(2)
		if !found || !bytes.Equal(got.Sealed, newSession(2).Sealed) {
			t.Errorf("%v %+v", found, got)
		}
		return err
	})
}

func sessionEnds(t *testing.T, s *store.Store) {
	write(t, s, func(tx *store.Tx) error {
		for id := range byte(4) {
			row := newSession(id)
			if id == 3 {
				row.Holder.Tenure = 8
			}
			if err := tx.InsertSession(row); err != nil {
				return err
			}
		}
		return tx.EndSession(0)
	})
	there := func() (out []byte) {
		for id := range byte(4) {
			if _, found := sessionOf(t, s, int64(id)); found {
				out = append(out, id)
			}
		}
		return out
	}
	equal(t, "after one ended", there(), []byte{1, 2, 3})
	write(t, s, func(tx *store.Tx) error { return tx.EndSessionsOf(7) })
	equal(t, "after its tenure's ended", there(), []byte{3})
}

func draftRows(t *testing.T, s *store.Store) {
	for _, d := range []store.DraftRow{
		{Tenure: 7, Apps: []string{"chat", "pay"}, Kinds: []huanxin.TaskKind{huanxin.Unbind, huanxin.ClearLabel}, CreatedAt: start},
		{Tenure: 8, Apps: []string{}, Kinds: []huanxin.TaskKind{huanxin.StopContact}, CreatedAt: start},
	} {
		write(t, s, func(tx *store.Tx) (err error) { d.ID, err = tx.InsertDraft(d); return err })
		look := func(want store.DraftRow) {
			t.Helper()
			write(t, s, func(tx *store.Tx) error {
				got, found, err := tx.LockDraft(d.ID)
				if !found {
					t.Error("it is not there")
				}
				equal(t, "the draft", got, want)
				return err
			})
		}
		look(d)
		d.Consent, d.ConsentedAt, d.Request = "v1", start.Add(time.Second), 9
		write(t, s, func(tx *store.Tx) error { return tx.SaveDraft(d) })
		look(d)
	}
	read(t, s, func(tx *store.Tx) error {
		_, found, err := tx.Draft(1 << 40)
		if found {
			t.Error("a draft that nobody made is there")
		}
		return err
	})
}

func identityFailures(t *testing.T, s *store.Store) {
	write(t, s, func(tx *store.Tx) error {
		for i := range 4 {
			if err := tx.InsertIdentityFailure([]byte{byte(i % 2)}, start.Add(time.Duration(i)*time.Minute)); err != nil {
				return err
			}
		}
		return nil
	})
	read(t, s, func(tx *store.Tx) error {
		got, err := tx.IdentityFailures([][]byte{{0}, {9}}, start)
		equal(t, "after the first", got, []time.Time{start.Add(2 * time.Minute)})
		if err != nil {
			return err
		}
		got, err = tx.IdentityFailures([][]byte{{1}, {0}}, start)
		equal(t, "under two keys, oldest first", got, []time.Time{start.Add(time.Minute), start.Add(2 * time.Minute), start.Add(3 * time.Minute)})
		return err
	})
	write(t, s, func(tx *store.Tx) error {
		if err := tx.TakeBackIdentityFailure([][]byte{{9}, {0}, {1}}); err != nil {
			return err
		}
		got, err := tx.IdentityFailures([][]byte{{1}, {0}}, start)
		equal(t, "the last under the first key that has one is taken back", got, []time.Time{start.Add(time.Minute), start.Add(3 * time.Minute)})
		return err
	})
}

func holdersForgotten(t *testing.T, s *store.Store) {
	var kept int64
	write(t, s, func(tx *store.Tx) (err error) {
		idle, long, fresh := newSession(1), newSession(2), newSession(3)
		long.CreatedAt, long.SeenAt, fresh.SeenAt = start.Add(-2*time.Hour), start.Add(time.Hour), start.Add(time.Hour)
		fresh.CreatedAt = start.Add(time.Minute)
		for _, row := range []store.SessionRow{idle, long, fresh} {
			if err := tx.InsertSession(row); err != nil {
				return err
			}
		}
		if _, err := tx.InsertDraft(store.DraftRow{CreatedAt: start.Add(-time.Minute)}); err != nil {
			return err
		}
		if kept, err = tx.InsertDraft(store.DraftRow{CreatedAt: start.Add(time.Minute)}); err != nil {
			return err
		}
		return tx.InsertIdentityFailure([]byte{1}, start.Add(-time.Minute))
	})
	write(t, s, func(tx *store.Tx) error {
		n, err := tx.ForgetHolders(start.Add(time.Second), start, start, start)
		if n != 4 {
			t.Errorf("%d rows went", n)
		}
		return err
	})
	if _, found := sessionOf(t, s, 3); !found {
		t.Error("a session that is in use went")
	}
	read(t, s, func(tx *store.Tx) error {
		_, found, err := tx.Draft(kept)
		if !found {
			t.Error("a fresh draft went")
		}
		return err
	})
}

func caseRows(t *testing.T, s *store.Store) {
	complaint := store.CaseRow{ID: 1, Kind: store.Complaint, OpenedAt: start, App: 3, Request: 4, Task: 5, View: huanxin.ViewKept, Sealed: []byte{}, Lookup: []byte{}}
	report := store.CaseRow{ID: 2, Kind: store.FormerHolder, OpenedAt: start, App: 3, What: huanxin.FormerUsed, Sealed: []byte{1}, Lookup: []byte{2}}
	another := report
	another.ID, another.App, another.OpenedAt = 3, 4, start.Add(time.Hour)
	write(t, s, func(tx *store.Tx) error {
		for _, c := range []store.CaseRow{complaint, report, another} {
			if made, err := tx.InsertCase(c); err != nil || !made {
				t.Errorf("%v %v", made, err)
			}
		}
		again := complaint
		again.ID = 9
		made, err := tx.InsertCase(again)
		if made {
			t.Error("a second complaint about one task is made")
		}
		return err
	})
	read(t, s, func(tx *store.Tx) error {
		all, err := tx.Cases(0, 0, 10)
		must(t, err)
		equal(t, "all cases", all, []store.CaseRow{complaint, report, another})
		page, err := tx.Cases(0, 1, 1)
		must(t, err)
		equal(t, "a page", page, []store.CaseRow{report})
		own, err := tx.Cases(3, 0, 10)
		must(t, err)
		equal(t, "an app's own", own, []store.CaseRow{complaint})
		of, err := tx.ComplaintsOf(4)
		must(t, err)
		equal(t, "a request's", of, []store.CaseRow{complaint})
		for app, want := range map[huanxin.PartyNo]int{3: 0, 4: 1, 5: 0} {
			n, err := tx.ReportsOf(app, [][]byte{{2}, {7}}, start.Add(time.Minute))
			must(t, err)
			equal(t, "how many reports", n, want)
		}
		return nil
	})
	write(t, s, func(tx *store.Tx) error {
		a, err := tx.NextCase()
		must(t, err)
		b, err := tx.NextCase()
		if a == b {
			t.Error("two cases have one number")
		}
		return err
	})
}

func demandRows(t *testing.T, s *store.Store) {
	write(t, s, func(tx *store.Tx) error {
		for _, d := range []struct {
			app    huanxin.PartyNo
			tenure byte
		}{{1, 1}, {1, 1}, {1, 2}, {2, 2}} {
			if err := tx.InsertDemand(d.app, []byte{d.tenure}, start); err != nil {
				return err
			}
		}
		return nil
	})
	read(t, s, func(tx *store.Tx) error {
		all, mine, err := tx.Demand([]byte{1})
		equal(t, "who wants them", all, map[huanxin.PartyNo]int{1: 2, 2: 1})
		equal(t, "what one wants", mine, map[huanxin.PartyNo]bool{1: true, 2: false})
		return err
	})
}

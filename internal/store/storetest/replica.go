package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/store"
)

var replicaTests = []sentence{
	{"rows of numbers for a replica come back by id, each party's alone", replicaRows},
	{"rows of numbers are replaced in one transaction or not at all", replicaReplaced},
	{"rows that a party adds at once have ids in the order of their commits", replicaAtOnce},
	{"a grant that is read is the one that holds until the transaction ends", replicaGrant},
}

func replicaParties(t *testing.T, s *store.Store) (a, b huanxin.PartyNo) {
	write(t, s, func(tx *store.Tx) (err error) {
		if a, err = tx.PutParty(party("a"), start); err != nil {
			return err
		}
		b, err = tx.PutParty(party("b"), start)
		return err
	})
	return a, b
}

func addRow(t testing.TB, s *store.Store, p huanxin.PartyNo, removed bool, n int64) (id int64) {
	t.Helper()
	write(t, s, func(tx *store.Tx) (err error) {
		if id, err = tx.NextReplicaRow(); err != nil {
			return err
		}
		return tx.InsertReplicaRow(p, store.ReplicaRow{ID: id, Removed: removed, Numbers: n, Sealed: []byte(fmt.Sprint(p, n, "\x00")), At: start})
	})
	return id
}

func replicaRowsOf(t testing.TB, s *store.Store, p huanxin.PartyNo, from int64) (out []store.ReplicaRow) {
	t.Helper()
	read(t, s, func(tx *store.Tx) error {
		return tx.ReplicaRows(p, from, func(r store.ReplicaRow) error { out = append(out, r); return nil })
	})
	return out
}

func replicaRows(t *testing.T, s *store.Store) {
	a, b := replicaParties(t, s)
	var want []store.ReplicaRow
	for i := range 150 { // more than a page
		removed := i%3 == 2
		id := addRow(t, s, a, removed, int64(i))
		want = append(want, store.ReplicaRow{ID: id, Removed: removed, Numbers: int64(i), Sealed: []byte(fmt.Sprint(a, int64(i), "\x00")), At: start})
		addRow(t, s, b, false, 1000)
	}
	equal(t, "rows", replicaRowsOf(t, s, a, 0), want)
	equal(t, "rows from one on", replicaRowsOf(t, s, a, want[120].ID), want[120:])
	stop := errors.New("stop")
	read(t, s, func(tx *store.Tx) error {
		equal(t, "an error of the caller's", tx.ReplicaRows(a, 0, func(store.ReplicaRow) error { return stop }), stop)
		heads, err := tx.ReplicaHeads(a)
		for i := range want {
			want[i].Sealed = nil
		}
		equal(t, "heads", heads, want)
		if err != nil {
			return err
		}
		uploaded, all, err := tx.ReplicaSize(a)
		equal(t, "size", []int64{uploaded, all}, []int64{150*149/2 - (2+149)*50/2, 150 * 149 / 2})
		if err != nil {
			return err
		}
		uploaded, all, err = tx.ReplicaSize(99)
		equal(t, "nobody's size", []int64{uploaded, all}, []int64{0, 0})
		return err
	})
	write(t, s, func(tx *store.Tx) error { return tx.DropReplicaNumbers(a) })
	equal(t, "dropped", len(replicaRowsOf(t, s, a, 0)), 0)
	equal(t, "the other's", len(replicaRowsOf(t, s, b, 0)), 150)
}

func replicaReplaced(t *testing.T, s *store.Store) {
	a, b := replicaParties(t, s)
	var ids []int64
	for i := range 6 {
		ids = append(ids, addRow(t, s, a, false, int64(i)))
		addRow(t, s, b, false, 7)
	}
	replace := func(tx *store.Tx) error {
		if err := tx.DeleteReplicaRows(a, ids[1], ids[4]); err != nil {
			return err
		}
		return tx.InsertReplicaRow(a, store.ReplicaRow{ID: ids[1], Numbers: 10, Sealed: []byte{1}, At: start})
	}
	before := replicaRowsOf(t, s, a, 0)
	gone := errors.New("gone wrong")
	err := s.Write(t.Context(), func(tx *store.Tx) error {
		must(t, replace(tx))
		return gone
	})
	equal(t, "the error", err, gone)
	equal(t, "undone", replicaRowsOf(t, s, a, 0), before)
	write(t, s, replace)
	equal(t, "replaced", replicaRowsOf(t, s, a, 0), []store.ReplicaRow{before[0], {ID: ids[1], Numbers: 10, Sealed: []byte{1}, At: start}, before[5]})
	equal(t, "the other's", len(replicaRowsOf(t, s, b, 0)), 6)
}

func replicaAtOnce(t *testing.T, s *store.Store) {
	a, _ := replicaParties(t, s)
	// Each writer looks before it commits: whoever has the lower id must have committed by then.
	together(t, 8, func(i int) error {
		return s.Write(t.Context(), func(tx *store.Tx) error {
			if _, err := tx.ReplicaGrant(a); err != nil {
				return err
			}
			id, err := tx.NextReplicaRow()
			if err != nil {
				return err
			}
			heads, err := tx.ReplicaHeads(a)
			if err != nil {
				return err
			}
			for _, h := range heads {
				if h.ID >= id {
					return fmt.Errorf("row %d is there before %d", h.ID, id)
				}
			}
			return tx.InsertReplicaRow(a, store.ReplicaRow{ID: id, Numbers: int64(len(heads)), Sealed: []byte{1}, At: start})
		})
	})
	for i, r := range replicaRowsOf(t, s, a, 0) {
		equal(t, "rows that its writer saw", r.Numbers, int64(i))
	}
}

func replicaGrant(t *testing.T, s *store.Store) {
	a, _ := replicaParties(t, s)
	take := func() error {
		return s.Write(t.Context(), func(tx *store.Tx) error {
			grant, err := tx.ReplicaGrant(a)
			if err != nil || grant == huanxin.NoReplica {
				return err
			}
			id, err := tx.NextReplicaRow()
			if err != nil {
				return err
			}
			return tx.InsertReplicaRow(a, store.ReplicaRow{ID: id, Numbers: 1, Sealed: []byte{1}, At: start.Add(time.Second)})
		})
	}
	together(t, 9, func(i int) error {
		if i != 4 {
			return take()
		}
		p := party("a")
		p.Replica = huanxin.NoReplica
		return s.Write(t.Context(), func(tx *store.Tx) error {
			no, err := tx.PutParty(p, start)
			if err != nil {
				return err
			}
			return tx.DropReplicaNumbers(no)
		})
	})
	equal(t, "rows of a party without a grant", len(replicaRowsOf(t, s, a, 0)), 0)
	read(t, s, func(tx *store.Tx) error {
		grant, err := tx.ReplicaGranted(a)
		equal(t, "the grant", grant, huanxin.NoReplica)
		return err
	})
}

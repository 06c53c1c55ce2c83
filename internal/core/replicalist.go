package core

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/index"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// The numbers that an app uploaded for its replica lie in rows of at most replicaRow numbers, each sealed (DOMAIN.md §7 rule
// 9), and a row outweighs those before it. Nothing looks a single number up: a pull reads all rows.

// replicaRow is how many numbers a full row holds: 32 to 50 KB.
const replicaRow = 16_384

// replicaBinding ties a sealed row to its place: moved to another party, row or meaning it does not open.
func replicaBinding(party huanxin.PartyNo, id int64, removed bool) []byte {
	return fmt.Appendf(nil, "replica numbers %d %d %t", party, id, removed)
}

// sealReplicaRow makes a row of digits, ascending and each once.
func (h *Hub) sealReplicaRow(party huanxin.PartyNo, r store.ReplicaRow, digits []uint64) store.ReplicaRow {
	plain := make([]byte, 0, 3*len(digits)+8)
	last := uint64(0)
	for _, d := range digits {
		plain = binary.AppendUvarint(plain, d-last)
		last = d
	}
	r.Numbers = int64(len(digits))
	r.Sealed = h.keys.SealBytes(plain, replicaBinding(party, r.ID, r.Removed))
	return r
}

var errReplicaRow = errors.New("a row of numbers for a replica is damaged")

// openReplicaRow appends what sealReplicaRow sealed.
func (h *Hub) openReplicaRow(party huanxin.PartyNo, r store.ReplicaRow, to []uint64) ([]uint64, error) {
	plain, err := h.keys.UnsealBytes(r.Sealed, replicaBinding(party, r.ID, r.Removed))
	if err != nil {
		return to, err
	}
	last := uint64(0)
	for range r.Numbers {
		gap, n := binary.Uvarint(plain)
		if n <= 0 || gap == 0 || gap > index.MaxDigits-last {
			return to, errReplicaRow
		}
		last, plain = last+gap, plain[n:]
		to = append(to, last)
	}
	if len(plain) > 0 {
		return to, errReplicaRow
	}
	return to, nil
}

// replicaList adds rows up. A number's last row decides whether it is in the list.
//
// Each number of a row becomes digits<<stampBits | the row's place among the rows, so that sorting brings a number's rows
// together, the last one at the end: 8 bytes a number, where a map takes 40.
type replicaList struct {
	all     []uint64
	removed []bool // by place
}

const (
	stampBits = 14 // E.164 digits have 50 bits
	maxStamp  = 1<<stampBits - 1
)

// add adds the next row.
func (l *replicaList) add(digits []uint64, removed bool) {
	if len(l.removed) > maxStamp {
		in, _ := l.sum() // those that are out are in no row before, for a list begins with the first
		l.all, l.removed = l.all[:0], l.removed[:0]
		l.add(in, false)
	}
	stamp := uint64(len(l.removed))
	l.removed = append(l.removed, removed)
	l.all = slices.Grow(l.all, len(digits))
	for _, d := range digits {
		l.all = append(l.all, d<<stampBits|stamp)
	}
}

// sum gives the digits that are in and those that were taken out, both ascending and each once. The list is spent.
func (l *replicaList) sum() (in, out []uint64) {
	slices.Sort(l.all)
	in = l.all[:0]
	for i, v := range l.all {
		if i+1 < len(l.all) && l.all[i+1]>>stampBits == v>>stampBits {
			continue // a later row says what holds
		}
		if l.removed[v&maxStamp] {
			out = append(out, v>>stampBits)
		} else {
			in = append(in, v>>stampBits)
		}
	}
	return in, out
}

// readReplicaRows adds up a party's rows from an id on, and gives them without what is sealed in them.
func (h *Hub) readReplicaRows(tx *store.Tx, party huanxin.PartyNo, from int64) (l replicaList, heads []store.ReplicaRow, err error) {
	var digits []uint64
	err = tx.ReplicaRows(party, from, func(r store.ReplicaRow) (err error) {
		if digits, err = h.openReplicaRow(party, r, digits[:0]); err != nil {
			return err
		}
		l.add(digits, r.Removed)
		r.Sealed = nil
		heads = append(heads, r)
		return nil
	})
	return l, heads, err
}

// compactReplica puts what a party's rows from an id on (0: all) say into as few rows as hold it, and gives the digits that are
// in them. Others may upload meanwhile; if another hub did the same, nothing is changed.
func (h *Hub) compactReplica(ctx context.Context, party huanxin.PartyNo, from int64) (in []uint64, err error) {
	var l replicaList
	var old []store.ReplicaRow
	if err := h.store.Read(ctx, func(tx *store.Tx) (err error) {
		l, old, err = h.readReplicaRows(tx, party, from)
		return err
	}); err != nil || len(old) == 0 {
		return nil, err
	}
	if from != 0 && len(old) > maxStamp {
		return h.compactReplica(ctx, party, 0)
	}
	in, out := l.sum()
	if from == 0 {
		out = nil // before the first row there is nothing that they could be taken out of
	}
	rows := pieces(in, h.replicas.row, false)
	rows = append(rows, pieces(out, h.replicas.row, true)...)
	if len(rows) == len(old) && !smaller(rows, old) {
		return in, nil
	}
	at := now()
	return in, h.store.Write(ctx, func(tx *store.Tx) error {
		if _, err := tx.ReplicaGrant(party); err != nil { // nobody else changes the rows now
			return err
		}
		same, err := unchanged(tx, party, old)
		if err != nil || !same {
			return err
		}
		if err := tx.DeleteReplicaRows(party, old[0].ID, old[len(old)-1].ID); err != nil {
			return err
		}
		// The new rows take ids of old ones, of which there are enough: rows that came meanwhile have higher ids and outweigh them.
		for i, p := range rows {
			row := store.ReplicaRow{ID: old[i].ID, Removed: p.removed, At: at}
			if err := tx.InsertReplicaRow(party, h.sealReplicaRow(party, row, p.digits)); err != nil {
				return err
			}
		}
		return nil
	})
}

// smaller reports whether rows hold fewer numbers than old ones.
func smaller(rows []piece, old []store.ReplicaRow) bool {
	var before, after int64
	for i := range old {
		before += old[i].Numbers
		after += int64(len(rows[i].digits))
	}
	return after < before
}

// piece is what a row is to hold.
type piece struct {
	digits  []uint64
	removed bool
}

func pieces(digits []uint64, row int, removed bool) (out []piece) {
	for some := range slices.Chunk(digits, row) {
		out = append(out, piece{some, removed})
	}
	return out
}

// unchanged reports whether a party's rows are still those that were read, but for newer ones.
func unchanged(tx *store.Tx, party huanxin.PartyNo, read []store.ReplicaRow) (bool, error) {
	heads, err := tx.ReplicaHeads(party)
	if err != nil {
		return false, err
	}
	first := slices.IndexFunc(heads, func(r store.ReplicaRow) bool { return r.ID >= read[0].ID })
	if first < 0 || len(heads)-first < len(read) {
		return false, nil
	}
	return slices.EqualFunc(heads[first:first+len(read)], read, func(a, b store.ReplicaRow) bool {
		return a.ID == b.ID && a.Removed == b.Removed && a.Numbers == b.Numbers && a.At.Equal(b.At)
	}), nil
}

// manySmallRows is how many rows that are not full are put together.
const manySmallRows = 64

// tidyReplica puts small rows together when there are many: every upload leaves one.
func (h *Hub) tidyReplica(ctx context.Context, party huanxin.PartyNo) error {
	var heads []store.ReplicaRow
	if err := h.store.Read(ctx, func(tx *store.Tx) (err error) {
		heads, err = tx.ReplicaHeads(party)
		return err
	}); err != nil {
		return err
	}
	small, first := 0, int64(0)
	for _, r := range heads {
		if r.Numbers < int64(h.replicas.row) {
			if small == 0 {
				first = r.ID
			}
			small++
		}
	}
	if small < manySmallRows {
		return nil
	}
	if len(heads) > maxStamp || first == heads[0].ID {
		first = 0
	}
	_, err := h.compactReplica(ctx, party, first)
	return err
}

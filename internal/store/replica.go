package store

import (
	"database/sql"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// ReplicaRow is some of the numbers that an app uploaded for its replica, or took back. A row outweighs those with lower ids.
type ReplicaRow struct {
	ID      int64
	Removed bool
	Numbers int64 // how many
	Sealed  []byte
	At      time.Time
}

// ReplicaGrant makes the caller the only one who changes a party's replica numbers until the transaction ends, and gives
// what the party's contract grants. So a party's rows are committed in the order of their ids.
func (t *Tx) ReplicaGrant(party huanxin.PartyNo) (grant huanxin.ReplicaGrant, err error) {
	if err := t.lockReplica(party); err != nil {
		return huanxin.NoReplica, err
	}
	return t.ReplicaGranted(party)
}

// ReplicaGranted gives what a party's contract grants.
func (t *Tx) ReplicaGranted(party huanxin.PartyNo) (grant huanxin.ReplicaGrant, err error) {
	_, err = t.queryRow("SELECT replica FROM parties WHERE no = $1", []any{int64(party)}, &grant)
	return grant, err
}

func (t *Tx) lockReplica(party huanxin.PartyNo) error {
	if t.dialect.name() != "postgres" {
		return nil // there is one writer
	}
	_, err := t.exec("SELECT pg_advisory_xact_lock(7205, $1)", int32(party))
	return err
}

// ReplicaSize gives how many numbers a party's rows hold: uploaded ones, and all together with those that were taken back. A
// number may stand in several rows.
func (t *Tx) ReplicaSize(party huanxin.PartyNo) (uploaded, all int64, err error) {
	_, err = t.queryRow(`SELECT COALESCE(SUM(CASE WHEN removed = 0 THEN numbers ELSE 0 END), 0), COALESCE(SUM(numbers), 0)
		FROM replica_numbers WHERE party = $1`, []any{int64(party)}, &uploaded, &all)
	return uploaded, all, err
}

// ReplicaHeads gives a party's rows by id, without what is sealed in them.
func (t *Tx) ReplicaHeads(party huanxin.PartyNo) (out []ReplicaRow, err error) {
	rows, err := t.query("SELECT id, removed, numbers, at FROM replica_numbers WHERE party = $1 ORDER BY id", int64(party))
	if err != nil {
		return nil, err
	}
	err = scanAll(rows, func(r *sql.Rows) error {
		var row ReplicaRow
		var at int64
		err := r.Scan(&row.ID, &row.Removed, &row.Numbers, &at)
		row.At = fromMicros(at)
		out = append(out, row)
		return err
	})
	return out, err
}

// ReplicaRows gives a party's rows from an id on, by id, until f fails.
func (t *Tx) ReplicaRows(party huanxin.PartyNo, from int64, f func(ReplicaRow) error) error {
	const page = 64
	for {
		rows, err := t.query(`SELECT id, removed, numbers, sealed, at FROM replica_numbers WHERE party = $1 AND id >= $2
			ORDER BY id LIMIT $3`, int64(party), from, page)
		if err != nil {
			return err
		}
		n := 0
		if err := scanAll(rows, func(r *sql.Rows) error {
			var row ReplicaRow
			var at int64
			if err := r.Scan(&row.ID, &row.Removed, &row.Numbers, &row.Sealed, &at); err != nil {
				return err
			}
			row.At = fromMicros(at)
			n, from = n+1, row.ID+1
			return f(row)
		}); err != nil {
			return err
		}
		if n < page {
			return nil
		}
	}
}

// NextReplicaRow gives the id of a new row. Whoever asks holds what ReplicaGrant gave.
func (t *Tx) NextReplicaRow() (int64, error) { return t.nextID("replica_number", 1) }

// InsertReplicaRow adds a row.
func (t *Tx) InsertReplicaRow(party huanxin.PartyNo, r ReplicaRow) error {
	_, err := t.exec("INSERT INTO replica_numbers (id, party, removed, numbers, sealed, at) VALUES ($1, $2, $3, $4, $5, $6)",
		r.ID, int64(party), bit(r.Removed), r.Numbers, r.Sealed, micros(r.At))
	return err
}

// DeleteReplicaRows takes a party's rows with ids from first to last away.
func (t *Tx) DeleteReplicaRows(party huanxin.PartyNo, first, last int64) error {
	_, err := t.exec("DELETE FROM replica_numbers WHERE party = $1 AND id >= $2 AND id <= $3", int64(party), first, last)
	return err
}

// DropReplicaNumbers takes everything away that a party uploaded.
func (t *Tx) DropReplicaNumbers(party huanxin.PartyNo) error {
	if err := t.lockReplica(party); err != nil {
		return err
	}
	_, err := t.exec("DELETE FROM replica_numbers WHERE party = $1", int64(party))
	return err
}

package storetest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin/internal/store"
)

var transactionTests = []sentence{
	{"what a failed transaction did is undone", undone},
	{"what a panicking transaction did is undone and the store goes on", undoneByPanic},
	{"a cancelled context changes nothing and the store goes on", cancelled},
	{"a context cancelled at any moment of a transaction leaves all or nothing", cancelledAnywhere},
	{"a read sees one moment and changes nothing", readOnly},
	{"an error holds no argument of its statement", quietErrors},
	{"an error names its statement", namedErrors},
}

var errStop = errors.New("stop")

func setting(t testing.TB, s *store.Store, name string) string {
	t.Helper()
	var v string
	err := s.Write(context.Background(), func(tx *store.Tx) (err error) {
		if v, err = tx.Setting(name, "none"); err != nil {
			return err
		}
		return errStop
	})
	if !errors.Is(err, errStop) {
		t.Fatal(err)
	}
	return v
}

func undone(t *testing.T, s *store.Store) {
	before := snapshot(t, s)
	err := s.Write(t.Context(), func(tx *store.Tx) error {
		fillEverything(t, tx)
		return errStop
	})
	if !errors.Is(err, errStop) {
		t.Fatal(err)
	}
	equal(t, "after a rollback", snapshot(t, s), before)
	write(t, s, func(tx *store.Tx) error { fillEverything(t, tx); return nil })
	if snapshot(t, s) == before {
		t.Error("the same without the error changed nothing")
	}
}

// fillEverything writes a row of everything.
func fillEverything(t testing.TB, tx *store.Tx) {
	t.Helper()
	_, err := tx.PutParty(party("app"), start)
	must(t, err)
	_, err = tx.Setting("a", "1")
	must(t, err)
	must(t, tx.Audit(store.AuditEntry{At: start, Action: "a", Detail: "{}"}))
	appendTo(t, tx, 1, report{number: 1, id: "e1"})
	_, err = tx.Sequence(100)
	must(t, err)
	makeTasks(t, tx, 3, 1)
	_, err = tx.Lease("l", "me", start, time.Second)
	must(t, err)
	_, err = tx.InsertStep(store.StepRow{Task: 1, App: 1, Step: 1, DueAt: start, At: start})
	must(t, err)
	must(t, tx.Remember("c", "k", store.Remembered{Digest: []byte{1}}, start))
}

// snapshot says what is in the store.
func snapshot(t testing.TB, s *store.Store) string {
	t.Helper()
	var parts []any
	read(t, s, func(tx *store.Tx) error {
		parties, err := tx.Parties()
		must(t, err)
		version, err := tx.RegistryVersion()
		must(t, err)
		head, err := tx.LogHead()
		must(t, err)
		waiting, err := tx.Unsequenced()
		must(t, err)
		audit, err := tx.AuditFrom(1, 100)
		must(t, err)
		tasks, err := tx.OpenTasks(1, 0, 0, 100)
		must(t, err)
		steps, err := tx.Steps(0, 0, 100)
		must(t, err)
		_, key, err := tx.Recall("c", "k")
		must(t, err)
		standings, err := tx.Standings(numbers(1, 2, 3))
		parts = []any{len(parties), version, head, waiting, len(audit), len(tasks), len(steps), key, len(standings)}
		return err
	})
	return strings.Join([]string{sprint(parts), setting(t, s, "a")}, " ")
}

func undoneByPanic(t *testing.T, s *store.Store) {
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = s.Write(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Setting("a", "1")
			must(t, err)
			panic("as asked")
		})
	}()
	equal(t, "the setting", setting(t, s, "a"), "none")
}

func cancelled(t *testing.T, s *store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Write(ctx, func(tx *store.Tx) error { _, err := tx.Setting("a", "1"); return err }); err == nil {
		t.Error("a cancelled write was done")
	}
	if err := s.Read(ctx, func(tx *store.Tx) error { _, err := tx.LogHead(); return err }); err == nil {
		t.Error("a cancelled read was done")
	}
	ctx, cancel = context.WithCancel(t.Context())
	if err := s.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Setting("a", "1")
		must(t, err)
		cancel()
		_, err = tx.Setting("b", "1")
		return err
	}); err == nil {
		t.Error("a write cancelled in its middle was done")
	}
	equal(t, "the setting", setting(t, s, "a"), "none")
}

func cancelledAnywhere(t *testing.T, s *store.Store) {
	for i := range 60 {
		name := "cancelled-" + sprint(i)
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i*i)*time.Microsecond)
		err := s.Write(ctx, func(tx *store.Tx) error {
			_, err := tx.Setting(name, "1")
			if err == nil {
				_, err = tx.Setting(name+"b", "1")
			}
			return err
		})
		cancel()
		a, b := setting(t, s, name), setting(t, s, name+"b")
		if a != b || err == nil && a == "none" {
			t.Fatalf("round %d: %v left %s and %s", i, err, a, b)
		}
	}
}

func readOnly(t *testing.T, s *store.Store) {
	read(t, s, func(tx *store.Tx) error {
		before, err := tx.RegistryVersion()
		must(t, err)
		write(t, s, func(tx *store.Tx) error { _, err := tx.PutParty(party("app"), start); return err })
		after, err := tx.RegistryVersion()
		equal(t, "the version inside one read", after, before)
		return err
	})
	if err := s.Read(t.Context(), func(tx *store.Tx) error { _, err := tx.Setting("a", "1"); return err }); err == nil {
		t.Error("a read changed something")
	}
	equal(t, "the setting", setting(t, s, "a"), "none")
}

// quietErrors makes the database refuse statements whose arguments hold a number.
func quietErrors(t *testing.T, s *store.Store) {
	write(t, s, func(tx *store.Tx) error {
		appendTo(t, tx, 1, report{number: 1, id: "8613800000001"})
		must(t, tx.Remember("c", "8613800000001", store.Remembered{Digest: []byte{1}}, start))
		return nil
	})
	for what, f := range map[string]func(tx *store.Tx) error{
		"an event's id again": func(tx *store.Tx) error {
			return tryAppend(tx, 1, report{number: 1, id: "8613800000001"})
		},
		"a key again": func(tx *store.Tx) error {
			return tx.Remember("c", "8613800000001", store.Remembered{Digest: []byte("8613800000001")}, start)
		},
		"a client of no party": func(tx *store.Tx) error {
			return tx.PutClient(client("8613800000001", 8613800000001), start)
		},
		"a text with a zero byte": func(tx *store.Tx) error {
			if s.Engine() == "sqlite" {
				return errStop // it takes one
			}
			_, err := tx.Setting("\x008613800000001", "8613800000001")
			return err
		},
	} {
		err := refused(t, s, f)
		if strings.Contains(err.Error(), "38000000") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func namedErrors(t *testing.T, s *store.Store) {
	write(t, s, func(tx *store.Tx) error { return tx.Remember("c", "k", store.Remembered{Digest: []byte{1}}, start) })
	err := refused(t, s, func(tx *store.Tx) error { return tx.Remember("c", "k", store.Remembered{Digest: []byte{1}}, start) })
	if !strings.Contains(err.Error(), "INSERT INTO idempotency") {
		t.Error(err)
	}
}

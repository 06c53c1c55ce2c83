package store

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/store/pgtest"
)

// firstVersion makes a database of version 00001 and fills it as its hub did: three requests of an app each for every state
// of a task, one of them with nothing open any more.
func firstVersion(t *testing.T, dsn string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	driver, name, kind, dir := "pgx", dsn, goose.DialectPostgres, "postgres"
	if path, ok := strings.CutPrefix(dsn, "sqlite:"); ok {
		driver, name, kind, dir = "sqlite", sqliteURL(path, "immediate", "page_size(8192)", "journal_mode(wal)"), goose.DialectSQLite3, "sqlite"
	}
	db, err := sql.Open(driver, name)
	must(err)
	defer db.Close()
	steps, err := stepsOf(dir)
	must(err)
	p, err := goose.NewProvider(kind, db, nil, goose.WithGoMigrations(steps...), goose.WithDisableGlobalRegistry(true))
	must(err)
	_, err = p.UpTo(t.Context(), 1)
	must(err)
	exec := func(q string, args ...any) {
		t.Helper()
		_, err := db.ExecContext(t.Context(), q, args...)
		must(err)
	}
	for r := 1; r <= 3; r++ {
		exec(fmt.Sprintf("INSERT INTO requests VALUES (%d, $1, $2, %d, 5, 2, 7, 7, 1000, 1, 1, 900, 0, 0)", r, 10+r), []byte{1}, []byte{byte(r)})
		for app := 1; app <= 11; app++ {
			state, open := (app+r)%11+1, 1 // the apps' tasks stand in different states
			if r == 3 {
				state = 8 + app%4
			}
			if state > 7 {
				open = 0
			}
			id := (r-1)*11 + app
			if dir == "sqlite" {
				id += app << taskBits
			}
			exec(fmt.Sprintf("INSERT INTO tasks VALUES (%d, %d, %d, 1, %d, %d, %d, 1000, 2000, 3000, 1, %d, '', 0, 0, 0, 0, 0, 0, 0, 0)",
				id, r, app, 10+r, state, open, (r*100+app)*1000*open))
		}
	}
	exec("INSERT INTO answers VALUES (5, 1, 1, 1, '', '', 'c', 1500, 0, 0)")
	exec("UPDATE counters SET value = 33 WHERE name = 'task'")
}

func TestADatabaseOfTheFirstVersionIsMigratedAndNothingIsLost(t *testing.T) {
	var empty pgtest.Template
	for name, dsn := range map[string]string{"sqlite": "sqlite:" + filepath.Join(t.TempDir(), "hub.db"), "postgres": empty.Database(t)} {
		t.Run(name, func(t *testing.T) {
			firstVersion(t, dsn)
			for range 2 { // and opening it again changes nothing
				s, err := Open(t.Context(), dsn)
				if err != nil {
					t.Fatal(err)
				}
				err = s.Write(t.Context(), func(tx *Tx) error { return asBefore(t, tx) })
				if err == nil {
					err = s.Close()
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			s, err := Open(t.Context(), dsn)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			goesOn(t, s)
		})
	}
}

// asBefore looks for everything that firstVersion wrote.
func asBefore(t *testing.T, tx *Tx) error {
	for r := 1; r <= 3; r++ {
		rows, err := tx.TasksOfRequest(huanxin.RequestID(r))
		if err != nil {
			return err
		}
		if len(rows) != 11 {
			t.Errorf("request %d has %d tasks", r, len(rows))
		}
		for i, k := range rows {
			app := i + 1
			state := huanxin.TaskState((app+r)%11 + 1)
			if r == 3 {
				state = huanxin.TaskState(8 + app%4)
			}
			step := time.Time{}
			if state.Open() {
				step = fromMicros(int64(r*100+app) * 1000)
			}
			if int(k.App) != app || k.State != state || !k.StepAt.Equal(step) || k.Last != huanxin.StepDelivery || int(k.Tenure) != 10+r ||
				!k.DueAt.Equal(fromMicros(3000)) || !k.StartedAt.Equal(fromMicros(5)) {
				t.Errorf("request %d, app %d: %+v", r, app, k)
			}
		}
		open, err := tx.OpenTasks(huanxin.PartyNo(r), 0, 0, 100)
		if err != nil {
			return err
		}
		want := 0
		for request := 1; request <= 2; request++ {
			if huanxin.TaskState((r+request)%11 + 1).Open() {
				want++
			}
		}
		if len(open) != want {
			t.Errorf("app %d has %d open tasks, not %d", r, len(open), want)
		}
	}
	answers, err := tx.queryCount("SELECT COUNT(*) FROM answers")
	if err == nil && answers != 1 {
		t.Errorf("%d answers", answers)
	}
	return err
}

func (t *Tx) queryCount(q string) (n int, err error) {
	_, err = t.queryRow(q, nil, &n)
	return n, err
}

// goesOn has the hub of today work on it: clocks ring, pages are delivered, new tasks come after old ones, and a second open
// task is refused.
func goesOn(t *testing.T, s *Store) {
	write := func(f func(tx *Tx) error) {
		t.Helper()
		if err := s.Write(context.Background(), f); err != nil {
			t.Fatal(err)
		}
	}
	write(func(tx *Tx) error {
		requests, err := tx.DueClocks(fromMicros(1_000_000), 10)
		if err != nil {
			return err
		}
		if fmt.Sprint(requests) != "[1 2]" {
			t.Errorf("the clocks of %v ring", requests)
		}
		due, _, err := tx.TasksDue(requests, fromMicros(1_000_000), 100)
		if err != nil || len(due) != 14 {
			t.Errorf("%d tasks have a step to take, %v", len(due), err)
		}
		early, err := tx.DueClocks(fromMicros(101*1000-1), 10)
		if len(early) != 0 {
			t.Errorf("%v ring too early", early)
		}
		return err
	})
	write(func(tx *Tx) error { // app 10 has a queued task in request 1: (10+1)%11+1 is 1
		page, err := tx.OpenTasks(10, huanxin.TaskQueued, 0, 10)
		if err != nil || len(page) != 1 {
			t.Fatalf("%d queued tasks, %v", len(page), err)
		}
		return tx.DeliverPage(Page{App: 10, State: huanxin.TaskQueued, Tasks: page})
	})
	k := huanxin.Task{Request: 2, App: 10, Kind: huanxin.ClearLabel, Tenure: 12, CreatedAt: fromMicros(5000), StepAt: fromMicros(6000)}
	write(func(tx *Tx) error { return tx.InsertTasks([]huanxin.Task{k}) })
	write(func(tx *Tx) error {
		all, err := tx.OpenTasks(10, 0, 0, 10)
		got := ""
		for _, k := range all {
			got += k.State.String() + " "
		}
		if got != "delivered delivered queued " {
			t.Errorf("app 10 has %s", got)
		}
		if len(all) > 0 {
			return tx.DeliverPage(Page{App: 10, After: all[0].ID, Tasks: all[1:]})
		}
		return err
	})
	write(func(tx *Tx) error {
		if n, err := tx.OpenTasks(10, huanxin.TaskDelivered, 0, 10); err != nil || len(n) != 3 {
			t.Errorf("%d delivered, %v", len(n), err)
		}
		return nil
	})
	k.Kind = huanxin.Unbind
	if err := s.Write(context.Background(), func(tx *Tx) error { return tx.InsertTasks([]huanxin.Task{k}) }); err == nil {
		t.Error("a second open task was taken")
	}
}

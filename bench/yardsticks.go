package main

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// yardsticks measures what the machine does without us.
func (w *world) yardsticks(ctx context.Context, o options, out io.Writer) error {
	fmt.Fprintln(out, "  beside it, without rules")
	for _, y := range []func(context.Context, options) (phase, error){w.syncs, w.bareRows, w.bareHTTP} {
		p, err := y(ctx, o)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "    %-44s %8.0f/s\n", p.name, p.rate())
	}
	return nil
}

// syncs writes 4 KB and waits until they are on stable storage, one after the other.
func (w *world) syncs(_ context.Context, o options) (phase, error) {
	f, err := os.Create(filepath.Join(w.dir, "sync"))
	if err != nil {
		return phase{}, err
	}
	defer f.Close()
	n := min(2000, o.tasks/appCount)
	page := make([]byte, 4096)
	return w.timed("syncs of 4 KB, one after the other", n, func() error {
		for range n {
			if _, err := f.Write(page); err != nil {
				return err
			}
			if err := f.Sync(); err != nil {
				return err
			}
		}
		return nil
	})
}

// bareColumns is how many integers a bare row has: as many as a new task has that are not constant.
const bareColumns = 9

// bareRows inserts as many rows as a round has tasks, 64 in a transaction, into a table with nothing but its key.
func (w *world) bareRows(ctx context.Context, o options) (phase, error) {
	db, err := w.open()
	if err != nil {
		return phase{}, err
	}
	defer db.Close()
	width := 1
	if w.cluster != nil {
		width = parallel
	} else {
		db.SetMaxOpenConns(1)
		for _, pragma := range []string{"busy_timeout=10000", "journal_mode=wal", "synchronous=full"} {
			if _, err := db.ExecContext(ctx, "PRAGMA "+pragma); err != nil {
				return phase{}, err
			}
		}
	}
	var columns []string
	for i := range bareColumns {
		columns = append(columns, "c"+strconv.Itoa(i)+" BIGINT NOT NULL")
	}
	if _, err := db.ExecContext(ctx, "CREATE TABLE bare (id BIGINT PRIMARY KEY, "+strings.Join(columns, ", ")+")"); err != nil {
		return phase{}, err
	}
	defer func() { _, _ = db.ExecContext(ctx, "DROP TABLE bare") }()
	insert, err := db.PrepareContext(ctx, w.bareInsert())
	if err != nil {
		return phase{}, err
	}
	return w.timed("bare rows, 64 in a transaction", o.tasks, func() error {
		return parallelly(o.tasks/appCount, width, func(i int) error { return w.bareTransaction(ctx, db, insert, i) })
	})
}

func (w *world) bareInsert() string {
	if w.cluster != nil {
		var arrays []string
		for i := range bareColumns + 1 {
			arrays = append(arrays, "$"+strconv.Itoa(i+1)+"::bigint[]")
		}
		return "INSERT INTO bare SELECT * FROM unnest(" + strings.Join(arrays, ",") + ")"
	}
	row := "(?" + strings.Repeat(",?", bareColumns) + ")"
	return "INSERT INTO bare VALUES " + row + strings.Repeat(","+row, appCount-1)
}

func (w *world) bareTransaction(ctx context.Context, db *sql.DB, insert *sql.Stmt, i int) error {
	var args []any
	if w.cluster != nil {
		for range bareColumns + 1 {
			column := make([]int64, appCount)
			for row := range column {
				column[row] = int64(i*appCount + row)
			}
			args = append(args, column)
		}
	} else {
		for row := range appCount {
			for range bareColumns + 1 {
				args = append(args, int64(i*appCount+row))
			}
		}
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if _, err := tx.StmtContext(ctx, insert).ExecContext(ctx, args...); err != nil {
		_ = tx.Rollback()
		return err
	}
	return tx.Commit()
}

// bareHTTP asks as often as a round has requests, with a body of that size, and is answered with as much as a
// request of 64 tasks is.
func (w *world) bareHTTP(ctx context.Context, o options) (phase, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return phase{}, err
	}
	answer := bytes.Repeat([]byte("x"), 76*appCount)
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = w.Write(answer)
	})}
	go func() { _ = srv.Serve(l) }()
	defer srv.Close()
	body := bytes.Repeat([]byte("x"), 900)
	n := o.tasks / appCount * 4
	return w.timed("bare HTTP requests of that size", n, func() error {
		return parallelly(n, parallel, func(int) error {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+l.Addr().String()+"/", bytes.NewReader(body))
			if err != nil {
				return err
			}
			_, err = send(w.http, req, http.StatusOK)
			return err
		})
	})
}

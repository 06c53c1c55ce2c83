package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations
var migrations embed.FS

// migrate brings the schema to the newest version. Hubs that start at once on one PostgreSQL wait for each other.
func (s *Store) migrate(ctx context.Context) (err error) {
	steps, err := stepsOf(s.Engine())
	if err != nil {
		return err
	}
	db, kind := s.db, goose.DialectPostgres
	opts := []goose.ProviderOption{goose.WithGoMigrations(steps...), goose.WithDisableGlobalRegistry(true)}
	if s.writer != nil {
		kind = goose.DialectSQLite3
		// The writing connection is taken, and readers may not write: a connection for the migration alone.
		if db, err = sql.Open("sqlite", sqliteURL(s.writer.path, "immediate", "synchronous(full)")); err != nil {
			return err
		}
		db.SetMaxOpenConns(1)
		defer func() { err = errors.Join(err, db.Close()) }()
	} else {
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300)) // asks every second, for 5 minutes
		if err != nil {
			return err
		}
		opts = append(opts, goose.WithSessionLocker(locker))
	}
	p, err := goose.NewProvider(kind, db, nil, opts...)
	if err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		_, err := p.Up(ctx)
		if err == nil {
			return nil
		}
		if s.writer == nil || attempt == migrateAttempts || ctx.Err() != nil {
			return fmt.Errorf("migrate: %w", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// stepsOf gives an engine's migrations. Each file is given to the database as a whole, which knows better than goose where a statement ends; goose
// would also take longer to read the files than the database to carry them out.
func stepsOf(engine string) (steps []*goose.Migration, err error) {
	dir := "migrations/" + engine
	files, err := migrations.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		version, err := goose.NumericComponent(f.Name())
		if err != nil {
			return nil, err
		}
		text, err := migrations.ReadFile(dir + "/" + f.Name())
		if err != nil {
			return nil, err
		}
		steps = append(steps, goose.NewGoMigration(version, &goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, string(text))
			return err
		}}, nil))
	}
	return steps, nil
}

// migrateAttempts bounds how often a migration of SQLite is tried. goose looks which are missing before it locks the file,
// so that of two processes that start at once one finds the tables made by the other; the next look sees them.
const migrateAttempts = 10

package main

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // the database on a file
)

// store keeps the shop in SQLite or PostgreSQL, by the same SQL. Times are microseconds since 1970.
type store struct{ db *sql.DB }

const schema = `
CREATE TABLE IF NOT EXISTS accounts (
	id BIGINT PRIMARY KEY,
	name TEXT NOT NULL,
	login TEXT UNIQUE,            -- with a password: the way in without a number
	password BLOB_TYPE,
	number TEXT UNIQUE,           -- the way in by SMS; NULL when it was taken away
	bound_at BIGINT,              -- when the number was bound
	confirmed_at BIGINT,          -- when somebody with a code at the number last gave the password too
	last_proof BIGINT,            -- when somebody last gave the password
	lost_number BIGINT            -- when the number went to its present holder's account, for the owner to read
);
CREATE TABLE IF NOT EXISTS orders (
	id BIGINT PRIMARY KEY,
	account BIGINT NOT NULL REFERENCES accounts(id),
	at BIGINT NOT NULL,
	item_zh TEXT NOT NULL,
	item_en TEXT NOT NULL,
	cents BIGINT NOT NULL,
	address_zh TEXT NOT NULL,
	address_en TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS sessions (
	token BLOB_TYPE PRIMARY KEY,  -- its digest: who reads the database signs in as nobody
	until BIGINT NOT NULL,
	account BIGINT REFERENCES accounts(id),
	number TEXT,                  -- that is being proved
	purpose TEXT,                 -- signin or bind
	code TEXT,                    -- that was sent to it
	tries BIGINT NOT NULL DEFAULT 0,
	proved BIGINT NOT NULL DEFAULT 0, -- 1: the code was right
	decided TEXT                  -- what the guard said: step_up or block, and why
);
CREATE TABLE IF NOT EXISTS messages (
	id BIGINT PRIMARY KEY,
	at BIGINT NOT NULL,
	number TEXT NOT NULL,
	code TEXT NOT NULL
);`

// openStore opens the database of a shop: a postgres:// URL, where it has a schema of its own, or a file.
func openStore(ctx context.Context, database, name string) (*store, error) {
	var db *sql.DB
	blob := "BLOB"
	if strings.HasPrefix(database, "postgres://") {
		cfg, err := pgx.ParseConfig(database)
		if err != nil {
			return nil, errors.New("the database's URL cannot be read") // it may hold a password
		}
		cfg.RuntimeParams["search_path"] = name
		db, blob = stdlib.OpenDB(*cfg), "BYTEA"
		if _, err := db.ExecContext(ctx, "CREATE SCHEMA IF NOT EXISTS "+pgx.Identifier{name}.Sanitize()); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	} else {
		var err error
		if db, err = sql.Open("sqlite", "file:"+database+"?_pragma=journal_mode(wal)&_pragma=foreign_keys(1)&_pragma=busy_timeout(5000)&_txlock=immediate"); err != nil {
			return nil, err
		}
	}
	for statement := range strings.SplitSeq(strings.ReplaceAll(schema, "BLOB_TYPE", blob), ");") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if _, err := db.ExecContext(ctx, statement+")"); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
	return &store{db}, nil
}

// Account is a customer.
type Account struct {
	ID          int64
	Name, Login string
	password    []byte
	Number      string // empty: none
	BoundAt     time.Time
	confirmedAt time.Time
	lastProof   time.Time
	LostNumber  time.Time
}

// Order is what somebody bought.
type Order struct {
	At                   time.Time
	ItemZh, ItemEn       string
	Cents                int64
	AddressZh, AddressEn string
}

// Price gives what it cost.
func (o Order) Price() string { return fmt.Sprintf("¥%d.%02d", o.Cents/100, o.Cents%100) }

var errNone = errors.New("there is none")

// key gives a new primary key. They are random: two shops on one database do not meet.
func key() int64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	var k int64
	for _, c := range b {
		k = k<<8 | int64(c)
	}
	return k & (1<<62 - 1)
}

func micros(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

func instant(v sql.NullInt64) time.Time {
	if !v.Valid {
		return time.Time{}
	}
	return time.UnixMicro(v.Int64)
}

func text(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func (s *store) addAccount(ctx context.Context, db executor, a *Account) error {
	a.ID = key()
	_, err := db.ExecContext(ctx, `INSERT INTO accounts (id, name, login, password, number, bound_at) VALUES ($1, $2, $3, $4, $5, $6)`,
		a.ID, a.Name, text(a.Login), a.password, text(a.Number), micros(a.BoundAt))
	return err
}

// executor is a database or a transaction.
type executor interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

func (s *store) addOrder(ctx context.Context, account int64, o Order) error {
	_, err := s.db.ExecContext(ctx, `INSERT INTO orders (id, account, at, item_zh, item_en, cents, address_zh, address_en) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		key(), account, micros(o.At), o.ItemZh, o.ItemEn, o.Cents, o.AddressZh, o.AddressEn)
	return err
}

// account gives the one with a value in a column: id, login or number.
func (s *store) account(ctx context.Context, column string, value any) (*Account, error) {
	var a Account
	var login, number sql.NullString
	var bound, confirmed, proof, lost sql.NullInt64
	err := s.db.QueryRowContext(ctx, `SELECT id, name, login, password, number, bound_at, confirmed_at, last_proof, lost_number FROM accounts WHERE `+column+` = $1`, value).
		Scan(&a.ID, &a.Name, &login, &a.password, &number, &bound, &confirmed, &proof, &lost)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, errNone
	}
	a.Login, a.Number = login.String, number.String
	a.BoundAt, a.confirmedAt, a.lastProof, a.LostNumber = instant(bound), instant(confirmed), instant(proof), instant(lost)
	return &a, err
}

func (s *store) orders(ctx context.Context, account int64) (out []Order, err error) {
	rows, err := s.db.QueryContext(ctx, `SELECT at, item_zh, item_en, cents, address_zh, address_en FROM orders WHERE account = $1 ORDER BY at DESC`, account)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var o Order
		var at sql.NullInt64
		if err := rows.Scan(&at, &o.ItemZh, &o.ItemEn, &o.Cents, &o.AddressZh, &o.AddressEn); err != nil {
			return nil, err
		}
		o.At = instant(at)
		out = append(out, o)
	}
	return out, rows.Err()
}

// proved records that somebody gave an account's password, and with at whether they had a code at its number in the same session.
func (s *store) proved(ctx context.Context, account int64, now time.Time, confirmed bool) error {
	set := "last_proof = $1"
	if confirmed {
		set += ", confirmed_at = $1"
	}
	_, err := s.db.ExecContext(ctx, `UPDATE accounts SET `+set+` WHERE id = $2`, micros(now), account)
	return err
}

// bind gives an account a number. The account that has it, unless there is none, keeps everything but the number; errNone: it does not have it.
func (s *store) bind(ctx context.Context, account int64, number string, has *Account, now time.Time) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after the commit it does nothing
	if err := release(ctx, tx, number, has, now); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE accounts SET number = $1, bound_at = $2, confirmed_at = NULL, lost_number = NULL WHERE id = $3`, number, micros(now), account); err != nil {
		return err
	}
	return tx.Commit()
}

// release takes a number from the account that has it.
func release(ctx context.Context, tx *sql.Tx, number string, has *Account, now time.Time) error {
	if has == nil {
		return nil
	}
	r, err := tx.ExecContext(ctx, `UPDATE accounts SET number = NULL, lost_number = $1 WHERE number = $2 AND id = $3`, micros(now), number, has.ID)
	if err != nil {
		return err
	}
	n, err := r.RowsAffected()
	if err == nil && n == 0 {
		err = errNone
	}
	return err
}

// openNew opens a new account for the holder of a number. The account that has it, unless there is none, keeps everything but the number; errNone:
// it does not have it.
func (s *store) openNew(ctx context.Context, number, name string, has *Account, now time.Time) (*Account, error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback() }() // after the commit it does nothing
	if err := release(ctx, tx, number, has, now); err != nil {
		return nil, err
	}
	a := &Account{Name: name, Number: number, BoundAt: now}
	if err := s.addAccount(ctx, tx, a); err != nil {
		return nil, err
	}
	return a, tx.Commit()
}

// session is what the shop knows of a browser.
type session struct {
	token   []byte // digest
	account int64  // 0: nobody is signed in
	number  string
	purpose string
	code    string
	tries   int64
	proved  bool
	decided string
}

const sessionLife = time.Hour

func digest(token string) []byte {
	d := sha256.Sum256([]byte(token))
	return d[:]
}

// newSession begins one and gives what the browser keeps of it.
func (s *store) newSession(ctx context.Context, account int64, now time.Time) (string, error) {
	token := rand.Text()
	var of any
	if account != 0 {
		of = account
	}
	if _, err := s.db.ExecContext(ctx, `DELETE FROM sessions WHERE until < $1`, micros(now)); err != nil {
		return "", err
	}
	_, err := s.db.ExecContext(ctx, `INSERT INTO sessions (token, until, account) VALUES ($1, $2, $3)`, digest(token), micros(now.Add(sessionLife)), of)
	return token, err
}

func (s *store) session(ctx context.Context, token string, now time.Time) (*session, error) {
	x := session{token: digest(token)}
	var account sql.NullInt64
	var number, purpose, code, decided sql.NullString
	var proved int64
	err := s.db.QueryRowContext(ctx, `SELECT account, number, purpose, code, tries, proved, decided FROM sessions WHERE token = $1 AND until > $2`, x.token, micros(now)).
		Scan(&account, &number, &purpose, &code, &x.tries, &proved, &decided)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, errNone
	}
	x.account, x.number, x.purpose, x.code, x.decided, x.proved = account.Int64, number.String, purpose.String, code.String, decided.String, proved == 1
	return &x, err
}

// save keeps what changed in a session, but for its account.
func (s *store) save(ctx context.Context, x *session) error {
	proved := 0
	if x.proved {
		proved = 1
	}
	_, err := s.db.ExecContext(ctx, `UPDATE sessions SET number = $1, purpose = $2, code = $3, tries = $4, proved = $5, decided = $6 WHERE token = $7`,
		text(x.number), text(x.purpose), text(x.code), x.tries, proved, text(x.decided), x.token)
	return err
}

func (s *store) endSession(ctx context.Context, x *session) error {
	_, err := s.db.ExecContext(ctx, `DELETE FROM sessions WHERE token = $1`, x.token)
	return err
}

// Message is an SMS, as the sandbox's phone shows it.
type Message struct {
	At           time.Time
	Number, Code string
}

func (s *store) sendSMS(ctx context.Context, number, code string, now time.Time) error {
	_, err := s.db.ExecContext(ctx, `INSERT INTO messages (id, at, number, code) VALUES ($1, $2, $3, $4)`, key(), micros(now), number, code)
	return err
}

func (s *store) messages(ctx context.Context) (out []Message, err error) {
	rows, err := s.db.QueryContext(ctx, `SELECT at, number, code FROM messages ORDER BY at DESC LIMIT 20`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var m Message
		var at sql.NullInt64
		if err := rows.Scan(&at, &m.Number, &m.Code); err != nil {
			return nil, err
		}
		m.At = instant(at)
		out = append(out, m)
	}
	return out, rows.Err()
}

const saltLength = 16

// rounds make a password expensive to guess. Tests have fewer.
var rounds = 600_000

func hashPassword(password string) ([]byte, error) {
	salt := make([]byte, saltLength)
	_, _ = rand.Read(salt) // never fails
	return hashWith(password, salt)
}

func hashWith(password string, salt []byte) ([]byte, error) {
	sum, err := pbkdf2.Key(sha256.New, password, salt, rounds, sha256.Size)
	return append(append([]byte(nil), salt...), sum...), err
}

// passwordIs compares, at the same cost where there is no password.
func (a *Account) passwordIs(password string) bool {
	stored := make([]byte, saltLength+sha256.Size)
	known := a != nil && len(a.password) == len(stored)
	if known {
		stored = a.password
	}
	sum, err := hashWith(password, stored[:saltLength])
	return err == nil && subtle.ConstantTimeCompare(sum, stored) == 1 && known
}

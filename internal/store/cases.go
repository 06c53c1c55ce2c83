package store

import (
	"time"

	"github.com/huanxin-platform/huanxin"
)

// CaseKind is what a case is about.
type CaseKind uint8

// The kinds of case.
const (
	Complaint    CaseKind = iota + 1 // of a holder, about a task
	FormerHolder                     // of a former holder
)

// CaseRow is a case. A complaint has no number of its own: its request has.
type CaseRow struct {
	ID       int64
	Kind     CaseKind
	OpenedAt time.Time
	App      huanxin.PartyNo
	Request  huanxin.RequestID
	Task     huanxin.TaskID
	View     huanxin.View
	What     huanxin.FormerTrouble
	Sealed   []byte
	Lookup   []byte
}

const caseColumns = "id, kind, opened_at, app, request, task, view, what, sealed, lookup"

// NextCase gives the number of a new case.
func (t *Tx) NextCase() (int64, error) { return t.nextID("case", 1) }

// InsertCase writes a case. Of a task there is one complaint: made is false if there is one already.
func (t *Tx) InsertCase(c CaseRow) (made bool, err error) {
	res, err := t.exec("INSERT INTO cases ("+caseColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING",
		c.ID, int64(c.Kind), micros(c.OpenedAt), int64(c.App), int64(c.Request), int64(c.Task), int64(c.View), int64(c.What), some(c.Sealed), some(c.Lookup))
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

// Cases gives cases after a number, of one app unless app is 0, oldest first.
func (t *Tx) Cases(app huanxin.PartyNo, after int64, limit int) ([]CaseRow, error) {
	if app == 0 {
		return t.cases("id > $1 ORDER BY id LIMIT $2", after, limit)
	}
	return t.cases("app = $1 AND kind = 1 AND id > $2 ORDER BY id LIMIT $3", int64(app), after, limit)
}

// ComplaintsOf gives the complaints about the tasks of a request.
func (t *Tx) ComplaintsOf(r huanxin.RequestID) ([]CaseRow, error) {
	return t.cases("request = $1 AND kind = 1 ORDER BY id", int64(r))
}

// ReportsOf counts what was reported of a number at one app since a time.
func (t *Tx) ReportsOf(app huanxin.PartyNo, lookups [][]byte, since time.Time) (n int, err error) {
	for _, l := range lookups {
		var some int
		if _, err := t.queryRow("SELECT COUNT(*) FROM cases WHERE lookup = $1 AND opened_at >= $2 AND app = $3 AND kind = 2", []any{l, micros(since), int64(app)}, &some); err != nil {
			return 0, err
		}
		n += some
	}
	return n, nil
}

func (t *Tx) cases(where string, args ...any) (out []CaseRow, err error) {
	err = t.queryAll("SELECT "+caseColumns+" FROM cases WHERE "+where, args, func(r scanner) error {
		var c CaseRow
		var opened int64
		err := r.Scan(&c.ID, &c.Kind, &opened, &c.App, &c.Request, &c.Task, &c.View, &c.What, &c.Sealed, &c.Lookup)
		c.OpenedAt = fromMicros(opened)
		out = append(out, c)
		return err
	})
	return out, err
}

// InsertDemand notes that somebody wants an app, once.
func (t *Tx) InsertDemand(app huanxin.PartyNo, tenure []byte, now time.Time) error {
	_, err := t.exec("INSERT INTO demand (app, tenure, at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", int64(app), tenure, micros(now))
	return err
}

// Demand counts for each app who wants it, and says which of them one tenure wants.
func (t *Tx) Demand(tenure []byte) (all map[huanxin.PartyNo]int, mine map[huanxin.PartyNo]bool, err error) {
	all, mine = map[huanxin.PartyNo]int{}, map[huanxin.PartyNo]bool{}
	err = t.queryAll("SELECT app, COUNT(*), SUM(CASE WHEN tenure = $1 THEN 1 ELSE 0 END) FROM demand GROUP BY app", []any{tenure}, func(r scanner) error {
		var app huanxin.PartyNo
		var n, own int
		err := r.Scan(&app, &n, &own)
		all[app], mine[app] = n, own > 0
		return err
	})
	return all, mine, err
}

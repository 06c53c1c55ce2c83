package store

import (
	"database/sql"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// Usage is how many checks a client asked on a day.
type Usage struct {
	Client   string
	Day      huanxin.Date
	Checks   int64
	Outcomes [huanxin.Unknown + 1]int64
}

// dayNumber is how the store keeps a day: counted from 1970-01-01.
func dayNumber(d huanxin.Date) int64 {
	first, _ := d.In(time.UTC)
	return first.Unix() / 86400
}

// AddUsage counts usage, unless the process meter has brought this exchange or a later one before.
func (t *Tx) AddUsage(meter string, seq int64, rows []Usage, now time.Time) error {
	res, err := t.exec(`INSERT INTO usage_exchanges (meter, seq, at) VALUES ($1, $2, $3)
		ON CONFLICT (meter) DO UPDATE SET seq = excluded.seq, at = excluded.at WHERE excluded.seq > usage_exchanges.seq`, meter, seq, micros(now))
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return err
	}
	for _, u := range rows {
		if _, err := t.exec(`INSERT INTO usage (client, day, checks, unchanged, changed, no_holder, unknown) VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (day, client) DO UPDATE SET checks = usage.checks + excluded.checks, unchanged = usage.unchanged + excluded.unchanged,
				changed = usage.changed + excluded.changed, no_holder = usage.no_holder + excluded.no_holder, unknown = usage.unknown + excluded.unknown`,
			u.Client, dayNumber(u.Day), u.Checks, u.Outcomes[huanxin.Unchanged], u.Outcomes[huanxin.Changed],
			u.Outcomes[huanxin.NoHolder], u.Outcomes[huanxin.Unknown]); err != nil {
			return err
		}
	}
	return nil
}

// UsageOn gives what every client asked on a day, at all hubs.
func (t *Tx) UsageOn(day huanxin.Date) (out []Usage, err error) {
	rows, err := t.query("SELECT client, checks, unchanged, changed, no_holder, unknown FROM usage WHERE day = $1 ORDER BY client", dayNumber(day))
	if err != nil {
		return nil, err
	}
	err = scanAll(rows, func(r *sql.Rows) error {
		u := Usage{Day: day}
		err := r.Scan(&u.Client, &u.Checks, &u.Outcomes[huanxin.Unchanged], &u.Outcomes[huanxin.Changed],
			&u.Outcomes[huanxin.NoHolder], &u.Outcomes[huanxin.Unknown])
		out = append(out, u)
		return err
	})
	return out, err
}

// ForgetExchanges forgets processes that brought nothing since a time: they are gone.
func (t *Tx) ForgetExchanges(before time.Time) error {
	_, err := t.exec("DELETE FROM usage_exchanges WHERE at < $1", micros(before))
	return err
}

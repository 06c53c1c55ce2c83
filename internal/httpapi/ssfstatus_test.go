package httpapi_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

var statusSections = []section{
	{"[S 8.1.2.1] a new stream is enabled", func(t *testing.T, w *world) {
		app := w.receiver()
		s := w.made(app, object{})
		a := w.ssf(app, "GET", "/ssf/status?stream_id="+s.ID, nil)
		equal(t, "the status", string(a.body), `{"stream_id":"`+s.ID+`","status":"enabled"}`)
		w.ssf(app, "GET", "/ssf/status", nil).refused(t, 400, "invalid_request")
		w.ssf(app, "GET", "/ssf/status?stream_id=none", nil).refused(t, 404, "not_found")
	}},
	{"[S 8.1.2.2] a receiver sets each status, with its reason", func(t *testing.T, w *world) {
		app := w.receiver()
		s := w.made(app, object{})
		for _, to := range []string{"paused", "disabled", "paused", "enabled", "disabled", "enabled", "enabled"} {
			for _, reason := range []string{"", "because of " + to} {
				doc := object{"stream_id": s.ID, "status": to}
				if reason != "" {
					doc["reason"] = reason
				}
				for _, a := range []answer{w.ssf(app, "POST", "/ssf/status", doc), w.ssf(app, "GET", "/ssf/status?stream_id="+s.ID, nil)} {
					if got := a.got(t, 200); got.ID != s.ID || got.Status != to || got.Reason != reason {
						t.Errorf("%v: %s", doc, a.body)
					}
				}
			}
		}
		equal(t, "a long reason", len([]rune(w.ssf(app, "POST", "/ssf/status", object{"stream_id": s.ID, "status": "enabled", "reason": strings.Repeat("久", 5000)}).got(t, 200).Reason)), 1000)
		for _, to := range []any{"", "Enabled", "stopped", nil, 1, object{}} {
			w.ssf(app, "POST", "/ssf/status", object{"stream_id": s.ID, "status": to}).refused(t, 400, "invalid_request")
		}
		w.ssf(app, "POST", "/ssf/status", object{"stream_id": s.ID}).refused(t, 400, "invalid_request")
		w.ssf(app, "POST", "/ssf/status", object{"stream_id": s.ID, "status": "paused", "reason": 1}).refused(t, 400, "invalid_request")
		equal(t, "after what was refused", w.ssf(app, "GET", "/ssf/status?stream_id="+s.ID, nil).got(t, 200).Status, "enabled")
	}},
	{"[S 8.1.2] a disabled stream holds nothing, a paused one does", func(t *testing.T, w *world) {
		w.Carrier("cmcc")
		app := w.receiver()
		s := w.made(app, object{})
		db := w.open()
		from := func() (from, end int64) { // from where on the stream is told, and where the feed ends
			must(t, db.QueryRow("SELECT tell_from FROM stream_states WHERE stream = (SELECT id FROM streams WHERE client = '"+app+"')").Scan(&from))
			must(t, db.QueryRow("SELECT COALESCE(MAX(first + items), 1) FROM feed_positions").Scan(&end))
			return from, end
		}
		begins, _ := from()
		for i, step := range []struct {
			to   string
			anew bool
		}{{"paused", false}, {"enabled", false}, {"disabled", false}, {"enabled", true}, {"disabled", false}, {"paused", true}, {"enabled", false}} {
			w.recycled("cmcc", fmt.Sprintf("+86138002%05d", receivers.Add(1)))
			_, before := from()
			w.ssf(app, "POST", "/ssf/status", object{"stream_id": s.ID, "status": step.to}).got(t, 200)
			got, end := from()
			if step.anew && got >= before && got <= end { // what was just reported may have got its place in between
				begins = got
			}
			if got != begins {
				t.Errorf("step %d, to %s: it is told from %d on, not from %d; the feed ended at %d", i, step.to, got, begins, before)
			}
		}
	}},
	{"[S 8.1.2] a receiver's own change makes no stream-updated", func(t *testing.T, w *world) {
		app := w.receiver()
		s := w.made(app, object{})
		w.ssf(app, "POST", "/ssf/status", object{"stream_id": s.ID, "status": "paused"}).got(t, 200)
		equal(t, "signals", w.signals(app), "")
	}},
	{"[S 8.1.4.2] a verification is asked for at once, and then every minute", func(t *testing.T, w *world) {
		app := w.receiver()
		s := w.made(app, object{"events_requested": []string{}})
		w.ssf(app, "POST", "/ssf/verify", object{"stream_id": s.ID, "state": "a=b&c=\"d\" 你好"}).empty(t, 204)
		equal(t, "signals", w.signals(app), `1 a=b&c="d" 你好;`)
		a := w.ssf(app, "POST", "/ssf/verify", object{"stream_id": s.ID, "state": "x"})
		a.refused(t, 429, "too_many_requests")
		if wait := a.header.Get("Retry-After"); !regexp.MustCompile(`^([1-5][0-9]?|60)$`).MatchString(wait) {
			t.Errorf("Retry-After: %s", wait)
		}
		other := w.made(app, object{})
		w.ssf(app, "POST", "/ssf/verify", object{"stream_id": other.ID}).empty(t, 204)
		equal(t, "signals", w.signals(app), `1 a=b&c="d" 你好;1 ;`)
	}},
	{"[S 8.1.4.2] of two that ask at once one is asked to wait", func(t *testing.T, w *world) {
		app := w.receiver()
		s := w.made(app, object{})
		var wg sync.WaitGroup
		statuses := make([]int, 6)
		for i := range statuses {
			wg.Go(func() { statuses[i] = w.ssf(app, "POST", "/ssf/verify", object{"stream_id": s.ID}).status })
		}
		wg.Wait()
		slices.Sort(statuses)
		equal(t, "statuses", fmt.Sprint(statuses), "[204 429 429 429 429 429]")
	}},
	{"[S 8.1.4.2] a stream that is not enabled is not verified", func(t *testing.T, w *world) {
		app := w.receiver()
		s := w.made(app, object{})
		for _, to := range []string{"paused", "disabled"} {
			w.ssf(app, "POST", "/ssf/status", object{"stream_id": s.ID, "status": to}).got(t, 200)
			a := w.ssf(app, "POST", "/ssf/verify", object{"stream_id": s.ID})
			a.refused(t, 400, "stream_not_enabled")
			if !strings.Contains(string(a.body), to) {
				t.Errorf("no reason: %s", a.body)
			}
		}
		for _, state := range []any{1, object{}, strings.Repeat("x", 1025)} {
			w.ssf(app, "POST", "/ssf/verify", object{"stream_id": s.ID, "state": state}).refused(t, 400, "invalid_request")
		}
		w.ssf(app, "POST", "/ssf/verify", object{}).refused(t, 400, "invalid_request")
		equal(t, "signals", w.signals(app), "")
	}},
	{"[S 8.1.1] every call that names a stream restarts its inactivity_timeout", func(t *testing.T, w *world) {
		// Twelve streams, for a call is written down once an hour.
		db := w.open()
		for name, use := range map[string]func(app, id string) answer{
			"read":   func(app, id string) answer { return w.ssf(app, "GET", "/ssf/streams?stream_id="+id, nil) },
			"patch":  func(app, id string) answer { return w.ssf(app, "PATCH", "/ssf/streams", object{"stream_id": id}) },
			"put":    func(app, id string) answer { return w.ssf(app, "PUT", "/ssf/streams", object{"stream_id": id}) },
			"status": func(app, id string) answer { return w.ssf(app, "GET", "/ssf/status?stream_id="+id, nil) },
			"set": func(app, id string) answer {
				return w.ssf(app, "POST", "/ssf/status", object{"stream_id": id, "status": "enabled"})
			},
			"add": func(app, id string) answer {
				return w.ssf(app, "POST", "/ssf/subjects:add", object{"stream_id": id, "subject": phone("+8613800000001")})
			},
			"remove": func(app, id string) answer {
				return w.ssf(app, "POST", "/ssf/subjects:remove", object{"stream_id": id, "subject": phone("+8613800000001")})
			},
			"batch":  func(app, id string) answer { return w.batch(app, id, "") },
			"verify": func(app, id string) answer { return w.ssf(app, "POST", "/ssf/verify", object{"stream_id": id}) },
		} {
			app := w.receiver()
			s := w.made(app, object{})
			at := func() (n int64) {
				must(t, db.QueryRow("SELECT active_at FROM stream_states WHERE stream = (SELECT id FROM streams WHERE client = '"+app+"')").Scan(&n))
				return n
			}
			made := at()
			if a := use(app, s.ID); a.status >= 300 || at() <= made {
				t.Errorf("%s: status %d, heard of at %d, made at %d", name, a.status, at(), made)
			}
		}
	}},
}

// signals gives what an app's streams are to be told about themselves.
func (w *world) signals(app string) (out string) {
	w.t.Helper()
	rows, err := w.open().Query("SELECT kind, state FROM stream_signals WHERE stream IN (SELECT id FROM streams WHERE client = '" + app + "') ORDER BY id")
	must(w.t, err)
	defer rows.Close()
	for rows.Next() {
		var kind, state string
		must(w.t, rows.Scan(&kind, &state))
		out += kind + " " + state + ";"
	}
	must(w.t, rows.Err())
	return out
}

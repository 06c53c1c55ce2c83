package httpapi_test

import (
	"database/sql"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/hubtest"
	"github.com/huanxin-platform/huanxin/internal/httpapi"
)

// streamState sums up all that a call of stream management could have changed.
func (w *world) streamState(db *sql.DB) (out string) {
	w.t.Helper()
	for _, q := range []string{"SELECT COUNT(*), COALESCE(SUM(method + status), 0), COALESCE(SUM(verified_at), 0) FROM streams", "SELECT COUNT(*), COALESCE(SUM(start), 0), COALESCE(SUM(tell_from), 0) FROM stream_states",
		"SELECT COUNT(*), COALESCE(SUM(added), 0), COALESCE(SUM(since), 0) FROM stream_subjects", "SELECT COUNT(*), 0, 0 FROM stream_signals", "SELECT COUNT(*), 0, 0 FROM stream_remains"} {
		var a, b, c string
		must(w.t, db.QueryRow(q).Scan(&a, &b, &c))
		out += q + ": " + a + " " + b + " " + c + "\n"
	}
	return out
}

func TestStreamManagementRefusesBadInputInSSFsForm(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		s := setStage(t, w)
		own := w.made("shop", object{"delivery": object{"method": push, "endpoint_url": receiverAt}, "description": "own"})
		before := w.streamState(s.db)
		for _, rt := range httpapi.Routes() {
			if !ownForms.MatchString(rt.Path) || rt.Path == "/oauth2/token" || strings.HasPrefix(rt.Path, "/number") || rt.Path == "/ssf/events" ||
				strings.HasPrefix(rt.Path, "/ssf/poll/") { // SETs have tests of their own
				continue
			}
			t.Run(rt.Method+" "+rt.Path, func(t *testing.T) {
				s.t, w.t = t, t
				for _, c := range s.badSSF(rt, own.ID) {
					a := s.do(c.call)
					if len(c.name) > 60 {
						c.name = c.name[:60]
					}
					w.inSSFsForm(c.name, &a)
					if a.status != c.status || c.code != "" && a.Code != c.code {
						t.Errorf("%s: got %d, want %d %s: %.300s", c.name, a.status, c.status, c.code, a.body)
					}
				}
			})
		}
		s.t, w.t = t, t
		if after := w.streamState(s.db); after != before {
			t.Errorf("something was written:\n%s", difference(before, after))
		}
		equal(t, "the stream", text(w.reads("shop", own.ID)), text(own))
		s.auditIsClean()
	})
}

// badSSF makes bad requests for a route.
func (s *stage) badSSF(rt httpapi.Route, id string) (out []bad) {
	in := func(name string, status int, code string, change func(*call)) bad {
		c := call{method: rt.Method, path: rt.Path, as: "shop", header: map[string]string{}}
		if len(rt.Query) > 0 && rt.Query[0].Required {
			c.path += "?stream_id=" + id
		}
		if rt.Body != nil {
			c.header["Content-Type"] = rt.Body.Types[0]
		}
		change(&c)
		return bad{name: name, call: c, status: status, code: code}
	}
	ssf := func(code string) string {
		return map[string]string{"unauthenticated": "authentication_failed", "invalid_token": "authentication_failed", "insufficient_scope": "access_denied"}[code]
	}
	for _, m := range []string{"DELETE", "PATCH", "OPTIONS", "PUT", "POST", "GET", "BREW"} {
		if !hasMethod(m, rt.Path) {
			out = append(out, in("method "+m, 405, "method_not_allowed", func(c *call) { c.method = m }))
		}
	}
	if rt.Scope == "" {
		return out
	}
	mapped := func(name string, status int, code string, change func(*call)) bad {
		return in(name, status, ssf(code), change)
	}
	out = append(out, s.badTokens(mapped)...)
	for _, who := range []string{"cmcc", "regulator", "shop-lots"} {
		out = append(out, in("by "+who, 403, "access_denied", func(c *call) { c.as = who }))
	}
	if len(rt.Query) > 0 {
		out = append(out, in("a broken query", 400, "invalid_request", func(c *call) { c.path = rt.Path + "?stream_id=%zz" }),
			in("a stream twice", 400, "invalid_request", func(c *call) { c.path = rt.Path + "?stream_id=" + id + "&stream_id=" + id }),
			in("an unknown stream", 404, "not_found", func(c *call) { c.path = rt.Path + "?stream_id=st_x" }),
			in("a stream that is not UTF-8", 404, "not_found", func(c *call) { c.path = rt.Path + "?stream_id=%ff%00" }))
	}
	if rt.Body == nil {
		return out
	}
	return append(out, badDocuments(rt, id, in)...)
}

func badDocuments(rt httpapi.Route, id string, in maker) (out []bad) {
	with := func(status int, body string, header ...string) {
		out = append(out, in(body, status, "invalid_request", func(c *call) {
			c.body = body
			for i := 0; i < len(header); i += 2 {
				c.header[header[i]] = header[i+1]
			}
		}))
	}
	with(415, "{}", "Content-Type", "")
	with(415, "{}", "Content-Type", "text/plain")
	with(415, "{}", "Content-Type", rt.Body.Types[0]+"; charset=utf-16")
	with(415, "{}", "Content-Encoding", "br")
	with(400, "{}", "Content-Encoding", "gzip")
	if rt.Body.Types[0] != "application/json" {
		return out
	}
	for _, body := range []string{"", " \n", `{"`, "stream_id=1", "{}{}", "\ufeff{}", "{\"\xff\xfe\":1}", `{"\ud800":1}`, `[]`, `"x"`, `null`, `1`, strings.Repeat(`[`, 100_000),
		strings.Repeat(`{"a":`, 20_000) + "1" + strings.Repeat("}", 20_000), `{"stream_id":"` + id + `","stream_id":"` + id + `"}`} {
		with(400, body)
	}
	with(413, `{"`+strings.Repeat("x", 1<<17))
	with(413, string(zeros(8<<20)), "Content-Encoding", "gzip")
	if rt.Path != "/ssf/streams" {
		for _, body := range []string{`{}`, `{"stream_id":null}`, `{"stream_id":1}`, `{"stream_id":""}`, `{"stream_id":{}}`, `{"Stream_ID":"` + id + `"}`} {
			with(400, body)
		}
		return out
	}
	for _, members := range badConfigs() {
		name := "," + members
		if rt.Method != http.MethodPost {
			name = `,"stream_id":"` + id + `"` + name
		}
		with(400, "{"+name[1:]+"}")
	}
	return out
}

// badConfigs are members that no stream may have.
func badConfigs() []string {
	out := []string{
		`"delivery":"poll"`, `"delivery":[]`, `"delivery":{"method":"push"}`, `"delivery":{"method":1}`, `"delivery":{"method":null}`, `"delivery":{"method":"https://schemas.openid.net/secevent/risc/delivery-method/push"}`,
		`"delivery":{"method":"` + push + `","endpoint_url":1}`, `"delivery":{"method":"` + push + `","endpoint_url":""}`, `"delivery":{"method":"` + push + `","endpoint_url":null}`,
		`"delivery":{"method":"` + poll + `","endpoint_url":"https://receiver.example.com/ssf"}`, `"delivery":{"method":"` + poll + `","authorization_header":"x"}`,
		`"events_requested":"` + recycledType + `"`, `"events_requested":[1]`, `"events_requested":{}`, `"events_requested":[""]`, `"events_requested":[null]`,
		`"events_requested":["` + strings.Repeat("x", 600) + `"]`, `"events_requested":["a"` + strings.Repeat(`,"a"`, 100) + `]`,
		`"description":1`, `"description":["x"]`, `"huanxin_wake_up":1`, `"huanxin_wake_up":"x"`,
		`"description":"x","description":"y"`, `"delivery":{"method":"` + push + `","method":"` + poll + `"}`, "\"description\":\"\xff\"",
	}
	for _, header := range []string{"a\\r\\nX: y", "a\\u0000", " a", "a ", "号", "\\u007f", strings.Repeat("x", 9000), huanxin.HiddenHeader} {
		out = append(out, `"delivery":{"method":"`+push+`","endpoint_url":"`+receiverAt+`","authorization_header":"`+header+`"}`)
	}
	return out
}

// forbiddenURLs lead to where no receiver is: this machine, this network, a metadata service, or are of a form that no receiver needs.
var forbiddenURLs = []string{
	"http://receiver.example.com/", "https://user:secret@receiver.example.com/", "https://user@receiver.example.com/", "ftp://receiver.example.com/", "file:///etc/passwd", "//receiver.example.com/", "receiver.example.com", "https:///x", "https://",
	"https://localhost/", "https://x.localhost/", "http://localhost:8080/", "https://127.0.0.1/", "https://127.1.2.3:8443/", "http://127.0.0.1:8080/", "https://[::1]/", "https://0.0.0.0/", "https://[::]/",
	"https://127.1/", "https://2130706433/", "https://0x7f000001/", "https://0177.0.0.1/", "https://127.0.0.1./", "https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]/", "https://[64:ff9b::7f00:1]/",
	"https://10.0.0.1/", "https://172.16.0.1/", "https://172.31.255.255/", "https://192.168.1.1/", "https://100.64.0.1/", "https://[fd00::1]/", "https://[fc00::1]/",
	"https://169.254.1.1/", "https://[fe80::1]/", "https://[fe80::1%25eth0]/", "https://169.254.169.254/latest/meta-data/", "https://[fd00:ec2::254]/", "https://100.100.100.200/", "https://168.63.129.16/", "https://192.0.0.192/",
	"https://metadata.google.internal/", "https://hub/", "https://hub.local/", "https://224.0.0.1/", "https://255.255.255.255/", "https://receiver.example.com:22/", "https://receiver.example.com:0/", "https://receiver.example.com:99999/",
	"https://receiver.example.com/#x", "https://receiver.example.com:/", "https://rece iver.example.com/", "https://receiver.example.com/\n", "https://接收.example.com/", "https://" + strings.Repeat("a", 3000) + ".example.com/",
}

func TestAURLIsJudgedOnCreatePatchAndPut(t *testing.T) {
	t.Parallel()
	w := startWorld(t, hubtest.PublicOnly())
	app := w.receiver()
	pushed := w.made(app, object{"delivery": object{"method": push, "endpoint_url": receiverAt, "authorization_header": "h"}, "huanxin_wake_up": receiverAt})
	polled := w.made(app, object{})
	for _, u := range forbiddenURLs {
		for _, doc := range []object{
			{"delivery": object{"method": push, "endpoint_url": u}},
			{"huanxin_wake_up": u},
		} {
			for _, id := range []string{pushed.ID, polled.ID} {
				doc["stream_id"] = id
				w.ssf(app, "PATCH", "/ssf/streams", doc).refused(t, 400, "invalid_request")
				w.ssf(app, "PUT", "/ssf/streams", doc).refused(t, 400, "invalid_request")
			}
			delete(doc, "stream_id")
			a := w.ssf(app, "POST", "/ssf/streams", doc)
			if a.refused(t, 400, "invalid_request"); strings.Contains(string(a.body), "secret") {
				t.Errorf("%s", a.body)
			}
		}
		w.ssf(app, "PATCH", "/ssf/streams", object{"stream_id": pushed.ID, "delivery": object{"endpoint_url": u}}).refused(t, 400, "invalid_request")
	}
	for _, s := range []stream{pushed, polled} {
		equal(t, "the stream", text(w.reads(app, s.ID)), text(s))
	}
	for i, u := range []string{"https://receiver.example.com", "https://receiver.example.com:8443/a?b=c", "https://xn--fiqs8s.example.com/", "https://8.8.8.8/", "https://[2606:4700::1111]/"} {
		got := w.ssf(app, "PATCH", "/ssf/streams", object{"stream_id": polled.ID, "delivery": object{"method": push, "endpoint_url": u}, "huanxin_wake_up": u}).got(t, 200)
		equal(t, fmt.Sprint("URL ", i), got.Delivery.Endpoint, u)
	}
}

func TestTheSandboxTakesURLsOnLoopback(t *testing.T) {
	t.Parallel()
	w := startWorld(t)
	app := w.receiver()
	s := w.made(app, object{"delivery": object{"method": push, "endpoint_url": "http://127.0.0.1:9/ssf"}, "huanxin_wake_up": "http://localhost:9/"})
	equal(t, "the URL", s.Delivery.Endpoint, "http://127.0.0.1:9/ssf")
	w.ssf(app, "PATCH", "/ssf/streams", object{"stream_id": s.ID, "huanxin_wake_up": "http://169.254.169.254/"}).refused(t, 400, "invalid_request")
}

package httpapi_test

import (
	"bufio"
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/hubtest"
	"github.com/huanxin-platform/huanxin/internal/auth"
	"github.com/huanxin-platform/huanxin/internal/httpapi"
	"github.com/huanxin-platform/huanxin/internal/server"
)

// bad is one bad request and what it must get. Nothing may be written for it.
type bad struct {
	name string
	call
	status int
	code   string // of the problem, with the reason after a blank; or of the first refused line
	at     string // the field or "line 3" that the answer must name; empty: none is asked for
}

// stage is a world with something of everything, so that what is refused is refused for its own fault.
type stage struct {
	*world
	db      *sql.DB
	started time.Time // of the tenures of the numbers below
	mine    client.CreatedRequest
	theirs  client.CreatedRequest // of another carrier
	shop    client.Task           // open, of mine
	bank    client.Task           // open, another app's
	done    client.Task           // cancelled
	final   client.Task           // answered
}

// Numbers of the stage.
const (
	asked     = "+8613800100001" // cmcc's, with a request
	fresh     = "+8613800100002" // cmcc's, without
	foreign   = "+8613000100003" // unicom's, with a request
	cancelled = "+8613800100004" // cmcc's, with a cancelled request
	answered  = "+8613800100005" // cmcc's, with an answered task
	firstUse  = "+8613800100006"
	ended     = "+8613800100007" // disconnected
	moved     = "+8613800100008" // transferred
	never     = "+8613800100009"
)

func setStage(t *testing.T, w *world) *stage {
	t.Helper()
	s := &stage{world: w}
	for _, c := range []string{"cmcc", "unicom"} {
		w.Carrier(c)
	}
	w.App("shop", hubtest.Domains("shop.example"), hubtest.Replica(huanxin.ReplicaUploaded))
	w.App("bank", hubtest.Class("payment"))
	w.App("calls", hubtest.Kinds(huanxin.StopContact))
	w.App("gone")
	w.Disable("gone", true)
	w.Regulator()
	w.AddClient("cmcc-lots", "cmcc", nil, huanxin.ScopeLotsReport)
	w.AddClient("shop-lots", "shop", nil, huanxin.ScopeLotsWork)
	for _, n := range []string{asked, fresh, cancelled, answered} {
		s.started = w.recycled("cmcc", n)
	}
	w.recycled("unicom", foreign)
	r, err := w.as("cmcc").ReportEvents(t.Context(), []client.Event{
		{ID: "first", Number: firstUse, Kind: "activated", At: w.ago(50), Origin: "first"},
		{ID: "began", Number: ended, Kind: "activated", At: w.ago(50), Origin: "first"},
		{ID: "over", Number: ended, Kind: "disconnected", At: w.ago(40)},
		{ID: "began-moved", Number: moved, Kind: "activated", At: w.ago(50), Origin: "first"},
		{ID: "moved", Number: moved, Kind: "transferred", At: w.ago(40)},
	}, time.Time{})
	must(t, err)
	equal(t, "rejected while setting the stage", r.RejectedTotal, 0)
	s.mine = w.ask("cmcc", asked, s.started, "shop", "bank")
	s.theirs = w.ask("unicom", foreign, s.started, "shop")
	gone, over := w.ask("cmcc", cancelled, s.started, "shop"), w.ask("cmcc", answered, s.started, "shop")
	s.done, s.final = w.taskFor(gone, "shop"), w.taskFor(over, "shop")
	_, err = w.as("cmcc").CancelRequest(t.Context(), gone.ID)
	must(t, err)
	_, err = w.as("shop").Answer(t.Context(), client.AnswerTo(s.final, "unbound", "removed"))
	must(t, err)
	s.shop, s.bank = w.taskFor(s.mine, "shop"), w.taskFor(s.mine, "bank")
	w.taskFor(s.theirs, "shop")
	s.db = w.open()
	return s
}

// open reads the hub's database behind its back.
func (w *world) open() *sql.DB {
	w.t.Helper()
	driver, name := "sqlite", "file:"+filepath.Join(w.Data, "huanxin.db")+"?mode=ro&_pragma=busy_timeout(10000)"
	if w.postgres != "" {
		driver, name = "pgx", w.postgres
	}
	db, err := sql.Open(driver, name)
	must(w.t, err)
	w.t.Cleanup(func() { _ = db.Close() })
	return db
}

// state sums up all that a request could have changed. What is left out is meant to grow: the audit log, which holds
// refusals too, the reports that were begun, and assertions that were used.
func (s *stage) state() string {
	s.t.Helper()
	var b strings.Builder
	for _, q := range []string{
		"SELECT COUNT(*) FROM events", "SELECT COUNT(*) FROM event_batches",
		"SELECT COUNT(*), SUM(head), SUM(phase), SUM(carrier) FROM numbers", "SELECT COUNT(*), COALESCE(SUM(complete_until + covered_since), 0) FROM coverage",
		"SELECT COUNT(*), SUM(cancelled_at), SUM(aborted_at), SUM(carrier) FROM requests",
		"SELECT COUNT(*), SUM(state), SUM(open), SUM(outcome), SUM(reason), SUM(answers) FROM tasks",
		"SELECT COUNT(*) FROM answers", "SELECT COUNT(*) FROM answer_sets", "SELECT COUNT(*) FROM steps", "SELECT COUNT(*) FROM messages", "SELECT COUNT(*) FROM idempotency",
		"SELECT COUNT(*), COALESCE(SUM(numbers), 0) FROM replica_numbers",
		"SELECT COUNT(*), SUM(disabled) FROM parties", "SELECT COUNT(*), SUM(disabled) FROM clients", "SELECT COUNT(*) FROM signing_keys",
	} {
		rows, err := s.db.Query(q)
		must(s.t, err)
		cols, err := rows.Columns()
		must(s.t, err)
		values := make([]any, len(cols))
		for i := range values {
			values[i] = new(sql.NullString)
		}
		for rows.Next() {
			must(s.t, rows.Scan(values...))
		}
		must(s.t, rows.Close())
		for _, v := range values {
			fmt.Fprintf(&b, "%s ", v.(*sql.NullString).String)
		}
		b.WriteString(q + "\n")
	}
	return b.String()
}

// run sends each bad request and checks its answer, and that nothing was written.
func (s *stage) run(t *testing.T, cases []bad) {
	t.Helper()
	before := s.state()
	for _, c := range cases {
		a := s.do(c.call)
		name := c.method + " " + c.path + ": " + c.name
		if len(name) > 200 {
			name = name[:200] + "…"
		}
		if code := strings.TrimSpace(a.Code + " " + a.Reason); a.status != c.status || code != c.code && a.Code != c.code {
			t.Errorf("%s: got %d %s, want %d %s: %.300s", name, a.status, code, c.status, c.code, a.body)
			continue
		}
		s.placed(t, name, c, &a)
	}
	if after := s.state(); after != before {
		t.Errorf("something was written:\n%s", difference(before, after))
	}
}

func (s *stage) placed(t *testing.T, name string, c bad, a *answer) {
	t.Helper()
	if c.at != "" && !slices.ContainsFunc(a.Errors, func(f httpapi.ProblemField) bool {
		return f.Field == c.at || "line "+strconv.FormatInt(f.Line, 10) == c.at
	}) {
		t.Errorf("%s: does not name %s: %.300s", name, c.at, a.body)
	}
	if a.status == http.StatusUnauthorized && !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer ") {
		t.Errorf("%s: 401 without WWW-Authenticate", name)
	}
	if a.Problem.Status != a.status || a.Type != "urn:huanxin:problem:"+a.Code || a.Title == "" || a.Detail == "" || a.RequestID == "" {
		t.Errorf("%s: not a whole problem document: %s", name, a.body)
	}
}

func difference(before, after string) string {
	var b strings.Builder
	was := strings.Split(before, "\n")
	for i, line := range strings.Split(after, "\n") {
		if was[i] != line {
			fmt.Fprintf(&b, "  was %s\n  now %s\n", was[i], line)
		}
	}
	return b.String()
}

// endpoint makes the bad requests that are particular to one endpoint.
type endpoint func(s *stage) []bad

// endpoints has one for every row of the route table: a row without fails the test.
var endpoints = map[string]endpoint{
	"POST /oauth2/token":                          nil, // in OAuth's own form: TestTheTokenEndpointRefusesBadInput
	"GET /.well-known/oauth-authorization-server": nothingToSay,
	"GET /jwks.json":                              nothingToSay,
	"POST /number-recycling/v0.2/check":           nil, // in CAMARA's own form: camara_test.go
	"GET /.well-known/ssf-configuration":          nil, // in SSF's own form, as those below: ssfbad_test.go
	"POST /ssf/streams":                           nil,
	"GET /ssf/streams":                            nil,
	"PATCH /ssf/streams":                          nil,
	"PUT /ssf/streams":                            nil,
	"DELETE /ssf/streams":                         nil,
	"GET /ssf/status":                             nil,
	"POST /ssf/status":                            nil,
	"POST /ssf/poll/{stream_id}":                  nil, // ssfpoll_test.go
	"POST /ssf/subjects:add":                      nil,
	"POST /ssf/subjects:remove":                   nil,
	"POST /ssf/subjects:batch":                    nil,
	"POST /ssf/verify":                            nil,
	"POST /v1/number-events":                      badReports,
	"POST /v1/history":                            badHistory,
	"POST /v1/requests":                           badRequests,
	"POST /v1/requests/find":                      badFinds,
	"GET /v1/requests/{id}":                       badReads,
	"POST /v1/requests/{id}/cancel":               badCancels,
	"POST /v1/requests/{id}/tasks/{task}/again":   badAgains,
	"GET /v1/tasks":                               badTaskLists,
	"GET /v1/tasks/{id}":                          badTaskReads,
	"PUT /v1/tasks/{id}/answer":                   badAnswers,
	"POST /v1/answers":                            badAnswerLines,
	"POST /ssf/events":                            nil, // in RFC 8935's own form: answerset_test.go
	"GET /v1/apps/self":                           nothingToSay,
	"GET /v1/escalations":                         badEscalations,
	"GET /v1/cases":                               badCases,
	"POST /v1/checks":                             badChecks,
	"GET /v1/coverage":                            nothingToSay,
	"POST /v1/replica/numbers":                    badReplicaNumbers,
	"POST /v1/replica/numbers/remove":             badReplicaNumbers,
	"GET /v1/replica":                             badPulls,
}

// nothingToSay is an endpoint that takes no input of its own: what fits every endpoint is all there is.
func nothingToSay(*stage) []bad { return nil }

func TestEveryEndpointRefusesBadInput(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		s := setStage(t, w)
		for _, rt := range httpapi.Routes() {
			name := rt.Method + " " + rt.Path
			particular, ok := endpoints[name]
			if !ok {
				t.Errorf("%s has no test of bad input: write one", name)
			}
			t.Run(name, func(t *testing.T) {
				s.t, s.world.t = t, t
				defer func() { s.world.t = w.t }()
				if rt.Errors == nil {
					s.run(t, s.everywhere(rt))
				}
				if particular != nil {
					s.run(t, particular(s))
				}
			})
		}
		s.auditIsClean()
	})
}

// auditIsClean fails if a number that was sent, wherever in a request it stood, is in the audit log.
func (s *stage) auditIsClean() {
	s.t = s.world.t
	rows, err := s.db.Query("SELECT action, subject, detail FROM audit")
	must(s.t, err)
	defer rows.Close()
	n := 0
	for ; rows.Next(); n++ {
		var action, subject, detail string
		must(s.t, rows.Scan(&action, &subject, &detail))
		if text := ids.ReplaceAllString(subject+" "+detail, ""); digits.MatchString(text) || len(text) > 500 {
			s.t.Errorf("%s: the audit log holds %.200q", action, text)
		}
	}
	must(s.t, rows.Err())
	if n == 0 {
		s.t.Error("the audit log is empty")
	}
}

// pathOf fills a route's path with ids that are there, for a caller who may.
func (s *stage) pathOf(rt httpapi.Route) string {
	id := s.mine.ID
	if strings.HasPrefix(rt.Path, "/v1/tasks/") {
		id = s.shop.ID
	}
	return strings.NewReplacer("{id}", id, "{task}", s.shop.ID).Replace(rt.Path)
}

// callerOf gives a party that may use a route.
func callerOf(rt httpapi.Route) string {
	switch {
	case rt.Scope == "":
		return ""
	case rt.Party == huanxin.CarrierParty:
		return "cmcc"
	}
	return "shop"
}

// everywhere makes the bad requests that fit every endpoint, by what its row says of it.
func (s *stage) everywhere(rt httpapi.Route) []bad {
	path, who := s.pathOf(rt), callerOf(rt)
	in := func(name string, status int, code string, change func(*call)) bad {
		c := call{method: rt.Method, path: path, as: who, header: map[string]string{}}
		if rt.Body != nil {
			c.header["Content-Type"] = rt.Body.Types[0]
		}
		change(&c)
		return bad{name: name, call: c, status: status, code: code}
	}
	var out []bad
	for _, m := range []string{"DELETE", "PATCH", "OPTIONS", "PUT", "POST", "GET", "BREW"} {
		if !hasMethod(m, rt.Path) {
			out = append(out, in("method "+m, 405, "method_not_allowed", func(c *call) { c.method = m }))
		}
	}
	out = append(out,
		in("a slash behind the path", 404, "not_found", func(c *call) { c.path += "/" }),
		in("a slash too many", 404, "not_found", func(c *call) { c.path = "/" + c.path }),
		in("dots in the path", 404, "not_found", func(c *call) { c.path = "/v1/.." + c.path }))
	if rt.Lenient {
		return out
	}
	out = append(out,
		in("a parameter that is not there", 400, "unknown_parameter", func(c *call) { c.path += "?limits=1" }),
		in("a number as a parameter", 400, "unknown_parameter", func(c *call) { c.path += "?%2B8613800138000=1" }),
		in("a broken query", 400, "malformed_query", func(c *call) { c.path += "?a=%zz" }),
		in("a semicolon in the query", 400, "malformed_query", func(c *call) { c.path += "?a=1;b=2" }))
	for _, p := range rt.Query {
		out = append(out,
			in(p.Name+" twice", 400, "unknown_parameter", func(c *call) { c.path += "?" + p.Name + "=1&" + p.Name + "=1" }),
			in(p.Name+" not UTF-8", 400, "invalid_utf8", func(c *call) { c.path += "?" + p.Name + "=%ff" }))
	}
	if rt.Scope != "" {
		out = append(out, s.badTokens(in)...)
		out = append(out, s.wrongCallers(rt, in)...)
	}
	if rt.Body != nil {
		out = append(out, badBodies(rt, in)...)
	}
	return out
}

func hasMethod(method, path string) bool {
	var mux http.ServeMux
	for _, rt := range httpapi.Routes() {
		mux.Handle(rt.Method+" "+rt.Path, http.NotFoundHandler())
	}
	_, pattern := mux.Handler(&http.Request{Method: method, URL: &url.URL{Path: path}})
	return pattern != ""
}

type maker func(name string, status int, code string, change func(*call)) bad

func (s *stage) badTokens(in maker) []bad {
	good := s.token("shop")
	bearer := func(name, code, value string) bad {
		return in(name, 401, code, func(c *call) { c.as, c.header["Authorization"] = "", value })
	}
	last := good[:len(good)-2] + map[bool]string{true: "AA", false: "BB"}[good[len(good)-2:] != "AA"]
	parts := strings.Split(good, ".")
	const none = "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0" // {"alg":"none","typ":"at+jwt"}
	return []bad{
		bearer("no token", "unauthenticated", ""),
		bearer("another scheme", "unauthenticated", "Basic "+good),
		bearer("a scheme alone", "unauthenticated", "Bearer"),
		bearer("an empty token", "unauthenticated", "Bearer "),
		bearer("no token at all in it", "invalid_token", "Bearer x"),
		bearer("dots", "invalid_token", "Bearer .."),
		bearer("a wrong signature", "invalid_token", "Bearer "+last),
		bearer("no signature", "invalid_token", "Bearer "+none+"."+parts[1]+"."),
		bearer("another's claims", "invalid_token", "Bearer "+parts[0]+"."+strings.Split(s.token("cmcc"), ".")[1]+"."+parts[2]),
		bearer("a long one", "invalid_token", "Bearer "+strings.Repeat("a", 9<<10)),
		bearer("two in one", "invalid_token", "Bearer "+good+" "+good),
		bearer("expired", "invalid_token", "Bearer "+s.mint("shop", s.URL, s.now.Add(-time.Hour))),
		bearer("not valid yet", "invalid_token", "Bearer "+s.mint("shop", s.URL, s.now.Add(time.Hour))),
		bearer("of another issuer", "invalid_token", "Bearer "+s.mint("shop", "https://other.example", s.now)),
		bearer("of no client", "invalid_token", "Bearer "+s.mint("nobody", s.URL, s.now)),
		bearer("of a disabled one", "invalid_token", "Bearer "+s.mint("gone", s.URL, s.now)),
		bearer("by another key", "invalid_token", "Bearer "+forge(s.t, "shop", s.URL, s.now)),
	}
}

// mint makes a token with the hub's own key.
func (s *stage) mint(id, issuer string, at time.Time) string {
	s.t.Helper()
	ring := s.keys()
	token, _, err := (&auth.Issuer{URL: issuer, Ring: ring}).Mint(&huanxin.Client{ID: id}, huanxin.ScopesOf(huanxin.AppParty), at)
	must(s.t, err)
	return token
}

func forge(t *testing.T, id, issuer string, at time.Time) string {
	t.Helper()
	ring, err := auth.NewKeyRing(auth.NewSigningKey(at.Add(-time.Hour)))
	must(t, err)
	token, _, err := (&auth.Issuer{URL: issuer, Ring: ring}).Mint(&huanxin.Client{ID: id}, huanxin.ScopesOf(huanxin.AppParty), at)
	must(t, err)
	return token
}

// keys gives the hub's signing keys, as its own commands read them, valid since long ago.
func (s *stage) keys() *auth.KeyRing {
	s.t.Helper()
	cfg := server.DefaultConfig()
	cfg.Data = s.Data
	if s.postgres != "" {
		cfg.PostgresURLFile = filepath.Join(s.t.TempDir(), "url")
		must(s.t, os.WriteFile(cfg.PostgresURLFile, []byte(s.postgres), 0o600))
	}
	hub, closeHub, err := server.OpenHub(context.Background(), cfg, slog.New(slog.DiscardHandler))
	must(s.t, err)
	keys, err := hub.SigningKeys(context.Background())
	must(s.t, err)
	must(s.t, closeHub())
	for i := range keys {
		keys[i].From = keys[i].From.Add(-24 * time.Hour)
	}
	ring, err := auth.NewKeyRing(keys...)
	must(s.t, err)
	return ring
}

// wrongCallers have a good token that does not open the route.
func (s *stage) wrongCallers(rt httpapi.Route, in maker) []bad {
	var out []bad
	for _, who := range []string{"cmcc", "shop", "regulator", "cmcc-lots", "shop-lots"} {
		may := who == callerOf(rt) || rt.Party == 0 && who == "regulator" // which lists everybody's
		if !may {
			out = append(out, in("by "+who, 403, "insufficient_scope", func(c *call) { c.as = who }))
		}
	}
	return out
}

// badBodies are wrong in what is around them, or no JSON and no lines at all.
func badBodies(rt httpapi.Route, in maker) []bad {
	with := func(name string, status int, code string, body string, header ...string) bad {
		return in(name, status, code, func(c *call) {
			c.body = body
			for i := 0; i < len(header); i += 2 {
				c.header[header[i]] = header[i+1]
			}
		})
	}
	out := []bad{
		with("no content type", 415, "unsupported_media_type", "{}", "Content-Type", ""),
		with("another content type", 415, "unsupported_media_type", "{}", "Content-Type", "text/plain"),
		with("no content type but words", 415, "unsupported_media_type", "{}", "Content-Type", "json"),
		with("another charset", 415, "unsupported_media_type", "{}", "Content-Type", rt.Body.Types[0]+"; charset=utf-16"),
		with("another encoding", 415, "unsupported_encoding", "{}", "Content-Encoding", "br"),
		with("two encodings", 415, "unsupported_encoding", "{}", "Content-Encoding", "gzip, gzip"),
		with("gzip that is none", 400, "broken_body", "{}", "Content-Encoding", "gzip"),
		with("zstd that is none", 400, "broken_body", "{}", "Content-Encoding", "zstd"),
		with("empty gzip", 400, "broken_body", "", "Content-Encoding", "gzip"),
	}
	if rt.Body.Types[0] != "application/json" {
		return out
	}
	deep := strings.Repeat(`[`, 200_000)
	return append(out,
		with("empty", 400, "malformed_json", ""),
		with("blank", 400, "malformed_json", " \n"),
		with("cut", 400, "malformed_json", `{"`),
		with("no JSON", 400, "malformed_json", "number=1"),
		with("single quotes", 400, "malformed_json", "{'number':'+8613800138000'}"),
		with("two documents", 400, "malformed_json", "{}{}"),
		with("a BOM", 400, "malformed_json", "\ufeff{}"),
		with("not UTF-8", 400, "invalid_utf8", "{\"\xff\xfe\":1}"),
		with("a lone surrogate", 400, "malformed_json", `{"\ud800":1}`),
		with("deep arrays", 400, "wrong_type", deep+strings.Repeat("]", 200_000)),
		with("deep objects", 400, "unknown_member", strings.Repeat(`{"a":`, 100_000)+"1"+strings.Repeat("}", 100_000)),
		with("a list", 400, "wrong_type", `[]`),
		with("a string", 400, "wrong_type", `"x"`),
		with("null", 400, "required", `null`),
		with("nothing in it", 400, "required", `{}`),
		with("an unknown member", 400, "unknown_member", `{"numbers":"+8613800138000"}`),
		with("a number as a member", 400, "unknown_member", `{"+8613800138000":1}`),
		with("too long", 413, "body_too_large", `{"`+strings.Repeat("x", int(cmp.Or(rt.Limit, 1<<20)))),
		with("too long when unpacked", 413, "body_too_large", string(zeros(8<<20)), "Content-Encoding", "gzip"),
	)
}

// TestABodyThatBreaksOffWritesNothing cuts the connection in the middle.
func TestABodyThatBreaksOffWritesNothing(t *testing.T) {
	w := startWorld(t)
	s := setStage(t, w)
	whole := w.requestBody(fresh, s.started, `["shop"]`)
	line := `{"id":"cut-1","number":"` + never + `","kind":"activated","at":"2024-03-01T08:00:00Z","origin":"first"}`
	for _, c := range []struct{ name, head, body string }{
		{"a request", "POST /v1/requests HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(whole)+1), whole},
		{"a request in chunks", "POST /v1/requests HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked", fmt.Sprintf("%x\r\n%s\r\n", len(whole), whole)},
		{"bad chunks", "POST /v1/requests HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked", "zz\r\n" + whole},
		{"a line", "POST /v1/number-events HTTP/1.1\r\nContent-Type: application/x-ndjson\r\nContent-Length: 1000", line},
		{"half a line", "POST /v1/number-events HTTP/1.1\r\nContent-Type: application/x-ndjson\r\nContent-Length: 1000", line[:60]},
	} {
		before := s.state()
		status, body := w.raw(c.head+"\r\nAuthorization: Bearer "+w.token("cmcc")+"\r\nHost: hub\r\n\r\n", c.body)
		if status != 400 || !strings.Contains(body, `"broken_body"`) {
			t.Errorf("%s: %d %s", c.name, status, body)
		}
		if after := s.state(); after != before {
			t.Errorf("%s: something was written:\n%s", c.name, difference(before, after))
		}
	}
}

// raw sends bytes, says that no more will come, and gives the answer.
func (w *world) raw(head, body string) (int, string) {
	w.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.URL, "http://"))
	must(w.t, err)
	defer conn.Close()
	must(w.t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = io.WriteString(conn, head+body)
	must(w.t, err)
	must(w.t, conn.(*net.TCPConn).CloseWrite())
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(w.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(w.t, err)
	return resp.StatusCode, string(text)
}

func TestAHugeHeaderIsRefused(t *testing.T) {
	w := startWorld(t)
	w.App("shop")
	for _, header := range []string{"Accept-Language", "X-Anything", "Idempotency-Key"} {
		a := w.do(call{method: "GET", path: "/v1/tasks", as: "shop", header: map[string]string{header: strings.Repeat("a", 64<<10)}})
		equal(t, header, a.status, 431)
	}
	status, _ := w.raw("GET /"+strings.Repeat("a", 64<<10)+" HTTP/1.1\r\nHost: hub\r\n\r\n", "")
	equal(t, "a huge path", status, 431)
	two := "GET /v1/tasks HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer " + w.token("shop") + "\r\nAuthorization: Bearer " + w.token("shop") + "\r\n\r\n"
	status, body := w.raw(two, "")
	if status != 401 || !strings.Contains(body, "unauthenticated") {
		t.Errorf("two tokens: %d %s", status, body)
	}
}

func TestTheTokenEndpointRefusesBadInput(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		s := setStage(t, w)
		before := s.state()
		const form = "application/x-www-form-urlencoded"
		const good = "grant_type=client_credentials"
		basic := w.basic("cmcc")
		key := auth.NewSigningKey(time.Now())
		assertion, err := auth.Assertion(key, "cmcc", w.URL, time.Now())
		must(t, err)
		for _, c := range []struct {
			name, contentType, authorization, path, body string
			status                                       int
			code                                         string
		}{
			{"no grant type", form, basic, "", "", 400, "invalid_request"},
			{"another grant type", form, basic, "", "grant_type=password", 400, "unsupported_grant_type"},
			{"JSON", "application/json", basic, "", `{"grant_type":"client_credentials"}`, 400, "invalid_request"},
			{"in the URL", form, basic, "?" + good, good, 400, "invalid_request"},
			{"twice", form, basic, "", good + "&" + good, 400, "invalid_request"},
			{"not form-encoded", form, basic, "", good + "&a=%zz", 400, "invalid_request"},
			{"not UTF-8", form, basic, "", good + "&a=%ff", 400, "invalid_request"},
			{"too long", form, basic, "", good + "&a=" + strings.Repeat("x", 70<<10), 413, "invalid_request"},
			{"nobody", form, "", "", good, 401, "invalid_client"},
			{"an unknown client", form, "Basic bm9ib2R5OnNlY3JldA==", "", good, 401, "invalid_client"},
			{"broken Basic", form, "Basic !!!", "", good, 401, "invalid_client"},
			{"a wrong secret", form, "Basic Y21jYzpzZWNyZXQ=", "", good, 401, "invalid_client"},
			{"a token for a secret", form, "Bearer " + w.token("cmcc"), "", good, 401, "invalid_client"},
			{"a scope of another kind", form, basic, "", good + "&scope=tasks.work", 400, "invalid_scope"},
			{"an unknown scope", form, basic, "", good + "&scope=everything", 400, "invalid_scope"},
			{"an assertion of one who has no keys", form, "", "", good + "&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer&client_assertion=" + assertion, 401, "invalid_client"},
			{"two ways at once", form, basic, "", good + "&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer&client_assertion=" + assertion, 400, "invalid_request"},
			{"a disabled party", form, w.basic("gone"), "", good, 401, "invalid_client"},
		} {
			a := w.do(call{method: "POST", path: "/oauth2/token" + c.path, body: c.body,
				header: map[string]string{"Content-Type": c.contentType, "Authorization": c.authorization}})
			var got struct {
				Error       string
				Description string `json:"error_description"`
			}
			a.into(t, &got)
			if a.status != c.status || got.Error != c.code || got.Description == "" {
				t.Errorf("%s: %d %s, want %d %s", c.name, a.status, a.body, c.status, c.code)
			}
			if a.header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: may be stored", c.name)
			}
		}
		if after := s.state(); after != before {
			t.Errorf("something was written:\n%s", difference(before, after))
		}
	})
}

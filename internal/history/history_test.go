package history_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/hubtest"
	"github.com/huanxin-platform/huanxin/internal/history"
)

const header = "number,tenure_started_at,origin\n"

func number(i int) string { return "+86" + strconv.Itoa(13_800_000_000+i) }

// file gives n lines, of every origin and both forms of time; those whose place a bad one ends up in are bad.
func file(n int, bad ...int) string {
	var b strings.Builder
	b.WriteString(header)
	for i := range n {
		origin := []string{"first", "reassigned", "transferred", "unknown"}[i%4]
		at := []string{"2020-03-01T08:00:00+08:00", "2020-03-01"}[i/4%2]
		for _, k := range bad {
			if k == i {
				at = "yesterday"
			}
		}
		fmt.Fprintf(&b, "%s,%s,%s\n", number(i), at, origin)
	}
	return b.String()
}

// importing is an import of one file into one hub.
type importing struct {
	t   *testing.T
	hub *hubtest.Hub
	web *link
	dir string
	o   history.Options
	at  []history.At
}

// link is the way to the hub, which breaks as a test says.
type link struct {
	http.RoundTripper
	cut   func(n int, req *http.Request) (*http.Response, error) // before the n-th call of /v1/history from 1; both nil: go on
	after func(n int, resp *http.Response) error                 // its answer was sent: it may get lost
	calls int
}

func (l *link) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Path != "/v1/history" {
		return l.RoundTripper.RoundTrip(req)
	}
	l.calls++
	if l.cut != nil {
		if resp, err := l.cut(l.calls, req); resp != nil || err != nil {
			return resp, err
		}
	}
	resp, err := l.RoundTripper.RoundTrip(req)
	if err == nil && l.after != nil {
		if lost := l.after(l.calls, resp); lost != nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			return nil, lost
		}
	}
	return resp, err
}

func newImporting(t *testing.T, hub *hubtest.Hub, text string) *importing {
	t.Helper()
	hub.Carrier("cmcc")
	im := &importing{t: t, hub: hub, dir: t.TempDir(), web: &link{RoundTripper: hub.HTTP().Transport}}
	c := hub.Credentials("cmcc")
	im.o = history.Options{In: filepath.Join(im.dir, "history.csv"), Rejected: filepath.Join(im.dir, "rejected.csv"), Target: "the hub",
		Client:     client.New(client.Options{URL: hub.URL, ID: c.ID, Secret: c.Secret, HTTP: &http.Client{Transport: im.web}}),
		PieceLines: 10, Pause: time.Millisecond, Tell: func(at history.At) { im.at = append(im.at, at) }}
	im.write(text)
	return im
}

func (im *importing) write(text string) {
	im.t.Helper()
	must(im.t, os.WriteFile(im.o.In, []byte(text), 0o600))
}

func (im *importing) run() (history.Result, error) {
	im.at = nil
	return history.Import(im.t.Context(), im.o)
}

func (im *importing) done() history.Result {
	im.t.Helper()
	res, err := im.run()
	must(im.t, err)
	return res
}

// rejected gives the lines that are listed, as line:code.
func (im *importing) rejected() string {
	im.t.Helper()
	text, err := os.ReadFile(im.o.Rejected)
	must(im.t, err)
	rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	must(im.t, err)
	if strings.Contains(string(text), "138000") {
		im.t.Error("a number stands in the list of refused lines")
	}
	var out []string
	for _, r := range rows[1:] {
		out = append(out, r[0]+":"+r[1])
	}
	return strings.Join(out, " ")
}

// answers asks an app's checks about the number at i, until the log has been followed.
func (im *importing) answers(i int, since, want string) {
	im.t.Helper()
	var got string
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if got = im.check(i, since); got == want {
			return
		}
	}
	im.t.Errorf("number %d since %s: %s, want %s", i, since, got, want)
}

func (im *importing) check(i int, since string) string {
	im.t.Helper()
	token, err := im.hub.App("shop").Token(im.t.Context())
	must(im.t, err)
	req, err := http.NewRequestWithContext(im.t.Context(), http.MethodPost, im.hub.URL+"/v1/checks",
		strings.NewReader(fmt.Sprintf(`{"checks":[{"number":%q,"since":%q}]}`, number(i), since)))
	must(im.t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := im.hub.HTTP().Do(req)
	must(im.t, err)
	defer resp.Body.Close()
	var out struct {
		Results []struct{ Outcome, Reason string }
	}
	must(im.t, json.NewDecoder(resp.Body).Decode(&out))
	return strings.TrimSpace(out.Results[0].Outcome + " " + out.Results[0].Reason)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAFileIsLoadedAndAnswersChecks(t *testing.T) {
	t.Parallel()
	im := newImporting(t, hubtest.Start(t), strings.ReplaceAll("\xef\xbb\xbf\r\n"+strings.ReplaceAll(file(35, 12), "\n", "\r\n"), number(3), "+861440012345678"))
	res := im.done()
	if res.Accepted != 33 || res.Rejected != 2 || res.Untold() != 1 || res.Codes["malformed_time"] != 1 || res.Codes["number_kind_unsupported"] != 1 || res.Resumed || res.Done {
		t.Errorf("%+v", res)
	}
	if got := im.rejected(); got != "6:number_kind_unsupported 15:malformed_time" { // a blank line and the header come first
		t.Error(got)
	}
	last := im.at[len(im.at)-1]
	if info, err := os.Stat(im.o.In); err != nil || last.Offset != info.Size() || last.Size != info.Size() || last.Lines() != 35 || len(im.at) != 5 {
		t.Errorf("%+v", im.at)
	}
	im.answers(34, "2020-02-29", "CHANGED transferred")
	im.answers(0, "2020-03-01T07:00:00+08:00", "CHANGED reassigned")
	im.answers(4, "2020-03-01T07:00:00+08:00", "UNKNOWN before_coverage") // only the day is known
	im.answers(7, "2020-02-29", "UNKNOWN before_coverage")
	im.answers(12, "2020-02-29", "UNKNOWN never_seen")
	im.answers(34, "2020-03-01", "UNCHANGED")

	res = im.done()
	if !res.Done || res.Accepted != 33 || im.web.calls != 4 {
		t.Errorf("again: %+v, %d calls", res, im.web.calls)
	}
	im.o.Restart = true
	if res = im.done(); res.Done || res.Resumed || res.Accepted != 0 || res.Duplicates != 33 || res.Rejected != 2 {
		t.Errorf("anew: %+v", res)
	}
	if got := im.rejected(); got != "6:number_kind_unsupported 15:malformed_time" {
		t.Error(got)
	}
}

// The hub goes away before each piece, then behind each, when it has taken it and its acknowledgement is lost.
func TestAnImportThatBreaksOffAnywhereGoesOnBehindTheLastAcknowledgedPiece(t *testing.T) {
	t.Parallel()
	const n, pieces = 47, 5
	hub := hubtest.Start(t)
	for _, lost := range []bool{false, true} {
		for at := 1; at <= pieces+1; at++ { // the last call states coverage
			t.Run(fmt.Sprintf("lost %v, call %d", lost, at), func(t *testing.T) {
				im := newImporting(t, hub, file(n, 0, 9, 10, 46))
				gone := errors.New("the network is gone")
				im.o.GiveUp = time.Nanosecond
				if lost {
					im.web.after = func(call int, _ *http.Response) error {
						if call == at {
							return gone
						}
						return nil
					}
				} else {
					im.web.cut = func(call int, _ *http.Request) (*http.Response, error) {
						if call == at {
							return nil, gone
						}
						return nil, nil
					}
				}
				im.o.Told.CoveredSince = ""
				first, err := im.run()
				if at > pieces {
					must(t, err) // nothing is stated, so nothing breaks off
				} else if !errors.Is(err, gone) || first.Lines() != int64(10*(at-1)) {
					t.Fatalf("%v, %+v", err, first)
				}
				res := im.done()
				if res.Resumed != (at > 1) || res.Lines() != n || res.Rejected != 4 || res.Accepted+res.Duplicates != n-4 {
					t.Errorf("%+v", res)
				}
				if want := pieces + 1; at <= pieces && im.web.calls != want {
					t.Errorf("%d calls, not %d", im.web.calls, want)
				}
				if got := im.rejected(); got != "2:malformed_time 11:malformed_time 12:malformed_time 48:malformed_time" {
					t.Error(got)
				}
			})
		}
	}
}

func TestAnImportThatIsInterruptedGoesOn(t *testing.T) {
	t.Parallel()
	im := newImporting(t, hubtest.Start(t), file(100))
	ctx, cancel := context.WithCancel(t.Context())
	im.web.after = func(call int, _ *http.Response) error {
		if call == 4 {
			cancel()
			return context.Canceled
		}
		return nil
	}
	res, err := history.Import(ctx, im.o)
	if !errors.Is(err, context.Canceled) || res.Accepted != 30 {
		t.Fatalf("%v, %+v", err, res)
	}
	if res = im.done(); !res.Resumed || res.Accepted != 90 || res.Duplicates != 10 {
		t.Errorf("%+v", res)
	}
}

func TestWhatMayPassIsTriedAgain(t *testing.T) {
	t.Parallel()
	hub := hubtest.Start(t)
	problem := func(status int, code, retryAfter string) func() (*http.Response, error) {
		return func() (*http.Response, error) {
			h := http.Header{"Content-Type": {"application/problem+json"}}
			if retryAfter != "" {
				h.Set("Retry-After", retryAfter)
			}
			return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(`{"code":"` + code + `"}`))}, nil
		}
	}
	for name, c := range map[string]struct {
		fail  func() (*http.Response, error)
		least time.Duration // that is waited
		fatal bool
	}{
		"a lost connection":           {func() (*http.Response, error) { return nil, io.ErrUnexpectedEOF }, 0, false},
		"503":                         {problem(503, "overloaded", ""), 0, false},
		"503 with Retry-After":        {problem(503, "overloaded", "1"), time.Second, false},
		"429":                         {problem(429, "rate_limited", "1"), time.Second, false},
		"500":                         {problem(500, "internal", ""), 0, false},
		"a body cut on its way":       {problem(400, "broken_body", ""), 0, false},
		"a token that ran out":        {problem(401, "invalid_token", ""), 0, false},
		"a proxy's own page, 502":     {problem(502, "", ""), 0, false},
		"a header that is wrong":      {problem(400, "bad_header", ""), 0, true},
		"a scope that is missing":     {problem(403, "insufficient_scope", ""), 0, true},
		"a path that is not there":    {problem(404, "", ""), 0, true},
		"a Retry-After beyond reason": {problem(503, "overloaded", "86400"), 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			im := newImporting(t, hub, file(15))
			im.web.cut = func(call int, _ *http.Request) (*http.Response, error) {
				if call == 2 {
					return c.fail()
				}
				return nil, nil
			}
			var waited []time.Duration
			im.o.Waiting = func(_ error, pause time.Duration) { waited = append(waited, pause) }
			res, err := im.run()
			if (err != nil) != c.fatal {
				t.Fatal(err)
			}
			if c.fatal {
				if len(waited) != 0 || res.Lines() != 10 {
					t.Errorf("waited %v, %+v", waited, res)
				}
				return
			}
			if len(waited) != 1 || waited[0] < c.least || res.Lines() != 15 {
				t.Errorf("waited %v, %+v", waited, res)
			}
		})
	}
	t.Run("but not for ever", func(t *testing.T) {
		im := newImporting(t, hub, file(15))
		im.o.GiveUp = 50 * time.Millisecond
		im.web.cut = func(int, *http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }
		if _, err := im.run(); err == nil || !strings.Contains(err.Error(), "given up") {
			t.Error(err)
		}
	})
}

func TestProgressIsOfOneFileAndOneHub(t *testing.T) {
	t.Parallel()
	im := newImporting(t, hubtest.Start(t), file(20))
	im.done()
	refused := func(what, says string) {
		t.Helper()
		if _, err := im.run(); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "--restart") {
			t.Errorf("%s: %v", what, err)
		}
	}
	im.o.Target = "another"
	refused("another hub", "is of an import into the hub")
	im.o.Target = "the hub"
	info, err := os.Stat(im.o.In)
	must(t, err)
	im.write(file(21))
	refused("a longer file", "changed since")
	im.write(strings.Replace(file(20), "reassigned", "reassignex", 1))
	must(t, os.Chtimes(im.o.In, info.ModTime(), info.ModTime()))
	refused("another of the same length and time", "changed since")
	im.write(file(20))
	must(t, os.Chtimes(im.o.In, info.ModTime(), info.ModTime().Add(time.Second)))
	refused("a touched file", "changed since")
	path := im.o.In + ".progress"
	for _, text := range []string{"", "{", "[]", `{"version":2}`, `{"version":1,"x":1}`} {
		must(t, os.WriteFile(path, []byte(text), 0o600))
		refused(text, "no progress file of this version")
	}
	im.o.Restart = true
	if res := im.done(); res.Duplicates != 20 {
		t.Errorf("%+v", res)
	}
	text, err := os.ReadFile(path)
	must(t, err)
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 || strings.Contains(string(text), "138000") {
		t.Errorf("%v %v: %s", info.Mode(), err, text)
	}
	if _, err := os.Stat(path + ".next"); err == nil {
		t.Error("something is left lying about")
	}
}

func TestALineOfAnyLengthCostsOnlyItself(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 3<<20)
	text := file(5) + long + "\n" + `"` + long + "\n" + number(90) + ",2020-03-01,first\n\n" + long // the last one without an end
	im := newImporting(t, hubtest.Start(t), text)
	im.o.PieceLines = 3
	res := im.done()
	if res.Accepted != 6 || res.Rejected != 3 || res.Codes["line_too_long"] != 3 {
		t.Errorf("%+v", res)
	}
	if got := im.rejected(); got != "7:line_too_long 8:line_too_long 11:line_too_long" {
		t.Error(got)
	}
}

func TestWhatIsNoHistoryIsRefusedAsAWhole(t *testing.T) {
	t.Parallel()
	hub := hubtest.Start(t)
	for text, says := range map[string]string{
		"":                 "is empty",
		"\n\n\r\n":         "is empty",
		"number,origin\n1": "bad_header",
		"number,tenure_started_at,origin,name\n" + number(1) + ",2020-03-01,first,x\n": "bad_header",
		number(1) + ",2020-03-01,first\n" + number(2) + ",2020-03-01,first\n":          "bad_header",
		"\x89PNG\r\n\x1a\n\x00\x00": "bad_header",
		"number,since\n":            "bad_header",
	} {
		im := newImporting(t, hub, text)
		if _, err := im.run(); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "138000") {
			t.Errorf("%q: %v", text, err)
		}
	}
	im := newImporting(t, hub, header)
	if res := im.done(); res.Lines() != 0 || im.web.calls != 1 {
		t.Errorf("only a header: %+v", res)
	}
	im.o.In = filepath.Join(im.dir, "nothing.csv")
	if _, err := im.run(); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestAPipeIsLoadedWithoutProgress(t *testing.T) {
	t.Parallel()
	im := newImporting(t, hubtest.Start(t), "")
	r, w := io.Pipe()
	go func() {
		for part := range strings.SplitAfterSeq(file(25), ",") {
			_, _ = io.WriteString(w, part)
		}
		_ = w.Close()
	}()
	im.o.Stdin = r
	if res := im.done(); res.Accepted != 25 || im.at[0].Size != -1 {
		t.Errorf("%+v", res)
	}
	if _, err := os.Stat(im.o.In + ".progress"); err == nil {
		t.Error("there is a progress file")
	}
}

func TestWhatIsToldIsStatedAtTheEndUnlessSomethingIsUntold(t *testing.T) {
	t.Parallel()
	hub := hubtest.Start(t)
	until := time.Now().Add(-time.Hour).Truncate(time.Second)
	im := newImporting(t, hub, file(25, 3))
	im.o.Told = client.HistoryTold{CoveredSince: "2019-01-01", CompleteUntil: until}
	if res := im.done(); res.Stated != nil || res.Rejected != 1 {
		t.Errorf("with a refused line: %+v", res)
	}
	im = newImporting(t, hub, header)
	im.o.Told = client.HistoryTold{CoveredSince: "2018-06-30"}
	if res := im.done(); res.Stated == nil || res.Stated.CoveredSince != "2018-06-30" || res.Stated.CompleteUntil != nil {
		t.Errorf("with only a header: %+v", res.Stated)
	}
	im = newImporting(t, hub, strings.Replace(file(25), number(3), "+861440012345678", 1))
	im.o.Told = client.HistoryTold{CoveredSince: "2019-01-01", CompleteUntil: until}
	if res := im.done(); res.Stated == nil || res.Stated.CoveredSince != "2018-06-30" || !res.Stated.CompleteUntil.Equal(until) || res.Rejected != 1 {
		t.Errorf("with a number that is not served: %+v", res.Stated)
	}
	im.o.Told = client.HistoryTold{CoveredSince: "2017-01-01"} // stated again, of a file that was loaded
	if res := im.done(); !res.Done || res.Stated == nil || res.Stated.CoveredSince != "2017-01-01" {
		t.Errorf("of a file that was loaded: %+v", res.Stated)
	}
}

// A receipt lists 10,000 refused lines; a piece may have more.
func TestEveryRefusedLineIsListed(t *testing.T) {
	t.Parallel()
	const n = 21_000
	var b strings.Builder
	b.WriteString(header)
	var want []string
	for i := range n {
		at, code := "2020-03-01", ""
		switch {
		case i%100 == 7:
		case i%2 == 0:
			at, code = "x", "malformed_time"
		default:
			at, code = "2099-01-01", "in_future"
		}
		fmt.Fprintf(&b, "%s,%s,first\n", number(i), at)
		if code != "" {
			want = append(want, fmt.Sprintf("%d:%s", i+2, code))
		}
	}
	im := newImporting(t, hubtest.Start(t), b.String())
	im.o.PieceLines = n
	res := im.done()
	if res.Accepted != n/100 || res.Duplicates != 0 || res.Rejected != int64(len(want)) || res.Codes["in_future"]+res.Codes["malformed_time"] != res.Rejected {
		t.Errorf("%+v", res)
	}
	if got := im.rejected(); got != strings.Join(want, " ") {
		t.Errorf("%d are listed, not %d", strings.Count(got, ":"), len(want))
	}
}

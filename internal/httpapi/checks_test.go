package httpapi_test

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/hubtest"
)

// The numbers of the checks' tests, and what they say of 100 days ago.
const (
	kept     = "+8613800200001" // UNCHANGED
	recycled = "+8613800200002" // CHANGED
	handed   = "+8613800200003" // CHANGED transferred
	nobodys  = "+8613800200004" // NO_HOLDER
	came     = "+8613800200005" // UNKNOWN before_coverage
	unseen   = "+8613800200006" // UNKNOWN never_seen
	machine  = "+861410123456789"
)

// toldLives reports the lives of the numbers, and waits until checks know them.
func toldLives(t *testing.T, w *world) {
	t.Helper()
	w.Carrier("cmcc")
	w.App("shop")
	r, err := w.as("cmcc").ReportEvents(t.Context(), []client.Event{
		{ID: "k", Number: kept, Kind: "activated", At: w.ago(900), Origin: "first"},
		{ID: "r1", Number: recycled, Kind: "activated", At: w.ago(900), Origin: "first"},
		{ID: "r2", Number: recycled, Kind: "disconnected", At: w.ago(300)},
		{ID: "r3", Number: recycled, Kind: "activated", At: w.ago(50), Origin: "reassigned"},
		{ID: "h1", Number: handed, Kind: "activated", At: w.ago(900), Origin: "first"},
		{ID: "h2", Number: handed, Kind: "transferred", At: w.ago(50)},
		{ID: "n1", Number: nobodys, Kind: "activated", At: w.ago(900), Origin: "first"},
		{ID: "n2", Number: nobodys, Kind: "disconnected", At: w.ago(50)},
		{ID: "c", Number: came, Kind: "activated", At: w.ago(50), Origin: "ported_in"},
	}, w.ago(0.01))
	must(t, err)
	equal(t, "accepted", r.Accepted, 9)
	eventually(t, "all events are in the checks", 20*time.Second, func() bool {
		var out struct {
			AsOf int64 `json:"as_of"`
		}
		a := w.do(call{method: "GET", path: "/v1/coverage", as: "shop"})
		a.into(t, &out)
		return out.AsOf == 9 && strings.Contains(string(a.body), `"fresh_at"`)
	})
}

func (w *world) day(days float64) string {
	return w.ago(days).In(time.FixedZone("", 8*3600)).Format(time.DateOnly)
}

func TestChecksAreAnsweredInOrder(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		toldLives(t, w)
		ago := w.day(100)
		in := fmt.Sprintf(`{"checks":[{"number":%q,"since":%q},{"number":%q,"since":%q},{"number":%q,"since":%q},{"number":%q,"since":%q},
			{"number":%q,"since":%q},{"number":%q,"since":%q},{"number":%q,"since":%q},{"number":%q,"since":"2999-01-01"},
			{"number":"13800200001","since":%q},{"number":%q,"since":"01.02.2024"},{"number":%q,"since":%q},{"number":%q,"since":%q},
			{},{"number":"","since":""},{"number":13,"since":"x"},{"number":null,"since":1},{"number":"+8613800200001","since":["2024-01-01"]}]}`,
			kept, ago, recycled, ago, handed, ago, nobodys, ago, came, ago, unseen, ago, machine, ago, kept, ago, kept,
			handed, stamp(w.ago(50)), handed, stamp(w.ago(50).Add(-time.Second)))
		a := w.do(call{method: "POST", path: "/v1/checks", as: "shop", body: in, header: map[string]string{"Content-Type": "application/json"}})
		equal(t, "status", a.status, 200)
		var out struct {
			AsOf    int64 `json:"as_of"`
			Results []struct {
				Outcome, Reason string
				FreshAt         string `json:"fresh_at"`
				Error           *struct{ Code, Detail string }
			}
		}
		a.into(t, &out)
		equal(t, "as_of", out.AsOf, 9)
		want := []string{"UNCHANGED", "CHANGED reassigned", "CHANGED transferred", "NO_HOLDER", "UNKNOWN before_coverage", "UNKNOWN never_seen",
			"UNKNOWN number_kind_unsupported", "UNKNOWN future", "number_malformed", "malformed_time", "UNCHANGED", "CHANGED transferred",
			"required", "required", "wrong_type", "required", "wrong_type"}
		equal(t, "results", len(out.Results), len(want))
		for i, r := range out.Results {
			got := strings.TrimSpace(r.Outcome + " " + r.Reason)
			if r.Error != nil {
				got = r.Error.Code
			}
			if got != want[i] {
				t.Errorf("check %d: %s, want %s", i, got, want[i])
			}
			if known := i < 5 || i == 10 || i == 11; known != (r.FreshAt != "") {
				t.Errorf("check %d: fresh_at %q", i, r.FreshAt)
			}
		}
	})
}

// streamed sends lines and gives those that come back.
func (w *world) streamed(contentType, body string, header ...string) (answer, []string) {
	w.t.Helper()
	h := map[string]string{"Content-Type": contentType, "Accept-Encoding": "identity"}
	for i := 0; i < len(header); i += 2 {
		h[header[i]] = header[i+1]
	}
	a := w.do(call{method: "POST", path: "/v1/checks", as: "shop", body: body, header: h})
	return a, strings.Split(strings.TrimSuffix(string(a.body), "\n"), "\n")
}

func TestLinesOfJSONComeBackInOrderWithWhatTheyBearAndTheirAnswer(t *testing.T) {
	w := startWorld(t)
	toldLives(t, w)
	ago := w.day(100)
	lines := [][2]string{
		{`{"number":"` + kept + `","since":"` + ago + `"}`, `{"number":"` + kept + `","since":"` + ago + `","outcome":"UNCHANGED"}`},
		{`{"since":"` + ago + `","number":"` + recycled + `"}`, `{"since":"` + ago + `","number":"` + recycled + `","outcome":"CHANGED","reason":"reassigned"}`},
		{` {"account": 7, "number": "` + nobodys + `", "since": "` + ago + `", "ok": true} `, `{"account": 7, "number": "` + nobodys + `", "since": "` + ago + `", "ok": true,"outcome":"NO_HOLDER"}`},
		{`{"n\u0061me":"a\"b","deep":{"x":[1,2.50,{}]},"number":"\u002b` + kept[1:] + `","since":"` + ago + `"}`,
			`{"n\u0061me":"a\"b","deep":{"x":[1,2.50,{}]},"number":"\u002b` + kept[1:] + `","since":"` + ago + `","outcome":"UNCHANGED"}`},
		{`{"number":"` + kept + `","since":"` + ago + `","outcome":"CHANGED","reason":"old","error":{}}`, `{"number":"` + kept + `","since":"` + ago + `","outcome":"UNCHANGED"}`},
		{`{"outcome":"x","number":"` + kept + `","since":"` + ago + `"}`, `{"number":"` + kept + `","since":"` + ago + `","outcome":"UNCHANGED"}`},
		{`{"account":"甲","number":"` + unseen + `","since":"` + ago + `"}`, `{"account":"甲","number":"` + unseen + `","since":"` + ago + `","outcome":"UNKNOWN","reason":"never_seen"}`},
	}
	bad := [][2]string{
		{`{"account":1,"number":"138","since":"` + ago + `"}`, `number_malformed`},
		{`{"account":1,"number":"` + kept + `","since":"soon"}`, `malformed_time`},
		{`{"account":1,"number":"` + kept + `"}`, `required`},
		{`{"account":1,"since":"` + ago + `"}`, `required`},
		{`{"account":1,"number":null,"since":"` + ago + `"}`, `required`},
		{`{"account":1,"number":13800200001,"since":"` + ago + `"}`, `wrong_type`},
		{`{"account":1,"number":"` + kept + `","number":"` + kept + `","since":"` + ago + `"}`, `duplicate_member`},
		{`{"account":1,"account":1,"number":"` + kept + `","since":"` + ago + `"}`, `duplicate_member`},
		{`{}`, `required`},
		{`[]`, `wrong_type`},
		{`null`, `wrong_type`},
		{`"` + kept + `"`, `wrong_type`},
		{`{"number":"` + kept + `","since":"` + ago + `"`, `malformed_json`},
		{`{"number":"` + kept + `","since":"` + ago + `"}}`, `malformed_json`},
		{`{"number":"` + kept + `","since":"` + ago + `","x":01}`, `malformed_json`},
		{`{"number":"` + kept + `","since":"` + ago + `","x":nul}`, `malformed_json`},
		{`{number:"` + kept + `"}`, `malformed_json`},
		{"{\"number\":\"\xff\",\"since\":\"" + ago + "\"}", `invalid_utf8`},
		{`{"number":"` + strings.Repeat("1", 70_000) + `"}`, `line_too_long`},
	}
	var body strings.Builder
	for i := range max(len(lines), len(bad)) {
		body.WriteString(lines[i%len(lines)][0] + "\r\n\n")
		if i < len(bad) {
			body.WriteString(bad[i][0] + "\n")
		}
	}
	a, got := w.streamed("application/x-ndjson", body.String())
	equal(t, "status", a.status, 200)
	equal(t, "type", a.header.Get("Content-Type"), "application/x-ndjson")
	equal(t, "position", a.header.Get("Huanxin-As-Of"), "9")
	equal(t, "lines", len(got), max(len(lines), len(bad))+len(bad))
	for i := range max(len(lines), len(bad)) {
		if want := lines[i%len(lines)][1]; got[2*i] != want {
			t.Errorf("line %d:\n%s\nwant\n%s", 2*i, got[2*i], want)
		}
		var out struct {
			Account int
			Outcome *string
			Error   struct {
				Code, Detail string
				Line         int64
			}
		}
		if err := json.Unmarshal([]byte(got[2*i+1]), &out); err != nil {
			t.Errorf("%v: %s", err, got[2*i+1])
		}
		if out.Error.Code != bad[i][1] || out.Outcome != nil || out.Error.Detail == "" || out.Error.Line != int64(3*i+3) {
			t.Errorf("%.80s: %s, want %s", bad[i][0], got[2*i+1], bad[i][1])
		}
		if strings.Contains(bad[i][0], `"account":1`) && out.Account != 1 && out.Error.Code != "duplicate_member" {
			t.Errorf("what a bad line bears is passed through: %s", got[2*i+1])
		}
	}
}

func TestRowsOfCSVComeBackInOrderWithWhatTheyBearAndTheirAnswer(t *testing.T) {
	w := startWorld(t)
	toldLives(t, w)
	ago := w.day(100)
	rows := [][2]string{
		{"account,number,since", "account,number,since,outcome,reason,error"},
		{"1," + kept + "," + ago, "1," + kept + "," + ago + ",UNCHANGED,,"},
		{`"a, ""b""` + "\n" + `c",` + recycled + "," + ago, `"a, ""b""` + "\n" + `c",` + recycled + "," + ago + ",CHANGED,reassigned,"},
		{"3,138," + ago, "3,138," + ago + ",,,number_malformed"},
		{"4," + kept + ",", "4," + kept + ",,,,required"},
		{"5," + kept + ",soon", "5," + kept + ",soon,,,malformed_time"},
		{"6," + kept, "6," + kept + ",,,,ragged_row"},
		{`7,"` + kept + `"x,` + ago, ",,,,,bad_quote"},
		{"8,\xff," + ago, ",,,,,invalid_utf8"},
		{"9," + nobodys + "," + ago, "9," + nobodys + "," + ago + ",NO_HOLDER,,"},
	}
	var in, want []string
	for _, r := range rows {
		in, want = append(in, r[0]), append(want, r[1])
	}
	a, _ := w.streamed("text/csv", "\xef\xbb\xbf"+strings.Join(in, "\r\n")+"\r\n")
	equal(t, "status", a.status, 200)
	equal(t, "answers", string(a.body), strings.Join(want, "\n")+"\n")

	again, _ := w.streamed("text/csv", string(a.body))
	equal(t, "answers asked about again get new ones", strings.ReplaceAll(string(again.body), "ragged_row", "required"),
		strings.NewReplacer("ragged_row", "required", "bad_quote", "required", "invalid_utf8", "required").Replace(string(a.body)))
	if _, err := csv.NewReader(bytes.NewReader(again.body)).ReadAll(); err != nil {
		t.Error(err)
	}

	for body, code := range map[string]string{"": "bad_header", "account,since\n": "bad_header", "number,number,since\n": "bad_header"} {
		if a, _ := w.streamed("text/csv", body); a.status != 400 || a.Code != code {
			t.Errorf("header %q: %d %s", body, a.status, a.Code)
		}
	}
}

func TestStreamedChecksArePackedBothWays(t *testing.T) {
	w := startWorld(t)
	toldLives(t, w)
	line := `{"number":"` + recycled + `","since":"` + w.day(100) + `"}` + "\n"
	for _, how := range []string{"gzip", "zstd"} {
		a, _ := w.streamed("application/x-ndjson", compressed(t, how, strings.Repeat(line, 5000)), "Content-Encoding", how, "Accept-Encoding", "br, "+how+";q=0.8")
		equal(t, how, a.header.Get("Content-Encoding"), how)
		got := unpacked(t, how, a.body)
		equal(t, how+" lines", strings.Count(got, `"outcome":"CHANGED","reason":"reassigned"}`+"\n"), 5000)
		a, got2 := w.streamed("application/x-ndjson", compressed(t, how, strings.Repeat(line, 50))[:40], "Content-Encoding", how)
		if a.status != 400 && !strings.Contains(got2[len(got2)-1], "broken_body") {
			t.Errorf("%s that breaks off: %d %s", how, a.status, a.body)
		}
	}
	a, _ := w.streamed("application/x-ndjson", line, "Content-Encoding", "br")
	equal(t, "an encoding that is not taken", a.Code, "unsupported_encoding")
	many := `{"checks":[` + strings.TrimSuffix(strings.Repeat(strings.TrimSpace(line)+",", 200), ",") + `]}`
	b := w.do(call{method: "POST", path: "/v1/checks", as: "shop", body: many, header: map[string]string{"Content-Type": "application/json", "Accept-Encoding": "zstd, gzip"}})
	equal(t, "a long document", strings.Count(unpacked(t, b.header.Get("Content-Encoding"), b.body), "reassigned"), 200)
}

func unpacked(t *testing.T, how string, body []byte) string {
	t.Helper()
	var r io.Reader
	switch how {
	case "gzip":
		z, err := gzip.NewReader(bytes.NewReader(body))
		must(t, err)
		r = z
	case "zstd":
		z, err := zstd.NewReader(bytes.NewReader(body))
		must(t, err)
		defer z.Close()
		r = z
	default:
		t.Fatalf("packed as %q", how)
	}
	out, err := io.ReadAll(r)
	must(t, err)
	return string(out)
}

// stream opens a streamed check on a connection of its own, which sends and receives as the test says.
func (w *world) stream(header string) (net.Conn, *bufio.Reader) {
	w.t.Helper()
	u, err := url.Parse(w.URL)
	must(w.t, err)
	c, err := net.Dial("tcp", u.Host)
	must(w.t, err)
	w.t.Cleanup(func() { _ = c.Close() })
	_, err = fmt.Fprintf(c, "POST /v1/checks HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/x-ndjson\r\nAccept-Encoding: identity\r\n%s\r\n",
		u.Host, w.token("shop"), header)
	must(w.t, err)
	return c, bufio.NewReader(c)
}

func chunk(c net.Conn, text string) error {
	_, err := fmt.Fprintf(c, "%x\r\n%s\r\n", len(text), text)
	return err
}

func TestALineIsAnsweredWhileTheNextIsNotSentYet(t *testing.T) {
	w := startWorld(t)
	toldLives(t, w)
	c, r := w.stream("Transfer-Encoding: chunked\r\n")
	must(t, c.SetDeadline(time.Now().Add(30*time.Second)))
	var body *bufio.Reader
	for i := range 5 {
		must(t, chunk(c, fmt.Sprintf(`{"i":%d,"number":%q,"since":%q}`+"\n", i, kept, w.day(100))))
		if body == nil {
			resp, err := http.ReadResponse(r, nil)
			must(t, err)
			body = bufio.NewReader(resp.Body)
		}
		got, err := body.ReadString('\n')
		must(t, err)
		if !strings.HasPrefix(got, `{"i":`+strconv.Itoa(i)) || !strings.HasSuffix(got, "\"UNCHANGED\"}\n") {
			t.Errorf("line %d: %s", i, got)
		}
	}
	must(t, chunk(c, ""))
	if rest, err := io.ReadAll(body); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}
}

func TestAStreamOfAClientThatIsDisabledIsCutOff(t *testing.T) {
	streamIsCutOff(t, func(w *world) { w.Disable("shop", true) })
}

func TestAStreamThatBeganWithOldCredentialsIsCutOff(t *testing.T) {
	streamIsCutOff(t, func(w *world) { w.Rotate("shop") })
}

func streamIsCutOff(t *testing.T, by func(*world)) {
	t.Helper()
	w := startWorld(t)
	toldLives(t, w)
	c, r := w.stream("Transfer-Encoding: chunked\r\n")
	must(t, c.SetDeadline(time.Now().Add(30*time.Second)))
	line := fmt.Sprintf(`{"number":%q,"since":%q}`+"\n", kept, w.day(100))
	must(t, chunk(c, line))
	resp, err := http.ReadResponse(r, nil)
	must(t, err)
	body := bufio.NewReader(resp.Body)
	_, err = body.ReadString('\n')
	must(t, err)
	by(w)
	time.Sleep(300 * time.Millisecond) // answers are given as of one moment for 200 ms
	must(t, chunk(c, line))            // and nothing more: the end must not wait for it
	rest, err := io.ReadAll(body)
	if netErr, ok := errors.AsType[net.Error](err); err == nil || len(rest) > 0 || ok && netErr.Timeout() {
		t.Errorf("the stream ended as if it were whole, or not at all: %q, %v", rest, err)
	}
}

func TestAClientThatWaitsToBeToldToSendIsTold(t *testing.T) {
	w := startWorld(t)
	toldLives(t, w)
	line := fmt.Sprintf(`{"number":%q,"since":%q}`+"\n", kept, w.day(100))
	c, r := w.stream(fmt.Sprintf("Content-Length: %d\r\nExpect: 100-continue\r\n", len(line)))
	must(t, c.SetDeadline(time.Now().Add(30*time.Second)))
	status, err := r.ReadString('\n')
	must(t, err)
	equal(t, "status", strings.TrimSpace(status), "HTTP/1.1 100 Continue")
	_, err = r.ReadString('\n')
	must(t, err)
	_, err = io.WriteString(c, line)
	must(t, err)
	resp, err := http.ReadResponse(r, nil)
	must(t, err)
	got, err := io.ReadAll(resp.Body)
	must(t, err)
	if !strings.HasSuffix(string(got), "\"UNCHANGED\"}\n") {
		t.Errorf("%s", got)
	}
}

// sendAll sends n lines and reads nothing before it has sent them all, then gives what came back.
func sendAll(t *testing.T, w *world, n int) (lines int, last string) {
	t.Helper()
	line := fmt.Sprintf(`{"pad":%q,"number":%q,"since":%q}`+"\n", strings.Repeat("x", 400), kept, w.day(100))
	c, r := w.stream(fmt.Sprintf("Content-Length: %d\r\n", n*len(line)))
	must(t, c.SetDeadline(time.Now().Add(2*time.Minute)))
	block := strings.Repeat(line, 1000)
	for sent := 0; sent < n; sent += 1000 {
		_, err := io.WriteString(c, block[:min(n-sent, 1000)*len(line)])
		must(t, err)
	}
	resp, err := http.ReadResponse(r, nil)
	must(t, err)
	s := bufio.NewScanner(resp.Body)
	for s.Scan() {
		lines++
		last = s.Text()
	}
	must(t, s.Err())
	return lines, last
}

func TestAClientThatSendsEverythingBeforeItReadsGetsItsAnswersUpTo64MB(t *testing.T) {
	w := startWorld(t)
	toldLives(t, w)
	lines, last := sendAll(t, w, 120_000) // 57 MB of answers
	equal(t, "answers", lines, 120_000)
	if !strings.HasSuffix(last, `"UNCHANGED"}`) {
		t.Errorf("the last: %s", last)
	}
	lines, last = sendAll(t, w, 400_000)
	if lines < 100_000 || lines >= 400_000 || !strings.HasPrefix(last, `{"error":{"code":"read_while_sending"`) {
		t.Errorf("%d lines, the last: %s", lines, last)
	}
}

func TestAClientThatGoesAwayStopsItsStream(t *testing.T) {
	w := startWorld(t)
	toldLives(t, w)
	c, r := w.stream("Transfer-Encoding: chunked\r\n")
	must(t, chunk(c, fmt.Sprintf(`{"number":%q,"since":%q}`+"\n", kept, w.day(100))))
	_, err := http.ReadResponse(r, nil)
	must(t, err)
	must(t, c.Close())
	eventually(t, "nothing is being answered", 20*time.Second, func() bool {
		resp, err := http.Get(w.URL + "/metrics")
		must(t, err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		must(t, err)
		return strings.Contains(string(text), "huanxin_http_in_flight 0\n")
	})
}

func TestMoreChecksThanADocumentHoldsAreRefused(t *testing.T) {
	w := startWorld(t)
	w.App("shop")
	one := `{"number":"` + kept + `","since":"2024-01-01"}`
	a := w.do(call{method: "POST", path: "/v1/checks", as: "shop", header: map[string]string{"Content-Type": "application/json"},
		body: `{"checks":[` + strings.Repeat(one+",", 10_000) + one + `]}`})
	if a.status != 400 || a.Code != "too_many" {
		t.Errorf("%d %s", a.status, a.Code)
	}
	for body, code := range map[string]string{
		`{"checks":[{"number":"` + kept + `","since":"2024-01-01","account":1}]}`: "unknown_member",
		`{"checks":{}}`: "wrong_type", `{}`: "required", `[`: "wrong_type", `{"checks":`: "malformed_json", ``: "malformed_json",
	} {
		a := w.do(call{method: "POST", path: "/v1/checks", as: "shop", header: map[string]string{"Content-Type": "application/json"}, body: body})
		if a.status != 400 || a.Code != code {
			t.Errorf("%s: %d %s, want %s", body, a.status, a.Code, code)
		}
	}
	for _, path := range []string{"/v1/checks", "/v1/coverage"} {
		method := "POST"
		if path == "/v1/coverage" {
			method = "GET"
		}
		w.Carrier("cmcc")
		if a := w.do(call{method: method, path: path, body: one}); a.status != 401 {
			t.Errorf("%s without a token: %d", path, a.status)
		}
		if a := w.do(call{method: method, path: path, as: "cmcc", body: one}); a.status != 403 {
			t.Errorf("%s as a carrier: %d", path, a.status)
		}
	}
	if a, _ := w.streamed("text/plain", one); a.status != 415 {
		t.Errorf("text/plain: %d", a.status)
	}
}

// document makes a document of one check a T, on days that lie so far back.
func (w *world) document(number string, back ...float64) call {
	var checks []string
	for _, b := range back {
		checks = append(checks, fmt.Sprintf(`{"number":%q,"since":%q}`, number, w.day(b)))
	}
	return call{method: "POST", path: "/v1/checks", as: "shop", body: `{"checks":[` + strings.Join(checks, ",") + `]}`,
		header: map[string]string{"Content-Type": "application/json"}}
}

// limited checks a refusal for being too much.
func limited(t *testing.T, a answer, code string) {
	t.Helper()
	after, err := strconv.Atoi(a.header.Get("Retry-After"))
	if a.status != 429 || a.Code != code || err != nil || after < 1 {
		t.Errorf("%d %s, Retry-After %q; want 429 %s", a.status, a.Code, a.header.Get("Retry-After"), code)
	}
}

func TestAStartCannotBeFoundByHalving(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		toldLives(t, w)
		for i := range 8 {
			if a := w.do(w.document(recycled, float64(400-20*i))); a.status != 200 {
				t.Fatalf("T %d: %d %s", i, a.status, a.Code)
			}
		}
		limited(t, w.do(w.document(recycled, 55)), "too_many_times")
		if a := w.do(w.document(recycled, 400)); a.status != 200 {
			t.Errorf("a T that was asked before: %d %s", a.status, a.Code)
		}
		if a := w.do(w.document(handed, 55)); a.status != 200 {
			t.Errorf("another number: %d %s", a.status, a.Code)
		}
		// Among others it is an error of its own, in documents and in lines, and another client of the party is no way around it.
		mixed := w.document(recycled, 54)
		mixed.body = strings.Replace(mixed.body, "[", `[{"number":"`+kept+`","since":"`+w.day(100)+`"},`, 1)
		a := w.do(mixed)
		var out struct {
			Results []struct {
				Outcome string
				Error   *struct{ Code string }
			}
		}
		a.into(t, &out)
		if a.status != 200 || out.Results[0].Outcome != "UNCHANGED" || out.Results[1].Outcome != "" || out.Results[1].Error.Code != "too_many_times" {
			t.Errorf("%d %s", a.status, a.body)
		}
		second := w.AddClient("shop-2", "shop", nil, "numbers.check")
		token, err := client.New(client.Options{URL: w.URL, ID: second.ID, Secret: second.Secret}).Token(t.Context())
		must(t, err)
		c := w.document(recycled, 53)
		c.as, c.header["Authorization"] = "", "Bearer "+token
		limited(t, w.do(c), "too_many_times")
		_, lines := w.streamed("text/csv", "number,since\n"+recycled+","+w.day(52)+"\n"+kept+","+w.day(100)+"\n")
		if !strings.HasSuffix(lines[1], ",,,too_many_times") || !strings.HasSuffix(lines[2], ",UNCHANGED,,") {
			t.Errorf("lines: %q", lines)
		}
	})
}

func TestAClientThatIsTooFastIsToldWhenToComeBackAndAStreamIsSlowed(t *testing.T) {
	w := startWorld(t)
	toldLives(t, w)
	w.Limit("shop", 1000, 0)
	check := `{"number":"` + kept + `","since":"` + w.day(100) + `"}`
	c := w.document(kept)
	c.body = `{"checks":[` + strings.Repeat(check+",", 4999) + check + `]}`
	if a := w.do(c); a.status != 200 {
		t.Fatalf("more than a burst, when nothing is owed: %d %s", a.status, a.Code)
	}
	limited(t, w.do(c), "rate_limited")
	_, lines := w.streamed("application/x-ndjson", strings.Repeat(check+"\n", 3000))
	equal(t, "lines of a stream", len(lines), 3000)
	for _, l := range lines {
		if !strings.HasSuffix(l, `"UNCHANGED"}`) {
			t.Fatal(l)
		}
	}
}

func TestADaysQuotaIsSharedAndEnds(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		toldLives(t, w)
		w.Limit("shop", 0, 10)
		_, lines := w.streamed("application/x-ndjson", strings.Repeat(`{"number":"`+kept+`","since":"`+w.day(100)+`"}`+"\n", 12))
		for i, l := range lines {
			if answered := strings.HasSuffix(l, `"UNCHANGED"}`); answered != (i < 10) || !answered && !strings.Contains(l, `"error":{"code":"quota_exceeded"`) {
				t.Errorf("line %d: %s", i, l)
			}
		}
		limited(t, w.do(w.document(kept, 100)), "quota_exceeded")
		db := w.open()
		eventually(t, "what was asked is written down", 20*time.Second, func() bool {
			var checks, unchanged int
			err := db.QueryRow("SELECT checks, unchanged FROM usage WHERE client = 'shop'").Scan(&checks, &unchanged)
			return err == nil && checks == 10 && unchanged == 10
		})
		w.Limit("shop", 0, -1)
		if a := w.do(w.document(kept, 100)); a.status != 200 {
			t.Errorf("without a limit: %d %s", a.status, a.Code)
		}
	})
}

func TestASearchForNumbersRaisesAnAlert(t *testing.T) {
	w := startWorld(t)
	toldLives(t, w)
	var rows strings.Builder
	rows.WriteString("number,since\n")
	for i := range 3000 {
		fmt.Fprintf(&rows, "+861380021%04d,2024-01-01\n", i)
	}
	_, lines := w.streamed("text/csv", rows.String())
	equal(t, "rows", len(lines), 3001)
	resp, err := http.Get(w.URL + "/metrics")
	must(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(t, err)
	for _, want := range []string{`huanxin_checks_suspicion{client="shop",of="enumeration"} 1`, "huanxin_index_numbers 5"} {
		if !strings.Contains(string(text), want+"\n") {
			t.Errorf("no %s in the metrics", want)
		}
	}
}

// badChecks are refused as a whole; TestLinesOfJSON… and TestRowsOfCSV… have the lines.
func badChecks(s *stage) []bad {
	ask := func(name string, code, at, contentType, body string) bad {
		return bad{name, call{method: "POST", path: "/v1/checks", as: "shop", body: body,
			header: map[string]string{"Content-Type": contentType}}, 400, code, at}
	}
	one := `{"number":"` + never + `","since":"2024-03-01"}`
	doc := func(name, code, at, checks string) bad {
		return ask(name, code, at, "application/json", `{"checks":[`+one+`,`+checks+`]}`)
	}
	return []bad{
		ask("no checks", "required", "checks", "application/json", `{}`),
		ask("checks that are null", "required", "checks", "application/json", `{"checks":null}`),
		ask("checks that are an object", "wrong_type", "checks", "application/json", `{"checks":{}}`),
		doc("a check that is a string", "wrong_type", "checks[1]", `"`+never+`"`),
		doc("a further member", "unknown_member", "checks[1].account", `{"number":"`+never+`","since":"2024-03-01","account":1}`),
		doc("a member twice", "duplicate_member", "checks[1].since", `{"number":"`+never+`","since":"2024-03-01","since":"2024-03-01"}`),
		ask("too many", "too_many", "checks", "application/json", `{"checks":[`+strings.Repeat(one+",", 10_000)+one+`]}`),
		ask("CSV without a header", "bad_header", "number", "text/csv", never+",2024-03-01\n"),
		ask("CSV without a column", "bad_header", "since", "text/csv", "number,account\n"+never+",1\n"),
		ask("CSV with a column twice", "bad_header", "number", "text/csv", "number,since,number\n"),
		ask("CSV that is empty", "bad_header", "number", "text/csv", ""),
		ask("CSV that is a picture", "bad_header", "line 1", "text/csv", "\x89PNG\r\n\x1a\n\x00\x00"),
	}
}

func TestAStreamThroughWhichNothingComesEndsAndItsConnectionCarriesNoOtherRequest(t *testing.T) {
	w := startWorld(t, hubtest.Stall(time.Second))
	toldLives(t, w)
	for _, framing := range []string{"Content-Length: 50000\r\n", "Transfer-Encoding: chunked\r\n"} {
		c, r := w.stream(framing)
		must(t, c.SetDeadline(time.Now().Add(30*time.Second)))
		line := fmt.Sprintf(`{"number":%q,"since":%q}`+"\n", kept, w.day(100))
		if strings.HasPrefix(framing, "T") {
			must(t, chunk(c, line))
		} else {
			_, err := io.WriteString(c, line)
			must(t, err)
		}
		resp, err := http.ReadResponse(r, nil)
		must(t, err)
		if !resp.Close {
			t.Error("the connection would be kept")
		}
		text, err := io.ReadAll(resp.Body)
		must(t, err)
		if lines := strings.Split(strings.TrimSpace(string(text)), "\n"); len(lines) != 2 || !strings.Contains(lines[0], "UNCHANGED") || !strings.Contains(lines[1], `"code":"too_slow"`) {
			t.Errorf("%q", lines)
		}
		_, _ = io.WriteString(c, "GET /v1/coverage HTTP/1.1\r\nHost: x\r\n\r\n")
		if rest, _ := io.ReadAll(r); len(rest) > 0 {
			t.Errorf("what was left of the body was taken for a request: %.200s", rest)
		}
	}
}

func TestStreamsEndWhenTheHubStops(t *testing.T) {
	w := startWorld(t)
	toldLives(t, w)
	idle, r := w.stream("Transfer-Encoding: chunked\r\n")
	must(t, idle.SetDeadline(time.Now().Add(30*time.Second)))
	must(t, chunk(idle, fmt.Sprintf(`{"number":%q,"since":%q}`+"\n", kept, w.day(100))))
	resp, err := http.ReadResponse(r, nil)
	must(t, err)
	body := bufio.NewReader(resp.Body)
	if got, err := body.ReadString('\n'); err != nil || !strings.Contains(got, "UNCHANGED") {
		t.Fatal(got, err)
	}
	stopped := make(chan struct{})
	go func() { w.Stop(); close(stopped) }()
	rest, err := io.ReadAll(body)
	must(t, err)
	if !strings.HasPrefix(string(rest), `{"error":{"code":"overloaded"`) {
		t.Errorf("%s", rest)
	}
	<-stopped
}

func TestAClientHasNoMoreThanSoManyStreams(t *testing.T) {
	w := startWorld(t)
	toldLives(t, w)
	var open []net.Conn
	for range 32 {
		c, r := w.stream("Transfer-Encoding: chunked\r\n")
		must(t, chunk(c, fmt.Sprintf(`{"number":%q,"since":%q}`+"\n", kept, w.day(100))))
		resp, err := http.ReadResponse(r, nil)
		must(t, err)
		equal(t, "status", resp.StatusCode, 200)
		open = append(open, c)
	}
	line := fmt.Sprintf(`{"number":%q,"since":%q}`+"\n", kept, w.day(100))
	a, _ := w.streamed("application/x-ndjson", line)
	limited(t, a, "rate_limited")
	must(t, open[0].Close())
	eventually(t, "one that ended makes room", 20*time.Second, func() bool {
		a, _ := w.streamed("application/x-ndjson", line)
		return a.status == 200
	})
}

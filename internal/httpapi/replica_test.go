package httpapi_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/hubtest"
	"github.com/huanxin-platform/huanxin/internal/index/replica"
)

func badReplicaNumbers(s *stage) []bad {
	post := func(name string, status int, code, at, as, contentType, body string) []bad {
		var out []bad
		for _, path := range []string{"/v1/replica/numbers", "/v1/replica/numbers/remove"} {
			out = append(out, bad{name, call{method: "POST", path: path, as: as, header: map[string]string{"Content-Type": contentType}, body: body}, status, code, at})
		}
		return out
	}
	out := post("without a contract", 403, "no_contract", "", "bank", "text/csv", "number\n+8613800138000\n")
	out = append(out, post("a column too many", 400, "bad_header", "since", "shop", "text/csv", "number,since\n+8613800138000,2024-01-01\n")...)
	out = append(out, post("no column", 400, "bad_header", "number", "shop", "text/csv", "phone\n+8613800138000\n")...)
	out = append(out, post("no header", 400, "bad_header", "column 1", "shop", "text/csv", "+8613800138000\n+8613800138001\n")...)
	return append(out, post("one JSON document", 415, "unsupported_media_type", "", "shop", "application/json", `{"number":"+8613800138000"}`)...)
}

func badPulls(*stage) []bad {
	return []bad{{"without a contract", call{method: "GET", path: "/v1/replica", as: "bank"}, 403, "no_contract", ""}}
}

func TestBadLinesOfNumbersForAReplicaAreRefusedOneByOne(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		w.App("shop", hubtest.Replica(huanxin.ReplicaUploaded))
		for _, path := range []string{"/v1/replica/numbers", "/v1/replica/numbers/remove"} {
			lines := []badLine{
				{"malformed_json", "{"}, {"wrong_type", "[]"}, {"required", "{}"}, {"number_malformed", `{"number":""}`}, {"required", `{"number":null}`},
				{"number_malformed", `{"number":"13800138000"}`}, {"number_malformed", `{"number":"+86 138 0013 8000"}`}, {"number_malformed", `{"number":"+0138"}`},
				{"number_malformed", `{"number":"+8613800138000138000"}`}, {"wrong_type", `{"number":8613800138000}`}, {"unknown_member", `{"number":"+8613800138000","since":"2024"}`},
				{"unknown_member", `{"+8613800138000":1}`}, {"duplicate_member", `{"number":"+8613800138000","number":"+8613800138001"}`},
				{"number_kind_unsupported", `{"number":"+861410000000001"}`}, {"number_kind_unsupported", `{"number":"+8670012345678"}`}, {"number_kind_unsupported", `{"number":"+862112345678"}`},
				{"number_kind_unsupported", `{"number":"+999001234567890"}`}, {"line_too_long", `{"number":"` + strings.Repeat("1", 70<<10) + `"}`}, {"invalid_utf8", "{\"number\":\"\xff\"}"},
			}
			var body strings.Builder
			for _, l := range lines {
				body.WriteString(l.line + "\n" + `{"number":"+8613800200001"}` + "\n")
			}
			a := w.do(call{method: "POST", path: path, as: "shop", header: map[string]string{"Content-Type": "application/x-ndjson"}, body: body.String()})
			var got client.Receipt
			a.into(t, &got)
			if a.status != 200 || got.Accepted != 1 || got.Duplicates != int64(len(lines))-1 || int(got.RejectedTotal) != len(lines) || got.Receipt == "" {
				t.Fatalf("%s: %d %.500s", path, a.status, a.body)
			}
			for i, r := range got.Rejected {
				if r.Code != lines[i].code || r.Line != int64(2*i+1) || r.ID != "" {
					t.Errorf("%s: %.60s is refused as %+v, want %s", path, lines[i].line, r, lines[i].code)
				}
			}
		}
	})
}

// pull pulls an app's replica as a command does, waiting for a hub that is not ready, and opens it.
func (w *world) pull(app string) *replica.Replica {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), "replica")
	_, err := w.tryPull(app, path)
	must(w.t, err)
	r, err := replica.Open(path)
	must(w.t, err)
	w.t.Cleanup(func() { must(w.t, r.Close()) })
	must(w.t, r.Verify(w.t.Context()))
	return r
}

func (w *world) tryPull(app, path string) (m replica.Manifest, err error) {
	w.t.Helper()
	eventually(w.t, "the index is built", 20*time.Second, func() bool {
		m, err = replica.Pull(w.t.Context(), w.Client(app), path, replica.Wanted{Issuer: w.URL, Audience: w.Credentials(app).ID})
		return huanxin.CodeOf(err) != "overloaded"
	})
	return m, err
}

func markIn(r *replica.Replica, number string) huanxin.Mark {
	n, err := huanxin.ParseNumber(number)
	if err != nil {
		panic(err)
	}
	out := make([]uint16, 1)
	r.Lookup([]uint64{n.Digits()}, out)
	return huanxin.Mark(out[0])
}

func TestAnAppPullsWhatItsContractGrants(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		w.Carrier("cmcc")
		w.App("shop", hubtest.Replica(huanxin.ReplicaUploaded))
		w.App("bank", hubtest.Replica(huanxin.ReplicaWhole))
		w.App("none")
		const mine, gone, theirs, absent = "+8613800300001", "+8613800300002", "+8613800300003", "+8613800300004"
		for _, n := range []string{mine, theirs} {
			w.recycled("cmcc", n)
		}
		r, err := w.as("cmcc").ReportEvents(t.Context(), []client.Event{{ID: "on", Number: gone, Kind: "activated", At: w.ago(900), Origin: "first"},
			{ID: "off", Number: gone, Kind: "disconnected", At: w.ago(1)}}, w.ago(0.5))
		must(t, err)
		equal(t, "accepted", r.Accepted, 2)
		got, err := w.as("shop").UploadReplicaNumbers(t.Context(), []string{mine, gone, absent, theirs})
		must(t, err)
		equal(t, "uploaded", got.Accepted, 4)
		got, err = w.as("shop").RemoveReplicaNumbers(t.Context(), []string{theirs})
		must(t, err)
		equal(t, "removed", got.Accepted, 1)
		eventually(t, "all events are in the index", 20*time.Second, func() bool {
			var c struct{ AsOf int64 }
			a := w.do(call{method: "GET", path: "/v1/coverage", as: "shop"})
			a.into(t, &c)
			return strings.Contains(string(a.body), `"as_of":8`) && strings.Contains(string(a.body), `"fresh_at"`)
		})
		shop, bank := w.pull("shop"), w.pull("bank")
		for number, want := range map[string]huanxin.Mark{gone: huanxin.MarkNoHolder, absent: huanxin.MarkAbsent, theirs: huanxin.MarkNeverSeen} {
			if m := markIn(shop, number); m != want {
				t.Errorf("shop's mark is %d, want %d", m, want)
			}
		}
		if a, b := markIn(shop, mine), markIn(bank, mine); a != b || a < 100 {
			t.Errorf("marks of a recycled number: %d and %d", a, b)
		}
		if markIn(bank, theirs) < 100 || markIn(bank, absent) != huanxin.MarkNeverSeen {
			t.Error("the whole replica is not whole")
		}
		for app, r := range map[string]*replica.Replica{"shop": shop, "bank": bank} {
			m := r.Manifest()
			if m.Issuer != w.URL || m.Audience != app || m.AsOf != 8 || m.Numbers != 3 || r.Len() != 3 || m.Zone != "Asia/Shanghai" || !m.Fresh["cmcc"].Equal(w.ago(0.5)) ||
				time.Since(r.IssuedAt()) > time.Minute {
				t.Errorf("%s: %+v", app, m)
			}
		}
		if _, err := w.tryPull("none", filepath.Join(t.TempDir(), "r")); huanxin.CodeOf(err) != "no_contract" {
			t.Errorf("an app without a contract: %v", err)
		}
		w.Grant("shop", huanxin.NoReplica)
		if _, err := w.tryPull("shop", filepath.Join(t.TempDir(), "r")); huanxin.CodeOf(err) != "no_contract" {
			t.Errorf("an app whose contract has ended: %v", err)
		}
	})
}

// A replica of another client of the same app is not this client's: its manifest names whom it was made for.
func TestAReplicaIsForTheClientThatPulledIt(t *testing.T) {
	w := startWorld(t)
	w.App("shop", hubtest.Replica(huanxin.ReplicaUploaded))
	w.AddClient("shop-2", "shop", nil)
	path := filepath.Join(t.TempDir(), "replica")
	_, err := w.tryPull("shop", path)
	must(t, err)
	if _, err := replica.Pull(t.Context(), w.Client("shop-2"), path, replica.Wanted{Issuer: w.URL, Audience: "shop"}); !errors.Is(err, replica.ErrRefused) {
		t.Error(err)
	}
	if _, err := replica.Pull(t.Context(), w.Client("shop"), path, replica.Wanted{Issuer: "https://hub.example", Audience: "shop"}); !errors.Is(err, replica.ErrRefused) {
		t.Error(err)
	}
	if _, err := w.tryPull("shop", path); err != nil {
		t.Error(err)
	}
}

func TestAReplicaIsTheSamePackedOrNot(t *testing.T) {
	w := startWorld(t)
	w.App("shop", hubtest.Replica(huanxin.ReplicaUploaded))
	_, err := w.tryPull("shop", filepath.Join(t.TempDir(), "r"))
	must(t, err)
	get := func(method, accept string) answer {
		return w.do(call{method: method, path: "/v1/replica", as: "shop", header: map[string]string{"Accept-Encoding": accept}})
	}
	for accept, encoding := range map[string]string{"identity": "", "zstd": "zstd", "gzip": "gzip", "gzip;q=0.5, zstd": "zstd", "br, gzip": "gzip"} {
		a := get("GET", accept)
		equal(t, accept+": status", a.status, 200)
		equal(t, accept+": encoding", a.header.Get("Content-Encoding"), encoding)
		equal(t, accept+": type", a.header.Get("Content-Type"), replica.ContentType)
		var body io.Reader = bytes.NewReader(a.body)
		switch encoding {
		case "zstd":
			z, err := zstd.NewReader(body)
			must(t, err)
			defer z.Close()
			body = z
		case "gzip":
			z, err := gzip.NewReader(body)
			must(t, err)
			body = z
		}
		plain, err := io.ReadAll(body)
		must(t, err)
		if !bytes.HasPrefix(plain, []byte("huanxin index")) || !bytes.HasSuffix(plain, []byte("HXREPL1\n")) {
			t.Errorf("%s: it begins %q and ends %q", accept, plain[:13], plain[len(plain)-8:])
		}
	}
	before := w.audits("replica.pull.begin")
	if a := get("HEAD", ""); a.status != 200 || len(a.body) > 0 || a.header.Get("Content-Type") != replica.ContentType {
		t.Errorf("HEAD: %d %v", a.status, a.header)
	}
	equal(t, "pulls recorded for a HEAD", w.audits("replica.pull.begin")-before, 0)
}

// audits counts the entries of the audit log for an action.
func (w *world) audits(action string) (n int) {
	w.t.Helper()
	must(w.t, w.open().QueryRow("SELECT COUNT(*) FROM audit WHERE action = '"+action+"'").Scan(&n))
	return n
}

// manyNumbers gives CSV with numbers that lie in as many blocks, full enough for pages of their own.
func manyNumbers(blocks int) string {
	var b strings.Builder
	b.WriteString("number\n")
	for block := range blocks {
		for i := range 1000 {
			fmt.Fprintf(&b, "+86138%04d%04d\n", block, i)
		}
	}
	return b.String()
}

// TestAPullThatBreaksOffIsNoReplicaAndIsRecorded cuts the connection in the middle of a body.
func TestAPullThatBreaksOffIsNoReplicaAndIsRecorded(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		w.App("shop", hubtest.Replica(huanxin.ReplicaUploaded))
		_, err := w.Client("shop").UploadReplica(t.Context(), "text/csv", strings.NewReader(manyNumbers(600)))
		must(t, err)
		_, err = w.tryPull("shop", filepath.Join(t.TempDir(), "r"))
		must(t, err)
		equal(t, "ended", w.audits("replica.pull.end"), 1)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.URL+"/v1/replica", nil)
		must(t, err)
		req.Header.Set("Authorization", "Bearer "+w.token("shop"))
		req.Header.Set("Accept-Encoding", "identity")
		resp, err := w.HTTP().Do(req)
		must(t, err)
		_, err = io.ReadFull(resp.Body, make([]byte, 1<<16))
		must(t, err)
		if _, err := replica.Pull(t.Context(), w.Client("shop"), filepath.Join(t.TempDir(), "r"), replica.Wanted{Issuer: w.URL, Audience: "shop"}); huanxin.CodeOf(err) != "overloaded" {
			t.Errorf("a second pull at the same time: %v", err)
		}
		cancel()
		_ = resp.Body.Close()
		eventually(t, "the end is recorded", 20*time.Second, func() bool { return w.audits("replica.pull.end") == 2 })
		var detail string
		must(t, w.open().QueryRow("SELECT detail FROM audit WHERE action = 'replica.pull.end' ORDER BY id DESC LIMIT 1").Scan(&detail))
		if !strings.Contains(detail, `"complete":false`) || strings.Contains(detail, "sha256") {
			t.Errorf("recorded: %s", detail)
		}
		_, err = w.tryPull("shop", filepath.Join(t.TempDir(), "r"))
		must(t, err)
	})
}

// TestAClientThatTakesAReplicaSlowlyButTakesItHasItsTime: all of it takes several times as long as nothing may move.
func TestAClientThatTakesAReplicaSlowlyButTakesItHasItsTime(t *testing.T) {
	t.Parallel()
	const stall = 2 * time.Second
	w := startWorld(t, hubtest.Stall(stall))
	w.App("shop", hubtest.Replica(huanxin.ReplicaUploaded))
	_, err := w.Client("shop").UploadReplica(t.Context(), "text/csv", strings.NewReader(manyNumbers(300)))
	must(t, err)
	_, err = w.tryPull("shop", filepath.Join(t.TempDir(), "r"))
	must(t, err)
	// Segments as on a network: those of loopback are so long that the hub's kernel takes megabytes at once, and takes no more until a
	// third of that is gone.
	dialer := &net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			failed = errors.Join(syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 1400),
				syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 16<<10))
		})
		return errors.Join(err, failed)
	}}
	slow := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: dialer.DialContext}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.URL+"/v1/replica", nil)
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+w.token("shop"))
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := slow.Do(req)
	must(t, err)
	defer resp.Body.Close()
	var last [8]byte
	began, n := time.Now(), 0
	for buf := make([]byte, 64<<10); ; {
		m, err := io.ReadFull(resp.Body, buf)
		n += m
		if m >= 8 {
			copy(last[:], buf[m-8:m])
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF { // the end, or the end of a connection that was cut: last tells
			break
		}
		must(t, err)
		time.Sleep(120 * time.Millisecond) // a slow line, not a wait for anything
	}
	if string(last[:]) != "HXREPL1\n" || n < 5_000_000 || time.Since(began) < 2*stall {
		t.Errorf("%d bytes in %v, the last of them %q", n, time.Since(began), last)
	}
}

package main_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
)

func TestTheOperatorHasDeadLettersToldAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := serve(t, dir, "--listen", "127.0.0.1:0")
	does(t, dir, "party", "add", "pay", "--kind", "app", "--name-zh", "支付", "--name-en", "Pay")
	does(t, dir, "party", "add", "cmcc", "--kind", "carrier", "--name-zh", "移动", "--name-en", "Mobile")
	secret, reports := does(t, dir, "client", "add", "pay-1", "--party", "pay", "--secret"), does(t, dir, "client", "add", "cmcc-1", "--party", "cmcc", "--secret")
	within5s(t, "the new clients get tokens", func() bool { return h.token("pay-1", secret) && h.token("cmcc-1", reports) })
	c := client.New(client.Options{URL: h.url, ID: "pay-1", Secret: secret, HTTP: http.DefaultClient})
	s, err := c.CreateStream(t.Context(), client.StreamConfig{})
	must(t, err)
	number := huanxin.NumberOf(8613800000001)
	must(t, c.AddSubject(t.Context(), s.ID, number))
	_, err = client.New(client.Options{URL: h.url, ID: "cmcc-1", Secret: reports, HTTP: http.DefaultClient}).ReportEvents(t.Context(),
		[]client.Event{{ID: "a", Number: number.E164(), Kind: "activated", Origin: "reassigned", At: time.Now().Add(-48 * time.Hour)}}, time.Time{})
	must(t, err)
	poll := func(in client.PollRequest) map[string]string {
		t.Helper()
		out, err := c.Poll(t.Context(), s, in)
		must(t, err)
		return out.Sets
	}
	first := poll(client.PollRequest{})
	jti := ""
	for id := range first {
		jti = id
	}
	if len(first) != 1 {
		t.Fatalf("%d SETs", len(first))
	}
	poll(client.PollRequest{AtOnce: true, Refused: map[string]client.SetError{jti: {Err: "invalid_request", Description: "\x1b[31mno"}}})
	if list := does(t, dir, "stream", "list", "--dead"); !regexp.MustCompile(`(?m)^` + s.ID + ` +` + jti + ` +identifier-recycled +invalid_request +1 +\S+Z +\[31mno$`).MatchString(list) {
		t.Errorf("stream list --dead:\n%s", list)
	}
	if out := does(t, dir, "stream", "replay", s.ID, "--dead"); !strings.Contains(out, "1 are told again, 0 are left") {
		t.Errorf("stream replay --dead: %s", out)
	}
	if again := poll(client.PollRequest{Ack: []string{}}); again[jti] != first[jti] {
		t.Errorf("what comes again is %v", again)
	}
	poll(client.PollRequest{AtOnce: true, Ack: []string{jti}})
	does(t, dir, "stream", "replay", s.ID, "--from", time.Now().Add(-time.Hour).Format(time.RFC3339))
	if again := poll(client.PollRequest{}); again[jti] != first[jti] {
		t.Errorf("what comes again since an hour ago is %v", again)
	}
	if list := does(t, dir, "stream", "list", "--dead"); strings.Contains(list, jti) {
		t.Errorf("stream list --dead:\n%s", list)
	}
}

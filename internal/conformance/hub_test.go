package conformance

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/huanxin-platform/huanxin/client"
)

// refusing is the hub of a run that a company has asked too much of.
type refusing struct{}

func (refusing) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{Status: "503", StatusCode: http.StatusServiceUnavailable, Body: http.NoBody, Header: http.Header{}}, nil
}

// TestARunWhoseOwnHubFailsHasNotPassed: nothing was found out, which is no better than nothing being right.
func TestARunWhoseOwnHubFailsHasNotPassed(t *testing.T) {
	h := &hub{ear: newEar(), carrier: client.New(client.Options{URL: "http://127.0.0.1:1", ID: carrierID, Secret: "s", HTTP: &http.Client{Transport: refusing{}}})}
	h.front = newFront(nil, h.ear)
	r := newRun(DefaultOptions(), h)
	l := r.plan.reassigned(r.o.Segment)
	rep := r.newReport()
	r.work(t.Context(), []*scenario{
		{code: "right", run: func(context.Context) finding { return passed(Text{}, Text{}) }},
		{code: "row-7", line: l, run: func(ctx context.Context) finding { return r.judge(ctx, l) }},
	}, rep)
	x := rep.Results[1]
	if rep.OK() || rep.Failed != 1 || x.Outcome != Failed || !strings.Contains(x.Seen.En, "the hub of the run fails") || x.Fix == nil || !strings.Contains(x.Fix.Zh, "再运行一次") {
		t.Errorf("%+v", x)
	}
}

// TestColumnsAreReadAsDriversGiveThem: MySQL and MariaDB give text for numbers, and numbers for booleans.
func TestColumnsAreReadAsDriversGiveThem(t *testing.T) {
	for _, c := range []struct {
		column any
		n      int64
		known  bool
		bad    bool
	}{
		{true, 1, true, false}, {false, 0, true, false}, {int64(3), 3, true, false}, {[]byte("1"), 1, true, false}, {"0", 0, true, false}, {"t", 1, true, false},
		{"false", 0, true, false}, {float64(2), 2, true, false}, {nil, 0, false, false}, {"", 0, false, true}, {[]byte("yes"), 0, false, true}, {1.5, 0, false, true},
	} {
		if n, known, err := whole(c.column); n != c.n || known != c.known || (err != nil) != c.bad {
			t.Errorf("%v: %d, %t, %v", c.column, n, known, err)
		}
	}
}

// TestACompanyThatAsksEveryMinuteIsWaitedFor where a request of its takes a moment.
func TestACompanyThatAsksEveryMinuteIsWaitedFor(t *testing.T) {
	for after, want := range map[time.Duration]bool{61 * time.Second: true, 89 * time.Second: true, 91 * time.Second: false} {
		synctest.Test(t, func(t *testing.T) {
			r := &run{o: DefaultOptions(), ear: newEar()}
			set := time.Now()
			go func() {
				time.Sleep(after)
				r.ear.hear(func() { r.ear.selfs = append(r.ear.selfs, selfSeen{time.Now(), true}) })
			}()
			if got := r.toldHold(t.Context(), true, set); got != want {
				t.Errorf("asked after %s: %t", after, got)
			}
			time.Sleep(time.Minute)
		})
	}
}

// TestSETsAreGivenToTheEndpointThatTheCompanyNamedLast as the hub does.
func TestSETsAreGivenToTheEndpointThatTheCompanyNamedLast(t *testing.T) {
	at := make(chan string, 1)
	company := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { at <- r.URL.Path + " " + r.Header.Get("Authorization") }))
	defer company.Close()
	l := &relay{url: "http://relay/", web: company.Client()}
	for _, path := range []string{"/old", "/new", "/old", "/newest"} {
		l.redirect([]byte(`{"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"` + company.URL + path + `","authorization_header":"Bearer us"}}`))
		l.again(t.Context(), "x.y.z", l.authorization())
		if got := <-at; got != path+" Bearer us" {
			t.Errorf("%s, not %s", got, path)
		}
	}
}

package agent

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/huanxin-platform/huanxin/client"
)

// runs has the agent work by itself until the test ends, or stop is called.
func (o *office) runs() (stop func()) {
	ctx, cancel := context.WithCancel(o.Context())
	ended := make(chan error, 1)
	go func() { ended <- o.agent.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			o.Error(err)
		}
	}
	o.Cleanup(stop)
	return stop
}

// eventually fails unless something becomes so.
func (o *office) eventually(what string, so func() bool) {
	o.Helper()
	for end := time.Now().Add(20 * time.Second); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			o.Fatal("never: " + what)
		}
	}
}

func (o *office) isAnswered(task, state string) func() bool {
	return func() bool {
		seen, err := o.app.Task(o.Context(), task)
		return err == nil && seen.State == state
	}
}

func quick(c *Config) {
	c.Delivery.Mode = "poll"
	c.Timings.Retry, c.Timings.RetryMost = Duration(50*time.Millisecond), Duration(500*time.Millisecond)
}

// TestAnAgentHearsOfItsTasksByTheFeed from the request to what is taken back.
func TestAnAgentHearsOfItsTasksByTheFeed(t *testing.T) {
	o := newOffice(t, withConfig(quick))
	early := o.ask(o.number()) // before there is a stream
	o.runs()
	o.eventually("a task from before the stream", o.isAnswered(early, "answered"))
	o.eventually("the stream", func() bool { all, err := o.app.Streams(t.Context()); return err == nil && len(all) == 1 })
	e := o.transferred()
	b := o.bindText(e.Number)
	task := o.askText(e.Number, "transferred")
	o.eventually("the answer", o.isAnswered(task, "answered"))
	if o.bound(b) {
		t.Fatal("it is bound")
	}
	o.report(client.Event{ID: "void-" + e.ID, Number: e.Number, Kind: "corrected", At: time.Now(), Corrects: e.ID})
	o.eventually("restored", func() bool { return o.bound(b) })
	o.clean()
}

func TestATaskThatIsCancelledByTheFeedDuringTheHoldIsLeftAlone(t *testing.T) {
	o := newOffice(t, withConfig(quick), withClass("payment"))
	o.runs()
	n := o.number()
	b := o.bind(n)
	task := o.ask(n)
	o.eventually("no key", func() bool { return !o.isKey(b) })
	if _, err := o.carrier.CancelRequest(t.Context(), o.requests[task]); err != nil {
		t.Fatal(err)
	}
	o.eventually("a key again", func() bool { return o.isKey(b) })
}

func TestAnAgentThatStopsAndStartsGoesOnWithItsStream(t *testing.T) {
	o := newOffice(t, withConfig(quick))
	stop := o.runs()
	first := o.ask(o.number())
	o.eventually("the answer", o.isAnswered(first, "answered"))
	stop()
	o.must(o.agent.Close())
	second := o.ask(o.number())
	o.start()
	o.runs()
	o.eventually("the answer", o.isAnswered(second, "answered"))
	if all, err := o.app.Streams(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("%d streams, %v", len(all), err)
	}
}

func TestTheHubPushesToAnAgent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	secret := filepath.Join(t.TempDir(), "authorization")
	if err := os.WriteFile(secret, []byte("Bearer of-a-test"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := newOffice(t, withConfig(quick), withConfig(func(c *Config) {
		c.Delivery = DeliveryConfig{Mode: "push", Listen: address, URL: "http://" + address + "/sets", AuthorizationFile: secret, ListEvery: Duration(time.Hour)}
	}))
	o.runs()
	o.eventually("the stream", func() bool { all, err := o.app.Streams(t.Context()); return err == nil && len(all) == 1 })
	n := o.number()
	b := o.bind(n)
	task := o.ask(n)
	o.eventually("the answer", o.isAnswered(task, "answered"))
	if o.bound(b) {
		t.Error("it is bound")
	}
	resp, err := http.Post("http://"+address+"/sets", "application/secevent+jwt", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without the secret: %d", resp.StatusCode)
	}
}

// TestAnswersAreSignedAsSETsWhereTheCompanyWantsIt and the client authenticates itself by the same key.
func TestAnswersAreSignedAsSETsWhereTheCompanyWantsIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(path, []byte(testKey), 0o600); err != nil {
		t.Fatal(err)
	}
	k, err := readKey(path)
	if err != nil {
		t.Fatal(err)
	}
	o := newOffice(t)
	jwk := jose.JSONWebKey{Key: k.Private.Public(), Algorithm: "ES256", Use: "sig"}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{jwk}})
	o.must(err)
	o.hub.AddClient(o.id+"-signed", o.id, set)
	o.must(o.agent.Close())
	o.config.Hub = HubConfig{URL: o.hub.URL, ClientID: o.id + "-signed", KeyFile: path}
	o.config.AnswerSETs = true
	o.start()
	n := o.number()
	b := o.bind(n)
	task, none := o.ask(n), o.ask(o.number())
	o.work()
	o.answered(task, "unbound", "removed")
	o.answered(none, "not_bound", "none_found")
	if o.bound(b) {
		t.Error("it is bound")
	}
}

func TestAnAnswerIsNotLostForItsLink(t *testing.T) {
	o := newOffice(t, withConfig(impatient))
	o.agent.cfg.Links = map[string]string{"confirm_own_account": "https://elsewhere.example/{task}"}
	n := o.number()
	o.bind(n, unknownProof)
	task := o.ask(n)
	if err := o.round(); err == nil {
		t.Error("nobody is told")
	}
	o.work()
	o.answered(task, "action_required", "confirm_own_account")
}

package feed_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/auth"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/feed"
	"github.com/huanxin-platform/huanxin/internal/seal"
)

// verified gives the claims of a SET whose signature is right, by go-jose and the published keys, as they are written.
func (w *world) verified(alg string, set []byte, at time.Time) string {
	w.Helper()
	jws, err := jose.ParseSignedCompact(string(set), []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
	must(w, err)
	head, keys := jws.Signatures[0].Protected, w.ring.JWKS(at)
	if head.ExtraHeaders[jose.HeaderType] != "secevent+jwt" || len(head.ExtraHeaders) != 1 || len(keys.Key(head.KeyID)) != 1 {
		w.Fatalf("the header is %+v", head)
	}
	payload, err := jws.Verify(keys.Key(head.KeyID)[0])
	must(w, err)
	return string(payload)
}

// claims writes an entry for a stream and gives its verified claims.
func (w *world) claims(s feed.StreamFacts, e *core.FeedEntry) string {
	w.Helper()
	now := time.Now()
	jti, set, err := w.Write(now, s, e)
	must(w, err)
	if no, ok := w.ParseJTI(s.ID, jti); !ok || no != e.No {
		w.Errorf("the jti is that of %d", no)
	}
	alg := s.Alg
	if alg == "" {
		alg = "ES256"
	}
	return w.verified(alg, set, now)
}

// told are the ids that a SET of stream 5 shows.
func (w *world) told(text string) string {
	id := w.keys.ID
	return strings.NewReplacer("STREAM", id(seal.StreamID, 5), "TXN9", id(seal.TenureID, 9), "TXN8", id(seal.TenureID, 8), "TASK", id(seal.TaskID, 77),
		"JTI(41)", w.keys.SETID(5, huanxin.FeedNoAt(41, 0)), "JTI(40)", w.keys.SETID(5, huanxin.FeedNoAt(40, 0)),
		"JTI(42)", w.keys.SETID(5, huanxin.FeedNoAt(42, 0)), "JTI(43)", w.keys.SETID(5, huanxin.FeedNoAt(43, 0)),
		"JTI(44)", w.keys.SETID(5, huanxin.FeedNoAt(44, 1)), "JTI(45)", w.keys.SETID(5, huanxin.FeedNoAt(45, 0)),
		"JTI(-3)", w.keys.SETID(5, huanxin.SignalNo(3)), "JTI(-4)", w.keys.SETID(5, huanxin.SignalNo(4)),
		"JTI(-5)", w.keys.SETID(5, huanxin.SignalNo(5)), "JTI(-6)", w.keys.SETID(5, huanxin.SignalNo(6))).Replace(text)
}

const (
	head  = `{"iss":"https://hub.example.test","jti":"JTI(%d)","iat":1795406400,`
	phone = `"sub_id":{"format":"phone_number","phone_number":"+8610000000017"},`
	self  = `"aud":"chat-es","sub_id":{"format":"opaque","id":"STREAM"},`
)

func TestASETSaysWhatItsEntrySays(t *testing.T) {
	w := newWorld(t)
	s := w.stream(5, "ES256")
	s.GrantStart = true
	s.Alg = "" // is ES256
	entries := w.entries()
	const digest = "DIGEST"
	want := map[string]string{
		"recycled": fmt.Sprintf(head, 41) + `"toe":1795140000,"aud":"chat-es","txn":"TXN9",` + phone +
			`"events":{"https://schemas.openid.net/secevent/risc/event-type/identifier-recycled":{"event_timestamp":1795140000,` +
			`"huanxin_reason":"reassigned","huanxin_tenure_started_at":"2026-11-20T10:00:00.123456+08:00"}}}`,
		"released": fmt.Sprintf(head, 40) + `"toe":1795140000,"aud":"chat-es","txn":"TXN8",` + phone +
			`"events":{"urn:huanxin:event:number-released":{"event_timestamp":1795140000}}}`,
		"requested": fmt.Sprintf(head, 42) + `"toe":1795406400,"aud":"chat-es","txn":"TXN9",` + phone +
			`"events":{"urn:huanxin:event:unbind-requested":{"event_timestamp":1795406400,"id":"TASK","app":"chat","kind":"unbind",` +
			`"tenure":{"id":"TXN9","started_at":"2026-11-20T10:00:00.123456+08:00","origin":"reassigned"},` +
			`"due_at":"2026-11-28T12:00:00.999999+08:00","digest":"DIGEST","state":"queued"}}}`,
		"cancelled": fmt.Sprintf(head, 43) + `"toe":1795406400,"aud":"chat-es","txn":"TXN9",` + phone +
			`"events":{"urn:huanxin:event:unbind-cancelled":{"event_timestamp":1795406400,"task_id":"TASK","reason":"aborted"}}}`,
		"retracted": fmt.Sprintf(head, 44) + `"toe":1795140000,"aud":"chat-es","txn":"TXN9",` + phone +
			`"events":{"urn:huanxin:event:recycle-retracted":{"event_timestamp":1795140000,"retracts":"JTI(41)"}}}`,
		"task retracted": fmt.Sprintf(head, 45) + `"toe":1795406400,"aud":"chat-es","txn":"TXN9",` + phone +
			`"events":{"urn:huanxin:event:recycle-retracted":{"event_timestamp":1795406400,"retracts":"JTI(42)","task_id":"TASK"}}}`,
		"verification": fmt.Sprintf(head, -3) + self +
			`"events":{"https://schemas.openid.net/secevent/ssf/event-type/verification":{"state":"VGhpcyBpcw"}}}`,
		"own verification": fmt.Sprintf(head, -4) + self + `"events":{"https://schemas.openid.net/secevent/ssf/event-type/verification":{}}}`,
		"paused": fmt.Sprintf(head, -5) + self +
			`"events":{"https://schemas.openid.net/secevent/ssf/event-type/stream-updated":{"status":"paused","reason":"401 三次"}}}`,
		"enabled, no words": fmt.Sprintf(head, -6) + self +
			`"events":{"https://schemas.openid.net/secevent/ssf/event-type/stream-updated":{"status":"enabled"}}}`,
	}
	task := w.FeedTask(entries["requested"])
	for _, name := range sorted(entries) {
		got := w.claims(s, entries[name])
		if diff := cmp.Diff(strings.Replace(w.told(want[name]), digest, task.Digest, 1), got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// members reads claims into what a JSON reader sees of them.
func members(t testing.TB, claims string) map[string]any {
	t.Helper()
	var out map[string]any
	must(t, json.Unmarshal([]byte(claims), &out))
	return out
}

func TestEveryPayloadFitsItsSchemaAndEverySETItsProfile(t *testing.T) {
	w := newWorld(t)
	all := compiled(t)
	for _, alg := range auth.HubAlgs {
		for _, grant := range []bool{false, true} {
			for name, e := range w.entries() {
				s := w.stream(5, alg)
				s.GrantStart = grant
				text := w.claims(s, e)
				claims := members(t, text)
				for _, never := range []string{"sub", "exp", "nbf", "subject"} {
					if _, ok := claims[never]; ok {
						t.Errorf("%s has %s", name, never)
					}
				}
				if claims["iss"] != issuer || claims["aud"] != client(alg) || claims["jti"] == "" || claims["iat"] == nil || claims["sub_id"] == nil {
					t.Errorf("%s: %s", name, text)
				}
				events := claims["events"].(map[string]any)
				if len(events) != 1 {
					t.Errorf("%s has %d events", name, len(events))
				}
				payload, err := json.Marshal(events[e.Type.String()])
				must(t, err)
				if strings.Contains(string(payload), "8610000000017") {
					t.Errorf("%s has the number in its payload", name)
				}
				if e.Type != huanxin.StreamVerification && e.Type != huanxin.StreamUpdated {
					if err := valid(t, all, e.Type.String(), payload); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				}
			}
		}
	}
}

// DOMAIN.md §7 rule 5.
func TestWithoutAContractForItNothingButATaskTellsWhenATenureBegan(t *testing.T) {
	w := newWorld(t)
	s := w.stream(5, "ES256")
	if s.GrantStart {
		t.Fatal("the contract grants it")
	}
	for _, name := range []string{"recycled", "retracted", "verification"} {
		text := w.claims(s, w.entries()[name])
		for _, form := range []string{strconv.FormatInt(began.Unix(), 10), "2026-11-20", "started_at", `"toe"`} {
			if strings.Contains(text, form) {
				t.Errorf("%s tells %s: %s", name, form, text)
			}
		}
	}
	if text := w.claims(s, w.entries()["requested"]); !strings.Contains(text, "2026-11-20T10:00:00.123456+08:00") {
		t.Errorf("a task without it is of no use: %s", text)
	}
	must(t, w.PutParty(t.Context(), core.Operator(), granted(*w.Party("chat")), false))
	if s := w.stream(5, "ES256"); !s.GrantStart {
		t.Error("the contract is not looked at")
	}
}

func granted(p huanxin.Party) huanxin.Party {
	p.FeedStart = true
	return p
}

func TestASETThatIsWrittenAgainIsTheSameWhoeverWritesIt(t *testing.T) {
	w := newWorld(t)
	other := feed.NewWriter(w.Hub, w.ring, issuer)
	now, entries := time.Now(), w.entries()
	type key struct{ alg, name string }
	first := map[key]string{}
	for _, alg := range auth.HubAlgs {
		for name, e := range entries {
			_, set, err := w.Write(now, w.stream(5, alg), e)
			must(t, err)
			first[key{alg, name}] = string(set)
		}
	}
	var wg sync.WaitGroup
	for i := range 8 {
		writer := w.Writer
		if i%2 == 1 {
			writer = other
		}
		wg.Go(func() {
			for k, want := range first {
				e := *entries[k.name]
				_, set, err := writer.Write(now.Add(time.Duration(i)*time.Hour), w.stream(5, k.alg), &e)
				if err != nil || string(set) != want {
					t.Errorf("%v: %s, %v", k, set, err)
				}
			}
		})
	}
	wg.Wait()
	jti, set, err := w.Write(now, w.stream(6, "ES256"), entries["recycled"])
	must(t, err)
	if string(set) == first[key{"ES256", "recycled"}] || strings.Contains(first[key{"ES256", "recycled"}], jti) {
		t.Error("two streams get one SET")
	}
}

func TestTextFromOutsideComesThroughAsItIs(t *testing.T) {
	w := newWorld(t)
	s := w.stream(5, "ES256")
	check := func(t interface {
		Helper()
		Fatalf(string, ...any)
	}, text string) {
		t.Helper()
		updated, asked := *w.entries()["paused"], *w.entries()["verification"]
		updated.Reason, asked.State = text, text
		s.ClientID = text
		for member, e := range map[string]*core.FeedEntry{"reason": &updated, "state": &asked} {
			claims := members(w, w.claims(s, e))
			got, _ := claims["events"].(map[string]any)[e.Type.String()].(map[string]any)[member].(string)
			want := strings.ToValidUTF8(text, "")
			if utf8.ValidString(text) && got != text || strings.ReplaceAll(got, "�", "") != strings.ReplaceAll(want, "�", "") {
				t.Fatalf("%q comes as %q", text, got)
			}
			if len(claims["events"].(map[string]any)) != 1 || claims["iss"] != issuer {
				t.Fatalf("%q breaks out: %v", text, claims)
			}
		}
	}
	for _, text := range []string{`","sub":"x`, "\x00\x1f\"\\/\b", "\u2028</script>", "\xff\xfe", strings.Repeat("长", 5000), `{"a":1}`} {
		check(t, text)
	}
	rapid.Check(t, func(t *rapid.T) { check(t, rapid.String().Draw(t, "text")) })
}

// TestTheTaskOfASETIsTheTaskOfTheAPI makes a real task and asks for it both ways.
func TestTheTaskOfASETIsTheTaskOfTheAPI(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	started := time.Now().AddDate(0, 0, -2).Truncate(time.Second)
	number := huanxin.NumberOf(8613800000001)
	as := func(party string) huanxin.Caller {
		p := w.Party(party)
		return huanxin.Caller{Party: p, Client: party + "-1", Scopes: huanxin.ScopesOf(p.Kind)}
	}
	var lines iter.Seq2[core.EventLine, error] = func(yield func(core.EventLine, error) bool) {
		yield(core.EventLine{Line: 1, Event: huanxin.Event{ID: "1", Number: number, Kind: huanxin.Activated, At: started,
			Origin: huanxin.ActivatedReassigned}}, nil)
	}
	r, err := w.ReportEvents(ctx, as("cmcc"), lines, time.Time{})
	if err != nil || r.Accepted != 1 {
		t.Fatal(r, err)
	}
	_, err = w.CreateRequest(ctx, as("cmcc"), core.NewRequest{Apps: []string{"chat"}, Ask: huanxin.Ask{Number: number, StartedAt: started,
		Origin: huanxin.OriginReassigned, Kinds: []huanxin.TaskKind{huanxin.Unbind},
		Proof: huanxin.Proof{Control: huanxin.ControlSMS, Identity: huanxin.IdentityCRM, VerifiedAt: time.Now()}}})
	must(t, err)
	tasks, err := w.Tasks(ctx, as("chat"), 0, "", 10)
	if err != nil || len(tasks) != 1 {
		t.Fatal(tasks, err)
	}
	want := tasks[0]
	id, ok := w.keys.ParseID(seal.TaskID, want.ID)
	cause, ok2 := w.keys.ParseID(seal.TenureID, want.TenureID)
	if !ok || !ok2 {
		t.Fatal("ids do not parse")
	}
	got := w.FeedTask(&core.FeedEntry{Type: huanxin.UnbindRequested, App: w.app, Number: number, Cause: huanxin.EventNo(cause), StartedAt: want.StartedAt,
		Task: core.FeedTask{ID: huanxin.TaskID(id), Kind: want.Kind, Origin: want.Origin, DueAt: want.DueAt}})
	want.State = huanxin.TaskQueued
	if got != want {
		t.Errorf("%+v is not %+v", got, want)
	}
}

func TestASETIsSignedWithTheKeyInUse(t *testing.T) {
	w := newWorld(t)
	must(t, w.RotateSigningKey(t.Context(), core.Operator()))
	keys, err := w.SigningKeys(t.Context())
	must(t, err)
	must(t, w.ring.Replace(keys))
	now, e := time.Now(), w.entries()["recycled"]
	for _, alg := range auth.HubAlgs {
		s := w.stream(5, alg)
		at := func(d time.Duration) []byte {
			_, set, err := w.Write(now.Add(d), s, e)
			must(t, err)
			return set
		}
		before, after := at(0), at(2*time.Hour)
		if bytes.Equal(before, after) || !bytes.Equal(before, at(time.Minute)) || !bytes.Equal(after, at(300*24*time.Hour)) {
			t.Errorf("%s: the key does not change, or changes twice", alg)
		}
		if old, fresh := w.verified(alg, before, now.Add(30*24*time.Hour)), w.verified(alg, after, now); old != fresh {
			t.Errorf("%s: what it says changes with the key: %s, %s", alg, old, fresh)
		}
	}
}

func TestAWriterGetsReadyForAnAlgorithmThatWasAskedForElsewhere(t *testing.T) {
	w := newWorld(t)
	keys, err := w.SigningKeys(t.Context())
	must(t, err)
	must(t, w.ring.Replace(keys[:1]))
	now, s, e := time.Now(), w.stream(5, "EdDSA"), w.entries()["recycled"]
	if _, _, err := w.Write(now, s, e); huanxin.KindOf(err) != huanxin.Unavailable {
		t.Errorf("without a key: %v", err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := w.Ready(t.Context(), now, s); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	_, set, err := w.Write(now, s, e)
	must(t, err)
	w.verified("EdDSA", set, now)
	s.Alg = "PS256"
	if err := w.Ready(t.Context(), now, s); huanxin.KindOf(err) != huanxin.Unavailable {
		t.Errorf("for an algorithm that the hub does not have: %v", err)
	}
}

func TestAnEntryThatCannotBeWrittenIsAnError(t *testing.T) {
	w := newWorld(t)
	for what, e := range map[string]*core.FeedEntry{"no type": {}, "an unknown type": {Type: 99},
		"a task of an app that is nowhere": {Type: huanxin.UnbindRequested, App: 999, Number: huanxin.NumberOf(8610000000017)}} {
		if _, set, err := w.Write(time.Now(), w.stream(5, "ES256"), e); err == nil {
			t.Errorf("%s: %s", what, set)
		}
	}
}

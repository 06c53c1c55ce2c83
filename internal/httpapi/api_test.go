package httpapi_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/hubtest"
	"github.com/huanxin-platform/huanxin/internal/auth"
)

type tokenAnswer struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int    `json:"expires_in"`
	Scope       string `json:"scope"`
}

func TestATokenIsGivenForASecretAndForASignedAssertion(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		w.Carrier("cmcc")
		var got tokenAnswer
		a := w.do(call{method: "POST", path: "/oauth2/token", body: "grant_type=client_credentials&scope=requests.read",
			header: map[string]string{"Content-Type": "application/x-www-form-urlencoded", "Authorization": w.basic("cmcc")}})
		a.into(t, &got)
		if a.status != 200 || got.TokenType != "Bearer" || got.ExpiresIn <= 0 || got.ExpiresIn > 900 || got.Scope != "requests.read" {
			t.Errorf("by secret: %d %+v", a.status, got)
		}

		key := auth.NewSigningKey(time.Now())
		jwk := jose.JSONWebKey{Key: key.Private.Public(), KeyID: key.KID, Algorithm: key.Alg, Use: "sig"}
		set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{jwk}})
		must(t, err)
		w.AddClient("cmcc-key", "cmcc", set, huanxin.ScopeNumbersReport)
		c := client.New(client.Options{URL: w.URL, HTTP: &http.Client{Transport: &checker{w}},
			Assert: func(audience string, now time.Time) (string, error) {
				return auth.Assertion(key, "cmcc-key", audience, now)
			}})
		_, err = c.ReportEvents(t.Context(), nil, time.Time{})
		refused(t, "a report with a token by assertion", err, "")
		_, err = c.Request(t.Context(), "req_x", "en")
		refused(t, "what the registry does not allow that client", err, "insufficient_scope")
	})
}

// basic is HTTP Basic as RFC 6749 §2.3.1 wants it.
func (w *world) basic(party string) string {
	c := w.Credentials(party)
	r, _ := http.NewRequest("GET", "/", nil)
	r.SetBasicAuth(url.QueryEscape(c.ID), url.QueryEscape(c.Secret))
	return r.Header.Get("Authorization")
}

func TestTheHubSaysWhereItsEndpointsAndKeysAre(t *testing.T) {
	w := startWorld(t)
	var meta struct {
		Issuer        string `json:"issuer"`
		TokenEndpoint string `json:"token_endpoint"`
		JWKSURI       string `json:"jwks_uri"`
	}
	a := w.do(call{method: "GET", path: "/.well-known/oauth-authorization-server"})
	a.into(t, &meta)
	if meta.Issuer != w.URL || meta.TokenEndpoint != w.URL+"/oauth2/token" || meta.JWKSURI != w.URL+"/jwks.json" {
		t.Errorf("metadata: %+v", meta)
	}
	var set struct{ Keys []map[string]any }
	a = w.do(call{method: "GET", path: "/jwks.json"})
	a.into(t, &set)
	for _, k := range set.Keys {
		if k["kid"] == "" || k["alg"] != "ES256" || k["use"] != "sig" || k["d"] != nil {
			t.Errorf("key: %v", k)
		}
	}
	equal(t, "keys", len(set.Keys), 1)
}

func compressed(t *testing.T, how, text string) string {
	t.Helper()
	var b bytes.Buffer
	var z io.WriteCloser
	switch how {
	case "gzip":
		z = gzip.NewWriter(&b)
	case "zstd":
		enc, err := zstd.NewWriter(&b)
		must(t, err)
		z = enc
	}
	_, err := io.WriteString(z, text)
	must(t, err)
	must(t, z.Close())
	return b.String()
}

type receipt struct {
	Receipt       string     `json:"receipt"`
	Accepted      int64      `json:"accepted"`
	Duplicates    int64      `json:"duplicates"`
	Rejected      []rejected `json:"rejected"`
	RejectedTotal int64      `json:"rejected_total"`
	CompleteUntil string     `json:"complete_until"`
}

type rejected struct {
	Line             int64
	ID, Code, Detail string
}

func (w *world) report(contentType, encoding, query, body string) receipt {
	w.t.Helper()
	a := w.do(call{method: "POST", path: "/v1/number-events" + query, as: "cmcc", body: body,
		header: map[string]string{"Content-Type": contentType, "Content-Encoding": encoding}})
	if a.status != 200 {
		w.t.Fatalf("status %d: %s", a.status, a.body)
	}
	var r receipt
	a.into(w.t, &r)
	return r
}

func TestEventsComeAsNDJSONAndCSVPlainAndCompressed(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		w.Carrier("cmcc")
		nd := `{"id":"a-1","number":"+8613800010001","kind":"activated","at":"2024-03-01T08:00:00+08:00","origin":"first"}` + "\n" +
			"\r\n" + // a blank line is a line
			`{"id":"a-2","number":"+8613800010001","kind":"suspended","at":"2024-03-02T00:00:00Z"}` + "\r\n" +
			`{"id":"a-3","number":"+8613800010001","kind":"suspended","at":"2024-03-03T00:00:00Z"}` // does not fit, and has no line end
		r := w.report("application/x-ndjson", "", "", nd)
		if r.Accepted != 2 || r.RejectedTotal != 1 || len(r.Rejected) != 1 || r.Rejected[0].Line != 4 || r.Rejected[0].ID != "a-3" ||
			r.Rejected[0].Code != "out_of_order" || !strings.HasPrefix(r.Receipt, "rcp_") {
			t.Errorf("NDJSON: %+v", r)
		}

		csv := "\ufeff" + "kind,\"id\",at,number,origin,corrects\r\n" +
			"activated,b-1,2024-03-01T08:00:00+08:00,+8613800010002,first,\r\n" +
			"\"suspended\",\"b-2\",2024-03-02T00:00:00Z,\"+8613800010002\",,\r\n" +
			"corrected,b-3,2024-03-02T00:00:00Z,+8613800010002,,b-2\r\n" +
			"resumed,b-4,2024-03-03T00:00:00Z,+8613800010002,,\r\n"
		r = w.report("text/csv; charset=UTF-8", "", "", csv)
		if r.Accepted != 3 || len(r.Rejected) != 1 || r.Rejected[0].Line != 5 || r.Rejected[0].Code != "out_of_order" {
			t.Errorf("CSV: %+v", r)
		}
		for _, how := range []string{"gzip", "zstd"} {
			r = w.report("text/csv", how, "", compressed(t, how, csv))
			if r.Accepted != 0 || r.Duplicates != 3 || r.RejectedTotal != 1 {
				t.Errorf("the same once more in %s: %+v", how, r)
			}
		}
		r = w.report("application/x-ndjson", "gzip", "", compressed(t, "gzip", nd))
		if r.Accepted != 0 || r.Duplicates != 2 || r.RejectedTotal != 1 {
			t.Errorf("the same NDJSON once more: %+v", r)
		}
	})
}

func TestACarrierSaysUntilWhenItHasToldEverything(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		w.Carrier("cmcc")
		report := func(query, body string) string {
			t.Helper()
			return w.report("application/x-ndjson", "", query, body).CompleteUntil
		}
		equal(t, "never said", report("", ""), "")
		equal(t, "with an empty report", report("?complete_until=2026-03-01T08:00:00%2B08:00", ""), "2026-03-01T08:00:00+08:00")
		equal(t, "a later report that does not say", report("", ""), "2026-03-01T08:00:00+08:00")
		equal(t, "it never goes back", report("?complete_until=2026-02-01T00:00:00Z", ""), "2026-03-01T08:00:00+08:00")
		equal(t, "with a refused line", report("?complete_until=2026-03-02T00:00:00Z", "{\n"), "2026-03-01T08:00:00+08:00")
		iot := `{"id":"i","number":"+861440012345678","kind":"suspended","at":"2024-03-02T00:00:00Z"}`
		equal(t, "with a line of a kind that is not served", report("?complete_until=2026-03-03T00:00:00Z", iot), "2026-03-03T08:00:00+08:00")
	})
}

func TestARequestGoesToNamedAppsOrToAllAndComesBack(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		w.Carrier("cmcc")
		w.App("chat", hubtest.Class("messaging"))
		w.App("shop", hubtest.Kinds(huanxin.Unbind, huanxin.StopContact))
		w.App("calls", hubtest.Kinds(huanxin.StopContact))
		started := w.recycled("cmcc", "+8613800020001")

		a := w.do(call{method: "POST", path: "/v1/requests", as: "cmcc", header: jsonType, body: w.requestBody("+8613800020001", started, `"all"`)})
		equal(t, "status", a.status, 201)
		var made client.CreatedRequest
		a.into(t, &made)
		if made.State != "SUBMITTED" || !strings.HasPrefix(made.ID, "req_") || len(made.Tasks) != 2 || made.DueAt.Before(w.now) {
			t.Fatalf("all apps that unbind: %+v", made)
		}

		tasks := w.tasksOf("shop")
		equal(t, "the shop's tasks", len(tasks), 1)
		task := tasks[0]
		if task.Number != "+8613800020001" || !task.Tenure.StartedAt.Equal(started) || task.Tenure.Origin != "reassigned" ||
			task.Tenure.ID != made.TenureID || task.Kind != "unbind" || task.State != "delivered" || len(task.Digest) != 64 {
			t.Errorf("as the shop sees it: %+v", task)
		}
		equal(t, "tasks of an app that was not asked", len(w.tasksOf("calls")), 0)

		taken, err := w.as("shop").Answer(t.Context(), client.AnswerTo(task, "unbound", "removed"))
		must(t, err)
		equal(t, "the answered task", taken.State, "answered")
		taken, err = w.as("shop").Answer(t.Context(), client.AnswerTo(task, "unbound", "removed"))
		refused(t, "the answer once more", err, "")
		equal(t, "state", taken.State, "answered")
		_, err = w.as("shop").Answer(t.Context(), client.AnswerTo(task, "kept", "legal_hold"))
		refused(t, "another final answer", err, "already_final")
		equal(t, "open tasks after it", len(w.tasksOf("shop")), 0)
		if again, err := w.as("shop").Task(t.Context(), task.ID); err != nil || again.State != "answered" || again.Digest != task.Digest {
			t.Errorf("an answered task is still read: %+v %v", again, err)
		}
		if all, err := w.as("shop").TasksByID(t.Context(), []string{"task_x", task.ID}); err != nil || len(all) != 1 || all[0].State != "answered" || all[0].ID != task.ID {
			t.Errorf("read again with another: %+v %v", all, err)
		}

		// Nothing shows before its release time, and a second request is refused by what shows.
		if state, view, _ := w.viewOf("cmcc", made.ID, "shop"); state != "SUBMITTED" || view != "processing" {
			t.Errorf("before the release: %s %s", state, view)
		}
		_, err = w.as("cmcc").CreateRequest(t.Context(), w.request("+8613800020001", started, "shop"))
		refused(t, "a second request on the same day", err, "ineligible too_many")

		// Batch of answers: good, repeated, foreign, nonsense.
		chat := w.tasksOf("chat")[0]
		r, err := w.as("chat").Answers(t.Context(), []client.Answer{
			client.AnswerTo(chat, "in_review", "assets_held"), client.AnswerTo(chat, "kept", "same_person"),
			client.AnswerTo(chat, "kept", "same_person"), client.AnswerTo(task, "unbound", "removed"), client.AnswerTo(chat, "kept", "removed")})
		must(t, err)
		if r.Accepted != 2 || r.Duplicates != 1 || r.RejectedTotal != 2 || r.Rejected[0].Code != "not_found" || r.Rejected[0].Line != 4 || r.Rejected[1].Code != "unknown_reason" {
			t.Errorf("a batch: %+v", r)
		}

		// The number finds the request, for its carrier alone.
		w.Carrier("unicom")
		equal(t, "found by the carrier", len(w.find("cmcc", "+8613800020001")), 1)
		equal(t, "found by another", len(w.find("unicom", "+8613800020001")), 0)
		_, err = w.as("unicom").Request(t.Context(), made.ID, "en")
		refused(t, "another carrier reads it", err, "not_found")
	})
}

var jsonType = map[string]string{"Content-Type": "application/json"}

// requestBody writes a request; apps is JSON.
func (w *world) requestBody(number string, started time.Time, apps string) string {
	return `{"number":"` + number + `","tenure":{"started_at":"` + stamp(started) + `","origin":"reassigned"},"apps":` + apps +
		`,"kinds":["unbind"],"proof":{"control":"sms_otp","identity":"carrier_crm","verified_at":"` + stamp(w.now) + `"}}`
}

func (w *world) find(carrier, number string) []client.Request {
	w.t.Helper()
	a := w.do(call{method: "POST", path: "/v1/requests/find", as: carrier, header: jsonType, body: `{"number":"` + number + `"}`})
	equal(w.t, "status of find", a.status, 200)
	var out struct{ Requests []client.Request }
	a.into(w.t, &out)
	if out.Requests == nil {
		w.t.Error("no list")
	}
	return out.Requests
}

// TestNothingShowsBeforeItsReleaseTime plays rule 4 in a world in which a day lasts 4.3 seconds.
func TestNothingShowsBeforeItsReleaseTime(t *testing.T) {
	const speed = 20_000
	onBothEngines(t, func(t *testing.T, w *world) {
		d := huanxin.DefaultDurations()
		d.Speed = speed
		w.Carrier("cmcc")
		w.App("shop")
		w.App("bank", hubtest.Class("payment"))
		started := w.recycled("cmcc", "+8613800030001")
		before := time.Now()
		made := w.ask("cmcc", "+8613800030001", started, "shop", "bank")
		after := time.Now()
		for _, app := range []string{"shop", "bank"} {
			_, err := w.as(app).Answer(t.Context(), client.AnswerTo(w.taskFor(made, app), "unbound", "removed"))
			must(t, err)
		}
		for _, app := range []huanxin.Party{{ID: "shop"}, {ID: "bank", Class: "payment"}} {
			earliest, latest := d.ReleaseAt(before, d.ReleaseDelayOf(&app)), d.ReleaseAt(after, d.ReleaseDelayOf(&app))
			for hidden := 0; ; time.Sleep(20 * time.Millisecond) {
				asked := time.Now()
				state, view, text := w.viewOf("cmcc", made.ID, app.ID)
				answered := time.Now()
				if view == "processing" && answered.Before(latest.Add(time.Second)) {
					hidden++
					if asked.After(latest) {
						t.Errorf("%s: still hidden %v after the release", app.ID, asked.Sub(latest))
					}
					continue
				}
				equal(t, app.ID, view, "clean")
				equal(t, "text", text, huanxin.ViewClean.Text(true))
				if answered.Before(earliest) || hidden == 0 {
					t.Errorf("%s: shown %v before its release, after %d looks", app.ID, earliest.Sub(answered), hidden)
				}
				want := map[string]string{"shop": "IN_PROGRESS", "bank": "SETTLED"}[app.ID]
				equal(t, "the request's state once "+app.ID+" shows", state, want)
				break
			}
		}
	}, hubtest.Speed(speed))
}

func TestTextsAreChineseOrEnglishByAcceptLanguage(t *testing.T) {
	w := startWorld(t)
	w.Carrier("cmcc")
	w.App("shop")
	made := w.ask("cmcc", "+8613800040001", w.recycled("cmcc", "+8613800040001"), "shop")
	for header, english := range map[string]bool{"": false, "en": true, "en-GB,zh;q=0.5": true, "zh-CN, en;q=0.9": false,
		"fr, en;q=0.1": true, "fr": false, "*": false, "en;q=0, zh": false, "en;q=nonsense": false, "EN-us": true} {
		a := w.do(call{method: "GET", path: "/v1/requests/" + made.ID, as: "cmcc", header: map[string]string{"Accept-Language": header}})
		var got client.Request
		a.into(t, &got)
		equal(t, header, got.Tasks[0].Text, huanxin.ViewProcessing.Text(english))
	}
}

func TestARequestIsTakenBackAndAnAnswerToItHasNoEffect(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		w.Carrier("cmcc")
		w.App("shop")
		w.App("bank", hubtest.Class("payment"))
		made := w.ask("cmcc", "+8613800050001", w.recycled("cmcc", "+8613800050001"), "shop", "bank")
		shop, bank := w.taskFor(made, "shop"), w.taskFor(made, "bank")
		_, err := w.as("shop").Answer(t.Context(), client.AnswerTo(shop, "unbound", "removed"))
		must(t, err)
		for range 2 { // again is harmless
			got, err := w.as("cmcc").CancelRequest(t.Context(), made.ID)
			must(t, err)
			equal(t, "state", got.State, "CANCELLED")
			for _, task := range got.Tasks {
				equal(t, task.App, task.View, "cancelled") // what was answered and not shown is never shown
			}
		}
		_, err = w.as("bank").Answer(t.Context(), client.AnswerTo(bank, "unbound", "removed"))
		refused(t, "an answer to a cancelled task", err, "no_effect")
		_, err = w.as("cmcc").AskAgain(t.Context(), made.ID, bank.ID, "")
		refused(t, "asking again", err, "request_ended")
	})
}

func TestAnEndedTenureAbortsItsRequests(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		w.Carrier("cmcc")
		w.App("shop")
		made := w.ask("cmcc", "+8613800051001", w.recycled("cmcc", "+8613800051001"), "shop")
		task := w.taskFor(made, "shop")
		_, err := w.as("cmcc").ReportEvents(t.Context(), []client.Event{{ID: "t", Number: "+8613800051001", Kind: "transferred", At: w.ago(1)}}, time.Time{})
		must(t, err)
		if state, view, _ := w.viewOf("cmcc", made.ID, "shop"); state != "ABORTED" || view != "cancelled" {
			t.Errorf("the request: %s %s", state, view)
		}
		equal(t, "open tasks", len(w.tasksOf("shop")), 0)
		_, err = w.as("shop").Answer(t.Context(), client.AnswerTo(task, "unbound", "removed"))
		refused(t, "an answer of an ended tenure", err, "no_effect")
		_, err = w.as("cmcc").CancelRequest(t.Context(), made.ID)
		refused(t, "taking it back", err, "request_ended")
		ask := w.request("+8613800051001", w.ago(1))
		ask.Origin, ask.Apps = "transferred", nil
		_, err = w.as("cmcc").CreateRequest(t.Context(), ask)
		refused(t, "all apps for a tenure by transfer", err, "ineligible choose_apps")
		ask.Apps = []string{"shop"}
		_, err = w.as("cmcc").CreateRequest(t.Context(), ask)
		refused(t, "apps one by one", err, "")
	})
}

func TestAnAppIsAskedAgainAfterAReleasedView(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		w.Carrier("cmcc")
		w.App("shop", hubtest.Domains("shop.example"))
		made := w.ask("cmcc", "+8613800060001", w.recycled("cmcc", "+8613800060001"), "shop")
		task := w.taskFor(made, "shop")
		_, err := w.as("cmcc").AskAgain(t.Context(), made.ID, task.ID, "")
		refused(t, "before anything is released", err, "not_released")
		a := client.AnswerTo(task, "action_required", "confirm_own_account")
		a.Link = "https://help.shop.example/confirm"
		_, err = w.as("shop").Answer(t.Context(), a)
		must(t, err)
		eventually(t, "the holder sees what to do", 20*time.Second, func() bool {
			_, view, _ := w.viewOf("cmcc", made.ID, "shop")
			return view == "action_required"
		})
		r, err := w.as("cmcc").Request(t.Context(), made.ID, "zh-CN")
		must(t, err)
		equal(t, "link", r.Tasks[0].Link, a.Link)
		again, err := w.as("cmcc").AskAgain(t.Context(), made.ID, task.ID, "again-1")
		must(t, err)
		equal(t, "the same task, for it is open", again.ID, task.ID)
		equal(t, "back in the queue", len(w.tasksOf("shop")), 1)
		twice, err := w.as("cmcc").AskAgain(t.Context(), made.ID, task.ID, "again-1")
		must(t, err)
		equal(t, "the same key once more", twice, again)
	}, hubtest.Speed(40_000))
}

func TestReadingMovesToTheCarrierThatTheNumberWasPortedTo(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		w.Carrier("cmcc")
		w.Carrier("unicom")
		w.App("shop")
		made := w.ask("cmcc", "+8613800070001", w.recycled("cmcc", "+8613800070001"), "shop")
		_, err := w.as("unicom").ReportEvents(t.Context(), []client.Event{{ID: "p", Number: "+8613800070001", Kind: "ported", At: w.ago(0.1)}}, time.Time{})
		must(t, err)
		_, err = w.as("cmcc").Request(t.Context(), made.ID, "en")
		refused(t, "the old carrier reads", err, "not_found")
		_, err = w.as("cmcc").CancelRequest(t.Context(), made.ID)
		refused(t, "the old carrier cancels", err, "not_found")
		equal(t, "the old carrier finds", len(w.find("cmcc", "+8613800070001")), 0)
		equal(t, "the new carrier finds", len(w.find("unicom", "+8613800070001")), 1)
		_, err = w.as("unicom").Request(t.Context(), made.ID, "en")
		refused(t, "the new carrier reads", err, "")
		if task := w.taskFor(made, "shop"); task.Tenure.ID != made.TenureID || task.State != "delivered" {
			t.Errorf("porting changes nothing for the app: %+v", task)
		}
		_, err = w.as("cmcc").ReportEvents(t.Context(), []client.Event{{ID: "s", Number: "+8613800070001", Kind: "suspended", At: w.ago(0.01)}}, time.Time{})
		must(t, err)
	})
}

func TestTheSameIdempotencyKeyGivesTheFirstAnswer(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		w.Carrier("cmcc")
		w.Carrier("unicom")
		w.App("shop")
		w.App("bank", hubtest.Class("payment"))
		started := w.recycled("cmcc", "+8613800080001")
		ask := func(as, key, body string) answer {
			t.Helper()
			return w.do(call{method: "POST", path: "/v1/requests", as: as, body: body,
				header: map[string]string{"Content-Type": "application/json", "Idempotency-Key": key}})
		}
		body := w.requestBody("+8613800080001", started, `["shop"]`)
		first := ask("cmcc", "k-1", body)
		equal(t, "first", first.status, 201)
		if again := ask("cmcc", "k-1", body); again.status != 201 || !bytes.Equal(again.body, first.body) {
			t.Errorf("the same again: %d %s, first %s", again.status, again.body, first.body)
		}
		other := ask("cmcc", "k-1", w.requestBody("+8613800080001", started, `["bank"]`))
		equal(t, "another body", other.Code, "idempotency_conflict")
		equal(t, "another key, so the rules speak", ask("cmcc", "k-2", body).Reason, "too_many")
		equal(t, "a refusal is remembered", ask("cmcc", "k-2", body).Reason, "too_many")
		equal(t, "another client's key is its own", ask("unicom", "k-1", body).Code, "ineligible")

		// Many at once make one request.
		started = w.recycled("cmcc", "+8613800080002")
		body = w.requestBody("+8613800080002", started, `["shop"]`)
		var wg sync.WaitGroup
		answers := make([]answer, 8)
		w.token("cmcc")
		for i := range answers {
			wg.Go(func() { answers[i] = ask("cmcc", "k-3", body) })
		}
		wg.Wait()
		ids := map[string]bool{}
		for _, a := range answers {
			if a.status != 201 && a.Code != "in_flight" {
				t.Errorf("at once: %d %s", a.status, a.body)
			}
			var made client.CreatedRequest
			if a.status == 201 {
				a.into(t, &made)
				ids[made.ID] = true
			}
		}
		equal(t, "requests made", len(ids), 1)
		equal(t, "requests found", len(w.find("cmcc", "+8613800080002")), 1)
	})
}

// TestEveryStepOfTheClockIsListedAndSentSigned lets five working days pass in less than a second.
func TestEveryStepOfTheClockIsListedAndSentSigned(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		hooks := receiveHooks(t)
		w.Carrier("cmcc")
		w.App("late", hubtest.Webhook(hooks.URL+"/late"))
		w.App("other")
		w.Regulator(hubtest.Webhook(hooks.URL + "/regulator"))
		made := w.ask("cmcc", "+8613800090001", w.recycled("cmcc", "+8613800090001"), "late")
		var steps []client.Escalation
		eventually(t, "the task expires and all was sent", 30*time.Second, func() bool {
			var err error
			steps, _, err = w.as("late").Escalations(t.Context(), "", 100)
			must(t, err)
			n := len(steps)
			return n > 0 && steps[n-1].Step == "expired" && steps[n-1].SentAt != nil
		})
		var words []string
		for _, s := range steps {
			words = append(words, s.Step)
			if s.Task != made.Tasks[0].ID || s.App != "late" || s.At.Before(s.DueAt) {
				t.Errorf("step: %+v", s)
			}
		}
		equal(t, "steps", strings.Join(words, " "), "delivery warning overdue escalated_company escalated_regulator expired")
		page, after, err := w.as("late").Escalations(t.Context(), "", 4)
		must(t, err)
		rest, _, err := w.as("late").Escalations(t.Context(), after, 4)
		must(t, err)
		equal(t, "in two pages", len(page)+len(rest), 6)
		theirs, _, err := w.as("other").Escalations(t.Context(), "", 100)
		must(t, err)
		equal(t, "another app's", len(theirs), 0)
		all, _, err := w.as("regulator").Escalations(t.Context(), "", 100)
		must(t, err)
		equal(t, "the regulator's", len(all), 6)
		eventually(t, "the regulator is told", 20*time.Second, func() bool { return hooks.count("/regulator", "expired") == 1 })
		for _, step := range words {
			equal(t, "the company is told of "+step, hooks.count("/late", step), 1)
		}
		equal(t, "the regulator hears of a warning", hooks.count("/regulator", "warning"), 0)
		hooks.verify(t, w)

		// An answer after expiry is recorded and marked late.
		task := w.taskFor(made, "late")
		equal(t, "state", task.State, "expired")
		taken, err := w.as("late").Answer(t.Context(), client.AnswerTo(task, "not_bound", "none_found"))
		must(t, err)
		equal(t, "late", taken.Late, true)
	}, hubtest.Speed(800_000))
}

// hooks is a contact's webhook. It keeps what it was sent.
type hooks struct {
	*httptest.Server
	mu   sync.Mutex
	sent map[string][]string // path → bodies
}

func receiveHooks(t *testing.T) *hooks {
	h := &hooks{sent: map[string][]string{}}
	h.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.sent[r.URL.Path] = append(h.sent[r.URL.Path], string(body))
	}))
	t.Cleanup(h.Close)
	return h
}

type hookClaims struct {
	Iss, Aud, Jti, Type string
	Steps               []struct{ Step, App, Task string }
}

// count says how often a step was told at a path.
func (h *hooks) count(path, step string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, body := range h.sent[path] {
		var c hookClaims
		jws, err := jose.ParseSignedCompact(body, []jose.SignatureAlgorithm{jose.ES256})
		if err == nil {
			_ = json.Unmarshal(jws.UnsafePayloadWithoutVerification(), &c)
		}
		for _, s := range c.Steps {
			if s.Step == step {
				n++
			}
		}
	}
	return n
}

// verify checks every message's signature by the hub's published keys, and that none holds a number.
func (h *hooks) verify(t *testing.T, w *world) {
	t.Helper()
	var set jose.JSONWebKeySet
	a := w.do(call{method: "GET", path: "/jwks.json"})
	a.into(t, &set)
	h.mu.Lock()
	defer h.mu.Unlock()
	for path, bodies := range h.sent {
		for _, body := range bodies {
			jws, err := jose.ParseSignedCompact(body, []jose.SignatureAlgorithm{jose.ES256})
			must(t, err)
			payload, err := jws.Verify(set)
			must(t, err)
			var c hookClaims
			must(t, json.Unmarshal(payload, &c))
			if c.Iss != w.URL || c.Aud != h.URL+path || !strings.HasPrefix(c.Jti, "msg_") || c.Type != "clock" ||
				jws.Signatures[0].Header.ExtraHeaders["typ"] != "huanxin-webhook+jwt" {
				t.Errorf("message: %+v", c)
			}
			if bytes.Contains(payload, []byte("138000")) {
				t.Errorf("a message holds a number: %s", payload)
			}
		}
	}
}

func TestADisabledClientsTokenStopsWithinFiveSeconds(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		w.App("shop")
		self := call{method: "GET", path: "/v1/apps/self", as: "shop"}
		a := w.do(self)
		equal(t, "before", a.status, 200)
		w.Disable("shop", true)
		began := time.Now()
		eventually(t, "the token stops", 5*time.Second, func() bool { a = w.do(self); return a.status == 401 })
		equal(t, "code", a.Code, "invalid_token")
		t.Logf("stopped after %v", time.Since(began))
		token := w.do(call{method: "POST", path: "/oauth2/token", body: "grant_type=client_credentials",
			header: map[string]string{"Content-Type": "application/x-www-form-urlencoded", "Authorization": w.basic("shop")}})
		equal(t, "no new token", token.status, 401)
		w.Disable("shop", false)
		equal(t, "switched on again", w.do(self).status, 200)
	})
}

func TestAnAppSeesItself(t *testing.T) {
	w := startWorld(t)
	w.App("bank", hubtest.Class("payment"), hubtest.Domains("bank.example"), hubtest.Kinds(huanxin.Unbind, huanxin.ClearLabel))
	a := w.do(call{method: "GET", path: "/v1/apps/self", as: "bank"})
	var got struct {
		ID           string
		HighValue    bool     `json:"high_value"`
		ReleaseAfter int64    `json:"release_after"`
		Kinds        []string `json:"kinds"`
		Domains      []string `json:"domains"`
	}
	a.into(t, &got)
	if got.ID != "bank" || !got.HighValue || got.ReleaseAfter != 30*3600 || strings.Join(got.Kinds, " ") != "unbind clear_label" || got.Domains[0] != "bank.example" {
		t.Errorf("self: %s", a.body)
	}
}

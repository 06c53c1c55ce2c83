package httpapi_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/internal/auth"
)

// signing is a client that signs.
type signing struct {
	w   *world
	id  string
	key auth.SigningKey
	*client.Client
}

// signingClient gives an app one more client, with a key of an algorithm.
func (w *world) signingClient(id, app, alg string, scopes ...huanxin.Scope) *signing {
	w.t.Helper()
	key, err := auth.NewSigningKeyOf(alg, w.now)
	must(w.t, err)
	set, err := auth.PublicJWKS(key)
	must(w.t, err)
	w.AddClient(id, app, set, scopes...)
	s := &signing{w: w, id: id, key: key}
	s.Client = client.New(client.Options{URL: w.URL, HTTP: &http.Client{Transport: &checker{w}},
		Assert: func(audience string, now time.Time) (string, error) { return auth.Assertion(key, id, audience, now) }})
	return s
}

type claims map[string]any

// with gives other claims, in pairs; nil takes one away.
func (c claims) with(pairs ...any) claims {
	out := maps.Clone(c)
	for i := 0; i < len(pairs); i += 2 {
		if out[pairs[i].(string)] = pairs[i+1]; pairs[i+1] == nil {
			delete(out, pairs[i].(string))
		}
	}
	return out
}

const unbindResult = "urn:huanxin:event:unbind-result"

// answers gives the claims of an answer to a task.
func (s *signing) answers(task client.Task, outcome, reason string) claims {
	return claims{"iss": s.id, "aud": s.w.URL, "jti": "j-1", "iat": time.Now().Unix(), "sub_id": claims{"format": "opaque", "id": task.ID},
		"events": claims{unbindResult: event(task, outcome, reason)}}
}

func event(task client.Task, outcome, reason string) claims {
	return claims{"task_id": task.ID, "outcome": outcome, "reason": reason, "tenure_id": task.Tenure.ID, "digest": task.Digest}
}

func (s *signing) sign(c claims) string {
	s.w.t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(s.key.Alg),
		Key: jose.JSONWebKey{Key: s.key.Private, KeyID: s.key.KID}}, (&jose.SignerOptions{}).WithType("secevent+jwt"))
	must(s.w.t, err)
	text, err := json.Marshal(c)
	must(s.w.t, err)
	jws, err := signer.Sign(text)
	must(s.w.t, err)
	out, err := jws.CompactSerialize()
	must(s.w.t, err)
	return out
}

// post sends a body to /ssf/events with the client's token, and checks what every answer there has.
func (s *signing) post(body string, header ...string) (status int, code, description string) {
	s.w.t.Helper()
	token, err := s.Token(s.w.t.Context())
	must(s.w.t, err)
	c := call{method: "POST", path: "/ssf/events", body: body,
		header: map[string]string{"Authorization": "Bearer " + token, "Content-Type": "application/secevent+jwt", "Accept": "application/json"}}
	for i := 0; i < len(header); i += 2 {
		c.header[header[i]] = header[i+1]
	}
	return s.w.setAnswer(s.w.do(c))
}

func (w *world) setAnswer(a answer) (status int, code, description string) {
	w.t.Helper()
	if a.status == http.StatusAccepted {
		if len(a.body) != 0 {
			w.t.Errorf("202 with a body: %s", a.body)
		}
		return a.status, "", ""
	}
	var got struct{ Err, Description string }
	a.into(w.t, &got)
	if a.header.Get("Content-Type") != "application/json" || a.header.Get("Content-Language") != "en" || got.Err == "" || got.Description == "" ||
		strings.Contains(string(a.body), "38001") {
		w.t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
	return a.status, got.Err, got.Description
}

func TestATaskIsAnsweredWithASETOfTheApp(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		w.Carrier("cmcc")
		w.App("shop")
		db := w.open()
		kept := func() (tokens []string, answers int) {
			t.Helper()
			rows, err := db.Query("SELECT token FROM answer_sets ORDER BY task, n")
			must(t, err)
			defer rows.Close()
			for rows.Next() {
				var token string
				must(t, rows.Scan(&token))
				tokens = append(tokens, token)
			}
			must(t, rows.Err())
			must(t, db.QueryRow("SELECT COUNT(*) FROM answers").Scan(&answers))
			return tokens, answers
		}
		for i, alg := range auth.HubAlgs {
			number := []string{"+8613800100011", "+8613800100012", "+8613800100013"}[i]
			task := w.taskFor(w.ask("cmcc", number, w.recycled("cmcc", number), "shop"), "shop")
			s := w.signingClient("shop-"+strings.ToLower(alg), "shop", alg)
			review, final := s.sign(s.answers(task, "in_review", "assets_held")), s.sign(s.answers(task, "unbound", "removed"))
			for _, set := range []string{review, review, final, final, s.sign(s.answers(task, "unbound", "removed").with("jti", "j-2"))} {
				if status, code, why := s.post(set); status != 202 {
					t.Errorf("%s: %d %s %s", alg, status, code, why)
				}
			}
			must(t, s.AnswerSET(t.Context(), final))
			if got, err := s.Task(t.Context(), task.ID); err != nil || got.State != "answered" {
				t.Errorf("%s: %+v, %v", alg, got, err)
			}
			tokens, answers := kept()
			if len(tokens) != 2*(i+1) || answers != 2*(i+1) || tokens[2*i] != review || tokens[2*i+1] != final {
				t.Errorf("%s: %d answers are recorded, with %d SETs", alg, answers, len(tokens))
			}
			if got, err := s.Answer(t.Context(), client.AnswerTo(task, "unbound", "removed")); err != nil || got.State != "answered" {
				t.Errorf("%s: the same by PUT: %+v, %v", alg, got, err)
			}
			if status, code, why := s.post(s.sign(s.answers(task, "kept", "legal_hold"))); status != 400 || code != "invalid_request" || !strings.HasPrefix(why, "already_final: ") {
				t.Errorf("%s: another answer: %d %s %s", alg, status, code, why)
			}
		}
	})
}

func TestASETThatIsNoGoodAnswerIsRefusedAndChangesNothing(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		st := setStage(t, w)
		s, other := w.signingClient("shop-key", "shop", "ES256"), w.signingClient("shop-two", "shop", "EdDSA")
		before := st.state()
		good := s.answers(st.shop, "unbound", "removed")
		of := func(change func(claims)) string {
			e := event(st.shop, "unbound", "removed")
			change(e)
			return s.sign(good.with("events", claims{unbindResult: e}))
		}
		set := func(pairs ...any) string { return of(func(e claims) { maps.Copy(e, e.with(pairs...)) }) }
		unset := func(name string) string { return of(func(e claims) { delete(e, name) }) }
		to := func(task client.Task, outcome, reason string) string { return s.sign(s.answers(task, outcome, reason)) }
		forged := *other
		forged.id, forged.key.KID, forged.key.Alg = s.id, s.key.KID, other.key.Alg
		evil, err := auth.NewSigningKeyOf("ES256", w.now)
		must(t, err)
		evil.KID = s.key.KID
		forged2 := signing{w: w, id: s.id, key: evil}
		for _, c := range []struct{ what, body, code, why string }{
			{"nothing", "", "invalid_request", ""},
			{"text", "+8613800100001", "invalid_request", ""},
			{"JSON", `{"task_id":"x"}`, "invalid_request", ""},
			{"a byte behind it", s.sign(good) + "\n", "invalid_request", ""},
			{"very long", s.sign(good.with("x", strings.Repeat("x", 64<<10))), "invalid_request", "body_too_large"},
			{"forged", forged2.sign(good), "authentication_failed", ""},
			{"forged with another algorithm", forged.sign(good), "invalid_key", ""},
			{"of another client", other.sign(other.answers(st.shop, "unbound", "removed")), "invalid_issuer", ""},
			{"of another client, in this one's name", other.sign(good), "invalid_key", ""},
			{"for another hub", s.sign(good.with("aud", "https://other.example.test")), "invalid_audience", ""},
			{"old", s.sign(good.with("iat", time.Now().Add(-73*time.Hour).Unix())), "invalid_request", ""},
			{"early", s.sign(good.with("iat", time.Now().Add(6*time.Minute).Unix())), "invalid_request", ""},
			{"with exp", s.sign(good.with("exp", time.Now().Add(time.Hour).Unix())), "invalid_request", ""},
			{"about a number", s.sign(good.with("sub_id", claims{"format": "phone_number", "phone_number": asked})), "invalid_request", ""},
			{"two events", s.sign(good.with("events", claims{unbindResult: event(st.shop, "unbound", "removed"), "urn:x": claims{}})), "invalid_request", ""},
			{"another event", s.sign(good.with("events", claims{"urn:huanxin:event:unbind-cancelled": event(st.shop, "unbound", "removed")})), "invalid_request", ""},
			{"another task in sub_id", s.sign(good.with("sub_id", claims{"format": "opaque", "id": st.final.ID})), "invalid_request", "invalid (not_allowed)"},
			{"another task in the event", set("task_id", st.final.ID), "invalid_request", "invalid (not_allowed)"},
			{"no task", unset("task_id"), "invalid_request", "required"},
			{"no outcome", unset("outcome"), "invalid_request", "required"},
			{"no digest", unset("digest"), "invalid_request", "required"},
			{"an outcome of another type", set("outcome", 1), "invalid_request", "wrong_type"},
			{"an unknown outcome", set("outcome", "other"), "invalid_request", "unknown_outcome"},
			{"a reason of another outcome", set("reason", "legal_hold"), "invalid_request", "unknown_reason"},
			{"a number for a digest", set("digest", asked), "invalid_request", "wrong_digest"},
			{"another digest", set("digest", st.done.Digest), "invalid_request", "wrong_digest"},
			{"another tenure", set("tenure_id", st.done.Tenure.ID), "invalid_request", "wrong_tenure"},
			{"a long note", set("note", strings.Repeat("x", 2001)), "invalid_request", "invalid (too_long)"},
			{"a link where there is none", set("link", "https://shop.example/"), "invalid_request", "invalid (not_allowed)"},
			{"a link elsewhere", set("outcome", "action_required", "reason", "evidence_needed", "link", "https://evil.example/"), "invalid_request", "link_not_registered"},
			{"another app's task", to(st.bank, "unbound", "removed"), "invalid_request", "not_found"},
			{"a final task", to(st.final, "kept", "legal_hold"), "invalid_request", "already_final"},
		} {
			if status, code, why := s.post(c.body); status != 400 || code != c.code || c.why != "" && !strings.HasPrefix(why, c.why+": ") {
				t.Errorf("%s: %d %s %s", c.what, status, code, why)
			}
		}
		for what, header := range map[string][]string{"another type": {"Content-Type", "application/jwt"}, "no type": {"Content-Type", ""},
			"an unknown encoding": {"Content-Encoding", "br"}} {
			if status, code, why := s.post(s.sign(good), header...); status != 400 || code != "invalid_request" {
				t.Errorf("%s: %d %s %s", what, status, code, why)
			}
		}
		if after := st.state(); after != before {
			t.Errorf("something was written:\n%s", difference(before, after))
		}
		st.auditIsClean()
		var refused int
		must(t, st.db.QueryRow("SELECT COUNT(*) FROM audit WHERE action = 'task.answer' AND refused IN ('authentication_failed', 'invalid_key', 'invalid_issuer', 'invalid_audience')").Scan(&refused))
		equal(t, "forgeries that are recorded", refused, 5)

		// One for a cancelled task is recorded, with its SET, and has no effect.
		for range 2 {
			if status, code, why := s.post(to(st.done, "unbound", "removed")); status != 400 || code != "invalid_request" || !strings.HasPrefix(why, "no_effect (cancelled): ") {
				t.Errorf("for a cancelled task: %d %s %s", status, code, why)
			}
		}
		var void int
		must(t, st.db.QueryRow("SELECT COUNT(*) FROM answers a JOIN answer_sets s ON s.task = a.task AND s.n = a.n WHERE a.void = 1").Scan(&void))
		equal(t, "void answers with a SET", void, 1)
	})
}

func TestWhoMayNotAnswerIsToldSoInTheFormOfSETs(t *testing.T) {
	w := startWorld(t)
	st := setStage(t, w)
	s := w.signingClient("shop-key", "shop", "ES256")
	set := s.sign(s.answers(st.shop, "unbound", "removed"))
	for what, c := range map[string]struct {
		method, as, authorization string
		status                    int
		code                      string
	}{
		"nobody":               {"POST", "", "", 401, "authentication_failed"},
		"a token that is none": {"POST", "", "Bearer x", 401, "authentication_failed"},
		"a carrier":            {"POST", "cmcc", "", 403, "access_denied"},
		"without the scope":    {"POST", "shop-lots", "", 403, "access_denied"},
		"another app":          {"POST", "bank", "", 400, "invalid_issuer"},
		"the app with another client, which has no keys": {"POST", "shop", "", 400, "invalid_issuer"},
		"another method": {"GET", "shop", "", 405, "invalid_request"},
	} {
		header := map[string]string{"Content-Type": "application/secevent+jwt"}
		if c.authorization != "" {
			header["Authorization"] = c.authorization
		}
		a := w.do(call{method: c.method, path: "/ssf/events", as: c.as, body: set, header: header})
		status, code, _ := w.setAnswer(a)
		if status != c.status || code != c.code || (status == 401 || status == 403) && a.header.Get("WWW-Authenticate") == "" || status == 405 && a.header.Get("Allow") != "POST" {
			t.Errorf("%s: %d %s %v", what, status, code, a.header)
		}
	}
	shop := w.signingClient("shop-none", "shop", "ES256", huanxin.ScopeTasksWork)
	if status, code, why := shop.post(shop.sign(shop.answers(st.shop, "unbound", "removed"))); status != 202 {
		t.Errorf("with no other scope: %d %s %s", status, code, why)
	}
}

package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
)

func problem(t *testing.T, w *httptest.ResponseRecorder) Problem {
	t.Helper()
	if got := w.Header().Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("content type %q", got)
	}
	var p Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatalf("%s: %v", w.Body, err)
	}
	if p.Status != w.Code || p.Type != "urn:huanxin:problem:"+p.Code || p.Title == "" {
		t.Errorf("status %d: %+v", w.Code, p)
	}
	return p
}

func TestEachKindOfErrorHasItsStatus(t *testing.T) {
	for kind, status := range map[huanxin.ErrorKind]int{
		huanxin.Internal: 500, huanxin.Invalid: 400, huanxin.Unauthenticated: 401, huanxin.Forbidden: 403, huanxin.NotFound: 404,
		huanxin.Conflict: 409, huanxin.TooLarge: 413, huanxin.Unsupported: 415, huanxin.Refused: 422, huanxin.Limited: 429,
		huanxin.Unavailable: 503, 200: 500,
	} {
		w := httptest.NewRecorder()
		WriteProblem(w, httptest.NewRequest("GET", "/", nil), huanxin.Errorf(kind, "some_code", "some text"))
		p := problem(t, w)
		if w.Code != status {
			t.Errorf("kind %d: status %d", kind, w.Code)
		}
		if status == 500 && (p.Code != "internal" || strings.Contains(w.Body.String(), "some")) || status != 500 && p.Detail != "some text" {
			t.Errorf("kind %d: %s", kind, w.Body)
		}
	}
}

func TestAProblemSaysEverythingAnOutsiderMayKnow(t *testing.T) {
	w := httptest.NewRecorder()
	x := &exchange{id: "REQ"}
	r := httptest.NewRequest("GET", "/", nil).WithContext(context.WithValue(t.Context(), exchangeKey{}, x))
	w.Header().Set("ETag", `"x"`)
	WriteProblem(w, r, fmt.Errorf("wrapped: %w", &huanxin.Error{Kind: huanxin.Refused, Code: "ineligible", Detail: "d", Reason: "proof_stale",
		Fields: []huanxin.FieldError{{Field: "proof.verified_at", Code: "c", Detail: "e"}, {Line: 7, Code: "c"}}, Err: errors.New("secret")}))
	want := `{"type":"urn:huanxin:problem:ineligible","title":"The rules say no","status":422,"detail":"d","code":"ineligible",` +
		`"request_id":"REQ","reason":"proof_stale","errors":[{"field":"proof.verified_at","code":"c","detail":"e"},{"line":7,"code":"c"}]}`
	if w.Body.String() != want || w.Header().Get("ETag") != "" || x.code != "ineligible" {
		t.Errorf("got %s", w.Body)
	}
}

func TestUnknownErrorsGiveNothingAwayButTheRequestID(t *testing.T) {
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/", nil).WithContext(context.WithValue(t.Context(), exchangeKey{}, &exchange{id: "REQ"}))
	WriteProblem(w, r, errors.New("pq: password authentication failed for +8613800000001"))
	if p := problem(t, w); p.Code != "internal" || !strings.Contains(p.Detail, "REQ") || strings.Contains(w.Body.String(), "p"+"q:") || strings.Contains(w.Body.String(), "138") {
		t.Errorf("got %s", w.Body)
	}
}

func TestHeadersThatGoWithAStatus(t *testing.T) {
	for name, tc := range map[string]struct {
		err           error
		authorization string
		header, want  string
	}{
		"401 without a token": {huanxin.Errorf(huanxin.Unauthenticated, "unauthenticated", ""), "", "WWW-Authenticate", `Bearer realm="huanxin"`},
		"401 with one":        {huanxin.Errorf(huanxin.Unauthenticated, "invalid_token", ""), "Bearer x", "WWW-Authenticate", `Bearer realm="huanxin", error="invalid_token"`},
		"403 for a scope": {huanxin.Caller{Party: &huanxin.Party{}}.May(huanxin.AppParty, huanxin.ScopeTasksWork), "Bearer x",
			"WWW-Authenticate", `Bearer realm="huanxin", error="insufficient_scope", scope="tasks.work"`},
		"403 for something else":  {huanxin.Errorf(huanxin.Forbidden, "hold", ""), "Bearer x", "WWW-Authenticate", ""},
		"429":                     {&huanxin.Error{Kind: huanxin.Limited, Code: "x", RetryAfter: 90 * time.Second}, "", "Retry-After", "90"},
		"429, a part of a second": {&huanxin.Error{Kind: huanxin.Limited, Code: "x", RetryAfter: 1500 * time.Millisecond}, "", "Retry-After", "2"},
		"503 says nothing":        {huanxin.Errorf(huanxin.Unavailable, "x", ""), "", "Retry-After", "1"},
		"413":                     {huanxin.Errorf(huanxin.TooLarge, "x", ""), "", "Connection", "close"},
		"any":                     {errors.New("x"), "", "Cache-Control", "no-store"},
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "/", nil)
		if tc.authorization != "" {
			r.Header.Set("Authorization", tc.authorization)
		}
		WriteProblem(w, r, tc.err)
		if got := w.Header().Get(tc.header); got != tc.want {
			t.Errorf("%s: %s is %q, want %q", name, tc.header, got, tc.want)
		}
	}
}

func TestForeignErrorsBecomeTheRightRefusal(t *testing.T) {
	for _, tc := range []struct {
		err  error
		code string
	}{
		{fmt.Errorf("read: %w", &http.MaxBytesError{Limit: 5}), "body_too_large"},
		{&huanxin.Error{Kind: huanxin.Invalid, Code: "broken_body", Err: &http.MaxBytesError{Limit: 5}}, "body_too_large"},
		{fmt.Errorf("query: %w", context.DeadlineExceeded), "timeout"},
		{context.Canceled, "timeout"},
		{errors.New("x"), "internal"},
	} {
		if got := refusal(tc.err).Code; got != tc.code {
			t.Errorf("%v: %s", tc.err, got)
		}
	}
}

func TestCodesAreListedOnceWithWordsForPeople(t *testing.T) {
	form := regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	seen := map[string]bool{}
	for _, c := range Codes {
		if seen[c.Code] || !form.MatchString(c.Code) || !strings.HasSuffix(c.Meaning, ".") && !strings.Contains(c.Meaning, ":") {
			t.Errorf("%+v", c)
		}
		seen[c.Code] = true
	}
	for k := range kinds {
		found := false
		for _, c := range Codes {
			found = found || int(c.Kind) == k
		}
		if !found && huanxin.ErrorKind(k) != huanxin.Limited {
			t.Errorf("no code of kind %d", k)
		}
	}
}

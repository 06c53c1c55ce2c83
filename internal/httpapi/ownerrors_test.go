package httpapi

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// ownForm is a Mux of one path whose errors have CAMARA's form, and one whose errors are problem documents.
func ownForm(w *world, handler Handler) *fronted {
	return front(Mux([]Route{
		{Method: "POST", Path: recyclingPath, Errors: writeCamara, Lenient: true, Handler: handler},
		{Method: "GET", Path: "/v1/other", Handler: handler},
	}, Config{Log: slog.New(slog.NewTextHandler(&w.log, nil))}), 0)
}

func TestEveryErrorOfAPathWithAFormOfItsOwnHasIt(t *testing.T) {
	limited := func(code string) error {
		return &huanxin.Error{Kind: huanxin.Limited, Code: code, Detail: "slow down", RetryAfter: 90 * time.Second}
	}
	for name, c := range map[string]struct {
		err                 error
		code                string
		status              int
		header, headerValue string
	}{
		"a fault":                         {errors.New("store: +8613912345678 is locked"), "INTERNAL", 500, "", ""},
		"a wrapped refusal":               {errors.Join(errors.New("x"), errRange), "OUT_OF_RANGE", 400, "", ""},
		"too fast":                        {limited("rate_limited"), "TOO_MANY_REQUESTS", 429, "Retry-After", "90"},
		"too many times asked":            {limited("too_many_times"), "TOO_MANY_REQUESTS", 429, "Retry-After", "90"},
		"the quota is used up":            {limited("quota_exceeded"), "QUOTA_EXCEEDED", 429, "Retry-After", "90"},
		"it took too long":                {context.DeadlineExceeded, "UNAVAILABLE", 503, "Retry-After", "1"},
		"the hub is stopping":             {huanxin.Errorf(huanxin.Unavailable, "overloaded", "x"), "UNAVAILABLE", 503, "Retry-After", "1"},
		"a body that is too long":         {tooLarge(1), "INVALID_ARGUMENT", 400, "Connection", "close"},
		"a body that broke off":           {readError(io.ErrUnexpectedEOF), "INVALID_ARGUMENT", 400, "", ""},
		"a content type":                  {huanxin.Errorf(huanxin.Unsupported, "unsupported_media_type", "x"), "INVALID_ARGUMENT", 400, "", ""},
		"a token":                         {huanxin.Errorf(huanxin.Unauthenticated, "invalid_token", "x"), "UNAUTHENTICATED", 401, "WWW-Authenticate", `Bearer realm="huanxin"`},
		"a scope":                         {huanxin.Errorf(huanxin.Forbidden, "insufficient_scope", "x"), "PERMISSION_DENIED", 403, "WWW-Authenticate", `Bearer realm="huanxin", error="insufficient_scope"`},
		"another refusal by the rules":    {huanxin.Errorf(huanxin.Refused, "whatever", "x"), "SERVICE_NOT_APPLICABLE", 422, "", ""},
		"a conflict, which there is none": {huanxin.Errorf(huanxin.Conflict, "whatever", "x"), "INTERNAL", 500, "", ""},
	} {
		w := &world{}
		f := ownForm(w, func(http.ResponseWriter, *http.Request) error { return c.err })
		got := f.do("POST", recyclingPath, "x-correlator", "of-the-caller")
		body := got.Body.String()
		if got.Code != c.status || !strings.HasPrefix(body, `{"status":`+strconv.Itoa(c.status)+`,"code":"`+c.code) ||
			got.Header().Get("Content-Type") != "application/json" || got.Header().Get("X-Correlator") != "of-the-caller" ||
			c.header != "" && got.Header().Get(c.header) != c.headerValue || strings.Contains(body, "139") || got.Header().Get("X-Request-Id") == "" {
			t.Errorf("%s: %d %s %v", name, got.Code, body, got.Header())
		}
		if log := f.log.String(); !strings.Contains(log, "code="+c.code) || strings.Contains(log+w.log.String(), "139123") {
			t.Errorf("%s: the log:\n%s%s", name, log, &w.log)
		}
		if other := f.do("GET", "/v1/other"); other.Header().Get("Content-Type") != "application/problem+json" || other.Header().Get("X-Correlator") != "" {
			t.Errorf("%s: another path: %s", name, other.Body)
		}
	}
}

func TestAPanicOnAPathWithAFormOfItsOwnHasIt(t *testing.T) {
	f := ownForm(&world{}, func(http.ResponseWriter, *http.Request) error { panic("lost +8613912345678") })
	got := f.do("POST", recyclingPath)
	if got.Code != 500 || got.Body.String() != `{"status":500,"code":"INTERNAL","message":"Unknown server error. Typically a server bug."}` ||
		got.Header().Get("X-Correlator") != got.Header().Get("X-Request-Id") {
		t.Errorf("%d %s %v", got.Code, got.Body, got.Header())
	}
}

func TestTheFormBelongsToThePathHoweverItIsAskedFor(t *testing.T) {
	w := &world{}
	f := ownForm(w, func(http.ResponseWriter, *http.Request) error { return nil })
	for target, own := range map[string]bool{
		recyclingPath: true, recyclingPath + "?x=%zz": true, "/number-recycling/v0%2e2/check": true,
		recyclingPath + "/": false, "/number-recycling//v0.2/check": false, "/number-recycling/v0.2": false, "/v1/other": false,
	} {
		for _, method := range []string{"DELETE", "HEAD", "CONNECT"} {
			r := httptest.NewRequest(method, target, nil)
			got := httptest.NewRecorder()
			f.ServeHTTP(got, r)
			if is := got.Header().Get("Content-Type") == "application/json"; is != own || got.Code != 404 && got.Code != 405 && got.Code != 200 {
				t.Errorf("%s %s: %d %v", method, target, got.Code, got.Header())
			}
		}
	}
}

func TestEveryCAMARACodeIsWrittenAndDocumented(t *testing.T) {
	own, codes := camaraDocs()
	for _, c := range camaraErrors {
		if camaraMeanings[c.code] == "" {
			t.Errorf("%s has no meaning", c.code)
		}
		if own[c.status] == nil && c.status != 405 || len(codes[c.status]) == 0 {
			t.Errorf("%d is not documented", c.status)
		}
	}
	for kind := huanxin.Internal; kind <= huanxin.Unavailable; kind++ {
		r, w := httptest.NewRequest("POST", recyclingPath, nil), httptest.NewRecorder()
		code := writeCamara(w, r, huanxin.Errorf(kind, "x", "x"))
		if !strings.Contains(w.Body.String(), `"code":"`+code+`"`) {
			t.Errorf("kind %d: nothing is written for %s: %d %s", kind, code, w.Code, w.Body)
		}
	}
}

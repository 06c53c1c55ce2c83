package httpapi_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/huanxin-platform/huanxin"
)

var accessSections = []section{
	{"[S 8] a stream is its client's alone: for all others it is not there", func(t *testing.T, w *world) {
		app, other := w.receiver(), w.receiver()
		w.AddClient(app+"-2", app, nil) // of the same party
		s := w.made(app, object{"description": "mine"})
		for _, who := range []string{other, app + "-2"} {
			for _, a := range w.everyCall(who, s.ID) {
				a.refused(t, 404, "not_found")
			}
			equal(t, "what it lists", string(w.ssf(who, "GET", "/ssf/streams", nil).body), "[]")
		}
		equal(t, "the stream", text(w.reads(app, s.ID)), text(s))
		for _, id := range []string{"", "x", "st_", "1", "st_00000000000000000000000000", s.ID + "0", strings.ToUpper(s.ID), strings.Repeat("9", 3000), "+8613800000001", "\x00", "\xff"} {
			if id == "" {
				continue
			}
			for _, a := range w.everyCall(app, id) {
				if a.status != 404 && a.status != 400 {
					t.Errorf("%q: %d %s", id, a.status, a.body)
				}
			}
		}
	}},
	{"[S 8] every call but that for the metadata needs a token", func(t *testing.T, w *world) {
		s := w.made(w.receiver(), object{})
		for _, a := range append(w.everyCall("", s.ID), w.ssf("", "GET", "/ssf/streams", nil), w.ssf("", "POST", "/ssf/streams", object{})) {
			a.refused(t, 401, "authentication_failed")
		}
	}},
	{"[IOP 2.7.3] a token in the query is none", func(t *testing.T, w *world) {
		w.ssf("", "GET", "/ssf/streams?access_token="+w.token(w.receiver()), nil).refused(t, 401, "authentication_failed")
	}},
	{"[IOP 2.7.2] ssf.manage does everything, ssf.read reads, and nothing else does", func(t *testing.T, w *world) {
		app := w.receiver()
		w.AddClient(app+"-all", app, nil, huanxin.ScopeSSFManage, huanxin.ScopeSSFRead, huanxin.ScopeTasksWork)
		w.t.Helper()
		scoped := func(scope string) func(method, path string, body any) answer {
			token := w.tokenFor(app+"-all", scope)
			return func(method, path string, body any) answer {
				w.tokens["scoped"] = token
				return w.ssf("scoped", method, path, body)
			}
		}
		manage, read, other := scoped("ssf.manage"), scoped("ssf.read"), scoped("tasks.work")
		s := manage("POST", "/ssf/streams", object{"delivery": object{"method": push, "endpoint_url": receiverAt, "authorization_header": "s3cret"}}).got(t, 201)
		equal(t, "the header to who may manage", *manage("GET", "/ssf/streams?stream_id="+s.ID, nil).got(t, 200).Delivery.Header, "s3cret")
		for _, path := range []string{"/ssf/streams?stream_id=" + s.ID, "/ssf/streams", "/ssf/status?stream_id=" + s.ID} {
			if a := manage("GET", path, nil); a.status != 200 {
				t.Errorf("%s with ssf.manage: %d", path, a.status)
			}
			a := read("GET", path, nil)
			if a.status != 200 || strings.Contains(string(a.body), "s3cret") {
				t.Errorf("%s with ssf.read: %d %s", path, a.status, a.body)
			}
			if strings.Contains(path, "streams") && !strings.Contains(string(a.body), `"********"`) {
				t.Errorf("%s with ssf.read: %s", path, a.body)
			}
			other("GET", path, nil).refused(t, 403, "access_denied")
		}
		masked := read("GET", "/ssf/streams?stream_id="+s.ID, nil)
		manage("PUT", "/ssf/streams", string(masked.body)).refused(t, 400, "invalid_request") // else the mask would be the secret
		for _, by := range []func(method, path string, body any) answer{read, other} {
			for _, a := range []answer{
				by("POST", "/ssf/streams", object{}), by("PATCH", "/ssf/streams", object{"stream_id": s.ID}), by("PUT", "/ssf/streams", object{"stream_id": s.ID}),
				by("DELETE", "/ssf/streams?stream_id="+s.ID, nil), by("POST", "/ssf/status", object{"stream_id": s.ID, "status": "paused"}),
				by("POST", "/ssf/subjects:add", object{"stream_id": s.ID, "subject": phone("+8613800000001")}),
				by("POST", "/ssf/subjects:remove", object{"stream_id": s.ID, "subject": phone("+8613800000001")}),
				by("POST", "/ssf/verify", object{"stream_id": s.ID}),
			} {
				a.refused(t, 403, "access_denied")
				equal(t, "WWW-Authenticate", a.header.Get("WWW-Authenticate"), `Bearer realm="huanxin", error="insufficient_scope", scope="ssf.manage"`)
			}
		}
		equal(t, "the stream", manage("GET", "/ssf/streams?stream_id="+s.ID, nil).got(t, 200).Delivery.Endpoint, receiverAt)
	}},
	{"[S 8] a carrier has no streams", func(t *testing.T, w *world) {
		w.Carrier("carrier")
		w.ssf("carrier", "GET", "/ssf/streams", nil).refused(t, 403, "access_denied")
		w.ssf("carrier", "POST", "/ssf/streams", object{}).refused(t, 403, "access_denied")
	}},
}

// tokenFor gives a token of a client with one scope.
func (w *world) tokenFor(id, scope string) string {
	w.t.Helper()
	c := w.Credentials(id)
	req, err := http.NewRequestWithContext(w.t.Context(), "POST", w.URL+"/oauth2/token",
		strings.NewReader(url.Values{"grant_type": {"client_credentials"}, "scope": {scope}}.Encode()))
	must(w.t, err)
	req.SetBasicAuth(c.ID, c.Secret)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := w.HTTP().Do(req)
	must(w.t, err)
	defer resp.Body.Close()
	var got struct {
		AccessToken string `json:"access_token"`
	}
	must(w.t, json.NewDecoder(resp.Body).Decode(&got))
	return got.AccessToken
}

// everyCall makes every call that names a stream.
func (w *world) everyCall(as, id string) []answer {
	w.t.Helper()
	q := "?stream_id=" + url.QueryEscape(id)
	subject := phone("+8613800000001")
	return []answer{
		w.ssf(as, "GET", "/ssf/streams"+q, nil), w.ssf(as, "PATCH", "/ssf/streams", object{"stream_id": id, "description": "x"}),
		w.ssf(as, "PUT", "/ssf/streams", object{"stream_id": id}), w.ssf(as, "DELETE", "/ssf/streams"+q, nil),
		w.ssf(as, "GET", "/ssf/status"+q, nil), w.ssf(as, "POST", "/ssf/status", object{"stream_id": id, "status": "disabled"}),
		w.ssf(as, "POST", "/ssf/subjects:add", object{"stream_id": id, "subject": subject}),
		w.ssf(as, "POST", "/ssf/subjects:remove", object{"stream_id": id, "subject": subject}),
		w.ssf(as, "POST", "/ssf/verify", object{"stream_id": id}), w.batch(as, id, "{}\n"),
	}
}

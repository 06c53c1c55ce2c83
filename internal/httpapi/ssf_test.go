package httpapi_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/hubtest"
	"github.com/huanxin-platform/huanxin/internal/server"
)

// Stream management as SSF 1.0 Final has it: what it says must be so, by section.

const (
	push         = "urn:ietf:rfc:8935"
	poll         = "urn:ietf:rfc:8936"
	recycledType = "https://schemas.openid.net/secevent/risc/event-type/identifier-recycled"
	requested    = "urn:huanxin:event:unbind-requested"
	receiverAt   = "https://receiver.example.com/ssf"
)

// stream is a stream's configuration, or its status, as it came.
type stream struct {
	ID       string `json:"stream_id"`
	Issuer   string `json:"iss"`
	Audience string `json:"aud"`
	Delivery struct {
		Method   string  `json:"method"`
		Endpoint string  `json:"endpoint_url"`
		Header   *string `json:"authorization_header"`
	} `json:"delivery"`
	Supported       []string `json:"events_supported"`
	Requested       []string `json:"events_requested"`
	Delivered       []string `json:"events_delivered"`
	MinVerification *int     `json:"min_verification_interval"`
	Idle            *int     `json:"inactivity_timeout"`
	Retention       *int     `json:"huanxin_retention_seconds"`
	Description     string   `json:"description"`
	WakeUp          string   `json:"huanxin_wake_up"`
	Status          string   `json:"status"`
	Reason          string   `json:"reason"`
}

var receivers atomic.Int64

// receiver registers one more app and gives its name.
func (w *world) receiver() string {
	w.t.Helper()
	name := fmt.Sprint("receiver-", receivers.Add(1))
	w.App(name)
	return name
}

// ssf makes a call of stream management, with a body if there is one.
func (w *world) ssf(as, method, path string, body any) answer {
	w.t.Helper()
	c := call{method: method, path: path, as: as, header: map[string]string{}}
	switch b := body.(type) {
	case nil:
	case string:
		c.body = b
	default:
		text, err := json.Marshal(b)
		must(w.t, err)
		c.body = string(text)
	}
	if body != nil {
		c.header["Content-Type"] = "application/json"
	}
	a := w.do(c)
	if got := a.header.Get("Cache-Control"); got != "no-store" {
		w.t.Errorf("%s %s: Cache-Control: %s", method, path, got)
	}
	if a.status >= 400 {
		w.inSSFsForm(method+" "+path, &a)
	}
	return a
}

// inSSFsForm fails if a refusal is not of the form {err, description}.
func (w *world) inSSFsForm(what string, a *answer) {
	w.t.Helper()
	var e map[string]string
	if err := json.Unmarshal(a.body, &e); err != nil || len(e) != 2 || e["err"] == "" || e["description"] == "" ||
		a.header.Get("Content-Type") != "application/json" || a.header.Get("Content-Language") != "en" {
		w.t.Errorf("%s: the refusal is %d %s %v", what, a.status, a.body, a.header)
	}
	a.Code = e["err"]
	if (a.status == 401) != strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer realm=") && a.Code != "access_denied" {
		w.t.Errorf("%s: status %d with WWW-Authenticate %q", what, a.status, a.header.Get("WWW-Authenticate"))
	}
}

// got fails unless the answer has the status, and gives it as a stream.
func (a answer) got(t *testing.T, status int) (s stream) {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, want %d: %.500s", a.status, status, a.body)
	}
	if len(a.body) > 0 {
		a.into(t, &s)
	}
	return s
}

func (a answer) refused(t *testing.T, status int, code string) {
	t.Helper()
	if a.status != status || a.Code != code {
		t.Errorf("got %d %s, want %d %s: %.500s", a.status, a.Code, status, code, a.body)
	}
}

// empty fails unless the answer has the status and no body.
func (a answer) empty(t *testing.T, status int) {
	t.Helper()
	if a.status != status || len(a.body) != 0 {
		t.Errorf("got %d %.300s, want %d and nothing", a.status, a.body, status)
	}
}

type object = map[string]any

// made creates a stream.
func (w *world) made(as string, doc any) stream {
	w.t.Helper()
	return w.ssf(as, "POST", "/ssf/streams", doc).got(w.t, 201)
}

func (w *world) reads(as, id string) stream {
	w.t.Helper()
	return w.ssf(as, "GET", "/ssf/streams?stream_id="+id, nil).got(w.t, 200)
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// section is one MUST, or a few of one paragraph.
type section struct {
	name string
	test func(t *testing.T, w *world)
}

func TestStreamManagementIsAsSSFSaysItMustBe(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		for _, s := range slices.Concat(metadataSections, createSections, changeSections, statusSections, subjectSections, accessSections) {
			t.Run(s.name, func(t *testing.T) {
				w.t = t
				s.test(t, w)
			})
		}
	})
}

var metadataSections = []section{
	{"[S 7.1] metadata name the issuer, its keys and every endpoint", func(t *testing.T, w *world) {
		a := w.do(call{method: "GET", path: "/.well-known/ssf-configuration"})
		var m map[string]any
		a.into(t, &m)
		for name, path := range map[string]string{"issuer": "", "jwks_uri": "/jwks.json", "configuration_endpoint": "/ssf/streams",
			"status_endpoint": "/ssf/status", "add_subject_endpoint": "/ssf/subjects:add", "remove_subject_endpoint": "/ssf/subjects:remove",
			"verification_endpoint": "/ssf/verify"} {
			if m[name] != w.URL+path {
				t.Errorf("%s is %v", name, m[name])
			}
		}
		if m["spec_version"] != "1_0" || m["default_subjects"] != "NONE" || fmt.Sprint(m["delivery_methods_supported"]) != "["+push+" "+poll+"]" {
			t.Errorf("metadata: %s", a.body)
		}
	}},
	{"[S 7.2.3] metadata come with 200, application/json and no empty array, to anyone", func(t *testing.T, w *world) {
		a := w.do(call{method: "GET", path: "/.well-known/ssf-configuration"})
		if a.status != 200 || a.header.Get("Content-Type") != "application/json" || strings.Contains(string(a.body), "[]") {
			t.Errorf("%d %v %s", a.status, a.header, a.body)
		}
	}},
	{"[S 7.1.1] the authorization schemes can be read without authentication", func(t *testing.T, w *world) {
		var m struct {
			Schemes []struct {
				SpecURN string `json:"spec_urn"`
			} `json:"authorization_schemes"`
		}
		a := w.do(call{method: "GET", path: "/.well-known/ssf-configuration"})
		a.into(t, &m)
		if len(m.Schemes) != 1 || m.Schemes[0].SpecURN != "urn:ietf:rfc:6749" {
			t.Errorf("schemes: %+v", m)
		}
	}},
}

// [S 7.2] asks for the issuer's path behind the well-known one.
func TestMetadataOfAnIssuerWithAPathAreWhereTheyAreLookedFor(t *testing.T) {
	t.Parallel()
	for issuer, path := range map[string]string{
		"https://hub.example.com/apps":      "/apps",
		"https://hub.example.com/apps/cn-1": "/apps/cn-1",
		"https://hub.example.com":           "",
	} {
		cfg := server.DefaultConfig()
		cfg.Listen, cfg.Data, cfg.PublicURL, cfg.BehindProxy, cfg.Feed.DefaultSubjects = "127.0.0.1:0", t.TempDir(), issuer, true, "ALL"
		s, err := server.Open(t.Context(), cfg, slog.New(slog.NewTextHandler(io.Discard, nil)))
		must(t, err)
		defer func() { must(t, s.Close()) }()
		for _, known := range []string{"ssf-configuration", "oauth-authorization-server"} {
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/.well-known/"+known+path, nil))
			var m map[string]any
			must(t, json.Unmarshal(w.Body.Bytes(), &m))
			if w.Code != 200 || m["issuer"] != issuer || m["jwks_uri"] != issuer+"/jwks.json" {
				t.Errorf("[S 7.2] %s%s: %d %s", known, path, w.Code, w.Body)
			}
			if known == "ssf-configuration" && (m["default_subjects"] != "ALL" || m["status_endpoint"] != issuer+"/ssf/status") {
				t.Errorf("[S 7.1] %s", w.Body)
			}
		}
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/.well-known/ssf-configuration/other", nil))
		equal(t, "another issuer's metadata", w.Code, 404)
	}
}

var createSections = []section{
	{"[S 8.1.1] a stream has every property that it must have", func(t *testing.T, w *world) {
		app := w.receiver()
		s := w.made(app, object{})
		if !regexp.MustCompile(`^[A-Za-z0-9._~-]+$`).MatchString(s.ID) || s.Issuer != w.URL || s.Audience != app || s.Delivery.Method == "" {
			t.Errorf("%+v", s)
		}
		same(t, "events_delivered", s.Delivered, s.Supported)
		equal(t, "events_supported", len(s.Supported), 5)
		if s.MinVerification == nil || *s.MinVerification != 60 || s.Idle == nil || *s.Idle != 2592000 || s.Retention == nil || *s.Retention != 2592000 {
			t.Errorf("%+v", s)
		}
		a := w.ssf(app, "GET", "/ssf/streams?stream_id="+s.ID, nil)
		if strings.Contains(string(a.body), "events_requested") || strings.Contains(string(a.body), "description") {
			t.Errorf("what was not given shows: %s", a.body)
		}
	}},
	{"[S 8.1.1] events_delivered is there when nothing is delivered, and holds what is supported of what is requested", func(t *testing.T, w *world) {
		app := w.receiver()
		for _, c := range []struct{ asked, delivered []string }{
			{[]string{}, []string{}}, {[]string{"urn:nobody:knows"}, []string{}}, {[]string{requested, "urn:nobody:knows", recycledType, requested}, []string{recycledType, requested}},
		} {
			a := w.ssf(app, "POST", "/ssf/streams", object{"events_requested": c.asked})
			s := a.got(t, 201)
			if s.Delivered == nil || s.Requested == nil {
				t.Errorf("%s", a.body)
			}
			same(t, "events_delivered", s.Delivered, c.delivered)
			same(t, "events_requested", s.Requested, c.asked) // [S 8.1.1] what is not understood is ignored
			w.ssf(app, "DELETE", "/ssf/streams?stream_id="+s.ID, nil).empty(t, 204)
		}
	}},
	{"[S 8.1.1.1] without delivery the stream is polled, at an endpoint of its own", func(t *testing.T, w *world) {
		app := w.receiver()
		seen := map[string]bool{}
		for _, doc := range []string{`{}`, `{"delivery":null}`, `{"delivery":{"method":"` + poll + `"}}`, `{"delivery":{"method":"` + poll + `","endpoint_url":""}}`} {
			s := w.made(app, doc)
			if s.Delivery.Method != poll || s.Delivery.Endpoint != w.URL+"/ssf/poll/"+s.ID || s.Delivery.Header != nil || seen[s.Delivery.Endpoint] { // [S 6.1.2] unique
				t.Errorf("%s: %+v", doc, s.Delivery)
			}
			seen[s.Delivery.Endpoint] = true
		}
	}},
	{"[S 8.1.1.1] a push has the receiver's URL and header", func(t *testing.T, w *world) {
		app := w.receiver()
		s := w.made(app, object{"delivery": object{"method": push, "endpoint_url": receiverAt, "authorization_header": "Bearer s3cret"},
			"description": "App One", "huanxin_wake_up": "https://receiver.example.com/wake"})
		if s.Delivery.Method != push || s.Delivery.Endpoint != receiverAt || s.Delivery.Header == nil || *s.Delivery.Header != "Bearer s3cret" ||
			s.Description != "App One" || s.WakeUp != "https://receiver.example.com/wake" {
			t.Errorf("%+v", s)
		}
		var sealed []byte
		must(t, w.open().QueryRow("SELECT header FROM streams WHERE client = '"+app+"'").Scan(&sealed))
		if len(sealed) == 0 || strings.Contains(string(sealed), "s3cret") {
			t.Errorf("at rest the header is %q", sealed)
		}
	}},
	{"[S 8.1.1.1] a second stream has a new id, and one too many is 409", func(t *testing.T, w *world) {
		app := w.receiver()
		ids := map[string]bool{}
		for range huanxin.MaxStreams {
			ids[w.made(app, object{}).ID] = true
		}
		equal(t, "ids", len(ids), huanxin.MaxStreams)
		w.ssf(app, "POST", "/ssf/streams", object{}).refused(t, 409, "too_many_streams")
		for id := range ids {
			w.ssf(app, "DELETE", "/ssf/streams?stream_id="+id, nil).empty(t, 204)
			break
		}
		if s := w.made(app, object{}); ids[s.ID] {
			t.Error("an id was given twice")
		}
	}},
	{"[S 8.1.1.1] of streams that are made at once not one too many is", func(t *testing.T, w *world) {
		app := w.receiver()
		w.token(app)
		var wg sync.WaitGroup
		answers := make([]answer, 12)
		for i := range answers {
			wg.Go(func() { answers[i] = w.ssf(app, "POST", "/ssf/streams", object{}) })
		}
		wg.Wait()
		made := map[int]int{}
		for _, a := range answers {
			made[a.status]++
		}
		if made[201] != 5 || made[409] != 7 {
			t.Errorf("statuses: %v", made)
		}
	}},
	{"[S 8.1.1.1] the same Idempotency-Key makes one stream", func(t *testing.T, w *world) {
		app := w.receiver()
		post := func(body string) answer {
			a := w.do(call{method: "POST", path: "/ssf/streams", as: app, body: body,
				header: map[string]string{"Content-Type": "application/json", "Idempotency-Key": "once"}})
			if a.status >= 400 {
				w.inSSFsForm("POST", &a)
			}
			return a
		}
		first, second := post(`{"description":"a"}`).got(t, 201), post(`{"description":"a"}`).got(t, 201)
		equal(t, "the id", second.ID, first.ID)
		equal(t, "the description", second.Description, "a")
		post(`{"description":"b"}`).refused(t, 409, "idempotency_conflict")
		w.ssf(app, "DELETE", "/ssf/streams?stream_id="+first.ID, nil).empty(t, 204)
		post(`{"description":"a"}`).refused(t, 404, "not_found")
	}},
	{"[S 8.1.1.2] a stream is read as an object, all of them as a list", func(t *testing.T, w *world) {
		app := w.receiver()
		list := func() (all []stream) {
			a := w.ssf(app, "GET", "/ssf/streams", nil)
			equal(t, "status", a.status, 200)
			if a.body[0] != '[' {
				t.Fatalf("no list: %s", a.body)
			}
			a.into(t, &all)
			return all
		}
		equal(t, "streams before any is made", len(list()), 0)
		one := w.made(app, object{"description": "1"})
		equal(t, "one stream in a list", list()[0].ID, one.ID)
		two := w.made(app, object{"description": "2"})
		all := list()
		if len(all) != 2 || all[0].ID != one.ID || all[1].ID != two.ID || all[1].Description != "2" {
			t.Errorf("%+v", all)
		}
		if got := w.reads(app, two.ID); got.ID != two.ID || got.Issuer != w.URL || got.Description != "2" {
			t.Errorf("%+v", got)
		}
		w.ssf(app, "GET", "/ssf/streams?stream_id=", nil).refused(t, 404, "not_found")
		w.ssf(app, "GET", "/ssf/streams?stream_id="+one.ID+"&stream_id="+two.ID, nil).refused(t, 400, "invalid_request")
	}},
	{"[S 8.1.1.5] a deleted stream is gone", func(t *testing.T, w *world) {
		app := w.receiver()
		s := w.made(app, object{})
		w.ssf(app, "POST", "/ssf/subjects:add", object{"stream_id": s.ID, "subject": phone("+8613800000001")}).empty(t, 200)
		w.ssf(app, "POST", "/ssf/verify", object{"stream_id": s.ID}).empty(t, 204)
		w.ssf(app, "DELETE", "/ssf/streams", nil).refused(t, 400, "invalid_request")
		w.ssf(app, "DELETE", "/ssf/streams?stream_id="+s.ID, nil).empty(t, 204)
		for _, again := range []answer{
			w.ssf(app, "DELETE", "/ssf/streams?stream_id="+s.ID, nil), w.ssf(app, "GET", "/ssf/streams?stream_id="+s.ID, nil),
			w.ssf(app, "GET", "/ssf/status?stream_id="+s.ID, nil), w.ssf(app, "POST", "/ssf/verify", object{"stream_id": s.ID}),
		} {
			again.refused(t, 404, "not_found")
		}
	}},
}

var changeSections = []section{
	{"[S 8.1.1.3] PATCH changes what is there and leaves absent properties", func(t *testing.T, w *world) {
		app := w.receiver()
		s := w.made(app, object{"delivery": object{"method": push, "endpoint_url": receiverAt, "authorization_header": "a"},
			"events_requested": []string{recycledType}, "description": "old", "huanxin_wake_up": "https://receiver.example.com/wake"})
		patch := func(doc object) stream {
			t.Helper()
			doc["stream_id"] = s.ID
			changed := w.ssf(app, "PATCH", "/ssf/streams", doc).got(t, 200)
			if read := w.reads(app, s.ID); text(read) != text(changed) {
				t.Errorf("it answers %s and reads %s", text(changed), text(read))
			}
			return changed
		}
		want := s
		equal(t, "nothing", text(patch(object{})), text(want))
		want.Description = "new"
		equal(t, "the description", text(patch(object{"description": "new"})), text(want))
		want.Requested, want.Delivered = []string{requested}, []string{requested}
		equal(t, "the events", text(patch(object{"events_requested": []string{requested}})), text(want))
		want.Delivery.Endpoint += "/next"
		equal(t, "the URL", text(patch(object{"delivery": object{"method": push, "endpoint_url": receiverAt + "/next"}})), text(want))
		want.Delivery.Header = new(string)
		*want.Delivery.Header = "b"
		equal(t, "the header", text(patch(object{"delivery": object{"authorization_header": "b"}})), text(want))
		want.WakeUp = "https://receiver.example.com/wake/2"
		equal(t, "where to wake it up", text(patch(object{"huanxin_wake_up": want.WakeUp})), text(want))
		want.Delivery.Method, want.Delivery.Endpoint, want.Delivery.Header = poll, w.URL+"/ssf/poll/"+s.ID, nil
		equal(t, "the method", text(patch(object{"delivery": object{"method": poll}})), text(want))
		want.Delivery.Method, want.Delivery.Endpoint = push, receiverAt
		equal(t, "the method again, without what went before", text(patch(object{"delivery": object{"method": push, "endpoint_url": receiverAt}})), text(want))
	}},
	{"[S 8.1.1.3] null takes a property away", func(t *testing.T, w *world) {
		app := w.receiver()
		s := w.made(app, object{"delivery": object{"method": push, "endpoint_url": receiverAt, "authorization_header": "a"},
			"events_requested": []string{recycledType}, "description": "old", "huanxin_wake_up": receiverAt})
		got := w.ssf(app, "PATCH", "/ssf/streams", object{"stream_id": s.ID, "description": nil, "huanxin_wake_up": nil, "events_requested": nil,
			"delivery": object{"authorization_header": nil}}).got(t, 200)
		if got.Description != "" || got.WakeUp != "" || got.Requested != nil || len(got.Delivered) != 5 || got.Delivery.Header != nil || got.Delivery.Endpoint != receiverAt {
			t.Errorf("%+v", got)
		}
		got = w.ssf(app, "PATCH", "/ssf/streams", object{"stream_id": s.ID, "delivery": nil}).got(t, 200)
		equal(t, "the method", got.Delivery.Method, poll)
	}},
	{"[S 8.1.1.3] the hub's own properties may be repeated, and must match", func(t *testing.T, w *world) { repeated(t, w, "PATCH") }},
	{"[S 8.1.1.4] the hub's own properties may be repeated, and must match", func(t *testing.T, w *world) { repeated(t, w, "PUT") }},
	{"[S 8.1.1.3] events_delivered is compared with its value before the change", func(t *testing.T, w *world) { before(t, w, "PATCH") }},
	{"[S 8.1.1.4] events_delivered is compared with its value before the change", func(t *testing.T, w *world) { before(t, w, "PUT") }},
	{"[S 8.1.1.4] PUT takes away what is not there", func(t *testing.T, w *world) {
		app := w.receiver()
		s := w.made(app, object{"delivery": object{"method": push, "endpoint_url": receiverAt, "authorization_header": "a"},
			"events_requested": []string{recycledType}, "description": "old", "huanxin_wake_up": receiverAt})
		got := w.ssf(app, "PUT", "/ssf/streams", object{"stream_id": s.ID, "delivery": object{"method": push, "endpoint_url": receiverAt}, "description": "new"}).got(t, 200)
		if got.Description != "new" || got.Delivery.Header != nil || got.Delivery.Endpoint != receiverAt || got.Requested != nil || len(got.Delivered) != 5 || got.WakeUp != "" {
			t.Errorf("%+v", got)
		}
		got = w.ssf(app, "PUT", "/ssf/streams", object{"stream_id": s.ID}).got(t, 200)
		if got.Description != "" || got.Delivery.Method != poll || got.Delivery.Endpoint != w.URL+"/ssf/poll/"+s.ID {
			t.Errorf("%+v", got)
		}
		equal(t, "what reads", text(w.reads(app, s.ID)), text(got))
	}},
	{"[S 8.1.1.4] what was read can be written back and changes nothing", func(t *testing.T, w *world) {
		app := w.receiver()
		for _, doc := range []object{
			{"delivery": object{"method": push, "endpoint_url": receiverAt, "authorization_header": "a b"}, "events_requested": []string{recycledType, "urn:x"}, "description": "d"},
			{"events_requested": []string{}, "huanxin_wake_up": receiverAt}, {},
		} {
			s := w.made(app, doc)
			for _, method := range []string{"PUT", "PATCH"} {
				read := w.ssf(app, "GET", "/ssf/streams?stream_id="+s.ID, nil)
				wrote := w.ssf(app, method, "/ssf/streams", string(read.body))
				equal(t, method, string(wrote.body), string(read.body))
			}
		}
	}},
	{"[S 8.1.1] a long description is cut, by characters", func(t *testing.T, w *world) {
		app := w.receiver()
		s := w.made(app, object{"description": strings.Repeat("号", 1500)})
		equal(t, "the description", s.Description, strings.Repeat("号", 1000))
	}},
	{"[S 8.1.1.3] PATCH and PUT need the stream_id of a stream that is there", func(t *testing.T, w *world) {
		app := w.receiver()
		for _, method := range []string{"PATCH", "PUT"} {
			w.ssf(app, method, "/ssf/streams", object{"description": "x"}).refused(t, 400, "invalid_request")
			w.ssf(app, method, "/ssf/streams", object{"stream_id": "st_0", "description": "x"}).refused(t, 404, "not_found")
		}
	}},
}

func text(s stream) string {
	out, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(out)
}

// repeated writes each property that is the hub's, as it is and otherwise.
func repeated(t *testing.T, w *world, method string) {
	app := w.receiver()
	s := w.made(app, object{"description": "d"})
	told := func(more object) object {
		doc := object{"stream_id": s.ID, "description": "d"}
		for k, v := range more {
			doc[k] = v
		}
		return doc
	}
	reversed := slices.Clone(s.Supported)
	slices.Reverse(reversed)
	for _, right := range []object{
		{"iss": s.Issuer}, {"aud": s.Audience}, {"aud": []string{s.Audience}}, {"events_supported": s.Supported}, {"events_supported": reversed},
		{"events_delivered": s.Delivered}, {"min_verification_interval": 60}, {"inactivity_timeout": 2592000.0}, {"huanxin_retention_seconds": 2592000},
		{"delivery": s.Delivery}, {"iss": nil, "aud": nil, "events_delivered": nil},
		{"unknown": object{"to": "us"}}, {"status": "paused"},
	} {
		got := w.ssf(app, method, "/ssf/streams", told(right)).got(t, 200)
		equal(t, fmt.Sprint(right), text(got), text(s))
	}
	for _, wrong := range []object{
		{"iss": s.Issuer + "/"}, {"iss": ""}, {"iss": 1}, {"aud": "other"}, {"aud": []string{}}, {"aud": []string{s.Audience, "other"}}, {"aud": object{}},
		{"events_supported": s.Supported[1:]}, {"events_supported": []string{}}, {"events_delivered": []string{}}, {"events_delivered": append(s.Delivered, "urn:x")},
		{"min_verification_interval": 61}, {"min_verification_interval": "60"}, {"inactivity_timeout": 0}, {"huanxin_retention_seconds": 1},
		{"delivery": object{"method": poll, "endpoint_url": w.URL + "/ssf/poll/other"}}, {"delivery": object{"method": poll, "endpoint_url": receiverAt}},
	} {
		w.ssf(app, method, "/ssf/streams", told(wrong)).refused(t, 400, "invalid_request")
	}
	equal(t, "after what was refused", text(w.reads(app, s.ID)), text(s))
}

func before(t *testing.T, w *world, method string) {
	app := w.receiver()
	s := w.made(app, object{"events_requested": []string{recycledType}})
	doc := object{"stream_id": s.ID, "events_requested": []string{requested}, "events_delivered": []string{requested}}
	w.ssf(app, method, "/ssf/streams", doc).refused(t, 400, "invalid_request")
	same(t, "what is delivered still", w.reads(app, s.ID).Delivered, []string{recycledType})
	doc["events_delivered"] = []string{recycledType}
	same(t, "what is delivered then", w.ssf(app, method, "/ssf/streams", doc).got(t, 200).Delivered, []string{requested})
}

func TestAnAppSeesItsStreamsWithItself(t *testing.T) {
	w := startWorld(t, hubtest.AllSubjects())
	app := w.receiver()
	s := w.made(app, object{"delivery": object{"method": push, "endpoint_url": receiverAt, "authorization_header": "s3cret"}})
	other := w.receiver()
	w.made(other, object{})
	a := w.do(call{method: "GET", path: "/v1/apps/self", as: app})
	if want := `"streams":[{"id":"` + s.ID + `","method":"` + push + `","status":"enabled"}]`; !strings.Contains(string(a.body), want) || strings.Contains(string(a.body), "s3cret") {
		t.Errorf("self: %s", a.body)
	}
	a = w.do(call{method: "GET", path: "/v1/apps/self", as: w.receiver()})
	if !strings.Contains(string(a.body), `"streams":[]`) {
		t.Errorf("self: %s", a.body)
	}
}

package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/huanxin-platform/huanxin/hubtest"
)

func phone(number string) object { return object{"format": "phone_number", "phone_number": number} }

// batch sends lines of subjects.
func (w *world) batch(as, id, lines string) answer {
	w.t.Helper()
	a := w.do(call{method: "POST", path: "/ssf/subjects:batch?stream_id=" + url.QueryEscape(id), as: as, body: lines,
		header: map[string]string{"Content-Type": "application/x-ndjson"}})
	if a.status >= 400 {
		w.inSSFsForm("batch", &a)
	}
	return a
}

// subjects sums up an app's subjects: how many are added and removed, of which how many count from the beginning, and what its streams' rows say.
func (w *world) subjects(app string) string {
	w.t.Helper()
	var added, removed, always, counted int64
	of := " FROM stream_subjects WHERE stream IN (SELECT id FROM streams WHERE client = '" + app + "')"
	must(w.t, w.open().QueryRow("SELECT COALESCE(SUM(added), 0), COALESCE(SUM(1 - added), 0), COALESCE(SUM(CASE WHEN since = 0 AND added = 1 THEN 1 ELSE 0 END), 0)"+of).
		Scan(&added, &removed, &always))
	must(w.t, w.open().QueryRow("SELECT SUM(subjects) FROM streams WHERE client = '"+app+"'").Scan(&counted))
	if counted != added+removed {
		w.t.Errorf("%d rows are counted as %d", added+removed, counted)
	}
	return fmt.Sprintf("%d added, %d removed, %d always", added, removed, always)
}

// wellFormed are subjects of every format (RFC 9493 §3.2, SSF 1.0 §3.3 and §3.5).
var wellFormed = []object{
	phone("+8613800000001"), phone("+8613800009999"), phone("+1206"), phone("+999123456789012"),
	{"format": "account", "uri": "acct:user@example.com"},
	{"format": "email", "email": "user@example.com"},
	{"format": "iss_sub", "iss": "https://issuer.example.com/", "sub": "145234573"},
	{"format": "opaque", "id": "11112222333344445555"},
	{"format": "did", "url": "did:example:123456/did/url/path?versionId=1"},
	{"format": "uri", "uri": "https://user.example.com/"},
	{"format": "uri", "uri": "urn:uuid:4e851e98-83c4-4743-a5da-150ecb53042f"},
	{"format": "aliases", "identifiers": []object{{"format": "email", "email": "user@example.com"}, phone("+12065550100")}},
	{"format": "jwt_id", "iss": "https://idp.example.com/", "jti": "x"},
	{"format": "saml_assertion_id", "issuer": "https://idp.example.com/", "assertion_id": "_8e8d"},
	{"format": "ip-addresses", "ip-addresses": []string{"10.29.37.75", "2001:db8::1"}},
	{"format": "complex", "user": object{"format": "email", "email": "bar@example.com"}, "tenant": object{"format": "iss_sub", "iss": "https://example.com/idp1", "sub": "1234"}},
	{"format": "complex", "anything": phone("+12065550100"), "group": object{"format": "aliases", "identifiers": []object{{"format": "opaque", "id": "1"}}}},
	{"format": "phone_number", "phone_number": "+8613800000001", "unknown": 1},
}

// malformed are none.
var malformed = []any{
	nil, "", "x", 1, true, []any{}, object{}, object{"format": ""}, object{"format": 1}, object{"format": nil},
	object{"phone_number": "+8613800000001"}, object{"format": "phone", "phone_number": "+8613800000001"}, object{"format": "PHONE_NUMBER", "phone_number": "+8613800000001"},
	object{"format": "tel", "uri": "tel:+8613800000001"}, object{"format": "phone_number"},
	phone(""), phone("8613800000001"), phone("+86 138 0000 0001"), phone("+1 206 555 0123"), phone("+0613800000001"), phone("+86138" + strings.Repeat("0", 11)),
	phone("+123"), phone("+8613800000001 "), phone("+86138000000a1"), phone("＋8613800000001"), phone("+8613８00000001"), phone("tel:+8613800000001"),
	object{"format": "phone_number", "phone_number": 8613800000001}, object{"format": "phone_number", "phone_number": nil},
	object{"format": "account", "uri": "user@example.com"}, object{"format": "account"}, object{"format": "email", "email": "user"}, object{"format": "email", "email": "@x"},
	object{"format": "iss_sub", "iss": "x"}, object{"format": "iss_sub", "sub": "x"}, object{"format": "opaque"}, object{"format": "opaque", "id": 1},
	object{"format": "did", "url": "https://example.com"}, object{"format": "uri", "uri": "example"}, object{"format": "uri", "uri": "a:"},
	object{"format": "aliases"}, object{"format": "aliases", "identifiers": []any{}}, object{"format": "aliases", "identifiers": []any{1}},
	object{"format": "aliases", "identifiers": []object{{"format": "aliases", "identifiers": []object{{"format": "opaque", "id": "x"}}}}},
	object{"format": "aliases", "identifiers": []object{phone("12065550100")}}, object{"format": "aliases", "identifiers": []object{{"format": "phone", "phone_number": "+12065550100"}}},
	object{"format": "ip-addresses", "ip-addresses": []string{"10.0.0.x"}}, object{"format": "ip-addresses", "ip-addresses": []string{}},
	object{"format": "complex"}, object{"format": "complex", "user": "x"}, object{"format": "complex", "user": object{"email": "x@y"}},
	object{"format": "complex", "user": object{"format": "complex", "user": object{"format": "opaque", "id": "1"}}},
	object{"format": "jwt_id", "iss": "x"}, object{"format": "saml_assertion_id", "issuer": "x"},
}

var subjectSections = []section{
	{"[S 8.1.3.2] a well-formed subject is added with 200 and nothing in it", func(t *testing.T, w *world) {
		app := w.receiver()
		s := w.made(app, object{})
		for range 2 { // adding again changes nothing
			for _, subject := range wellFormed {
				w.ssf(app, "POST", "/ssf/subjects:add", object{"stream_id": s.ID, "subject": subject, "verified": true}).empty(t, 200)
			}
		}
		equal(t, "subjects", w.subjects(app), "3 added, 0 removed, 0 always")
		w.ssf(app, "POST", "/ssf/subjects:add", object{"stream_id": s.ID, "subject": phone("+8613800000001"), "verified": false}).empty(t, 200)
		w.ssf(app, "POST", "/ssf/subjects:add", object{"stream_id": s.ID, "subject": phone("+8613800000001"), "verified": nil, "unknown": 1}).empty(t, 200)
		w.ssf(app, "POST", "/ssf/subjects:add", object{"stream_id": s.ID, "subject": phone("+8613800000001"), "verified": "yes"}).refused(t, 400, "invalid_request")
	}},
	{"[S 8.1.3.3] a well-formed subject is removed with 204, added or not", func(t *testing.T, w *world) {
		app := w.receiver()
		s := w.made(app, object{})
		w.ssf(app, "POST", "/ssf/subjects:add", object{"stream_id": s.ID, "subject": phone("+8613800000001")}).empty(t, 200)
		for range 2 {
			for _, subject := range wellFormed {
				w.ssf(app, "POST", "/ssf/subjects:remove", object{"stream_id": s.ID, "subject": subject}).empty(t, 204)
			}
		}
		equal(t, "subjects", w.subjects(app), "0 added, 1 removed, 0 always")
		w.ssf(app, "POST", "/ssf/subjects:add", object{"stream_id": s.ID, "subject": phone("+8613800000001")}).empty(t, 200)
		equal(t, "subjects", w.subjects(app), "1 added, 0 removed, 0 always")
	}},
	{"[S 8.1.3] a malformed subject, and one of an unknown format, is refused with 400", func(t *testing.T, w *world) {
		app := w.receiver()
		s := w.made(app, object{})
		for _, subject := range malformed {
			for _, path := range []string{"/ssf/subjects:add", "/ssf/subjects:remove"} {
				a := w.ssf(app, "POST", path, object{"stream_id": s.ID, "subject": subject})
				if a.status != 400 || a.Code != "invalid_request" {
					t.Errorf("%s %v: %d %s", path, subject, a.status, a.body)
				}
			}
		}
		w.ssf(app, "POST", "/ssf/subjects:add", object{"stream_id": s.ID}).refused(t, 400, "invalid_request")
		w.ssf(app, "POST", "/ssf/subjects:add", object{"subject": phone("+8613800000001")}).refused(t, 400, "invalid_request")
		equal(t, "subjects", w.subjects(app), "0 added, 0 removed, 0 always")
	}},
	{"[S 9.1] adding tells nothing of whether a number is known", func(t *testing.T, w *world) {
		w.Carrier("cmcc")
		w.recycled("cmcc", "+8613800190001")
		app := w.receiver()
		s := w.made(app, object{})
		var answers []string
		for _, number := range []string{"+8613800190001", "+8613800190002", "+14155550100"} {
			a := w.ssf(app, "POST", "/ssf/subjects:add", object{"stream_id": s.ID, "subject": phone(number)})
			a.header.Del("X-Request-Id")
			a.header.Del("Date")
			answers = append(answers, fmt.Sprint(a.status, a.header, string(a.body)))
		}
		if answers[0] != answers[1] || answers[1] != answers[2] {
			t.Errorf("%q", answers)
		}
	}},
	{"[ours] many subjects are added and removed at once, and sending them again changes nothing", func(t *testing.T, w *world) {
		app := w.receiver()
		s := w.made(app, object{})
		var lines strings.Builder
		const n = 9000
		for i := range n {
			switch text := subjectText(i); i % 3 {
			case 0:
				lines.WriteString(text + "\n")
			case 1:
				lines.WriteString(`{"op":"add","subject":` + text + ",\"comment\":1}\n")
			default:
				lines.WriteString(`{"subject":` + text + "}\n\n")
			}
		}
		lines.WriteString(`{"format":"email","email":"a@b.c"}` + "\n" + `{"op":"remove","subject":{"format":"opaque","id":"1"}}`)
		var got receiptAnswer
		a := w.batch(app, s.ID, lines.String())
		a.into(t, &got)
		got.is(t, n+2, 0, 0)
		equal(t, "subjects", w.subjects(app), "9000 added, 0 removed, 0 always")
		a = w.batch(app, s.ID, lines.String())
		a.into(t, &got)
		got.is(t, 2, n, 0)
		lines.Reset()
		for i := range n / 2 {
			lines.WriteString(`{"op":"remove","subject":` + subjectText(i) + "}\n")
		}
		a = w.batch(app, s.ID, lines.String())
		a.into(t, &got)
		got.is(t, n/2, 0, 0)
		equal(t, "subjects", w.subjects(app), "4500 added, 4500 removed, 0 always")
		w.ssf(app, "DELETE", "/ssf/streams?stream_id="+s.ID, nil).empty(t, 204)
		w.batch(app, s.ID, "").refused(t, 404, "not_found")
	}},
	{"[ours] of one number in a batch the last line counts", func(t *testing.T, w *world) {
		app := w.receiver()
		s := w.made(app, object{})
		one, two := subjectText(1), subjectText(2)
		var got receiptAnswer
		a := w.batch(app, s.ID, strings.Join([]string{one, `{"op":"remove","subject":` + one + `}`, `{"op":"remove","subject":` + two + `}`, two, two}, "\n"))
		a.into(t, &got)
		got.is(t, 1, 4, 0)
		equal(t, "subjects", w.subjects(app), "1 added, 0 removed, 0 always")
	}},
	{"[ours] a bad line of a batch is refused with its number and stops no other", func(t *testing.T, w *world) {
		app := w.receiver()
		s := w.made(app, object{})
		lines := []struct{ text, code string }{
			{subjectText(1), ""}, {`x`, "malformed_json"}, {`{"format":"phone","phone_number":"+8613800000001"}`, "unknown_format"}, {`[]`, "wrong_type"}, {`null`, "wrong_type"},
			{`{"op":"drop","subject":` + subjectText(2) + `}`, "unknown_op"}, {`{"op":1,"subject":` + subjectText(2) + `}`, "unknown_op"}, {`{"op":"add"}`, "required"},
			{`{"subject":"x"}`, "required"}, {`{"format":"phone_number","phone_number":"8613800000001"}`, "number_malformed"}, {`{"format":"opaque"}`, "malformed_subject"},
			{`{"format":"opaque","format":"opaque","id":"1"}`, "duplicate_member"}, {"{\"format\":\"opaque\",\"id\":\"\xff\"}", "invalid_utf8"}, {`{}`, "malformed_subject"},
			{`{"subject":` + subjectText(2) + `}{}`, "malformed_json"}, {`{"format":"` + strings.Repeat("x", 70<<10) + `"}`, "line_too_long"}, {subjectText(3), ""},
		}
		var body strings.Builder
		for _, l := range lines {
			body.WriteString(l.text + "\n")
		}
		var got receiptAnswer
		a := w.batch(app, s.ID, body.String())
		a.into(t, &got)
		got.is(t, 2, 0, len(lines)-2)
		for _, r := range got.Rejected {
			if want := lines[r.Line-1].code; r.Code != want || r.Detail == "" {
				t.Errorf("line %d: %+v, want %s", r.Line, r, want)
			}
		}
		equal(t, "subjects", w.subjects(app), "2 added, 0 removed, 0 always")
	}},
	{"[ours] a batch is compressed or not, and NDJSON", func(t *testing.T, w *world) {
		app := w.receiver()
		s := w.made(app, object{})
		send := func(contentType, encoding, body string) answer {
			return w.do(call{method: "POST", path: "/ssf/subjects:batch?stream_id=" + s.ID, as: app, body: body,
				header: map[string]string{"Content-Type": contentType, "Content-Encoding": encoding}})
		}
		for _, how := range []string{"gzip", "zstd"} {
			equal(t, how, send("application/x-ndjson", how, compressed(t, how, subjectText(1)+"\n")).status, 200)
		}
		equal(t, "CSV", send("text/csv", "", "number\n").status, 415)
		equal(t, "JSON", send("application/json", "", "{}").status, 415)
		equal(t, "an encoding that is none", send("application/x-ndjson", "br", "").status, 415)
		equal(t, "gzip that is none", send("application/x-ndjson", "gzip", "{}").status, 400)
		equal(t, "subjects", w.subjects(app), "1 added, 0 removed, 0 always")
		a := w.do(call{method: "POST", path: "/ssf/subjects:batch", as: app, header: map[string]string{"Content-Type": "application/x-ndjson"}})
		equal(t, "no stream", a.status, 400)
	}},
}

func subjectText(i int) string {
	return fmt.Sprintf(`{"format":"phone_number","phone_number":"+86138%08d"}`, i)
}

type receiptAnswer struct {
	Receipt    string
	Accepted   int
	Duplicates int
	Rejected   []struct {
		Line         int
		Code, Detail string
	}
	Total int `json:"rejected_total"`
}

func (r *receiptAnswer) is(t *testing.T, accepted, duplicates, rejected int) {
	t.Helper()
	if !strings.HasPrefix(r.Receipt, "rcp_") || r.Accepted != accepted || r.Duplicates != duplicates || r.Total != rejected || len(r.Rejected) != rejected {
		t.Errorf("receipt %s: %d accepted, %d duplicates, %d (%d) rejected; want %d, %d, %d: %+v", r.Receipt, r.Accepted, r.Duplicates, r.Total, len(r.Rejected),
			accepted, duplicates, rejected, r.Rejected[:min(3, len(r.Rejected))])
	}
}

func TestWithAllSubjectsByDefaultAddingAndRemovingKeepWhatWasSo(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		app := w.receiver()
		s := w.made(app, object{})
		change := func(what string, i, status int) {
			t.Helper()
			w.ssf(app, "POST", "/ssf/subjects:"+what, object{"stream_id": s.ID, "subject": json.RawMessage(subjectText(i))}).empty(t, status)
		}
		change("add", 1, 200) // it was heard of before, and still is
		equal(t, "added", w.subjects(app), "1 added, 0 removed, 1 always")
		change("remove", 2, 204)
		change("remove", 2, 204)
		equal(t, "removed", w.subjects(app), "1 added, 1 removed, 1 always")
		change("add", 2, 200)
		equal(t, "added again", w.subjects(app), "2 added, 0 removed, 1 always")
	}, hubtest.AllSubjects())
}

func TestAStreamHasRoomForSoManySubjects(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		app := w.receiver()
		s, other := w.made(app, object{}), w.made(app, object{})
		add := func(id string, i int) answer {
			return w.ssf(app, "POST", "/ssf/subjects:add", object{"stream_id": id, "subject": json.RawMessage(subjectText(i))})
		}
		for i := range 7 {
			add(s.ID, i).empty(t, 200)
		}
		var lines strings.Builder
		for i := range 20 { // 7 are there, 3 have room
			lines.WriteString(subjectText(i) + "\n")
		}
		lines.WriteString(subjectText(19) + "\n" + `{"op":"remove","subject":` + subjectText(30) + `}` + "\n" + subjectText(0) + "\n")
		var got receiptAnswer
		a := w.batch(app, s.ID, lines.String())
		a.into(t, &got)
		got.is(t, 3, 9, 11)
		for i, r := range got.Rejected {
			if r.Code != "too_many_subjects" || r.Line != 11+i {
				t.Errorf("%+v", r)
			}
		}
		add(s.ID, 40).refused(t, 403, "too_many_subjects")
		equal(t, "WWW-Authenticate", add(s.ID, 40).header.Get("WWW-Authenticate"), "")
		add(s.ID, 3).empty(t, 200) // it is there
		w.ssf(app, "POST", "/ssf/subjects:remove", object{"stream_id": s.ID, "subject": json.RawMessage(subjectText(3))}).empty(t, 204)
		add(s.ID, 3).empty(t, 200)
		add(other.ID, 40).empty(t, 200) // each stream has its own
		equal(t, "subjects", w.subjects(app), "11 added, 0 removed, 0 always")
	}, hubtest.StreamSubjects(10))
}

func TestSubjectsThatComeAtOnceAreAllThere(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		app := w.receiver()
		s := w.made(app, object{})
		var wg sync.WaitGroup
		for k := range 6 { // overlapping, each in another order
			wg.Go(func() {
				var lines strings.Builder
				for i := range 2000 {
					if k%2 == 0 {
						i = 1999 - i
					}
					lines.WriteString(subjectText(i+200*k) + "\n")
				}
				if a := w.batch(app, s.ID, lines.String()); a.status != 200 {
					t.Errorf("status %d: %s", a.status, a.body)
				}
			})
		}
		wg.Wait()
		equal(t, "subjects", w.subjects(app), "3000 added, 0 removed, 0 always")
	})
}

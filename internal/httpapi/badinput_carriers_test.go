package httpapi_test

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

// badReports are reports that are refused as a whole; TestBadLinesOfEventsAreRefusedOneByOne has those of lines.
func badReports(s *stage) []bad {
	report := func(name string, status int, code, at, query, contentType, body string) bad {
		return bad{name, call{method: "POST", path: "/v1/number-events" + query, as: "cmcc", body: body,
			header: map[string]string{"Content-Type": contentType}}, status, code, at}
	}
	line := `{"id":"q","number":"` + never + `","kind":"activated","at":"2024-03-01T08:00:00Z","origin":"first"}`
	until := func(name, code, value string) bad {
		return report("complete_until "+name, 400, code, "complete_until", query("complete_until", value), "application/x-ndjson", line)
	}
	csv := func(name, at, body string) bad {
		return report("CSV "+name, 400, "bad_header", at, "", "text/csv", body)
	}
	row := "x1," + never + ",activated,2024-03-01T08:00:00Z,first\n"
	return []bad{
		until("in words", "malformed_time", "yesterday"),
		until("a date", "malformed_time", "2026-03-01"),
		until("without an offset", "malformed_time", "2026-03-01T08:00:00"),
		until("with its plus as a blank", "malformed_time", "2026-03-01T08:00:00 08:00"),
		until("on no day", "malformed_time", "2026-02-30T08:00:00Z"),
		until("a number", "malformed_time", "8613800138000"),
		until("in the year 10000", "malformed_time", "10000-01-01T00:00:00Z"),
		until("ahead", "invalid", stamp(s.now.Add(time.Hour))),
		csv("empty", "id", ""),
		csv("of another dialect", "kind", "id;number;kind;at\n"+row),
		csv("without a header", "id", row),
		csv("with an unknown column", "note", "id,number,kind,at,origin,note\n"+row),
		csv("with a column twice", "id", "id,number,kind,at,origin,id\n"+row),
		csv("without a column", "at", "id,number,kind,origin\n"+row),
		csv("with a number as a column", "column 1", "+8613800138000,id,number,kind,at,origin\n"+row),
		csv("in capitals", "ID", "ID,number,kind,at,origin\n"+row),
		csv("not UTF-8", "line 1", "id,number,kind,at,origin\xff\n"+row),
		csv("with a bad quote", "line 1", "id,\"number,kind,at,origin\n"+row),
		report("CSV that is a picture", 400, "bad_header", "line 1", "", "text/csv", "\x89PNG\r\n\x1a\n\x00\x00"),
	}
}

// badLine is one line of a report, and the code that it is refused with.
type badLine struct{ code, line string }

func (s *stage) badEventLines() []badLine {
	event := func(pairs ...string) string {
		members := []string{"id", "x", "number", never, "kind", "activated", "at", "2024-03-01T08:00:00+08:00", "origin", "first"}
		var b strings.Builder
		for i := 0; i < len(members); i += 2 {
			value := strconv.Quote(members[i+1])
			for j := 0; j < len(pairs); j += 2 {
				if pairs[j] == members[i] {
					value = pairs[j+1]
				}
			}
			if value != "" {
				b.WriteString(`,"` + members[i] + `":` + value)
			}
		}
		return "{" + strings.TrimPrefix(b.String(), ",") + "}"
	}
	of := func(number, kind, at string) string {
		return event("number", strconv.Quote(number), "kind", strconv.Quote(kind), "at", strconv.Quote(at), "origin", "")
	}
	const at = `"2024-03-01T08:00:00Z"`
	return []badLine{
		{"malformed_json", `{`},
		{"malformed_json", `nonsense`},
		{"malformed_json", event() + event()},
		{"wrong_type", strings.Repeat("[", 30_000) + strings.Repeat("]", 30_000)},
		{"malformed_json", event("id", `"\ud800"`)},
		{"wrong_type", `[]`},
		{"wrong_type", `"` + never + `"`},
		{"required", `{}`},
		{"required", `null`},
		{"unknown_member", strings.TrimSuffix(event(), "}") + `,"note":"x"}`},
		{"unknown_member", strings.Replace(event(), `"id"`, `"ID"`, 1)},
		{"duplicate_member", strings.TrimSuffix(event(), "}") + `,"id":"y"}`},
		{"line_too_long", event("id", strconv.Quote(strings.Repeat("x", 70<<10)))},
		{"invalid_utf8", event("id", "\"\xff\"")},
		{"wrong_type", event("id", `7`)},
		{"required", event("id", `""`)},
		{"required", event("id", "")},
		{"bad_character", event("id", `"a b"`)},
		{"bad_character", event("id", `"编号"`)},
		{"too_long", event("id", strconv.Quote(strings.Repeat("x", 129)))},
		{"required", event("number", "")},
		{"wrong_type", event("number", `8613800138000`)},
		{"number_malformed", event("number", `"13800138000"`)},
		{"number_malformed", event("number", `"+86 138 0013 8000"`)},
		{"number_malformed", event("number", `"008613800138000"`)},
		{"number_malformed", event("number", `"+8613800138000x"`)},
		{"number_malformed", event("number", `"+８６１３８００１３８０００"`)},
		{"number_malformed", event("number", `"+"`)},
		{"number_malformed", event("number", `"+861380013800013800138"`)},
		{"number_kind_unsupported", event("number", `"+861440012345678"`)},   // IoT
		{"number_kind_unsupported", event("number", `"+8617491234567"`)},     // satellite
		{"number_kind_unsupported", event("number", `"+8617406123456"`)},     // emergency
		{"number_kind_unsupported", event("number", `"+86700123456789012"`)}, // privacy
		{"number_kind_unsupported", event("number", `"+861012345678"`)},      // fixed
		{"unknown_kind", event("kind", `"reborn"`)},
		{"unknown_kind", event("kind", `"ACTIVATED"`)},
		{"wrong_type", event("kind", `null`, "at", "1")},
		{"unknown_origin", event("origin", `"bought"`)},
		{"required", event("origin", ``)},
		{"not_allowed", event("kind", `"suspended"`)},
		{"malformed_time", event("at", `"yesterday"`)},
		{"malformed_time", event("at", `"2024-03-01"`)},
		{"malformed_time", event("at", `"2024-03-01T08:00:00"`)},
		{"malformed_time", event("at", `"2024-02-30T08:00:00Z"`)},
		{"malformed_time", event("at", `"1969-12-31T23:59:59Z"`)},
		{"wrong_type", event("at", `1709251200`)},
		{"in_future", event("at", strconv.Quote(stamp(s.now.Add(time.Hour))))},
		{"in_future", event("at", `"9999-12-31T23:59:59Z"`)},
		{"too_early", event("at", `"1970-01-01T00:00:00Z"`)},
		{"too_early", event("at", `"1987-10-31T23:59:59Z"`)},
		{"required", of(never, "corrected", "2024-03-01T08:00:00Z")},
		{"unknown_event", strings.TrimSuffix(of(fresh, "corrected", "2024-03-01T08:00:00Z"), "}") + `,"corrects":"nothing"}`},
		{"unknown_event", strings.TrimSuffix(of(fresh, "corrected", "2024-03-01T08:00:00Z"), "}") + `,"corrects":"` + eventID(asked, 3) + `"}`},     // another number's
		{"unknown_event", strings.TrimSuffix(of(foreign, "corrected", "2024-03-01T08:00:00Z"), "}") + `,"corrects":"` + eventID(foreign, 3) + `"}`}, // another carrier's
		{"not_allowed", strings.TrimSuffix(event("origin", `"first"`), "}") + `,"corrects":"first"}`},
		{"out_of_order", of(never, "suspended", "2024-03-01T08:00:00Z")},
		{"out_of_order", of(ended, "resumed", stamp(s.ago(30)))},
		{"cooling_too_short", event("number", strconv.Quote(ended), "origin", `"reassigned"`, "at", strconv.Quote(stamp(s.ago(1))))},
		{"out_of_order", event("number", strconv.Quote(fresh), "at", strconv.Quote(stamp(s.ago(500))))},
		{"out_of_order", of(fresh, "disconnected", stamp(s.ago(400)))}, // the later one no longer fits
		{"not_serving", of(foreign, "suspended", stamp(s.ago(1)))},
		{"id_conflict", event("id", `"first"`)}, // another event's id: a replay with other content
		{"id_conflict", event("id", strconv.Quote(eventID(fresh, 1)), "number", strconv.Quote(fresh), "at", at)},
	}
}

func TestBadLinesOfEventsAreRefusedOneByOne(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		s := setStage(t, w)
		before := s.state()
		bad := s.badEventLines()
		var body strings.Builder
		for _, l := range bad {
			body.WriteString("\n" + l.line + "\n") // a blank line before each: lines are physical
		}
		s.linesRefused(t, w.report("application/x-ndjson", "", "?complete_until=2026-01-01T00:00:00Z", body.String()), bad, 2)
		if after := s.state(); after != before {
			t.Errorf("something was written:\n%s", difference(before, after))
		}

		// In the same body the good lines are taken, whatever stands around them.
		good := `{"id":"good-1","number":"+8613800100010","kind":"activated","at":"2024-03-01T08:00:00Z","origin":"first"}` + "\n"
		r := w.report("application/x-ndjson", "", "", body.String()+good+body.String())
		if r.Accepted != 1 || r.RejectedTotal != int64(2*len(bad)) {
			t.Errorf("accepted %d, rejected %d", r.Accepted, r.RejectedTotal)
		}
	})
}

// linesRefused checks that each line got its code, its number and a sentence.
func (s *stage) linesRefused(t *testing.T, r receipt, bad []badLine, step int) {
	t.Helper()
	if r.Accepted != 0 || r.Duplicates != 0 || len(r.Rejected) != len(bad) || r.RejectedTotal != int64(len(bad)) {
		t.Errorf("accepted %d, duplicates %d, rejected %d (%d listed) of %d", r.Accepted, r.Duplicates, r.RejectedTotal, len(r.Rejected), len(bad))
	}
	for i, got := range r.Rejected[:min(len(r.Rejected), len(bad))] {
		if got.Line != int64((i+1)*step) || got.Code != bad[i].code || got.Detail == "" {
			t.Errorf("line %d %s: got %q %q, want %q: %.200s", got.Line, got.ID, got.Code, got.Detail, bad[i].code, bad[i].line)
		}
	}
}

func TestBadRowsOfEventsAreRefusedOneByOne(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		s := setStage(t, w)
		before := s.state()
		bad := []badLine{
			{"ragged_row", "x,+8613800138000"},
			{"ragged_row", "x," + never + ",activated,2024-03-01T08:00:00Z,first,,"},
			{"bad_quote", `"x"y,` + never + ",activated,2024-03-01T08:00:00Z,first,"},
			{"bad_quote", `x"y,` + never + ",activated,2024-03-01T08:00:00Z,first,"},
			{"invalid_utf8", "x\xff," + never + ",activated,2024-03-01T08:00:00Z,first,"},
			{"required", "," + never + ",activated,2024-03-01T08:00:00Z,first,"},
			{"required", ",,,,,"},
			{"number_malformed", "x,13800138000,activated,2024-03-01T08:00:00Z,first,"},
			{"number_malformed", "x,8.6138E+12,activated,2024-03-01T08:00:00Z,first,"}, // what a spreadsheet makes of it
			{"number_kind_unsupported", "x,+861440012345678,activated,2024-03-01T08:00:00Z,first,"},
			{"malformed_time", "x," + never + ",activated,2024/3/1 8:00,first,"},
			{"in_future", "x," + never + ",activated,9999-01-01T00:00:00Z,first,"},
			{"unknown_kind", "x," + never + ",开户,2024-03-01T08:00:00Z,first,"},
			{"unknown_origin", "x," + never + ",activated,2024-03-01T08:00:00Z,new,"},
			{"line_too_long", strings.Repeat("x", 70<<10) + "," + never + ",activated,2024-03-01T08:00:00Z,first,"},
			{"bad_character", "=cmd()|x y," + never + ",activated,2024-03-01T08:00:00Z,first,"},
			{"not_allowed", "x," + never + ",suspended,2024-03-01T08:00:00Z,first,"},
		}
		body := "id,number,kind,at,origin,corrects\r\n"
		for _, l := range bad {
			body += "\r\n" + l.line + "\r\n"
		}
		r := w.report("text/csv", "", "", body)
		for i := range r.Rejected {
			r.Rejected[i].Line-- // the header
		}
		s.linesRefused(t, r, bad, 2)
		if after := s.state(); after != before {
			t.Errorf("something was written:\n%s", difference(before, after))
		}
	})
}

// badRequests change one thing of a good request.
func badRequests(s *stage) []bad {
	good := s.requestBody(fresh, s.started, `["shop"]`)
	send := func(name string, status int, code, at, body string) bad {
		return bad{name, call{method: "POST", path: "/v1/requests", as: "cmcc", header: jsonType, body: body}, status, code, at}
	}
	with := func(name string, status int, code, at string, pairs ...string) bad {
		body := good
		for i := 0; i < len(pairs); i += 2 {
			if !strings.Contains(body, pairs[i]) {
				s.t.Fatalf("%s: nothing to change: %s", name, pairs[i])
			}
			body = strings.Replace(body, pairs[i], pairs[i+1], 1)
		}
		return send(name, status, code, at, body)
	}
	key := func(name, code, key string) bad {
		return bad{name, call{method: "POST", path: "/v1/requests", as: "cmcc", body: good,
			header: map[string]string{"Content-Type": "application/json", "Idempotency-Key": key}}, 400, "invalid", "Idempotency-Key"}
	}
	number, started, verified := `"`+fresh+`"`, `"`+stamp(s.started)+`"`, `"`+stamp(s.now)+`"`
	const apps, kinds, origin = `["shop"]`, `["unbind"]`, `"origin":"reassigned"`
	many := `["` + strings.TrimSuffix(strings.Repeat(`shop","`, 10_001), `,"`) + `]`
	ineligible := func(name, reason string, pairs ...string) bad {
		return with(name, 422, "ineligible "+reason, "", pairs...)
	}
	return []bad{
		with("an unknown member", 400, "unknown_member", "note", `"apps"`, `"note":"x","apps"`),
		with("an unknown member inside", 400, "unknown_member", "tenure.ended_at", origin, origin+`,"ended_at":1`),
		with("a member twice", 400, "duplicate_member", "apps", `"apps"`, `"apps":"all","apps"`),
		with("a member twice inside", 400, "duplicate_member", "proof.control", `"control"`, `"control":"sim","control"`),
		with("something behind it", 400, "malformed_json", "", `}}`, `}}]`),
		with("no number", 400, "required", "number", `"number":`+number+`,`, ``),
		with("a number that is null", 400, "required", "number", number, `null`),
		with("a number that is a number", 400, "wrong_type", "number", number, fresh[1:]),
		with("a number in national form", 400, "number_malformed", "number", number, `"13800138000"`),
		with("a number with blanks", 400, "number_malformed", "number", number, `"+86 13800138000"`),
		with("no tenure", 400, "required", "tenure", `"tenure"`, `"tenure":null,"x"`, `,"x":{"started_at":`+started+`,"origin":"reassigned"}`, ``),
		with("an empty tenure", 400, "required", "tenure", `{"started_at":`+started+`,"origin":"reassigned"}`, `{}`),
		with("a tenure without a start", 400, "required", "tenure.started_at", `"started_at":`+started+`,`, ``),
		with("a tenure that is a string", 400, "wrong_type", "tenure", `{"started_at":`+started+`,"origin":"reassigned"}`, `"x"`),
		with("a start in words", 400, "malformed_time", "tenure.started_at", started, `"long ago"`),
		with("a start without an offset", 400, "malformed_time", "tenure.started_at", started, `"2026-03-01T08:00:00"`),
		with("an unknown origin", 400, "invalid", "tenure.origin", origin, `"origin":"bought"`),
		with("an origin of activations only", 400, "invalid", "tenure.origin", origin, `"origin":"ported_in"`),
		with("no apps", 400, "invalid", "apps", apps, `[]`),
		with("apps in a word", 400, "wrong_type", "apps", apps, `"every"`),
		with("apps as an object", 400, "wrong_type", "apps", apps, `{"all":true}`),
		with("apps that are no strings", 400, "wrong_type", "apps[1]", apps, `["shop",7]`),
		with("too many apps", 400, "invalid", "apps", apps, many),
		with("an unknown app", 422, "unknown_app", "apps[1]", apps, `["shop","nothing"]`),
		with("an app that is a number", 422, "unknown_app", "apps[0]", apps, `["+8613800138000"]`),
		with("a carrier as an app", 422, "unknown_app", "apps[0]", apps, `["unicom"]`),
		with("a disabled app", 422, "unknown_app", "apps[0]", apps, `["gone"]`),
		with("an app twice", 422, "unknown_app", "apps[1]", apps, `["shop","shop"]`),
		with("an app that does not do it", 422, "unknown_app", "apps[0]", apps, `["calls"]`),
		with("no kinds", 400, "invalid", "kinds", kinds, `[]`),
		with("an unknown kind", 400, "invalid", "kinds[1]", kinds, `["unbind","delete"]`),
		with("a kind twice", 400, "invalid", "kinds[1]", kinds, `["unbind","unbind"]`),
		with("kinds in a word", 400, "wrong_type", "kinds", kinds, `"unbind"`),
		with("no proof", 400, "required", "proof", `,"proof":{"control":"sms_otp","identity":"carrier_crm","verified_at":`+verified+`}`, ``),
		with("an unknown proof of control", 400, "invalid", "proof.control", `"sms_otp"`, `"promise"`),
		with("an unknown identity factor", 400, "invalid", "proof.identity", `"carrier_crm"`, `"friend"`),
		with("a proof without a time", 400, "required", "proof.verified_at", `,"verified_at":`+verified, ``),
		with("a proof at no time", 400, "malformed_time", "proof.verified_at", verified, `"now"`),
		ineligible("a number of the internet of things", "number_kind_unsupported", number, `"+861440012345678"`),
		ineligible("a privacy number", "number_kind_unsupported", number, `"+86700123456789012"`),
		ineligible("a number never seen", "not_in_use", number, `"`+never+`"`),
		ineligible("a disconnected number", "not_in_use", number, `"`+ended+`"`),
		ineligible("another carrier's number", "not_in_use", number, `"`+foreign+`"`),
		ineligible("a first use", "first_use", number, `"`+firstUse+`"`, started, `"`+stamp(s.ago(50))+`"`, origin, `"origin":"first"`),
		ineligible("the tenure before", "tenure_mismatch", started, `"`+stamp(s.ago(900))+`"`),
		ineligible("another second", "tenure_mismatch", started, `"`+stamp(s.started.Add(time.Second))+`"`),
		ineligible("another origin", "tenure_mismatch", origin, `"origin":"transferred"`),
		ineligible("an ancient start", "tenure_mismatch", started, `"1970-01-01T00:00:00Z"`),
		ineligible("a start to come", "tenure_mismatch", started, `"9999-01-01T00:00:00Z"`),
		ineligible("an unknown start before the log's", "tenure_mismatch", origin, `"origin":"unknown"`, started, `"`+stamp(s.ago(200))+`"`),
		ineligible("no identity factor", "identity_missing", `"identity":"carrier_crm",`, ``),
		ineligible("an old proof", "proof_stale", verified, `"`+stamp(s.now.Add(-11*time.Minute))+`"`),
		ineligible("a proof to come", "proof_stale", verified, `"`+stamp(s.now.Add(time.Hour))+`"`),
		ineligible("all apps for a transfer", "choose_apps", number, `"`+moved+`"`, started, `"`+stamp(s.ago(40))+`"`, origin, `"origin":"transferred"`, apps, `"all"`),
		ineligible("a second one", "too_many", number, `"`+asked+`"`),
		key("a long key", "too_long", strings.Repeat("k", 129)),
		key("a key with blanks", "bad_character", "a b"),
		key("a key that is not ASCII", "bad_character", "编号"),
	}
}

func badFinds(s *stage) []bad {
	find := func(name, code, at, body string) bad {
		return bad{name, call{method: "POST", path: "/v1/requests/find", as: "cmcc", header: jsonType, body: body}, 400, code, at}
	}
	return []bad{
		find("no number", "required", "number", `{"number":null}`),
		find("a malformed one", "number_malformed", "number", `{"number":"13800138000"}`),
		find("of another type", "wrong_type", "number", `{"number":8613800138000}`),
		find("twice", "duplicate_member", "number", `{"number":"+8613800138000","number":"+8613800138000"}`),
		find("in a URL beside it", "unknown_member", "carrier", `{"number":"+8613800138000","carrier":"cmcc"}`),
	}
}

// badIDs are ids that name nothing: forged, of other things, spelt otherwise.
func badIDs(s *stage, good string, others ...string) map[string]string {
	prefix, _, _ := strings.Cut(good, "_")
	out := map[string]string{
		"a word": "x", "forged": prefix + "_00000000000000000000000000", "in capitals": strings.ToUpper(good), "longer": good + "0",
		"shorter": good[:len(good)-1], "a letter off": good[:len(good)-1] + map[bool]string{true: "0", false: "4"}[good[len(good)-1:] != "0"],
		"a database id": "1", "a phone number": "+8613800138000", "with a NUL": good + "%00", "not UTF-8": "%ff%fe", "long": strings.Repeat("a", 4000),
		"with a slash": "a%2Fb", "with dots": "%2e%2e", "with SQL": "1%27%20OR%20%271%27=%271",
	}
	for i, id := range others {
		out["another's "+strconv.Itoa(i)] = id
	}
	return out
}

func badIDCases(s *stage, method, as, path string, ids map[string]string) []bad {
	var out []bad
	for name, id := range ids {
		c := call{method: method, path: strings.Replace(path, "{}", id, 1), as: as}
		if method == "PUT" {
			c.header, c.body = jsonType, answerBody(s.shop, "unbound", "removed")
		}
		out = append(out, bad{name, c, 404, "not_found", ""})
	}
	return out
}

func badReads(s *stage) []bad {
	return badIDCases(s, "GET", "cmcc", "/v1/requests/{}", badIDs(s, s.mine.ID, s.theirs.ID, s.shop.ID, s.mine.TenureID))
}

func badCancels(s *stage) []bad {
	return badIDCases(s, "POST", "cmcc", "/v1/requests/{}/cancel", badIDs(s, s.mine.ID, s.theirs.ID, s.shop.ID, s.mine.TenureID))
}

func badAgains(s *stage) []bad {
	out := badIDCases(s, "POST", "cmcc", "/v1/requests/{}/tasks/"+s.shop.ID+"/again", badIDs(s, s.mine.ID, s.theirs.ID, s.shop.ID, s.mine.TenureID))
	out = append(out, badIDCases(s, "POST", "cmcc", "/v1/requests/"+s.mine.ID+"/tasks/{}/again",
		badIDs(s, s.shop.ID, s.mine.ID, s.theirs.Tasks[0].ID, s.done.ID, s.final.ID))...)
	again := func(name, code, task, key string) bad {
		return bad{name, call{method: "POST", path: "/v1/requests/" + s.mine.ID + "/tasks/" + task + "/again", as: "cmcc",
			header: map[string]string{"Idempotency-Key": key}}, 409, code, ""}
	}
	long := again("a long key", "invalid", s.shop.ID, strings.Repeat("k", 129))
	long.status, long.at = 400, "Idempotency-Key"
	return append(out, again("before anything is released", "not_released", s.shop.ID, ""), long)
}

// TestARefusalUnderAKeyIsRememberedAndNothingElse shows what a refused request leaves behind: its refusal.
func TestARefusalUnderAKeyIsRememberedAndNothingElse(t *testing.T) {
	w := startWorld(t)
	s := setStage(t, w)
	count := func(table string) (n int) {
		must(t, s.db.QueryRow("SELECT COUNT(*) FROM "+table).Scan(&n))
		return n
	}
	requests, tasks, keys := count("requests"), count("tasks"), count("idempotency")
	ask := w.request(fresh, s.ago(900), "shop")
	ask.Key = "refused-1"
	for range 3 {
		_, err := w.as("cmcc").CreateRequest(t.Context(), ask)
		refused(t, "a stale tenure", err, "ineligible tenure_mismatch")
	}
	malformed := ask
	malformed.Key, malformed.Number = "refused-2", "13800138000"
	_, err := w.as("cmcc").CreateRequest(t.Context(), malformed)
	refused(t, "a malformed number", err, "number_malformed")
	equal(t, "requests", count("requests"), requests)
	equal(t, "tasks", count("tasks"), tasks)
	equal(t, "remembered keys", count("idempotency"), keys+1)
	var text string
	must(t, s.db.QueryRow("SELECT refusal FROM idempotency").Scan(&text))
	if strings.Contains(text, fresh[1:]) {
		t.Errorf("the number is kept with the refusal: %s", text)
	}
}

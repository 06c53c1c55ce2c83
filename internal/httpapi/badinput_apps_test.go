package httpapi_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/huanxin-platform/huanxin/client"
)

func answerBody(task client.Task, outcome, reason string) string {
	a := client.AnswerTo(task, outcome, reason)
	a.TaskID = ""
	text, err := json.Marshal(a)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func badTaskLists(s *stage) []bad {
	list := func(name, at, query string) bad {
		return bad{name, call{method: "GET", path: "/v1/tasks?" + query, as: "shop"}, 400, "invalid", at}
	}
	return []bad{
		list("no limit", "limit", "limit=0"),
		list("a negative limit", "limit", "limit=-1"),
		list("a great limit", "limit", "limit=1001"),
		list("a huge limit", "limit", "limit=99999999999999999999"),
		list("a limit in words", "limit", "limit=many"),
		list("a limit that is a float", "limit", "limit=1.5"),
		list("an unknown state", "state", "state=asleep"),
		list("a state that is not open", "state", "state=answered"),
		list("a state in capitals", "state", "state=OPEN"),
		list("after nothing", "after", "after=x"),
		list("after a request", "after", "after="+s.mine.ID),
		list("after a forged id", "after", "after=task_00000000000000000000000000"),
		list("after a number", "after", "after=%2B8613800138000"),
		list("too many ids", "ids", "ids="+strings.Repeat(s.shop.ID+",", 100)+s.shop.ID),
		list("ids and a limit", "ids", "limit=5&ids="+s.shop.ID),
	}
}

func badTaskReads(s *stage) []bad {
	return badIDCases(s, "GET", "shop", "/v1/tasks/{}", badIDs(s, s.shop.ID, s.bank.ID, s.mine.ID, s.mine.TenureID))
}

func badEscalations(s *stage) []bad { return badPages(s, "/v1/escalations") }

func badCases(s *stage) []bad { return badPages(s, "/v1/cases") }

// badPages ask for pages that there cannot be.
func badPages(s *stage, path string) []bad {
	list := func(name, at, query string) bad {
		return bad{name, call{method: "GET", path: path + "?" + query, as: "shop"}, 400, "invalid", at}
	}
	return []bad{
		list("no limit", "limit", "limit=0"),
		list("a great limit", "limit", "limit=1001"),
		list("a limit in words", "limit", "limit=x"),
		list("after nothing", "after", "after=x"),
		list("after a task", "after", "after="+s.shop.ID),
	}
}

// badAnswers change one thing of a good answer.
func badAnswers(s *stage) []bad {
	good := answerBody(s.shop, "unbound", "removed")
	to := func(name string, task client.Task, status int, code, at, body string) bad {
		return bad{name, call{method: "PUT", path: "/v1/tasks/" + task.ID + "/answer", as: "shop", header: jsonType, body: body}, status, code, at}
	}
	with := func(name string, status int, code, at string, pairs ...string) bad {
		body := good
		for i := 0; i < len(pairs); i += 2 {
			if !strings.Contains(body, pairs[i]) {
				s.t.Fatalf("%s: nothing to change: %s", name, pairs[i])
			}
			body = strings.Replace(body, pairs[i], pairs[i+1], 1)
		}
		return to(name, s.shop, status, code, at, body)
	}
	action := []string{`"unbound"`, `"action_required"`, `"removed"`, `"confirm_own_account"`}
	link := func(name string, status int, code, link string) bad {
		text, err := json.Marshal(link)
		if err != nil {
			panic(err)
		}
		return with("link "+name, status, code, "link", append(action, `"digest"`, `"link":`+string(text)+`,"digest"`)...)
	}
	out := badIDCases(s, "PUT", "shop", "/v1/tasks/{}/answer", badIDs(s, s.shop.ID, s.bank.ID, s.mine.ID, s.mine.TenureID))
	return append(out,
		with("an unknown member", 400, "unknown_member", "task", `"digest"`, `"task":"x","digest"`),
		with("the member of a batch", 400, "unknown_member", "task_id", `"digest"`, `"task_id":"x","digest"`),
		with("a member twice", 400, "duplicate_member", "outcome", `"outcome"`, `"outcome":"kept","outcome"`),
		with("no outcome", 400, "required", "outcome", `"outcome":"unbound",`, ``),
		with("no reason", 400, "required", "reason", `"reason":"removed",`, ``),
		with("no tenure", 400, "required", "tenure_id", s.shop.Tenure.ID, ``),
		with("no digest", 400, "required", "digest", s.shop.Digest, ``),
		with("an outcome of another type", 400, "wrong_type", "outcome", `"unbound"`, `1`),
		with("an unknown outcome", 422, "unknown_outcome", "outcome", `"unbound"`, `"other"`),
		with("an unknown reason", 422, "unknown_reason", "reason", `"removed"`, `"other"`),
		with("a reason of another outcome", 422, "unknown_reason", "reason", `"removed"`, `"legal_hold"`),
		with("another tenure", 422, "wrong_tenure", "tenure_id", s.shop.Tenure.ID, s.done.Tenure.ID),
		with("a forged tenure", 422, "wrong_tenure", "tenure_id", s.shop.Tenure.ID, "ten_00000000000000000000000000"),
		with("another digest", 422, "wrong_digest", "digest", s.shop.Digest, s.done.Digest),
		with("a digest in capitals", 422, "wrong_digest", "digest", s.shop.Digest, strings.ToUpper(s.shop.Digest)),
		with("no hex", 422, "wrong_digest", "digest", s.shop.Digest, "+8613800138000"),
		with("a link where there is none", 400, "invalid", "link", `"digest"`, `"link":"https://shop.example","digest"`),
		with("a long note", 400, "invalid", "note", `"digest"`, `"note":"`+strings.Repeat("x", 2001)+`","digest"`),
		link("that is none", 400, "invalid", "confirm here"),
		link("without TLS", 400, "invalid", "http://shop.example/"),
		link("that runs", 400, "invalid", "javascript:alert(1)"),
		link("with a password", 400, "invalid", "https://u:p@shop.example/"),
		link("on no host", 400, "invalid", "https:///x"),
		link("too long", 400, "invalid", "https://shop.example/"+strings.Repeat("x", 2100)),
		link("on another domain", 422, "link_not_registered", "https://evil.example/"),
		link("on a domain that ends alike", 422, "link_not_registered", "https://evilshop.example/"),
		link("on a host that some browsers cut", 422, "link_not_registered", "https://evil.test／.shop.example/"),
		to("another final answer", s.final, 409, "already_final", "", answerBody(s.final, "kept", "legal_hold")),
		to("another reason", s.final, 409, "already_final", "", answerBody(s.final, "unbound", "moved_to_other_contact")),
	)
}

// badAnswerLines has nothing beside what fits every line-wise endpoint; see TestBadLinesOfAnswersAreRefusedOneByOne.
func badAnswerLines(*stage) []bad {
	return []bad{{"CSV", call{method: "POST", path: "/v1/answers", as: "shop", header: map[string]string{"Content-Type": "text/csv"},
		body: "task_id,outcome,reason,tenure_id,digest\n"}, 415, "unsupported_media_type", ""}}
}

func TestBadLinesOfAnswersAreRefusedOneByOne(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		s := setStage(t, w)
		before := s.state()
		line := func(task client.Task, change ...string) string {
			text := strings.Replace(answerBody(task, "unbound", "removed"), "{", `{"task_id":"`+task.ID+`",`, 1)
			for i := 0; i < len(change); i += 2 {
				text = strings.Replace(text, change[i], change[i+1], 1)
			}
			return text
		}
		bad := []badLine{
			{"malformed_json", "{"},
			{"wrong_type", "[]"},
			{"required", "{}"},
			{"required", line(s.shop, s.shop.ID, "")},
			{"unknown_member", line(s.shop, `"outcome"`, `"task":"x","outcome"`)},
			{"duplicate_member", line(s.shop, `"outcome"`, `"reason":"x","outcome"`)},
			{"invalid_utf8", line(s.shop, "removed", "\xff")},
			{"line_too_long", line(s.shop, "removed", strings.Repeat("x", 70<<10))},
			{"wrong_type", line(s.shop, `"removed"`, "1")},
			{"wrong_type", strings.Repeat("[", 30_000)},
			{"unknown_outcome", line(s.shop, "unbound", "other")},
			{"unknown_reason", line(s.shop, "removed", "other")},
			{"unknown_reason", line(s.shop, "removed", "legal_hold")},
			{"not_found", line(s.shop, s.shop.ID, "+8613800138000")},
			{"not_found", line(s.shop, s.shop.ID, "task_00000000000000000000000000")},
			{"not_found", line(s.bank)},
			{"wrong_tenure", line(s.shop, s.shop.Tenure.ID, s.done.Tenure.ID)},
			{"wrong_digest", line(s.shop, s.shop.Digest, s.done.Digest)},
			{"already_final", line(s.final, "unbound", "kept", "removed", "legal_hold")},
			{"too_long", line(s.shop, `"outcome"`, `"note":"`+strings.Repeat("x", 2001)+`","outcome"`)},
			{"not_allowed", line(s.shop, `"outcome"`, `"link":"https://shop.example/","outcome"`)},
			{"bad_link", line(s.shop, "unbound", "action_required", "removed", "confirm_own_account", `"outcome"`, `"link":"x","outcome"`)},
			{"link_not_registered", line(s.shop, "unbound", "action_required", "removed", "confirm_own_account", `"outcome"`, `"link":"https://evil.example/","outcome"`)},
		}
		var body strings.Builder
		for _, l := range bad {
			body.WriteString(l.line + "\n")
		}
		a := w.do(call{method: "POST", path: "/v1/answers", as: "shop", body: body.String(), header: map[string]string{"Content-Type": "application/x-ndjson"}})
		equal(t, "status", a.status, 200)
		var r receipt
		a.into(t, &r)
		s.linesRefused(t, r, bad, 1)
		if after := s.state(); after != before {
			t.Errorf("something was written:\n%s", difference(before, after))
		}
	})
}

// TestAnAnswerWithoutEffectIsRecordedOnce shows that a replay of it leaves nothing more.
func TestAnAnswerWithoutEffectIsRecordedOnce(t *testing.T) {
	onBothEngines(t, func(t *testing.T, w *world) {
		s := setStage(t, w)
		put := call{method: "PUT", path: "/v1/tasks/" + s.done.ID + "/answer", as: "shop", header: jsonType, body: answerBody(s.done, "unbound", "removed")}
		answers := func() (n int) {
			must(t, s.db.QueryRow("SELECT COUNT(*) FROM answers").Scan(&n))
			return n
		}
		before := answers()
		for range 3 {
			a := w.do(put)
			if a.status != 409 || a.Code != "no_effect" || a.Reason != "cancelled" {
				t.Errorf("%d %s", a.status, a.body)
			}
			equal(t, "recorded", answers(), before+1)
		}
	})
}

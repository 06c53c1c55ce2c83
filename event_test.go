package huanxin_test

import (
	"strings"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
)

func TestAReportIsRefusedByItsFormBeforeAnythingIsAsked(t *testing.T) {
	now := day(1000, "12:00")
	good := huanxin.Event{ID: "cmcc-1", Number: number(t, "+8613800000001"), Kind: huanxin.Suspended, At: now}
	with := func(change func(*huanxin.Event)) huanxin.Event { e := good; change(&e); return e }
	for _, c := range []struct {
		what  string
		event huanxin.Event
		code  string // of the field, or of the refusal; empty: taken
	}{
		{"a good report", good, ""},
		{"an id of 128 characters", with(func(e *huanxin.Event) { e.ID = strings.Repeat("x", 128) }), ""},
		{"an id of 129", with(func(e *huanxin.Event) { e.ID = strings.Repeat("x", 129) }), "too_long"},
		{"no id", with(func(e *huanxin.Event) { e.ID = "" }), "required"},
		{"a blank in the id", with(func(e *huanxin.Event) { e.ID = "a b" }), "bad_character"},
		{"a Chinese id", with(func(e *huanxin.Event) { e.ID = "号" }), "bad_character"},
		{"a control character in the id", with(func(e *huanxin.Event) { e.ID = "a\x7f" }), "bad_character"},
		// "`activated` with origin `first` or `reassigned`", "`ported_in` and `unknown`"
		{"an activation without an origin", with(func(e *huanxin.Event) { e.Kind = huanxin.Activated }), "required"},
		{"an activation with one", with(func(e *huanxin.Event) { e.Kind, e.Origin = huanxin.Activated, huanxin.ActivatedFirst }), ""},
		{"another kind with an origin", with(func(e *huanxin.Event) { e.Origin = huanxin.ActivatedFirst }), "not_allowed"},
		// "`corrected`, which voids one earlier event of the same carrier"
		{"a correction of nothing", with(func(e *huanxin.Event) { e.Kind = huanxin.Corrected }), "required"},
		{"a correction of something", with(func(e *huanxin.Event) { e.Kind, e.CorrectsID = huanxin.Corrected, "a" }), ""},
		{"another kind that corrects", with(func(e *huanxin.Event) { e.CorrectsID = "a" }), "not_allowed"},
		// "`at` more than 5 minutes ahead (`in_future`)"
		{"5 minutes ahead", with(func(e *huanxin.Event) { e.At = now.Add(5 * time.Minute) }), ""},
		{"a moment more", with(func(e *huanxin.Event) { e.At = now.Add(5*time.Minute + 1) }), "in_future"},
		{"before there were mobile numbers", with(func(e *huanxin.Event) { e.At = time.Unix(0, 0) }), "too_early"},
		{"no time at all", with(func(e *huanxin.Event) { e.At = time.Time{} }), "too_early"},
		// "a number of an unsupported kind (`number_kind_unsupported`)"
		{"an IoT number", with(func(e *huanxin.Event) { e.Number = number(t, "+861410123456789") }), "number_kind_unsupported"},
		{"a privacy number", with(func(e *huanxin.Event) { e.Number = number(t, "+86700123456789012") }), "number_kind_unsupported"},
		{"a satellite number", with(func(e *huanxin.Event) { e.Number = number(t, "+8617490000001") }), "number_kind_unsupported"},
		{"an emergency number", with(func(e *huanxin.Event) { e.Number = number(t, "+8617406000001") }), "number_kind_unsupported"},
		{"a landline", with(func(e *huanxin.Event) { e.Number = number(t, "+861012345678") }), "number_kind_unsupported"},
		// "a well-formed number on an unknown segment is accepted and flagged, never rejected" (§8)
		{"an unknown segment", with(func(e *huanxin.Event) { e.Number = number(t, "+8619400000001") }), ""},
		{"a virtual operator's", with(func(e *huanxin.Event) { e.Number = number(t, "+8617100000001") }), ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			err := c.event.Check(now)
			if got := codeOf(err); got != c.code {
				t.Fatalf("got %q (%v), want %q", got, err, c.code)
			}
			want := huanxin.Invalid
			if c.code == "in_future" || c.code == "number_kind_unsupported" {
				want = huanxin.Refused
			}
			if err != nil && huanxin.KindOf(err) != want {
				t.Errorf("kind %v, want %v", huanxin.KindOf(err), want)
			}
		})
	}
}

// codeOf gives the code of a refusal, or of its one field; empty where there is none.
func codeOf(err error) string {
	if err == nil {
		return ""
	}
	if e, ok := err.(*huanxin.Error); ok && e.Code == "invalid" && len(e.Fields) == 1 {
		return e.Fields[0].Code
	}
	return huanxin.CodeOf(err)
}

func TestReportingAnEventAgainIsHarmlessAndOtherContentIsNot(t *testing.T) {
	// "an id, unique per carrier, that makes reporting it again harmless"; "an id seen with other content (`id_conflict`)"
	at := day(10, "10:00")
	e := huanxin.Event{No: 1, Carrier: 1, ID: "a", Number: number(t, "+8613800000001"), Kind: huanxin.Activated, At: at, Origin: huanxin.ActivatedFirst}
	again := e
	again.No, again.At = 9, at.UTC()
	if !e.Same(&again) {
		t.Error("the same instant in another zone is the same report")
	}
	for what, change := range map[string]func(*huanxin.Event){
		"number": func(e *huanxin.Event) { e.Number = number(t, "+8613800000002") },
		"kind":   func(e *huanxin.Event) { e.Kind = huanxin.Ported },
		"time":   func(e *huanxin.Event) { e.At = at.Add(time.Microsecond) },
		"origin": func(e *huanxin.Event) { e.Origin = huanxin.ActivatedReassigned },
		"voids":  func(e *huanxin.Event) { e.Corrects = 3 },
	} {
		other := e
		change(&other)
		if e.Same(&other) || other.Same(&e) {
			t.Errorf("another %s is another event", what)
		}
	}
}

func TestTheWordsOfTheContractAreReadAndWritten(t *testing.T) {
	word(t, huanxin.ParseEventKind, "activated", "suspended", "resumed", "disconnected", "reinstated", "transferred", "ported", "corrected")
	word(t, huanxin.ParseActivationOrigin, "first", "reassigned", "ported_in", "unknown")
	word(t, huanxin.ParseTenureOrigin, "first", "reassigned", "transferred", "unknown")
	word(t, huanxin.ParseControl, "sms_otp", "network", "sim")
	word(t, huanxin.ParseIdentity, "carrier_crm", "id_card", "face", "national_eid")
	word(t, huanxin.ParseTaskKind, "unbind", "stop_contact", "clear_label", "lift_restriction")
	word(t, huanxin.ParseTaskState, "queued", "delivered", "in_review", "action_required", "failed", "overdue", "escalated",
		"expired", "answered", "cancelled", "aborted")
	word(t, huanxin.ParseOutcome, "action_required", "in_review", "failed", "unbound", "kept", "not_bound")
	word(t, huanxin.ParsePartyKind, "carrier", "app", "regulator", "admin")
}

// word reads and writes every word of an enum, in its order, and nothing else. "There is no other."
func word[T interface {
	~uint8
	String() string
}](t *testing.T, parse func(string) (T, error), words ...string) {
	t.Helper()
	for i, w := range words {
		if v, err := parse(w); err != nil || int(v) != i+1 || v.String() != w {
			t.Errorf("%s: %d %v %v", w, v, v, err)
		}
	}
	for _, bad := range []string{"", "other", strings.ToUpper(words[0]), " " + words[0], words[0] + "\n", words[0] + "," + words[0]} {
		if v, err := parse(bad); v != 0 || huanxin.KindOf(err) != huanxin.Invalid || bad != "" && strings.Contains(err.Error(), "+86") {
			t.Errorf("%q: %v, %v", bad, v, err)
		}
	}
	for _, none := range []T{0, T(len(words) + 1), 255} {
		if s := none.String(); !strings.Contains(s, "(") {
			t.Errorf("value %d is called %q", none, s)
		}
	}
}

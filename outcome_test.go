package huanxin_test

import (
	"strings"
	"testing"

	"github.com/huanxin-platform/huanxin"
)

// pairs is the table of DOMAIN.md §6, "An app's answer is an outcome with a reason", with its column "final".
var pairs = map[string]struct {
	final   bool
	reasons string
}{
	"unbound":         {true, "removed moved_to_other_contact"},
	"not_bound":       {true, "none_found already_cleared"},
	"kept":            {true, "bound_by_current_holder same_person legal_hold not_in_scope number_kind_unsupported suspected_abuse"},
	"in_review":       {false, "bound_at_unknown ambiguous_dates assets_held business_account restricted_number"},
	"action_required": {false, "confirm_own_account extra_verification evidence_needed"},
	"failed":          {false, "temporary not_synced"},
}

// everyPair gives all outcomes with all reasons and whether they go together.
func everyPair(t testing.TB, yield func(o huanxin.Outcome, r huanxin.Reason, fits bool)) {
	for word, p := range pairs {
		o, err := huanxin.ParseOutcome(word)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range pairs {
			for reason := range strings.FieldsSeq(q.reasons) {
				r, err := huanxin.ParseReason(reason)
				if err != nil {
					t.Fatal(err)
				}
				yield(o, r, q == p)
			}
		}
	}
}

func TestAnOutcomeHasItsReasonsAndThereIsNoOther(t *testing.T) {
	everyPair(t, func(o huanxin.Outcome, r huanxin.Reason, fits bool) {
		if o.Fits(r) != fits {
			t.Errorf("%v with %v fits %v", o, r, !fits)
		}
		err := (&huanxin.Answer{Outcome: o, Reason: r}).Check(nil)
		if (err == nil) != fits || err != nil && (huanxin.KindOf(err) != huanxin.Refused || codeOf(err) != "unknown_reason") {
			t.Errorf("%v with %v: %v", o, r, err)
		}
	})
	for word, p := range pairs {
		o, _ := huanxin.ParseOutcome(word)
		var words []string
		for _, r := range o.Reasons() {
			words = append(words, r.String())
		}
		if strings.Join(words, " ") != p.reasons || o.Final() != p.final || o.Fits(0) {
			t.Errorf("%s: %v, final %v", word, words, o.Final())
		}
	}
	for _, bad := range []string{"other", "", "Removed", "unbound"} {
		if r, err := huanxin.ParseReason(bad); r != 0 || huanxin.KindOf(err) != huanxin.Invalid {
			t.Errorf("%q is no reason: %v", bad, err)
		}
	}
	none := huanxin.Answer{}
	if huanxin.CodeOf(none.Check(nil)) != "unknown_reason" {
		t.Error("no outcome is no answer")
	}
}

func TestALinkIsHTTPSOnADomainThatTheAppRegistered(t *testing.T) {
	// Rule 3: "An app's `link` is https on a domain it registered; its `note` never reaches the holder."
	domains := []string{"bank.example", "xn--fiq228c.example", ""}
	for link, code := range map[string]string{
		"https://bank.example/confirm?x=1#y":        "",
		"https://BANK.example":                      "",
		"https://app.bank.example:8443/":            "",
		"https://a.b.bank.example/":                 "",
		"https://xn--fiq228c.example/":              "",
		"http://bank.example/":                      "bad_link",
		"ftp://bank.example/":                       "bad_link",
		"javascript:alert(1)//bank.example":         "bad_link",
		"//bank.example/":                           "bad_link",
		"/confirm":                                  "bad_link",
		"https:bank.example":                        "bad_link",
		"https:///bank.example":                     "bad_link",
		"https://user@bank.example/":                "bad_link",
		"https://bank.example:x@evil.test/":         "bad_link",
		"https://@bank.example/":                    "bad_link",
		"https://bank.example\n/":                   "bad_link",
		" https://bank.example/":                    "bad_link",
		"https://bank.example\\@evil.test/":         "bad_link",
		"https://evil.test\\.bank.example/":         "bad_link",
		"https://bank.example/" + long(2048):        "bad_link",
		"https://evil.test/":                        "link_not_registered",
		"https://evilbank.example/":                 "link_not_registered",
		"https://bank.example.evil.test/":           "link_not_registered",
		"https://example/":                          "link_not_registered",
		"https://.bank.example.":                    "link_not_registered",
		"https://evil.test./":                       "link_not_registered",
		"https://evil.test/bank.example":            "link_not_registered",
		"https://evil.test?.bank.example":           "link_not_registered",
		"https://evil.test／.bank.example/":          "link_not_registered",
		"https://evil.c℀.bank.example/":             "link_not_registered",
		"https://evil.test%EF%BC%8F.bank.example/":  "link_not_registered",
		"https://evil.test%25.bank.example/":        "link_not_registered",
		"https://evil.test\"onclick=.bank.example/": "link_not_registered",
		"https://127.0.0.1/":                        "link_not_registered",
		"https://[::1]/":                            "link_not_registered",
	} {
		a := huanxin.Answer{Outcome: huanxin.ActionRequired, Reason: huanxin.EvidenceNeeded, Link: link}
		if got := codeOf(a.Check(domains)); got != code {
			t.Errorf("%s: %q, want %q", link[:min(len(link), 60)], got, code)
		}
		if codeOf(a.Check(nil)) == "" {
			t.Errorf("%s: an app without domains has no links", link)
		}
	}
}

func long(n int) string { return strings.Repeat("x", n) }

func TestOnlyActionRequiredHasALink(t *testing.T) {
	everyPair(t, func(o huanxin.Outcome, r huanxin.Reason, fits bool) {
		a := huanxin.Answer{Outcome: o, Reason: r, Link: "https://bank.example/"}
		if got := codeOf(a.Check([]string{"bank.example"})); fits && (got == "") != (o == huanxin.ActionRequired) {
			t.Errorf("%v %v with a link: %q", o, r, got)
		}
	})
}

func TestANoteIsShortAndUTF8(t *testing.T) {
	for note, code := range map[string]string{"": "", long(2000): "", long(2001): "too_long", strings.Repeat("备", 666): "",
		strings.Repeat("备", 667): "too_long", "\xff": "too_long"} {
		a := huanxin.Answer{Outcome: huanxin.Kept, Reason: huanxin.LegalHold, Note: note}
		if got := codeOf(a.Check(nil)); got != code {
			t.Errorf("a note of %d bytes: %q", len(note), got)
		}
	}
}

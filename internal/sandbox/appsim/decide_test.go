package appsim

import (
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
)

func onDay(t time.Time) When { return OnDay(huanxin.DateOf(t, huanxin.China)) }

// TestEveryRowOfTheTableIsDecidedAndDone goes through DOMAIN.md §6 on the database: what is answered first, and whether the
// number still opens the account.
func TestEveryRowOfTheTableIsDecidedAndDone(t *testing.T) {
	o := working(t)
	old := tenure.Add(-700 * day)
	cases := []struct {
		name    string
		origin  string
		row     int
		outcome string
		reason  string
		change  func(*Account)
	}{
		{"bound in the tenure", "reassigned", 1, "kept", "bound_by_current_holder", bound(tenure.Add(day), At(tenure.Add(day)))},
		{"bound at its first instant", "reassigned", 1, "kept", "bound_by_current_holder", bound(tenure, At(tenure))},
		{"bound on a day in it", "reassigned", 1, "kept", "bound_by_current_holder", bound(tenure.Add(3*day), onDay(tenure.Add(3*day)))},
		{"verified to be the holder", "reassigned", 2, "kept", "same_person", func(c *Account) {
			c.Owner, c.Verified, c.VerifiedAt = holder(c.Number), huanxin.Yes, tenure.Add(time.Hour)
		}},
		{"nobody wrote down when", "reassigned", 3, "in_review", "bound_at_unknown", bound(old, When{})},
		{"on the tenure's day", "reassigned", 4, "in_review", "ambiguous_dates", bound(tenure.Add(-time.Hour), onDay(tenure))},
		{"23 hours before", "reassigned", 4, "in_review", "ambiguous_dates", bound(tenure.Add(-23*time.Hour), At(tenure.Add(-23*time.Hour)))},
		{"a tenure of unknown start", "unknown", 5, "action_required", "confirm_own_account", bound(old, At(old))},
		{"somebody signed in otherwise in the tenure", "reassigned", 6, "action_required", "confirm_own_account",
			func(c *Account) { c.LastProof = At(tenure.Add(day)) }},
		{"nobody knows whether somebody did", "transferred", 6, "action_required", "confirm_own_account", func(c *Account) { c.LastProof = When{} }},
		{"verified to be the holder of before", "reassigned", 6, "action_required", "confirm_own_account", func(c *Account) {
			c.Verified, c.VerifiedAt, c.LastProof = huanxin.Yes, tenure.Add(-time.Second), At(tenure.Add(day))
		}},
		{"bound long before", "reassigned", 7, "unbound", "removed", nil},
		{"bound on a day long before", "transferred", 7, "unbound", "removed", bound(old, onDay(old))},
		{"bound before, detached and attached again since", "reassigned", 7, "unbound", "removed", func(c *Account) { c.LastBound = tenure.Add(day) }},
		{"somebody else, verified", "reassigned", 7, "unbound", "removed", func(c *Account) {
			c.LastProof, c.Verified, c.VerifiedAt = At(tenure.Add(day)), huanxin.No, tenure.Add(day)
		}},
	}
	numbers, tasks, accounts, rows := make([]huanxin.Number, len(cases)), make([]string, len(cases)), make([]string, len(cases)), map[int]int{}
	for i, c := range cases {
		numbers[i] = o.numberOf(c.origin)
		accounts[i] = o.account(numbers[i], func(a *Account) {
			if c.change != nil {
				c.change(a)
			}
		})
		_, tasks[i] = o.askOf(numbers[i], c.origin)
		rows[c.row]++
	}
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o := *o
			o.t = t
			o.answered(tasks[i], c.outcome, c.reason)
			w := o.worked(tasks[i])
			if len(w.Rows) != 1 || w.Rows[0] != c.row {
				t.Errorf("rows %v, want %d", w.Rows, c.row)
			}
			if c.outcome == "unbound" {
				o.opens(numbers[i])
			} else {
				o.opens(numbers[i], accounts[i])
			}
			if (w.Unbound == 1) != (c.outcome == "unbound") {
				t.Errorf("%d bindings were unbound", w.Unbound)
			}
		})
	}
	got, err := o.Rows(t.Context())
	o.must(err)
	for row := 1; row <= 7; row++ {
		if got[row] != rows[row] {
			t.Errorf("row %d occurred %d times, want %d", row, got[row], rows[row])
		}
	}
	o.clean()
}

func TestANumberThatIsBoundNowhereIsNotBound(t *testing.T) {
	o := working(t)
	never, before := o.number(), o.number()
	o.account(before)
	o.exec(`UPDATE bindings SET detached_at = 1`)
	_, first := o.ask(never)
	_, second := o.ask(before)
	o.answered(first, "not_bound", "none_found")
	o.answered(second, "not_bound", "none_found")
}

func TestSeveralBindingsGiveOneAnswerAndEachIsTreatedByItsRow(t *testing.T) {
	o := working(t)
	n := o.number()
	o.account(n, func(c *Account) { c.ID = "old" })
	own := o.account(n, bound(tenure.Add(day), At(tenure.Add(day))), func(c *Account) { c.ID = "own" }, belongsToTheHolder)
	o.account(n, bound(tenure.Add(-400*day), When{}), func(c *Account) { c.ID = "unknown" })
	_, task := o.ask(n)
	o.answered(task, "in_review", "bound_at_unknown")
	o.opens(n, "own", "unknown") // the old one is gone although the answer is that of another
	o.people()
	o.answered(task, "unbound", "removed")
	o.opens(n, own)
	o.clean()
}

// TestAReviewEndsByWhatIsTrue has a person look at what the app does not know.
func TestAReviewEndsByWhatIsTrue(t *testing.T) {
	old := tenure.Add(-400 * day)
	for _, c := range []struct {
		name            string
		class           string
		outcome, reason string
		first           string // of the reasons to review
		change          func(*Account)
	}{
		{"an old binding of another person", "social", "unbound", "removed", "bound_at_unknown", bound(old, When{})},
		{"bound by the holder in the tenure", "social", "kept", "bound_by_current_holder", "bound_at_unknown",
			func(c *Account) { bound(tenure.Add(day), When{})(c); belongsToTheHolder(c) }},
		{"bound by another in the tenure", "social", "kept", "bound_by_current_holder", "bound_at_unknown", bound(tenure.Add(time.Second), When{})},
		{"an old binding of the holder", "social", "kept", "same_person", "bound_at_unknown",
			func(c *Account) { bound(old, When{})(c); belongsToTheHolder(c) }},
		{"nobody can find out when", "social", "kept", "not_in_scope", "bound_at_unknown", bound(time.Time{}, When{})},
		{"the same day, before", "social", "unbound", "removed", "ambiguous_dates", bound(tenure.Add(-time.Minute), onDay(tenure))},
		{"the same day, at the start", "social", "kept", "bound_by_current_holder", "ambiguous_dates", bound(tenure, onDay(tenure))},
		{"a company with another way in", "social", "unbound", "moved_to_other_contact", "business_account", func(c *Account) { c.Business = true }},
		{"a company without", "social", "kept", "not_in_scope", "business_account",
			func(c *Account) { c.Business, c.HasOtherContact = true, false }},
		{"a debt", "lending", "unbound", "removed", "assets_held", func(c *Account) { c.Owed = true }},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := working(t, class(c.class))
			n := o.number()
			account := o.account(n, c.change)
			_, task := o.ask(n)
			o.answered(task, "in_review", c.first)
			o.opens(n, account)
			o.people()
			o.answered(task, c.outcome, c.reason)
			if c.outcome == "unbound" {
				account = ""
				o.opens(n)
			} else {
				o.opens(n, account)
			}
			o.clean()
		})
	}
}

func TestAReviewWithoutTheTruthUnbindsNothing(t *testing.T) {
	o := working(t, func(o *office) { o.o.Holder = nil })
	n := o.number()
	account := o.account(n, bound(tenure.Add(-time.Minute), onDay(tenure)))
	_, task := o.ask(n)
	o.answered(task, "in_review", "ambiguous_dates")
	o.people()
	o.answered(task, "kept", "not_in_scope")
	o.opens(n, account)
}

func TestAReviewOfAnUnknownStartAsksTheHolder(t *testing.T) {
	o := working(t)
	n := o.numberOf("unknown")
	account := o.account(n, bound(tenure.Add(-400*day), When{}))
	_, task := o.askOf(n, "unknown")
	o.answered(task, "in_review", "bound_at_unknown")
	o.people()
	o.answered(task, "action_required", "confirm_own_account")
	o.opens(n, account)
	o.clean()
}

func TestALegalHoldKeepsWhatTheTableWouldUnbindAndNothingElse(t *testing.T) {
	o := working(t)
	frozen, own := o.number(), o.number()
	account := o.account(frozen, func(c *Account) { c.LegalHold = true })
	o.account(own, bound(tenure.Add(day), At(tenure.Add(day))), func(c *Account) { c.LegalHold = true })
	_, first := o.ask(frozen)
	_, second := o.ask(own)
	o.answered(first, "kept", "legal_hold")
	o.answered(second, "kept", "bound_by_current_holder")
	o.opens(frozen, account)
}

func TestMoneyInAnAccountDoesNotStopAnUnbinding(t *testing.T) {
	o := working(t) // a debt is looked at by payment and lending apps alone
	n := o.number()
	o.account(n, func(c *Account) { c.Owed, c.BalanceFen = true, 99999999 })
	_, task := o.ask(n)
	o.answered(task, "unbound", "removed")
	o.clean()
}

// TestTheHolderConfirmsByAnotherFactorOrChangesNothing is "mine" and silence.
func TestTheHolderConfirmsByAnotherFactorOrChangesNothing(t *testing.T) {
	o := working(t)
	proof := func(c *Account) { c.LastProof = At(tenure.Add(day)) }
	var mine huanxin.Number
	for part("silent", "u"+mine.E164()) < silent/4. || mine.IsZero() {
		mine = o.number()
	}
	theirs := o.number()
	account := o.account(mine, proof, belongsToTheHolder)
	other := o.account(theirs, proof)
	_, first := o.ask(mine)
	_, second := o.ask(theirs)
	o.answered(first, "action_required", "confirm_own_account")
	o.answered(second, "action_required", "confirm_own_account")
	o.people()
	o.answered(first, "kept", "same_person")
	o.answered(second, "action_required", "confirm_own_account")
	o.opens(mine, account)
	o.opens(theirs, other)
	o.clean()
}

package sandbox

import (
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue"
)

var testEpoch = time.Date(2026, time.November, 1, 0, 0, 0, 0, huanxin.China)

func TestASeedMakesOneWorld(t *testing.T) {
	a, b := NewWorld(7, testEpoch, 400), NewWorld(7, testEpoch, 400)
	if !reflect.DeepEqual(a, b) {
		t.Error("one seed, two worlds")
	}
	if !reflect.DeepEqual(a.Bindings(), b.Bindings()) {
		t.Error("one seed, two sets of accounts")
	}
	other := NewWorld(8, testEpoch, 400)
	if a.People[0].Number == other.People[0].Number || reflect.DeepEqual(a.Bindings(), other.Bindings()) {
		t.Error("two seeds, one world")
	}
}

func TestAStoryDependsOnNoOther(t *testing.T) {
	few, many := NewWorld(7, testEpoch, 50), NewWorld(7, testEpoch, 400)
	for i := range few.People {
		if !reflect.DeepEqual(few.People[i], many.People[i]) {
			t.Fatalf("story %d is another one where there are more of them", i)
		}
	}
	later := NewWorld(7, testEpoch.AddDate(0, 0, 1), 50)
	for i, s := range later.All() {
		was := few.All()[i]
		if s.Number != was.Number || len(s.Events) != len(was.Events) || s.Events[0].ID != was.Events[0].ID {
			t.Fatalf("story %d has another number or other events a day later", s.No)
		}
	}
}

func TestEveryStoryFitsTheRules(t *testing.T) {
	w := NewWorld(3, testEpoch, 2000)
	plots, numbers := map[Plot]int{}, map[huanxin.Number]bool{}
	for _, s := range w.All() {
		plots[s.Plot]++
		if numbers[s.Number] {
			t.Fatalf("story %d has the number of another one", s.No)
		}
		numbers[s.Number] = true
		got, err := huanxin.Replay(s.Events, 0, cooling)
		if err != nil {
			t.Fatalf("%s, story %d: %v", s.Plot, s.No, err)
		}
		now, held := s.Now()
		if held != got.Held() || held && (!now.From.Equal(got.StartedAt) || now.Origin != got.Origin || int(got.Carrier) != s.Carrier+1) {
			t.Errorf("%s, story %d: told %+v, the rules say %+v", s.Plot, s.No, now, got)
		}
		for _, e := range s.Events {
			if err := e.Check(testEpoch); err != nil || !e.At.Before(testEpoch) {
				t.Errorf("%s, story %d: %v", s.Plot, s.No, err)
			}
		}
		if k := s.Number.Kind(); k != huanxin.KindMobile && k != huanxin.KindMVNO {
			t.Errorf("story %d has a number of kind %s", s.No, k)
		}
	}
	for _, s := range shares {
		if want := s.share * 2; plots[s.plot] < want {
			t.Errorf("%d stories of %q, not %d", plots[s.plot], s.plot, want)
		}
	}
}

func TestACarrierThatServedItFirstTellsOfANumberFirst(t *testing.T) {
	for _, s := range NewWorld(3, testEpoch, 300).All() {
		var told []huanxin.Event
		for round := 0; ; round++ {
			part := roundOf(s, round)
			if part == nil {
				break
			}
			if slices.ContainsFunc(part, func(e huanxin.Event) bool { return e.Carrier != part[0].Carrier }) {
				t.Errorf("story %d: a round of two carriers", s.No)
			}
			told = append(told, part...)
		}
		if !reflect.DeepEqual(told, s.Events) {
			t.Errorf("story %d: the rounds are not the story", s.No)
		}
	}
}

func TestEveryRowOfTheDecisionTableOccurs(t *testing.T) {
	w := NewWorld(1, testEpoch, 2000)
	standings := map[huanxin.Number]huanxin.Standing{}
	for _, s := range w.All() {
		standings[s.Number], _ = huanxin.Replay(s.Events, 0, cooling)
	}
	rows, accounts, money := map[int]int{}, 0, 0
	for _, stock := range w.Bindings() {
		for _, a := range stock.Accounts {
			accounts++
			if a.BalanceFen > 0 {
				money++
			}
			st := standings[a.Number]
			if !st.Held() {
				continue
			}
			claim := huanxin.Claim{Start: huanxin.Exactly(st.StartedAt), Known: st.Origin != huanxin.OriginUnknown}
			if !claim.Known {
				claim.Start = huanxin.OnDay(huanxin.DateOf(st.StartedAt, huanxin.China), huanxin.China)
			}
			_, _, row := huanxin.Decide(claim, huanxin.Binding{FirstBound: a.FirstBound.Moment(), LastProof: a.LastProof.Moment(), SamePerson: a.Verified})
			rows[row]++
		}
	}
	for row := 1; row <= 7; row++ {
		if rows[row] < 10 {
			t.Errorf("row %d occurs %d times", row, rows[row])
		}
	}
	if mean := float64(accounts) / float64(len(w.All())); mean < 3.6 || mean > 4.6 {
		t.Errorf("%.2f accounts a number", mean)
	}
	if money < accounts/20 {
		t.Errorf("%d of %d accounts hold money", money, accounts)
	}
}

func TestAShowcaseNumberIsBoundAt14OfThe25CommonApps(t *testing.T) {
	w := NewWorld(1, testEpoch, 10)
	for _, s := range w.Showcase {
		bound := map[string]bool{}
		for id, stock := range w.Bindings() {
			for _, a := range stock.Accounts {
				if a.Number == s.Number {
					bound[id] = true
				}
			}
		}
		common := 0
		for _, a := range catalogue.Common() {
			if bound[a.ID] {
				common++
			}
		}
		if common != 14 {
			t.Errorf("story %d is bound at %d common apps", s.No, common)
		}
	}
}

// TestNamedNumbersBehaveAsTheyAreCalled asks the rules of a check what they say of each.
func TestNamedNumbersBehaveAsTheyAreCalled(t *testing.T) {
	w := NewWorld(5, testEpoch, 10)
	f := newFile(w, "http://127.0.0.1:1", nil, nil)
	known := map[string]*Story{}
	for _, s := range w.All() {
		known[s.Number.E164()] = s
	}
	for name, c := range map[string]struct {
		Checkable
		outcome huanxin.CheckOutcome
		reason  string
	}{
		"unchanged":     {f.Numbers.Unchanged, huanxin.Unchanged, ""},
		"changed":       {f.Numbers.Changed, huanxin.Changed, huanxin.CheckReassigned},
		"no_holder":     {f.Numbers.NoHolder, huanxin.NoHolder, ""},
		"unknown":       {f.Numbers.Unknown, huanxin.Unknown, huanxin.CheckBeforeCoverage},
		"never_seen":    {f.Numbers.NeverSeen, huanxin.Unknown, huanxin.CheckNeverSeen},
		"not_supported": {f.Numbers.NotSupported, huanxin.Unknown, huanxin.CheckUnsupported},
	} {
		n, err := huanxin.ParseNumber(c.Number)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var st huanxin.Standing
		if s := known[c.Number]; s != nil {
			st, err = huanxin.Replay(s.Events, 0, cooling)
		}
		since := testEpoch.AddDate(-1, 0, 0)
		if c.Since != "" {
			d, errDate := huanxin.ParseDate(c.Since)
			if errDate != nil {
				t.Errorf("%s: %v", name, errDate)
			}
			_, since = d.In(huanxin.China)
			since = since.Add(-time.Microsecond)
		}
		if outcome, reason := st.Answer(n, since, testEpoch); err != nil || outcome != c.outcome || reason != c.reason {
			t.Errorf("%s is %s %s (%v)", name, outcome, reason, err)
		}
	}
}

func TestTheJournalTellsTheTruthAboutHolders(t *testing.T) {
	w, dir := NewWorld(2, testEpoch, 40), t.TempDir()
	g, err := openLedger(w, dir)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(w.People, func(s Story) bool { return s.Plot == PlotFirst })
	s := &w.People[i]
	at := func(days int) time.Time { return testEpoch.AddDate(0, 0, days) }
	first := g.Holder(s.Number, at(0))
	happen := func(kind huanxin.EventKind, days int) {
		t.Helper()
		if _, err := g.happen(entry{No: s.No, At: at(days), Kind: kind.String(), Carrier: s.Carrier}); err != nil {
			t.Fatal(err)
		}
	}
	check := func(g *ledger, holders map[int]string) {
		t.Helper()
		for _, days := range slices.Sorted(maps.Keys(holders)) {
			if got := g.Holder(s.Number, at(days)); got != holders[days] {
				t.Errorf("on day %d %q had the number, not %q", days, got, holders[days])
			}
		}
	}
	happen(huanxin.Transferred, 2)
	second := g.Holder(s.Number, at(3))
	if first == "" || second == "" || first == second {
		t.Fatalf("%q, then %q", first, second)
	}
	check(g, map[int]string{1: first, 2: second, 9: second})
	happen(huanxin.Corrected, 4)
	check(g, map[int]string{1: first, 3: first, 9: first})
	happen(huanxin.Disconnected, 5)
	check(g, map[int]string{4: first, 6: ""})
	if _, err := g.happen(entry{No: s.No, At: at(6), Kind: "suspended", Carrier: s.Carrier}); err == nil {
		t.Error("what does not fit was written down")
	}
	if _, err := g.file.WriteString(`{"no":1,"kin`); err != nil { // killed while writing
		t.Fatal(err)
	}
	if err := g.close(); err != nil {
		t.Fatal(err)
	}
	again, err := openLedger(w, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.close() }()
	check(again, map[int]string{1: first, 3: first, 6: ""})
	if !reflect.DeepEqual(again.tail, g.tail) {
		t.Error("the journal's events are others when they are read again")
	}
}

package huanxin

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var outboxStart = time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)

const again = time.Minute

func limits(max int) OutboxLimits { return OutboxLimits{Max: max, Pending: 8, Again: again} }

func sendAll(FeedNo) Judgement { return SendNow }

// at is a place of the feed log.
func at(position int64) FeedNo { return FeedNoAt(position, 0) }

func items(from, to int64, all ...FeedItem) FeedItems {
	return FeedItems{From: from, To: to, Items: all}
}

func expect(t *testing.T, what string, got []FeedNo, want ...FeedNo) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: handed out %v, want %v", what, got, want)
	}
}

func TestWhatIsNotSettledComesAgainAfterTheInterval(t *testing.T) {
	o := &Outbox{Next: 1}
	got, more := o.Take(items(1, 3, FeedItem{No: at(1)}, FeedItem{No: at(2)}), outboxStart, limits(10), sendAll)
	expect(t, "at first", got, at(1), at(2))
	if more || o.Next != 3 {
		t.Errorf("more %v, next %d", more, o.Next)
	}
	o.Settle([]FeedNo{at(1), at(1), at(9)})
	got, _ = o.Take(items(3, 3), outboxStart.Add(again-time.Millisecond), limits(10), sendAll)
	expect(t, "before the interval is over", got)
	got, _ = o.Take(items(3, 3), outboxStart.Add(again), limits(10), sendAll)
	expect(t, "after it", got, at(2))
	if u := o.Pending[0]; u.Attempts != 2 || !u.First.Equal(outboxStart) || !u.Again.Equal(outboxStart.Add(2*again)) {
		t.Errorf("%+v", u)
	}
}

func TestOfOneNumberOnlyOneIsOut(t *testing.T) {
	o := &Outbox{Next: 1}
	all := items(1, 4, FeedItem{at(1), 7}, FeedItem{at(2), 8}, FeedItem{at(3), 7})
	got, more := o.Take(all, outboxStart, limits(10), sendAll)
	expect(t, "at first", got, at(1), at(2))
	if more {
		t.Error("what is kept back for its number is there to be had")
	}
	o.Settle([]FeedNo{at(2)})
	got, _ = o.Take(items(4, 4), outboxStart.Add(again), limits(10), sendAll)
	expect(t, "again", got, at(1))
	o.Settle([]FeedNo{at(1)})
	got, _ = o.Take(items(4, 4), outboxStart.Add(again), limits(10), sendAll)
	expect(t, "then", got, at(3))
}

func TestAPollOfFewLeavesNothingOut(t *testing.T) {
	o := &Outbox{Next: 1}
	all := []FeedItem{{No: FeedNoAt(1, 0)}, {No: FeedNoAt(1, 1)}, {No: at(2)}}
	var got []FeedNo
	for range 3 {
		left := slices.DeleteFunc(slices.Clone(all), func(it FeedItem) bool { p, _ := it.No.Position(); return p < o.Next })
		now, more := o.Take(items(o.Next, 3, left...), outboxStart, limits(1), sendAll)
		got = append(got, now...)
		if want := len(got) < 3; more != want {
			t.Errorf("after %d more is %v", len(got), more)
		}
	}
	expect(t, "all", got, all[0].No, all[1].No, all[2].No)
}

func TestAFullOutboxTakesNothingAndStillHandsOut(t *testing.T) {
	o, now := &Outbox{Next: 1}, outboxStart
	var all []FeedItem
	for p := range int64(20) {
		all = append(all, FeedItem{No: at(p + 1)})
	}
	got, more := o.Take(items(1, 21, all...), now, limits(100), sendAll)
	if len(got) != 8 || more || o.Next != 9 {
		t.Errorf("%d of 8 handed out, more is %v, next %d", len(got), more, o.Next)
	}
	now = now.Add(again)
	got, _ = o.Take(items(9, 21, all[8:]...), now, limits(100), sendAll)
	if len(got) != 8 || got[0] != at(1) {
		t.Errorf("later %v come again", got)
	}
	o.Settle(got[:3])
	got, _ = o.Take(items(9, 21, all[8:]...), now, limits(100), sendAll)
	expect(t, "after three acks", got, at(9), at(10), at(11))
}

func TestSignalsComeFirstAndWhileAStreamIsPausedAlone(t *testing.T) {
	o := &Outbox{Next: 1}
	g := items(1, 2, FeedItem{No: at(1)})
	g.Signals = []FeedItem{{No: SignalNo(4)}, {No: SignalNo(5)}}
	l := limits(10)
	l.OnlySignals = true
	got, _ := o.Take(g, outboxStart, l, sendAll)
	expect(t, "paused", got, SignalNo(4), SignalNo(5))
	if o.Next != 1 {
		t.Error("the cursor of a paused stream moved")
	}
	o.Settle([]FeedNo{SignalNo(4)})
	g.Signals = []FeedItem{{No: SignalNo(5)}, {No: SignalNo(6)}}
	got, _ = o.Take(g, outboxStart.Add(again), limits(10), sendAll)
	expect(t, "enabled", got, SignalNo(5), SignalNo(6), at(1))
}

func TestWhatComesAgainHasItsShareOfAFullPoll(t *testing.T) {
	o := &Outbox{Next: 1}
	o.Take(items(1, 3, FeedItem{No: at(1)}, FeedItem{No: at(2)}), outboxStart, limits(2), sendAll)
	l := limits(2)
	l.Reserve = 1
	g := items(3, 6, FeedItem{No: at(3)}, FeedItem{No: at(4)}, FeedItem{No: at(5)})
	got, _ := o.Take(g, outboxStart.Add(again), l, sendAll)
	expect(t, "with a reserve", got, at(1), at(3))
	got, _ = o.Take(items(o.Next, 6, g.Items[1:]...), outboxStart.Add(again), limits(3), sendAll)
	expect(t, "without", got, at(4), at(5), at(2))
}

func TestWhatWasGatheredElsewhereIsNotTaken(t *testing.T) {
	o := &Outbox{Next: 5}
	got, _ := o.Take(items(6, 9, FeedItem{No: at(7)}), outboxStart, limits(10), sendAll)
	expect(t, "behind a gap", got)
	if o.Next != 5 {
		t.Error("the cursor jumped over a gap")
	}
	got, _ = o.Take(items(2, 9, FeedItem{No: at(3)}, FeedItem{No: at(6)}), outboxStart, limits(10), sendAll)
	expect(t, "from before the cursor", got, at(6))
}

func TestARewoundOutboxTakesOnceMore(t *testing.T) {
	o := &Outbox{Next: 1}
	all := []FeedItem{{at(1), 7}, {at(2), 8}, {at(3), 7}}
	o.Take(items(1, 4, all...), outboxStart, limits(10), sendAll)
	o.Settle([]FeedNo{at(1)})
	o.Rewind(2)
	if len(o.Pending) != 0 || o.Next != 2 {
		t.Fatalf("%+v", o)
	}
	got, _ := o.Take(items(2, 4, all[1:]...), outboxStart, limits(10), sendAll)
	expect(t, "once more", got, at(2), at(3))
	o.Rewind(9)
	if o.Next != 4 {
		t.Error("it was wound forward")
	}
}

func TestASkippingOutboxKeepsWhatIsOut(t *testing.T) {
	o := &Outbox{Next: 1}
	g := items(1, 3, FeedItem{at(1), 7}, FeedItem{at(2), 7})
	g.Signals = []FeedItem{{No: SignalNo(1)}}
	o.Take(g, outboxStart, limits(2), sendAll)
	o.Skip(9)
	if o.Next != 9 || len(o.Pending) != 2 || o.Pending[1].No != at(1) {
		t.Errorf("%+v", o)
	}
}

func TestWakeTellsWhenSomethingComesAgain(t *testing.T) {
	o := &Outbox{Next: 1}
	if at, ok := o.Wake(false); ok {
		t.Error("nothing is pending, and comes at", at)
	}
	o.Take(items(1, 3, FeedItem{at(1), 7}, FeedItem{at(2), 7}), outboxStart, limits(2), sendAll)
	if at, ok := o.Wake(false); !ok || !at.Equal(outboxStart.Add(again)) {
		t.Error("it comes at", at, ok)
	}
	if _, ok := o.Wake(true); ok {
		t.Error("there is no signal")
	}
	o.Postpone(at(1), outboxStart.Add(time.Hour))
	o.Postpone(at(2), outboxStart) // it is not out
	if at, _ := o.Wake(false); !at.Equal(outboxStart.Add(time.Hour)) {
		t.Error("postponed to", at)
	}
	o.Settle([]FeedNo{at(1)})
	if at, ok := o.Wake(false); !ok || at.After(outboxStart) {
		t.Error("the next one waits until", at)
	}
}

func TestWhatIsRecalledComesAgainAtOnceButNotWhatWasPutOff(t *testing.T) {
	o := &Outbox{Next: 1}
	o.Take(items(1, 3, FeedItem{No: at(1)}, FeedItem{No: at(2)}), outboxStart, limits(10), sendAll)
	o.Postpone(at(2), outboxStart.Add(5*time.Minute))
	o.Recall(outboxStart.Add(time.Second), again)
	got, _ := o.Take(items(3, 3), outboxStart.Add(time.Second), limits(10), sendAll)
	expect(t, "recalled", got, at(1))
}

func TestAReceiverFailsFromTheFirstFailureAfterASuccessOn(t *testing.T) {
	o := &Outbox{}
	o.Brought(false, outboxStart)
	o.Brought(false, outboxStart.Add(time.Hour))
	if !o.FailingSince.Equal(outboxStart) {
		t.Error("it fails since", o.FailingSince)
	}
	o.Brought(true, outboxStart.Add(2*time.Hour))
	if !o.FailingSince.IsZero() {
		t.Error("after a success it fails since", o.FailingSince)
	}
}

func TestPushesAreTriedAfterASecondAndThenTwiceAsLateEachTime(t *testing.T) {
	want := time.Second
	for n := 1; n < 20; n++ {
		got := PushRetry(n, "a")
		low, high := want, min(want+want/4, lastPushRetry)
		if want == lastPushRetry {
			low, high = want-want/4, want
		}
		if got < low || got > high {
			t.Errorf("after %d attempts: %v", n, got)
		}
		if got != PushRetry(n, "a") {
			t.Error("the wait is another when it is asked for again")
		}
		want = min(2*want, lastPushRetry)
	}
	if PushRetry(5, "a") == PushRetry(5, "b") && PushRetry(6, "a") == PushRetry(6, "b") {
		t.Error("two SETs come back together")
	}
}

func TestAnOutboxSurvivesBeingKept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := &Outbox{Next: rapid.Int64Range(0, 1<<60).Draw(t, "next")}
		if rapid.Bool().Draw(t, "fails") {
			o.Brought(false, time.UnixMilli(rapid.Int64Range(1, 1<<50).Draw(t, "since")).UTC())
		}
		for range rapid.IntRange(0, 20).Draw(t, "pending") {
			o.Repeat(FeedItem{FeedNo(rapid.Int64Range(-1<<60, 1<<60).Filter(func(n int64) bool { return n != 0 }).Draw(t, "no")), rapid.Uint32().Draw(t, "tag")})
		}
		for i := range o.Pending {
			if u := &o.Pending[i]; rapid.Bool().Draw(t, "out") {
				u.Attempts = rapid.IntRange(1, maxAttempts).Draw(t, "attempts")
				u.First = time.UnixMilli(rapid.Int64Range(-1<<50, 1<<50).Draw(t, "first")).UTC()
				u.Again = time.UnixMilli(rapid.Int64Range(-1<<50, 1<<50).Draw(t, "again")).UTC()
			}
		}
		got, err := DecodeOutbox(o.Encode(), 99)
		if err != nil {
			t.Fatal(err)
		}
		if len(o.Pending) == 0 {
			o.Pending = []Unsettled{}
		}
		if !reflect.DeepEqual(got, o) {
			t.Errorf("%+v\nbecame\n%+v", o, got)
		}
	})
	if o, err := DecodeOutbox(nil, 7); err != nil || o.Next != 7 || len(o.Pending) != 0 {
		t.Errorf("an empty one is %+v, %v", o, err)
	}
}

func TestAThousandThatAreOutTakeFewBytes(t *testing.T) {
	o := &Outbox{Next: 1}
	g := items(1_000_000, 1_001_000)
	o.Next = g.From
	for p := g.From; p < g.To; p++ {
		g.Items = append(g.Items, FeedItem{at(p), uint32(p) * 2654435761})
	}
	o.Take(g, outboxStart, OutboxLimits{Max: 1000, Pending: 4096, Again: again}, sendAll)
	if n := len(o.Encode()); n > 10_000 {
		t.Errorf("%d bytes", n)
	}
}

func FuzzDecodeOutbox(f *testing.F) {
	o := &Outbox{Next: 1}
	f.Add(o.Encode())
	g := items(1, 4, FeedItem{at(1), 7}, FeedItem{at(2), 1 << 31}, FeedItem{at(3), 7})
	g.Signals = []FeedItem{{No: SignalNo(1)}, {No: SignalNo(2)}}
	o.Take(g, outboxStart, limits(10), sendAll)
	f.Add(o.Encode())
	f.Add([]byte{1, 0, 255, 255, 255, 255, 15})
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := DecodeOutbox(b, 1)
		if err != nil {
			return
		}
		again, err := DecodeOutbox(o.Encode(), 1)
		if err != nil || !reflect.DeepEqual(again.Pending, o.Pending) && len(o.Pending) > 0 || again.Next != o.Next {
			t.Fatalf("%+v\nbecame\n%+v, %v", o, again, err)
		}
	})
}

func TestWhatTheCursorWillTakeIsNotRepeated(t *testing.T) {
	now := time.Unix(1_800_000_000, 0).UTC()
	o := &Outbox{Next: 9}
	o.Rewind(2)
	for _, position := range []int64{1, 5} { // both were refused once, and the cursor was set back before the second
		o.Repeat(FeedItem{No: FeedNoAt(position, 0)})
	}
	g := FeedItems{From: 2, To: 9}
	for position := int64(2); position < 9; position++ {
		g.Items = append(g.Items, FeedItem{No: FeedNoAt(position, 0)})
	}
	limits := OutboxLimits{Max: 100, Pending: 100, Again: time.Minute}
	out, _ := o.Take(g, now, limits, func(FeedNo) Judgement { return SendNow })
	if len(out) != 8 {
		t.Errorf("%d are handed out, not 8: %v", len(out), out)
	}
	if _, err := DecodeOutbox(o.Encode(), 1); err != nil {
		t.Errorf("what is saved cannot be read any more: %v", err)
	}
}

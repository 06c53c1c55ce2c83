package guard_test

import (
	"encoding/binary"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/guard"
)

const (
	kept     = "+8613800500001" // somebody's since 2016
	recycled = "+8613800500002" // given to somebody else on 2021-11-15
	handed   = "+8613800500003" // transferred on 2022-02-02
	nobodys  = "+8613800500004"
	came     = "+8613800500005" // ported in on 2023-04-01, nothing known before
	unseen   = "+8613800500006" // uploaded, and never reported
	elsewise = "+8613800500007" // not uploaded
)

func marks(t testing.TB) map[uint64]huanxin.Mark {
	return map[uint64]huanxin.Mark{
		num(t, kept).Digits():     began("2016-05-20", huanxin.OriginFirst),
		num(t, recycled).Digits(): began("2021-11-15", huanxin.OriginReassigned),
		num(t, handed).Digits():   began("2022-02-02", huanxin.OriginTransferred),
		num(t, nobodys).Digits():  huanxin.MarkNoHolder,
		num(t, came).Digits():     began("2023-04-01", huanxin.OriginUnknown),
		num(t, unseen).Digits():   huanxin.MarkNeverSeen,
	}
}

// withReplica gives a guard with a replica of a hub that answers no checks.
func withReplica(t *testing.T, o guard.Options, r guard.Replica, m made) (*liar, *guard.Guard) {
	t.Helper()
	l := newLiar(t)
	if m.marks == nil {
		m.marks = marks(t)
	}
	l.gives(l.body(m))
	r.Path = filepath.Join(t.TempDir(), "replica")
	o.Hub, o.Replica = l.client(), &r
	g := open(t, o)
	must(t, g.Refresh(t.Context()))
	return l, g
}

func TestAReplicaDecidesWhatADayDecides(t *testing.T) {
	t.Parallel()
	_, g := withReplica(t, guard.Options{}, guard.Replica{}, made{asOf: 7})
	day := time.Now().In(huanxin.China).Format(time.DateOnly)
	for _, c := range []struct {
		number, bound, confirmed, proof string
		want                            string
	}{
		{kept, "2019-01-01", "", "", "allow unchanged replica"},
		{kept, "2019-01-01T10:00:00+08:00", "", "", "allow unchanged replica"},
		{kept, day, "", "", "allow unchanged replica"},
		{kept, "2015-01-01", "", "", "block reassigned replica"},
		{recycled, "2019-01-01", "", "", "block reassigned replica"},
		{recycled, "2022-01-01", "", "", "allow unchanged replica"},
		{recycled, "2021-11-15", "", "", "step_up undecided replica"},
		{recycled, "2021-11-15T18:00:00+08:00", "", "", "step_up undecided replica"},
		{recycled, "2021-11-14T23:59:59+08:00", "", "", "block reassigned replica"},
		{recycled, "2021-11-16T00:00:00+08:00", "", "", "allow unchanged replica"},
		{recycled, "2019-01-01", "2023-01-01", "", "allow unchanged replica"},
		{recycled, "2019-01-01", "2020-01-01", "", "block reassigned replica"},
		{recycled, "2022-01-01", "2019-01-01", "", "allow unchanged replica"},
		{recycled, "2019-01-01", "", "2023-01-01", "step_up proved_since replica"},
		{recycled, "2019-01-01", "", "2021-11-15", "step_up proved_since replica"},
		{recycled, "2019-01-01", "", "2020-01-01", "block reassigned replica"},
		{recycled, "", "", "2023-01-01", "step_up bound_at_unknown none"},
		{recycled, "1970-01-01", "", "", "step_up bound_at_unknown none"},
		{handed, "2019-01-01", "", "", "step_up transferred replica"},
		{handed, "2023-01-01", "", "", "allow unchanged replica"},
		{nobodys, "2019-01-01", "", "", "step_up no_holder replica"},
		{came, "2019-01-01", "", "", "step_up before_coverage replica"},
		{came, "2024-01-01", "", "", "allow unchanged replica"},
		{unseen, "2019-01-01", "", "", "step_up never_seen replica"},
		{elsewise, "2019-01-01", "", "", "step_up hub_down none"},
		{kept, "2999-01-01", "", "", "step_up future none"},
		{"+861440123456789", "2019-01-01", "", "", "step_up number_kind_unsupported none"},
		{"+8670012345678901", "2019-01-01", "", "", "step_up number_kind_unsupported none"},
	} {
		q := guard.Question{Number: num(t, c.number), BoundAt: exactly(t, c.bound), ConfirmedAt: exactly(t, c.confirmed), LastProof: exactly(t, c.proof)}
		d := g.Decide(t.Context(), q)
		expect(t, c.number+" "+c.bound+" "+c.confirmed+" "+c.proof, d, c.want)
		if d.Source == guard.FromReplica && (d.AsOf != 7 || d.Age < 0 || d.Age > time.Minute) {
			t.Errorf("%s %s: as of %d, %v old", c.number, c.bound, d.AsOf, d.Age)
		}
	}
	if d := g.Decide(t.Context(), guard.Question{BoundAt: exactly(t, "2019-01-01")}); word(d) != "step_up number_malformed none" {
		t.Error("no number:", word(d))
	}
}

func TestWhatADayCannotDecideGoesToTheHub(t *testing.T) {
	t.Parallel()
	l, g := withReplica(t, guard.Options{CacheFor: -1}, guard.Replica{}, made{asOf: 7})
	l.says(9, "UNCHANGED", "")
	for _, c := range []struct{ number, bound, want string }{
		{recycled, "2021-11-15T18:00:00+08:00", "allow unchanged hub"},
		{recycled, "2021-11-15", "allow unchanged hub"},
		{elsewise, "2019-01-01", "allow unchanged hub"},
		{nobodys, "2019-01-01", "allow unchanged hub"}, // somebody's since
		{handed, "2019-01-01", "allow unchanged hub"},  // corrected since
		{recycled, "2019-01-01", "block reassigned replica"},
	} {
		d := g.Decide(t.Context(), guard.Question{Number: num(t, c.number), BoundAt: exactly(t, c.bound)})
		expect(t, c.number+" "+c.bound, d, c.want)
	}
	// The hub is asked for the first and the last instant of a day.
	if q := l.questions()[1]; len(q) != 2 || q[0].Since != "2021-11-14T16:00:00Z" || q[1].Since != "2021-11-15T15:59:59.999999Z" {
		t.Errorf("asked %+v", q)
	}
	l.tell(func(w http.ResponseWriter, _ *http.Request, _ []client.Check) {
		_, _ = w.Write([]byte(`{"as_of":9,"results":[{"outcome":"CHANGED","reason":"reassigned"},{"outcome":"UNCHANGED"}]}`))
	})
	expect(t, "a change on that day", g.Decide(t.Context(), guard.Question{Number: num(t, recycled), BoundAt: exactly(t, "2021-11-15")}), "step_up ambiguous_day hub")
}

func TestAnOldReplicaVouchesForNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		o    guard.Options
		r    guard.Replica
		m    made
		want string
	}{
		{"young", guard.Options{}, guard.Replica{MaxAge: time.Hour}, made{issued: time.Now().Add(-2 * time.Minute)}, "allow unchanged replica"},
		{"old", guard.Options{}, guard.Replica{MaxAge: time.Minute}, made{issued: time.Now().Add(-2 * time.Minute)}, "step_up hub_down none"},
		{"a late carrier", guard.Options{MaxLag: time.Hour}, guard.Replica{}, made{fresh: time.Now().Add(-2 * time.Hour)}, "step_up carrier_late replica"},
		{"a carrier that is late by the hub's limit", guard.Options{}, guard.Replica{}, made{fresh: time.Now().Add(-2 * time.Hour), late: time.Hour}, "step_up carrier_late replica"},
		{"one that is not", guard.Options{MaxLag: 9 * time.Hour}, guard.Replica{}, made{fresh: time.Now().Add(-2 * time.Hour), late: 3 * time.Hour}, "allow unchanged replica"},
		{"a carrier in time", guard.Options{MaxLag: 3 * time.Hour}, guard.Replica{}, made{fresh: time.Now().Add(-2 * time.Hour)}, "allow unchanged replica"},
	} {
		_, g := withReplica(t, c.o, c.r, c.m)
		expect(t, c.name, g.Decide(t.Context(), guard.Question{Number: num(t, kept), BoundAt: exactly(t, "2019-01-01")}), c.want)
	}
}

func TestAReplicaWorksOnWhileTheHubIsDown(t *testing.T) {
	t.Parallel()
	l, g := withReplica(t, guard.Options{}, guard.Replica{}, made{asOf: 7})
	l.givesBy(nil)
	if err := g.Refresh(t.Context()); err == nil {
		t.Error("there is nothing to refresh from")
	}
	q := guard.Question{Number: num(t, kept), BoundAt: exactly(t, "2019-01-01")}
	expect(t, "the hub is down", g.Decide(t.Context(), q), "allow unchanged replica")
	g.Close()
	expect(t, "closed", g.Decide(t.Context(), q), "step_up closed none")
}

func TestAReplicaOnTheDiskAnswersAfterAStart(t *testing.T) {
	t.Parallel()
	l := newLiar(t)
	l.gives(l.body(made{asOf: 7, marks: marks(t)}))
	path := filepath.Join(t.TempDir(), "replica")
	first := open(t, guard.Options{Hub: l.client(), Replica: &guard.Replica{Path: path}})
	must(t, first.Refresh(t.Context()))
	first.Close()

	l.givesBy(nil)
	q := guard.Question{Number: num(t, kept), BoundAt: exactly(t, "2019-01-01")}
	again := open(t, guard.Options{Hub: l.client(), Replica: &guard.Replica{Path: path}})
	eventually(t, func() bool { return again.Decide(t.Context(), q).Access == huanxin.Allow })

	offline := open(t, guard.Options{Replica: &guard.Replica{Path: path}})
	eventually(t, func() bool { return offline.Decide(t.Context(), q).Access == huanxin.Allow })
	expect(t, "nobody to ask", offline.Decide(t.Context(), guard.Question{Number: num(t, elsewise), BoundAt: exactly(t, "2019-01-01")}), "step_up not_in_replica none")

	// All three files are another's: the hub's keys tell.
	other := newLiar(t)
	other.url = l.url
	other.gives(other.body(made{asOf: 9, marks: marks(t)}))
	forged := filepath.Join(t.TempDir(), "replica")
	must(t, pullFrom(t, other, forged))
	g := open(t, guard.Options{Hub: l.client(), Replica: &guard.Replica{Path: forged}})
	if err := g.Refresh(t.Context()); err == nil {
		t.Error("a replica that vouches for itself is taken")
	}
	expect(t, "forged", g.Decide(t.Context(), q), "step_up hub_down none")
}

func TestWhatIsNotANewerReplicaOfOursIsRefused(t *testing.T) {
	t.Parallel()
	l, g := withReplica(t, guard.Options{}, guard.Replica{}, made{asOf: 7})
	other := newLiar(t)
	// In each of them the number that is somebody else's would be let through.
	bad := map[uint64]huanxin.Mark{num(t, recycled).Digits(): began("2016-05-20", huanxin.OriginFirst)}
	good := l.body(made{asOf: 8, marks: bad})
	flipped := append([]byte(nil), good...)
	flipped[len(flipped)/3] ^= 4
	for name, body := range map[string][]byte{
		"an older position":  l.body(made{asOf: 6, marks: bad}),
		"an older one":       l.body(made{asOf: 7, marks: bad, issued: time.Now().Add(-4 * time.Minute)}),
		"an old one":         l.body(made{asOf: 9, marks: bad, issued: time.Now().Add(-time.Hour)}),
		"another client's":   l.body(made{asOf: 9, marks: bad, client: "bank"}),
		"another hub's":      other.body(made{asOf: 9, marks: bad}),
		"nothing":            {},
		"garbage":            []byte("<html>"),
		"a part":             good[:len(good)-20],
		"damaged":            flipped,
		"without a manifest": good[:200],
	} {
		l.gives(body)
		if err := g.Refresh(t.Context()); err == nil {
			t.Errorf("%s is taken", name)
		}
		expect(t, name, g.Decide(t.Context(), guard.Question{Number: num(t, recycled), BoundAt: exactly(t, "2019-01-01")}), "block reassigned replica")
	}
	l.gives(good)
	must(t, g.Refresh(t.Context()))
	expect(t, "a newer one", g.Decide(t.Context(), guard.Question{Number: num(t, recycled), BoundAt: exactly(t, "2019-01-01")}), "allow unchanged replica")
}

func TestAnOlderReplicaThatAppearsOnTheDiskIsRefused(t *testing.T) {
	t.Parallel()
	l := newLiar(t)
	dir := t.TempDir()
	old, path := filepath.Join(dir, "old"), filepath.Join(dir, "replica")
	l.gives(l.body(made{asOf: 5, marks: marks(t)}))
	must(t, pullFrom(t, l, old))
	l.gives(l.body(made{asOf: 7, marks: marks(t)}))
	must(t, pullFrom(t, l, path))
	g := open(t, guard.Options{Hub: l.client(), Replica: &guard.Replica{Path: path, Every: -1}})
	must(t, g.Refresh(t.Context()))
	for _, ending := range []string{"", ".manifest", ".jwks"} {
		must(t, os.Rename(old+ending, path+ending))
	}
	if err := g.Refresh(t.Context()); err == nil {
		t.Error("the older replica is taken")
	}
	if s := g.Status(); s.AsOf != 7 || !s.Vouches || !s.Replica || s.Numbers != 6 {
		t.Errorf("%+v", s)
	}
}

// TestAReplicaFromTheFutureMakesTheClockSuspect: with a clock that is an hour slow a replica looks an hour younger than it is.
func TestAReplicaFromTheFutureMakesTheClockSuspect(t *testing.T) {
	t.Parallel()
	l, g := withReplica(t, guard.Options{}, guard.Replica{MaxAge: time.Hour}, made{asOf: 7})
	q := guard.Question{Number: num(t, kept), BoundAt: exactly(t, "2019-01-01")}
	expect(t, "before", g.Decide(t.Context(), q), "allow unchanged replica")
	l.gives(l.body(made{asOf: 8, issued: time.Now().Add(time.Hour), marks: marks(t)}))
	if err := g.Refresh(t.Context()); err == nil {
		t.Error("a replica from the future is taken")
	}
	expect(t, "after", g.Decide(t.Context(), q), "step_up hub_down none")
	if g.Status().Vouches {
		t.Error("it vouches")
	}
	l.gives(l.body(made{asOf: 8, marks: marks(t)}))
	must(t, g.Refresh(t.Context()))
	expect(t, "the clock is right again", g.Decide(t.Context(), q), "allow unchanged replica")
}

func TestAPullThatDoesNotEndIsBounded(t *testing.T) {
	t.Parallel()
	l, g := withReplica(t, guard.Options{}, guard.Replica{MaxBytes: 1 << 20}, made{asOf: 7})
	l.givesBy(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	})
	if err := g.Refresh(t.Context()); err == nil {
		t.Error("it ended")
	}
	expect(t, "the old one stays", g.Decide(t.Context(), guard.Question{Number: num(t, kept), BoundAt: exactly(t, "2019-01-01")}), "allow unchanged replica")
}

func TestReplicasAreSwappedUnderThoseWhoAsk(t *testing.T) {
	t.Parallel()
	ours := marks(t)
	l, g := withReplica(t, guard.Options{}, guard.Replica{}, made{asOf: 1, marks: ours})
	q := guard.Question{Number: num(t, recycled), BoundAt: exactly(t, "2019-01-01")}
	stop := make(chan struct{})
	var askers sync.WaitGroup
	for range 4 {
		askers.Go(func() {
			last := int64(0)
			for {
				select {
				case <-stop:
					return
				default:
				}
				d := g.Decide(t.Context(), q)
				// In each replica of an even position the number is still the account's owner's.
				want := huanxin.Block
				if d.AsOf%2 == 0 {
					want = huanxin.Allow
				}
				if d.Access != want || d.Source != guard.FromReplica || d.AsOf < last {
					t.Errorf("%s as of %d, after %d", word(d), d.AsOf, last)
					return
				}
				last = d.AsOf
			}
		})
	}
	for asOf := int64(2); asOf < 12; asOf++ {
		ours[q.Number.Digits()] = began("2021-11-15", huanxin.OriginReassigned)
		if asOf%2 == 0 {
			ours[q.Number.Digits()] = began("2016-05-20", huanxin.OriginFirst)
		}
		l.gives(l.body(made{asOf: asOf, marks: ours}))
		must(t, g.Refresh(t.Context()))
	}
	close(stop)
	askers.Wait()
}

func TestAGuardMayBeClosedUnderThoseWhoAsk(t *testing.T) {
	t.Parallel()
	_, g := withReplica(t, guard.Options{}, guard.Replica{}, made{asOf: 1})
	q := guard.Question{Number: num(t, kept), BoundAt: exactly(t, "2019-01-01")}
	var askers sync.WaitGroup
	for range 4 {
		askers.Go(func() {
			for g.Decide(t.Context(), q).Reason != huanxin.GuardClosed {
			}
		})
	}
	g.Close()
	askers.Wait()
	expect(t, "closed", g.Decide(t.Context(), q), "step_up closed none")
}

// TestAReplicaOfTomorrowVouchesForNothing: so it looks after a start with a clock that was put back.
func TestAReplicaOfTomorrowVouchesForNothing(t *testing.T) {
	t.Parallel()
	l := newLiar(t)
	path := filepath.Join(t.TempDir(), "replica")
	l.gives(l.body(made{asOf: 7, marks: marks(t)}))
	must(t, pullFrom(t, l, path))
	for name, c := range map[string]struct {
		ahead time.Duration
		want  huanxin.Access
	}{"a little ahead": {2 * time.Minute, huanxin.Allow}, "an hour ahead": {time.Hour, huanxin.StepUp}} {
		onDisk(t, path, l.body(made{asOf: 8, issued: time.Now().Add(c.ahead), marks: marks(t)}))
		g := open(t, guard.Options{Replica: &guard.Replica{Path: path}})
		must(t, g.Refresh(t.Context()))
		if d := g.Decide(t.Context(), question(t, kept)); d.Access != c.want || g.Status().Vouches != (c.want == huanxin.Allow) {
			t.Errorf("%s: %s", name, word(d))
		}
		g.Close()
		expect(t, "closed", g.Decide(t.Context(), question(t, kept)), "step_up closed none")
	}
}

// onDisk puts a replica in place as a pull would that trusted the hub's clock.
func onDisk(t *testing.T, path string, body []byte) {
	t.Helper()
	end := len(body) - 16
	size := end - int(binary.LittleEndian.Uint64(body[end:]))
	must(t, os.WriteFile(path, body[:size], 0o600))
	must(t, os.WriteFile(path+".manifest", body[size:end], 0o600))
}

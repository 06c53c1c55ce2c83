package sandbox

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/sandbox/appsim"
	"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue"
)

// Stock is what one app has before the world runs.
type Stock struct {
	Accounts []appsim.Account
	Marks    []appsim.Mark
}

// Bindings gives what each app has, by its id: about 4 accounts a number.
func (w *World) Bindings() map[string]*Stock {
	out := map[string]*Stock{}
	for _, a := range catalogue.Apps() {
		out[a.ID] = &Stock{}
	}
	for _, list := range [][]Story{w.Showcase, w.Visitors, w.People} {
		for i := range list {
			b := &binder{w: w, s: &list[i], r: draws(w.Seed, streamBinding, list[i].No), out: out}
			b.bind()
		}
	}
	return out
}

// binder makes up the accounts of one number.
type binder struct {
	w   *World
	s   *Story
	r   *rand.Rand
	out map[string]*Stock
	n   int // accounts so far
}

// role is what a binding is to its number's present tenure: the rows of the table of DOMAIN.md §6 in their variants.
type role uint8

const (
	roleFormer        role = iota + 1 // row 7: bound by a former holder, who has not been seen since
	roleFormerDay                     // row 7, known to the day
	roleFormerAgain                   // row 7: detached and attached again, even since
	rolePresent                       // row 1: bound by the present holder
	rolePresentDay                    // row 1, known to the day
	roleSamePerson                    // row 2: bound before the tenure by the one who is the holder now, who was verified
	roleUndated                       // row 3: nobody wrote down when
	roleSameDay                       // row 4: on the day on which the tenure began
	roleDayBefore                     // row 4: within 24 hours before it
	roleFormerSeen                    // row 6: the former holder proved since that the account is theirs
	roleUnproven                      // row 6: nobody knows whether there was a later proof
	roleHolderSeen                    // row 6: it is the present holder's after all, who proved it
	roleBusiness                      // row 7, of a company
	roleHeld                          // row 7, frozen by a court
	roleFormerAndMine                 // rows 7 and 1: two accounts at one app
)

// ordinary says of 1,000 bindings of a number that changed hands how many have which role.
var ordinary = []struct {
	role  role
	share int
}{
	{roleFormer, 340}, {roleFormerDay, 90}, {roleFormerAgain, 30}, {rolePresent, 230}, {rolePresentDay, 60}, {roleSamePerson, 20},
	{roleUndated, 60}, {roleSameDay, 20}, {roleDayBefore, 20}, {roleFormerSeen, 35}, {roleUnproven, 25}, {roleHolderSeen, 15},
	{roleBusiness, 15}, {roleHeld, 10}, {roleFormerAndMine, 30},
}

// shown are the roles of a showcase number's first 14 bindings.
var shown = []role{roleFormer, roleFormer, roleFormer, roleFormer, roleFormerDay, roleFormerAgain, rolePresent, roleSamePerson,
	roleUndated, roleSameDay, roleDayBefore, roleFormerSeen, roleHolderSeen, roleFormerAndMine}

func drawRole(r *rand.Rand) role {
	at := r.IntN(1000)
	for _, o := range ordinary {
		if at < o.share {
			return o.role
		}
		at -= o.share
	}
	panic("sandbox: the roles do not make 1,000")
}

func (b *binder) bind() {
	apps, roles := catalogue.Draw(b.r), []role(nil)
	switch {
	case b.s.No >= firstShowcase:
		apps = catalogue.DrawShowcase(b.r)
		roles = append(roles, shown...)
		b.r.Shuffle(len(roles), func(i, j int) { roles[i], roles[j] = roles[j], roles[i] })
	case b.s.No >= firstVisitor:
		for len(apps) < 4 { // a visitor has something to clear
			apps = catalogue.Draw(b.r)
		}
	}
	for i, app := range apps {
		k := drawRole(b.r)
		if i < len(roles) {
			k = roles[i]
		}
		b.at(app, k)
	}
	b.marks()
}

// at makes the accounts of one app.
func (b *binder) at(app catalogue.App, k role) {
	former, present, ok := b.holders()
	if !ok { // one holder ever, or nobody now
		b.add(app, b.own(present))
		return
	}
	switch k {
	case rolePresent, rolePresentDay:
		a := b.own(present)
		if k == rolePresentDay {
			a.FirstBound = onDay(a.TrueBound)
		}
		b.add(app, a)
	case roleFormerAndMine:
		b.add(app, b.own(former))
		b.add(app, b.own(present))
	default:
		b.add(app, b.before(k, former, present))
	}
}

// holder is somebody's time with the number.
type holder struct {
	person   string
	from, to time.Time
}

// holders gives a former holder and the present one; ok is false where there are not both.
func (b *binder) holders() (former, present holder, ok bool) {
	all := timesOf(b.s, b.w.Epoch)
	present = all[len(all)-1]
	if _, held := b.s.Now(); !held || len(all) == 1 {
		return former, present, false
	}
	at := len(all) - 2
	if at > 0 && b.r.IntN(5) == 0 {
		at = b.r.IntN(at)
	}
	return all[at], present, true
}

// person names who held a number in its tenure of this index; -1 is before anything was reported.
func person(no, tenure int) string { return fmt.Sprintf("person-%05d-%d", no, tenure) }

// timesOf gives who had the number when, the truth, oldest first. Where it was ported in, somebody had it before anything was
// reported: at first a former holder, then the present one.
func timesOf(s *Story, epoch time.Time) []holder {
	var out []holder
	for i, t := range s.Tenures {
		h := holder{person(s.No, i), t.From, t.To}
		if h.to.IsZero() {
			h.to = epoch
		}
		if i == 0 && t.Origin == huanxin.OriginUnknown {
			h.from = t.From.AddDate(0, 0, -100-s.No*37%700)
			gone := h.from.AddDate(0, 0, -120)
			out = append(out, holder{person(s.No, -1), gone.AddDate(-3, 0, 0), gone})
		}
		out = append(out, h)
	}
	return out
}

// own is an account that a holder bound in their own time.
func (b *binder) own(h holder) appsim.Account {
	span := h.to.Sub(h.from)
	at := h.from.Add(time.Hour + time.Duration(b.r.Int64N(int64(max(span-2*time.Hour, time.Hour)))))
	return b.account(h, at.Truncate(time.Second))
}

// account is one that was bound at a time that the app knows, and of whose owner nothing was heard since but through the number.
func (b *binder) account(h holder, at time.Time) appsim.Account {
	b.n++
	stream := streamPerson + uint64(b.s.No*100+b.n)
	a := appsim.Account{ID: fmt.Sprintf("u-%05d-%d", b.s.No, b.n), Owner: h.person,
		Nickname: catalogue.NewPeople(b.w.Seed, stream).Nickname(), Number: b.s.Number,
		TrueBound: at, FirstBound: appsim.At(at), LastProof: appsim.Never(), HasOtherContact: b.r.IntN(5) > 0}
	if left := h.to.Sub(at); left > 48*time.Hour && b.r.IntN(2) == 0 {
		a.LastProof = appsim.At(at.Add(time.Duration(b.r.Int64N(int64(left - 24*time.Hour)))).Truncate(time.Second))
	}
	for range b.r.IntN(3) {
		a.Sessions = append(a.Sessions, at.Add(time.Duration(b.r.Int64N(int64(max(b.w.Epoch.Sub(at), time.Minute))))).Truncate(time.Second))
	}
	return a
}

// before is an account that was bound before the present tenure, or about its start.
func (b *binder) before(k role, former, present holder) appsim.Account {
	a := b.own(former)
	since := func() time.Time { // since the present tenure began
		return present.from.Add(time.Duration(b.r.Int64N(int64(max(b.w.Epoch.Sub(present.from), time.Minute))))).Truncate(time.Second)
	}
	switch k {
	case roleFormerDay:
		a.FirstBound = onDay(a.TrueBound)
	case roleFormerAgain:
		a.LastBound = since()
	case roleSamePerson:
		a.Owner, a.Verified, a.VerifiedAt = present.person, huanxin.Yes, since()
	case roleUndated:
		a.FirstBound = appsim.When{}
		if b.r.IntN(3) == 0 {
			a.TrueBound = time.Time{}
		}
	case roleSameDay:
		a.Owner = present.person
		a.TrueBound = present.from.Add(time.Duration(b.r.IntN(120)-60) * time.Minute)
		a.FirstBound, a.LastProof, a.Sessions = onDay(present.from), appsim.Never(), nil
	case roleDayBefore:
		a.TrueBound = present.from.Add(-time.Duration(1+b.r.IntN(23)) * time.Hour)
		a.FirstBound, a.LastProof, a.Sessions = appsim.At(a.TrueBound), appsim.Never(), nil
		if b.r.IntN(2) == 0 || former.to.Before(a.TrueBound) {
			a.Owner = present.person
		}
	case roleFormerSeen:
		a.LastProof = appsim.At(since())
	case roleUnproven:
		a.LastProof = appsim.When{}
	case roleHolderSeen:
		a.Owner, a.LastProof = present.person, appsim.At(since())
	case roleBusiness:
		a.Business = true
	case roleHeld:
		a.LegalHold = true
	}
	return a
}

func onDay(t time.Time) appsim.When { return appsim.OnDay(huanxin.DateOf(t, huanxin.China)) }

// add puts an account with its money into the app's stock.
func (b *binder) add(app catalogue.App, a appsim.Account) {
	a.BalanceFen = catalogue.NewPeople(b.w.Seed, streamPerson+uint64(b.s.No*100+50+b.n)).Amount(app.Class)
	a.Owed = app.Class == "lending" && a.BalanceFen > 0 && b.r.IntN(4) == 0
	b.out[app.ID].Accounts = append(b.out[app.ID].Accounts, a)
}

// marks puts the number on lists that were meant for a former holder.
func (b *binder) marks() {
	former, _, ok := b.holders()
	if !ok || b.s.No < firstVisitor && b.r.IntN(12) > 0 {
		return
	}
	for _, kind := range []huanxin.TaskKind{huanxin.StopContact, huanxin.ClearLabel, huanxin.LiftRestriction} {
		var serving []catalogue.App
		for _, a := range catalogue.Apps() {
			if (&huanxin.Party{Kinds: a.Kinds}).Serves(kind) && a.ID != catalogue.Yours {
				serving = append(serving, a)
			}
		}
		app := serving[b.r.IntN(len(serving))]
		stock := b.out[app.ID]
		stock.Marks = append(stock.Marks, appsim.Mark{ID: fmt.Sprintf("m-%05d-%s", b.s.No, kind), Kind: kind, Number: b.s.Number,
			Since: former.from.Add(former.to.Sub(former.from) / 2).Truncate(time.Second),
			Grave: kind == huanxin.LiftRestriction && b.r.IntN(3) == 0})
	}
}

package conformance

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
)

// plan is what a run is about: numbers with their history, and accounts.
type plan struct {
	run      int // 0 to 999: numbers and accounts of another run are others
	segment  string
	accounts []*Account
	lines    []*line
	// tenure is when most of the tenures began, at noon in China, so that its day has hours on both sides.
	tenure, former time.Time
}

// line is a number, the tenure that its present holder claims, and the accounts that are tied to it.
type line struct {
	number   huanxin.Number
	started  time.Time
	origin   huanxin.TenureOrigin
	events   []client.Event
	accounts []*Account
}

func newPlan(segment string, now time.Time) *plan {
	var b [4]byte
	_, _ = rand.Read(b[:])
	today := huanxin.DateOf(now, huanxin.China)
	midnight, _ := today.In(huanxin.China)
	return &plan{run: int(binary.BigEndian.Uint32(b[:]) % 1000), segment: segment,
		tenure: midnight.Add(-100*day + 12*time.Hour), former: midnight.Add(-900 * day)}
}

// next gives a number that is in no other line, on a segment of 3 to 5 digits.
func (p *plan) next(segment string) huanxin.Number {
	n, err := huanxin.ParseNumber(fmt.Sprintf("+86%s%0*d", segment, 11-len(segment), (p.run*1000+len(p.lines))%1_000_000))
	if err != nil {
		panic("conformance: " + err.Error())
	}
	return n
}

func (p *plan) line(segment string, origin huanxin.TenureOrigin, started time.Time, events ...client.Event) *line {
	l := &line{number: p.next(segment), started: started, origin: origin}
	for i, e := range events {
		e.ID, e.Number = fmt.Sprintf("%d-%d-%d", p.run, len(p.lines), i), l.number.E164()
		l.events = append(l.events, e)
	}
	p.lines = append(p.lines, l)
	return l
}

// reassigned gives a number that was cancelled by its former holder and sold again.
func (p *plan) reassigned(segment string) *line {
	return p.line(segment, huanxin.OriginReassigned, p.tenure, client.Event{Kind: "activated", At: p.former, Origin: "first"},
		client.Event{Kind: "disconnected", At: p.tenure.Add(-200 * day)}, client.Event{Kind: "activated", At: p.tenure, Origin: "reassigned"})
}

// transferred gives a number that its former holder handed over.
func (p *plan) transferred() *line {
	return p.line(p.segment, huanxin.OriginTransferred, p.tenure, client.Event{Kind: "activated", At: p.former, Origin: "first"},
		client.Event{Kind: "transferred", At: p.tenure})
}

// unknown gives a number of which it is only known that its tenure had begun on a day.
func (p *plan) unknown() *line {
	return p.line(p.segment, huanxin.OriginUnknown, p.tenure, client.Event{Kind: "activated", At: p.tenure, Origin: "unknown"})
}

// account ties one more account to a number: bound 400 days before the tenure, never proved since, unless facts say otherwise.
func (p *plan) account(l *line, name string, facts ...func(*Account)) *Account {
	a := &Account{Name: fmt.Sprintf("hx%03d-%s", p.run, name), Number: l.number, BoundAt: p.tenure.Add(-400 * day)}
	for _, set := range facts {
		set(a)
	}
	p.accounts, l.accounts = append(p.accounts, a), append(l.accounts, a)
	return a
}

func boundAt(t time.Time) func(*Account) { return func(a *Account) { a.BoundAt = t } }

func boundOn(t time.Time) func(*Account) {
	return func(a *Account) { a.BoundAt, a.BoundDay = time.Time{}, huanxin.DateOf(t, huanxin.China) }
}

func boundUnknown(a *Account) { a.BoundAt = time.Time{} }

func provedAt(t time.Time) func(*Account) { return func(a *Account) { a.LastProof = t } }

func proofUnknown(a *Account) { a.ProofUnknown = true }

func samePerson(t huanxin.Tri) func(*Account) { return func(a *Account) { a.SamePerson = t } }

func ofClass(c string) func(*Account) { return func(a *Account) { a.Class = c } }

// claim is what a task says of a line's tenure.
func (l *line) claim() huanxin.Claim {
	if l.origin == huanxin.OriginUnknown {
		return huanxin.Claim{Start: huanxin.OnDay(huanxin.DateOf(l.started, huanxin.China), huanxin.China)}
	}
	return huanxin.Claim{Start: huanxin.Exactly(l.started), Known: true}
}

package guard_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/guard"
)

// BenchmarkDecideFromAReplica is the way that nearly every login takes.
func BenchmarkDecideFromAReplica(b *testing.B) {
	l := newLiar(b)
	many := map[uint64]huanxin.Mark{}
	var numbers []huanxin.Number
	for i := range 50_000 {
		n := num(b, fmt.Sprintf("+86138%08d", i*1999))
		many[n.Digits()] = began("2016-05-20", huanxin.OriginFirst)
		numbers = append(numbers, n)
	}
	l.gives(l.body(made{asOf: 7, marks: many}))
	g := open(b, guard.Options{Hub: l.client(), Replica: &guard.Replica{Path: filepath.Join(b.TempDir(), "replica")}})
	must(b, g.Refresh(b.Context()))
	bound, err := guard.ParseMoment("", "2019-01-01", huanxin.China)
	must(b, err)
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for i := 0; p.Next(); i++ {
			if d := g.Decide(b.Context(), guard.Question{Number: numbers[i*7919%len(numbers)], BoundAt: bound}); d.Access != huanxin.Allow {
				b.Error(word(d))
				return
			}
		}
	})
}

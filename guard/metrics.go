package guard

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/huanxin-platform/huanxin"
)

// counts are how often it was decided what, by whose word. They are spread over places, for a replica decides in less time than two cores
// need to meet at one counter.
type counts [places]struct {
	n [len(sources)][3][huanxin.GuardReasons]atomic.Uint64
}

func newCounts() *counts { return new(counts) }

func (c *counts) add(place int, d *Decision) { c[place].n[d.Source][d.Access][d.Reason].Add(1) }

func (c *counts) of(s Source, a huanxin.Access, r huanxin.GuardReason) (sum uint64) {
	for i := range c {
		sum += c[i].n[s][a][r].Load()
	}
	return sum
}

var (
	decisionsDesc = prometheus.NewDesc("huanxin_guard_decisions_total", "Decisions of the guard, by decision, reason and where the answer came from.",
		[]string{"decision", "reason", "source"}, nil)
	hubDownDesc = prometheus.NewDesc("huanxin_guard_hub_down", "1 while the hub failed last and is not asked.", nil, nil)
	ageDesc     = prometheus.NewDesc("huanxin_guard_replica_age_seconds", "How old the local replica is.", nil, nil)
	vouchesDesc = prometheus.NewDesc("huanxin_guard_replica_vouches", "1 while the local replica is relied on.", nil, nil)
	asOfDesc    = prometheus.NewDesc("huanxin_guard_replica_position", "Position in the number log that the local replica is of.", nil, nil)
	numbersDesc = prometheus.NewDesc("huanxin_guard_replica_numbers", "Numbers in the local replica.", nil, nil)
	pullsDesc   = prometheus.NewDesc("huanxin_guard_replica_pulls_total", "Pulls of the replica, by result.", []string{"result"}, nil)
)

// metrics collects what a Guard has to say.
type metrics struct{ g *Guard }

func newMetrics(g *Guard) *metrics { return &metrics{g} }

// Describe implements prometheus.Collector.
func (m *metrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{decisionsDesc, hubDownDesc, ageDesc, vouchesDesc, asOfDesc, numbersDesc, pullsDesc} {
		out <- d
	}
	if m.g.hub != nil {
		m.g.hub.took.Describe(out)
		m.g.hub.failures.Describe(out)
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	for s := range Source(len(sources)) {
		for a := range huanxin.Block + 1 {
			for r := range huanxin.GuardReason(huanxin.GuardReasons) {
				if n := m.g.counts.of(s, a, r); n > 0 {
					out <- prometheus.MustNewConstMetric(decisionsDesc, prometheus.CounterValue, float64(n), a.String(), r.String(), s.String())
				}
			}
		}
	}
	if h := m.g.hub; h != nil {
		out <- gauge(hubDownDesc, number(h.breaker.open(time.Now())))
		h.took.Collect(out)
		h.failures.Collect(out)
	}
	f := m.g.replica
	if f == nil {
		return
	}
	var s Status
	f.status(&s)
	out <- gauge(vouchesDesc, number(s.Vouches))
	if s.Replica {
		out <- gauge(ageDesc, s.Age.Seconds())
		out <- gauge(asOfDesc, float64(s.AsOf))
		out <- gauge(numbersDesc, float64(s.Numbers))
	}
	out <- prometheus.MustNewConstMetric(pullsDesc, prometheus.CounterValue, float64(f.pulls.came.Load()), "ok")
	out <- prometheus.MustNewConstMetric(pullsDesc, prometheus.CounterValue, float64(f.pulls.failed.Load()), "failed")
}

func gauge(d *prometheus.Desc, v float64) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

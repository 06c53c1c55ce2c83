package due

import (
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/prometheus/client_golang/prometheus"
)

// checkMetrics tell of the number index and of those who ask.
type checkMetrics struct{ hub *core.Hub }

var (
	indexPosition = prometheus.NewDesc("huanxin_index_position", "Position in the number log that the number index has followed to; 0 while it is built.", nil, nil)
	indexNumbers  = prometheus.NewDesc("huanxin_index_numbers", "Numbers in the number index.", nil, nil)
	refusedChecks = prometheus.NewDesc("huanxin_checks_refused_total",
		"Calls refused for their rate or the day's quota, streams made to wait, and checks refused for too many times of one number.", []string{"why"}, nil)
	guardWashed = prometheus.NewDesc("huanxin_checks_guard_lost_total", "Numbers with many times that the guard against halving had no room for: give it more memory.", nil, nil)
	suspicion   = prometheus.NewDesc("huanxin_checks_suspicion",
		"ALERT: 1 while a client's checks look like a search for numbers in use (enumeration) or for a tenure's start (halving).", []string{"client", "of"}, nil)
	neverSeen = prometheus.NewDesc("huanxin_checks_never_seen_share", "Of a suspected client's recent checks, how many are of numbers never seen.", []string{"client"}, nil)
)

// Describe tells which metrics there are.
func (c checkMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{indexPosition, indexNumbers, refusedChecks, guardWashed, suspicion, neverSeen} {
		to <- d
	}
}

// Collect gives their values.
func (c checkMetrics) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v int64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge(indexPosition, float64(c.hub.IndexPosition()))
	gauge(indexNumbers, float64(c.hub.IndexLen()))
	f := c.hub.CheckFigures()
	count(refusedChecks, f.RateRefused, "rate")
	count(refusedChecks, f.Paced, "paced")
	count(refusedChecks, f.QuotaRefused, "quota")
	count(refusedChecks, f.HalvingRefused, "halving")
	count(guardWashed, f.Washed)
	for _, s := range c.hub.Suspects() {
		if s.Enumerating {
			gauge(suspicion, 1, s.Client, "enumeration")
			gauge(neverSeen, s.NeverSeenShare, s.Client)
		}
		if s.Halving {
			gauge(suspicion, 1, s.Client, "halving")
		}
	}
}

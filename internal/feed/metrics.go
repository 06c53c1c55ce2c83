package feed

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
)

// metrics tell streams apart by their opaque ids.
type metrics struct {
	hub     *core.Hub
	sets    *prometheus.CounterVec
	errors  *prometheus.CounterVec
	pushes  *prometheus.CounterVec
	wakeUps *prometheus.CounterVec

	lock    sync.Mutex
	figures []core.StreamFigures
	read    time.Time
}

func newMetrics(r prometheus.Registerer, hub *core.Hub) *metrics {
	m := &metrics{hub: hub,
		sets: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "huanxin_feed_sets_total",
			Help: "SETs of a stream that were handed out for the first time (sent) or again (repeated), and that its receiver acknowledged (settled)."},
			[]string{"stream", "what"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "huanxin_feed_dead_letters_total",
			Help: "SETs of a stream that became dead letters, by the receiver's code."}, []string{"stream", "err"}),
		pushes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "huanxin_feed_pushes_total",
			Help: "Attempts to push a SET, by what came of it."}, []string{"stream", "result"}),
		wakeUps: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "huanxin_feed_wake_ups_total",
			Help: "Attempts to tell a receiver that there is something to poll."}, []string{"result"}),
	}
	if r != nil {
		r.MustRegister(m.sets, m.errors, m.pushes, m.wakeUps, m)
	}
	return m
}

// setErrors are the codes that IANA registered for receivers (RFC 8935 §7.1). Others are not told apart: anybody may make up one.
var setErrors = map[string]bool{"invalid_request": true, "invalid_key": true, "invalid_issuer": true, "invalid_audience": true,
	"authentication_failed": true, "access_denied": true, "invalid_state": true, errUndeliverable: true}

func known(code string) string {
	if setErrors[code] {
		return code
	}
	return "other"
}

// exchanged counts what an exchange brought.
func (m *metrics) exchanged(out *core.Exchanged) {
	if len(out.SETs) == 0 && out.Settled == 0 {
		return
	}
	stream := m.hub.StreamName(out.Stream.ID)
	for _, s := range out.SETs {
		what := "sent"
		if s.Attempts > 1 {
			what = "repeated"
		}
		m.sets.WithLabelValues(stream, what).Inc()
	}
	if out.Settled > 0 {
		m.sets.WithLabelValues(stream, "settled").Add(float64(out.Settled))
	}
}

// died counts what became dead letters, by the codes that were given for them.
func (m *metrics) died(stream huanxin.StreamID, codes []string) {
	for _, code := range codes {
		m.errors.WithLabelValues(m.hub.StreamName(stream), known(code)).Inc()
	}
}

var (
	unsettled = prometheus.NewDesc("huanxin_feed_unsettled", "SETs of a stream that were taken and that its receiver did not acknowledge yet.", []string{"stream"}, nil)
	oldest    = prometheus.NewDesc("huanxin_feed_oldest_unsettled_seconds",
		"How long ago the oldest SET that a stream's receiver did not acknowledge was handed out first; 0: there is none.", []string{"stream"}, nil)
	behind = prometheus.NewDesc("huanxin_feed_behind", "Positions of the feed log that a stream was not told of yet, whether they concern it or not.", []string{"stream"}, nil)
)

// Describe tells which metrics there are.
func (m *metrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{unsettled, oldest, behind} {
		to <- d
	}
}

const (
	figuresAge  = 5 * time.Second
	figuresTime = 2 * time.Second
)

// Collect gives how far behind each stream is.
func (m *metrics) Collect(to chan<- prometheus.Metric) {
	m.lock.Lock()
	defer m.lock.Unlock()
	if time.Since(m.read) > figuresAge {
		ctx, cancel := context.WithTimeout(context.Background(), figuresTime)
		defer cancel()
		if all, err := m.hub.FeedFigures(ctx); err == nil {
			m.figures, m.read = all, time.Now()
		}
	}
	for _, f := range m.figures {
		stream, age := m.hub.StreamName(f.Stream), 0.0
		if !f.Oldest.IsZero() {
			age = max(time.Since(f.Oldest).Seconds(), 0)
		}
		to <- prometheus.MustNewConstMetric(unsettled, prometheus.GaugeValue, float64(f.Pending), stream)
		to <- prometheus.MustNewConstMetric(oldest, prometheus.GaugeValue, age, stream)
		to <- prometheus.MustNewConstMetric(behind, prometheus.GaugeValue, float64(f.Behind), stream)
	}
}

package due

import (
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	lag      prometheus.Gauge
	calendar prometheus.Gauge
	moved    prometheus.Counter
	messages *prometheus.CounterVec
	failures *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer, hub *core.Hub) metrics {
	m := metrics{
		lag: prometheus.NewGauge(prometheus.GaugeOpts{Name: "huanxin_unsequenced",
			Help: "Batches of number events and audit entries that wait for a position in their log."}),
		calendar: prometheus.NewGauge(prometheus.GaugeOpts{Name: "huanxin_calendar_missing_years",
			Help: "Years of the next two months whose holidays are not loaded: they count Monday to Friday."}),
		moved: prometheus.NewCounter(prometheus.CounterOpts{Name: "huanxin_clock_tasks_total",
			Help: "Tasks that the clock or the end of a back-off moved."}),
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "huanxin_messages_total",
			Help: "Attempts to send a message to a contact's webhook."}, []string{"result"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "huanxin_loop_failures_total",
			Help: "Steps of a background loop that failed and are tried again."}, []string{"loop"}),
	}
	if r != nil {
		r.MustRegister(m.lag, m.calendar, m.moved, m.messages, m.failures, checkMetrics{hub})
	}
	return m
}

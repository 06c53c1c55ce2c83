package httpapi

import (
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/huanxin-platform/huanxin"
)

// exchange is what is known of one request while it is answered, and the request's context, which finds it. Its handler's goroutine owns it.
type exchange struct {
	context.Context
	response response
	forms    interface { // nil: all errors are problem documents
		errorsAt(*http.Request) ErrorWriter
	}
	id      string
	ids     [1]string // as a header has it
	pattern string    // the route's path as it stands in the table
	route   *Route
	caller  huanxin.Caller
	code    string // of the problem that was answered
	body    []byte
	front   *Front // nil outside of one
}

type exchangeKey struct{}

// Value is that of the request's own context, but for the exchange itself.
func (x *exchange) Value(key any) any {
	if key == (exchangeKey{}) {
		return x
	}
	return x.Context.Value(key)
}

// exchangeFrom never gives nil: outside of Front and Mux it gives an empty exchange.
func exchangeFrom(ctx context.Context) *exchange {
	if x, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		return x
	}
	return &exchange{}
}

// CallerFrom gives who asks, on a route with a scope; elsewhere the zero Caller, which may nothing.
func CallerFrom(ctx context.Context) huanxin.Caller { return exchangeFrom(ctx).caller }

// RequestIDFrom gives the request's id, which the answer bears as X-Request-Id.
func RequestIDFrom(ctx context.Context) string { return exchangeFrom(ctx).id }

// BodyFrom gives the request's JSON body, unpacked, as readJSON read it: what an Idempotency-Key is compared by.
// The caller must not change it.
func BodyFrom(ctx context.Context) []byte { return exchangeFrom(ctx).body }

// Waiting says that the request does nothing until done is called: meanwhile it takes no place among those that are answered at
// once. It is false where too many wait already, and then the request should be answered without waiting.
func Waiting(ctx context.Context) (done func(), ok bool) {
	f := exchangeFrom(ctx).front
	if f == nil {
		return func() {}, true
	}
	if f.waiting.Add(1) > maxWaiting {
		f.waiting.Add(-1)
		return nil, false
	}
	f.inFlight.Add(-1)
	return func() { f.inFlight.Add(1); f.waiting.Add(-1) }, true
}

// maxWaiting bounds how many requests wait: each costs some 30 KB.
const maxWaiting = 20_000

// Front is what every request to the listener passes first: it gives the request its id, bounds how many
// are answered at once, sets the headers that every answer has, counts, and logs one line.
//
// Neither the log nor the metrics hold anything that comes from outside but the method, if it is a
// known one, and the id of a client that showed a valid token: no path, no query, no body, no address.
type Front struct {
	log      *slog.Logger
	max      int64
	inFlight atomic.Int64
	waiting  atomic.Int64
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	refused  prometheus.Counter

	known  atomic.Pointer[map[series]metrics] // metrics that were found by their labels before; the map never changes
	adding sync.Mutex
}

// series is what the metrics of routes are told apart by. Routes are pointers into the table, so there are few.
type series struct {
	route  *Route
	method string
	class  int // of the status: its hundreds
}

type metrics struct {
	requests prometheus.Counter
	seconds  prometheus.Observer
}

// NewFront registers its metrics with reg, which must not have them yet. maxInFlight 0 is no bound.
func NewFront(log *slog.Logger, reg prometheus.Registerer, maxInFlight int) *Front {
	f := &Front{
		log: log,
		max: int64(maxInFlight),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "huanxin_http_requests_total",
			Help: "Requests answered, by route pattern, method and status class."}, []string{"route", "method", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "huanxin_http_request_duration_seconds",
			Help: "How long answers took.", Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60}},
			[]string{"route", "method"}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{Name: "huanxin_http_overloaded_total",
			Help: "Requests refused because too many were being answered."}),
	}
	inFlight := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "huanxin_http_in_flight",
		Help: "Requests being answered."}, func() float64 { return float64(f.inFlight.Load()) })
	waiting := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "huanxin_http_waiting",
		Help: "Requests that wait for something to tell: long polls."}, func() float64 { return float64(f.waiting.Load()) })
	reg.MustRegister(f.requests, f.seconds, f.refused, inFlight, waiting)
	return f
}

// Wrap puts the front before a handler, such as a Mux. A panic passes through, counted and logged as status 500.
func (f *Front) Wrap(next http.Handler) http.Handler {
	mux, _ := next.(*mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		x := &exchange{Context: r.Context(), id: newRequestID(), response: response{ResponseWriter: w}, front: f}
		x.ids[0] = x.id
		if mux != nil {
			x.forms = mux
		}
		r = r.WithContext(x)
		h := w.Header()
		h["X-Request-Id"] = x.ids[:]
		h["X-Content-Type-Options"] = noSniff
		returned := false
		defer func() {
			f.inFlight.Add(-1)
			f.record(r, x, began, returned)
		}()
		if n := f.inFlight.Add(1); f.max > 0 && n > f.max {
			f.refused.Inc()
			writeError(&x.response, r, huanxin.Errorf(huanxin.Unavailable, "overloaded", "too many requests at once; try again"))
		} else {
			next.ServeHTTP(&x.response, r)
		}
		returned = true
	})
}

// newRequestID gives 26 characters of base32, 128 random bits. They tell requests apart and protect nothing.
func newRequestID() string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	var text [26]byte
	hi, lo := rand.Uint64(), rand.Uint64()
	for i := range text {
		text[i] = alphabet[lo&31]
		lo, hi = lo>>5|hi<<59, hi>>5
	}
	return string(text[:])
}

func (f *Front) record(r *http.Request, x *exchange, began time.Time, returned bool) {
	took := time.Since(began)
	route := patternOf(r, x)
	method := methodLabel(r.Method)
	status := x.response.status
	switch {
	case !returned: // a panic passes: net/http will cut the connection
		status = http.StatusInternalServerError
	case status == 0:
		status = http.StatusOK
	}
	m := f.metrics(series{x.route, method, status / 100}, route)
	m.requests.Inc()
	m.seconds.Observe(took.Seconds())
	h := f.log.Handler()
	if !h.Enabled(r.Context(), slog.LevelInfo) {
		return
	}
	line := slog.NewRecord(began.Add(took), slog.LevelInfo, "request", 0) // from nowhere in particular: that is not looked up
	var all [10]slog.Attr
	attrs := append(all[:0], slog.String("request_id", x.id), slog.String("method", method), slog.String("route", route),
		slog.Int("status", status), slog.Duration("took", took), slog.Int64("bytes", x.response.bytes))
	if x.code != "" {
		attrs = append(attrs, slog.String("code", x.code))
	}
	if x.caller.Party != nil {
		attrs = append(attrs, slog.String("client", x.caller.Client), slog.String("party", x.caller.Party.ID))
	}
	if !returned {
		attrs = append(attrs, slog.Bool("aborted", true))
	}
	line.AddAttrs(attrs...)
	_ = h.Handle(r.Context(), line)
}

// metrics finds those of a route by its pointer; where there is none, by the labels.
func (f *Front) metrics(s series, route string) metrics {
	if known := f.known.Load(); known != nil {
		if m, ok := (*known)[s]; ok {
			return m
		}
	}
	m := metrics{f.requests.WithLabelValues(route, s.method, strconv.Itoa(s.class)+"xx"), f.seconds.WithLabelValues(route, s.method)}
	if s.route == nil {
		return m
	}
	f.adding.Lock()
	defer f.adding.Unlock()
	more := map[series]metrics{s: m}
	if known := f.known.Load(); known != nil {
		maps.Copy(more, *known)
	}
	f.known.Store(&more)
	return m
}

// patternOf gives the pattern that the request matched, never its path. A ServeMux within Front that is
// not Mux is seen by the Pattern that it leaves in the request.
func patternOf(r *http.Request, x *exchange) string {
	if x.pattern != "" {
		return x.pattern
	}
	_, pattern, found := strings.Cut(r.Pattern, " ")
	if !found {
		pattern = r.Pattern
	}
	if pattern == "" {
		return "unmatched"
	}
	return pattern
}

var methods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions}

// methodLabel keeps a method that somebody made up out of logs and metrics.
func methodLabel(m string) string {
	if slices.Contains(methods, m) {
		return m
	}
	return "other"
}

// response sees what is answered. http.ResponseController reaches through it.
type response struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *response) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.begin(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.begin(http.StatusOK)
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// begin adds what a browser must be told of an answer that it might show: all but plain JSON, which with nosniff it never
// takes for a page. Every header is paid for with every answer.
func (w *response) begin(status int) {
	w.status = status
	h := w.Header()
	if t := h["Content-Type"]; len(t) == 1 && t[0] == typeJSON {
		return
	}
	h["Referrer-Policy"] = noReferrer
	if h["Content-Security-Policy"] == nil {
		h["Content-Security-Policy"] = noContent
	}
}

// FlushError sends what was written; the headers, too, if they were not.
func (w *response) FlushError() error {
	if w.status == 0 {
		w.begin(http.StatusOK)
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

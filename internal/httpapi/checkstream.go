package httpapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/lines"
)

const (
	// checkBatch is how many lines are looked up at once, and checkBytes how long they are at most: their cache misses overlap,
	// and locks are taken seldom.
	checkBatch = 1024
	checkBytes = 256 << 10
	// checkBlock is how much is handed to the connection at once.
	checkBlock = 128 << 10
	// renewEvery is how long answers are given as of one moment.
	renewEvery = 200 * time.Millisecond
	// maxStreams is how many streams a client may have at once.
	maxStreams = 32
	// discardFor is how long what a client still sends is read and thrown away, so that it comes to read why.
	discardFor = time.Minute
)

// streamChecks answers lines while they come. One goroutine reads and answers, another writes: a client that sends everything
// before it reads is not kept waiting until maxKept of answers wait for it.
func (a *api) streamChecks(w http.ResponseWriter, r *http.Request, kind string) error {
	ctx := r.Context()
	call, err := a.hub.BeginChecks(ctx, CallerFrom(ctx), huanxin.ScopeNumbersCheck)
	if err != nil {
		return err
	}
	defer call.End()
	leave, err := a.streams.enter(CallerFrom(ctx).Client)
	if err != nil {
		return err
	}
	defer leave()
	rc := http.NewResponseController(w)
	body, err := lines.Decompress(r.Header.Get("Content-Encoding"), r.Body)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	begun, err := begin(body)
	if err != nil {
		return err
	}
	var codec checkCodec
	if kind == typeCSV {
		if codec, err = newCSVChecks(begun); err != nil {
			return readError(err)
		}
	} else {
		codec = newJSONChecks(begun)
	}
	s := &checkStream{codec: codec, call: call, queue: newAnswerQueue(&a.streams), stopping: a.stopping, moved: func() { // while the body comes, the answers may wait
		_ = rc.SetWriteDeadline(time.Now().Add(time.Minute))
	}}
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Vary", "Accept-Encoding")
	h.Set(headerAsOf, strconv.FormatInt(call.AsOf(), 10))
	encoding := lines.Encoding(r.Header.Get("Accept-Encoding"))
	if encoding != "" {
		h.Set("Content-Encoding", encoding)
	}
	if live, ok := r.Body.(interface{ Live() }); ok {
		live.Live() // a pipe through which a line comes now and then is not slow
	}
	if r.ProtoMajor == 1 {
		// Answers may end before the body does; whatever comes of that afterwards must never be taken for another request.
		h.Set("Connection", "close")
	}
	// Only now: a refusal is read more surely when net/http reads what is left of a body. HTTP/2 is so anyway.
	_ = rc.EnableFullDuplex()
	w.WriteHeader(http.StatusOK)
	written := make(chan error, 1)
	go func() { written <- s.queue.writeTo(w, rc, encoding) }()
	done := make(chan struct{})
	defer close(done)
	go s.wakeToStop(rc, done)
	err = s.run(ctx, r.Body)
	s.queue.end(err == nil)
	werr := <-written
	if body, ok := r.Body.(interface{ Cut() }); ok && (werr != nil || err != nil) {
		body.Cut() // a client that sends no more learns at once that it was cut off
	}
	if werr != nil || errors.Is(err, context.Canceled) {
		panic(http.ErrAbortHandler) // the client is gone, which is its own affair
	}
	return err
}

// begin reads the beginning of a body before anything is answered: a client that waits for "100 Continue" gets it then only,
// and a body that is broken from the start is refused as a whole.
func begin(body io.Reader) (io.Reader, error) {
	first := make([]byte, 4096)
	n, err := body.Read(first)
	switch {
	case err == io.EOF:
		return bytes.NewReader(first[:n]), nil
	case err != nil && n == 0:
		return nil, readError(err)
	case err != nil:
		body = failing{err}
	}
	return io.MultiReader(bytes.NewReader(first[:n]), body), nil
}

// failing is a reader that has failed.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// checkStream reads lines, answers them and queues the answers.
type checkStream struct {
	codec    checkCodec
	call     *core.Checks
	queue    *answerQueue
	stopping <-chan struct{} // closed when the hub stops; nil: never
	moved    func()
	renewed  time.Time

	batch   []checkLine
	good    []core.Check
	answers []core.Checked
	out     []byte
}

// errNotRead ends a stream whose answers nobody reads. It has been told already.
var errNotRead = errors.New("the answers are not read")

func (s *checkStream) run(ctx context.Context, body io.Reader) error {
	s.batch = make([]checkLine, 0, checkBatch)
	s.good, s.answers = make([]core.Check, checkBatch), make([]core.Checked, checkBatch)
	s.out = s.codec.begin(s.queue.block())
	s.renewed = time.Now()
	for {
		end := s.fill()
		err := s.answer(ctx)
		if err == nil && end != nil && end != io.EOF {
			s.out = s.codec.broken(s.out, s.reasonOf(end))
		}
		if err == nil && (len(s.out) >= checkBlock || end != nil || !s.codec.ready()) {
			err = s.put()
		}
		switch {
		case err == errNotRead:
			discard(body)
			return nil
		case err != nil || end != nil:
			return err
		}
	}
}

// put hands what was answered to the connection.
func (s *checkStream) put() error {
	if e := s.queue.put(s.out); e != nil {
		s.queue.force(s.codec.broken(s.queue.block(), e))
		return errNotRead
	}
	s.out = s.queue.block()
	return nil
}

// discard reads what is left, or some of it: else the connection would break before the client has read why it was not answered.
func discard(body io.Reader) {
	buf := make([]byte, 64<<10)
	for end := time.Now().Add(discardFor); time.Now().Before(end); {
		if _, err := body.Read(buf); err != nil {
			return
		}
	}
}

// stopped reports whether the hub stops.
func (s *checkStream) stopped() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}

var (
	errStopping = huanxin.Errorf(huanxin.Unavailable, "overloaded", "the hub stops; go on elsewhere or later with the first line that was not answered")
	errTooSlow  = huanxin.Errorf(huanxin.Invalid, "too_slow", "nothing came for too long; what follows was not answered")
)

// reasonOf says why there are no more answers.
func (s *checkStream) reasonOf(end error) *huanxin.Error {
	switch {
	case s.stopped():
		return errStopping
	case errors.Is(end, os.ErrDeadlineExceeded):
		return errTooSlow
	}
	return refusal(readError(end))
}

// wakeToStop ends a wait for further lines when the hub stops.
func (s *checkStream) wakeToStop(rc *http.ResponseController, done <-chan struct{}) {
	select {
	case <-done:
		return
	case <-s.stopping:
	}
	tick := time.NewTicker(100 * time.Millisecond) // a read that begins now sets another deadline
	defer tick.Stop()
	for {
		_ = rc.SetReadDeadline(time.Unix(1, 0))
		select {
		case <-done:
			return
		case <-tick.C:
		}
	}
}

// fill reads lines until the batch is full, the body has nothing ready, or it ends.
func (s *checkStream) fill() error {
	s.batch = s.batch[:0]
	if s.stopped() {
		return errStopping
	}
	for size := 0; len(s.batch) < checkBatch && size < checkBytes; {
		s.batch = s.batch[:len(s.batch)+1]
		l := &s.batch[len(s.batch)-1]
		if err := s.codec.next(l); err != nil {
			s.batch = s.batch[:len(s.batch)-1]
			return err
		}
		size += len(l.kept)
		if !s.codec.ready() {
			return nil
		}
	}
	return nil
}

// answer answers the batch in chunks that the client's rate allows. Checks beyond the day's quota are refused.
func (s *checkStream) answer(ctx context.Context) error {
	if err := s.renew(ctx); err != nil {
		return err
	}
	for rest := s.batch; len(rest) > 0; {
		chunk := rest[:min(s.call.PaceChunk(checkBatch), len(rest))]
		rest = rest[len(chunk):]
		n := 0
		for i := range chunk {
			if chunk[i].err == nil {
				s.good[n] = chunk[i].check
				n++
			}
		}
		if err := s.pace(ctx, n); err != nil {
			return err
		}
		granted, refused := s.call.Spend(n)
		if err := s.call.Answer(ctx, s.good[:granted], s.answers[:granted]); err != nil {
			return err
		}
		for i := granted; i < n; i++ {
			s.answers[i] = core.Checked{Err: refused}
		}
		s.write(chunk)
	}
	return nil
}

// write appends a chunk's lines with their answers.
func (s *checkStream) write(chunk []checkLine) {
	var none core.Checked
	n := 0
	for i := range chunk {
		l, a := &chunk[i], &none
		if l.err == nil {
			a = &s.answers[n]
			n++
		}
		s.out = s.codec.answer(s.out, l, a)
	}
}

// pace waits until the client's rate allows n more checks. What was answered before is not kept back meanwhile.
func (s *checkStream) pace(ctx context.Context, n int) error {
	for {
		wait := s.call.Pace(n)
		if wait == 0 {
			return nil
		}
		if len(s.out) > 0 {
			if err := s.put(); err != nil {
				return err
			}
		}
		timer := time.NewTimer(min(wait, renewEvery))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
		if err := s.renew(ctx); err != nil {
			return err
		}
	}
}

// renew brings the call to the present now and then.
func (s *checkStream) renew(ctx context.Context) error {
	now := time.Now()
	if now.Sub(s.renewed) < renewEvery {
		return nil
	}
	s.renewed = now
	s.moved()
	return s.call.Renew(ctx)
}

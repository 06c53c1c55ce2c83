package httpapi

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/lines"
)

const (
	// checkBatch is how many lines are looked up at once: their cache misses overlap.
	checkBatch = 256
	// checkBlock is how much is handed to the connection at once.
	checkBlock = 128 << 10
	// maxKept is how much of the answers is kept for a client that does not read.
	maxKept = 64 << 20
	// keptFor is how long a client may take nothing of its answers while that much waits for it.
	keptFor = 5 * time.Second
	// renewEvery is how long answers are given as of one moment.
	renewEvery = 200 * time.Millisecond
)

// streamChecks answers lines while they come. One goroutine reads and answers, another writes: a client that sends everything
// before it reads is not kept waiting until maxKept of answers wait for it.
func (a *api) streamChecks(w http.ResponseWriter, r *http.Request, kind string) error {
	ctx := r.Context()
	call, err := a.hub.BeginChecks(ctx, CallerFrom(ctx), huanxin.ScopeNumbersCheck)
	if err != nil {
		return err
	}
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
	s := &checkStream{codec: codec, call: call, asOf: call.AsOf(), queue: newAnswerQueue(), moved: func() { // while the body comes, the answers may wait
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
	// Only now: a refusal is read more surely when net/http reads what is left of a body. HTTP/2 is so anyway.
	_ = rc.EnableFullDuplex()
	w.WriteHeader(http.StatusOK)
	written := make(chan error, 1)
	go func() { written <- s.queue.writeTo(w, rc, encoding) }()
	err = s.run(r)
	s.queue.end(err == nil)
	if werr := <-written; err == nil && werr != nil {
		return werr
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
	codec   checkCodec
	call    *core.Checks
	asOf    int64
	queue   *answerQueue
	moved   func()
	renewed time.Time

	batch   []checkLine
	good    []core.Check
	answers []core.Checked
	out     []byte
}

func (s *checkStream) run(r *http.Request) error {
	s.batch = make([]checkLine, 0, checkBatch)
	s.good, s.answers = make([]core.Check, checkBatch), make([]core.Checked, checkBatch)
	s.out = s.codec.begin(s.queue.block())
	s.renewed = time.Now()
	for {
		end := s.fill()
		if err := s.answer(r); err != nil {
			return err
		}
		if end != nil && end != io.EOF {
			var e *huanxin.Error
			if errors.As(readError(end), &e) {
				s.out = s.codec.broken(s.out, e)
			}
		}
		if len(s.out) >= checkBlock || end != nil || !s.codec.ready() {
			if e := s.queue.put(s.out); e != nil {
				s.out = s.codec.broken(s.queue.block()[:0], e)
				s.queue.force(s.out)
				// Not read, the rest would break the connection before the client has read why.
				_, _ = io.Copy(io.Discard, r.Body)
				return nil
			}
			s.out = s.queue.block()
		}
		if end != nil {
			return nil
		}
	}
}

// fill reads lines until the batch is full, the body has nothing ready, or it ends.
func (s *checkStream) fill() error {
	s.batch = s.batch[:0]
	for len(s.batch) < checkBatch {
		s.batch = s.batch[:len(s.batch)+1]
		l := &s.batch[len(s.batch)-1]
		if err := s.codec.next(l); err != nil {
			s.batch = s.batch[:len(s.batch)-1]
			return err
		}
		if !s.codec.ready() {
			return nil
		}
	}
	return nil
}

func (s *checkStream) answer(r *http.Request) error {
	n := 0
	for i := range s.batch {
		if s.batch[i].err == nil {
			s.good[n] = s.batch[i].check
			n++
		}
	}
	if now := time.Now(); now.Sub(s.renewed) > renewEvery {
		s.renewed = now
		s.moved()
		if err := s.call.Renew(r.Context()); err != nil {
			return err
		}
	}
	if err := s.take(r, n); err != nil {
		return err
	}
	n = 0
	var none core.Checked
	for i := range s.batch {
		l, a := &s.batch[i], &none
		if l.err == nil {
			a = &s.answers[n]
			n++
		}
		s.out = s.codec.answer(s.out, l, a)
	}
	return nil
}

// take answers the first n good checks in chunks that the client's rate allows; those beyond the day's quota are refused.
func (s *checkStream) take(r *http.Request, n int) error {
	for from := 0; from < n; {
		to := min(from+s.call.PaceChunk(checkBatch), n)
		granted, refused, err := s.call.Pace(r.Context(), to-from)
		if err != nil {
			return err
		}
		if err := s.call.Answer(r.Context(), s.good[from:from+granted], s.answers[from:from+granted]); err != nil {
			return err
		}
		for i := from + granted; i < to; i++ {
			s.answers[i] = core.Checked{Err: refused}
		}
		from = to
	}
	return nil
}

// answerQueue holds answers that the connection has not taken yet.
type answerQueue struct {
	sync.Mutex
	more   sync.Cond // something to write, or the end
	less   chan struct{}
	blocks [][]byte
	kept   int
	free   [][]byte
	ended  bool
	whole  bool  // ended as it should
	failed error // the connection is gone
}

func newAnswerQueue() *answerQueue {
	q := &answerQueue{less: make(chan struct{}, 1)}
	q.more.L = &q.Mutex
	return q
}

// block gives an empty block.
func (q *answerQueue) block() []byte {
	q.Lock()
	defer q.Unlock()
	if n := len(q.free); n > 0 {
		b := q.free[n-1]
		q.free = q.free[:n-1]
		return b[:0]
	}
	return make([]byte, 0, checkBlock+16<<10)
}

// errReadWhileSending ends the answers of a client that takes none of them.
var errReadWhileSending = huanxin.Errorf(huanxin.Invalid, "read_while_sending",
	"64 MB of answers wait for you: read while you send; what follows here was not answered")

// put hands over a block. It waits while maxKept is kept and the other end takes some of it, and gives up when that takes nothing.
func (q *answerQueue) put(b []byte) *huanxin.Error {
	deadline := time.NewTimer(keptFor)
	defer deadline.Stop()
	for {
		q.Lock()
		if q.failed != nil || q.kept+len(b) <= maxKept {
			q.add(b)
			q.Unlock()
			return nil
		}
		q.Unlock()
		select {
		case <-q.less:
			deadline.Reset(keptFor)
		case <-deadline.C:
			return errReadWhileSending
		}
	}
}

// force hands over a block whatever is kept.
func (q *answerQueue) force(b []byte) {
	q.Lock()
	defer q.Unlock()
	q.add(b)
}

func (q *answerQueue) add(b []byte) {
	if q.failed == nil && len(b) > 0 {
		q.blocks, q.kept = append(q.blocks, b), q.kept+len(b)
		q.more.Signal()
	}
}

func (q *answerQueue) end(whole bool) {
	q.Lock()
	defer q.Unlock()
	q.ended, q.whole = true, whole
	q.more.Signal()
}

// take waits for the next block. flush says that there is none behind it.
func (q *answerQueue) take() (b []byte, flush, ok bool) {
	q.Lock()
	defer q.Unlock()
	for len(q.blocks) == 0 && !q.ended {
		q.more.Wait()
	}
	if len(q.blocks) == 0 {
		return nil, false, false
	}
	b = q.blocks[0]
	q.blocks = q.blocks[1:]
	return b, len(q.blocks) == 0, true
}

func (q *answerQueue) taken(b []byte, err error) {
	q.Lock()
	q.kept -= len(b)
	if len(q.free) < 4 {
		q.free = append(q.free, b)
	}
	if err != nil && q.failed == nil {
		q.failed, q.blocks, q.kept = err, nil, 0
	}
	q.Unlock()
	select {
	case q.less <- struct{}{}:
	default:
	}
}

// writeTo writes blocks to the connection as they come, until the end or until the connection fails. What was cut off by a
// fault of ours is not ended properly, so that nobody takes it for the whole.
func (q *answerQueue) writeTo(w io.Writer, rc *http.ResponseController, encoding string) error {
	z := lines.Compress(encoding, w)
	var err error
	for {
		b, flush, ok := q.take()
		if !ok {
			break
		}
		if err == nil {
			if _, err = z.Write(b); err == nil && flush {
				if err = z.Flush(); err == nil {
					err = rc.Flush()
				}
			}
		}
		q.taken(b, err)
	}
	q.Lock()
	whole := q.whole
	q.Unlock()
	if err == nil && whole {
		err = z.Close()
	}
	return err
}

package match

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
)

// Hub answers by asking a hub: each batch is a stream of its own, so that as many are under way as there are workers. What the
// hub is told of a row is its number and its T, nothing else. What breaks off is asked again from the first row without an
// answer.
type Hub struct {
	Client *client.Client
	// Compress packs questions and answers.
	Compress bool
	// Pause is how long is waited before the first repetition; it doubles up to a minute. 0: a quarter of a second.
	Pause time.Duration
	// Stall is how long a hub that is being asked may be silent. 0: two minutes, since a hub lets a client wait that asks faster
	// than it is entitled to, and sends answers by many at a time.
	Stall time.Duration
	// GiveUp is how long it is tried without any answer, and the longest Retry-After that is waited for. 0: 15 minutes.
	GiveUp time.Duration
	// Waiting, unless nil, is told of each failure that may pass, and how long is waited before it is tried again,
	// by several goroutines at once.
	Waiting func(err error, pause time.Duration)
}

// HubBatchRows is a good Options.BatchRows for a Hub, HubWorkers a good Options.Workers.
const (
	HubBatchRows = 1 << 15
	HubWorkers   = 6
)

const maxPause = time.Minute

// errStalled says that a hub was silent for too long.
var errStalled = errors.New("the hub is silent")

// Answer asks until every check of the batch is answered.
func (h *Hub) Answer(ctx context.Context, b *Batch) error {
	pause, since := orElse(h.Pause, 250*time.Millisecond), time.Now()
	for done := 0; ; {
		n, err := h.ask(ctx, b, done)
		if done += n; done == len(b.Digits) {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if n > 0 {
			pause, since = orElse(h.Pause, 250*time.Millisecond), time.Now()
		}
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		if !passing(err) {
			return err
		}
		wait := pause + rand.N(pause)
		if e, ok := errors.AsType[*huanxin.Error](err); ok && e.RetryAfter > wait {
			wait = e.RetryAfter
		}
		if time.Since(since)+wait > orElse(h.GiveUp, 15*time.Minute) {
			return fmt.Errorf("given up after %v without an answer, with %v to wait: %w", time.Since(since).Round(time.Second), wait.Round(time.Second), err)
		}
		if h.Waiting != nil {
			h.Waiting(err, wait)
		}
		if pause = min(2*pause, maxPause); !client.Pause(ctx, wait) {
			return context.Cause(ctx)
		}
	}
}

func orElse(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

// QuotaExceeded is the code of the error with which Answer ends at once when the client has used up the day's checks.
const QuotaExceeded = "quota_exceeded"

// passing reports whether a failure may pass by itself, soon: the network's, 429 and 5xx, but not a day's quota.
func passing(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return false
	}
	if e, ok := errors.AsType[*huanxin.Error](err); ok {
		if e.Code == QuotaExceeded {
			return false
		}
		return e.Kind == huanxin.Limited || e.Kind == huanxin.Unavailable || e.Kind == huanxin.Internal || e.Code == "invalid_token"
	}
	return !errors.Is(err, errAnswer)
}

// ask asks for the checks of a batch from one on, and gives how many were answered.
func (h *Hub) ask(ctx context.Context, b *Batch, from int) (n int, err error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	stall := orElse(h.Stall, 2*time.Minute)
	watch := time.AfterFunc(stall, func() { stop(errStalled) })
	defer watch.Stop()
	defer func() {
		if errors.Is(context.Cause(ctx), errStalled) {
			err = errStalled
		}
	}()
	ask, ends := questions(b, from)
	s, err := h.Client.StreamChecks(ctx, "text/csv", bytes.NewReader(ask), h.Compress)
	if err != nil {
		return 0, err
	}
	defer func() { _ = s.Close() }()
	if b.First == 0 || s.AsOf < b.First {
		b.First = s.AsOf
	}
	b.Last = max(b.Last, s.AsOf)
	r := bufio.NewReaderSize(&noticed{s, func() { watch.Reset(stall) }}, 128<<10)
	if line, err := r.ReadSlice('\n'); err != nil {
		return 0, err
	} else if string(trimEnding(line)) != "number,since,outcome,reason,error" {
		return 0, fmt.Errorf("%w: other columns than were asked for", errAnswer)
	}
	for start := ends[0]; n < len(ends)-1; n++ {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return n, err
		}
		end := ends[n+1]
		if b.Answers[from+n], err = readAnswer(trimEnding(line), ask[start:end-1]); err != nil {
			return n, err
		}
		start = end
	}
	_, _ = io.Copy(io.Discard, r) // up to the end, so that the connection is used again
	return n, nil
}

// noticed says that something came.
type noticed struct {
	io.Reader
	came func()
}

func (n *noticed) Read(p []byte) (int, error) {
	got, err := n.Reader.Read(p)
	n.came()
	return got, err
}

// questions writes the checks from one on as CSV, and gives where each line ends, that of the header first.
func questions(b *Batch, from int) (text []byte, ends []int) {
	n := len(b.Digits) - from
	text, ends = make([]byte, 0, 48*n+16), make([]int, 0, n+1)
	text = append(text, "number,since\n"...)
	ends = append(ends, len(text))
	for i := from; i < len(b.Digits); i++ {
		text = strconv.AppendUint(append(text, '+'), b.Digits[i], 10)
		text = append(b.Since[i].Append(append(text, ',')), '\n')
		ends = append(ends, len(text))
	}
	return text, ends
}

// errAnswer says that what answers is no hub, or does not answer what was asked.
var errAnswer = errors.New("the hub's answer is not one")

// outcomes are the words of an answer.
var outcomes = map[string]huanxin.CheckOutcome{"UNCHANGED": huanxin.Unchanged, "CHANGED": huanxin.Changed, "NO_HOLDER": huanxin.NoHolder,
	"UNKNOWN": huanxin.Unknown}

// words keeps the reasons and codes that are known from being allocated for each row. Those that are true say that a row
// was refused for what it is.
var words = map[string]struct {
	word string
	bad  bool
}{
	"": {"", false}, huanxin.CheckFuture: {huanxin.CheckFuture, false}, huanxin.CheckUnsupported: {huanxin.CheckUnsupported, false},
	huanxin.CheckNeverSeen: {huanxin.CheckNeverSeen, false}, huanxin.CheckBeforeCoverage: {huanxin.CheckBeforeCoverage, false},
	huanxin.CheckReassigned: {huanxin.CheckReassigned, false}, huanxin.CheckTransferred: {huanxin.CheckTransferred, false},
	huanxin.CheckCarrierLate: {huanxin.CheckCarrierLate, false}, tooManyTimes: {tooManyTimes, false},
	malformedN: {malformedN, true}, malformedT: {malformedT, true},
}

// tooManyTimes is the code of a number about which too many different T were asked.
const tooManyTimes = "too_many_times"

// readAnswer reads the answer to a question, which it begins with.
func readAnswer(line, question []byte) (Answer, error) {
	rest, ok := bytes.CutPrefix(line, question)
	if !ok {
		if code := line[bytes.LastIndexByte(line, ',')+1:]; bytes.HasPrefix(line, []byte(",,")) && isCode(code) {
			return Answer{}, huanxin.Errorf(huanxin.Unavailable, string(code), "the hub ended its answers early")
		}
		return Answer{}, fmt.Errorf("%w to what was asked", errAnswer)
	}
	i := bytes.LastIndexByte(rest, ',')
	if i < 1 {
		return Answer{}, errAnswer
	}
	code, rest := rest[i+1:], rest[:i]
	j := bytes.LastIndexByte(rest, ',')
	if j < 1 {
		return Answer{}, errAnswer
	}
	outcome, reason := outcomes[string(rest[1:j])], rest[j+1:]
	switch {
	case len(code) > 0:
		return refused(code)
	case outcome == 0 || !isCode(reason):
		return Answer{}, errAnswer
	}
	if w, ok := words[string(reason)]; ok {
		return Answer{outcome, w.word}, nil
	}
	return Answer{outcome, string(reason)}, nil
}

// refused gives what becomes of a check that got an error. What says nothing of the check itself may pass.
func refused(code []byte) (Answer, error) {
	w, known := words[string(code)]
	switch {
	case known && w.bad:
		return Answer{BadLine, w.word}, nil
	case known:
		return Answer{huanxin.Unknown, w.word}, nil
	case !isCode(code):
		return Answer{}, errAnswer
	}
	return Answer{}, huanxin.Errorf(huanxin.Limited, string(code), "the hub does not answer now")
}

// isCode reports whether a word may be a reason or a code: nothing else reaches the outputs and messages.
func isCode(word []byte) bool {
	for _, c := range word {
		if (c < 'a' || c > 'z') && c != '_' {
			return false
		}
	}
	return len(word) <= 40
}

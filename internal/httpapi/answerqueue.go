package httpapi

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/lines"
)

const (
	// maxKept is how much of the answers is kept for a client that does not read, and maxKeptByAll for all of them together.
	maxKept      = 64 << 20
	maxKeptByAll = 1 << 30
	// keptFor is how long a client may take nothing of its answers while that much waits for it.
	keptFor = 5 * time.Second
)

// streams is what all streamed checks share.
type streams struct {
	kept     atomic.Int64 // bytes of answers that wait for their clients
	mu       sync.Mutex
	byClient map[string]int
}

// enter counts a stream of a client, until leave is called.
func (s *streams) enter(client string) (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byClient == nil {
		s.byClient = map[string]int{}
	}
	if s.byClient[client] >= maxStreams {
		return nil, &huanxin.Error{Kind: huanxin.Limited, Code: "rate_limited", RetryAfter: time.Second, Detail: "the client has 32 streams already"}
	}
	s.byClient[client]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.byClient[client]--; s.byClient[client] == 0 {
			delete(s.byClient, client)
		}
	}, nil
}

// answerQueue holds answers that the connection has not taken yet.
type answerQueue struct {
	all *streams
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

func newAnswerQueue(all *streams) *answerQueue {
	q := &answerQueue{all: all, less: make(chan struct{}, 1)}
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

// put hands over a block. It waits while too much is kept, here or by all streams, and the other end takes some of it, and gives up
// when that takes nothing.
func (q *answerQueue) put(b []byte) *huanxin.Error {
	deadline := time.NewTimer(keptFor)
	defer deadline.Stop()
	for {
		q.Lock()
		if q.failed != nil || q.kept == 0 || q.kept+len(b) <= maxKept && q.all.kept.Load()+int64(len(b)) <= maxKeptByAll {
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
		q.all.kept.Add(int64(len(b)))
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
	gone := min(len(b), q.kept)
	if len(q.free) < 4 {
		q.free = append(q.free, b)
	}
	if err != nil && q.failed == nil {
		q.failed, q.blocks, gone = err, nil, q.kept
	}
	q.kept -= gone
	q.all.kept.Add(-int64(gone))
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

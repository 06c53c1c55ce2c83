package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/guard"
	"github.com/huanxin-platform/huanxin/internal/auth"
	"github.com/huanxin-platform/huanxin/internal/index"
	"github.com/huanxin-platform/huanxin/internal/index/measure"
	"github.com/huanxin-platform/huanxin/internal/index/replica"
)

// guarded measures the login guard with a local replica of -numbers numbers: what pulling it takes beyond its bytes, and what a decision
// takes in process.
func guarded(ctx context.Context, o options, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("/var/tmp", "huanxin-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	from, err := serveReplica(o.numbers)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.close()) }()
	fmt.Fprintf(out, "\nguard, a replica of %d numbers\n", o.numbers)
	hub := client.New(client.Options{URL: from.url, ID: "bench", Secret: "bench"})
	var bytes int64
	var path string
	w := &world{}
	for i := range min(o.repeat, peerRounds) {
		path = filepath.Join(dir, fmt.Sprint("replica-", i)) // each from nothing
		alone, err := w.timed("bytes", 1, func() (err error) {
			bytes, err = fetch(ctx, hub, filepath.Join(dir, "bytes"))
			return err
		})
		if err != nil {
			return err
		}
		if err := w.followed(ctx, out, hub, path, alone, bytes); err != nil {
			return err
		}
	}
	g, err := guard.Open(ctx, guard.Options{Hub: hub, Replica: &guard.Replica{Path: path, Every: -1}})
	if err != nil {
		return err
	}
	defer g.Close()
	if err := g.Refresh(ctx); err != nil {
		return err
	}
	return w.decisions(ctx, o, out, g)
}

// fetch brings the bytes of a replica to stable storage, and looks at nothing.
func fetch(ctx context.Context, hub *client.Client, path string) (n int64, err error) {
	body, err := hub.Replica(ctx)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	n, err = io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{body}, make([]byte, 1<<20))
	return n, errors.Join(err, f.Sync(), f.Close(), os.Remove(path))
}

// followed pulls a replica into a new guard and says how long it took to serve.
func (w *world) followed(ctx context.Context, out io.Writer, hub *client.Client, path string, alone phase, bytes int64) error {
	g, err := guard.Open(ctx, guard.Options{Replica: &guard.Replica{Path: path}, Hub: hub})
	if err != nil {
		return err
	}
	defer g.Close()
	q := guard.Question{Number: huanxin.NumberOf(measure.First), BoundAt: huanxin.Exactly(time.Now())}
	all, err := w.timed("replica", 1, func() error {
		for g.Decide(ctx, q).Source != guard.FromReplica {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			time.Sleep(time.Millisecond)
		}
		return nil
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "    %.2f GB: the bytes alone %.2f s; pulled, proved and serving %.2f s: %.2f s more (5 s), CPU %.2f s more; others took %.0f %% of the machine\n",
		float64(bytes)/1e9, alone.took.Seconds(), all.took.Seconds(), all.took.Seconds()-alone.took.Seconds(), all.cpu.process-alone.cpu.process, all.others())
	return nil
}

// decisions measures Decide on every core, and one call after the other, each about another number of all that there are. What is asked comes
// from registers and a small table, as a question that was just read would.
func (w *world) decisions(ctx context.Context, o options, out io.Writer, g *guard.Guard) error {
	calls := 4_000_000
	if o.short {
		calls = 20_000
	}
	var bound [256]huanxin.Moment
	r := rand.New(rand.NewPCG(1, 2))
	for i := range bound {
		bound[i] = huanxin.Exactly(firstBound.Date(huanxin.China).Add(time.Duration(r.IntN(boundDays*24*60)) * time.Minute))
	}
	ask := func(r *rand.Rand) guard.Question {
		v := r.Uint64()
		number, _ := bits.Mul64(v, uint64(o.numbers))
		return guard.Question{Number: huanxin.NumberOf(measure.First + number), BoundAt: bound[v%uint64(len(bound))]}
	}
	cores := runtime.NumCPU()
	got := series{name: fmt.Sprintf("decisions, random, %d cores", cores)}
	var allowed int
	for range o.repeat {
		p, err := w.timed("decisions", cores*calls, func() error {
			var all sync.WaitGroup
			for c := range cores {
				all.Go(func() {
					r := rand.New(rand.NewPCG(3, uint64(c)))
					for range calls {
						g.Decide(ctx, ask(r))
					}
				})
			}
			all.Wait()
			return nil
		})
		if err != nil {
			return err
		}
		got.add(p)
	}
	fmt.Fprintf(out, "%v (5 M/s)\n", &got)
	took := make([]time.Duration, calls)
	for i := range took {
		q := ask(r)
		began := time.Now()
		d := g.Decide(ctx, q)
		took[i] = time.Since(began)
		if d.Access == huanxin.Allow {
			allowed++
		}
	}
	slices.Sort(took)
	at := func(of float64) time.Duration { return took[int(of*float64(len(took)-1))] }
	fmt.Fprintf(out, "    one call, with the clock's own time: median %v, p99 %v (1 µs), p99.9 %v; %.0f %% were allowed\n",
		at(.5), at(.99), at(.999), float64(allowed)/float64(calls)*100)
	return nil
}

// replicaServer gives a whole replica as a hub does: streamed from its index, the manifest behind.
type replicaServer struct {
	url   string
	index *index.Index
	http  *http.Server
}

func serveReplica(numbers int64) (*replicaServer, error) {
	x, err := fillReplica(numbers)
	if err != nil {
		return nil, err
	}
	ring, err := auth.NewKeyRing(auth.NewSigningKey(time.Now().Add(-time.Hour)))
	if err != nil {
		return nil, errors.Join(err, x.Close())
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, x.Close())
	}
	s := &replicaServer{url: "http://" + l.Addr().String(), index: x}
	mux := http.NewServeMux()
	mux.HandleFunc("/oauth2/token", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"access_token":"bench","expires_in":900}`)
	})
	mux.HandleFunc("/jwks.json", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(ring.JWKS(time.Now())) })
	mux.HandleFunc("/v1/replica", func(w http.ResponseWriter, _ *http.Request) {
		m := replica.Manifest{Issuer: s.url, Audience: "bench", IssuedAt: time.Now().Unix(), AsOf: 1, Scope: huanxin.ReplicaWhole.String(),
			Zone: huanxin.China.String(), Numbers: numbers, Fresh: map[string]time.Time{}}
		sum := sha256.New()
		m.Size, _ = x.WriteTo(io.MultiWriter(w, sum), m.Meta(), false) // who pulls sees what is missing
		m.SHA256 = hex.EncodeToString(sum.Sum(nil))
		if jws, err := ring.Sign(time.Now(), replica.Type, m); err == nil {
			_, _ = w.Write(replica.AppendFooter(nil, jws))
		}
	})
	s.http = &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.http.Serve(l) }()
	return s, nil
}

func (s *replicaServer) close() error { return errors.Join(s.http.Close(), s.index.Close()) }

// fillReplica makes an index of the lives that checks are measured with.
func fillReplica(numbers int64) (*index.Index, error) {
	x, mark := index.New(), lives().mark
	changes := make([]index.Change, 0, 100_000)
	for i := int64(0); i < numbers; {
		changes = changes[:0]
		for ; i < numbers && len(changes) < cap(changes); i++ {
			changes = append(changes, index.Change{Digits: measure.First + uint64(i), Value: mark(i), Carrier: 1})
		}
		x.Apply(changes)
	}
	if x.Len() != numbers {
		return nil, errors.Join(fmt.Errorf("%d numbers are known, not %d", x.Len(), numbers), x.Close())
	}
	return x, nil
}

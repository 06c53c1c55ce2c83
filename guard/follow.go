package guard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/internal/index/replica"
)

// follower keeps a replica in memory that is as new as can be.
type follower struct {
	path     string
	hub      *client.Client // whose replica it is; nil: anybody's
	pulling  bool
	every    time.Duration
	maxAge   time.Duration
	maxLag   time.Duration
	maxBytes int64
	log      *slog.Logger
	water    *highWater
	news     forgotten
	// clockWrong says that a replica came from the future: if it is our clock that is slow, each seems younger than it is.
	clockWrong atomic.Bool

	current atomic.Pointer[loaded]
	turn    chan struct{} // held by the one who changes current
	woken   chan struct{}
	busy    sync.WaitGroup
	base    context.Context // set by start
	pulls   struct{ came, failed atomic.Int64 }
	failing bool // held with turn: the log has been told
}

func newFollower(o Options, water *highWater) (*follower, error) {
	f := &follower{path: o.Replica.Path, hub: o.Hub, pulling: o.Hub != nil && o.Replica.Every >= 0, every: o.Replica.Every, maxAge: o.Replica.MaxAge, maxLag: o.MaxLag, maxBytes: o.Replica.MaxBytes,
		log: o.Log, water: water, news: forgotten{seal: newSealer()}, turn: make(chan struct{}, 1), woken: make(chan struct{}, 1)}
	if f.path == "" {
		return nil, errors.New("guard: the replica has no path")
	}
	if f.hub != nil && f.hub.ID() == "" {
		return nil, errors.New("guard: the hub's client has no ID, which a replica is made for")
	}
	if f.every == 0 {
		f.every = defaultEvery
	}
	if !f.pulling {
		f.every = lookEvery
	}
	if f.maxAge < 0 {
		return nil, errors.New("guard: the replica's MaxAge is negative")
	}
	if f.maxAge == 0 {
		f.maxAge = defaultMaxAge
	}
	if f.maxBytes <= 0 {
		f.maxBytes = defaultMaxBytes
	}
	if _, err := os.Stat(filepath.Dir(f.path)); err != nil {
		return nil, fmt.Errorf("guard: %w", err)
	}
	return f, nil
}

func (f *follower) start(base context.Context) {
	f.base = base
	f.busy.Go(func() { f.follow(base) })
}

// wait returns when nothing runs any more. The base context is done by then.
func (f *follower) wait() {
	f.busy.Wait()
	f.turn <- struct{}{} // a refresh ends with the base context, too
	if l := f.current.Swap(nil); l != nil {
		f.close(l)
	}
	<-f.turn
}

// wake lets the follower look for a newer replica at once.
func (f *follower) wake() {
	select {
	case f.woken <- struct{}{}:
	default:
	}
}

const (
	firstRetry = 5 * time.Second
	// stall is how long a hub may send nothing of a replica.
	stall = 2 * time.Minute
)

// follow brings one replica after the other until ctx is done.
func (f *follower) follow(ctx context.Context) {
	retry := firstRetry
	for ctx.Err() == nil {
		err := f.refresh(ctx, false)
		wait := f.every
		if err == nil {
			retry = firstRetry
		} else {
			wait = min(retry, f.every)
			retry = min(2*retry, f.every)
			if e, ok := errors.AsType[*huanxin.Error](err); ok && e.RetryAfter > wait {
				wait = min(e.RetryAfter, f.every)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait - wait/10 + rand.N(wait/5+1)):
		case <-f.woken: // by damage, which a disk that fails does to each replica
			select {
			case <-ctx.Done():
			case <-time.After(min(firstRetry, f.every)):
			}
		}
	}
}

// refresh takes what is newer on the disk and, unless another process pulled it just now and nobody insists, pulls.
func (f *follower) refresh(ctx context.Context, insist bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(f.base, cancel)()
	select {
	case f.turn <- struct{}{}:
		defer func() { <-f.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if f.base.Err() != nil { // nobody would give its memory back
		return f.base.Err()
	}
	err := f.bring(ctx, insist)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	f.tell(err)
	return err
}

func (f *follower) bring(ctx context.Context, insist bool) error {
	taken, err := f.take(ctx)
	if !f.pulling {
		return err
	}
	if taken && !insist && f.current.Load().age(time.Now()) < f.every/2 {
		return nil
	}
	if err := f.pull(ctx); err != nil {
		f.pulls.failed.Add(1)
		if errors.Is(err, replica.ErrFuture) {
			f.clockWrong.Store(true)
		}
		return err
	}
	f.pulls.came.Add(1)
	f.clockWrong.Store(false)
	return f.place(ctx)
}

func (f *follower) doubt() {
	if l := f.current.Load(); l != nil {
		l.doubted.Store(true)
	}
}

// pull brings a replica to the disk, proved.
func (f *follower) pull(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(stall, func() { cancel(errStalled) })
	defer watch.Stop()
	want := replica.Wanted{Issuer: f.hub.URL(), Audience: f.hub.ID(), Progress: func(int64) { watch.Reset(stall) }}
	_, err := replica.Pull(ctx, bounded{f.hub, f.maxBytes}, f.path, want)
	if cause := context.Cause(ctx); errors.Is(cause, errStalled) {
		return cause
	}
	return err
}

var (
	errStalled = errors.New("the hub sent nothing of the replica for two minutes")
	errTooLong = errors.New("it is longer than may be pulled")
	errOlder   = fmt.Errorf("%w: it is older than the one that is used", replica.ErrRefused)
)

// place takes what was just pulled: all of it was proved when it came, so that it answers at once. The rest is read into memory behind.
func (f *follower) place(ctx context.Context) error {
	r, err := replica.Open(f.path)
	if err != nil {
		return err
	}
	if err := f.judge(r.Manifest()); err != nil {
		return errors.Join(err, r.Close())
	}
	f.swap(r)
	if err := r.Verify(ctx); err != nil && ctx.Err() == nil {
		f.doubt()
		return err
	}
	return nil
}

// take takes the replica that lies on the disk if it is newer than the one in memory, after all of it has been proved.
func (f *follower) take(ctx context.Context) (taken bool, err error) {
	r, err := f.open(ctx)
	if err != nil {
		return false, err
	}
	m := r.Manifest()
	if l := f.current.Load(); l != nil && !l.doubted.Load() && m.AsOf == l.asOf && r.IssuedAt().Equal(l.issued) {
		return false, r.Close()
	}
	if err := f.judge(m); err != nil {
		return false, errors.Join(err, r.Close())
	}
	if err := r.Verify(ctx); err != nil {
		return false, errors.Join(err, r.Close())
	}
	f.swap(r)
	return true, nil
}

// open opens what lies on the disk. Its keys lie beside it, where whoever changed the one changed the other: the hub's own are better,
// if it can be asked.
func (f *follower) open(ctx context.Context) (*replica.Replica, error) {
	if f.hub != nil {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		if keys, err := f.hub.KeySet(ctx); err == nil {
			return replica.OpenTrusting(f.path, keys, f.hub.URL())
		}
	}
	return replica.Open(f.path)
}

// judge refuses what is another's, or older than what is used.
func (f *follower) judge(m replica.Manifest) error {
	if f.hub != nil && (m.Issuer != f.hub.URL() || m.Audience != f.hub.ID()) {
		return fmt.Errorf("%w: it is of another hub or client", replica.ErrRefused)
	}
	if l := f.current.Load(); l != nil && (m.AsOf < l.asOf || time.Unix(m.IssuedAt, 0).Before(l.issued)) {
		return errOlder
	}
	return nil
}

func (f *follower) swap(r *replica.Replica) {
	now := time.Now()
	l := newLoaded(r, now)
	if old := f.current.Load(); old != nil && old.asOf == l.asOf && old.issued.Equal(l.issued) {
		l.at, l.wasOld = old.at, old.wasOld // it is no younger for being read again
	}
	f.news.settle(l.issued)
	f.water.observe(l.asOf, now)
	if old := f.current.Swap(l); old != nil {
		f.close(old)
	}
}

func (f *follower) close(l *loaded) {
	if err := l.closeWhenFree(); err != nil {
		f.log.Error("the memory of a replica could not be given back", "error", err)
	}
}

// tell logs when following begins or ceases to fail.
func (f *follower) tell(err error) {
	switch {
	case err != nil && !f.failing:
		f.log.Warn("the replica of the guard does not follow the hub: it gets older", "cause", describePull(err))
	case err == nil && f.failing:
		f.log.Info("the replica of the guard follows the hub again")
	}
	f.failing = err != nil
}

// describePull says what went wrong, without what the hub wrote.
func describePull(err error) string {
	_, fromHub := errors.AsType[*huanxin.Error](err)
	_, fromDisk := errors.AsType[*fs.PathError](err)
	switch {
	case errors.Is(err, replica.ErrRefused) && !fromHub, errors.Is(err, errStalled), fromDisk:
		return err.Error()
	}
	return describe(err)
}

// bounded is a hub whose replicas end somewhere.
type bounded struct {
	*client.Client
	most int64
}

// Replica gives the client's, up to a length.
func (b bounded) Replica(ctx context.Context) (io.ReadCloser, error) {
	body, err := b.Client.Replica(ctx)
	if err != nil {
		return nil, err
	}
	return &boundedBody{body, b.most}, nil
}

type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n, errTooLong
	}
	return n, err
}

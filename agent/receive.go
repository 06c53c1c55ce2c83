package agent

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
)

// heard are the types of event that an agent asks for.
var heard = []huanxin.EventType{huanxin.UnbindRequested, huanxin.UnbindCancelled, huanxin.RecycleRetracted}

// streamName is by which an agent knows its stream again.
const streamName = "huanxin agent"

// receive waits for the feed until ctx is done. A hub that has none is worked by listing alone.
func (a *Agent) receive(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; {
		s, err := a.stream(ctx)
		if err == nil && a.cfg.Delivery.Mode == "push" {
			return // the hub comes to us
		}
		if err == nil {
			err = a.poll(ctx, s)
		}
		if ctx.Err() != nil {
			return
		}
		failures++
		a.about.failed(err)
		a.log.Warn("the feed cannot be received", "app", a.cfg.Hub.ClientID, "error", err)
		pause(ctx, a.backoff(failures))
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// stream gives the agent's stream, which is made if the hub does not know it. What happened before it is learnt by listing.
func (a *Agent) stream(ctx context.Context) (s client.Stream, err error) {
	push := a.cfg.Delivery.Mode == "push"
	want := client.StreamConfig{Events: heard, Description: streamName}
	if push {
		want.PushTo = a.cfg.Delivery.URL
		if want.Authorization, err = secretIn(a.cfg.Delivery.AuthorizationFile); err != nil {
			return s, err
		}
	}
	known, err := a.state.meta(ctx, "stream")
	if err != nil {
		return s, err
	}
	var all []client.Stream
	if err := a.call(ctx, func(ctx context.Context) (err error) {
		all, err = a.hub.Streams(ctx)
		return err
	}); err != nil {
		return s, err
	}
	for _, s := range all {
		if s.ID == known && (s.Delivery.Method == huanxin.DeliverByPush.String()) == push {
			if !push || s.Delivery.EndpointURL == want.PushTo {
				return s, nil
			}
			err = a.call(ctx, func(ctx context.Context) (err error) {
				s, err = a.hub.ChangeStream(ctx, s.ID, map[string]any{"delivery": client.Delivery{Method: s.Delivery.Method,
					EndpointURL: want.PushTo, Authorization: want.Authorization}})
				return err
			})
			return s, err
		}
	}
	if err = a.call(ctx, func(ctx context.Context) (err error) {
		s, err = a.hub.CreateStream(ctx, want)
		return err
	}); err != nil {
		return s, err
	}
	if err := a.state.setMeta(ctx, "stream", s.ID); err != nil {
		return s, err
	}
	return s, a.list(ctx) // what was asked before the stream began
}

// pollTime is how long a poll may take: the hub waits for half a minute.
const pollTime = 90 * time.Second

// poll fetches SETs and acknowledges what is on stable storage, until the hub fails.
func (a *Agent) poll(ctx context.Context, s client.Stream) error {
	var in client.PollRequest
	for ctx.Err() == nil {
		answer, err := a.pollOnce(ctx, s, in)
		if err != nil {
			return err
		}
		if in, err = a.takePoll(ctx, answer); err != nil {
			return err
		}
	}
	return nil
}

func (a *Agent) pollOnce(ctx context.Context, s client.Stream, in client.PollRequest) (out client.PollAnswer, err error) {
	ctx, cancel := context.WithTimeout(ctx, pollTime)
	defer cancel()
	if out, err = a.hub.Poll(ctx, s, in); err == nil {
		a.about.contact(a.now())
	}
	return out, err
}

// takePoll verifies what a poll brought, takes it in, and says what the next one acknowledges. What is no SET of the hub's for us is
// refused for good; what cannot be verified now comes again.
func (a *Agent) takePoll(ctx context.Context, answer client.PollAnswer) (next client.PollRequest, err error) {
	jtis, tokens := make([]string, 0, len(answer.Sets)), make([]string, 0, len(answer.Sets))
	for jti, token := range answer.Sets {
		jtis, tokens = append(jtis, jti), append(tokens, token)
	}
	sets, errs := make([]client.SET, len(jtis)), make([]error, len(jtis))
	each(len(jtis), 4, func(i int) { sets[i], errs[i] = a.hub.Verify(ctx, tokens[i]) })
	var good []client.SET
	for i, jti := range jtis {
		var refusal *client.SetError
		switch err := errs[i]; {
		case err == nil && sets[i].JTI != jti:
			next.Refused = refuse(next.Refused, jti, client.SetError{Err: "invalid_request", Description: "the jti is another one"})
		case err == nil:
			good, next.Ack = append(good, sets[i]), append(next.Ack, jti)
		case errors.As(err, &refusal):
			a.log.Warn("a SET was refused", "jti", jti, "error", refusal.Err)
			next.Refused = refuse(next.Refused, jti, *refusal)
		default:
			a.about.failed(err)
		}
	}
	if err := a.takeSETs(ctx, good); err != nil {
		return client.PollRequest{}, err
	}
	if len(next.Refused) > 0 {
		err = a.state.refused(ctx, next.Refused, a.now())
	}
	return next, err
}

func refuse(all map[string]client.SetError, jti string, e client.SetError) map[string]client.SetError {
	if all == nil {
		all = map[string]client.SetError{}
	}
	all[jti] = e
	return all
}

// takeSETs takes verified SETs in: on return they are on stable storage.
func (a *Agent) takeSETs(ctx context.Context, sets []client.SET) error {
	var asked []incoming
	var told []notice
	for _, s := range sets {
		switch s.Type {
		case huanxin.UnbindRequested:
			in, err := a.incoming(s.Task, s.JTI)
			if err != nil {
				a.log.Warn("a task cannot be read", "task", s.TaskID, "error", err)
				continue
			}
			asked = append(asked, in)
		case huanxin.UnbindCancelled:
			reason := s.Reason
			if reason == "" {
				reason = "cancelled"
			}
			told = append(told, notice{id: s.TaskID, ended: reason})
		case huanxin.RecycleRetracted:
			if s.TaskID != "" {
				told = append(told, notice{id: s.TaskID})
			}
		}
	}
	return a.takeIn(ctx, asked, told)
}

func (a *Agent) takeIn(ctx context.Context, asked []incoming, told []notice) error {
	if len(asked)+len(told) == 0 {
		return nil
	}
	if _, err := a.state.take(ctx, asked, told, a.now()); err != nil {
		return err
	}
	a.at("taken")
	a.wake()
	return nil
}

// incoming reads a task of the hub's.
func (a *Agent) incoming(in client.Task, jti string) (incoming, error) {
	n, err := huanxin.ParseNumber(in.Number)
	if err != nil {
		return incoming{}, err
	}
	if in.ID == "" || in.Tenure.ID == "" || in.Digest == "" || in.Kind == "" {
		return incoming{}, huanxin.Errorf(huanxin.Invalid, "invalid", "a task without id, kind, tenure or digest")
	}
	t := &task{kindWord: in.Kind, digest: in.Digest, due: in.DueAt, jti: jti}
	t.want = want{task: in.ID, number: n, tenure: in.Tenure.ID, started: in.Tenure.StartedAt.UTC(), origin: in.Tenure.Origin, zone: a.zone}
	t.next = a.now()
	if a.o.Begin != nil {
		t.next = latest(t.next, a.o.Begin(in.ID, in.DueAt))
	}
	return incoming{task: t}, nil
}

// list lists the open tasks, and reads again what is open here alone.
func (a *Agent) list(ctx context.Context) error {
	began := a.now()
	listed := map[string]bool{}
	for after := ""; ; {
		var page []client.Task
		if err := a.call(ctx, func(ctx context.Context) (err error) {
			page, after, err = a.hub.Tasks(ctx, after, batchSize)
			return err
		}); err != nil {
			return err
		}
		var asked []incoming
		for _, t := range page {
			listed[t.ID] = true
			in, err := a.incoming(t, "")
			if err != nil {
				a.log.Warn("a task cannot be read", "task", t.ID, "error", err)
				continue
			}
			in.again = t.State == huanxin.TaskQueued.String() || t.State == huanxin.TaskDelivered.String()
			asked = append(asked, in)
		}
		if err := a.takeIn(ctx, asked, nil); err != nil {
			return err
		}
		if len(page) < batchSize {
			return a.missing(ctx, listed, began)
		}
	}
}

// missing looks at tasks that are open here, and that the hub no longer lists.
func (a *Agent) missing(ctx context.Context, listed map[string]bool, began time.Time) error {
	here, err := a.state.openIDs(ctx, began)
	if err != nil {
		return err
	}
	var told []notice
	for _, id := range here {
		if listed[id] {
			continue
		}
		found, err := a.state.tasks(ctx, `id = ?`, id)
		if err != nil || len(found) == 0 {
			return err
		}
		t := found[0]
		why, err := a.readTask(ctx, t)
		if err != nil {
			return err
		}
		if why != "" {
			told = append(told, notice{id: t.task, ended: why})
		}
	}
	return a.takeIn(ctx, nil, told)
}

// refused notes SETs that were refused.
func (s *state) refused(ctx context.Context, sets map[string]client.SetError, now time.Time) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		for _, e := range sets {
			if _, err := tx.ExecContext(ctx, `INSERT INTO dead_letters (at, what, task, code) VALUES (?, 'set', '', ?)`, micros(now), e.Err); err != nil {
				return err
			}
		}
		return nil
	})
}

// serve listens where the configuration says: for pushes, and with the live page.
func (a *Agent) serve(ctx context.Context, wg *sync.WaitGroup) error {
	if a.cfg.Delivery.Mode == "push" {
		h, err := a.Pushes()
		if err != nil {
			return err
		}
		path := "/"
		if u, err := url.Parse(a.cfg.Delivery.URL); err == nil && u.Path != "" {
			path = u.Path
		}
		mux := http.NewServeMux()
		mux.Handle(path, h)
		if err := listen(ctx, wg, a.cfg.Delivery.Listen, mux); err != nil {
			return fmt.Errorf("delivery.listen: %w", err)
		}
	}
	if a.cfg.Page != "" {
		if err := listen(ctx, wg, a.cfg.Page, a.Page()); err != nil {
			return fmt.Errorf("page: %w", err)
		}
	}
	return nil
}

func listen(ctx context.Context, wg *sync.WaitGroup, address string, h http.Handler) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute}
	wg.Go(func() { _ = s.Serve(l) })
	wg.Go(func() {
		<-ctx.Done()
		end, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = s.Shutdown(end)
	})
	return nil
}

// Pushes is the endpoint that the hub pushes to.
func (a *Agent) Pushes() (http.Handler, error) {
	authorization, err := secretIn(a.cfg.Delivery.AuthorizationFile)
	if err != nil {
		return nil, fmt.Errorf("delivery.authorization_file: %w", err)
	}
	var in intake
	return a.hub.Pushes(authorization, func(ctx context.Context, s client.SET) error {
		return in.take(s, func(all []client.SET) error {
			return a.takeSETs(context.WithoutCancel(ctx), all) // those of others wait for it too
		})
	}, nil), nil
}

// intake lets pushes that come at once share a transaction: whoever comes first takes what came meanwhile along.
type intake struct {
	mu      sync.Mutex
	busy    bool
	waiting *intakeBatch
}

type intakeBatch struct {
	sets []client.SET
	done chan struct{}
	err  error
}

func (in *intake) take(s client.SET, write func([]client.SET) error) error {
	in.mu.Lock()
	if in.waiting == nil {
		in.waiting = &intakeBatch{done: make(chan struct{})}
	}
	b := in.waiting
	b.sets = append(b.sets, s)
	if in.busy {
		in.mu.Unlock()
		<-b.done
		return b.err
	}
	in.busy = true
	for in.waiting != nil {
		next := in.waiting
		in.waiting = nil
		in.mu.Unlock()
		next.err = write(next.sets)
		close(next.done)
		in.mu.Lock()
	}
	in.busy = false
	in.mu.Unlock()
	return b.err
}

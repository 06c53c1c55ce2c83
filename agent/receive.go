package agent

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
)

// heard are the types of event that an agent asks for.
var heard = []huanxin.EventType{huanxin.UnbindRequested, huanxin.UnbindCancelled, huanxin.RecycleRetracted}

// streamName begins the description of an agent's stream; the rest is a name of the state's own, by which the stream is found that was
// made right before a crash.
const streamName = "huanxin agent "

// receive waits for the feed until ctx is done. A hub that has none is worked by listing alone.
func (a *Agent) receive(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; {
		s, err := a.Subscribe(ctx)
		if err == nil && a.cfg.Delivery.Mode == "push" {
			return // the hub comes to us
		}
		if err == nil {
			err = a.poll(ctx, s, func() { failures = 0 })
		}
		if ctx.Err() != nil {
			return
		}
		failures++
		a.about.failed(err)
		a.log.Warn("the feed cannot be received", "app", a.cfg.Hub.ClientID, "error", err)
		client.Pause(ctx, a.backoffAfter(failures, err))
	}
}

// Subscribe makes the agent's stream at the hub, or sees that it is there and comes to where the agent is now. What happens from then on
// will be told of, and what was asked before is taken in from the list of tasks. Run does it by itself.
func (a *Agent) Subscribe(ctx context.Context) (client.Stream, error) {
	a.subscribing.Lock()
	defer a.subscribing.Unlock()
	s, err := a.stream(ctx)
	if err != nil {
		return s, err
	}
	unlisted, err := a.state.meta(ctx, metaUnlisted)
	if err != nil || unlisted == "" {
		return s, err
	}
	if err := a.list(ctx); err != nil {
		return s, err
	}
	return s, a.state.setMeta(ctx, metaUnlisted, "")
}

// metaUnlisted says that the stream is newer than the last list of tasks.
const metaUnlisted = "unlisted"

// stream gives the agent's stream.
func (a *Agent) stream(ctx context.Context) (s client.Stream, err error) {
	want := client.StreamConfig{}
	if want.Description, err = a.streamName(ctx); err != nil {
		return s, err
	}
	want.Events = slices.Concat(heard, a.o.Events)
	if a.cfg.Delivery.Mode == "push" {
		want.PushTo = a.cfg.Delivery.URL
		if want.Authorization, err = a.authorization(); err != nil {
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
	at := slices.IndexFunc(all, func(s client.Stream) bool { return s.ID == known })
	made := at < 0
	if made {
		at = slices.IndexFunc(all, func(s client.Stream) bool { return s.Description == want.Description })
	}
	err = a.call(ctx, func(ctx context.Context) (err error) {
		if at < 0 {
			s, err = a.hub.CreateStream(ctx, want)
		} else {
			s, err = a.adjust(ctx, all[at], &want)
		}
		return err
	})
	if err != nil || !made {
		return s, err
	}
	if err := a.state.setMeta(ctx, metaUnlisted, "yes"); err != nil { // before it is known: see above
		return s, err
	}
	return s, a.state.setMeta(ctx, "stream", s.ID)
}

// streamName is how the stream of this state is described.
func (a *Agent) streamName(ctx context.Context) (string, error) {
	name, err := a.state.meta(ctx, "stream name")
	if err == nil && name == "" {
		name = streamName + rand.Text()
		err = a.state.setMeta(ctx, "stream name", name)
	}
	return name, err
}

// adjust has a stream come to where the agent is now, and tell of what it wants. While the agent was nowhere, the hub may have paused a
// stream that is pushed.
func (a *Agent) adjust(ctx context.Context, s client.Stream, want *client.StreamConfig) (client.Stream, error) {
	to, change := client.Delivery{Method: huanxin.DeliverByPoll.String()}, map[string]any{}
	if want.PushTo != "" {
		to = client.Delivery{Method: huanxin.DeliverByPush.String(), EndpointURL: want.PushTo, Authorization: want.Authorization}
	}
	moves := s.Delivery.Method != to.Method || want.PushTo != "" && s.Delivery != to
	if moves {
		change["delivery"] = to
	}
	var types []string
	for _, t := range want.Events {
		types = append(types, t.String())
	}
	if slices.ContainsFunc(types, func(t string) bool { return !slices.Contains(s.Requested, t) }) {
		change["events_requested"] = types
	}
	if len(change) == 0 {
		return s, nil
	}
	s, err := a.hub.ChangeStream(ctx, s.ID, change)
	if err != nil || !moves {
		return s, err
	}
	state, err := a.hub.StreamStatus(ctx, s.ID)
	if err == nil && state.Status != huanxin.StreamEnabled.String() {
		_, err = a.hub.SetStreamStatus(ctx, client.StreamState{Stream: s.ID, Status: huanxin.StreamEnabled.String()})
	}
	return s, err
}

func (a *Agent) authorization() (string, error) {
	if a.o.Authorization != "" {
		return a.o.Authorization, nil
	}
	s, err := secretIn(a.cfg.Delivery.AuthorizationFile)
	if err != nil {
		return "", fmt.Errorf("delivery.authorization_file: %w", err)
	}
	return s, nil
}

// pollTime is how long a poll may take: the hub waits for half a minute.
const pollTime = 90 * time.Second

// poll fetches SETs and acknowledges what is on stable storage, until the hub fails. went is
// told of each time that it did not.
func (a *Agent) poll(ctx context.Context, s client.Stream, went func()) error {
	var in client.PollRequest
	for ctx.Err() == nil {
		answer, err := a.pollOnce(ctx, s, in)
		if err != nil {
			return err
		}
		if in, err = a.takePoll(ctx, answer); err != nil {
			return err
		}
		went()
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
	faulty := map[string]client.SetError{}
	for i, jti := range jtis {
		var refusal *client.SetError
		switch err := errs[i]; {
		case err == nil && sets[i].JTI != jti:
			faulty[jti] = client.SetError{Err: "invalid_request", Description: "the jti is another one"}
		case err == nil:
			switch err := a.tellOf(ctx, sets[i]); {
			case err == nil:
				good, next.Ack = append(good, sets[i]), append(next.Ack, jti)
			case errors.As(err, &refusal):
				next.Refused = refuse(next.Refused, jti, *refusal)
			default:
				a.about.failed(err)
			}
		case errors.As(err, &refusal):
			faulty[jti] = *refusal
		default:
			a.about.failed(err)
		}
	}
	if err := a.takeSETs(ctx, good); err != nil {
		return client.PollRequest{}, err
	}
	for jti, e := range faulty {
		a.log.Warn("a SET was refused", "jti", jti, "error", e.Err)
		next.Refused = refuse(next.Refused, jti, e)
	}
	if len(faulty) > 0 {
		err = a.state.refused(ctx, faulty, a.now())
	}
	return next, err
}

// tellOf tells whoever embeds the agent of a SET.
func (a *Agent) tellOf(ctx context.Context, s client.SET) error {
	if a.o.Heard == nil {
		return nil
	}
	return a.o.Heard(ctx, s)
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
			told = append(told, notice{id: s.TaskID, tenure: s.Txn})
		}
	}
	return a.takeIn(ctx, asked, told)
}

func (a *Agent) takeIn(ctx context.Context, asked []incoming, told []notice) error {
	if len(asked)+len(told) == 0 {
		return nil
	}
	a.told.note(told, a.now())
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
	t.seen = a.now()
	if t.next = t.seen; !a.conn.can(suspend) { // else a key may have to stop at once
		t.next = latest(t.seen, a.begin(t))
	}
	return incoming{task: t}, nil
}

// begin is before when a task is not decided for good; zero: at once.
func (a *Agent) begin(t *task) time.Time {
	if a.o.Begin == nil {
		return time.Time{}
	}
	return a.o.Begin(t.want.task, t.seen, t.due)
}

// list lists the open tasks, and reads again what is open here alone.
func (a *Agent) list(ctx context.Context) error {
	began := a.now()
	listed, err := a.pages(ctx, func(page []client.Task) error {
		var asked []incoming
		for _, t := range page {
			in, err := a.incoming(t, "")
			if err != nil {
				a.log.Warn("a task cannot be read", "task", t.ID, "error", err)
				continue
			}
			in.again = t.State == huanxin.TaskQueued.String() || t.State == huanxin.TaskDelivered.String()
			asked = append(asked, in)
		}
		return a.takeIn(ctx, asked, nil)
	})
	if err != nil {
		return err
	}
	return a.missing(ctx, listed, began)
}

// pages gives open tasks page by page, and which there were. A hub that gives the same again and again is not believed.
func (a *Agent) pages(ctx context.Context, take func([]client.Task) error) (listed map[string]bool, err error) {
	listed = map[string]bool{}
	for after := ""; ; {
		var page []client.Task
		if err := a.call(ctx, func(ctx context.Context) (err error) {
			page, after, err = a.hub.Tasks(ctx, after, batchSize)
			return err
		}); err != nil {
			return nil, err
		}
		before := len(listed)
		for _, t := range page {
			listed[t.ID] = true
		}
		if err := take(page); err != nil {
			return nil, err
		}
		switch {
		case len(page) < batchSize:
			return listed, nil
		case len(listed) == before || after == "":
			return nil, huanxin.Errorf(huanxin.Unavailable, "unexpected_answer", "the hub's list of tasks does not come to an end")
		}
	}
}

// missing looks at tasks that are open here, and that the hub no longer lists.
func (a *Agent) missing(ctx context.Context, listed map[string]bool, began time.Time) error {
	here, err := a.state.openIDs(ctx, began)
	if err != nil {
		return err
	}
	here = slices.DeleteFunc(here, func(id string) bool { return listed[id] })
	for some := range slices.Chunk(here, batchSize) {
		list, err := json.Marshal(some)
		if err != nil {
			return err
		}
		tasks, err := a.state.tasks(ctx, `id IN (SELECT value FROM json_each(?))`, string(list))
		if err != nil {
			return err
		}
		var told []notice
		for i, s := range a.readTasks(ctx, tasks) {
			if s.err != nil {
				return s.err
			}
			if s.ended != "" {
				told = append(told, notice{id: tasks[i].task, ended: s.ended})
			}
		}
		if err := a.takeIn(ctx, nil, told); err != nil {
			return err
		}
	}
	return nil
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
	if a.cfg.Delivery.Mode == "push" && a.cfg.Delivery.Listen != "" {
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
	authorization, err := a.authorization()
	if err != nil {
		return nil, err
	}
	var in intake
	take := func(ctx context.Context, s client.SET) error {
		if err := a.tellOf(ctx, s); err != nil {
			return &untaken{err}
		}
		err := in.take(s, func(all []client.SET) error {
			return a.takeSETs(context.WithoutCancel(ctx), all) // those of others wait for it too
		})
		if err != nil {
			return &untaken{err}
		}
		return nil
	}
	return a.hub.Pushes(authorization, take, a.pushFailed), nil
}

// untaken is why a SET that was verified was not taken.
type untaken struct{ error }

func (e *untaken) Unwrap() error { return e.error }

// pushFailed notes what is wrong with a push.
func (a *Agent) pushFailed(err error) {
	var refusal *client.SetError
	if _, verified := errors.AsType[*untaken](err); verified || !errors.As(err, &refusal) {
		a.about.failed(err)
		return
	}
	a.log.Warn("a SET was refused", "error", refusal.Err)
	ctx, cancel := contextFor(time.Duration(a.cfg.Timings.Timeout))
	defer cancel()
	if err := a.state.refused(ctx, map[string]client.SetError{"": *refusal}, a.now()); err != nil {
		a.about.failed(err)
	}
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

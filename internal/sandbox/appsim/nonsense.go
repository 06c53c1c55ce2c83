package appsim

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/agent"
	"github.com/huanxin-platform/huanxin/client"
)

// nonsense is something that a hub must refuse.
type nonsense struct {
	what string
	say  func(ctx context.Context, b *babbler, t client.Task) error // nil: the hub took it
}

// answers makes nonsense of a good answer, sent by the batch or singly.
func answers(what string, spoil func(a *client.Answer)) nonsense {
	return nonsense{what, func(ctx context.Context, b *babbler, t client.Task) error {
		a := client.AnswerTo(t, "kept", "not_in_scope")
		spoil(&a)
		if b.said%2 == 0 {
			_, err := b.hub.Answer(ctx, a)
			return err
		}
		r, err := b.hub.Answers(ctx, []client.Answer{a})
		if err == nil && len(r.Rejected) > 0 {
			err = huanxin.Errorf(huanxin.Refused, r.Rejected[0].Code, "")
		}
		return err
	}}
}

// raw sends bytes that no client would.
func raw(what, body string) nonsense {
	return nonsense{what, func(ctx context.Context, b *babbler, t client.Task) error {
		token, err := b.hub.Token(ctx)
		if err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, b.hub.URL()+"/v1/tasks/"+url.PathEscape(t.ID)+"/answer", strings.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		switch {
		case resp.StatusCode < 300:
			return nil
		case resp.StatusCode < 500:
			return huanxin.Errorf(huanxin.Invalid, resp.Status, "")
		}
		return errors.New(resp.Status)
	}}
}

var repertoire = []nonsense{
	raw("malformed JSON", `{"outcome":"unbound","reason":`),
	answers("an unknown outcome", func(a *client.Answer) { a.Outcome = "deleted" }),
	answers("an unknown reason", func(a *client.Answer) { a.Reason = "because" }),
	answers("a reason of another outcome", func(a *client.Answer) { a.Reason = "removed" }),
	raw("a wrong type", `{"outcome":1,"reason":[],"tenure_id":null,"digest":{}}`),
	answers("a wrong digest", func(a *client.Answer) { a.Digest = strings.Repeat("0", len(a.Digest)) }),
	answers("a wrong tenure", func(a *client.Answer) { a.TenureID = "t" + a.TenureID }),
	answers("another's task", func(a *client.Answer) { a.TaskID = "0" + a.TaskID[:len(a.TaskID)-1] }),
	answers("a link elsewhere", func(a *client.Answer) {
		a.Outcome, a.Reason, a.Link = "action_required", "confirm_own_account", "https://confirm.example.net/"
	}),
	raw("an unknown member", `{"outcome":"kept","reason":"not_in_scope","tenure_id":"","digest":"","account":"1"}`),
	answers("a link where none belongs", func(a *client.Answer) { a.Link = "https://nonsense.example/" }),
	answers("a note that is too long", func(a *client.Answer) { a.Note = strings.Repeat("长", 2000) }),
	raw("no UTF-8", "{\"outcome\":\"kept\",\"reason\":\"\xff\xfe\"}"),
	answers("nothing", func(a *client.Answer) { a.Outcome, a.Reason = "", "" }),
}

// babblePerLook is how much nonsense goes out at most at a look at the task list.
const babblePerLook = 4

// babbler is the one at the app of nonsense who writes to the hub beside the agent.
type babbler struct {
	*App
	hub  *client.Client
	said int
}

// babble looks at the task list now and then, until ctx is done, and sends nonsense about what is there.
func (a *App) babble(ctx context.Context, g *agent.Agent) {
	b := &babbler{App: a, hub: a.client()}
	for sleep(ctx, a.o.NonsenseRelist) {
		if err := b.look(ctx, g); err != nil && ctx.Err() == nil {
			a.o.Log.Debug("nonsense could not be said", "app", a.Spec.ID, "error", err)
		}
	}
}

// look sends nonsense about open tasks, and about one that was answered rightly the contrary. It never sends what the hub
// might take, so that whatever it takes is a fault of the hub.
func (b *babbler) look(ctx context.Context, g *agent.Agent) error {
	listed, _, err := b.hub.Tasks(ctx, "", 500)
	if err != nil {
		return err
	}
	for i := range min(len(listed), babblePerLook) {
		t := listed[(b.said+i)%len(listed)]
		if err := b.utter(ctx, repertoire[b.said%len(repertoire)], t); err != nil {
			return err
		}
		b.said++
	}
	return b.contradict(ctx, g)
}

// contradict says the contrary of one final answer of which it was not said yet.
func (b *babbler) contradict(ctx context.Context, g *agent.Agent) error {
	all, err := g.Records(ctx)
	if err != nil {
		return err
	}
	db, err := b.open(ctx)
	if err != nil {
		return err
	}
	for i := range all {
		r := &all[i]
		if r.Phase != "done" || r.Sent.IsZero() || r.Ended != "" {
			continue
		}
		var before bool
		err := db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM nonsense WHERE task = ? AND what = ?)`, r.Task, contrary).Scan(&before)
		if err != nil {
			return err
		}
		if before {
			continue
		}
		task, err := b.hub.Task(ctx, r.Task)
		if err != nil {
			return err
		}
		return b.utter(ctx, answers(contrary, func(a *client.Answer) {
			if r.Reason == a.Reason {
				a.Reason = "legal_hold"
			}
		}), task)
	}
	return nil
}

const contrary = "the contrary of a final answer"

// utter sends one piece and writes down what the hub said. That the hub cannot be reached is no refusal.
func (b *babbler) utter(ctx context.Context, n nonsense, t client.Task) error {
	err := n.say(ctx, b, t)
	var e *huanxin.Error
	switch {
	case err == nil:
	case !errors.As(err, &e), e.Kind == huanxin.Limited, e.Kind == huanxin.Unavailable, e.Kind == huanxin.Unauthenticated, e.Kind == huanxin.Internal:
		return err
	}
	said := "taken"
	if e != nil {
		said = e.Code
	}
	return b.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO nonsense (task, what, taken, said, at) VALUES (?, ?, ?, ?, ?)`,
			t.ID, n.what, e == nil, said, micros(now()))
		return err
	})
}

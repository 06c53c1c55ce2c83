package appsim

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
)

// nonsense is something that a hub must refuse.
type nonsense struct {
	what string
	say  func(ctx context.Context, w *worker, t client.Task) error // nil: the hub took it
}

// answers makes nonsense of a good answer, sent by the batch or singly.
func answers(what string, spoil func(a *client.Answer)) nonsense {
	return nonsense{what, func(ctx context.Context, w *worker, t client.Task) error {
		a := client.AnswerTo(t, "kept", "not_in_scope")
		spoil(&a)
		if w.babbled%2 == 0 {
			_, err := w.hub.Answer(ctx, a)
			return err
		}
		r, err := w.hub.Answers(ctx, []client.Answer{a})
		if err == nil && len(r.Rejected) > 0 {
			err = huanxin.Errorf(huanxin.Refused, r.Rejected[0].Code, "")
		}
		return err
	}}
}

// raw sends bytes that no client would.
func raw(what, body string) nonsense {
	return nonsense{what, func(ctx context.Context, w *worker, t client.Task) error {
		if w.pace.URL == "" {
			return errUnsaid
		}
		token, err := w.hub.Token(ctx)
		if err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, w.pace.URL+"/v1/tasks/"+url.PathEscape(t.ID)+"/answer", strings.NewReader(body))
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

// errUnsaid is of nonsense that there is no way to send.
var errUnsaid = errors.New("not sent")

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

// babblePerPoll is how much nonsense goes out at most at a poll.
const babblePerPoll = 4

// babble sends nonsense about open tasks, and about one that was answered rightly the contrary. It never sends what the hub
// might take, so that whatever it takes is a fault of the hub.
func (w *worker) babble(ctx context.Context, listed []client.Task) error {
	for i := range min(len(listed), babblePerPoll) {
		t := listed[(w.babbled+i)%len(listed)]
		if err := w.utter(ctx, repertoire[w.babbled%len(repertoire)], t); err != nil {
			return err
		}
		w.babbled++
	}
	final, err := w.tasks(ctx, `phase = 'done' AND sent_at IS NOT NULL AND refused IS NULL
		AND NOT EXISTS (SELECT 1 FROM nonsense n WHERE n.task = tasks.id AND n.what = ?)`, contrary)
	if err != nil || len(final) == 0 {
		return err
	}
	t := final[0]
	asked := client.Task{ID: t.id, Digest: t.digest}
	asked.Tenure.ID = t.tenure
	return w.utter(ctx, answers(contrary, func(a *client.Answer) {
		if t.reason == a.Reason {
			a.Reason = "legal_hold"
		}
	}), asked)
}

const contrary = "the contrary of a final answer"

// utter sends one piece and writes down what the hub said. That the hub cannot be reached is no refusal.
func (w *worker) utter(ctx context.Context, n nonsense, t client.Task) error {
	err := w.call(ctx, func(ctx context.Context) error { return n.say(ctx, w, t) })
	var e *huanxin.Error
	switch {
	case errors.Is(err, errUnsaid):
		return nil
	case err == nil:
	case !errors.As(err, &e), e.Kind == huanxin.Limited, e.Kind == huanxin.Unavailable, e.Kind == huanxin.Unauthenticated, e.Kind == huanxin.Internal:
		return err
	}
	said := "taken"
	if e != nil {
		said = e.Code
	}
	return w.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO nonsense (task, what, taken, said, at) VALUES (?, ?, ?, ?, ?)`,
			t.ID, n.what, e == nil, said, micros(now()))
		return err
	})
}

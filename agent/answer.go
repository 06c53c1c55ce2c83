package agent

import (
	"context"
	"slices"
	"strings"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
)

// answer gives the hub the answers that it does not have yet.
func (a *Agent) answer(ctx context.Context) error {
	for {
		unsent, err := a.state.tasks(ctx, `outcome <> '' AND sent_at IS NULL ORDER BY no LIMIT ?`, batchSize)
		if err != nil || len(unsent) == 0 {
			return err
		}
		if err := a.send(ctx, unsent); err != nil {
			return err
		}
	}
}

// send gives the hub the answers to tasks, in one request or as SETs, and notes which it took.
func (a *Agent) send(ctx context.Context, tasks []*task) error {
	switch {
	case len(tasks) == 0:
		return nil
	case a.cfg.AnswerSETs:
		return a.sendSETs(ctx, tasks)
	}
	return a.sendBatch(ctx, tasks)
}

func (a *Agent) sendBatch(ctx context.Context, tasks []*task) error {
	answers := make([]client.Answer, len(tasks))
	for i, t := range tasks {
		answers[i] = a.answerTo(t)
	}
	var receipt client.Receipt
	err := a.call(ctx, func(ctx context.Context) (err error) {
		receipt, err = a.hub.Answers(ctx, answers)
		return err
	})
	if err != nil {
		return err
	}
	a.at("sent")
	// A hub that does not account for every answer has not taken them.
	if receipt.Accepted+receipt.Duplicates+receipt.RejectedTotal != int64(len(tasks)) || receipt.RejectedTotal != int64(len(receipt.Rejected)) {
		return huanxin.Errorf(huanxin.Unavailable, "unexpected_answer", "the hub's receipt does not account for every answer")
	}
	refused := make(map[int]string, len(receipt.Rejected))
	for _, r := range receipt.Rejected {
		if r.Line < 1 || r.Line > int64(len(tasks)) || r.Code == "" {
			return huanxin.Errorf(huanxin.Unavailable, "unexpected_answer", "the hub's receipt refuses a line that was not sent")
		}
		refused[int(r.Line)-1] = r.Code
	}
	return a.noteSent(ctx, tasks, refused)
}

func (a *Agent) noteSent(ctx context.Context, tasks []*task, refused map[int]string) error {
	for i, code := range refused {
		a.log.Warn("an answer was refused", "task", tasks[i].task, "code", code)
		if tasks[i].answer.Outcome == huanxin.ActionRequired && slices.Contains(linkCodes, code) {
			// It is not the answer's fault: it is sent without a link from now on, until the configuration is mended.
			a.noLinks.Store(true)
			return huanxin.Errorf(huanxin.Refused, code, "the link for "+word(tasks[i].answer.Reason)+" is refused by the hub: see huanxin agent check")
		}
	}
	if err := a.state.sentAnswers(ctx, tasks, refused, a.now()); err != nil {
		return err
	}
	a.at("noted as sent")
	if a.o.Answered != nil {
		for i, t := range tasks {
			if refused[i] == "" {
				a.o.Answered(t.task, t.answer)
			}
		}
	}
	return nil
}

func (a *Agent) answerTo(t *task) client.Answer {
	out := client.Answer{TaskID: t.task, Outcome: word(t.answer.Outcome), Reason: word(t.answer.Reason), TenureID: t.tenure, Digest: t.digest}
	if t.answer.Outcome == huanxin.ActionRequired && !a.noLinks.Load() {
		out.Link = strings.ReplaceAll(a.cfg.Links[out.Reason], "{task}", t.task)
	}
	return out
}

// linkCodes are those of an answer whose link the hub does not take.
var linkCodes = []string{"link_not_registered", "bad_link", "not_allowed"}

// ownFaults are the codes of a SET that say nothing of its answer: the key, the client or the hub's URL is wrong.
var ownFaults = []string{"invalid_key", "invalid_issuer", "invalid_audience", "authentication_failed", "access_denied"}

// sendSETs sends each answer as a SET that the app signed. What a SET is refused for, its task is refused for.
func (a *Agent) sendSETs(ctx context.Context, tasks []*task) error {
	refused := map[int]string{}
	for i, t := range tasks {
		token, err := answerSET(a.key, a.cfg.Hub.ClientID, a.cfg.Hub.URL, a.answerTo(t), t.decided, a.now())
		if err != nil {
			return err
		}
		err = a.call(ctx, func(ctx context.Context) error { return a.hub.AnswerSET(ctx, token) })
		switch k := huanxin.KindOf(err); {
		case err == nil:
		case (k == huanxin.Invalid || k == huanxin.Conflict || k == huanxin.Refused) && !slices.Contains(ownFaults, huanxin.CodeOf(err)):
			refused[i] = huanxin.CodeOf(err)
		default:
			return err
		}
	}
	a.at("sent")
	return a.noteSent(ctx, tasks, refused)
}

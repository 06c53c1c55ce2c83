package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// answerBatch is how many answers an app sends at once.
const answerBatch = 1000

// taskRound creates requests of 64 tasks each, lists the tasks by their apps and answers them in batches.
func (w *world) taskRound(ctx context.Context, o options) ([]phase, error) {
	n := o.tasks / appCount // requests
	first := w.number
	w.number += n
	if err := w.activate(ctx, first, n); err != nil {
		return nil, err
	}
	if err := w.settle(ctx); err != nil {
		return nil, err
	}
	created, err := w.timed("created", n*appCount, func() error { return w.createAll(ctx, first, n) })
	if err != nil {
		return nil, err
	}
	answers := make([][]byte, appCount) // what each app will say
	listed, err := w.timed("listed", n*appCount, func() error {
		return parallelly(appCount, parallel, func(app int) (err error) {
			answers[app], err = w.list(ctx, app, n)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	answered, err := w.timed("answered", n*appCount, func() error {
		return parallelly(appCount, parallel, func(app int) error { return w.answer(ctx, app, answers[app]) })
	})
	phases := []phase{created, listed, answered}
	return append(phases, total("whole way", phases)), err
}

// mixedRound does the same as life does it: requests keep coming while apps list what is new and answer it at once.
func (w *world) mixedRound(ctx context.Context, o options) ([]phase, error) {
	n := o.tasks / appCount
	first := w.number
	w.number += n
	if err := w.activate(ctx, first, n); err != nil {
		return nil, err
	}
	if err := w.settle(ctx); err != nil {
		return nil, err
	}
	all, err := w.timed("whole way", n*appCount, func() error {
		created := make(chan error, 1)
		go func() { created <- w.createAll(ctx, first, n) }()
		err := parallelly(appCount, parallel, func(app int) error { return w.follow(ctx, app, n) })
		return errors.Join(err, <-created)
	})
	return []phase{all}, err
}

// follow lists and answers an app's tasks until it has answered so many.
func (w *world) follow(ctx context.Context, app, want int) error {
	for done := 0; done < want; {
		answers, n, err := w.page(ctx, app)
		if err != nil {
			return err
		}
		if n == 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		if err := w.answer(ctx, app, answers); err != nil {
			return err
		}
		done += n
	}
	return nil
}

// activate makes numbers eligible: somebody has got each of them from its former holder.
func (w *world) activate(ctx context.Context, first, n int) error {
	return parallelly(carrierCount, carrierCount, func(c int) error {
		var b []byte
		for i := c; i < n; i += carrierCount {
			b = eventLine(b, first+i, "activated", "reassigned", started)
		}
		if len(b) == 0 {
			return nil
		}
		return w.report(ctx, c, b)
	})
}

func (w *world) createAll(ctx context.Context, first, n int) error {
	var ids []string
	for i := range appCount {
		ids = append(ids, strconv.Quote(appID(i)))
	}
	tail := `","tenure":{"started_at":"` + started.Format(time.RFC3339) + `","origin":"reassigned"},"apps":[` + strings.Join(ids, ",") +
		`],"proof":{"control":"sms_otp","identity":"carrier_crm","verified_at":"` + time.Now().Format(time.RFC3339) + `"}}`
	return parallelly(n, parallel, func(i int) error {
		number := numberAt(first + i)
		_, err := w.ask(ctx, w.carriers[i%carrierCount], http.MethodPost, "/v1/requests", "application/json", "k-"+number,
			[]byte(`{"number":"`+number+tail), http.StatusCreated)
		return err
	})
}

// list pages through an app's open tasks, and writes an answer to each.
func (w *world) list(ctx context.Context, app, want int) (answers []byte, err error) {
	for total := 0; ; {
		page, n, err := w.page(ctx, app)
		if err != nil {
			return nil, err
		}
		answers = append(answers, page...)
		if total += n; n > 0 {
			continue
		}
		if total != want {
			return nil, fmt.Errorf("%s listed %d tasks, not %d", appID(app), total, want)
		}
		return answers, nil
	}
}

// page lists an app's next open tasks, and writes an answer to each.
func (w *world) page(ctx context.Context, app int) (answers []byte, n int, err error) {
	path := "/v1/tasks?limit=1000"
	if w.after[app] != "" {
		path += "&after=" + w.after[app]
	}
	page, err := w.ask(ctx, w.apps[app], http.MethodGet, path, "", "", nil, http.StatusOK)
	if err != nil {
		return nil, 0, err
	}
	for rest := page; ; n++ {
		var task, tenure, digest []byte
		if task, rest = member(rest, `{"id":"`); task == nil {
			return answers, n, nil
		}
		tenure, rest = member(rest, `"tenure":{"id":"`)
		if digest, rest = member(rest, `"digest":"`); digest == nil {
			return nil, 0, errors.New("a task has no digest")
		}
		w.after[app] = string(task)
		answers = answerTo(answers, n, task, tenure, digest)
	}
}

// member gives the string that comes next after a piece of JSON, and what is behind it.
func member(in []byte, before string) (value, rest []byte) {
	_, in, ok := bytes.Cut(in, []byte(before))
	end := bytes.IndexByte(in, '"')
	if !ok || end < 0 {
		return nil, nil
	}
	return in[:end], in[end:]
}

// outcomes are in the proportions of a common app: most numbers are not bound.
var outcomes = []string{
	`"outcome":"not_bound","reason":"none_found"`,
	`"outcome":"unbound","reason":"removed"`,
	`"outcome":"not_bound","reason":"none_found"`,
	`"outcome":"kept","reason":"bound_by_current_holder"`,
}

func answerTo(b []byte, n int, task, tenure, digest []byte) []byte {
	b = append(b, `{"task_id":"`...)
	b = append(b, task...)
	b = append(b, `",`...)
	b = append(b, outcomes[n%len(outcomes)]...)
	b = append(b, `,"tenure_id":"`...)
	b = append(b, tenure...)
	b = append(b, `","digest":"`...)
	b = append(b, digest...)
	return append(b, "\"}\n"...)
}

// answer sends answers in batches and checks that all were accepted.
func (w *world) answer(ctx context.Context, app int, answers []byte) error {
	for len(answers) > 0 {
		end, n := 0, 0
		for n < answerBatch && end < len(answers) {
			end += bytes.IndexByte(answers[end:], '\n') + 1
			n++
		}
		got, err := w.ask(ctx, w.apps[app], http.MethodPost, "/v1/answers", typeNDJSON, "", answers[:end], http.StatusOK)
		if err != nil {
			return err
		}
		if !bytes.Contains(got, fmt.Appendf(nil, `"accepted":%d,`, n)) {
			return fmt.Errorf("%d answers were not accepted: %.500s", n, got)
		}
		answers = answers[end:]
	}
	return nil
}

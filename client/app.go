package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Task is a task as its app sees it (API.md, "Apps").
type Task struct {
	ID     string `json:"id"`
	App    string `json:"app"`
	Kind   string `json:"kind"`
	Number string `json:"number"` // E.164: keep it out of logs
	Tenure struct {
		ID        string    `json:"id"`
		StartedAt time.Time `json:"started_at"`
		Origin    string    `json:"origin"`
	} `json:"tenure"`
	DueAt  time.Time `json:"due_at"`
	Digest string    `json:"digest"`
	State  string    `json:"state"`
}

// Tasks lists at most limit open tasks after one, and gives the after of the next page.
func (c *Client) Tasks(ctx context.Context, after string, limit int) ([]Task, string, error) {
	q := url.Values{"state": {"open"}, "limit": {strconv.Itoa(limit)}}
	if after != "" {
		q.Set("after", after)
	}
	var page struct {
		Tasks []Task `json:"tasks"`
		After string `json:"after"`
	}
	err := c.call(ctx, http.MethodGet, "/v1/tasks?"+q.Encode(), nil, nil, &page)
	return page.Tasks, page.After, err
}

// Task reads a task again, as an app does right before acting.
func (c *Client) Task(ctx context.Context, id string) (t Task, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/tasks/"+url.PathEscape(id), nil, nil, &t)
	return t, err
}

// MaxReads is how many tasks can be read again at once.
const MaxReads = 100

// TasksByID reads tasks again, as an app does right before acting: those that there are, whatever their states, in the order of at most
// MaxReads ids.
func (c *Client) TasksByID(ctx context.Context, ids []string) ([]Task, error) {
	var page struct {
		Tasks []Task `json:"tasks"`
	}
	err := c.call(ctx, http.MethodGet, "/v1/tasks?"+url.Values{"ids": {strings.Join(ids, ",")}}.Encode(), nil, nil, &page)
	return page.Tasks, err
}

// Answer is an app's answer to a task, whose tenure id and digest it sends back.
type Answer struct {
	TaskID   string `json:"task_id,omitempty"`
	Outcome  string `json:"outcome"`
	Reason   string `json:"reason"`
	TenureID string `json:"tenure_id"`
	Digest   string `json:"digest"`
	Link     string `json:"link,omitempty"`
	Note     string `json:"note,omitempty"`
}

// AnswerTo fills in what binds an answer to its task.
func AnswerTo(t Task, outcome, reason string) Answer {
	return Answer{TaskID: t.ID, Outcome: outcome, Reason: reason, TenureID: t.Tenure.ID, Digest: t.Digest}
}

// Taken is what became of an answer.
type Taken struct {
	State string `json:"state"`
	Late  bool   `json:"late"`
}

// Answer answers one task.
func (c *Client) Answer(ctx context.Context, a Answer) (out Taken, err error) {
	path := "/v1/tasks/" + url.PathEscape(a.TaskID) + "/answer"
	a.TaskID = ""
	body, err := asJSON(a)
	if err != nil {
		return out, err
	}
	err = c.call(ctx, http.MethodPut, path, jsonBody, body, &out)
	return out, err
}

// Answers answers many tasks at once.
func (c *Client) Answers(ctx context.Context, answers []Answer) (r Receipt, err error) {
	body, err := lines(answers)
	if err != nil {
		return r, err
	}
	err = c.call(ctx, http.MethodPost, "/v1/answers", ndjsonBody, body, &r)
	return r, err
}

// Escalation is a step of a task's clock that was taken.
type Escalation struct {
	ID     string     `json:"id"`
	Task   string     `json:"task"`
	App    string     `json:"app"`
	Step   string     `json:"step"`
	DueAt  time.Time  `json:"due_at"`
	At     time.Time  `json:"at"`
	SentAt *time.Time `json:"sent_at"`
}

// Escalations lists at most limit steps after one: an app's own, a regulator's all.
func (c *Client) Escalations(ctx context.Context, after string, limit int) ([]Escalation, string, error) {
	q := url.Values{"limit": {strconv.Itoa(limit)}}
	if after != "" {
		q.Set("after", after)
	}
	var page struct {
		Escalations []Escalation `json:"escalations"`
		After       string       `json:"after"`
	}
	err := c.call(ctx, http.MethodGet, "/v1/escalations?"+q.Encode(), nil, nil, &page)
	return page.Escalations, page.After, err
}

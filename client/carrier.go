package client

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Event is one number event as a carrier reports it (API.md, "Carriers").
type Event struct {
	ID       string    `json:"id"`
	Number   string    `json:"number"` // E.164
	Kind     string    `json:"kind"`
	At       time.Time `json:"at"`
	Origin   string    `json:"origin,omitempty"`
	Corrects string    `json:"corrects,omitempty"`
}

// ReportEvents reports events. completeUntil, unless zero, says until when the carrier has now told everything.
func (c *Client) ReportEvents(ctx context.Context, events []Event, completeUntil time.Time) (Receipt, error) {
	body, err := lines(events)
	if err != nil {
		return Receipt{}, err
	}
	return c.Report(ctx, "application/x-ndjson", body, completeUntil)
}

// Report reports a body of any length in the given content type: application/x-ndjson or text/csv.
func (c *Client) Report(ctx context.Context, contentType string, body io.Reader, completeUntil time.Time) (r Receipt, err error) {
	path := "/v1/number-events"
	if !completeUntil.IsZero() {
		path += "?complete_until=" + url.QueryEscape(completeUntil.Format(time.RFC3339Nano))
	}
	err = c.call(ctx, http.MethodPost, path, http.Header{"Content-Type": {contentType}}, body, &r)
	return r, err
}

// NewRequest is what a carrier asks for its customer. Apps is nil for all.
type NewRequest struct {
	Number    string
	StartedAt time.Time
	Origin    string
	Apps      []string
	Kinds     []string // nil: unbind
	Control   string
	Identity  string
	Verified  time.Time
	Key       string // Idempotency-Key; empty: none
}

// CreatedRequest is a request as it was accepted.
type CreatedRequest struct {
	ID       string        `json:"id"`
	State    string        `json:"state"`
	TenureID string        `json:"tenure_id"`
	DueAt    time.Time     `json:"due_at"`
	Tasks    []CreatedTask `json:"tasks"`
}

// CreatedTask is one app's part of it.
type CreatedTask struct {
	ID   string `json:"id"`
	App  string `json:"app"`
	Kind string `json:"kind"`
}

// CreateRequest asks apps to clear a number.
func (c *Client) CreateRequest(ctx context.Context, in NewRequest) (out CreatedRequest, err error) {
	doc := map[string]any{
		"number": in.Number,
		"tenure": map[string]any{"started_at": in.StartedAt, "origin": in.Origin},
		"apps":   "all",
		"proof":  map[string]any{"control": in.Control, "identity": in.Identity, "verified_at": in.Verified},
	}
	if in.Apps != nil {
		doc["apps"] = in.Apps
	}
	if in.Kinds != nil {
		doc["kinds"] = in.Kinds
	}
	body, err := asJSON(doc)
	if err != nil {
		return out, err
	}
	err = c.call(ctx, http.MethodPost, "/v1/requests", withKey(jsonBody, in.Key), body, &out)
	return out, err
}

// Request is how a request stands, by released views.
type Request struct {
	ID       string    `json:"id"`
	State    string    `json:"state"`
	TenureID string    `json:"tenure_id"`
	DueAt    time.Time `json:"due_at"`
	Tasks    []struct {
		ID   string `json:"id"`
		App  string `json:"app"`
		Kind string `json:"kind"`
		View string `json:"view"`
		Text string `json:"text"`
		Link string `json:"link"`
	} `json:"tasks"`
}

// Request reads how a request stands. language is that of the texts: zh-CN or en.
func (c *Client) Request(ctx context.Context, id, language string) (out Request, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/requests/"+url.PathEscape(id), http.Header{"Accept-Language": {language}}, nil, &out)
	return out, err
}

// FindRequests gives the requests of a number that the carrier may read, oldest first. The hub records the question.
func (c *Client) FindRequests(ctx context.Context, number string) ([]Request, error) {
	body, err := asJSON(map[string]string{"number": number})
	if err != nil {
		return nil, err
	}
	var out struct {
		Requests []Request `json:"requests"`
	}
	err = c.call(ctx, http.MethodPost, "/v1/requests/find", jsonBody, body, &out)
	return out.Requests, err
}

// CancelRequest takes a request back.
func (c *Client) CancelRequest(ctx context.Context, id string) (out Request, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/requests/"+url.PathEscape(id)+"/cancel", nil, nil, &out)
	return out, err
}

// AskAgain asks an app once more.
func (c *Client) AskAgain(ctx context.Context, request, task, key string) (out CreatedTask, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/requests/"+url.PathEscape(request)+"/tasks/"+url.PathEscape(task)+"/again",
		withKey(nil, key), nil, &out)
	return out, err
}

// HistoryBody is lines of history, of any length, as they are sent.
type HistoryBody struct {
	io.Reader
	Type     string // application/x-ndjson or text/csv, with the columns number, tenure_started_at and origin
	Encoding string // gzip, zstd, or "" for none
}

// HistoryTold is what a carrier states with its history; zero: it does not.
type HistoryTold struct {
	CoveredSince  string // a date, YYYY-MM-DD
	CompleteUntil time.Time
}

// HistoryReceipt is the hub's answer to history.
type HistoryReceipt struct {
	Receipt
	CoveredSince string `json:"covered_since"` // a date, as the hub now takes it; empty: the carrier never said
}

// ImportHistory loads what was known before the carrier took part. With a nil body it only states what is told.
func (c *Client) ImportHistory(ctx context.Context, body *HistoryBody, told HistoryTold) (r HistoryReceipt, err error) {
	q := url.Values{}
	if told.CoveredSince != "" {
		q.Set("covered_since", told.CoveredSince)
	}
	if !told.CompleteUntil.IsZero() {
		q.Set("complete_until", told.CompleteUntil.Format(time.RFC3339Nano))
	}
	path := "/v1/history"
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	if body == nil {
		err = c.call(ctx, http.MethodPost, path, nil, nil, &r)
		return r, err
	}
	header := http.Header{"Content-Type": {body.Type}}
	if body.Encoding != "" {
		header.Set("Content-Encoding", body.Encoding)
	}
	err = c.call(ctx, http.MethodPost, path, header, body.Reader, &r)
	return r, err
}

// Package client speaks the hub's HTTP API. Carriers and apps may use it as it is; the hub's own tests, commands and demo do.
//
// A Client gets its access tokens by itself and keeps them until they run out. Refusals of the hub are *huanxin.Error with
// the kind, code, reason and fields of its problem document. Calls are not repeated: every write of the hub is idempotent
// (event ids, answers, Idempotency-Key), so a caller may repeat one whose answer was lost.
//
// An app hears of recycled numbers and of its tasks by a stream: CreateStream makes one, and Receive polls it, or Pushes is the endpoint that
// it is pushed to. Both verify each SET and give it to a function.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/huanxin-platform/huanxin"
)

// Options say which hub and as whom.
type Options struct {
	// URL is the hub's public URL, without a trailing slash.
	URL string
	// ID and Secret authenticate the client by HTTP Basic; Assert, if set, by private_key_jwt instead: it signs an assertion
	// for an audience, which is the hub's URL.
	ID, Secret string
	Assert     func(audience string, now time.Time) (string, error)
	// HTTP sends the requests; nil: a client of its own with a connection pool and no total timeout, so ctx bounds a call.
	HTTP *http.Client
}

// Client is one client of a party. It is safe for concurrent use.
type Client struct {
	o     Options
	keys  hubKeys
	token struct {
		sync.Mutex
		value string
		until time.Time
	}
}

// New makes a client. It does not connect yet.
func New(o Options) *Client {
	if o.HTTP == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConnsPerHost = 64
		o.HTTP = &http.Client{Transport: t}
	}
	return &Client{o: o}
}

// Token gives an access token that is good for some time yet.
func (c *Client) Token(ctx context.Context) (string, error) {
	c.token.Lock()
	defer c.token.Unlock()
	if time.Now().Before(c.token.until) {
		return c.token.value, nil
	}
	form := url.Values{"grant_type": {"client_credentials"}}
	if c.o.Assert != nil {
		assertion, err := c.o.Assert(c.o.URL, time.Now())
		if err != nil {
			return "", err
		}
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", assertion)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.o.URL+"/oauth2/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if c.o.Assert == nil {
		req.SetBasicAuth(url.QueryEscape(c.o.ID), url.QueryEscape(c.o.Secret)) // RFC 6749 §2.3.1
	}
	resp, err := c.o.HTTP.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var answer struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&answer); err != nil {
		return "", fmt.Errorf("token endpoint: status %d: %w", resp.StatusCode, err)
	}
	if resp.StatusCode != http.StatusOK {
		kind := huanxin.Unauthenticated
		if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500 {
			kind = kindOfStatus[resp.StatusCode]
		}
		return "", &huanxin.Error{Kind: kind, Code: answer.Error, Detail: answer.Description}
	}
	life := time.Duration(answer.ExpiresIn) * time.Second
	c.token.value, c.token.until = answer.AccessToken, time.Now().Add(life-min(life/4, time.Minute))
	return c.token.value, nil
}

// URL gives the hub's public URL.
func (c *Client) URL() string { return c.o.URL }

// ID gives the client's id.
func (c *Client) ID() string { return c.o.ID }

// maxAnswer bounds what is read of an answer: no hub says so much at once.
const maxAnswer = 64 << 20

// form is what the answers of some paths have in common: how much of one is read at most, and how a refusal reads.
type form struct {
	most    int64
	refusal func(*http.Response) error
}

// ours is the form of most paths.
var ours = form{maxAnswer, refusal}

// call sends a request and decodes the answer into out, unless that is nil.
func (c *Client) call(ctx context.Context, method, path string, header http.Header, body io.Reader, out any) error {
	return c.callIn(ctx, ours, method, path, header, body, out)
}

// callIn is call for an answer of another form.
func (c *Client) callIn(ctx context.Context, f form, method, path string, header http.Header, body io.Reader, out any) error {
	resp, err := c.do(ctx, method, path, header, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return f.refusal(resp)
	}
	if out == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
	return json.NewDecoder(io.LimitReader(resp.Body, f.most)).Decode(out)
}

func (c *Client) do(ctx context.Context, method, path string, header http.Header, body io.Reader) (*http.Response, error) {
	token, err := c.Token(ctx)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, c.o.URL+path, body)
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := c.o.HTTP.Do(req)
	if err == nil && resp.StatusCode == http.StatusUnauthorized {
		c.token.Lock()
		c.token.until = time.Time{} // the next call asks for another token
		c.token.Unlock()
	}
	return resp, err
}

var kindOfStatus = map[int]huanxin.ErrorKind{400: huanxin.Invalid, 401: huanxin.Unauthenticated, 403: huanxin.Forbidden,
	404: huanxin.NotFound, 409: huanxin.Conflict, 413: huanxin.TooLarge, 415: huanxin.Unsupported, 422: huanxin.Refused,
	429: huanxin.Limited, 503: huanxin.Unavailable}

// refusal reads a problem document (RFC 9457).
func refusal(resp *http.Response) error {
	var p struct {
		Code   string `json:"code"`
		Detail string `json:"detail"`
		Reason string `json:"reason"`
		ID     string `json:"request_id"`
		Errors []struct {
			Field, Code, Detail string
			Line                int64
		} `json:"errors"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&p); err != nil || p.Code == "" {
		p.Code, p.Detail = "unexpected_answer", fmt.Sprintf("the hub answered with status %d", resp.StatusCode)
	}
	e := refused(resp, p.Code, p.Detail)
	e.Reason = p.Reason
	if e.Kind == huanxin.Internal && p.ID != "" {
		e.Err = errors.New("request " + p.ID)
	}
	for _, f := range p.Errors {
		e.Fields = append(e.Fields, huanxin.FieldError{Field: f.Field, Line: f.Line, Code: f.Code, Detail: f.Detail})
	}
	return e
}

// refused is a refusal as far as its status and header tell of it.
func refused(resp *http.Response, code, detail string) *huanxin.Error {
	e := &huanxin.Error{Kind: kindOfStatus[resp.StatusCode], Code: code, Detail: detail}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	return e
}

// Rejection is one refused line of a line-wise body.
type Rejection struct {
	Line   int64  `json:"line"`
	ID     string `json:"id"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

// Receipt is the hub's answer to a line-wise body.
type Receipt struct {
	Receipt       string      `json:"receipt"`
	Accepted      int64       `json:"accepted"`
	Duplicates    int64       `json:"duplicates"`
	Rejected      []Rejection `json:"rejected"`
	RejectedTotal int64       `json:"rejected_total"`
	CompleteUntil *time.Time  `json:"complete_until"`
}

// lines writes a value a line.
func lines[T any](values []T) (io.Reader, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for _, v := range values {
		if err := enc.Encode(v); err != nil {
			return nil, err
		}
	}
	return &b, nil
}

func asJSON(v any) (io.Reader, error) {
	b, err := json.Marshal(v)
	return bytes.NewReader(b), err
}

var (
	jsonBody   = http.Header{"Content-Type": {"application/json"}}
	ndjsonBody = http.Header{"Content-Type": {"application/x-ndjson"}}
)

func withKey(h http.Header, key string) http.Header {
	if key == "" {
		return h
	}
	h = h.Clone()
	if h == nil {
		h = http.Header{}
	}
	h.Set("Idempotency-Key", key)
	return h
}

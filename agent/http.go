package agent

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/client/clientkey"
)

// httpConnector reaches accounts by an endpoint of the company's own. Each request is a POST of JSON to URL/find, URL/unbind and so on,
// signed with the agent's key: Authorization: Bearer JWT (typ huanxin-agent+jwt) with iss (the client id), aud (the full URL), iat, exp, jti
// and digest (SHA-256 of the body, base64url). What changes something carries an Idempotency-Key, the same whenever it is repeated.
//
// Two agents of one client are kept apart by the endpoint's lease where it has one (does: [lease]), and it is asked again with each deed.
// Where it has none, an unbinding has the same key and restore token whichever agent asks for it, so that it is done once at most.
type httpConnector struct {
	cfg     HTTPConfig
	key     *clientkey.Key
	client  string
	zone    *time.Location
	timeout time.Duration
	web     *http.Client
	secret  []byte // of restore tokens: it follows from the key
	right   httpLease
}

// connectorError is a fault of the company's endpoint. Its text holds no value; its format stands in chineseOf.
type connectorError struct {
	format string
	args   []any
}

func (e *connectorError) Error() string { return fmt.Sprintf(e.format, e.args...) }

func badAnswer(format string, args ...any) error { return &connectorError{format, args} }

func openHTTP(cfg *HTTPConfig, key *clientkey.Key, client string, zone *time.Location, timeout time.Duration) (connector, error) {
	secret, err := key.Derive("huanxin agent restore token")
	if err != nil {
		return nil, err
	}
	c := &httpConnector{cfg: *cfg, key: key, client: client, zone: zone, timeout: timeout, secret: secret, right: httpLease{holder: rand.Text()}}
	if c.cfg.Attempts <= 0 {
		c.cfg.Attempts = 3
	}
	if c.cfg.Concurrency <= 0 {
		c.cfg.Concurrency = 8
	}
	if c.cfg.MaxBindings <= 0 {
		c.cfg.MaxBindings = 50
	}
	c.cfg.URL = strings.TrimSuffix(cfg.URL, "/")
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost, t.IdleConnTimeout = c.cfg.Concurrency, 20*time.Second
	c.web = &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return c, nil
}

// Wire forms. Times are RFC 3339 with an offset, or YYYY-MM-DD in the company's zone; members that are not named here are refused.
type (
	httpFind struct {
		Task      string    `json:"task"`
		Kind      string    `json:"kind"`
		Number    string    `json:"number"`
		StartedAt time.Time `json:"started_at"`
	}
	httpFound struct {
		Bindings *[]httpBinding `json:"bindings"`
	}
	httpBinding struct {
		Binding    string `json:"binding"`
		Account    string `json:"account"`
		BoundAt    string `json:"bound_at"`   // "": not known
		LastProof  string `json:"last_proof"` // "": not known; "never"
		SamePerson string `json:"same_person"`
		Class      string `json:"class"`
		HoldBack   string `json:"hold_back"`
	}
	httpOrder struct {
		httpFind
		Binding string    `json:"binding"`
		Account string    `json:"account"`
		Token   string    `json:"token,omitempty"`
		Until   time.Time `json:"restore_until,omitzero"`
		Holder  string    `json:"holder,omitempty"` // of the lease, where the endpoint has one
	}
	httpDone struct {
		// Result is done; gone: there was nothing to do it to; changed: it was not done, because it was bound in the tenure; or
		// taken: it was not done, because another agent has the lease.
		Result string `json:"result"`
	}
)

var errEndpoint = badAnswer("http: the endpoint cannot be reached, or fails")

func (c *httpConnector) find(ctx context.Context, wants []*want) []found {
	out := make([]found, len(wants))
	each(len(wants), c.cfg.Concurrency, func(i int) { out[i].facts, out[i].err = c.findOne(ctx, wants[i]) })
	return out
}

func findOf(w *want) httpFind {
	return httpFind{Task: w.task, Kind: w.kind.String(), Number: w.number.E164(), StartedAt: w.started}
}

func (c *httpConnector) findOne(ctx context.Context, w *want) ([]Facts, error) {
	var answer httpFound
	if err := c.post(ctx, "find", "", findOf(w), &answer); err != nil {
		return nil, err
	}
	if answer.Bindings == nil {
		return nil, badAnswer("http: the answer to find has no bindings; none are []")
	}
	if len(*answer.Bindings) > c.cfg.MaxBindings {
		return nil, errTooMany
	}
	all := make([]Facts, 0, len(*answer.Bindings))
	for _, b := range *answer.Bindings {
		f, err := b.facts(c.zone)
		if err != nil || f.ID == "" || slices.ContainsFunc(all, func(o Facts) bool { return o.ID == f.ID }) {
			return nil, badAnswer("http: a binding in the answer to find cannot be read")
		}
		all = append(all, f)
	}
	return all, nil
}

func (b *httpBinding) facts(zone *time.Location) (f Facts, err error) {
	f.ID, f.Account, f.Class = b.Binding, b.Account, b.Class
	var ok bool
	var errs [3]error
	f.FirstBound, errs[0] = ParseWhen(b.BoundAt, zone)
	f.LastProof, errs[1] = ParseWhen(b.LastProof, zone)
	if f.FirstBound.never {
		f.FirstBound = When{}
	}
	if f.SamePerson, ok = triOf(b.SamePerson); !ok {
		errs[2] = errors.New("same_person")
	}
	if b.HoldBack != "" {
		f.HoldBack, err = huanxin.ParseReason(b.HoldBack)
	}
	return f, errors.Join(append(errs[:], err)...)
}

// act asks for one deed. What the transaction is to a database, the endpoint's own care is here: it is told the tenure's start, reads the
// binding again, and says changed where it was bound since. The agent looks once more itself, right before.
func (c *httpConnector) act(ctx context.Context, next func() *order, did func(*order)) error {
	return inTurn(next, did, func(o *order) (effect, error) { return c.actOne(ctx, o) })
}

func (c *httpConnector) actOne(ctx context.Context, o *order) (effect, error) {
	if o.still != nil {
		all, err := c.findOne(ctx, o.want)
		if err != nil {
			return 0, err
		}
		if e := o.judge(all); e != 0 {
			return e, nil
		}
	}
	if err := c.lease(ctx); errors.Is(err, errTaken) {
		return 0, &heldError{heldByOther}
	} else if err != nil {
		return 0, err
	}
	path := deedWords[o.deed]
	if o.kind != huanxin.Unbind && o.deed == unbind {
		path = o.kind.String()
	}
	in := httpOrder{httpFind: findOf(o.want), Binding: o.binding, Account: o.account, Token: o.token, Until: o.until}
	if c.leases() {
		in.Holder = c.right.holder
	}
	var answer httpDone
	if err := c.post(ctx, path, idempotencyKey(path, o), in, &answer); err != nil {
		return uncertain, err
	}
	switch answer.Result {
	case "done":
		return acted, nil
	case "gone":
		return gone, nil
	case "changed":
		return changed, nil
	case "taken":
		c.right.lost()
		return 0, &heldError{heldByOther}
	}
	return uncertain, badAnswer("http: the answer to %s is not done, gone, changed or taken", path)
}

// idempotencyKey names a deed. A binding is unbound for a task once, whoever asks; the number may stop being its key, and be it again, many times.
func idempotencyKey(path string, o *order) string {
	text := path + "\n" + o.task + "\n" + o.binding
	if o.deed != unbind {
		text += "\n" + o.token + "\n" + o.intended.UTC().Format(time.RFC3339Nano)
	}
	return sum([]byte(text))
}

// token makes the restore token of a binding: the same at each agent with this key, and not to be guessed without it.
func (c *httpConnector) token(task, binding string) string {
	h := hmac.New(sha256.New, c.secret)
	_, _ = h.Write([]byte(task + "\n" + binding))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:18])
}

// post sends a request, again where it failed for a time, and reads the answer strictly.
func (c *httpConnector) post(ctx context.Context, path, idempotency string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	wait := 200 * time.Millisecond
	for attempt := 1; ; attempt++ {
		again, after, err := c.once(ctx, path, idempotency, body, out)
		if err == nil || !again || attempt == c.cfg.Attempts || ctx.Err() != nil {
			return err
		}
		client.Pause(ctx, max(wait, min(after, 10*time.Second)))
		wait *= 2
	}
}

const maxEndpointAnswer = 1 << 20

func (c *httpConnector) once(ctx context.Context, path, idempotency string, body []byte, out any) (again bool, after time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	url := c.cfg.URL + "/" + path
	token, err := c.sign(url, body, time.Now())
	if err != nil {
		return false, 0, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return false, 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Authorization", "Bearer "+token)
	if idempotency != "" {
		r.Header.Set("Idempotency-Key", idempotency)
	}
	resp, err := c.web.Do(r)
	if err != nil {
		return true, 0, errEndpoint
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxEndpointAnswer+1))
	if err != nil || len(text) > maxEndpointAnswer {
		return true, 0, errEndpoint
	}
	if resp.StatusCode != http.StatusOK {
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500, time.Duration(seconds) * time.Second,
			badAnswer("http: the endpoint answers %s with status %d", path, resp.StatusCode)
	}
	return false, 0, readStrictly(path, resp.Header.Get("Content-Type"), text, out)
}

// readStrictly reads one JSON value without members that are not known: a misspelt bound_at must not be an unknown one.
func readStrictly(path, contentType string, text []byte, out any) error {
	if media, _, err := mime.ParseMediaType(contentType); err != nil || media != "application/json" {
		return badAnswer("http: the answer to %s is not application/json", path)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(out); err != nil {
		return badAnswer("http: the answer to %s is not of the form that is documented", path)
	}
	if _, err := d.Token(); err != io.EOF {
		return badAnswer("http: something follows the answer to %s", path)
	}
	return nil
}

func (c *httpConnector) sign(url string, body []byte, now time.Time) (string, error) {
	return c.key.Sign("huanxin-agent+jwt", map[string]any{"iss": c.client, "aud": url, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		"jti": rand.Text(), "digest": sum(body)})
}

func (c *httpConnector) can(d deed) bool {
	return d == unbind || d == restore || slices.Contains(c.cfg.Does, "suspend") && (d == suspend || d == resume)
}

func (c *httpConnector) atOnce() int { return c.cfg.Concurrency }

func (c *httpConnector) close() error {
	err := c.giveBack()
	c.web.CloseIdleConnections()
	return err
}

// check asks for a number that nobody has.
func (c *httpConnector) check(ctx context.Context, r *Report) {
	facts, err := c.findOne(ctx, nobody(c.zone))
	switch {
	case err != nil:
		r.wrong("accounts", "公司的接口不能用:%s", "the company's endpoint does not work: %s", err)
	case len(facts) > 0:
		r.wrong("accounts", "公司的接口对一个无人使用的号码给出了 %d 个绑定", "the company's endpoint gives %d bindings for a number that nobody has", len(facts))
	default:
		r.good("accounts", "公司的接口能用", "the company's endpoint works")
	}
	switch err := c.lease(ctx); {
	case !c.leases():
		r.looks("accounts", "公司的接口没有租约(http.does: [lease]):请确保只有一个代理在运行",
			"the company's endpoint has no lease (http.does: [lease]): see to it that only one agent runs")
	case errors.Is(err, errTaken):
		r.looks("accounts", "另一个代理正在这些账号上工作", "another agent works on these accounts")
	case err != nil:
		r.wrong("accounts", "公司的接口不给租约:%s", "the company's endpoint gives no lease: %s", err)
	}
}

// nobody is what a number wants that nobody has.
func nobody(zone *time.Location) *want {
	n, err := huanxin.ParseNumber("+8610000000000")
	if err != nil {
		panic(err)
	}
	return &want{task: "check", kind: huanxin.Unbind, number: n, tenure: "check", started: time.Now(), origin: huanxin.OriginReassigned.String(), zone: zone}
}

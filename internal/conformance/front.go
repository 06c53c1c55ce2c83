package conformance

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/lines"
)

// front stands before the hub: it hears what the company says and may keep back, repeat, forge or lose what it is told.
type front struct {
	hub   http.Handler
	ear   *ear
	relay *relay

	mu     sync.Mutex
	held   map[string]*hold    // by number
	lose   map[string]bool     // answers to these tasks are told to have failed, once
	unread map[string]*hold    // by task: what is asked about it
	deaf   map[string]bool     // whoever reads or answers these tasks is told that the hub cannot at present
	extra  []*told             // SETs to put into the next answer to a poll
	forged map[string]struct{} // jtis that the hub does not know
	push   bool                // the company has a stream that is pushed
	poll   bool
}

const maxBody = 64 << 20

func newFront(hub http.Handler, e *ear) *front {
	return &front{hub: hub, ear: e, held: map[string]*hold{}, lose: map[string]bool{}, unread: map[string]*hold{}, deaf: map[string]bool{}, forged: map[string]struct{}{}}
}

func (f *front) mode() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.push:
		return "push"
	case f.poll:
		return "poll"
	}
	return "list"
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.ear.hear(func() {
		if f.ear.first.IsZero() {
			f.ear.first = time.Now()
		}
	})
	path := r.URL.Path
	task, isTask := strings.CutPrefix(path, "/v1/tasks/")
	task, isAnswer := strings.CutSuffix(task, "/answer")
	switch {
	case isTask && f.cannot(w, task):
	case path == "/v1/tasks" && r.Method == http.MethodGet && f.cannot(w, strings.Split(r.URL.Query().Get("ids"), ",")...):
	case isTask && isAnswer && r.Method == http.MethodPut:
		f.answer(w, r, task)
	case isTask && r.Method == http.MethodGet:
		f.waitToRead(r.Context(), task)
		f.ear.hear(func() { f.ear.reads[task] = append(f.ear.reads[task], time.Now()) })
		f.hub.ServeHTTP(w, r)
	case path == "/v1/tasks" && r.Method == http.MethodGet && r.URL.Query().Has("ids"):
		ids := strings.Split(r.URL.Query().Get("ids"), ",")
		f.waitToRead(r.Context(), ids...)
		for _, id := range ids {
			f.ear.hear(func() { f.ear.reads[id] = append(f.ear.reads[id], time.Now()) })
		}
		f.hub.ServeHTTP(w, r)
	case path == "/v1/tasks" && r.Method == http.MethodGet:
		f.list(w, r)
	case path == "/v1/answers" && r.Method == http.MethodPost:
		f.answers(w, r)
	case path == "/v1/apps/self" && r.Method == http.MethodGet:
		f.self(w, r)
	case path == "/ssf/events" && r.Method == http.MethodPost:
		f.answerSET(w, r)
	case strings.HasPrefix(path, core.PollPath) && r.Method == http.MethodPost:
		f.pollStream(w, r)
	case path == "/ssf/streams":
		f.streams(w, r)
	default:
		f.hub.ServeHTTP(w, r)
	}
}

// kept is an answer of the hub's before it is sent on.
type kept struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (k *kept) Header() http.Header { return k.header }
func (k *kept) WriteHeader(status int) {
	if k.status == 0 {
		k.status = status
	}
}
func (k *kept) Write(p []byte) (int, error) {
	k.WriteHeader(http.StatusOK)
	return k.body.Write(p)
}

// ask has the hub answer a request with a body that may have been changed.
func (f *front) ask(r *http.Request, body []byte) *kept {
	k := &kept{header: http.Header{}}
	if body != nil {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		r.Header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	f.hub.ServeHTTP(k, r)
	k.WriteHeader(http.StatusOK)
	return k
}

func (k *kept) send(w http.ResponseWriter) {
	maps.Copy(w.Header(), k.header)
	w.Header().Set("Content-Length", strconv.Itoa(k.body.Len()))
	w.WriteHeader(k.status)
	_, _ = w.Write(k.body.Bytes())
}

// fail is what a hub says that cannot at present.
func fail(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "1")
	w.WriteHeader(http.StatusServiceUnavailable)
}

func readAll(r *http.Request) ([]byte, error) {
	return io.ReadAll(io.LimitReader(r.Body, maxBody))
}

// list hands open tasks out; one whose number is held back waits, and is then told as it was.
func (f *front) list(w http.ResponseWriter, r *http.Request) {
	k := f.ask(r, nil)
	f.wait(r.Context(), k.body.Bytes())
	f.ear.hear(func() { f.ear.lists = append(f.ear.lists, time.Now()) })
	k.send(w)
}

func (f *front) self(w http.ResponseWriter, r *http.Request) {
	k := f.ask(r, nil)
	var self struct {
		Hold bool `json:"hold"`
	}
	if k.status == http.StatusOK && json.Unmarshal(k.body.Bytes(), &self) == nil {
		f.ear.hear(func() { f.ear.selfs = append(f.ear.selfs, selfSeen{time.Now(), self.Hold}) })
	}
	k.send(w)
}

// wire is an answer as it is sent.
type wire struct {
	TaskID   string `json:"task_id"`
	Outcome  string `json:"outcome"`
	Reason   string `json:"reason"`
	TenureID string `json:"tenure_id"`
	Digest   string `json:"digest"`
	Link     string `json:"link"`
}

func (a *wire) heard(code string) heard {
	return heard{At: time.Now(), Outcome: a.Outcome, Reason: a.Reason, TenureID: a.TenureID, Digest: a.Digest, Link: a.Link, Code: code}
}

// hubBusy stands for what is no refusal: the hub cannot at present, or the company went away while it asked.
const hubBusy = "busy"

// codeOf gives the code of a problem document, or of a refused SET.
func codeOf(k *kept) string {
	switch {
	case k.status < 300:
		return ""
	case k.status >= 500 || k.status == http.StatusTooManyRequests:
		return hubBusy
	}
	var p struct {
		Code        string `json:"code"`
		Err         string `json:"err"`
		Description string `json:"description"`
	}
	_ = json.Unmarshal(k.body.Bytes(), &p)
	switch first, _, _ := strings.Cut(p.Description, ":"); {
	case p.Code != "":
		return p.Code
	case p.Err == "invalid_request" && first != "" && !strings.Contains(first, " "):
		return first
	case p.Err != "":
		return p.Err
	}
	return "status " + strconv.Itoa(k.status)
}

func (f *front) answer(w http.ResponseWriter, r *http.Request, task string) {
	body, err := readAll(r)
	if err != nil {
		fail(w)
		return
	}
	k := f.ask(r, body)
	var in wire
	if json.Unmarshal(body, &in) != nil {
		f.ear.hear(func() { f.ear.badBodies++ })
	}
	f.note(w, k, task, in.heard(codeOf(k)))
}

// note remembers one answer and sends the hub's word on, unless it gets lost.
func (f *front) note(w http.ResponseWriter, k *kept, task string, h heard) {
	h.Lost = h.Code == "" && f.loses(task)
	f.ear.hear(func() { f.ear.answers[task] = append(f.ear.answers[task], h) })
	if h.Lost {
		fail(w)
		return
	}
	k.send(w)
}

func (f *front) answerSET(w http.ResponseWriter, r *http.Request) {
	body, err := readAll(r)
	if err != nil {
		fail(w)
		return
	}
	var in struct {
		Events map[string]wire `json:"events"`
	}
	unread := json.Unmarshal(payload(string(body)), &in) != nil
	for _, a := range in.Events {
		if f.cannot(w, a.TaskID) {
			return
		}
	}
	k := f.ask(r, body)
	if unread || len(in.Events) != 1 {
		f.ear.hear(func() { f.ear.badBodies++ })
		k.send(w)
		return
	}
	for _, a := range in.Events {
		f.note(w, k, a.TaskID, a.heard(codeOf(k)))
	}
}

func (f *front) answers(w http.ResponseWriter, r *http.Request) {
	body, err := readAll(r)
	if err != nil {
		fail(w)
		return
	}
	var all []wire
	if plain, err := lines.Decompress(strings.Join(r.Header.Values("Content-Encoding"), ","), io.NopCloser(bytes.NewReader(body))); err == nil {
		text, _ := io.ReadAll(io.LimitReader(plain, maxBody))
		for line := range bytes.Lines(text) {
			var a wire
			if len(bytes.TrimSpace(line)) > 0 && json.Unmarshal(line, &a) == nil {
				all = append(all, a)
			} else {
				all = append(all, wire{})
			}
		}
	}
	var tasks []string
	for _, a := range all {
		tasks = append(tasks, a.TaskID)
	}
	if f.cannot(w, tasks...) {
		return
	}
	k := f.ask(r, body)
	var receipt struct {
		Rejected []struct {
			Line int    `json:"line"`
			Code string `json:"code"`
		} `json:"rejected"`
	}
	_ = json.Unmarshal(k.body.Bytes(), &receipt)
	codes := make([]string, len(all))
	for i := range codes {
		codes[i] = codeOf(k)
	}
	for _, no := range receipt.Rejected {
		if 0 < no.Line && no.Line <= len(codes) {
			codes[no.Line-1] = no.Code
		}
	}
	lost := f.loses(tasks...)
	f.ear.hear(func() {
		for i, a := range all {
			h := a.heard(codes[i])
			h.Lost = lost
			f.ear.answers[a.TaskID] = append(f.ear.answers[a.TaskID], h)
		}
	})
	if lost {
		fail(w)
		return
	}
	k.send(w)
}

// payload gives what a JWT says, without looking at its signature.
func payload(token string) []byte {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil
	}
	return text
}

// readSET reads a SET of the hub's, or a forged one, without looking at its signature.
func readSET(token string) *told {
	var in struct {
		JTI     string `json:"jti"`
		Subject struct {
			Number string `json:"phone_number"`
		} `json:"sub_id"`
		Events map[string]struct {
			Task   string `json:"id"`
			TaskID string `json:"task_id"`
		} `json:"events"`
	}
	_ = json.Unmarshal(payload(token), &in)
	s := &told{jti: in.JTI, token: token, number: in.Subject.Number}
	for uri, e := range in.Events {
		s.uri, s.task = uri, e.Task+e.TaskID
	}
	return s
}

// streams has the hub push to the relay instead, and tells the company of its own URL.
func (f *front) streams(w http.ResponseWriter, r *http.Request) {
	var body []byte
	if r.Method != http.MethodGet && r.Method != http.MethodDelete {
		var err error
		if body, err = readAll(r); err != nil {
			fail(w)
			return
		}
		body = f.relay.redirect(body)
	}
	k := f.ask(r, body)
	text := f.relay.restore(k.body.Bytes())
	if k.status < 300 {
		f.noteStreams(r.Method, text)
	}
	k.body.Reset()
	_, _ = k.body.Write(text)
	k.send(w)
}

func (f *front) noteStreams(method string, text []byte) {
	type stream struct {
		Delivery struct {
			Method string `json:"method"`
		} `json:"delivery"`
	}
	var all []stream
	var one stream
	if json.Unmarshal(text, &all) != nil && json.Unmarshal(text, &one) == nil {
		all = []stream{one}
	}
	if method == http.MethodDelete {
		return
	}
	f.mu.Lock()
	for _, s := range all {
		if s.Delivery.Method == huanxin.DeliverByPush.String() {
			f.push = true
		}
	}
	f.mu.Unlock()
	f.ear.hear(func() {})
}

// pollStream passes a poll on without what the hub knows nothing of, and adds to the answer what is to be added.
func (f *front) pollStream(w http.ResponseWriter, r *http.Request) {
	body, err := readAll(r)
	if err != nil {
		fail(w)
		return
	}
	f.mu.Lock()
	f.poll = true
	f.mu.Unlock()
	body, most := f.heardPoll(body)
	k := f.ask(r, body)
	var out struct {
		Sets map[string]string `json:"sets"`
		More bool              `json:"moreAvailable,omitempty"`
	}
	if k.status != http.StatusOK || json.Unmarshal(k.body.Bytes(), &out) != nil || out.Sets == nil {
		k.send(w)
		return
	}
	var all []byte
	for _, token := range out.Sets {
		all = append(append(all, payload(token)...), '\n')
	}
	f.wait(r.Context(), all)
	for _, s := range f.takeExtra(most) {
		out.Sets[s.jti] = s.token
	}
	for _, jti := range slices.Sorted(maps.Keys(out.Sets)) {
		s := readSET(out.Sets[jti])
		s.jti = jti
		f.ear.handedOut(s)
	}
	text, err := json.Marshal(out)
	if err != nil {
		fail(w)
		return
	}
	k.body.Reset()
	_, _ = k.body.Write(text)
	k.send(w)
}

// setErr is why the company refuses a SET.
type setErr struct {
	Err         string `json:"err,omitempty"`
	Description string `json:"description,omitempty"`
}

// heardPoll notes acknowledgements and refusals, and gives the poll as the hub may see it, with how many events are wanted.
func (f *front) heardPoll(body []byte) (out []byte, most int) {
	var in map[string]json.RawMessage
	most = 1000
	if json.Unmarshal(body, &in) != nil {
		return body, most
	}
	_ = json.Unmarshal(in["maxEvents"], &most)
	var acks []string
	errs := map[string]setErr{}
	_ = json.Unmarshal(in["ack"], &acks)
	_ = json.Unmarshal(in["setErrs"], &errs)
	for _, jti := range acks {
		f.ear.settled(jti, "", 0)
	}
	for jti, e := range errs {
		why := e.Err
		if why == "" {
			why = "?"
		}
		f.ear.settled(jti, why, 0)
	}
	f.mu.Lock()
	acks = slices.DeleteFunc(acks, func(jti string) bool { _, is := f.forged[jti]; return is })
	maps.DeleteFunc(errs, func(jti string, _ setErr) bool { _, is := f.forged[jti]; return is })
	f.mu.Unlock()
	for name, v := range map[string]any{"ack": acks, "setErrs": errs} {
		if _, there := in[name]; there {
			text, err := json.Marshal(v)
			if err != nil {
				return body, most
			}
			in[name] = text
		}
	}
	if out, err := json.Marshal(in); err == nil {
		return out, most
	}
	return body, most
}

// addToPoll puts a SET into the next answer to a poll. forged: the hub knows nothing of it.
func (f *front) addToPoll(s *told, forged bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.extra = append(f.extra, s)
	if forged {
		f.forged[s.jti] = struct{}{}
	}
}

func (f *front) takeExtra(most int) []*told {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := min(len(f.extra), max(most, 0))
	out := f.extra[:n:n]
	f.extra = f.extra[n:]
	return out
}

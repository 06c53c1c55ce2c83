// Package feed brings streams what they are told: it writes and signs security event tokens (RFC 8417) of what core's feed log holds.
package feed

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/auth"
	"github.com/huanxin-platform/huanxin/internal/core"
)

// StreamFacts is what a SET depends on of the stream that it is written for.
type StreamFacts struct {
	ID       huanxin.StreamID
	ClientID string // its audience
	Alg      string // one of auth.HubAlgs; empty: ES256
	// GrantStart says that the contract grants the app the start of a tenure in identifier-recycled (DOMAIN.md §7 rule 5).
	GrantStart bool
}

// FactsOf gives the facts of a stream of a client.
func FactsOf(id huanxin.StreamID, c *huanxin.Client) StreamFacts {
	return StreamFacts{ID: id, ClientID: c.ID, Alg: c.FeedAlg, GrantStart: c.Party.FeedStart}
}

func (s *StreamFacts) alg() string { return cmp.Or(s.Alg, auth.HubAlgs[0]) }

// Writer writes SETs. What it writes follows from the entry, the stream and the key alone, so a SET that is written again is the same
// byte for byte while its key is in use. It is safe for concurrent use.
type Writer struct {
	hub    *core.Hub
	ring   *auth.KeyRing
	issuer []byte // as a JSON string
	zone   *time.Location
	room   sync.Pool // of *[]byte, for claims
	keys   sync.Mutex
}

// NewWriter gives a writer of a hub with its keys and the URL that others know it by.
func NewWriter(hub *core.Hub, ring *auth.KeyRing, issuer string) *Writer {
	w := &Writer{hub: hub, ring: ring, issuer: quote(nil, issuer), zone: hub.Calendar().Zone()}
	w.room.New = func() any { b := make([]byte, 0, 1024); return &b }
	return w
}

// Ready makes sure that SETs can be signed for a stream: a client may have asked for its algorithm a moment ago, elsewhere. Called before
// something is taken to be sent, it keeps a SET from being taken and not written.
func (w *Writer) Ready(ctx context.Context, now time.Time, s StreamFacts) error {
	if _, err := w.ring.SETKey(s.alg(), now); err == nil {
		return nil
	}
	w.keys.Lock()
	defer w.keys.Unlock()
	if _, err := w.ring.SETKey(s.alg(), now); err == nil {
		return nil
	}
	if err := w.hub.Refresh(ctx); err != nil {
		return err
	}
	keys, err := w.hub.SigningKeys(ctx)
	if err != nil {
		return err
	}
	if err := w.ring.Replace(keys); err != nil {
		return err
	}
	_, err = w.ring.SETKey(s.alg(), now)
	return err
}

// Write writes an entry as a SET for a stream, signed with the key that is in use now, and gives its jti. The error is of kind Unavailable
// where there is no key of the stream's algorithm; see Ready.
func (w *Writer) Write(now time.Time, s StreamFacts, e *core.FeedEntry) (jti string, set []byte, err error) {
	key, err := w.ring.SETKey(s.alg(), now)
	if err != nil {
		return "", nil, err
	}
	jti = w.hub.JTI(s.ID, e.No)
	room := w.room.Get().(*[]byte)
	defer w.room.Put(room)
	claims, err := w.claims((*room)[:0], jti, &s, e)
	if err != nil {
		return "", nil, err
	}
	*room = claims
	set, err = key.Sign(claims)
	return jti, set, err
}

// claims writes the claims of a SET (RFC 8417 §2.2, SSF 1.0 §4). There is neither sub nor exp.
func (w *Writer) claims(b []byte, jti string, s *StreamFacts, e *core.FeedEntry) ([]byte, error) {
	b = append(append(b, `{"iss":`...), w.issuer...)
	b = plain(b, `,"jti":"`, jti)
	b = strconv.AppendInt(append(b, `,"iat":`...), e.RecordedAt.Unix(), 10)
	if toe, ok := s.toe(e); ok {
		b = strconv.AppendInt(append(b, `,"toe":`...), toe, 10)
	}
	b = text(b, `,"aud":`, s.ClientID)
	if txn := w.hub.FeedTxn(e); txn != "" {
		b = plain(b, `,"txn":"`, txn)
	}
	b = w.subject(append(b, `,"sub_id":`...), s, e)
	b = append(plain(b, `,"events":{"`, e.Type.String()), ':')
	b, err := w.payload(b, s, e)
	return append(b, `}}`...), err
}

// subject writes who or what the event is about (RFC 9493): a number, or the stream itself.
func (w *Writer) subject(b []byte, s *StreamFacts, e *core.FeedEntry) []byte {
	if e.Number.IsZero() {
		return append(plain(b, `{"format":"opaque","id":"`, w.hub.StreamName(s.ID)), '}')
	}
	b = strconv.AppendUint(append(b, `{"format":"phone_number","phone_number":"+`...), e.Number.Digits(), 10)
	return append(b, `"}`...)
}

// tells reports whether the stream may learn when the event happened. When a tenure began it learns only if its contract says so, and
// what takes that back may come with the same time.
func (s *StreamFacts) tells(e *core.FeedEntry) bool {
	switch e.Type {
	case huanxin.IdentifierRecycled:
		return s.GrantStart
	case huanxin.RecycleRetracted:
		return s.GrantStart || e.Task.ID != 0
	}
	return true
}

// toe gives the time of the event (RFC 8417 §2.2); a stream's own events have none.
func (s *StreamFacts) toe(e *core.FeedEntry) (seconds int64, ok bool) {
	return e.At.Unix(), !e.Number.IsZero() && s.tells(e)
}

// payload writes the event. Schemas says what each may hold.
func (w *Writer) payload(b []byte, s *StreamFacts, e *core.FeedEntry) ([]byte, error) {
	switch e.Type {
	case huanxin.IdentifierRecycled:
		if !s.tells(e) {
			b = plain(b, `{"huanxin_reason":"`, e.Reason)
			break
		}
		b = plain(stamp(append(b, '{'), e.At), `,"huanxin_reason":"`, e.Reason)
		b = w.time(append(b, `,"huanxin_tenure_started_at":`...), e.StartedAt)
	case huanxin.NumberReleased:
		b = stamp(append(b, '{'), e.At)
	case huanxin.UnbindRequested:
		return w.task(b, e)
	case huanxin.UnbindCancelled:
		b = plain(stamp(append(b, '{'), e.At), `,"task_id":"`, w.hub.FeedTaskName(e))
		b = plain(b, `,"reason":"`, e.Reason)
	case huanxin.RecycleRetracted:
		at := e.At
		if !s.tells(e) {
			at = e.RecordedAt
		}
		b = plain(stamp(append(b, '{'), at), `,"retracts":"`, w.hub.JTI(s.ID, e.Retracts))
		if task := w.hub.FeedTaskName(e); task != "" {
			b = plain(b, `,"task_id":"`, task)
		}
	case huanxin.StreamVerification:
		b = append(b, '{')
		if e.State != "" {
			b = text(b, `"state":`, e.State)
		}
	case huanxin.StreamUpdated:
		b = plain(b, `{"status":"`, e.State)
		if e.Reason != "" {
			b = text(b, `,"reason":`, e.Reason)
		}
	default:
		return b, errors.New("feed: an entry of an unknown type")
	}
	return append(b, '}'), nil
}

// task writes the task as GET /v1/tasks/{id} gives it, but for its number, which is the subject.
func (w *Writer) task(b []byte, e *core.FeedEntry) ([]byte, error) {
	t := w.hub.FeedTask(e)
	if t.App == "" {
		return b, huanxin.Errorf(huanxin.Unavailable, "unknown_app", "the registry cannot be read")
	}
	b = stamp(append(b, '{'), e.At)
	b = plain(b, `,"id":"`, t.ID)
	b = plain(b, `,"app":"`, t.App)
	b = plain(b, `,"kind":"`, t.Kind.String())
	b = plain(b, `,"tenure":{"id":"`, t.TenureID)
	b = w.time(append(b, `,"started_at":`...), t.StartedAt)
	b = plain(b, `,"origin":"`, t.Origin.String())
	b = w.time(append(b, `},"due_at":`...), t.DueAt)
	b = plain(b, `,"digest":"`, t.Digest)
	b = plain(b, `,"state":"`, t.State.String())
	return append(b, '}'), nil
}

// stamp writes event_timestamp in seconds.
func stamp(b []byte, t time.Time) []byte {
	return strconv.AppendInt(append(b, `"event_timestamp":`...), t.Unix(), 10)
}

// time writes an instant as the API does.
func (w *Writer) time(b []byte, t time.Time) []byte {
	b = append(b, '"')
	b = t.In(w.zone).Truncate(time.Microsecond).AppendFormat(b, time.RFC3339Nano)
	return append(b, '"')
}

// text writes a member whose value may be anything; what is not UTF-8 becomes U+FFFD.
func text(b []byte, name, value string) []byte { return quote(append(b, name...), value) }

// plain writes a member whose value is an id or a word of ours, in which nothing needs an escape. The name ends with the first quote.
func plain(b []byte, name, value string) []byte {
	return append(append(append(b, name...), value...), '"')
}

func quote(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s)
	return b
}

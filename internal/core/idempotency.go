package core

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/store"
)

// Once is an idempotency key with what it was sent with. The zero Once is none.
type Once struct {
	Key  string
	Body []byte // with the method and path before it: one key is for one question
}

const maxKey = 128

// keyRetention is how long a key is kept; API.md asks for 24 hours at least.
const keyRetention = 48 * time.Hour

// once runs a use case that makes something under an idempotency key: the same key and body give the first answer again,
// compared before the rules are asked. f says what it made; again gives the answer for something made before. Refusals by
// the rules are remembered too. Keys are the client's own. What f will need ahead may ask for, unless it is nil: the answers come with
// those about the key.
func (h *Hub) once(ctx context.Context, who huanxin.Caller, action string, may error, key Once, ahead func(tx *store.Tx) error,
	f func(tx *store.Tx, now time.Time, entry *store.AuditEntry) (made int64, err error),
	again func(tx *store.Tx, made int64) error) error {
	if ahead == nil {
		ahead = func(*store.Tx) error { return nil }
	}
	if key.Key == "" || may != nil {
		return h.act(ctx, who, action, may, func(tx *store.Tx, now time.Time, entry *store.AuditEntry) error {
			if err := ahead(tx); err != nil {
				return err
			}
			_, err := f(tx, now, entry)
			return err
		})
	}
	if err := checkKey(key.Key); err != nil {
		return err
	}
	name := who.Client + "\n" + key.Key
	if _, busy := h.inFlight.LoadOrStore(name, true); busy {
		return errInFlight()
	}
	defer h.inFlight.Delete(name)
	digest := h.keys.MAC(key.Body)
	var replayed bool
	err := h.act(ctx, who, action, nil, func(tx *store.Tx, now time.Time, entry *store.AuditEntry) error {
		claim, err := tx.AskClaim(who.Client, key.Key)
		if err == nil {
			err = ahead(tx)
		}
		if err == nil {
			err = tx.Await()
		}
		if err != nil {
			return err
		}
		if !claim.Alone {
			return errInFlight()
		}
		if claim.Found {
			entry.Subject, entry.Detail = "", detail(map[string]any{"repeated": true})
			replayed = true
			return replay(claim.Remembered, digest, func() error { return again(tx, claim.Result) })
		}
		made, err := f(tx, now, entry)
		if err != nil {
			return err
		}
		return tx.Remember(who.Client, key.Key, store.Remembered{Digest: digest, Result: made}, now)
	})
	var refusal *huanxin.Error
	if !replayed && errors.As(err, &refusal) && ruled(refusal) {
		h.rememberRefusal(ctx, who.Client, key.Key, digest, refusal)
	}
	return err
}

func replay(m store.Remembered, digest []byte, again func() error) error {
	if string(m.Digest) != string(digest) {
		return huanxin.Errorf(huanxin.Conflict, "idempotency_conflict", "this Idempotency-Key was sent with another body")
	}
	if m.Refusal == "" {
		return again()
	}
	var e huanxin.Error
	if err := json.Unmarshal([]byte(m.Refusal), &e); err != nil {
		return err
	}
	return &e
}

// ruled reports whether a refusal is an answer of the rules, which the same key gets again.
func ruled(e *huanxin.Error) bool {
	return e.Kind == huanxin.Refused || e.Kind == huanxin.Conflict && e.Code != "in_flight" && e.Code != "idempotency_conflict"
}

func (h *Hub) rememberRefusal(ctx context.Context, client, key string, digest []byte, e *huanxin.Error) {
	kept := *e
	kept.Err = nil
	text, err := json.Marshal(kept)
	if err == nil {
		err = h.store.Write(context.WithoutCancel(ctx), func(tx *store.Tx) error {
			return tx.Remember(client, key, store.Remembered{Digest: digest, Refusal: string(text)}, now())
		})
	}
	if err != nil {
		h.log.Error("a refusal could not be remembered under its key", "error", err)
	}
}

func checkKey(key string) error {
	if len(key) > maxKey {
		return huanxin.BadField("Idempotency-Key", "too_long", "at most 128 characters")
	}
	return huanxin.CheckEventID("Idempotency-Key", key)
}

func errInFlight() error {
	return huanxin.Errorf(huanxin.Conflict, "in_flight", "a request with this Idempotency-Key is being worked on")
}

// Forget drops idempotency keys that are older than 48 hours, what holders left behind, and dead letters that are older than notices are kept, at most limit of each,
// and says how many.
func (h *Hub) Forget(ctx context.Context, limit int) (n int64, err error) {
	err = h.store.Write(ctx, func(tx *store.Tx) (err error) {
		if n, err = tx.ForgetKeys(now().Add(-keyRetention), limit); err != nil {
			return err
		}
		dead, err := tx.ForgetDeadLetters(now().Add(-huanxin.FeedRetention), limit) // by then every task is over
		if n += dead; err != nil {
			return err
		}
		holders, err := h.forgetHolders(tx, now())
		if n += holders; err != nil {
			return err
		}
		return tx.ForgetExchanges(now().Add(-exchangeRetention))
	})
	return n, err
}

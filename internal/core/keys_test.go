package core_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/auth"
	"github.com/huanxin-platform/huanxin/internal/core"
)

// kids gives the ids of a hub's keys of an algorithm, oldest first.
func (w *world) kids(alg string) (kids []string) {
	w.Helper()
	keys, err := w.SigningKeys(w.Context())
	must(w, err)
	for _, k := range keys {
		if k.Alg == alg {
			kids = append(kids, k.KID)
		}
	}
	return kids
}

// signer gives the id of the key by which a hub signs SETs at a time; "": none.
func (w *world) signer(alg string, at time.Time) string {
	w.Helper()
	keys, err := w.SigningKeys(w.Context())
	must(w, err)
	ring, err := auth.NewKeyRing(keys...)
	must(w, err)
	for _, k := range keys {
		if key, err := ring.SETKey(alg, at); err == nil && key.KID() == k.KID {
			return k.KID
		}
	}
	return ""
}

func (w *world) addClient(id, party string) {
	w.Helper()
	_, err := w.AddClient(w.Context(), core.Operator(), core.NewClient{ID: id, Party: party, Secret: true})
	must(w, err)
}

func TestAKeyOfAnAlgorithmIsMadeWhenAClientAsksForIt(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		w.addClient("chat-1", "chat")
		w.addClient("game-1", "game")
		if len(w.kids("ES256")) != 1 || len(w.kids("EdDSA"))+len(w.kids("RS256")) != 0 {
			t.Error("keys are made that nobody asked for")
		}
		for _, alg := range []string{"EdDSA", "RS256"} {
			must(t, w.SignFeedBy(t.Context(), core.Operator(), "chat-1", alg))
			first := w.kids(alg)
			if len(first) != 1 || w.signer(alg, time.Now()) != first[0] {
				t.Errorf("%s: a client that has it is without a signer: %v", alg, first)
			}
			must(t, w.SignFeedBy(t.Context(), core.Operator(), "game-1", alg))
			if again := w.kids(alg); !slices.Equal(again, first) {
				t.Errorf("%s: one more key is made for one more client: %v", alg, again)
			}
		}
		if c, err := w.Client(t.Context(), "game-1"); err != nil || c.FeedAlg != "RS256" || c.Party.ID != "game" || len(c.SecretHash) == 0 {
			t.Errorf("%+v, %v", c, err)
		}
		must(t, w.SignFeedBy(t.Context(), core.Operator(), "game-1", "ES256"))
		for _, alg := range []string{"", "none", "PS256", "HS256"} {
			if err := w.SignFeedBy(t.Context(), core.Operator(), "chat-1", alg); huanxin.KindOf(err) != huanxin.Invalid {
				t.Errorf("%q: %v", alg, err)
			}
		}
		if err := w.SignFeedBy(t.Context(), core.Operator(), "nobody", "ES256"); huanxin.KindOf(err) != huanxin.NotFound {
			t.Error(err)
		}
	})
}

func TestHubsThatMakeTheFirstKeysAtOnceHaveTheSame(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		w.addClient("chat-1", "chat")
		hubs := []*world{w, newHub(t, w.store, w.keys), newHub(t, w.store, w.keys), newHub(t, w.store, w.keys)}
		var wg sync.WaitGroup
		for i, alg := range []string{"ES256", "EdDSA", "EdDSA", "EdDSA"} {
			wg.Go(func() {
				if err := hubs[i].SignFeedBy(t.Context(), core.Operator(), "chat-1", alg); err != nil {
					t.Error(err)
				}
				if _, err := hubs[i].SigningKeys(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for _, alg := range []string{"ES256", "EdDSA"} {
			for _, h := range hubs {
				if got := h.kids(alg); len(got) != 1 || got[0] != w.kids(alg)[0] || h.signer(alg, time.Now()) != got[0] {
					t.Errorf("%s: %v", alg, got)
				}
			}
		}
	})
}

func TestARotationIsOfAllAlgorithmsAndLeavesNoGap(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		w.addClient("chat-1", "chat")
		must(t, w.SignFeedBy(t.Context(), core.Operator(), "chat-1", "EdDSA"))
		other := newHub(t, w.store, w.keys)
		old := map[string][]string{"ES256": w.kids("ES256"), "EdDSA": w.kids("EdDSA")}
		before := time.Now()
		must(t, w.RotateSigningKey(t.Context(), core.Operator()))
		if got := w.recorded(); got.Action != "key.rotate" || got.Subject != w.kids("ES256")[1] {
			t.Errorf("recorded is %+v", got)
		}
		if len(w.kids("RS256")) != 0 {
			t.Error("a key is made that nobody asked for")
		}
		for alg, old := range old {
			now := w.kids(alg)
			if len(now) != 2 || now[0] != old[0] {
				t.Fatalf("%s: %v after %v", alg, now, old)
			}
			for at, want := range map[time.Duration]string{0: now[0], 59 * time.Minute: now[0], 61 * time.Minute: now[1], 300 * dayLong: now[1]} {
				if a, b := w.signer(alg, before.Add(at)), other.signer(alg, before.Add(at)); a != want || b != want {
					t.Errorf("%s, after %v: %s and %s, not %s", alg, at, a, b, want)
				}
			}
			keys, err := w.SigningKeys(t.Context())
			must(t, err)
			ring, err := auth.NewKeyRing(keys...)
			must(t, err)
			for at, want := range map[time.Duration]int{time.Hour + 30*dayLong - time.Minute: 1, time.Hour + 30*dayLong + time.Minute: 0} {
				set := ring.JWKS(before.Add(at))
				if got := len(set.Key(now[0])); got != want {
					t.Errorf("%s: after %v the old key is published %d times", alg, at, got)
				}
			}
		}
	})
}

package outbound

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// clerk writes down what it is given to sign. That auth.KeyRing fits Signer is seen where the two are put together.
type clerk struct{ err error }

func (c clerk) Sign(now time.Time, typ string, claims any) (string, error) {
	data, err := json.Marshal(map[string]any{"now": now, "typ": typ, "claims": claims})
	if err != nil {
		return "", err
	}
	return string(data), c.err
}

func TestAWebhookIsAJWTForItsReceiverOnly(t *testing.T) {
	w := Webhook{Issuer: "https://hub.example.test", URL: "https://app.example/hook", ID: "stp_1", Claims: map[string]any{"step": "overdue"}}
	signed, err := SignWebhook(clerk{}, w, noon)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(signed), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"now": "2026-11-20T12:00:00Z", "typ": "huanxin-webhook+jwt", "claims": map[string]any{
		"iss": "https://hub.example.test", "aud": "https://app.example/hook", "jti": "stp_1",
		"iat": float64(noon.Unix()), "exp": float64(noon.Unix() + 300), "step": "overdue"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("it differs: %s", diff)
	}
	if len(w.Claims) != 1 {
		t.Errorf("the caller's claims were changed: %v", w.Claims)
	}
}

func TestAWebhookWithoutItsPartsOrWithClaimsOfItsOwnIsNotSigned(t *testing.T) {
	good := Webhook{Issuer: "i", URL: "u", ID: "j"}
	if _, err := SignWebhook(clerk{}, good, noon); err != nil {
		t.Error(err)
	}
	for _, spoil := range []func(*Webhook){
		func(w *Webhook) { w.Issuer = "" },
		func(w *Webhook) { w.URL = "" },
		func(w *Webhook) { w.ID = "" },
		func(w *Webhook) { w.Claims = map[string]any{"iss": "x"} },
		func(w *Webhook) { w.Claims = map[string]any{"aud": "x"} },
		func(w *Webhook) { w.Claims = map[string]any{"exp": 1} },
		func(w *Webhook) { w.Claims = map[string]any{"iat": 1} },
		func(w *Webhook) { w.Claims = map[string]any{"jti": "x"} },
	} {
		w := good
		spoil(&w)
		if _, err := SignWebhook(clerk{}, w, noon); err == nil {
			t.Errorf("%+v is signed", w)
		}
	}
}

func TestASentWebhookArrivesSigned(t *testing.T) {
	var kind, body string
	url, roots, count := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		kind, body = r.Header.Get("Content-Type"), string(data)
		w.WriteHeader(http.StatusNoContent)
	})
	c := Client(Options{AllowLoopback: true, RootCAs: roots, Resolver: name("example.com", []string{"127.0.0.1"})})
	w := Webhook{Issuer: "i", URL: url, ID: "j"}
	a, err := w.Send(t.Context(), c, clerk{}, noon)
	if err != nil || a.Status != http.StatusNoContent {
		t.Fatalf("status %d, %v", a.Status, err)
	}
	if want, _ := SignWebhook(clerk{}, w, noon); kind != "application/jwt" || body != want {
		t.Errorf("the receiver got %s: %s", kind, body)
	}
	if _, err := w.Send(t.Context(), c, clerk{err: errors.New("no key")}, noon); err == nil || count.Load() != 1 {
		t.Errorf("without a signature: %v, %d requests", err, count.Load())
	}
}

package client_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
)

const hubURL = "https://hub.example"

// publisher is a hub of which there are only keys. It signs what it is told to.
type publisher struct {
	t     *testing.T
	keys  []jose.JSONWebKey // private ones; what is published is their public part
	reads int
	down  bool
}

func newPublisher(t *testing.T) *publisher {
	p := &publisher{t: t}
	p.rotate("es-1", jose.ES256)
	return p
}

// rotate publishes one more key.
func (p *publisher) rotate(kid string, alg jose.SignatureAlgorithm) {
	p.keys = append(p.keys, newKey(p.t, kid, alg))
}

func newKey(t *testing.T, kid string, alg jose.SignatureAlgorithm) jose.JSONWebKey {
	t.Helper()
	var key crypto.Signer
	var err error
	switch alg {
	case jose.ES256:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jose.EdDSA:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case jose.RS256:
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: key, KeyID: kid, Algorithm: string(alg), Use: "sig"}
}

func (p *publisher) RoundTrip(r *http.Request) (*http.Response, error) {
	if p.down {
		return nil, errors.New("connection refused")
	}
	if r.URL.String() != hubURL+"/jwks.json" {
		return nil, errors.New("unexpected: " + r.URL.Path)
	}
	p.reads++
	var set jose.JSONWebKeySet
	for _, k := range p.keys {
		set.Keys = append(set.Keys, k.Public())
	}
	body, err := json.Marshal(set)
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(body)), Request: r}, err
}

func (p *publisher) client() *client.Client {
	return client.New(client.Options{URL: hubURL, ID: "shop", HTTP: &http.Client{Transport: p}})
}

type object = map[string]any

// recycled are good claims.
func recycled() object {
	return object{"iss": hubURL, "aud": "shop", "jti": "j1", "iat": time.Now().Unix(), "txn": "ten_1",
		"sub_id": object{"format": "phone_number", "phone_number": number},
		"events": object{huanxin.IdentifierRecycled.String(): object{"huanxin_reason": "reassigned"}}}
}

// with changes members of claims; nil takes one away.
func with(claims object, members object) object {
	for k, v := range members {
		if claims[k] = v; v == nil {
			delete(claims, k)
		}
	}
	return claims
}

// event is claims with another event.
func event(t huanxin.EventType, payload any) object {
	return with(recycled(), object{"events": object{t.String(): payload}})
}

func sign(t *testing.T, key jose.JSONWebKey, typ string, claims any) string {
	t.Helper()
	o := &jose.SignerOptions{}
	if typ != "" {
		o.WithType(jose.ContentType(typ))
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(key.Algorithm), Key: key}, o)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := s.Sign(body)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func (p *publisher) set(claims any) string {
	p.t.Helper()
	return sign(p.t, p.keys[len(p.keys)-1], "secevent+jwt", claims)
}

// unsigned is a token of alg none.
func unsigned(claims object) string {
	body, _ := json.Marshal(claims)
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"secevent+jwt"}`)) + "." + base64.RawURLEncoding.EncodeToString(body) + "."
}

func TestASETOfTheHubIsRead(t *testing.T) {
	t.Parallel()
	p := newPublisher(t)
	c := p.client()
	task := object{"event_timestamp": 1, "id": "task_1", "app": "shop", "kind": "unbind", "due_at": "2026-12-04T00:00:00+08:00", "digest": "d", "state": "queued",
		"tenure": object{"id": "ten_1", "started_at": "2026-11-20T10:00:00+08:00", "origin": "reassigned"}, "unheard_of": []int{1}}
	about := func(id string) object { return object{"format": "opaque", "id": id} }
	for _, x := range []struct {
		claims object
		want   string
	}{
		{recycled(), "recycled: reassigned, txn ten_1, number"},
		{event(huanxin.IdentifierRecycled, object{"huanxin_reason": "transferred", "huanxin_tenure_started_at": "2026-11-20T10:00:00+08:00"}),
			"recycled: transferred, txn ten_1, number, since 2026-11-20T02:00:00Z"},
		{event(huanxin.NumberReleased, object{"event_timestamp": 1}), "released: txn ten_1, number"},
		{event(huanxin.UnbindRequested, task), "requested: txn ten_1, number, task task_1 unbind reassigned d"},
		{event(huanxin.UnbindCancelled, object{"task_id": "task_1", "reason": "aborted"}), "cancelled: aborted, txn ten_1, number, task task_1"},
		{event(huanxin.RecycleRetracted, object{"retracts": "j0"}), "retracted: txn ten_1, number, retracts j0"},
		{event(huanxin.RecycleRetracted, object{"retracts": "j0", "task_id": "task_1"}), "retracted: txn ten_1, number, task task_1, retracts j0"},
		{with(event(huanxin.StreamVerification, object{"state": "s"}), object{"sub_id": about("st_1"), "txn": nil}), "verification: stream st_1, state s"},
		{with(event(huanxin.StreamUpdated, object{"status": "paused", "reason": "moving"}), object{"sub_id": about("st_1"), "txn": nil}), "updated: moving, stream st_1, status paused"},
		{with(recycled(), object{"aud": []string{"other", "shop"}}), "recycled: reassigned, txn ten_1, number"},
		{with(recycled(), object{"events": object{"urn:huanxin:event:lot-announced": object{"lot_id": "l"}}}), "urn:huanxin:event:lot-announced: txn ten_1, number"},
	} {
		s, err := c.Verify(t.Context(), p.set(x.claims))
		if err != nil || s.JTI != "j1" || time.Since(s.IssuedAt) > time.Minute {
			t.Errorf("%s: %v %v", x.want, s.JTI, err)
			continue
		}
		if got := words(s); got != x.want {
			t.Errorf("got  %s\nwant %s", got, x.want)
		}
	}
	if p.reads != 1 {
		t.Errorf("the keys were read %d times", p.reads)
	}
}

// words is a SET as a line.
func words(s client.SET) string {
	name := map[huanxin.EventType]string{huanxin.IdentifierRecycled: "recycled", huanxin.NumberReleased: "released", huanxin.UnbindRequested: "requested",
		huanxin.UnbindCancelled: "cancelled", huanxin.RecycleRetracted: "retracted", huanxin.StreamVerification: "verification", huanxin.StreamUpdated: "updated"}[s.Type]
	if name == "" {
		name = s.URI
	}
	var parts []string
	add := func(what, v string) {
		if v != "" {
			parts = append(parts, strings.TrimSpace(what+" "+v))
		}
	}
	add("", s.Reason)
	add("txn", s.Txn)
	if s.Number.E164() == number {
		parts = append(parts, "number")
	}
	if !s.StartedAt.IsZero() {
		add("since", s.StartedAt.UTC().Format(time.RFC3339))
	}
	if s.Task.ID != "" {
		add("task", fmt.Sprintf("%s %s %s %s", s.Task.ID, s.Task.Kind, s.Task.Tenure.Origin, s.Task.Digest))
	} else {
		add("task", s.TaskID)
	}
	add("retracts", s.Retracts)
	add("stream", s.Stream)
	add("state", s.State)
	add("status", s.Status)
	return name + ": " + strings.Join(parts, ", ")
}

func TestWhatIsNoSETOfTheHubIsRefusedAndSaysWhy(t *testing.T) {
	t.Parallel()
	p := newPublisher(t)
	c := p.client()
	good := p.set(recycled())
	head, rest, _ := strings.Cut(good, ".")
	claims, signature, _ := strings.Cut(rest, ".")
	foreign := newKey(t, "es-1", jose.ES256) // another key under the hub's kid
	hmac := jose.JSONWebKey{Key: []byte("a secret that is long enough for it"), KeyID: "es-1", Algorithm: string(jose.HS256)}
	ed := newKey(t, "es-1", jose.EdDSA)
	task := object{"id": "task_1", "tenure": object{"id": "t"}, "digest": "d"}
	for name, x := range map[string]struct{ token, err string }{
		"nothing":                     {"", "invalid_request"},
		"no token":                    {"hello", "invalid_request"},
		"alg none":                    {unsigned(recycled()), "invalid_request"},
		"alg none with a signature":   {unsigned(recycled()) + signature, "invalid_request"},
		"an HMAC":                     {sign(t, hmac, "secevent+jwt", recycled()), "invalid_request"},
		"another key of the same kid": {sign(t, foreign, "secevent+jwt", recycled()), "authentication_failed"},
		"another algorithm":           {sign(t, ed, "secevent+jwt", recycled()), "invalid_key"},
		"changed claims":              {head + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"x"}`)) + "." + signature, "authentication_failed"},
		"no signature":                {head + "." + claims + ".", "authentication_failed"},
		"an access token":             {sign(t, p.keys[0], "at+jwt", recycled()), "invalid_request"},
		"no typ":                      {sign(t, p.keys[0], "", recycled()), "invalid_request"},
		"claims that are no object":   {p.set([]string{"x"}), "invalid_request"},
		"another issuer":              {p.set(with(recycled(), object{"iss": "https://other.example"})), "invalid_issuer"},
		"another audience":            {p.set(with(recycled(), object{"aud": "bank"})), "invalid_audience"},
		"no audience":                 {p.set(with(recycled(), object{"aud": nil})), "invalid_audience"},
		"no jti":                      {p.set(with(recycled(), object{"jti": nil})), "invalid_request"},
		"no iat":                      {p.set(with(recycled(), object{"iat": nil})), "invalid_request"},
		"iat ahead":                   {p.set(with(recycled(), object{"iat": time.Now().Add(time.Hour).Unix()})), "invalid_request"},
		"an exp":                      {p.set(with(recycled(), object{"exp": time.Now().Add(time.Hour).Unix()})), "invalid_request"},
		"a sub":                       {p.set(with(recycled(), object{"sub": "x"})), "invalid_request"},
		"no event":                    {p.set(with(recycled(), object{"events": object{}})), "invalid_request"},
		"two events":                  {p.set(with(recycled(), object{"events": object{"urn:a": object{}, "urn:b": object{}}})), "invalid_request"},
		"an event that is no object":  {p.set(event(huanxin.NumberReleased, "x")), "invalid_request"},
		"an event of a wrong type":    {p.set(event(huanxin.UnbindCancelled, object{"task_id": 1})), "invalid_request"},
		"a subject that is no number": {p.set(with(recycled(), object{"sub_id": object{"format": "phone_number", "phone_number": "12"}})), "invalid_request"},
		"a subject that is a mailbox": {p.set(with(recycled(), object{"sub_id": object{"format": "email", "email": "a@b.example"}})), "invalid_request"},
		"a task without a number":     {p.set(with(event(huanxin.UnbindRequested, task), object{"sub_id": nil})), "invalid_request"},
		"a task without a digest":     {p.set(event(huanxin.UnbindRequested, object{"id": "task_1", "tenure": object{"id": "t"}})), "invalid_request"},
		"an end of no task":           {p.set(event(huanxin.UnbindCancelled, object{"reason": "aborted"})), "invalid_request"},
		"a retraction of nothing":     {p.set(event(huanxin.RecycleRetracted, object{"task_id": "task_1"})), "invalid_request"},
		"a status of no stream":       {p.set(event(huanxin.StreamUpdated, object{"status": "paused"})), "invalid_request"},
	} {
		_, err := c.Verify(t.Context(), x.token)
		var refusal *client.SetError
		if !errors.As(err, &refusal) || refusal.Err != x.err || refusal.Description == "" {
			t.Errorf("%s: %v, want %s", name, err, x.err)
		}
		if err != nil && strings.Contains(err.Error(), number[4:]) {
			t.Errorf("%s: the error tells the number", name)
		}
	}
	if _, err := c.Verify(t.Context(), good); err != nil {
		t.Error(err)
	}
}

// TestKeysAreReadAgainWhenTheyChange: one that is new to the client is looked for, at most every 5 seconds, and one that the hub
// withdrew is believed for an hour at most.
func TestKeysAreReadAgainWhenTheyChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPublisher(t)
		c := p.client()
		verify := func(token string) error {
			t.Helper()
			_, err := c.Verify(context.Background(), token)
			return err
		}
		p.down = true
		if err := verify(p.set(recycled())); err == nil || errors.As(err, new(*client.SetError)) {
			t.Errorf("a SET was refused for good because the keys could not be read: %v", err)
		}
		p.down = false
		first := p.set(recycled())
		for range 3 {
			if err := verify(first); err != nil {
				t.Fatal(err)
			}
		}
		p.rotate("ed-1", jose.EdDSA)
		if err := verify(p.set(recycled())); huanxin.KindOf(err) != huanxin.Unavailable {
			t.Errorf("right after the keys were read: %v", err)
		}
		time.Sleep(5 * time.Second)
		if err := verify(p.set(recycled())); err != nil {
			t.Error(err)
		}
		p.rotate("rs-1", jose.RS256)
		time.Sleep(5 * time.Second)
		if err := verify(p.set(recycled())); err != nil {
			t.Error(err)
		}
		if err := verify(first); err != nil || p.reads != 3 {
			t.Errorf("%v, after %d reads", err, p.reads)
		}
		time.Sleep(5 * time.Second)
		unknown := sign(t, newKey(t, "es-9", jose.ES256), "secevent+jwt", recycled())
		if err := verify(unknown); err == nil || !strings.HasPrefix(err.Error(), "invalid_key") || p.reads != 4 {
			t.Errorf("a key that there is not: %v, after %d reads", err, p.reads)
		}
		p.keys = p.keys[1:]
		if err := verify(first); err != nil {
			t.Error("a key was withdrawn a moment ago:", err)
		}
		time.Sleep(time.Hour)
		if err := verify(first); err == nil || !strings.HasPrefix(err.Error(), "invalid_key") {
			t.Errorf("a key that was withdrawn an hour ago: %v", err)
		}
	})
}

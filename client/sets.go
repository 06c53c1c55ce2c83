package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/huanxin-platform/huanxin"
)

// SET is a security event token (RFC 8417) of the hub's whose signature, issuer and audience were verified.
type SET struct {
	JTI      string
	IssuedAt time.Time
	// Txn is the same in all SETs of one cause.
	Txn string
	// URI is its type of event, and Type the same if this package knows it; 0: the event may be acknowledged and left alone.
	URI  string
	Type huanxin.EventType
	// Number is whom it is about; zero: a stream.
	Number huanxin.Number
	// Stream is the stream that a verification or stream-updated is about.
	Stream string
	// Task is the task of unbind-requested, its number included.
	Task Task
	// TaskID is the task of unbind-cancelled, and of a recycle-retracted that is about one.
	TaskID string
	// Reason of identifier-recycled: reassigned or transferred; of unbind-cancelled: cancelled or aborted; of stream-updated: why.
	Reason string
	// StartedAt is when the tenure began, of identifier-recycled and if the contract grants it; else zero.
	StartedAt time.Time
	// Retracts is the jti of the SET that recycle-retracted takes back.
	Retracts string
	// State is what a verification echoes, Status what a stream was set to.
	State, Status string
}

// setAlgs are the algorithms by which the hub may sign SETs.
var setAlgs = []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA, jose.RS256}

const (
	typSET = "secevent+jwt"
	// setSkew is by how much the hub's clock may be ahead.
	setSkew = time.Minute
	// keysEvery is how often the hub's keys are read at most, whatever keys SETs name, and keysFor for how long they are believed:
	// one that the hub withdrew is then no longer taken.
	keysEvery = 5 * time.Second
	keysFor   = time.Hour
	maxKeys   = 1 << 20
)

// hubKeys are the hub's published keys.
type hubKeys struct {
	sync.Mutex
	set  jose.JSONWebKeySet
	read time.Time
}

func (k *hubKeys) find(ctx context.Context, c *Client, kid string) (jose.JSONWebKey, error) {
	k.Lock()
	defer k.Unlock()
	age := time.Since(k.read)
	found := k.set.Key(kid)
	switch {
	case age >= keysFor, len(found) == 0 && age >= keysEvery:
		set, err := c.readKeys(ctx)
		if err != nil {
			return jose.JSONWebKey{}, err
		}
		k.set, k.read = set, time.Now()
		found = k.set.Key(kid)
	case len(found) == 0: // it may have been published since: that is no reason to refuse a SET for good
		return jose.JSONWebKey{}, huanxin.Errorf(huanxin.Unavailable, "unknown_key", "the hub had no key of this kid a moment ago")
	}
	if len(found) == 0 {
		return jose.JSONWebKey{}, &SetError{"invalid_key", "the hub publishes no key of this kid"}
	}
	return found[0], nil
}

func (c *Client) readKeys(ctx context.Context) (set jose.JSONWebKeySet, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.o.URL+"/jwks.json", nil)
	if err != nil {
		return set, err
	}
	resp, err := c.o.HTTP.Do(req)
	if err != nil {
		return set, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return set, huanxin.Errorf(huanxin.Unavailable, "no_keys", "the hub's keys cannot be read: "+resp.Status)
	}
	return set, json.NewDecoder(io.LimitReader(resp.Body, maxKeys)).Decode(&set)
}

// claims are those of a SET. exp and sub must not be there (SSF 1.0 §4.1.7, §4.1.2).
type claims struct {
	Issuer   string           `json:"iss"`
	Audience jwt.Audience     `json:"aud"`
	JTI      string           `json:"jti"`
	IssuedAt *jwt.NumericDate `json:"iat"`
	Expires  json.RawMessage  `json:"exp"`
	Sub      json.RawMessage  `json:"sub"`
	Txn      string           `json:"txn"`
	Subject  struct {
		Format string `json:"format"`
		Number string `json:"phone_number"`
		ID     string `json:"id"`
	} `json:"sub_id"`
	Events map[string]json.RawMessage `json:"events"`
}

// Verify verifies a SET that the hub is said to have signed for this client. A *SetError says why it is none, and is what a
// receiver tells the hub; any other error says that it cannot be told now.
func (c *Client) Verify(ctx context.Context, token string) (SET, error) {
	signed, err := jwt.ParseSigned(token, setAlgs)
	if err != nil {
		return SET{}, &SetError{"invalid_request", "this is no token signed with ES256, EdDSA or RS256"}
	}
	head := signed.Headers[0]
	if typ, _ := head.ExtraHeaders[jose.HeaderType].(string); typ != typSET {
		return SET{}, &SetError{"invalid_request", "typ is not " + typSET}
	}
	key, err := c.keys.find(ctx, c, head.KeyID)
	if err != nil {
		return SET{}, err
	}
	if key.Algorithm != head.Algorithm {
		return SET{}, &SetError{"invalid_key", "the key is for another algorithm"}
	}
	var in claims
	if err := signed.Claims(key.Key, &in); err != nil {
		if errors.Is(err, jose.ErrCryptoFailure) {
			return SET{}, &SetError{"authentication_failed", "the signature is wrong"}
		}
		return SET{}, &SetError{"invalid_request", "the claims cannot be read"}
	}
	return c.accept(&in)
}

func (c *Client) accept(in *claims) (SET, error) {
	switch {
	case in.Issuer != c.o.URL:
		return SET{}, &SetError{"invalid_issuer", "iss is not the hub"}
	case !slices.Contains(in.Audience, c.o.ID):
		return SET{}, &SetError{"invalid_audience", "aud is not this client"}
	case in.JTI == "" || in.IssuedAt == nil || in.IssuedAt.Time().After(time.Now().Add(setSkew)):
		return SET{}, &SetError{"invalid_request", "jti and iat are needed, and iat may not lie in the future"}
	case in.Expires != nil || in.Sub != nil:
		return SET{}, &SetError{"invalid_request", "a SET has neither exp nor sub"}
	case len(in.Events) != 1:
		return SET{}, &SetError{"invalid_request", "a SET carries one event"}
	}
	s := SET{JTI: in.JTI, IssuedAt: in.IssuedAt.Time(), Txn: in.Txn}
	for uri, payload := range in.Events {
		s.URI = uri
		s.Type, _ = huanxin.ParseEventType(uri) // 0: one that came after this package
		if err := s.read(in, payload); err != nil {
			return SET{}, &SetError{"invalid_request", "the event cannot be read: " + err.Error()}
		}
	}
	return s, nil
}

// read reads the event. What is not known is ignored (SSF 1.0 §4.2.3); what its type needs must be there.
func (s *SET) read(in *claims, payload json.RawMessage) error {
	if in.Subject.Format == "phone_number" {
		n, err := huanxin.ParseNumber(in.Subject.Number)
		if err != nil {
			return errors.New("sub_id is no phone number")
		}
		s.Number = n
	}
	var p struct {
		Why       string    `json:"huanxin_reason"`
		Reason    string    `json:"reason"`
		StartedAt time.Time `json:"huanxin_tenure_started_at"`
		TaskID    string    `json:"task_id"`
		Retracts  string    `json:"retracts"`
		State     string    `json:"state"`
		Status    string    `json:"status"`
	}
	if len(payload) == 0 || payload[0] != '{' || json.Unmarshal(payload, &p) != nil {
		return errors.New("it is no object of its type")
	}
	missing := s.Number.IsZero()
	if s.Type != huanxin.UnbindRequested {
		s.Reason, s.StartedAt, s.TaskID, s.Retracts, s.State, s.Status = p.Reason+p.Why, p.StartedAt, p.TaskID, p.Retracts, p.State, p.Status
	}
	switch s.Type {
	case huanxin.UnbindRequested:
		if json.Unmarshal(payload, &s.Task) != nil {
			return errors.New("it is no task")
		}
		s.Task.Number, s.TaskID = s.Number.E164(), s.Task.ID
		missing = missing || s.Task.ID == "" || s.Task.Tenure.ID == "" || s.Task.Digest == ""
	case huanxin.IdentifierRecycled, huanxin.NumberReleased:
	case huanxin.UnbindCancelled:
		missing = s.TaskID == ""
	case huanxin.RecycleRetracted:
		missing = s.Retracts == ""
	case huanxin.StreamVerification, huanxin.StreamUpdated:
		s.Stream = in.Subject.ID
		missing = s.Stream == "" || s.Type == huanxin.StreamUpdated && s.Status == ""
	default:
		missing = false
	}
	if missing {
		return errors.New("it lacks what its type needs")
	}
	return nil
}

package replica

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/huanxin-platform/huanxin"
)

const (
	// ContentType is that of a replica on the wire.
	ContentType = "application/vnd.huanxin.replica"
	// Type is the typ of a manifest's header (RFC 7515 §4.1.9): a JWT that was signed for anything else is none.
	Type = "huanxin-replica+jwt"

	footerMark  = "HXREPL1\n"
	footerEnd   = 8 + len(footerMark)
	maxManifest = 1 << 20
)

// Manifest is what the hub says of a replica and signs.
type Manifest struct {
	Issuer   string `json:"iss"` // the hub's URL
	Audience string `json:"aud"` // the id of the client that pulled it
	// IssuedAt is when the pull began, in seconds of Unix time: everything in the replica was true then, or is newer.
	IssuedAt int64 `json:"iat"`
	// AsOf is a position in the number log: every event up to it is in every number.
	AsOf  int64  `json:"as_of"`
	Scope string `json:"scope"` // uploaded or whole
	Zone  string `json:"zone"`  // the time zone whose days the marks count
	// Numbers is how many numbers are in it: of a whole index, which is followed meanwhile, about so many.
	Numbers int64 `json:"numbers"`
	// Size and SHA256 (in hex) are of the snapshot.
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
	// Fresh is until when each carrier had told everything.
	Fresh map[string]time.Time `json:"fresh"`
	// LateAfter is how far, in seconds, a carrier's word may lag behind at this hub before its numbers have no answer; 0: however far.
	LateAfter int64 `json:"late_after,omitempty"`
}

// Meta gives what a snapshot says of itself, so that it is seen at once to which manifest it belongs.
func (m *Manifest) Meta() []byte {
	b, _ := json.Marshal(struct { // of strings and integers alone it does not fail
		Form     string `json:"form"`
		Issuer   string `json:"iss"`
		Audience string `json:"aud"`
		IssuedAt int64  `json:"iat"`
		AsOf     int64  `json:"as_of"`
		Scope    string `json:"scope"`
		Zone     string `json:"zone"`
	}{"huanxin replica 1", m.Issuer, m.Audience, m.IssuedAt, m.AsOf, m.Scope, m.Zone})
	return b
}

// AppendFooter appends what follows the snapshot: the signed manifest in its frame.
func AppendFooter(b []byte, jws string) []byte {
	b = append(b, jws...)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(jws)))
	return append(b, footerMark...)
}

// readFooter gives how long the snapshot is that a body of this length begins with, and the manifest behind it.
func readFooter(body io.ReaderAt, length int64) (size int64, jws string, err error) {
	var end [footerEnd]byte
	if length < int64(footerEnd) {
		return 0, "", refused("it broke off")
	}
	if _, err := body.ReadAt(end[:], length-int64(footerEnd)); err != nil {
		return 0, "", err
	}
	n := binary.LittleEndian.Uint64(end[:])
	if string(end[8:]) != footerMark || n > maxManifest || int64(n) > length-int64(footerEnd) {
		return 0, "", refused("it broke off: it does not end as a replica does")
	}
	b := make([]byte, n)
	size = length - int64(footerEnd) - int64(n)
	if _, err := body.ReadAt(b, size); err != nil {
		return 0, "", err
	}
	return size, string(b), nil
}

// ErrRefused says that something is not a replica that can be trusted. The old one, if there is one, stays.
var ErrRefused = errors.New("the replica is refused")

// ErrFuture is ErrRefused for a replica that was made later than it is here. Either clock is wrong; if it is ours, nothing is as
// young as it seems.
var ErrFuture = fmt.Errorf("%w: its manifest is from the future: look at the clocks", ErrRefused)

func refused(why string) error { return fmt.Errorf("%w: %s", ErrRefused, why) }

// verify gives a manifest that one of the keys (a JSON Web Key Set) signed with ES256.
func verify(jws string, keySet []byte) (m Manifest, err error) {
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal(keySet, &keys); err != nil {
		return m, refused("the key set cannot be read")
	}
	signed, err := jose.ParseSignedCompact(jws, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return m, refused("its manifest is not signed with ES256")
	}
	// Base64 has several forms of one thing; only the canonical one is taken.
	if canonical, err := signed.CompactSerialize(); err != nil || canonical != jws {
		return m, refused("its manifest is not in canonical form")
	}
	if !plainHeader(jws) {
		return m, refused("its manifest's header is not that of a replica")
	}
	kid := signed.Signatures[0].Protected.KeyID
	payload, err := signed.Verify(keyOf(&keys, kid))
	if err != nil {
		return m, refused("its manifest is not signed by a key of the hub")
	}
	if err := json.Unmarshal(payload, &m); err != nil {
		return m, refused("its manifest cannot be read")
	}
	if scope, err := huanxin.ParseReplicaGrant(m.Scope); err != nil || scope == huanxin.NoReplica {
		return m, refused("its manifest names an unknown scope")
	}
	if _, err := zone(m.Zone); err != nil {
		return m, refused("its manifest names an unknown time zone")
	}
	return m, nil
}

// plainHeader reports whether a JWS's header has alg, kid and the right typ, and nothing else: nothing that brings a key
// of its own (RFC 8725 §3.10) or asks for processing that is not done.
func plainHeader(jws string) bool {
	head, _, _ := strings.Cut(jws, ".")
	text, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		return false
	}
	var h struct {
		Alg, Kid, Typ string
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(&h) == nil && h.Typ == Type && h.Kid != ""
}

// keyOf gives the key of a set with an id if it is one for ES256 signatures, else nothing that verifies.
func keyOf(keys *jose.JSONWebKeySet, kid string) any {
	for _, k := range keys.Key(kid) {
		if k.Algorithm == string(jose.ES256) && k.Use == "sig" && k.IsPublic() && k.Valid() {
			return k.Key
		}
	}
	return nil
}

// zone gives a time zone by its name. China's is there on a machine without a zone database, too.
func zone(name string) (*time.Location, error) {
	switch name {
	case huanxin.China.String():
		return huanxin.China, nil
	case "", "Local":
		return nil, errors.New("no zone")
	}
	return time.LoadLocation(name)
}

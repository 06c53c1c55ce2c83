package replica_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/auth"
	"github.com/huanxin-platform/huanxin/internal/index"
	"github.com/huanxin-platform/huanxin/internal/index/replica"
)

const (
	issuer = "https://hub.example"
	app    = "pay-1"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// hub is what a replica is pulled from in these tests: it signs with real keys and sends whatever it is told to.
type hub struct {
	t    testing.TB
	ring *auth.KeyRing
	body func() []byte
	// broken ends the body with this error instead of io.EOF.
	broken error
	// during runs before the body is read.
	during func()
}

func newHub(t testing.TB) *hub {
	t.Helper()
	ring, err := auth.NewKeyRing(auth.NewSigningKey(time.Now().Add(-time.Hour)))
	must(t, err)
	return &hub{t: t, ring: ring}
}

func (h *hub) Replica(context.Context) (io.ReadCloser, error) {
	if h.during != nil {
		h.during()
	}
	var r io.Reader = bytes.NewReader(h.body())
	if h.broken != nil {
		r = io.MultiReader(r, failing{h.broken})
	}
	return io.NopCloser(r), nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func (h *hub) KeySet(context.Context) ([]byte, error) { return json.Marshal(h.ring.JWKS(time.Now())) }

// fresh is a manifest as a hub fills it in before it writes.
func fresh(scope huanxin.ReplicaGrant) replica.Manifest {
	return replica.Manifest{Issuer: issuer, Audience: app, IssuedAt: time.Now().Unix(), AsOf: 7, Scope: scope.String(),
		Zone: huanxin.China.String(), Fresh: map[string]time.Time{"cmcc": time.Unix(1_790_000_000, 0).UTC()}}
}

// snapshot writes an index for a manifest and fills in what follows from it.
func snapshot(t testing.TB, x *index.Index, m *replica.Manifest) []byte {
	t.Helper()
	var b bytes.Buffer
	n, err := x.WriteTo(&b, m.Meta(), false)
	must(t, err)
	sum := sha256.Sum256(b.Bytes())
	m.Size, m.SHA256, m.Numbers = n, hex.EncodeToString(sum[:]), x.Len()
	return b.Bytes()
}

// sealed signs a manifest under a typ and puts it behind a snapshot.
func (h *hub) sealed(snapshot []byte, m replica.Manifest, typ string) []byte {
	h.t.Helper()
	jws, err := h.ring.Sign(time.Now(), typ, m)
	must(h.t, err)
	return replica.AppendFooter(slices.Clone(snapshot), jws)
}

// marks is a hub's index as a map.
type marks map[uint64]huanxin.Mark

func (ms marks) look(digits []uint64, out []uint16) error {
	for i, d := range digits {
		out[i] = uint16(ms[d])
	}
	return nil
}

// uploaded makes the body of a replica of these numbers, ascending.
func (h *hub) uploaded(known marks, m replica.Manifest, numbers ...uint64) []byte {
	h.t.Helper()
	x, err := replica.Uploaded(numbers, known.look)
	must(h.t, err)
	defer func() { must(h.t, x.Close()) }()
	return h.sealed(snapshot(h.t, x, &m), m, replica.Type)
}

func wanted() replica.Wanted { return replica.Wanted{Issuer: issuer, Audience: app} }

// pulls pulls what must be taken.
func (h *hub) pulls(path string, body []byte) {
	h.t.Helper()
	h.body = func() []byte { return body }
	_, err := replica.Pull(context.Background(), h, path, wanted())
	must(h.t, err)
}

// refuses pulls what must not be taken, after which the replica that was at path is still there.
func (h *hub) refuses(what, path string, body []byte) {
	h.t.Helper()
	before := files(h.t, path)
	h.body = func() []byte { return body }
	if _, err := replica.Pull(context.Background(), h, path, wanted()); !errors.Is(err, replica.ErrRefused) {
		h.t.Errorf("%s: %v", what, err)
	}
	if after := files(h.t, path); !slices.Equal(before, after) {
		h.t.Errorf("%s: before %v, after %v", what, before, after)
	}
}

// files gives each file of path's directory with its digest.
func files(t testing.TB, path string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	must(t, err)
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(filepath.Dir(path), e.Name()))
		must(t, err)
		sum := sha256.Sum256(text)
		out = append(out, e.Name()+" "+hex.EncodeToString(sum[:8]))
	}
	return out
}

func opened(t testing.TB, path string) *replica.Replica {
	t.Helper()
	r, err := replica.Open(path)
	must(t, err)
	t.Cleanup(func() { must(t, r.Close()) })
	return r
}

func look(r *replica.Replica, digits ...uint64) []uint16 {
	out := make([]uint16, len(digits))
	r.Lookup(digits, out)
	for i, d := range digits {
		if one := r.Mark(d); one != out[i] {
			panic(fmt.Sprint("alone it is ", one, ", not ", out[i]))
		}
	}
	return out
}

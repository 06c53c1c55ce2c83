package replica_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/index"
	"github.com/huanxin-platform/huanxin/internal/index/replica"
)

const first = 8613800000000

var known = marks{first + 1: huanxin.MarkNoHolder, first + 2: 40001, first + 3: huanxin.MarkUndecided, 85260000000: 81}

func TestAReplicaIsPulledAndAnswers(t *testing.T) {
	h, path := newHub(t), filepath.Join(t.TempDir(), "replica")
	m := fresh(huanxin.ReplicaUploaded)
	var seen int64
	body := h.uploaded(known, m, first+1, first+2, first+3, first+9, 85260000000+0)
	h.body = func() []byte { return body }
	w := wanted()
	w.Progress = func(n int64) { seen = n }
	got, err := replica.Pull(t.Context(), h, path, w)
	must(t, err)
	if seen != int64(len(body)) || got.Numbers != 5 {
		t.Errorf("progress %d of %d, %+v", seen, len(body), got)
	}
	r := opened(t, path)
	want := []uint16{uint16(huanxin.MarkNoHolder), 40001, uint16(huanxin.MarkUndecided), uint16(huanxin.MarkAbsent), 81, 0, 0}
	if got := look(r, first+1, first+2, first+3, first+9, 85260000000, first+8, 85260000001); !slices.Equal(got, want) {
		t.Errorf("marks %v, want %v", got, want)
	}
	if r.AsOf() != 7 || r.IssuedAt().Unix() != m.IssuedAt || r.Scope() != huanxin.ReplicaUploaded || r.Zone() != huanxin.China ||
		!maps.Equal(r.Fresh(), m.Fresh) || r.Len() != 5 || r.Damaged() {
		t.Errorf("%+v", r.Manifest())
	}
	must(t, r.Verify(t.Context()))
	for _, name := range []string{path, path + ".manifest", path + ".jwks"} {
		if info, err := os.Stat(name); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
	if len(files(t, path)) != 3 {
		t.Errorf("something is left over: %v", files(t, path))
	}
}

// The number that a mobile number lies under when its block has few is no number that anybody can be asked about.
func TestWhereANumberLiesIsNoNumber(t *testing.T) {
	h, path := newHub(t), filepath.Join(t.TempDir(), "replica")
	h.pulls(path, h.uploaded(known, fresh(huanxin.ReplicaUploaded), first+1))
	const away = 999_000_000_000_000 + first - 8610000000000 + 1
	if got := look(opened(t, path), away); got[0] != 0 {
		t.Errorf("mark %d", got[0])
	}
	if n, err := huanxin.ParseNumber(fmt.Sprintf("+%d", uint64(away))); err != nil || replica.Takes(n) {
		t.Errorf("it may be uploaded: %v", err)
	}
	for text, want := range map[string]bool{"+8613800000001": true, "+85260000000": true, "+86700123456789012": false, "+999010000000000": true} {
		if n, err := huanxin.ParseNumber(text); err != nil || replica.Takes(n) != want {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestAReplicaHoldsExactlyWhatWasUploaded(t *testing.T) {
	h := newHub(t)
	rapid.Check(t, func(rt *rapid.T) {
		path := filepath.Join(t.TempDir(), "replica")
		// Blocks with few numbers, with about as many as decide where they lie, full ones, and numbers of elsewhere.
		all := map[uint64]bool{}
		for range rapid.IntRange(0, 4).Draw(rt, "blocks") {
			from := uint64(8610000000000) + 10_000*uint64(rapid.SampledFrom([]int{0, 1, 2, 500, 999_999}).Draw(rt, "block"))
			n := rapid.SampledFrom([]int{1, 3, 998, 999, 1000, 1001, 4096, 10_000}).Draw(rt, "numbers")
			step := rapid.SampledFrom([]int{1, 7, 9999}).Draw(rt, "step")
			for i := range n {
				all[from+uint64(i*step%10_000)] = true
			}
		}
		for _, d := range rapid.SliceOfN(rapid.SampledFrom([]uint64{85260000000, 8609999999999, 8620000000000, 12025550123, index.MaxDigits}), 0, 3).Draw(rt, "others") {
			all[d] = true
		}
		numbers := slices.Sorted(maps.Keys(all))
		hubs := marks{}
		for i, d := range numbers {
			if i%3 > 0 {
				hubs[d] = huanxin.Mark(4*(i%9000) + 1)
			}
		}
		h.pulls(path, h.uploaded(hubs, fresh(huanxin.ReplicaUploaded), numbers...))
		r, err := replica.Open(path)
		must(t, err)
		defer func() { must(t, r.Close()) }()
		var ask []uint64
		for _, d := range numbers {
			ask = append(ask, d, d-1, d+1)
		}
		for i, got := range look(r, ask...) {
			want := hubs[ask[i]]
			if want == 0 && all[ask[i]] {
				want = huanxin.MarkAbsent
			}
			if huanxin.Mark(got) != want {
				rt.Fatalf("number %d of %d has mark %d, want %d", i, len(ask), got, want)
			}
		}
		if r.Len() != int64(len(numbers)) {
			rt.Fatalf("%d numbers, want %d", r.Len(), len(numbers))
		}
		if info, err := os.Stat(path); err != nil || info.Size() > 20_100*int64(len(numbers)/1000)+16*int64(len(numbers))+4096 {
			rt.Fatalf("%d numbers take %d bytes", len(numbers), info.Size())
		}
	})
}

func TestADamagedIndexGivesNoReplica(t *testing.T) {
	for _, numbers := range [][]uint64{{first}, {first, 85260000000}} {
		damaged := func(digits []uint64, out []uint16) error {
			for i := range digits {
				out[i] = 5
			}
			out[len(digits)-1] = index.Damaged
			return nil
		}
		if x, err := replica.Uploaded(numbers, damaged); x != nil || !errors.Is(err, index.ErrDamaged) {
			t.Errorf("%v, %v", x, err)
		}
	}
	mine := errors.New("mine")
	if x, err := replica.Uploaded([]uint64{first}, func([]uint64, []uint16) error { return mine }); x != nil || err != mine {
		t.Errorf("%v, %v", x, err)
	}
}

func TestAWholeReplicaIsTheIndex(t *testing.T) {
	h, path := newHub(t), filepath.Join(t.TempDir(), "replica")
	x := index.New()
	defer func() { must(t, x.Close()) }()
	for d, m := range known {
		x.Set(d, uint16(m), 3)
	}
	m := fresh(huanxin.ReplicaWhole)
	b := snapshot(t, x, &m)
	m.Numbers += 2 // the index was followed meanwhile
	h.pulls(path, h.sealed(b, m, replica.Type))
	r := opened(t, path)
	if got := look(r, first+1, first+2, first+9); got[0] != uint16(huanxin.MarkNoHolder) || got[1] != 40001 || got[2] != 0 || r.Scope() != huanxin.ReplicaWhole {
		t.Errorf("marks %v of %v", got, r.Scope())
	}
}

// TestEveryTamperingIsRefused changes each byte of what comes over the wire, and cuts it everywhere.
func TestEveryTamperingIsRefused(t *testing.T) {
	h, path := newHub(t), filepath.Join(t.TempDir(), "replica")
	m := fresh(huanxin.ReplicaUploaded)
	h.pulls(path, h.uploaded(known, m, first+1))
	m.AsOf++
	body := h.uploaded(known, m, first+1, first+2)
	for i := range body {
		bad := slices.Clone(body)
		bad[i] ^= 1 << (i % 8)
		h.refuses(fmt.Sprintf("byte %d of %d changed", i, len(body)), path, bad)
		h.refuses(fmt.Sprintf("cut off at %d of %d", i, len(body)), path, body[:i])
	}
	h.refuses("with something behind it", path, append(slices.Clone(body), 0))
	h.refuses("with something in front", path, append([]byte{0}, body...))
	h.broken = errors.New("the connection broke")
	h.refuses("all of it and then an error", path, body)
	h.broken = nil
	if t.Failed() {
		return
	}
	h.pulls(path, body)
}

func TestAManifestThatIsNotAboutThisPullIsRefused(t *testing.T) {
	h, path := newHub(t), filepath.Join(t.TempDir(), "replica")
	old := fresh(huanxin.ReplicaUploaded)
	h.pulls(path, h.uploaded(known, old, first+1))
	x, err := replica.Uploaded([]uint64{first + 1}, known.look)
	must(t, err)
	defer func() { must(t, x.Close()) }()
	for what, change := range map[string]func(*replica.Manifest){
		"another hub's":            func(m *replica.Manifest) { m.Issuer = "https://other.example" },
		"another client's":         func(m *replica.Manifest) { m.Audience = "chat-1" },
		"an older position":        func(m *replica.Manifest) { m.AsOf-- },
		"an older one of the same": func(m *replica.Manifest) { m.IssuedAt = old.IssuedAt - 1 },
		"yesterday's":              func(m *replica.Manifest) { m.AsOf++; m.IssuedAt -= 86400 },
		"tomorrow's":               func(m *replica.Manifest) { m.IssuedAt += 86400 },
		"of no scope":              func(m *replica.Manifest) { m.Scope = "none" },
		"of another scope":         func(m *replica.Manifest) { m.Scope = "all" },
		"of no zone":               func(m *replica.Manifest) { m.Zone = "" },
		"of a zone of nowhere":     func(m *replica.Manifest) { m.Zone = "Asia/Atlantis" },
	} {
		m := fresh(huanxin.ReplicaUploaded)
		change(&m)
		h.refuses(what, path, h.sealed(snapshot(t, x, &m), m, replica.Type))
	}
	m := fresh(huanxin.ReplicaUploaded)
	good := snapshot(t, x, &m)
	for what, change := range map[string]func(*replica.Manifest){
		"another size":                  func(m *replica.Manifest) { m.Size++ },
		"another digest":                func(m *replica.Manifest) { m.SHA256 = strings.Repeat("0", 64) },
		"no digest":                     func(m *replica.Manifest) { m.SHA256 = "" },
		"more numbers":                  func(m *replica.Manifest) { m.Numbers++ },
		"a position that is not inside": func(m *replica.Manifest) { m.AsOf++ },
		"a scope that is not inside":    func(m *replica.Manifest) { m.Scope = "whole" },
	} {
		n := m
		change(&n)
		h.refuses(what, path, h.sealed(good, n, replica.Type))
	}
	for _, typ := range []string{"at+jwt", "JWT", "", "huanxin-replica"} {
		h.refuses("typ "+typ, path, h.sealed(good, m, typ))
	}
	h.refuses("a key of another hub", path, newHub(t).sealed(good, m, replica.Type))
	h.pulls(path, h.sealed(good, m, replica.Type))
}

func TestASignatureOfAnotherKindIsRefused(t *testing.T) {
	h, path := newHub(t), filepath.Join(t.TempDir(), "replica")
	x, err := replica.Uploaded([]uint64{first + 1}, known.look)
	must(t, err)
	defer func() { must(t, x.Close()) }()
	m := fresh(huanxin.ReplicaUploaded)
	good := snapshot(t, x, &m)
	jws, err := h.ring.Sign(time.Now(), replica.Type, m)
	must(t, err)
	parts := strings.Split(jws, ".")
	kid := h.ring.JWKS(time.Now()).Keys[0].KeyID
	head := func(v any) string {
		b, err := json.Marshal(v)
		must(t, err)
		return base64.RawURLEncoding.EncodeToString(b)
	}
	type object = map[string]any
	for what, jws := range map[string]string{
		"alg none":               head(object{"alg": "none", "typ": replica.Type, "kid": kid}) + "." + parts[1] + ".",
		"alg HS256":              head(object{"alg": "HS256", "typ": replica.Type, "kid": kid}) + "." + parts[1] + "." + parts[2],
		"a key of its own":       head(object{"alg": "ES256", "typ": replica.Type, "kid": kid, "jku": "https://evil.example"}) + "." + parts[1] + "." + parts[2],
		"no signature":           parts[0] + "." + parts[1] + ".",
		"no JWS":                 "",
		"the full serialization": `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
	} {
		h.refuses(what, path, replica.AppendFooter(slices.Clone(good), jws))
	}
	if _, err := replica.Open(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is a replica: %v", err)
	}
}

func TestAReplicaOfAnotherHubIsNotReplaced(t *testing.T) {
	h, path := newHub(t), filepath.Join(t.TempDir(), "replica")
	h.pulls(path, h.uploaded(known, fresh(huanxin.ReplicaUploaded), first+1))
	m := fresh(huanxin.ReplicaUploaded)
	m.Audience, m.AsOf = "pay-2", 100
	body := h.uploaded(known, m, first+1)
	h.body = func() []byte { return body }
	before := files(t, path)
	if _, err := replica.Pull(t.Context(), h, path, replica.Wanted{Issuer: issuer, Audience: "pay-2"}); !errors.Is(err, replica.ErrRefused) {
		t.Error(err)
	}
	if !slices.Equal(before, files(t, path)) {
		t.Error("it is not what it was")
	}
}

// TestAPullThatIsCutOffLeavesAWholeReplica goes through every state that the steps of a pull leave on the disk.
func TestAPullThatIsCutOffLeavesAWholeReplica(t *testing.T) {
	h := newHub(t)
	older, newer := fresh(huanxin.ReplicaUploaded), fresh(huanxin.ReplicaUploaded)
	newer.AsOf = 9
	oldBody, newBody := h.uploaded(known, older, first+1), h.uploaded(known, newer, first+1, first+2)
	text := func(body []byte, ending string) []byte {
		path := filepath.Join(t.TempDir(), "replica")
		h.pulls(path, body)
		b, err := os.ReadFile(path + ending)
		must(t, err)
		return b
	}
	oldFile, oldManifest, keys := text(oldBody, ""), text(oldBody, ".manifest"), text(oldBody, ".jwks")
	newFile, newManifest := text(newBody, ""), text(newBody, ".manifest")
	for _, c := range []struct {
		when  string
		files map[string][]byte
		asOf  int64
	}{
		{"while it came", map[string][]byte{"": oldFile, ".manifest": oldManifest, ".jwks": keys, ".new": newFile[:100]}, 7},
		{"before it was placed", map[string][]byte{"": oldFile, ".manifest": oldManifest, ".jwks": keys, ".new": newFile, ".manifest.new": newManifest, ".jwks.new": keys}, 7},
		{"while the manifest was written", map[string][]byte{"": oldFile, ".manifest": oldManifest, ".jwks": keys, ".new": newFile, ".manifest.new": newManifest[:30]}, 7},
		{"when the snapshot was in place", map[string][]byte{"": newFile, ".manifest": oldManifest, ".jwks": []byte(`{"keys":[]}`), ".manifest.new": newManifest, ".jwks.new": keys}, 9},
		{"when the keys were in place", map[string][]byte{"": newFile, ".manifest": oldManifest, ".jwks": keys, ".manifest.new": newManifest}, 9},
		{"of the first one, when the snapshot was in place", map[string][]byte{"": newFile, ".manifest.new": newManifest, ".jwks.new": keys}, 9},
	} {
		t.Run(c.when, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "replica")
			for ending, content := range c.files {
				must(t, os.WriteFile(path+ending, content, 0o600))
			}
			r, err := replica.Open(path)
			must(t, err)
			must(t, r.Verify(t.Context()))
			if r.AsOf() != c.asOf {
				t.Errorf("as of %d, want %d", r.AsOf(), c.asOf)
			}
			must(t, r.Close())
			hh := &hub{t: t, ring: h.ring}
			cut := fresh(huanxin.ReplicaUploaded)
			body := hh.uploaded(known, cut, first+1)
			hh.body = func() []byte { return body[:50] }
			if _, err := replica.Pull(t.Context(), hh, path, wanted()); !errors.Is(err, replica.ErrRefused) {
				t.Error(err)
			}
			if r := opened(t, path); r.AsOf() != c.asOf {
				t.Errorf("after a pull that broke off: as of %d", r.AsOf())
			}
			newest := fresh(huanxin.ReplicaUploaded)
			newest.AsOf = 20
			hh.pulls(path, hh.uploaded(known, newest, first+3))
			if r := opened(t, path); r.AsOf() != 20 || len(files(t, path)) != 3 {
				t.Errorf("after the next pull: as of %d, %v", r.AsOf(), files(t, path))
			}
		})
	}
}

func TestTwoPullsToOnePathDoNotMix(t *testing.T) {
	h, path := newHub(t), filepath.Join(t.TempDir(), "replica")
	body := h.uploaded(known, fresh(huanxin.ReplicaUploaded), first+1)
	other := &hub{t: t, ring: h.ring, body: func() []byte { return body }}
	h.during = func() {
		if _, err := replica.Pull(context.Background(), other, path, wanted()); err == nil || errors.Is(err, replica.ErrRefused) {
			t.Errorf("the second one: %v", err)
		}
	}
	h.pulls(path, body)
	must(t, opened(t, path).Verify(t.Context()))
}

func TestAPullReplacesFilesOnly(t *testing.T) {
	h, dir := newHub(t), t.TempDir()
	body := h.uploaded(known, fresh(huanxin.ReplicaUploaded), first+1)
	h.body = func() []byte { return body }
	link := filepath.Join(dir, "null")
	must(t, os.Symlink("/dev/null", link))
	for _, path := range []string{dir, link} {
		if _, err := replica.Pull(t.Context(), h, path, wanted()); err == nil || !strings.Contains(err.Error(), "name a file") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 1 {
		t.Errorf("something was written: %v, %v", names, err)
	}
	if to, err := os.Readlink(link); err != nil || to != "/dev/null" {
		t.Errorf("%s, %v", to, err)
	}
}

func TestAPullEndsWithItsContext(t *testing.T) {
	h, path := newHub(t), filepath.Join(t.TempDir(), "replica")
	h.pulls(path, h.uploaded(known, fresh(huanxin.ReplicaUploaded), first+1))
	before := files(t, path)
	ctx, cancel := context.WithCancel(t.Context())
	h.during, h.broken = cancel, context.Canceled
	if _, err := replica.Pull(ctx, h, path, wanted()); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if !slices.Equal(before, files(t, path)) {
		t.Error("it is not what it was")
	}
}

// TestAFileThatIsChangedOnTheDiskIsRefused changes each byte of the three files of a replica.
func TestAFileThatIsChangedOnTheDiskIsRefused(t *testing.T) {
	h, path := newHub(t), filepath.Join(t.TempDir(), "replica")
	h.pulls(path, h.uploaded(known, fresh(huanxin.ReplicaUploaded), first+1, first+2))
	proves := func() error {
		r, err := replica.Open(path)
		if err != nil {
			return err
		}
		defer r.Close()
		return r.Verify(context.Background())
	}
	must(t, proves())
	for _, ending := range []string{"", ".manifest"} {
		good, err := os.ReadFile(path + ending)
		must(t, err)
		for i := range good {
			bad := slices.Clone(good)
			bad[i] ^= 1 << (i % 8)
			must(t, os.WriteFile(path+ending, bad, 0o600))
			if proves() == nil {
				t.Errorf("FILE%s: byte %d of %d was changed", ending, i, len(good))
			}
		}
		must(t, os.WriteFile(path+ending, good, 0o600))
	}
	keys, err := newHub(t).KeySet(t.Context())
	must(t, err)
	must(t, os.WriteFile(path+".jwks", keys, 0o600))
	if err := proves(); !errors.Is(err, replica.ErrRefused) {
		t.Errorf("with another hub's keys: %v", err)
	}
}

// A page that was changed together with its checksum is found by the digest alone.
func TestTheDigestFindsWhatChecksumsDoNot(t *testing.T) {
	h, path := newHub(t), filepath.Join(t.TempDir(), "replica")
	m := fresh(huanxin.ReplicaUploaded)
	h.pulls(path, h.uploaded(known, m, first+1))
	x, err := replica.Uploaded([]uint64{first + 1}, marks{first + 1: 81}.look)
	must(t, err)
	defer func() { must(t, x.Close()) }()
	must(t, os.WriteFile(path, snapshot(t, x, &m), 0o600))
	r := opened(t, path)
	if err := r.Verify(t.Context()); !errors.Is(err, replica.ErrRefused) {
		t.Error(err)
	}
}

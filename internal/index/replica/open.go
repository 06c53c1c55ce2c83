package replica

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/index"
)

// Replica is an opened replica. It is safe for concurrent use.
type Replica struct {
	path     string
	index    *index.Index
	manifest Manifest
	zone     *time.Location
	uploaded bool
}

// Open opens the replica at path: the signature of its manifest is verified with the keys that were saved with it, and that the snapshot
// is the manifest's by its size and by what it says of itself. That takes milliseconds. Every page is checked against
// damage before it first answers; Verify proves the rest of the digest. The error is ErrRefused for what is no
// whole replica, else what the file system said.
//
// Keys beside a replica prove that it is what was pulled, not that a hub made it: who can change one file can change all three. OpenTrusting
// asks more.
func Open(path string) (*Replica, error) {
	r, _, err := open(path)
	return r, err
}

// OpenTrusting is Open with the key set of a hub in place of the saved one, and the hub's URL, which the manifest must name.
func OpenTrusting(path string, keySet []byte, issuer string) (*Replica, error) {
	r, _, err := openProved(path, func(jws string) (Manifest, error) {
		m, err := verify(jws, keySet)
		if err == nil && m.Issuer != issuer {
			err = refused("it is of another hub: " + m.Issuer)
		}
		return m, err
	})
	return r, err
}

// open gives also which ending its manifest's file has: newEnding after a pull that was cut off between its last steps.
func open(path string) (*Replica, string, error) {
	return openProved(path, func(jws string) (Manifest, error) { return verifyWithSaved(path, jws) })
}

// openProved is open with what proves a manifest.
func openProved(path string, prove func(jws string) (Manifest, error)) (*Replica, string, error) {
	var first error
	for _, ending := range []string{"", newEnding} {
		r, err := openWith(path, path+manifestEnding+ending, prove)
		if err == nil {
			return r, ending, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, "", first
}

const (
	manifestEnding = ".manifest"
	keysEnding     = ".jwks"
	newEnding      = ".new"
)

func openWith(path, manifest string, prove func(jws string) (Manifest, error)) (*Replica, error) {
	jws, err := os.ReadFile(manifest)
	if err != nil {
		return nil, err
	}
	m, err := prove(string(jws))
	if err != nil {
		return nil, err
	}
	return openSnapshot(path, m)
}

// verifyWithSaved verifies with the keys that were saved, or those that a pull which was cut off was about to save.
func verifyWithSaved(path, jws string) (m Manifest, err error) {
	var first error
	for _, ending := range []string{"", newEnding} {
		keys, err := os.ReadFile(path + keysEnding + ending)
		if err == nil {
			if m, err = verify(jws, keys); err == nil {
				return m, nil
			}
		}
		if first == nil {
			first = err
		}
	}
	return m, first
}

// openSnapshot opens the snapshot that a manifest is about.
func openSnapshot(path string, m Manifest) (*Replica, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() != m.Size {
		return nil, refused("the file is not as long as its manifest says")
	}
	x, meta, err := index.Open(path)
	if errors.Is(err, index.ErrDamaged) || errors.Is(err, index.ErrVersion) {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if err != nil {
		return nil, err
	}
	r := &Replica{path: path, index: x, manifest: m, uploaded: m.Scope == huanxin.ReplicaUploaded.String()}
	r.zone, _ = zone(m.Zone) // verify has seen that it is known
	switch {
	case string(meta) != string(m.Meta()):
		err = refused("the file is not the one that its manifest is about")
	case r.uploaded && x.Len() != m.Numbers:
		err = refused("the file does not hold as many numbers as its manifest says")
	}
	if err != nil {
		_ = x.Close()
		return nil, err
	}
	return r, nil
}

// Close gives the memory back. No other call may be under way then, nor follow.
func (r *Replica) Close() error { return r.index.Close() }

// Verify reads all of it: the error is ErrRefused unless the snapshot has the digest that the hub signed and every page is
// whole. From then on all answers come from memory that was verified. It may run beside look-ups.
func (r *Replica) Verify(ctx context.Context) error {
	f, err := os.Open(r.path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := digest(ctx, f, r.manifest); err != nil {
		return err
	}
	return r.verifyPages(ctx)
}

// verifyPages is Verify without the digest.
func (r *Replica) verifyPages(ctx context.Context) error {
	err := r.index.Verify(ctx)
	if errors.Is(err, index.ErrDamaged) {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err
}

var errOther = refused("the file is not the one that the hub signed")

// digest refuses a snapshot with another digest than its manifest says.
func digest(ctx context.Context, f io.Reader, m Manifest) error {
	h := sha256.New()
	n, err := io.CopyBuffer(h, &cancellable{ctx, f}, make([]byte, 1<<20))
	if err != nil {
		return err
	}
	if n != m.Size || hex.EncodeToString(h.Sum(nil)) != m.SHA256 {
		return errOther
	}
	return nil
}

// cancellable ends a long read with its context.
type cancellable struct {
	ctx context.Context
	r   io.Reader
}

func (c *cancellable) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// group is how many numbers are looked for in their second place at once.
const group = 128

// Lookup gives the marks (huanxin.Mark) of any count of numbers, each in the place of its number, or index.Damaged where nothing
// trustworthy is known. In a replica of uploaded numbers huanxin.MarkNeverSeen says that the number is not in it, in a whole one that the
// hub has never seen it. Numbers are E.164 digits. It panics if out is shorter than digits.
func (r *Replica) Lookup(digits []uint64, out []uint16) {
	out = out[:len(digits)]
	r.index.Lookup(digits, out)
	if !r.uploaded {
		return
	}
	var keys [group]uint64
	var at [group]int
	var marks [group]uint16
	n := 0
	for i, d := range digits {
		if d-awayFirst < mobileCount { // no number, but where one lies
			out[i] = uint16(huanxin.MarkNeverSeen)
		} else if k := away(d); k != 0 && out[i] == uint16(huanxin.MarkNeverSeen) {
			keys[n], at[n] = k, i
			n++
		}
		if n == group || i == len(digits)-1 {
			r.index.Lookup(keys[:n], marks[:n])
			for j := range n {
				out[at[j]] = marks[j]
			}
			n = 0
		}
	}
}

// Mark is Lookup of one number, for who has only one.
func (r *Replica) Mark(digits uint64) uint16 {
	if !r.uploaded {
		return r.index.Value(digits)
	}
	if digits-awayFirst < mobileCount {
		return uint16(huanxin.MarkNeverSeen)
	}
	mark := r.index.Value(digits)
	if k := away(digits); k != 0 && mark == uint16(huanxin.MarkNeverSeen) {
		return r.index.Value(k)
	}
	return mark
}

// Damaged reports whether damage was found so far: pull it again.
func (r *Replica) Damaged() bool { return r.index.Damaged() }

// Manifest gives what the hub said of the replica.
func (r *Replica) Manifest() Manifest {
	m := r.manifest
	m.Fresh = maps.Clone(m.Fresh)
	return m
}

// AsOf gives the position in the number log that its answers are true for: all events up to it are in them.
func (r *Replica) AsOf() int64 { return r.manifest.AsOf }

// IssuedAt gives when the hub began to write it. That is how old it is.
func (r *Replica) IssuedAt() time.Time { return time.Unix(r.manifest.IssuedAt, 0).UTC() }

// Scope gives which numbers it holds.
func (r *Replica) Scope() huanxin.ReplicaGrant {
	if r.uploaded {
		return huanxin.ReplicaUploaded
	}
	return huanxin.ReplicaWhole
}

// Zone gives the time zone whose days the marks count: that of huanxin.PresentAt.
func (r *Replica) Zone() *time.Location { return r.zone }

// Fresh gives until when each carrier had told everything. One that is not named never said.
func (r *Replica) Fresh() map[string]time.Time { return maps.Clone(r.manifest.Fresh) }

// Len gives how many numbers it holds.
func (r *Replica) Len() int64 { return r.index.Len() }

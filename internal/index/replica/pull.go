package replica

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// Source is where a replica comes from: a hub (client.Client).
type Source interface {
	// Replica gives a replica as it stands on the wire, unpacked. Its errors when reading say that it is not whole.
	Replica(ctx context.Context) (io.ReadCloser, error)
	// KeySet gives the hub's public keys as a JSON Web Key Set.
	KeySet(ctx context.Context) ([]byte, error)
}

// Wanted is what a replica is checked against.
type Wanted struct {
	Issuer   string // the hub's URL
	Audience string // the own client's id
	// Progress, unless nil, is told after every piece how many bytes have come.
	Progress func(bytes int64)
}

// skew is how far the hub's clock may be from ours.
const skew = 5 * time.Minute

// Pull brings a replica to path and gives its manifest. It is put there, in place of an older one, when all of it has been proved: the
// manifest by a key of the hub, made for this client, just now, and not older than the replica that it replaces; the
// snapshot by its digest and page by page. On return without an error it is on stable storage. Until then, and after any error or
// crash, Open opens the replica that was there before. The error is ErrRefused for what was not taken.
//
// It is written to path with ".new" behind it, mode 0600. A second pull to one path at the same time is an error.
func Pull(ctx context.Context, from Source, path string, want Wanted) (Manifest, error) {
	began := time.Now()
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return Manifest{}, errors.New(path + " is a device, a pipe or a directory: name a file") // that would be replaced
	}
	f, err := createLocked(path + newEnding)
	if err != nil {
		return Manifest{}, err
	}
	defer f.Close()
	p := &pull{path: path, want: want, began: began, file: f, sum: newPassing()}
	m, err := p.run(ctx, from)
	if err != nil && !p.placed {
		for _, beside := range []string{manifestEnding + newEnding, keysEnding + newEnding, newEnding} {
			_ = os.Remove(path + beside)
		}
	}
	return m, err
}

type pull struct {
	path   string
	want   Wanted
	began  time.Time
	file   *os.File
	sum    *passing
	placed bool // the snapshot is at path
}

func (p *pull) run(ctx context.Context, from Source) (m Manifest, err error) {
	if err := settle(p.path); err != nil {
		return m, err
	}
	length, err := p.receive(ctx, from)
	if err != nil {
		return m, err
	}
	size, jws, err := readFooter(p.file, length)
	if err != nil {
		return m, err
	}
	// Only now: the key that signed may be younger than the beginning of a long pull.
	keys, err := from.KeySet(ctx)
	if err != nil {
		return m, err
	}
	if m, err = verify(jws, keys); err != nil {
		return m, err
	}
	if err := p.judge(m, size); err != nil {
		return m, err
	}
	if err := p.prove(ctx, m); err != nil {
		return m, err
	}
	return m, p.place(jws, keys)
}

// receive writes the body to the new file.
func (p *pull) receive(ctx context.Context, from Source) (length int64, err error) {
	body, err := from.Replica(ctx)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	buf := make([]byte, 1<<20)
	for {
		n, readErr := body.Read(buf)
		if _, err := p.file.Write(buf[:n]); err != nil {
			return length, err
		}
		p.sum.add(buf[:n])
		length += int64(n)
		if p.want.Progress != nil && n > 0 {
			p.want.Progress(length)
		}
		switch {
		case readErr == io.EOF:
			return length, nil
		case ctx.Err() != nil:
			return length, ctx.Err()
		case readErr != nil:
			return length, refused("it broke off: " + readErr.Error())
		}
	}
}

// judge refuses a manifest that is not about this pull.
func (p *pull) judge(m Manifest, size int64) error {
	issued := time.Unix(m.IssuedAt, 0)
	switch {
	case m.Issuer != p.want.Issuer:
		return refused("its manifest is not from this hub")
	case m.Audience != p.want.Audience:
		return refused("its manifest is made for another client")
	case m.Size != size:
		return refused("it is not as long as its manifest says")
	case issued.Before(p.began.Add(-skew)):
		return refused("its manifest is an old one")
	case issued.After(time.Now().Add(skew)):
		return ErrFuture
	}
	old, _, err := open(p.path)
	if err != nil {
		return nil // there is none that could be opened, so none to protect
	}
	defer old.Close()
	switch {
	case old.manifest.Issuer != m.Issuer || old.manifest.Audience != m.Audience:
		return refused("there is a replica of another hub or client at this path: remove it, or choose another path")
	case m.AsOf < old.manifest.AsOf || m.IssuedAt < old.manifest.IssuedAt:
		return refused("it is older than the replica that it would replace")
	}
	return nil
}

// prove cuts off the footer and proves what is left: by its digest, which was made as it came, and page by page as it stands on the disk.
func (p *pull) prove(ctx context.Context, m Manifest) error {
	if p.sum.of(m.Size) != m.SHA256 {
		return errOther
	}
	if err := p.file.Truncate(m.Size); err != nil {
		return err
	}
	if err := p.file.Sync(); err != nil {
		return err
	}
	r, err := openSnapshot(p.path+newEnding, m)
	if err != nil {
		return err
	}
	return errors.Join(r.verifyPages(ctx), r.Close())
}

// place puts the three files in their places. The snapshot goes first: from then on Open finds the manifest that fits it under
// its new name.
func (p *pull) place(jws string, keys []byte) error {
	if err := writeFile(p.path+manifestEnding+newEnding, []byte(jws)); err != nil {
		return err
	}
	if err := writeFile(p.path+keysEnding+newEnding, keys); err != nil {
		return err
	}
	if err := syncDir(p.path); err != nil {
		return err
	}
	if err := os.Rename(p.path+newEnding, p.path); err != nil {
		return err
	}
	p.placed = true
	return finish(p.path)
}

// finish does what is left to do when the snapshot is in its place.
func finish(path string) error {
	if err := syncDir(path); err != nil {
		return err
	}
	for _, ending := range []string{keysEnding, manifestEnding} {
		if err := os.Rename(path+ending+newEnding, path+ending); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return syncDir(path)
}

// settle ends what an earlier pull left when it was cut off: it finishes it if the snapshot is in its place, else nothing of it stays.
func settle(path string) error {
	r, ending, err := open(path)
	if err == nil {
		_ = r.Close()
	}
	if err == nil && ending == newEnding {
		return finish(path)
	}
	for _, ending := range []string{manifestEnding, keysEnding} {
		if err := os.Remove(path + ending + newEnding); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}

func writeFile(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncDir makes names in the directory of a path last.
func syncDir(path string) error {
	if runtime.GOOS == "windows" {
		return nil // has no such call
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

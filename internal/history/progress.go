package history

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// state is how far an import is: everything before Offset was acknowledged.
type state struct {
	Totals
	Offset int64 `json:"offset"`
	Line   int64 `json:"line"` // how many physical lines that is
	// RejectedBytes is how long the file of refused lines was then.
	RejectedBytes int64 `json:"rejected_bytes"`
	Done          bool  `json:"done"`
}

// saved is a progress file.
type saved struct {
	Version int    `json:"version"`
	Target  string `json:"target"`
	Input   print  `json:"input"`
	State   state  `json:"state"`
}

// savedVersion is raised when an older progress file means something else.
const savedVersion = 1

// print tells one input from another.
type print struct {
	Size     int64 `json:"size"`
	Modified int64 `json:"modified"` // nanoseconds since 1970
	// Head is the first 4 bytes of the SHA-256 of the first 64 KiB. That is enough to notice another file of the same size and
	// time, and too little to find the number of a file of one line by trying all.
	Head string `json:"head"`
}

// progress is where a state is kept.
type progress struct {
	path, target, in string
	print            print
}

func newProgress(path, target, in string, f *os.File, info os.FileInfo) (*progress, error) {
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, 64<<10)); err != nil {
		return nil, err
	}
	return &progress{path, target, in, print{info.Size(), info.ModTime().UnixNano(), hex.EncodeToString(h.Sum(nil)[:4])}}, nil
}

// load reads the progress file, and refuses one that this import cannot go on from. Without one nothing has been done.
func (p *progress) load() (state, error) {
	text, err := os.ReadFile(p.path)
	if errors.Is(err, os.ErrNotExist) {
		return state{}, nil
	}
	if err != nil {
		return state{}, err
	}
	var s saved
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	switch err := d.Decode(&s); {
	case err != nil || s.Version != savedVersion || s.State.Offset < 0 || s.State.Offset > s.Input.Size || s.State.RejectedBytes < 0:
		return state{}, fmt.Errorf("%s is no progress file of this version; --restart begins anew", p.path)
	case s.Target != p.target:
		return state{}, fmt.Errorf("%s is of an import into %s; --restart begins anew", p.path, s.Target)
	case s.Input != p.print:
		return state{}, fmt.Errorf("%s changed since the run that %s is of; --restart begins anew, and what was loaded already is known", p.in, p.path)
	}
	return s.State, nil
}

// store replaces the progress file. On return it is on stable storage. Without a progress file it does nothing.
func (p *progress) store(s *state) (err error) {
	if p == nil {
		return nil
	}
	text, err := json.Marshal(saved{savedVersion, p.target, p.print, *s})
	if err != nil {
		return err
	}
	next := p.path + ".next"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(next))
	}
	return os.Rename(next, p.path)
}

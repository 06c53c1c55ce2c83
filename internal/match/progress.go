package match

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

// saved is a progress file: what a safe point says.
type saved struct {
	Version  int         `json:"version"`
	Settings string      `json:"settings"`
	Input    fingerprint `json:"input"`
	Out      int64       `json:"out"` // lengths that are on stable storage
	Unknown  int64       `json:"unknown"`
	Complete bool        `json:"complete"` // only the outputs' names are missing
	State    State       `json:"state"`
}

// savedVersion is raised when an older progress file means something else.
const savedVersion = 1

// fingerprint tells one input from another.
type fingerprint struct {
	Size     int64  `json:"size"`
	Modified int64  `json:"modified"` // nanoseconds since 1970
	Head     string `json:"head"`     // SHA-256 of the first bytes
}

const headBytes = 64 << 10

func fingerprintOf(f *os.File) (fingerprint, error) {
	info, err := f.Stat()
	if err != nil {
		return fingerprint{}, err
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, headBytes)); err != nil {
		return fingerprint{}, err
	}
	return fingerprint{info.Size(), info.ModTime().UnixNano(), hex.EncodeToString(h.Sum(nil))}, nil
}

// load reads the progress file and refuses one that this job cannot go on from; nil: there is none.
func (r *job) load() (*saved, error) {
	path := r.Out + progress
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var s saved
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	switch err := d.Decode(&s); {
	case err != nil || s.Version != savedVersion:
		return nil, fmt.Errorf("%s is no progress file of this version; --restart begins anew", path)
	case s.Settings != r.settings():
		return nil, fmt.Errorf("%s is of a run with other arguments; give the same ones to go on with it, or --restart to begin anew", path)
	case s.Input != r.print:
		return nil, fmt.Errorf("%s changed since the run that %s is of; --restart begins anew", r.In, path)
	}
	return &s, nil
}

// store replaces the progress file. On return it is on stable storage.
func (r *job) store(s *saved) error {
	s.Version, s.Settings, s.Input = savedVersion, r.settings(), r.print
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	path := r.Out + progress
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncDirectory(path)
}

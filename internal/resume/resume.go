// Package resume keeps how far a long job over a file is, so that started again it goes on where it stopped.
package resume

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Input tells one input file from another.
type Input struct {
	Size     int64 `json:"size"`
	Modified int64 `json:"modified"` // nanoseconds since 1970
	// Head is the first 4 bytes of the SHA-256 of the first 64 KiB. That is enough to notice another file of the same size and
	// time, and too little to find the number of a file of one line by trying all.
	Head string `json:"head"`
}

const headBytes = 64 << 10

// InputOf looks at an open file.
func InputOf(f *os.File) (Input, error) {
	info, err := f.Stat()
	if err != nil {
		return Input{}, err
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, headBytes)); err != nil {
		return Input{}, err
	}
	return Input{info.Size(), info.ModTime().UnixNano(), hex.EncodeToString(h.Sum(nil)[:4])}, nil
}

// File is a progress file. T is how far the job is, as JSON.
type File[T any] struct {
	Path string
	// Settings are what must be the same for a job to go on; Other says what is wrong when they are not.
	Settings, Other string
	// InputPath names the input in errors.
	InputPath string
	Input     Input
}

// content is what stands in the file.
type content[T any] struct {
	Version  int    `json:"version"`
	Settings string `json:"settings"`
	Input    Input  `json:"input"`
	State    T      `json:"state"`
}

// version is raised when an older file means something else.
const version = 2

// Load reads how far the job is; found is false where no file is. It refuses a file that this job cannot go on from;
// the error is a *UseError where another file was meant.
func (p *File[T]) Load() (state T, found bool, err error) {
	if err := Replaceable(p.Path); err != nil {
		return state, false, err
	}
	text, err := os.ReadFile(p.Path)
	if errors.Is(err, os.ErrNotExist) {
		return state, false, nil
	}
	if err != nil {
		return state, false, err
	}
	var c content[T]
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	switch err := d.Decode(&c); {
	case err != nil || c.Version != version:
		return state, false, p.Refuse()
	case c.Settings != p.Settings:
		return state, false, &UseError{OtherRun, p.Path, p.Path + " " + p.Other + "; --restart begins anew"}
	case c.Input != p.Input:
		return state, false, fmt.Errorf("%s changed since the run that %s is of; --restart begins anew", p.InputPath, p.Path)
	}
	return c.State, true, nil
}

// Refuse is the error for a file whose state makes no sense: a *UseError.
func (p *File[T]) Refuse() error {
	return &UseError{NoProgress, p.Path, p.Path + " is no progress file of this version; --restart begins anew"}
}

// begins is how every progress file does, of whatever version and job.
const begins = `{"version":`

// Replaceable refuses to put a progress file in the place of what is none; a job that begins anew asks. One that broke off is one.
// The error is a *UseError.
func (p *File[T]) Replaceable() error {
	if err := Replaceable(p.Path); err != nil {
		return err
	}
	f, err := os.Open(p.Path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(f, int64(len(begins))))
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if !strings.HasPrefix(begins, string(text)) {
		return &UseError{NotOurs, p.Path, p.Path + " is no progress file: it is not replaced; remove it, or name another"}
	}
	return nil
}

// Store replaces the file. On return it is on stable storage.
func (p *File[T]) Store(state T) error {
	text, err := json.Marshal(content[T]{version, p.Settings, p.Input, state})
	if err != nil {
		return err
	}
	next := p.Path + NextEnding
	f, err := os.OpenFile(next, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(next))
	}
	if err := os.Rename(next, p.Path); err != nil {
		return err
	}
	return SyncDirectory(p.Path)
}

// SyncDirectory makes the names of a file's directory stable: a rename is only then.
func SyncDirectory(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

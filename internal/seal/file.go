package seal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// maxFileSize is far more than any key file needs.
const maxFileSize = 1 << 20

// Open reads the key file at path, and makes it first, with fresh keys and mode 0600, where there is none.
//
// On return the keys are on stable storage. Several processes may start at once: one file is made and
// all of them get its keys. A file that group or others may access is refused, and so is one that is
// damaged in any way: it is never replaced.
func Open(path string) (*Keys, error) {
	k, err := Load(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	if err := create(path); err != nil {
		return nil, fmt.Errorf("seal: cannot make the key file %s: %w", path, err)
	}
	return Load(path)
}

// Load reads the key file at path. Where there is none, the error is fs.ErrNotExist.
func Load(path string) (*Keys, error) {
	k, err := load(path)
	if err != nil {
		return nil, fmt.Errorf("seal: key file %s: %w", path, err)
	}
	return k, nil
}

func load(path string) (*Keys, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	// What was opened is judged, not what the path names a moment earlier or later.
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := private(info); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFileSize {
		return nil, errors.New("it is too long to be a key file")
	}
	var content keyFile
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&content); err != nil {
		return nil, fmt.Errorf("it is damaged, restore it from a backup: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("it is damaged, restore it from a backup: something follows its content")
	}
	return newKeys(content)
}

// private refuses what is no plain file, or may be read or written by others than its owner.
func private(info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return errors.New("it is no plain file")
	}
	if mode := info.Mode().Perm(); runtime.GOOS != "windows" && mode&0o077 != 0 {
		return fmt.Errorf("others than its owner may use it (mode %04o): chmod 600 it, and if it was ever readable treat the keys as known", mode)
	}
	return nil
}

// create puts a key file with fresh keys at path, or leaves the one that someone else put there first.
// It is written in full under a name of its own and then linked, so nobody ever reads half a file.
func create(path string) error {
	dir := filepath.Dir(path)
	tmp, err := writeFresh(dir)
	if err != nil {
		return err
	}
	err = os.Link(tmp, path)
	if rm := os.Remove(tmp); err == nil {
		err = rm
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	// Whoever lost the race waits for the winner's directory entry too, before it seals anything.
	return syncDir(dir)
}

// writeFresh writes fresh keys to a new file in dir, synced, and gives its path.
func writeFresh(dir string) (path string, err error) {
	data, err := json.MarshalIndent(freshFile(), "", "  ")
	if err != nil {
		return "", err
	}
	f, err := os.CreateTemp(dir, ".keys-*") // O_EXCL, mode 0600
	if err != nil {
		return "", err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if err := f.Chmod(0o600); err != nil {
		return "", err
	}
	if _, err := f.Write(append(data, '\n')); err != nil {
		return "", err
	}
	return f.Name(), f.Sync()
}

func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // has no such call
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if e := d.Close(); err == nil {
		err = e
	}
	return err
}

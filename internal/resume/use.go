package resume

import (
	"os"
	"path/filepath"
)

// Problem is what is wrong with a UseError's file.
type Problem string

// The problems with files.
const (
	TwoRoles   Problem = "two_roles"   // one file was named for two things
	NoProgress Problem = "no_progress" // what is there is no progress file of this version
	OtherRun   Problem = "other_run"   // the progress file is of a job with other settings
	NotOurs    Problem = "not_ours"    // the file that is to be written holds something else
	NotAFile   Problem = "not_a_file"  // what is to be replaced is a device, a pipe or a directory
)

// NextEnding stands behind the name of a progress file that is being written.
const NextEnding = ".new"

const mostLinks = 40 // on the way to a file

// UseError says that a job was given files which it cannot work with. Nothing was written.
type UseError struct {
	Problem Problem
	Path    string
	Text    string // for people
}

// Error gives the text.
func (e *UseError) Error() string { return e.Text }

// Role is a file, and what it is to be.
type Role struct {
	As   string
	Path string   // empty: there is none
	File *os.File // an open file in place of Path, unless nil
}

func (r *Role) name() string {
	if r.File != nil {
		return r.File.Name()
	}
	return r.Path
}

func (r *Role) stat() (os.FileInfo, error) {
	if r.File != nil {
		return r.File.Stat()
	}
	return os.Stat(r.Path)
}

// Distinct refuses one file in two roles, whatever links lead to it, also one that is not there yet. The error is a *UseError.
func Distinct(roles ...Role) error {
	for i := range roles {
		for j := range i {
			if a, b := &roles[j], &roles[i]; same(a, b) {
				return &UseError{TwoRoles, b.name(), b.name() + " cannot be both " + a.As + " and " + b.As}
			}
		}
	}
	return nil
}

// Replaceable refuses a path at which something else than a file is, wherever links lead: a job puts a file of its own in the place of
// what is there, and nobody wants /dev/null to be one. The error is a *UseError.
func Replaceable(path string) error {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return &UseError{NotAFile, path, path + " is a device, a pipe or a directory: name a file"}
	}
	return nil // what cannot be looked at cannot be written either, and says so better
}

func same(a, b *Role) bool {
	if a.name() == "" || b.name() == "" {
		return false
	}
	ia, ea := a.stat()
	ib, eb := b.stat()
	if ea == nil && eb == nil && ia.Mode().IsRegular() && os.SameFile(ia, ib) {
		return true
	}
	return a.File == nil && b.File == nil && target(a.Path) == target(b.Path)
}

// target gives where a path leads, though there may be nothing.
func target(path string) string {
	for range mostLinks {
		to, err := os.Readlink(path)
		if err != nil {
			break
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		path = to
	}
	if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		path = filepath.Join(dir, filepath.Base(path))
	}
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return filepath.Clean(path)
}

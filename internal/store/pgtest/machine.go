package pgtest

import (
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// packaged is where Debian's packages put a version's programs: not in the PATH.
const packaged = "/usr/lib/postgresql/*/bin"

// binaries gives the directory with initdb and postgres: the first of path, else the newest version that glob finds.
func binaries(path, glob string) (dir string, err error) {
	dirs := filepath.SplitList(path)
	versions, err := filepath.Glob(glob)
	if err != nil {
		return "", err
	}
	slices.SortFunc(versions, func(a, b string) int { return slices.Compare(version(b), version(a)) })
	for _, d := range append(dirs, versions...) {
		// A link in the PATH leads to where the other programs are.
		initdb, err := filepath.EvalSymlinks(filepath.Join(d, "initdb"))
		if err != nil || !filepath.IsAbs(initdb) {
			continue
		}
		if _, err := os.Stat(filepath.Join(filepath.Dir(initdb), "postgres")); err == nil {
			return filepath.Dir(initdb), nil
		}
	}
	return "", ErrNotInstalled
}

// version reads "9.6" or "15" from …/9.6/bin.
func version(bin string) []int {
	var v []int
	for part := range strings.SplitSeq(filepath.Base(filepath.Dir(bin)), ".") {
		n, _ := strconv.Atoi(part)
		v = append(v, n)
	}
	return v
}

// serverOwner gives whom the server runs as: nil, ourselves, unless we are root, whom PostgreSQL refuses.
func serverOwner() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(err1, err2)
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is no user postgres or nobody")
}

// tail keeps the end of what is written to it. It is safe for concurrent use.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailSize = 16 << 10

// Write never fails.
func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	if len(l.text) > 2*tailSize {
		l.text = append(l.text[:0], l.text[len(l.text)-tailSize:]...)
	}
	return len(p), nil
}

// String gives up to the last 16 kB.
func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text[max(0, len(l.text)-tailSize):])
}

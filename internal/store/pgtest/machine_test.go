package pgtest_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/huanxin-platform/huanxin/internal/store/pgtest"
)

func TestThePathIsSearchedFirstAndThenTheNewestPackage(t *testing.T) {
	root := t.TempDir()
	programs := func(dir string, names ...string) string {
		dir = filepath.Join(root, dir)
		must(t, os.MkdirAll(dir, 0o755))
		for _, n := range names {
			must(t, os.WriteFile(filepath.Join(dir, n), nil, 0o755))
		}
		return dir
	}
	programs("pg/9.6/bin", "initdb", "postgres")
	programs("pg/13/bin", "initdb", "postgres")
	newest := programs("pg/15/bin", "initdb", "postgres")
	programs("pg/17/bin", "psql") // only the client
	own := programs("opt/pgsql/bin", "initdb", "postgres")
	none := programs("bin", "go")
	linked := programs("local")
	must(t, os.Symlink(filepath.Join(own, "initdb"), filepath.Join(linked, "initdb")))

	packages := filepath.Join(root, "pg/*/bin")
	for _, c := range []struct{ path, glob, want string }{
		{none, packages, newest},
		{none + ":" + own, packages, own},
		{linked, packages, own},
		{"", packages, newest},
		{none, filepath.Join(root, "absent/*/bin"), ""},
	} {
		got, err := pgtest.Binaries(c.path, c.glob)
		if got != c.want || (c.want == "") != errors.Is(err, pgtest.ErrNotInstalled) {
			t.Errorf("PATH %s and %s give %q, %v; want %q", c.path, c.glob, got, err, c.want)
		}
	}
}

package huanxin_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module = "github.com/huanxin-platform/huanxin"
	ours   = module + "/"
)

// rank orders the packages: one imports others only if they stand lower. A directory's rank is that of everything in it,
// and what is in it may import what else is in it.
var rank = map[string]int{
	".":                0, // nouns and rules
	"client/clientkey": 0, // reads keys, for the hub and for those who speak to it
	"api":              1, "internal/audit": 1, "internal/auth": 1, "internal/index": 1, "internal/lines": 1,
	"internal/metering": 1, "internal/outbound": 1, "internal/resume": 1, "internal/seal": 1, "internal/store": 1,
	"internal/core": 2,
	"internal/feed": 3,
	"internal/due":  4, "internal/httpapi": 4, "internal/web": 4,
	"internal/server": 5,

	"client": 1, "agent": 2, "guard": 2, // for others to build on
	"internal/history": 2, "internal/match": 2, // beside a hub

	"hubtest": 6, "internal/conformance": 6, "internal/sandbox": 6,
	"bench": 7, "cmd": 7, "examples": 7,
}

// ban forbids imports beyond the order of ranks. Directories and import paths stand for all below them.
type ban struct {
	in     string // "" is everywhere
	never  []string
	except []string // of never
	reason string
	// exempt lists directories where the ban does not hold, each with its reason.
	exempt map[string]string
}

// foreign stands for every module but ours and the standard library.
const foreign = "foreign"

var bans = []ban{
	{in: ".", never: []string{foreign},
		reason: "the nouns and rules need the standard library only"},
	{in: ".", never: []string{"context", "crypto/rand", "database", "log", "math/rand", "net", "os", "syscall"},
		except: []string{"log/slog", "net/netip", "net/url", "math/rand/v2"}, // a number's redaction, the form of addresses and links, a number's mask
		reason: "a rule does no I/O, waits for nothing and gives the same answer every time"},
	{in: "internal/index", never: []string{foreign, module}, except: []string{"golang.org/x/sys/unix", ours + "internal/index"},
		reason: "the index is a data structure and knows no rules; of the system it needs memory off the Go heap and no more",
		exempt: map[string]string{"internal/index/replica": "a part of the index under way to an app, signed"}},
	{in: "internal/store", never: []string{ours + "internal/auth", ours + "internal/core", ours + "internal/httpapi"},
		reason: "the store holds no rules and never sees a caller"},
	{in: "internal/metering", never: []string{foreign, ours + "internal", "context", "database", "log", "net", "os"},
		reason: "it counts in memory; the store keeps usage, core makes refusals of its answers"},
	{in: "internal/httpapi", never: []string{ours + "internal/store"}, reason: throughCore},
	{in: "internal/web", never: []string{ours + "internal/store"}, reason: throughCore},
	{in: "internal/due", never: []string{ours + "internal/store"}, reason: throughCore},
	{in: "internal/feed", never: []string{ours + "internal/store"}, reason: throughCore},
	{in: "agent", never: []string{ours + "internal"}, except: []string{ours + "internal/seal"}, // it seals numbers in its own store
		reason: asOthersDo},
	{in: "client", never: []string{ours + "internal"}, reason: asOthersDo},
	{in: "internal/history", never: []string{ours + "internal"}, except: []string{ours + "internal/resume"}, reason: asOthersDo},
	{in: "guard", never: []string{ours + "internal"}, except: []string{ours + "internal/index"}, reason: asOthersDo},
	{in: "examples", never: []string{ours + "internal"}, reason: asOthersDo},
	{never: []string{"database/sql", "github.com/go-sql-driver", "github.com/jackc/pgx", "github.com/pressly/goose", "modernc.org/sqlite"},
		reason: "the hub's SQL is in internal/store, for both engines at once",
		exempt: map[string]string{
			"internal/store":       "its home, with pgtest and storetest",
			"internal/sandbox":     "its apps have SQL databases of their own",
			"agent":                "it works on an app's database",
			"internal/conformance": "it looks at a company's accounts",
			"bench":                "it fills and measures databases",
			"examples":             "a company's programs have databases of their own",
		}},
	{never: []string{"testing", ours + "hubtest", ours + "internal/index/measure", ours + "internal/store/pgtest", ours + "internal/store/storetest"},
		reason: "what serves tests stays out of the program",
		exempt: map[string]string{
			"internal/store/pgtest":    "serves tests",
			"internal/store/storetest": "serves tests",
			"hubtest":                  "serves tests",
			"bench":                    "is no part of the program",
		}},
	{never: []string{ours + "cmd", ours + "bench", ours + "examples"}, reason: "a program is the end of the line",
		exempt: map[string]string{"cmd": "a program may have parts", "examples": "a program may have parts"}},
}

const (
	throughCore = "every look and change goes through internal/core, which asks who may and records it"
	asOthersDo  = "it is built on by others and reaches a hub as anybody does, by its interfaces"
)

// within reports whether a path is dir or below it; "." has nothing below it.
func within(path, dir string) bool {
	return dir == "" || path == dir || strings.HasPrefix(path, dir+"/")
}

// matches reports whether an import is one of those that patterns stand for.
func matches(imported string, patterns []string) bool {
	first, _, _ := strings.Cut(imported, "/")
	isForeign := strings.Contains(first, ".") && !within(imported, module)
	return slices.ContainsFunc(patterns, func(p string) bool {
		return p == foreign && isForeign || within(imported, p)
	})
}

func (b ban) forbids(dir, imported string) bool {
	if !within(dir, b.in) || !matches(imported, b.never) || matches(imported, b.except) {
		return false
	}
	for exempt := range b.exempt {
		if within(dir, exempt) {
			return false
		}
	}
	return true
}

// ranked gives the directory of rank that dir belongs to.
func ranked(dir string) (string, bool) {
	for d := dir; ; d = filepath.Dir(d) {
		if _, ok := rank[d]; ok && (d != "." || dir == ".") {
			return d, true
		}
		if d == "." {
			return "", false
		}
	}
}

// sources gives the module's Go files without tests by directory, "." being the root.
func sources(t *testing.T) map[string][]string {
	t.Helper()
	files := make(map[string][]string)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch name := filepath.Base(path); {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (name == "testdata" || name[0] == '.' || name[0] == '_'):
			return filepath.SkipDir
		case !d.IsDir() && filepath.Ext(name) == ".go" && !strings.HasSuffix(name, "_test.go"):
			dir := filepath.ToSlash(filepath.Dir(path))
			files[dir] = append(files[dir], path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func parse(t *testing.T, path string, mode parser.Mode) *ast.File {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, mode)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestImportsRunOneWay(t *testing.T) {
	for dir, files := range sources(t) {
		from, ok := ranked(dir)
		if !ok {
			t.Errorf("%s has no place in the order of packages: give it one in rank", dir)
			continue
		}
		for _, file := range files {
			for _, imp := range parse(t, file, parser.ImportsOnly).Imports {
				imported, err := strconv.Unquote(imp.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				checkRank(t, file, from, imported)
				for _, b := range bans {
					if b.forbids(dir, imported) {
						t.Errorf("%s imports %s, but %s", file, imported, b.reason)
					}
				}
			}
		}
	}
}

func checkRank(t *testing.T, file, from, imported string) {
	t.Helper()
	dir := strings.TrimPrefix(imported, ours)
	switch {
	case imported == module:
		dir = "."
	case dir == imported:
		return
	}
	if to, ok := ranked(dir); ok && to != from && rank[to] >= rank[from] {
		t.Errorf("%s imports %s, but %s does not stand above %s", file, imported, from, to)
	}
}

func TestTheRulesNeverAskTheClock(t *testing.T) {
	for _, file := range sources(t)["."] {
		ast.Inspect(parse(t, file, parser.SkipObjectResolution), func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "time" &&
				slices.Contains([]string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "Local"}, sel.Sel.Name) {
				t.Errorf("%s uses time.%s, but a rule is given the time", file, sel.Sel.Name)
			}
			return true
		})
	}
}

// TestBansAreNotVacuous shows what the table forbids and what it lets through.
func TestBansAreNotVacuous(t *testing.T) {
	for _, c := range []struct {
		dir, imported string
		forbidden     bool
	}{
		{".", "os", true},
		{".", "net/http", true},
		{".", "net/url", false},
		{".", "golang.org/x/text/width", true},
		{"internal/store", ours + "internal/core", true},
		{"internal/store", module, false},
		{"internal/store/storetest", "database/sql", false},
		{"internal/core", "database/sql", true},
		{"internal/metering", ours + "internal/store", true},
		{"internal/metering", "github.com/prometheus/client_golang/prometheus", true},
		{"internal/metering", "hash/maphash", false},
		{"internal/index", module, true},
		{"internal/index", "golang.org/x/sys/unix", false},
		{"internal/index", "golang.org/x/text/width", true},
		{"internal/index/measure", ours + "internal/index", false},
		{"internal/sandbox/app", "modernc.org/sqlite", false},
		{"internal/httpapi", ours + "internal/store", true},
		{"internal/server", ours + "internal/store", false},
		{"internal/server", ours + "internal/store/pgtest", true},
		{"agent", "github.com/jackc/pgx/v5", false},
		{"agent", ours + "internal/core", true},
		{"agent", ours + "internal/seal", false},
		{"internal/server", "github.com/go-sql-driver/mysql", true},
		{"guard", ours + "internal/index", false},
		{"guard/sidecar", ours + "internal/core", true},
		{"examples/shop", ours + "guard", false},
		{"examples/shop", "modernc.org/sqlite", false},
		{"examples/shop", ours + "internal/index", true},
		{"internal/server", ours + "cmd/huanxin", true},
	} {
		if got := slices.ContainsFunc(bans, func(b ban) bool { return b.forbids(c.dir, c.imported) }); got != c.forbidden {
			t.Errorf("%s imports %s: forbidden is %v, want %v", c.dir, c.imported, got, c.forbidden)
		}
	}
}

package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"net/http"
	"strconv"
	"strings"
)

//go:embed templates static
var files embed.FS

// pageNames are the templates beside the layout.
var pageNames = []string{"home", "signin", "number", "apps", "confirm", "request", "requests", "certificate", "verify", "cancelling", "former", "problem"}

// pages holds every template in both languages, by name: the one in English under "en/".
var pages = func() map[string]*template.Template {
	out := map[string]*template.Template{}
	for _, english := range []bool{false, true} {
		prefix := ""
		if english {
			prefix = "en/"
		}
		t := func(key string, args ...any) string { return say(english, key, args...) }
		for _, name := range pageNames {
			out[prefix+name] = template.Must(template.New(name).Funcs(template.FuncMap{"t": t}).ParseFS(files, "templates/layout.html", "templates/"+name+".html"))
		}
	}
	return out
}()

// asset is a file that browsers keep for ever: its name tells its content.
type asset struct {
	path, kind string
	content    []byte
}

func newAsset(name, kind string) asset {
	content, err := files.ReadFile("static/" + name)
	if err != nil {
		panic("web: " + err.Error()) // it is embedded
	}
	sum := sha256.Sum256(content)
	stem, ext, _ := strings.Cut(name, ".")
	return asset{"/assets/" + stem + "-" + hex.EncodeToString(sum[:6]) + "." + ext, kind, content}
}

var (
	stylesheet = newAsset("style.css", "text/css; charset=utf-8")
	script     = newAsset("live.js", "text/javascript; charset=utf-8")
)

func (a asset) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", a.kind)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(a.content)
}

// Frame is what every page has around it.
type Frame struct {
	Lang     string
	English  bool
	Large    bool
	Title    string
	CSS, JS  string
	Script   bool
	Refresh  int    // seconds after which a page without script loads itself again; 0: never
	Live     string // where the page hears that it changed; empty: nowhere
	Menu     []MenuItem
	SignedIn bool
	Demo     bool
	Back     string // where changing a preference comes back to
}

// MenuItem is a place to go.
type MenuItem struct {
	Path, Key string
	Here      bool
}

// menus are the places of everybody, and of a holder who signed in.
var menus = map[bool][]MenuItem{
	false: {{Path: "/home", Key: "home"}, {Path: "/sign-in", Key: "sign-in"}, {Path: "/verify", Key: "verify-title"}},
	true: {{Path: "/number", Key: "my-number"}, {Path: "/apps", Key: "choose"}, {Path: "/requests", Key: "history"},
		{Path: "/certificate", Key: "cert"}},
}

// newFrame gives the frame of a page at a path.
func newFrame(titleKey, path string, english, large, signedIn, demo bool) Frame {
	f := Frame{Lang: "zh-CN", English: english, Large: large, Title: say(english, titleKey), CSS: stylesheet.path, JS: script.path, SignedIn: signedIn, Demo: demo, Back: path}
	if english {
		f.Lang = "en"
	}
	for _, m := range menus[signedIn] {
		m.Here = m.Path == path
		f.Menu = append(f.Menu, m)
	}
	return f
}

// Render writes a page: a template by its name, and the model that it shows, which has a Frame F.
func Render(name string, english bool, model any) ([]byte, error) {
	if english {
		name = "en/" + name
	}
	var b bytes.Buffer
	if err := pages[name].ExecuteTemplate(&b, "layout", model); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// grouped writes a Chinese number as people read it: +86 138 0000 0001.
func grouped(e164 string) string {
	if rest, ok := strings.CutPrefix(e164, "+86"); ok && len(rest) == 11 {
		return "+86 " + rest[:3] + " " + rest[3:7] + " " + rest[7:]
	}
	return e164
}

func itoa(n int) string { return strconv.Itoa(n) }

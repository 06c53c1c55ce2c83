// Command shop is a small web shop with sign-in by SMS, twice: as many shops are, and with huanxin's guard. It is an example
// of how a company uses package guard; everything to copy is in signin.go.
//
//	make example
//
// starts the demo world of huanxin and both shops, plays the story of a number's former and present holder, and leaves the shops
// open to look at.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/guard"
)

type options struct {
	demo, sandbox   string
	database        string
	listen, guarded string
	replica, once   bool
}

func main() {
	var o options
	flag.StringVar(&o.demo, "demo", "", "`program` huanxin, whose demo is started")
	flag.StringVar(&o.sandbox, "sandbox", "", "`file` sandbox.json of a demo that runs already")
	flag.StringVar(&o.database, "database", "", "a postgres:// `URL`; without it SQLite in a temporary directory")
	flag.StringVar(&o.listen, "listen", "127.0.0.1:8081", "`address` of the shop without the guard")
	flag.StringVar(&o.guarded, "guarded", "127.0.0.1:8082", "`address` of the shop with the guard")
	flag.BoolVar(&o.replica, "replica", false, "let the guard keep a local replica")
	flag.BoolVar(&o.once, "once", false, "play the story and end")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "shop:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "huanxin-shop-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if o.demo != "" {
		fmt.Fprintln(out, "启动演示世界…… / starting the demo world …")
		stop, err := startDemo(o.demo, filepath.Join(dir, "demo"))
		if err != nil {
			return err
		}
		defer stop()
		o.sandbox = filepath.Join(dir, "demo", "sandbox.json")
	}
	hub, people, err := enter(o.sandbox)
	if err != nil {
		return err
	}
	g, err := newGuard(ctx, hub, people, o, dir)
	if err != nil {
		return err
	}
	defer g.Close()
	// The story is played in shops of its own, so that those that are left open are as they were.
	if err := rehearse(ctx, out, g, people, o, dir); err != nil || o.once {
		return err
	}
	open, err := openShop(ctx, "shop_open", nil, people, o.database, dir, o.listen)
	if err != nil {
		return err
	}
	defer open.close()
	guarded, err := openShop(ctx, "shop_guarded", g, people, o.database, dir, o.guarded)
	if err != nil {
		return err
	}
	defer guarded.close()
	fmt.Fprintf(out, `
自己试试 / Try it yourself:
  无守卫 without the guard   %s
  有守卫 with the guard      %s
  验证码 codes               %s/phone
  李伟(现机主)Li Wei, who has the number now: %s
  王芳(前机主)Wang Fang, who had it: %s / %s
  陈静(没换过)Chen Jing, who has kept hers: %s
  赵磊(无法确认)Zhao Lei, of whom it cannot be told: %s / %s
Ctrl-C 结束 / ends.
`, open.url, guarded.url, guarded.url, people.Recycled.Number, formerLogin, formerPassword, people.Kept.Number, people.Unknown.Number, unsurePassword)
	<-ctx.Done()
	return nil
}

// rehearse plays the story.
func rehearse(ctx context.Context, out io.Writer, g *guard.Guard, people cast, o options, dir string) error {
	open, err := openShop(ctx, "story_open_"+suffix(), nil, people, o.database, dir, "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer open.drop()
	guarded, err := openShop(ctx, "story_guarded_"+suffix(), g, people, o.database, dir, "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer guarded.drop()
	return play(ctx, out, open.url, guarded.url, people)
}

func suffix() string { return fmt.Sprint(key() % 1_000_000_000) }

// startDemo runs the demo world until stop is called.
func startDemo(program, dir string) (stop func(), err error) {
	cmd := exec.Command(program, "demo", "--still", "--listen", "127.0.0.1:0", "--data", dir)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.SysProcAttr = ownGroup // Ctrl-C ends the shops first
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_, _ = io.Copy(io.Discard, stdout)
		_ = cmd.Wait()
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "ready ") {
		stop()
		return nil, fmt.Errorf("the demo does not start: %q %w", line, err)
	}
	return stop, nil
}

// enter reads from sandbox.json where the hub is, as whom to ask it, and the numbers of the story.
func enter(sandbox string) (*client.Client, cast, error) {
	var f struct {
		BaseURL string `json:"base_url"`
		Clients []struct {
			ID     string `json:"id"`
			Client string `json:"client_id"`
			Secret string `json:"client_secret"`
		} `json:"clients"`
		Numbers map[string]struct{ Number, Since string } `json:"numbers"`
	}
	text, err := os.ReadFile(sandbox)
	if err != nil {
		return nil, cast{}, fmt.Errorf("%w (give -demo ./bin/huanxin, or -sandbox demo-data/sandbox.json)", err)
	}
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, cast{}, fmt.Errorf("%s: %w", sandbox, err)
	}
	at := func(name string) bound {
		day, err := time.ParseInLocation(time.DateOnly, f.Numbers[name].Since, huanxin.China)
		if err != nil {
			return bound{}
		}
		return bound{f.Numbers[name].Number, day.Add(12 * time.Hour)}
	}
	people := cast{Recycled: at("changed"), Kept: at("unchanged"), Unknown: at("unknown"), Fresh: f.Numbers["never_seen"].Number}
	for _, c := range f.Clients {
		if c.ID == "yours" {
			return client.New(client.Options{URL: f.BaseURL, ID: c.Client, Secret: c.Secret}), people, nil
		}
	}
	return nil, cast{}, errors.New("the sandbox has no app named yours")
}

// newGuard opens the guard. With a replica the shop tells the hub of which numbers it is to be made; a real one does so with each new
// account, or every night (huanxin replica upload).
func newGuard(ctx context.Context, hub *client.Client, c cast, o options, dir string) (*guard.Guard, error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	opts := guard.Options{Hub: hub, Log: log}
	if !o.replica {
		return guard.Open(ctx, opts)
	}
	if _, err := hub.UploadReplicaNumbers(ctx, []string{c.Recycled.Number, c.Kept.Number, c.Unknown.Number}); err != nil {
		return nil, err
	}
	opts.Replica = &guard.Replica{Path: filepath.Join(dir, "replica")}
	g, err := guard.Open(ctx, opts)
	if err != nil {
		return nil, err
	}
	return g, g.Refresh(ctx) // a shop that is never without an answer need not wait for it
}

// running is a shop that serves.
type running struct {
	url   string
	name  string
	store *store
	http  *http.Server
}

func openShop(ctx context.Context, name string, g *guard.Guard, people cast, database, dir, address string) (*running, error) {
	if database == "" {
		database = filepath.Join(dir, name+".db")
	}
	s, err := openStore(ctx, database, name)
	if err != nil {
		return nil, err
	}
	if err := s.seed(ctx, people); err != nil {
		return nil, errors.Join(err, s.db.Close())
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, errors.Join(err, s.db.Close())
	}
	shop := &Shop{store: s, guard: g, name: name, log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	r := &running{url: "http://" + l.Addr().String(), name: name, store: s, http: &http.Server{Handler: shop.Handler(), ReadHeaderTimeout: 5 * time.Second}}
	go func() {
		if err := r.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			shop.log.Error("the shop stopped", "error", err)
		}
	}()
	return r, nil
}

func (r *running) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = r.http.Shutdown(ctx)
	_ = r.store.db.Close()
}

// drop closes a shop and removes what it kept in PostgreSQL; files go with their directory.
func (r *running) drop() {
	_, _ = r.store.db.Exec("DROP SCHEMA " + r.name + " CASCADE") // SQLite has none
	r.close()
}

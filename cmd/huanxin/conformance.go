package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/conformance"
)

const conformanceForm = "conformance [--dir DIR] [--seed-sql FILE] [--driver D --dsn DSN | --seed COMMAND] [--company COMMAND] [--inspect URL | --inspect-sql FILE] [flags]"

// conformanceFlags are those of the command that do not stand in the options as they are.
type conformanceFlags struct {
	jwks, kinds, domains, without string
	seedSQL, seed, company        string
	driver, dsn, dsnFile          string
	inspect, inspectSQL           string
	o                             conformance.Options
	db                            *conformance.Database
	program                       *program
}

func (c *conformanceFlags) add(f *flag.FlagSet) {
	c.o = conformance.DefaultOptions()
	o := &c.o
	f.StringVar(&o.Dir, "dir", o.Dir, "`directory` for the files for the company, and the report")
	f.StringVar(&o.Listen, "listen", o.Listen, "`address` of the hub of the run")
	f.StringVar(&o.PublicURL, "public-url", "", "`URL` under which the company reaches it, if a proxy or TLS is in front")
	f.StringVar(&o.TLSCert, "tls-cert", "", "`file` of a certificate chain (PEM), with --tls-key")
	f.StringVar(&o.TLSKey, "tls-key", "", "`file` of its key")
	f.StringVar(&o.ClientID, "client-id", o.ClientID, "`id` of the company's client")
	f.StringVar(&c.jwks, "jwks", "", "`file` of the company's public keys (JWK set), in place of a secret")
	f.StringVar(&o.Class, "class", "", "the app's class, such as payment")
	f.StringVar(&c.kinds, "kinds", "unbind", "kinds of task that the company works")
	f.StringVar(&c.domains, "domains", "", "domains of the company's links")
	f.StringVar(&c.without, "without", "", "facts that the company does not keep: "+strings.Join(conformance.Facts, ","))
	f.StringVar(&o.Segment, "segment", o.Segment, "`prefix` of the accounts' numbers; 154 was never allotted")
	f.DurationVar(&o.Connect, "connect", o.Connect, "how long the company may take to connect")
	f.DurationVar(&o.Within, "within", o.Within, "how long it may take to do something")
	f.DurationVar(&o.Quiet, "quiet", o.Quiet, "how long nothing must happen where nothing must")
	f.StringVar(&c.seedSQL, "seed-sql", "", "`file` of the company's INSERTs for one account, with :account, :number_national and the other columns of accounts.csv; all of them are written to accounts.sql")
	f.StringVar(&c.driver, "driver", "", "postgres, mysql or sqlite: the database of --dsn")
	f.StringVar(&c.dsn, "dsn", "", "the company's database for tests, where --seed-sql is done and --inspect-sql asked")
	f.StringVar(&c.dsnFile, "dsn-file", "", "`file` that holds the dsn")
	f.StringVar(&c.seed, "seed", "", "`command` that makes the accounts of accounts.csv")
	f.StringVar(&c.company, "company", "", "`command` that is the company's program, to be started, killed once and started again")
	f.StringVar(&c.inspect, "inspect", "", "`URL` that is asked by POST {account, number} and answers {is_key, exists, unbound}")
	f.StringVar(&c.inspectSQL, "inspect-sql", "", "`file` of a statement that gives is_key, and if you like account_exists and unbound, of :account and :number_national")
}

func conform(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("conformance", flag.ContinueOnError)
	var c conformanceFlags
	c.add(f)
	if _, err := parse(f, args, 0, conformanceForm); err != nil {
		return err
	}
	if err := c.prepare(); err != nil {
		return err
	}
	defer c.end()
	rep, err := conformance.Run(ctx, c.o)
	if err != nil {
		return err
	}
	if err := rep.Write(c.o.Dir); err != nil {
		return err
	}
	tell(conformance.Text{Zh: fmt.Sprintf("通过 %d,未通过 %d,未检验 %d;报告:%s", rep.Passed, rep.Failed, rep.Skipped, filepath.Join(c.o.Dir, conformance.ReportHTML)),
		En: fmt.Sprintf("passed %d, failed %d, skipped %d; report: %s", rep.Passed, rep.Failed, rep.Skipped, filepath.Join(c.o.Dir, conformance.ReportJSON))})
	if !rep.OK() {
		if c.program != nil && rep.Results[0].Code == "connect" {
			fmt.Println(c.program.last())
		}
		return errors.New(say("有未通过的项,报告里写着怎样改", "some scenarios failed: the report says what to mend"))
	}
	return nil
}

// tell says something in both languages, Chinese first.
func tell(t conformance.Text) { fmt.Printf("%s\n  %s\n", t.Zh, t.En) }

func listOf(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

// prepare reads files and refuses what cannot be meant.
func (c *conformanceFlags) prepare() (err error) {
	o := &c.o
	o.Say = tell
	o.Domains, o.Without, o.Kinds = listOf(c.domains), listOf(c.without), nil
	for _, k := range listOf(c.kinds) {
		kind, err := huanxin.ParseTaskKind(k)
		if err != nil {
			return err
		}
		o.Kinds = append(o.Kinds, kind)
	}
	for _, w := range o.Without {
		if !slices.Contains(conformance.Facts, w) {
			return huanxin.BadField("without", "malformed", "is some of "+strings.Join(conformance.Facts, ", "))
		}
	}
	for d, name := range map[time.Duration]string{o.Connect: "connect", o.Within: "within", o.Quiet: "quiet"} {
		if d <= 0 {
			return huanxin.BadField(name, "out_of_range", "is more than 0")
		}
	}
	if n := len(o.Segment); n < 3 || n > 5 || strings.Trim(o.Segment, "0123456789") != "" || o.Segment[0] != '1' {
		return huanxin.BadField("segment", "malformed", "is 3 to 5 digits that begin with 1")
	}
	if c.jwks != "" {
		if o.JWKS, err = os.ReadFile(c.jwks); err != nil {
			return err
		}
	}
	if c.seedSQL != "" {
		text, err := os.ReadFile(c.seedSQL)
		if err != nil {
			return err
		}
		o.SeedSQL = string(text)
	}
	if err := c.accounts(); err != nil {
		return err
	}
	if c.company != "" {
		c.program = &program{command: c.company, log: filepath.Join(o.Dir, "company.log")}
		o.Start, o.Restart, o.Gone = c.program.start, c.program.restart, c.program.gone
	}
	return nil
}

// accounts says how accounts are made and looked at.
func (c *conformanceFlags) accounts() (err error) {
	if c.dsnFile != "" {
		text, err := os.ReadFile(c.dsnFile)
		if err != nil {
			return err
		}
		c.dsn = strings.TrimSpace(string(text))
	}
	if c.dsn != "" {
		if c.db, err = conformance.OpenDatabase(c.driver, c.dsn); err != nil {
			return huanxin.BadField("dsn", "malformed", err.Error())
		}
	}
	switch {
	case c.inspect != "" && c.inspectSQL != "":
		return huanxin.BadField("inspect", "malformed", "either --inspect or --inspect-sql")
	case c.inspect != "":
		c.o.Inspector = &conformance.HTTPInspector{URL: c.inspect}
	case c.inspectSQL != "" && c.db == nil:
		return huanxin.BadField("inspect-sql", "malformed", "--driver and --dsn say which database is asked")
	case c.inspectSQL != "":
		text, err := os.ReadFile(c.inspectSQL)
		if err != nil {
			return err
		}
		c.o.Inspector = c.db.Inspector(string(text))
	}
	switch {
	case c.seed != "":
		c.o.Seed = func(ctx context.Context) error {
			cmd := exec.CommandContext(ctx, "sh", "-c", c.seed)
			cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
			if err := cmd.Run(); err != nil {
				return fmt.Errorf("--seed: %w", err)
			}
			return nil
		}
	case c.seedSQL != "" && c.db != nil:
		c.o.Seed = c.insert
	default:
		c.o.Seed = c.waitForPeople
	}
	return nil
}

// insert does the statements of accounts.sql, all or none.
func (c *conformanceFlags) insert(ctx context.Context) error {
	text, err := os.ReadFile(filepath.Join(c.o.Dir, conformance.SQLFile))
	if err != nil {
		return err
	}
	if err := c.db.Do(ctx, conformance.Split(string(text))); err != nil {
		return fmt.Errorf("--seed-sql: %w", err)
	}
	return nil
}

// waitForPeople waits until somebody says that the accounts are made.
func (c *conformanceFlags) waitForPeople(ctx context.Context) error {
	tell(conformance.Text{Zh: "请按 " + filepath.Join(c.o.Dir, conformance.AccountsFile) + " 在测试库里建账号,然后按回车",
		En: "make the accounts of that file in your database for tests, then press Enter"})
	line := make(chan error, 1)
	go func() {
		_, err := bufio.NewReader(os.Stdin).ReadString('\n')
		line <- err
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-line:
		if err != nil {
			return huanxin.BadField("seed", "required", "nobody says that the accounts are made: give --seed, or --seed-sql with --dsn, or press Enter")
		}
		return nil
	}
}

func (c *conformanceFlags) end() {
	if c.program != nil {
		c.program.stop()
	}
	if c.db != nil {
		_ = c.db.Close()
	}
}

// program is the company's. Its output goes to a file.
type program struct {
	command, log string
	cmd          *exec.Cmd
	ended        chan struct{} // closed when cmd has ended, and its output is in the file
}

func (p *program) start(context.Context) error {
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	cmd := exec.Command("sh", "-c", "exec "+p.command) // so that the program itself is killed
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return errors.Join(fmt.Errorf("--company: %w", err), out.Close())
	}
	p.cmd, p.ended = cmd, make(chan struct{})
	go func(ended chan struct{}) {
		_ = cmd.Wait()
		_ = out.Close()
		close(ended)
	}(p.ended)
	return nil
}

func (p *program) gone() <-chan struct{} { return p.ended }

func (p *program) restart(ctx context.Context) error {
	p.kill()
	return p.start(ctx)
}

func (p *program) kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	<-p.ended
	p.cmd = nil
}

// stop has the program end by itself, and kills it if it does not.
func (p *program) stop() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(os.Interrupt)
	select {
	case <-p.ended:
	case <-time.After(5 * time.Second):
	}
	p.kill()
}

// last gives the end of what the program said.
func (p *program) last() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

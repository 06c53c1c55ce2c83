package agent

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/huanxin-platform/huanxin"
	"go.yaml.in/yaml/v4"
)

// Config is everything that a company says to its agent. The file is strict YAML: an unknown or repeated key is an error that names its
// line. Secrets stand in files of their own.
type Config struct {
	Hub HubConfig `yaml:"hub"`
	// State is the directory of the agent's own state: its database, the keys that seal numbers in it, and a lock. It is made with mode 0700.
	State string `yaml:"state"`
	// Zone is the time zone of dates and of times without an offset in the company's database.
	Zone     string         `yaml:"zone"`
	Delivery DeliveryConfig `yaml:"delivery"`
	// SQL or HTTP is how accounts are reached.
	SQL  *SQLConfig  `yaml:"sql"`
	HTTP *HTTPConfig `yaml:"http"`
	// HighValue are the classes of accounts at which a number stops being a key at once and the unbinding is final after timings.hold.
	// A binding without a class of its own has that of the app in the hub's registry.
	HighValue []string `yaml:"high_value"`
	// Kinds are the kinds of task that are worked. Others are answered kept, not_in_scope.
	Kinds []string `yaml:"kinds"`
	// Links are where the holder goes on after action_required, by reason; {task} stands for the task's id.
	Links   map[string]string `yaml:"links"`
	Timings Timings           `yaml:"timings"`
	// KillSwitch is a file: while it is there, nothing is done to accounts.
	KillSwitch string `yaml:"kill_switch"`
	// ClockTolerance is how far the machine's clock may be from the hub's while the agent acts.
	ClockTolerance Duration `yaml:"clock_tolerance"`
	// Page is the loopback address of the live page and the metrics; empty: none.
	Page string `yaml:"page"`
	// Log is debug, info, warn or error.
	Log string `yaml:"log"`
	// AnswerSETs has the answers to single tasks signed with hub.key_file, as SETs, which the hub keeps as evidence.
	AnswerSETs bool `yaml:"answer_sets"`
}

// HubConfig says which hub, and as whom. One of KeyFile (PEM or JWK, private_key_jwt) and SecretFile is given.
type HubConfig struct {
	URL        string `yaml:"url"`
	ClientID   string `yaml:"client_id"`
	KeyFile    string `yaml:"key_file"`
	SecretFile string `yaml:"secret_file"`
}

// DeliveryConfig is how tasks come: "poll" (default) and "push" by a stream of the feed, "list" by listing open tasks alone.
type DeliveryConfig struct {
	Mode string `yaml:"mode"`
	// Of push: where to listen, the public https URL that leads there, and a file with the value of the authorization header.
	Listen            string `yaml:"listen"`
	URL               string `yaml:"url"`
	AuthorizationFile string `yaml:"authorization_file"`
	// ListEvery is how often open tasks are listed; with a stream, to be sure that nothing was missed.
	ListEvery Duration `yaml:"list_every"`
}

// Timings of the service and of the agent.
type Timings struct {
	// Hold is from when a high-value number stopped being a key until its unbinding is final; Restore how long it can be undone.
	Hold    Duration `yaml:"hold"`
	Restore Duration `yaml:"restore"`
	// LookAgain is how often a task that is in review or waits for the holder is decided about anew.
	LookAgain Duration `yaml:"look_again"`
	// Timeout bounds one statement, or one request to the hub or the company's endpoint.
	Timeout Duration `yaml:"timeout"`
	// Keep is how long a finished task is remembered, without its number.
	Keep Duration `yaml:"keep"`
	// HoldEvery is how often the hub's kill switch is asked for.
	HoldEvery Duration `yaml:"hold_every"`
	// Retry is the first wait after a failure; it doubles, up to RetryMost.
	Retry     Duration `yaml:"retry"`
	RetryMost Duration `yaml:"retry_most"`
}

// SQLConfig reaches accounts by the company's own statements, with named parameters only. docs/agent.md lists parameters and columns.
type SQLConfig struct {
	// Driver is postgres, mysql (MariaDB too) or sqlite.
	Driver string `yaml:"driver"`
	// DSN, or the file that holds it, says where: a postgres:// URL, user:password@tcp(host:3306)/database, or a file's path.
	DSN     string `yaml:"dsn"`
	DSNFile string `yaml:"dsn_file"`
	// Connections at most; 0: 8 (SQLite: 1).
	Connections int `yaml:"connections"`
	// Lease is what a second agent on the same accounts does: wait (default) or exit.
	Lease string `yaml:"lease"`
	// MaxBindings is how many bindings of one number are at most taken for what they seem; a number with more is reviewed.
	MaxBindings int `yaml:"max_bindings"`

	Find        string     `yaml:"find"`
	StillBound  string     `yaml:"still_bound"`
	Suspend     Statements `yaml:"suspend_key"`
	Resume      Statements `yaml:"resume_key"`
	Unbind      Statements `yaml:"unbind"`
	Restore     Statements `yaml:"restore"`
	EndSessions Statements `yaml:"end_sessions"`
	Notify      Statements `yaml:"notify"`
	// What is kept on a number itself, by kind of task.
	StopContact     *MarkConfig `yaml:"stop_contact"`
	ClearLabel      *MarkConfig `yaml:"clear_label"`
	LiftRestriction *MarkConfig `yaml:"lift_restriction"`
}

// MarkConfig finds what is kept on a number (an entry of a call list, a label, a ban) and takes it off.
type MarkConfig struct {
	Find   string     `yaml:"find"`
	Remove Statements `yaml:"remove"`
}

// Statements are done one after the other, in one transaction.
type Statements []Statement

// Statement is one of the company's, and how many rows it may touch at most; 0: the default of its place.
type Statement struct {
	SQL  string `yaml:"sql"`
	Rows int    `yaml:"rows"`
}

// UnmarshalYAML reads one statement, {sql, rows}, or a list of either.
func (s *Statements) UnmarshalYAML(n *yaml.Node) error {
	list := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		list = n.Content
	}
	for _, item := range list {
		var one Statement
		if item.Kind == yaml.ScalarNode {
			one.SQL = item.Value
		} else if err := item.Load(&one, yaml.WithKnownFields(), yaml.WithUniqueKeys()); err != nil {
			return err
		}
		*s = append(*s, one)
	}
	return nil
}

// HTTPConfig reaches accounts by an endpoint of the company's. docs/agent.md describes its requests.
type HTTPConfig struct {
	// URL is the endpoint's, https unless it is on loopback. find, unbind and so on are added to it.
	URL string `yaml:"url"`
	// Attempts is how often a request is tried at most before the task is put off.
	Attempts int `yaml:"attempts"`
	// Concurrency is how many requests are under way at once.
	Concurrency int `yaml:"concurrency"`
	MaxBindings int `yaml:"max_bindings"`
	// Does lists what the endpoint does beyond find, unbind and restore: suspend (and resume), lease, stop_contact, clear_label,
	// lift_restriction. With lease, of several agents there one acts; without, an unbinding that two ask for is done once.
	Does []string `yaml:"does"`
}

// Duration is written as Go writes durations: 15m, 6h.
type Duration time.Duration

// UnmarshalText reads a duration, which is not negative.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v < 0 {
		return fmt.Errorf("%q is no duration: write 90s, 15m or 6h", text)
	}
	*d = Duration(v)
	return nil
}

// DefaultConfig is what holds where the file says nothing.
func DefaultConfig() Config {
	d := huanxin.DefaultDurations()
	return Config{
		State: "agent", Zone: "Asia/Shanghai", HighValue: huanxin.HighValueClasses(), Kinds: []string{"unbind"}, Log: "info",
		Delivery: DeliveryConfig{Mode: "poll", ListEvery: Duration(10 * time.Minute)},
		Timings: Timings{Hold: Duration(d.HighValueHold), Restore: Duration(d.Restore), LookAgain: Duration(time.Hour),
			Timeout: Duration(15 * time.Second), Keep: Duration(180 * 24 * time.Hour), HoldEvery: Duration(30 * time.Second),
			Retry: Duration(2 * time.Second), RetryMost: Duration(10 * time.Minute)},
		ClockTolerance: Duration(time.Minute),
	}
}

// LoadConfig reads a file over the defaults. Files that it names are relative to its own directory.
func LoadConfig(path string) (Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Config{}, err
	}
	c, err := ParseConfig(text)
	if err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	for _, file := range []*string{&c.State, &c.Hub.KeyFile, &c.Hub.SecretFile, &c.Delivery.AuthorizationFile, &c.KillSwitch} {
		if *file != "" && !filepath.IsAbs(*file) {
			*file = filepath.Join(filepath.Dir(path), *file)
		}
	}
	if c.SQL != nil && c.SQL.DSNFile != "" && !filepath.IsAbs(c.SQL.DSNFile) {
		c.SQL.DSNFile = filepath.Join(filepath.Dir(path), c.SQL.DSNFile)
	}
	return c, nil
}

// ParseConfig reads a configuration over the defaults, without judging it.
func ParseConfig(text []byte) (Config, error) {
	c := DefaultConfig()
	err := yaml.Load(text, &c, yaml.WithKnownFields(), yaml.WithUniqueKeys())
	return c, err
}

// Check refuses a configuration that cannot work, naming every key that is wrong.
func (c *Config) Check() error { return c.check(&Options{}) }

// check is Check for who gives some of it by options.
func (c *Config) check(o *Options) error {
	var errs []error
	must := func(ok bool, key, detail string, args ...any) {
		if !ok {
			errs = append(errs, tell("%s: %w", key, tell(detail, args...)))
		}
	}
	c.checkHub(must, o)
	c.checkDelivery(must, o)
	c.checkTimings(must)
	must(c.State != "", "state", "names the directory of the agent's own state")
	_, err := c.zone()
	must(err == nil, "zone", "%q is no time zone, such as Asia/Shanghai", c.Zone)
	for _, k := range c.Kinds {
		_, err := huanxin.ParseTaskKind(k)
		must(err == nil, "kinds", "%q is no kind of task: unbind, stop_contact, clear_label, lift_restriction", k)
	}
	for reason, link := range c.Links {
		r, err := huanxin.ParseReason(reason)
		must(err == nil && huanxin.ActionRequired.Fits(r), "links", "%q is no reason of action_required", reason)
		u, err := url.Parse(strings.ReplaceAll(link, "{task}", "t"))
		must(err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil, "links", "%s is no https URL without credentials", reason)
	}
	must(new(slog.LevelVar).UnmarshalText([]byte(c.Log)) == nil, "log", "%q is not debug, info, warn or error", c.Log)
	if c.Page != "" {
		must(onLoopback(c.Page), "page", "%s is no loopback address: the page is for this machine alone", c.Page)
	}
	must((c.SQL == nil) != (c.HTTP == nil), "sql", "either sql or http says how accounts are reached")
	if c.SQL != nil {
		c.checkSQL(must)
	}
	if c.HTTP != nil {
		u, err := url.Parse(c.HTTP.URL)
		must(err == nil && u.Host != "" && u.User == nil && u.RawQuery == "" && (u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname())),
			"http.url", "is an https URL without credentials and query, or http on loopback")
		for _, d := range c.HTTP.Does {
			_, err := huanxin.ParseTaskKind(d)
			must(err == nil || slices.Contains([]string{"suspend", "resume", "lease"}, d), "http.does",
				"%q is not suspend, resume, lease, stop_contact, clear_label or lift_restriction", d)
		}
		must(c.Hub.KeyFile != "", "http", "requests are signed with hub.key_file, which is missing")
	}
	return errors.Join(errs...)
}

func (c *Config) checkHub(must func(bool, string, string, ...any), o *Options) {
	u, err := url.Parse(c.Hub.URL)
	must(err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname())), "hub.url", "is the hub's https URL")
	must(c.Hub.ClientID != "", "hub.client_id", "says as whom; the hub's operator gives it")
	must((c.Hub.KeyFile == "") != (c.Hub.SecretFile == "" && o.Secret == ""), "hub", "either key_file or secret_file")
	must(!c.AnswerSETs || c.Hub.KeyFile != "", "answer_sets", "answers are signed with hub.key_file, which is missing")
}

func (c *Config) checkDelivery(must func(bool, string, string, ...any), o *Options) {
	switch d := c.Delivery; d.Mode {
	case "poll", "list":
	case "push":
		_, _, err := net.SplitHostPort(d.Listen)
		must(err == nil || d.Listen == "" && o.Authorization != "", "delivery.listen", "push needs an address of the form host:port to listen on")
		u, err := url.Parse(d.URL)
		must(err == nil && u.Host != "" && (u.Scheme == "https" || loopback(u.Hostname())), "delivery.url", "push needs the https URL that the hub reaches")
		must(d.AuthorizationFile != "" || o.Authorization != "", "delivery.authorization_file", "push needs a secret that the hub shows")
	default:
		must(false, "delivery.mode", "%q is not poll, push or list", d.Mode)
	}
	must(c.Delivery.ListEvery > 0, "delivery.list_every", "must be more than 0")
}

func (c *Config) checkTimings(must func(bool, string, string, ...any)) {
	d := huanxin.DefaultDurations()
	t := c.Timings
	must(time.Duration(t.Hold) >= d.HighValueHold, "timings.hold", "is at least 24h (DOMAIN.md, the table of §6)")
	must(time.Duration(t.Restore) >= d.Restore, "timings.restore", "is at least 72h")
	for key, v := range map[string]Duration{"look_again": t.LookAgain, "timeout": t.Timeout, "hold_every": t.HoldEvery, "retry": t.Retry, "retry_most": t.RetryMost} {
		must(v > 0, "timings."+key, "must be more than 0")
	}
	must(t.Keep >= t.Restore, "timings.keep", "is not shorter than timings.restore")
	must(c.ClockTolerance >= Duration(2*time.Second) && c.ClockTolerance <= Duration(10*time.Minute), "clock_tolerance", "is 2s to 10m")
}

func (c *Config) checkSQL(must func(bool, string, string, ...any)) {
	s := c.SQL
	_, ok := dialects[s.Driver]
	must(ok, "sql.driver", "%q is not postgres, mysql or sqlite", s.Driver)
	must((s.DSN == "") != (s.DSNFile == ""), "sql", "either dsn or dsn_file")
	must(s.Lease == "" || s.Lease == "wait" || s.Lease == "exit", "sql.lease", "is wait or exit")
	must(s.Connections >= 0 && s.MaxBindings >= 0, "sql", "connections and max_bindings are not negative")
	must((len(s.Suspend) == 0) == (len(s.Resume) == 0), "sql", "suspend_key and resume_key belong together")
	if slices.Contains(c.Kinds, "unbind") {
		must(s.Find != "" && len(s.Unbind) > 0 && len(s.Restore) > 0, "sql", "find, unbind and restore are needed for the kind unbind")
	}
	for _, k := range c.Kinds {
		if kind, err := huanxin.ParseTaskKind(k); err == nil && kind != huanxin.Unbind {
			m := s.mark(kind)
			must(m != nil && m.Find != "" && len(m.Remove) > 0, "sql."+k, "find and remove are needed for this kind")
		}
	}
}

func (s *SQLConfig) mark(k huanxin.TaskKind) *MarkConfig {
	switch k {
	case huanxin.StopContact:
		return s.StopContact
	case huanxin.ClearLabel:
		return s.ClearLabel
	case huanxin.LiftRestriction:
		return s.LiftRestriction
	}
	return nil
}

// zone gives the company's zone. China's needs no zone database.
func (c *Config) zone() (*time.Location, error) {
	if c.Zone == "" || c.Zone == "Asia/Shanghai" {
		return huanxin.China, nil
	}
	return time.LoadLocation(c.Zone)
}

func onLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && loopback(host)
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// secretIn reads a file's one secret.
func secretIn(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if s := strings.TrimSpace(string(text)); s != "" {
		return s, nil
	}
	return "", tell("%s: the file is empty", path)
}

func (s *SQLConfig) dsn() (string, error) {
	if s.DSN != "" {
		return s.DSN, nil
	}
	return secretIn(s.DSNFile)
}

func (s *SQLConfig) maxBindings() int { return cmp.Or(s.MaxBindings, 50) }

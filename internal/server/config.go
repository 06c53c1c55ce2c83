// Package server puts a hub together from its configuration and runs it: listeners, wiring, metrics, health, shutdown.
package server

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/auth"
	"github.com/huanxin-platform/huanxin/internal/auth/signin"
	"github.com/huanxin-platform/huanxin/internal/core"
	"github.com/huanxin-platform/huanxin/internal/feed"
	"go.yaml.in/yaml/v4"
)

// Config is everything that can be set. With nothing set a hub runs on SQLite in ./data and listens on loopback.
// The file is strict YAML: an unknown or repeated key is an error. Secrets stand in files of their own.
type Config struct {
	// Listen is the address to serve on. Without TLS and without BehindProxy it must be a loopback address.
	Listen string `yaml:"listen"`
	// PublicURL is the address under which others reach the hub, and its issuer: https, without a trailing slash.
	// Unset on a loopback listener: http and that address.
	PublicURL string `yaml:"public_url"`
	// BehindProxy says that a proxy in front terminates TLS and is the only one who can reach Listen.
	BehindProxy bool `yaml:"behind_proxy"`
	TLS         TLS  `yaml:"tls"`
	// OpsListen serves /metrics, /healthz and /readyz on an address of their own, for the operator's network alone.
	// Unset: they share Listen, but for /metrics where TLS or BehindProxy open Listen to outsiders.
	OpsListen string `yaml:"ops_listen"`
	// Data is the directory of the database and the key file. It is made with mode 0700.
	Data string `yaml:"data"`
	// PostgresURLFile names a file that holds a postgres:// URL. Unset: SQLite in Data.
	PostgresURLFile string `yaml:"postgres_url_file"`
	// KeyFile holds the keys that seal numbers. Unset: keys.json in Data. All hubs of one database share it.
	KeyFile string `yaml:"key_file"`
	// LogLevel is debug, info, warn or error.
	LogLevel string    `yaml:"log_level"`
	Limits   Limits    `yaml:"limits"`
	Service  Service   `yaml:"service"`
	Checks   Checks    `yaml:"checks"`
	Feed     Feed      `yaml:"feed"`
	Holders  Holders   `yaml:"holders"`
	Calendar []YearCSV `yaml:"calendar"`
	// Webhooks that contacts register, and the URLs of event streams, must be public https; the sandbox alone takes loopback too.
	AllowLoopback bool `yaml:"-"`
	// ReceiverCAs certify those whom the hub posts to; nil: the system's. For tests only.
	ReceiverCAs *x509.CertPool `yaml:"-"`
}

// TLS names the files of a certificate chain and its key, in PEM.
type TLS struct {
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
}

// Limits bound what one listener takes.
type Limits struct {
	// InFlight is how many requests are worked on at once; more are told to come again.
	InFlight int `yaml:"in_flight"`
	// ReadHeader, Idle and Shutdown bound how long a client may take to send its header, how long an idle connection is kept,
	// and how long requests under way may go on when the hub stops.
	ReadHeader Duration `yaml:"read_header"`
	Idle       Duration `yaml:"idle"`
	Shutdown   Duration `yaml:"shutdown"`
	// ReplicaNumbers is how many numbers an app may upload for its replica of the number index.
	ReplicaNumbers int64 `yaml:"replica_numbers"`
	// StreamSubjects is how many numbers a stream of the event feed may have added or removed.
	StreamSubjects int64 `yaml:"stream_subjects"`
	// Stall is how long a client may send nothing of a body, or take nothing of an answer.
	Stall Duration `yaml:"stall"`
}

// Service holds the durations of the service; see huanxin.Durations. Unset ones keep their default.
type Service struct {
	DeliverWithin Duration `yaml:"deliver_within"`
	Slot          Duration `yaml:"slot"`
	ReleaseDelay  Duration `yaml:"release_delay"`
	HighValueHold Duration `yaml:"high_value_hold"`
	Restore       Duration `yaml:"restore"`
	// Working days of a task's clock, from 1: see huanxin.Durations.
	WarnDay      int `yaml:"warn_day"`
	DueDay       int `yaml:"due_day"`
	CompanyDay   int `yaml:"company_day"`
	RegulatorDay int `yaml:"regulator_day"`
	ExpireDay    int `yaml:"expire_day"`
	// MaxPause is how long action_required stops a task's clock, all times together.
	MaxPause Duration `yaml:"max_pause"`
	// Rule 13: so many accepted requests per tenure in each of two windows.
	RequestDay       Duration `yaml:"request_day"`
	RequestMonth     Duration `yaml:"request_month"`
	RequestsPerDay   int      `yaml:"requests_per_day"`
	RequestsPerMonth int      `yaml:"requests_per_month"`
	// Speed divides the durations of the service. For demonstrations only.
	Speed float64 `yaml:"-"`
}

// Checks is how checks are answered, and to how many a client without a contract of its own is entitled. Unset ones keep their
// default, see core.DefaultCheckLimits; negative ones are no limit.
type Checks struct {
	PerSecond int64 `yaml:"per_second"`
	Burst     int   `yaml:"burst"`
	PerDay    int64 `yaml:"per_day"`
	// LateAfter is how far a carrier's word may lag behind before its numbers have no answer (UNKNOWN, carrier_late). Unset:
	// however far.
	LateAfter Duration `yaml:"late_after"`
	// GuardMB is the memory of the guard against halving, in MiB. Unset: 64.
	GuardMB int `yaml:"guard_mb"`
	// Exempt names numbers that the guard leaves alone. For the sandbox only.
	Exempt func(digits uint64) bool `yaml:"-"`
}

// Feed is how apps are told of what happens.
type Feed struct {
	// DefaultSubjects is NONE or ALL: whether event streams hear of the numbers that their apps add, or of every number. With ALL every app
	// hears of every number in the country that changes hands; a client's contract may narrow that. Unset: NONE.
	DefaultSubjects string `yaml:"default_subjects"`
	// Redelivery is after how long an event that a poll brought comes again unless it is acknowledged. Unset: a minute.
	Redelivery Duration `yaml:"redelivery"`
	// PollWait is how long a poll waits for something to tell unless its receiver asks for another time, of a minute at most.
	// Unset: 30 seconds.
	PollWait Duration `yaml:"poll_wait"`
	// WakeUp is the least time between two wake-ups of one receiver. Unset: a second.
	WakeUp Duration `yaml:"wake_up"`
}

func (f *Feed) times() feed.Times {
	return feed.Times{Redelivery: time.Duration(f.Redelivery), Wait: time.Duration(f.PollWait), WakeUp: time.Duration(f.WakeUp)}
}

// Holders is where people sign in to their pages. Without a carrier there are none.
type Holders struct {
	Carriers []HolderCarrier `yaml:"carriers"`
	// Made gives the carriers when the hub's URL is known, beside those above. For the sandbox only.
	Made func(url string) []signin.Carrier `yaml:"-"`
	// Demo says on every page that the world is invented. For the sandbox only.
	Demo bool `yaml:"-"`
}

// HolderCarrier is a carrier's OpenID provider; see docs/holders.md for what it must tell.
type HolderCarrier struct {
	// Party is the carrier in the registry.
	Party string `yaml:"party"`
	// Issuer is the provider's, https, without a trailing slash.
	Issuer   string `yaml:"issuer"`
	ClientID string `yaml:"client_id"`
	// ClientSecretFile names a file that holds the hub's secret at the provider.
	ClientSecretFile string `yaml:"client_secret_file"`
	// IdentityACR is the acr value that stands for the identity factor.
	IdentityACR string `yaml:"identity_acr"`
}

// carriers reads the secrets.
func (h *Holders) carriers(url string) ([]signin.Carrier, error) {
	var out []signin.Carrier
	for i, c := range h.Carriers {
		secret, err := os.ReadFile(c.ClientSecretFile)
		if err != nil {
			return nil, fmt.Errorf("holders: carriers[%d]: client_secret_file: %w", i, err)
		}
		out = append(out, signin.Carrier{Party: c.Party, Issuer: c.Issuer, ClientID: c.ClientID, Secret: strings.TrimSpace(string(secret)), IdentityACR: c.IdentityACR})
	}
	if h.Made != nil {
		out = append(out, h.Made(url)...)
	}
	return out, nil
}

func (h *Holders) check() error {
	seen := map[string]bool{}
	for i, c := range h.Carriers {
		issuer, err := url.Parse(c.Issuer)
		switch {
		case c.Party == "" || seen[c.Party]:
			return fmt.Errorf("holders: carriers[%d]: party: names a carrier of the registry, each once", i)
		case err != nil || issuer.Scheme != "https" || issuer.Host == "" || strings.HasSuffix(c.Issuer, "/"):
			return fmt.Errorf("holders: carriers[%d]: issuer: must be an https URL without a trailing slash", i)
		case c.ClientID == "" || c.ClientSecretFile == "" || c.IdentityACR == "":
			return fmt.Errorf("holders: carriers[%d]: client_id, client_secret_file and identity_acr are needed", i)
		}
		seen[c.Party] = true
	}
	return nil
}

// YearCSV is one more year of the calendar of working days: a file in the form of the repository's calendars/cn-2026.csv.
type YearCSV struct {
	Year int    `yaml:"year"`
	File string `yaml:"file"`
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

// DefaultConfig is what a hub does with nothing configured.
func DefaultConfig() Config {
	return Config{
		Listen: "127.0.0.1:8080", Data: "data", LogLevel: "info",
		Limits: Limits{InFlight: 1024, ReadHeader: Duration(10 * time.Second), Idle: Duration(2 * time.Minute),
			Shutdown: Duration(30 * time.Second), Stall: Duration(time.Minute), ReplicaNumbers: 20_000_000,
			StreamSubjects: 20_000_000},
	}
}

// LoadConfig reads a file over the defaults.
func LoadConfig(path string) (Config, error) {
	c := DefaultConfig()
	text, err := os.ReadFile(path)
	if err != nil {
		return c, err
	}
	if saysNothing(string(text)) {
		return c, nil
	}
	if err := yaml.Load(text, &c, yaml.WithKnownFields(), yaml.WithUniqueKeys()); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// saysNothing reports whether a file has nothing but comments, which is no YAML document.
func saysNothing(text string) bool {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && line != "---" && line[0] != '#' {
			return false
		}
	}
	return true
}

// Check refuses a configuration that cannot work or is not safe, naming the key.
func (c *Config) Check() error {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("listen: %q is no address of the form host:port", c.Listen)
	}
	tls := c.TLS.CertFile != "" || c.TLS.KeyFile != ""
	switch {
	case tls && (c.TLS.CertFile == "" || c.TLS.KeyFile == ""):
		return errors.New("tls: cert_file and key_file belong together")
	case !tls && !c.BehindProxy && !loopback(host):
		return fmt.Errorf("listen: %s is not a loopback address: set tls, or behind_proxy if a proxy in front speaks TLS", c.Listen)
	case c.public() && c.PublicURL == "":
		return errors.New("public_url: must be set with tls or behind_proxy: others know the hub by it")
	case c.OpsListen != "" && !hasPort(c.OpsListen):
		return fmt.Errorf("ops_listen: %q is no address of the form host:port", c.OpsListen)
	case c.Data == "":
		return errors.New("data: names the directory of the database and the keys")
	case c.Limits.InFlight < 1 || c.Limits.ReadHeader <= 0 || c.Limits.Idle <= 0 || c.Limits.Shutdown <= 0 || c.Limits.Stall <= 0 ||
		c.Limits.ReplicaNumbers < 1 || c.Limits.StreamSubjects < 1:
		return errors.New("limits: every limit is more than 0")
	}
	if c.Checks.GuardMB < 0 || c.Checks.Burst < 0 {
		return errors.New("checks: burst and guard_mb are not negative")
	}
	if s := c.Feed.DefaultSubjects; s != "" && s != "NONE" && s != "ALL" {
		return fmt.Errorf("feed: default_subjects: %q is not NONE or ALL", s)
	}
	if err := c.Holders.check(); err != nil {
		return err
	}
	if err := new(slog.LevelVar).UnmarshalText([]byte(c.LogLevel)); err != nil {
		return fmt.Errorf("log_level: %q is not debug, info, warn or error", c.LogLevel)
	}
	if c.PublicURL != "" {
		if err := checkPublicURL(c.PublicURL); err != nil {
			return fmt.Errorf("public_url: %w", err)
		}
	}
	return c.durations().Validate()
}

// public reports whether outsiders reach Listen.
func (c *Config) public() bool { return c.BehindProxy || c.TLS.CertFile != "" || c.TLS.KeyFile != "" }

func checkPublicURL(raw string) error {
	if err := auth.CheckIssuer(raw); err != nil {
		return err
	}
	u, err := url.Parse(raw)
	if err != nil {
		return err
	}
	if u.Scheme == "http" && !loopback(u.Hostname()) {
		return errors.New("http is for loopback addresses only")
	}
	return nil
}

func hasPort(address string) bool {
	_, _, err := net.SplitHostPort(address)
	return err == nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// durations gives the service's times with what is set.
func (c *Config) durations() huanxin.Durations {
	d := huanxin.DefaultDurations()
	set := func(to *time.Duration, v Duration) {
		if v != 0 {
			*to = time.Duration(v)
		}
	}
	set(&d.DeliverWithin, c.Service.DeliverWithin)
	set(&d.Slot, c.Service.Slot)
	set(&d.ReleaseDelay, c.Service.ReleaseDelay)
	set(&d.HighValueHold, c.Service.HighValueHold)
	set(&d.Restore, c.Service.Restore)
	set(&d.MaxPause, c.Service.MaxPause)
	set(&d.RequestDay, c.Service.RequestDay)
	set(&d.RequestMonth, c.Service.RequestMonth)
	for _, n := range []struct {
		to *int
		v  int
	}{
		{&d.WarnDay, c.Service.WarnDay}, {&d.DueDay, c.Service.DueDay}, {&d.CompanyDay, c.Service.CompanyDay},
		{&d.RegulatorDay, c.Service.RegulatorDay}, {&d.ExpireDay, c.Service.ExpireDay},
		{&d.RequestsPerDay, c.Service.RequestsPerDay}, {&d.RequestsPerMonth, c.Service.RequestsPerMonth},
	} {
		if n.v != 0 {
			*n.to = n.v
		}
	}
	if c.Service.Speed != 0 {
		d.Speed = c.Service.Speed
	}
	return d
}

// calendar loads China's calendar and the further years.
func (c *Config) calendar() (*huanxin.Calendar, error) {
	cal := huanxin.ChinaCalendar()
	for _, y := range c.Calendar {
		f, err := os.Open(y.File)
		if err != nil {
			return nil, fmt.Errorf("calendar: %w", err)
		}
		err = cal.LoadYear(y.Year, f)
		_ = f.Close()
		if err != nil {
			return nil, fmt.Errorf("calendar: %s: %w", y.File, err)
		}
	}
	return cal, nil
}

// database names the database, reading its URL from its file.
func (c *Config) database() (string, error) {
	if c.PostgresURLFile == "" {
		return "sqlite:" + c.sqliteFile(), nil
	}
	text, err := os.ReadFile(c.PostgresURLFile)
	if err != nil {
		return "", fmt.Errorf("postgres_url_file: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

func (c *Config) sqliteFile() string { return filepath.Join(c.Data, "huanxin.db") }

func (c *Config) checks() core.CheckOptions {
	return core.CheckOptions{Snapshot: filepath.Join(c.Data, "index.snapshot"),
		Limits:    core.CheckLimits{PerSecond: c.Checks.PerSecond, Burst: c.Checks.Burst, PerDay: c.Checks.PerDay},
		LateAfter: time.Duration(c.Checks.LateAfter), HalvingBytes: c.Checks.GuardMB << 20, Exempt: c.Checks.Exempt}
}

func (c *Config) feed() core.FeedOptions {
	return core.FeedOptions{AllNumbers: c.Feed.DefaultSubjects == "ALL", Subjects: c.Limits.StreamSubjects, AllowLoopback: c.AllowLoopback}
}

func (c *Config) keyFile() string {
	if c.KeyFile != "" {
		return c.KeyFile
	}
	return filepath.Join(c.Data, "keys.json")
}

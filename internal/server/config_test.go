package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin/internal/server"
)

// file writes a file of the test's own.
func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestAConfigurationIsReadOverTheDefaults(t *testing.T) {
	c, err := server.LoadConfig(file(t, "c.yaml", `
listen: 127.0.0.1:9000
limits: {stall: 90s, in_flight: 7}
service: {slot: 3h}
calendar:
  - {year: 2031, file: cn-2031.csv}
`))
	must(t, err)
	must(t, c.Check())
	d := server.DefaultConfig()
	if c.Listen != "127.0.0.1:9000" || c.Limits.InFlight != 7 || time.Duration(c.Limits.Stall) != 90*time.Second || c.Limits.Idle != d.Limits.Idle ||
		time.Duration(c.Service.Slot) != 3*time.Hour || c.Data != d.Data || c.Calendar[0].Year != 2031 {
		t.Errorf("read: %+v", c)
	}
	for _, nothing := range []string{"", "\n", "# all defaults\n", "---\n", "{}\n"} {
		c, err := server.LoadConfig(file(t, "c.yaml", nothing))
		if err != nil || c.Listen != d.Listen || c.Limits != d.Limits {
			t.Errorf("%q: %+v %v", nothing, c, err)
		}
	}
}

func TestAConfigurationThatIsNotOfTheFormIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"an unknown key":              "listne: 127.0.0.1:1\n",
		"an unknown key inside":       "limits: {in_fligth: 1}\n",
		"a key of the program's own":  "service: {speed: 100}\n",
		"another":                     "allow_loopback: true\n",
		"a key twice":                 "data: a\ndata: b\n",
		"a key twice inside":          "limits: {stall: 1m, stall: 2m}\n",
		"a duration in words":         "limits: {stall: a minute}\n",
		"a duration without a unit":   "limits: {stall: 60}\n",
		"a duration below nothing":    "limits: {stall: -1m}\n",
		"a duration in days":          "service: {high_value_hold: 2d}\n",
		"a number in words":           "limits: {in_flight: many}\n",
		"a list for a word":           "listen: [a, b]\n",
		"a word for a group":          "limits: none\n",
		"no YAML":                     "{listen",
		"a tab":                       "limits:\n\tstall: 1m\n",
		"a second document":           "data: a\n---\nlistne: b\n",
		"a list":                      "- listen\n",
		"a year that is no number":    "calendar: [{year: next, file: x}]\n",
		"an unknown key in a year":    "calendar: [{year: 2031, path: x}]\n",
		"true where a word is wanted": "behind_proxy: perhaps\n",
	} {
		if c, err := server.LoadConfig(file(t, "c.yaml", text)); err == nil {
			t.Errorf("%s was taken: %+v", name, c)
		} else if !strings.Contains(err.Error(), "c.yaml") {
			t.Errorf("%s: the error does not name the file: %v", name, err)
		}
	}
	if _, err := server.LoadConfig(filepath.Join(t.TempDir(), "nothing.yaml")); err == nil {
		t.Error("a file that is not there was taken")
	}
}

// withCarrier adds a carrier at which holders sign in, changed.
func withCarrier(change func(*server.HolderCarrier)) func(*server.Config) {
	return func(c *server.Config) {
		h := server.HolderCarrier{Party: "cmcc", Issuer: "https://id.cmcc.example", ClientID: "hub", ClientSecretFile: "secret", IdentityACR: "real-name"}
		if change != nil {
			change(&h)
		}
		c.Holders.Carriers = append(c.Holders.Carriers, h)
	}
}

func TestAConfigurationThatIsNotSafeIsRefusedByItsKey(t *testing.T) {
	for name, c := range map[string]struct {
		key    string
		change func(*server.Config)
	}{
		"every address":                {"listen", func(c *server.Config) { c.Listen = ":8080" }},
		"every IPv4 address":           {"listen", func(c *server.Config) { c.Listen = "0.0.0.0:8080" }},
		"every IPv6 address":           {"listen", func(c *server.Config) { c.Listen = "[::]:8080" }},
		"a private address":            {"listen", func(c *server.Config) { c.Listen = "192.168.1.2:8080" }},
		"a name":                       {"listen", func(c *server.Config) { c.Listen = "hub.example:8080" }},
		"no port":                      {"listen", func(c *server.Config) { c.Listen = "127.0.0.1" }},
		"no address":                   {"listen", func(c *server.Config) { c.Listen = "" }},
		"half of TLS":                  {"tls", func(c *server.Config) { c.TLS.CertFile = "x" }},
		"the other half":               {"tls", func(c *server.Config) { c.TLS.KeyFile = "x" }},
		"a proxy without a name":       {"public_url", func(c *server.Config) { c.BehindProxy = true }},
		"plain http for others":        {"public_url", func(c *server.Config) { c.BehindProxy, c.PublicURL = true, "http://hub.example" }},
		"a URL with a slash":           {"public_url", func(c *server.Config) { c.PublicURL = "https://hub.example/" }},
		"a URL with a password":        {"public_url", func(c *server.Config) { c.PublicURL = "https://a:b@hub.example" }},
		"no URL":                       {"public_url", func(c *server.Config) { c.PublicURL = "hub.example" }},
		"no data":                      {"data", func(c *server.Config) { c.Data = "" }},
		"nothing at once":              {"limits", func(c *server.Config) { c.Limits.InFlight = 0 }},
		"no time for a header":         {"limits", func(c *server.Config) { c.Limits.ReadHeader = 0 }},
		"no time to stall":             {"limits", func(c *server.Config) { c.Limits.Stall = 0 }},
		"an unknown level":             {"log_level", func(c *server.Config) { c.LogLevel = "loud" }},
		"an ops_listen without a port": {"ops_listen", func(c *server.Config) { c.OpsListen = "127.0.0.1" }},
		"a short hold (rule 4)":        {"high_value_hold", func(c *server.Config) { c.Service.HighValueHold = server.Duration(time.Hour) }},
		"a short slot":                 {"slot", func(c *server.Config) { c.Service.Slot = server.Duration(time.Second) }},
		"another default":              {"default_subjects", func(c *server.Config) { c.Feed.DefaultSubjects = "SOME" }},
		"no room for subjects":         {"limits", func(c *server.Config) { c.Limits.StreamSubjects = 0 }},
		"a carrier without a name":     {"party", withCarrier(func(h *server.HolderCarrier) { h.Party = "" })},
		"one carrier twice":            {"party", func(c *server.Config) { withCarrier(nil)(c); withCarrier(nil)(c) }},
		"an issuer in the clear":       {"issuer", withCarrier(func(h *server.HolderCarrier) { h.Issuer = "http://id.cmcc.example" })},
		"an issuer with a slash":       {"issuer", withCarrier(func(h *server.HolderCarrier) { h.Issuer += "/" })},
		"no acr for who one is":        {"identity_acr", withCarrier(func(h *server.HolderCarrier) { h.IdentityACR = "" })},
		"no secret":                    {"client_secret_file", withCarrier(func(h *server.HolderCarrier) { h.ClientSecretFile = "" })},
		"a speed below 1":              {"speed", func(c *server.Config) { c.Service.Speed = 0.5 }},
	} {
		cfg := server.DefaultConfig()
		c.change(&cfg)
		if err := cfg.Check(); err == nil || !strings.Contains(err.Error(), c.key) {
			t.Errorf("%s: %v does not name %s", name, err, c.key)
		}
	}
	for _, good := range []func(*server.Config){
		func(c *server.Config) { c.Listen = "[::1]:0" },
		func(c *server.Config) { c.Listen = "localhost:0" },
		withCarrier(nil),
		func(c *server.Config) { c.Feed.DefaultSubjects = "ALL" },
		func(c *server.Config) { c.Feed.DefaultSubjects = "NONE" },
		func(c *server.Config) { c.Listen, c.BehindProxy, c.PublicURL = ":8080", true, "https://hub.example" },
		func(c *server.Config) {
			c.Listen, c.TLS, c.PublicURL = ":8443", server.TLS{CertFile: "c", KeyFile: "k"}, "https://hub.example:8443"
		},
	} {
		cfg := server.DefaultConfig()
		good(&cfg)
		must(t, cfg.Check())
	}
}

func opened(t *testing.T, change func(*server.Config)) (*server.Server, error) {
	t.Helper()
	cfg := server.DefaultConfig()
	cfg.Listen, cfg.Data = "127.0.0.1:0", filepath.Join(t.TempDir(), "data")
	change(&cfg)
	s, err := server.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err == nil {
		t.Cleanup(func() { _ = s.Close() })
	}
	return s, err
}

func TestFurtherYearsOfTheCalendarComeFromFiles(t *testing.T) {
	later := file(t, "cn-2031.csv", "date,kind,name\n2031-01-01,holiday,元旦\n")
	s, err := opened(t, func(c *server.Config) { c.Calendar = []server.YearCSV{{Year: 2031, File: later}} })
	must(t, err)
	if !s.Hub.Calendar().Knows(2031) || s.Hub.Calendar().Knows(2032) {
		t.Error("the year of the file is not known, or another is")
	}
	for name, y := range map[string]server.YearCSV{"a file that is not there": {Year: 2031, File: "nothing.csv"}, "another year": {Year: 2032, File: later}} {
		if _, err := opened(t, func(c *server.Config) { c.Calendar = []server.YearCSV{y} }); err == nil || !strings.Contains(err.Error(), "calendar") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSecretsStandInFilesThatNobodyElseReads(t *testing.T) {
	s, err := opened(t, func(*server.Config) {})
	must(t, err)
	must(t, s.Close())
	_, err = opened(t, func(c *server.Config) { c.PostgresURLFile = filepath.Join(t.TempDir(), "nothing") })
	if err == nil || !strings.Contains(err.Error(), "postgres_url_file") {
		t.Errorf("a file that is not there: %v", err)
	}
	_, err = opened(t, func(c *server.Config) {
		c.PostgresURLFile = file(t, "url", "postgres://hub:secret-word@127.0.0.1:1/hub?connect_timeout=1\n")
	})
	if err == nil || strings.Contains(err.Error(), "secret-word") {
		t.Errorf("an unreachable database, and no word of its password: %v", err)
	}
	_, err = opened(t, func(c *server.Config) { c.PostgresURLFile = file(t, "url", "postgres://hub:secret-word@:x/%zz") })
	if err == nil || strings.Contains(err.Error(), "secret-word") {
		t.Errorf("a URL that is none: %v", err)
	}

	// A data directory that others may enter does not open the number log to them.
	dir := filepath.Join(t.TempDir(), "shared")
	must(t, os.Mkdir(dir, 0o755))
	s, err = opened(t, func(c *server.Config) { c.Data = dir })
	must(t, err)
	files, err := os.ReadDir(dir)
	must(t, err)
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v: %v", f.Name(), info.Mode(), err)
		}
	}
	must(t, s.Close())
	private := filepath.Join(t.TempDir(), "a", "b")
	_, err = opened(t, func(c *server.Config) { c.Data = private })
	must(t, err)
	if info, err := os.Stat(private); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the data directory: %v %v", info.Mode(), err)
	}
}

// selfSigned writes a certificate for loopback and its key, and gives their files.
func selfSigned(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "hub"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	pool = x509.NewCertPool()
	pool.AddCert(cert)
	return file(t, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))),
		file(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))), pool
}

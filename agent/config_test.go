package agent

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
)

func TestAConfigurationIsStrictAndNamesTheLine(t *testing.T) {
	for text, says := range map[string]string{
		"hub:\n  url: https://h\n  nmae: x\n":         "line 3",
		"hub: {}\nhub: {}\n":                          "line 2",
		"sql:\n  unbind:\n    - sql: x\n      row: 1": "line 4",
		"timings: {hold: long}":                       "no duration",
	} {
		if _, err := ParseConfig([]byte(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %s", text, err, says)
		}
	}
}

func TestAConfigurationThatCannotWorkIsRefusedWithEveryKey(t *testing.T) {
	c := DefaultConfig()
	c.Kinds, c.Page, c.Timings.Hold = []string{"other"}, "0.0.0.0:80", Duration(time.Hour)
	c.Links = map[string]string{"removed": "https://x.example", "confirm_own_account": "http://x.example"}
	err := c.Check()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"hub.url", "hub.client_id", "key_file or secret_file", "kinds", "page", "timings.hold", "either sql or http", "no reason of action_required", "no https URL"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("nothing of %s in:\n%v", want, err)
		}
	}
}

func TestStatementsThatWouldTouchEveryAccountAreRefused(t *testing.T) {
	s := &SQLConfig{Driver: "sqlite", DSN: "x", Find: "SELECT id AS binding FROM b", Unbind: Statements{{SQL: "UPDATE b SET x = 1"}, {SQL: "DROP TABLE b"}},
		Restore: Statements{{SQL: "UPDATE b SET x = 1 WHERE id = :binding", Rows: 51}}}
	_, err := openSQL(s, nil, "pay", huanxin.China, time.Second)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"sql.find: does not use :number", "sql.unbind: uses neither :binding nor :account", "must be an UPDATE", "sql.restore: rows is more than max_bindings"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("nothing of %q in:\n%v", want, err)
		}
	}
}

func (r *Report) has(g Grade, text string) bool {
	for _, i := range r.Items {
		if i.Grade == g && strings.Contains(i.En, text) {
			return true
		}
	}
	return false
}

func TestCheckSaysInPlainWordsWhatIsWrong(t *testing.T) {
	for on, e := range engines {
		t.Run(on, func(t *testing.T) {
			o := newOffice(t, withEngine(e(t)))
			o.must(o.agent.Close())
			r := Check(t.Context(), o.config, o.options)
			if !r.OK() {
				t.Errorf("%+v", r.Items)
			}
			if on != "sqlite" && !r.has(Looks, "may create or alter tables") { // its user owns the tables here
				t.Errorf("nothing of permissions: %+v", r.Items)
			}
			o.exec(`ALTER TABLE bindings RENAME COLUMN proof_never TO other`)
			if r := Check(t.Context(), o.config, o.options); r.OK() || !r.has(Wrong, "sql.find does not work") {
				t.Errorf("%+v", r.Items)
			}
			o.exec(`ALTER TABLE bindings RENAME COLUMN other TO proof_never`)
			cfg := o.config
			sql := *cfg.SQL
			sql.Find = "SELECT id AS binding, account, id AS bound_at, 1 AS what FROM bindings WHERE number = :number_national"
			sql.Restore = Statements{{SQL: "UPDATE nowhere SET x = 1 WHERE id = :binding"}}
			cfg.SQL = &sql
			r = Check(t.Context(), cfg, o.options)
			for _, want := range []string{"no use for a column what", "sql.restore does not work"} {
				if !r.has(Wrong, want) {
					t.Errorf("nothing of %q: %+v", want, r.Items)
				}
			}
			if on != "sqlite" && !r.has(Wrong, "is a number: name it with _s") {
				t.Errorf("nothing of the type: %+v", r.Items)
			}
			var b bytes.Buffer
			if err := r.Write(&b); err != nil || !strings.Contains(b.String(), "语句 sql.restore 不能用") {
				t.Error(b.String(), err)
			}
		})
	}
}

func TestCheckNoticesTheClockTheCredentialsAndTheLinks(t *testing.T) {
	o := newOffice(t)
	o.must(o.agent.Close())
	opts := o.options
	opts.Now = func() time.Time { return time.Now().Add(time.Hour) }
	cfg := o.config
	cfg.Links = map[string]string{"confirm_own_account": "https://elsewhere.example/"}
	r := Check(t.Context(), cfg, opts)
	if r.OK() || !r.has(Wrong, "this machine's clock differs") || !r.has(Wrong, "is not on a domain") {
		t.Errorf("%+v", r.Items)
	}
	o.must(os.WriteFile(cfg.Hub.SecretFile, []byte("wrong"), 0o600))
	if r := Check(t.Context(), cfg, o.options); r.OK() || !r.has(Wrong, "does not know this client") {
		t.Errorf("%+v", r.Items)
	}
}

func TestAFullScanOfABigTableIsAWarning(t *testing.T) {
	for on, e := range engines {
		t.Run(on, func(t *testing.T) {
			o := newOffice(t, withEngine(e(t)))
			o.exec(`CREATE TABLE heap (id INTEGER, number VARCHAR(20))`)
			fill := map[string]string{"sqlite": `INSERT INTO heap WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) SELECT i, i FROM n`,
				"postgres": `INSERT INTO heap SELECT i, i::text FROM generate_series(1, 20000) i`,
				"mysql":    `INSERT INTO heap SELECT seq, seq FROM seq_1_to_20000`}
			o.exec(fill[on])
			o.exec(map[string]string{"sqlite": "ANALYZE", "postgres": "ANALYZE heap", "mysql": "ANALYZE TABLE heap"}[on])
			o.must(o.agent.Close())
			cfg := o.config
			sql := *cfg.SQL
			sql.Find = "SELECT id AS binding, id AS account, '2020-01-01' AS bound_at FROM heap WHERE number = :number_national"
			cfg.SQL = &sql
			if r := Check(t.Context(), cfg, o.options); !r.has(Looks, "sql.find reads the whole of a big table, heap") {
				t.Errorf("%+v", r.Items)
			}
		})
	}
}

// TestThePageAndItsMetricsTellHowTheAgentStandsWithoutANumber in both languages, to this machine alone.
func TestThePageAndItsMetricsTellHowTheAgentStandsWithoutANumber(t *testing.T) {
	o := newOffice(t)
	n := o.number()
	o.bind(n)
	o.bind(n, unknownBound(former))
	o.ask(n)
	o.work()
	s := httptest.NewServer(o.agent.Page())
	defer s.Close()
	get := func(path, host string) (int, string, http.Header) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+path, nil)
		o.must(err)
		if host != "" {
			r.Host = host
		}
		resp, err := http.DefaultClient.Do(r)
		o.must(err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		o.must(err)
		return resp.StatusCode, string(b), resp.Header
	}
	for path, want := range map[string]string{"/": "人工复核", "/?lang=en": "in review", "/style.css": "font", "/metrics": `huanxin_agent_decisions_total{outcome="unbound",reason="removed"} 1`} {
		status, text, header := get(path, "")
		if status != 200 || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s", path, status, text)
		}
		if strings.Contains(text, n.E164()[3:]) || strings.Contains(text, "account-") {
			t.Errorf("%s tells of a number or an account", path)
		}
		if !strings.HasPrefix(header.Get("Content-Security-Policy"), "default-src 'self'") {
			t.Errorf("%s: no policy", path)
		}
	}
	if status, _, _ := get("/", "evil.example"); status != http.StatusForbidden {
		t.Errorf("another site's name: %d", status)
	}
}

func TestADryRunTellsWhatWouldHappenAndDoesNothing(t *testing.T) {
	o := newOffice(t, withClass("payment"))
	n := o.number()
	b := o.bind(n)
	o.bind(n, bound(tenure.Add(day)))
	o.ask(n)
	o.ask(o.number())
	var all []string
	o.must(o.agent.DryRun(t.Context(), func(w Would) error {
		all = append(all, w.Outcome+" "+w.Reason+" "+itoa(w.Row))
		if w.Outcome == "unbound" && !w.HighValue {
			t.Error("not held")
		}
		return nil
	}))
	if strings.Join(all, ", ") != "unbound removed 7, kept bound_by_current_holder 1, not_bound none_found 0" || !o.isKey(b) {
		t.Errorf("%v, key %v", all, o.isKey(b))
	}
	if left, err := o.agent.state.tasks(t.Context(), `1`); err != nil || len(left) != 0 {
		t.Error(len(left), err)
	}
}

package conformance_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin/agent"
	"github.com/huanxin-platform/huanxin/internal/conformance"
	"github.com/huanxin-platform/huanxin/internal/store/pgtest"
)

// TestMain has twice as many runs at once as the processor would have: a run mostly waits.
func TestMain(m *testing.M) {
	flag.Parse()
	if at := flag.Lookup("test.parallel"); at.Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		_ = at.Value.Set(strconv.Itoa(2 * runtime.GOMAXPROCS(0)))
	}
	os.Exit(pgtest.Main(m))
}

func TestOurAgentPassesByPoll(t *testing.T) {
	t.Parallel()
	c := newCompany(t, nil)
	rep, by := judged(t, c.options())
	fails(t, rep)
	if rep.Delivery != "poll" || rep.Unseen != nil {
		t.Errorf("delivery by %s", rep.Delivery)
	}
	for code, r := range by {
		if r.Outcome == conformance.Skipped && code != "forged-sender" {
			t.Errorf("%s was skipped: %s", code, r.Seen.En)
		}
	}
	if err := rep.Write(c.dir); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(c.dir, conformance.ReportHTML))
	if err != nil || strings.Contains(string(page), "<script") || strings.Contains(string(page), " style=") || !strings.Contains(string(page), "规则一") {
		t.Errorf("the page: %v", err)
	}
	text, err := os.ReadFile(filepath.Join(c.dir, conformance.ReportJSON))
	var again conformance.Report
	if err != nil || json.Unmarshal(text, &again) != nil || again.Passed != rep.Passed || len(again.Results) != len(rep.Results) {
		t.Errorf("the report: %v", err)
	}
	noNumber(t, string(page)+string(text))
}

func TestOurAgentPassesByPush(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "authorization")
	if err := os.WriteFile(secret, []byte("Bearer of-a-test"), 0o600); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	c := newCompany(t, func(cfg *agent.Config) {
		cfg.Delivery = agent.DeliveryConfig{Mode: "push", Listen: address, URL: "http://" + address + "/sets", AuthorizationFile: secret, ListEvery: agent.Duration(time.Hour)}
	})
	rep, by := judged(t, c.options())
	fails(t, rep)
	if rep.Delivery != "push" || by["forged-sender"].Outcome != conformance.Passed {
		t.Errorf("delivery by %s, forged-sender %s", rep.Delivery, by["forged-sender"].Outcome)
	}
}

// TestOurAgentPassesByListing where there is nothing to be said of events.
func TestOurAgentPassesByListing(t *testing.T) {
	t.Parallel()
	c := newCompany(t, func(cfg *agent.Config) {
		cfg.Delivery = agent.DeliveryConfig{Mode: "list", ListEvery: agent.Duration(200 * time.Millisecond)}
	})
	rep, by := judged(t, c.options())
	fails(t, rep)
	if len(rep.Unseen) != 1 || !strings.Contains(rep.Unseen[0].En, "no stream") {
		t.Errorf("what could not be tried: %+v", rep.Unseen)
	}
	if rep.Delivery != "list" || by["duplicates"].Outcome != conformance.Skipped || by["cancelled"].Outcome != conformance.Passed {
		t.Errorf("%s, %s, %s", rep.Delivery, by["duplicates"].Outcome, by["cancelled"].Outcome)
	}
}

// TestOurAgentPassesAsAnAppOfHighValue that unbinds nothing within the run.
func TestOurAgentPassesAsAnAppOfHighValue(t *testing.T) {
	t.Parallel()
	c := newCompany(t, nil)
	o := c.options()
	o.Class, o.Without = "payment", []string{conformance.FactClass}
	rep, by := judged(t, o)
	fails(t, rep)
	if by["row-7"].Outcome != conformance.Passed || by["high-value"].Outcome != conformance.Passed || by["read-again"].Outcome != conformance.Skipped {
		t.Errorf("%s, %s, %s", by["row-7"].Outcome, by["high-value"].Outcome, by["read-again"].Outcome)
	}
}

// TestACompanyIsJudgedByWhatItKeeps: without proofs nothing is unbound, and that is right.
func TestACompanyIsJudgedByWhatItKeeps(t *testing.T) {
	t.Parallel()
	c := newCompany(t, nil)
	c.config.SQL.Find = "SELECT rowid AS binding, user AS account, bound_at FROM phones WHERE number = :number_national AND active = 1"
	o := c.options()
	o.Without = conformance.Facts
	rep, by := judged(t, o)
	fails(t, rep)
	if by["row-7"].Outcome != conformance.Passed || !strings.Contains(by["row-7"].Expected.En, "confirm_own_account") || by["row-2"].Outcome != conformance.Skipped {
		t.Errorf("%+v", by["row-7"])
	}
	if n := c.unbound(); n > 0 {
		t.Errorf("%d accounts were unbound", n)
	}
}

package conformance_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin/agent"
	"github.com/huanxin-platform/huanxin/internal/conformance"
)

func TestOurAgentPassesByPoll(t *testing.T) {
	t.Parallel()
	c := newCompany(t, nil)
	rep, by := judged(t, c.options())
	fails(t, rep)
	if rep.Delivery != "poll" {
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

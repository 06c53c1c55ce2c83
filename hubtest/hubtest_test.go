package hubtest_test

import (
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/hubtest"
)

// TestAHolderIsRefreshed is the main job in a few lines, for integrators to copy.
func TestAHolderIsRefreshed(t *testing.T) {
	h := hubtest.Start(t)
	carrier, app := h.Carrier("cmcc"), h.App("pay", hubtest.Class("payment"))
	const number = "+8613800000001"
	now := time.Now().Truncate(time.Second) // once: two looks at the clock may lie in two seconds
	day := func(n int) time.Time { return now.AddDate(0, 0, -n) }
	if _, err := carrier.ReportEvents(t.Context(), []client.Event{
		{ID: "1", Number: number, Kind: "activated", At: day(900), Origin: "first"},
		{ID: "2", Number: number, Kind: "disconnected", At: day(300)},
		{ID: "3", Number: number, Kind: "activated", At: day(100), Origin: "reassigned"},
	}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	made, err := carrier.CreateRequest(t.Context(), client.NewRequest{Number: number, StartedAt: day(100), Origin: "reassigned",
		Control: "sms_otp", Identity: "carrier_crm", Verified: now})
	if err != nil || len(made.Tasks) != 1 {
		t.Fatal(made, err)
	}
	tasks, _, err := app.Tasks(t.Context(), "", 10)
	if err != nil || len(tasks) != 1 || tasks[0].Number != number {
		t.Fatal(tasks, err)
	}
	if _, err := app.Answer(t.Context(), client.AnswerTo(tasks[0], "unbound", "removed")); err != nil {
		t.Fatal(err)
	}
	seen, err := carrier.Request(t.Context(), made.ID, "en")
	if err != nil || seen.Tasks[0].View != "processing" { // not released yet
		t.Fatal(seen, err)
	}
	if steps, _, err := h.Regulator().Escalations(t.Context(), "", 10); err != nil || len(steps) != 0 {
		t.Fatal(steps, err)
	}
}

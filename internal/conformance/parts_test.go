package conformance_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/internal/conformance"
)

func someAccount(t testing.TB) *conformance.Account {
	t.Helper()
	n, err := huanxin.ParseNumber("+8615400000001")
	if err != nil {
		t.Fatal(err)
	}
	return &conformance.Account{Name: "hx-a", Number: n, BoundAt: time.Date(2024, 1, 31, 10, 0, 0, 0, huanxin.China), ProofUnknown: true}
}

// TestStatementsAreFilledOutsideOfQuotes and nothing else of them changes.
func TestStatementsAreFilledOutsideOfQuotes(t *testing.T) {
	for template, want := range map[string]string{
		"SELECT :account, :number_national":       "SELECT 'hx-a', '15400000001'",
		"SELECT ':account', \":number\", `:x`":    "SELECT ':account', \":number\", `:x`",
		"SELECT :bound_at::timestamptz":           "SELECT '2024-01-31T10:00:00+08:00'::timestamptz",
		"SELECT :bound_at_local, :bound_at_utc":   "SELECT '2024-01-31 10:00:00', '2024-01-31 02:00:00'",
		"SELECT :bound_at_s, :bound_at_ms":        "SELECT 1706666400, 1706666400000",
		"SELECT :last_proof, :last_proof_never":   "SELECT NULL, 0",
		"SELECT :bound_day, :same_person, :class": "SELECT NULL, NULL, NULL",
		"SELECT :nothing":                         "",
		"SELECT 'open":                            "",
		"SELECT a[1:2], 10:30":                    "SELECT a[1:2], 10:30",
	} {
		got, err := conformance.SQL(template, []*conformance.Account{someAccount(t)})
		switch {
		case want == "" && err == nil:
			t.Errorf("%s became %s", template, got)
		case want != "" && (err != nil || len(got) != 1 || got[0] != want):
			t.Errorf("%s became %s, %v", template, got, err)
		}
	}
}

func TestATextIsSplitAtSemicolonsOutsideOfQuotes(t *testing.T) {
	got := conformance.Split("a 'x;y' ;; b \";\" ;\n")
	if !slices.Equal(got, []string{"a 'x;y'", `b ";"`}) {
		t.Errorf("%q", got)
	}
}

func TestAccountsAreWrittenAsTheCompanyReadsThem(t *testing.T) {
	never := someAccount(t)
	never.ProofUnknown, never.BoundAt, never.SamePerson = false, time.Time{}, huanxin.No
	never.BoundDay = huanxin.Date{Year: 2024, Month: 2, Day: 1}
	var out bytes.Buffer
	if err := conformance.WriteCSV(&out, []*conformance.Account{someAccount(t), never}); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&out).ReadAll()
	if err != nil || len(rows) != 3 {
		t.Fatal(rows, err)
	}
	at := func(row int, name string) string { return rows[row][slices.Index(rows[0], name)] }
	for _, c := range [][3]string{{"number", "+8615400000001", "+8615400000001"}, {"bound_at", "2024-01-31T10:00:00+08:00", ""}, {"bound_day", "", "2024-02-01"},
		{"last_proof", "", ""}, {"last_proof_never", "0", "1"}, {"same_person", "", "no"}} {
		if at(1, c[0]) != c[1] || at(2, c[0]) != c[2] {
			t.Errorf("%s: %s, %s", c[0], at(1, c[0]), at(2, c[0]))
		}
	}
}

// TestAnEndpointThatDoesNotSayWhetherANumberIsAKeyIsNoEvidence: unknown is never no.
func TestAnEndpointThatDoesNotSayWhetherANumberIsAKeyIsNoEvidence(t *testing.T) {
	for body, want := range map[string]string{
		`{"is_key":true}`: "true -1",
		`{"is_key":false,"unbound":2,"exists":true}`: "false 2",
		`{}`:            "",
		`{"key":true}`:  "",
		`[]`:            "",
		`{"is_key":nul`: "",
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var in map[string]string
			if json.NewDecoder(r.Body).Decode(&in) != nil || in["account"] != "hx-a" || in["number"] != "+8615400000001" || strings.Contains(r.URL.String(), "154") {
				t.Error(in, r.URL)
			}
			_, _ = w.Write([]byte(body))
		}))
		got, err := (&conformance.HTTPInspector{URL: s.URL}).Inspect(t.Context(), someAccount(t))
		s.Close()
		said := ""
		if err == nil {
			n := -1
			if got.Unbound != nil {
				n = *got.Unbound
			}
			text, _ := json.Marshal([]any{got.IsKey, n})
			said = strings.ReplaceAll(strings.Trim(string(text), "[]"), ",", " ")
		}
		if said != want {
			t.Errorf("%s: %s %v", body, said, err)
		}
	}
}

func TestADatabaseThatIsNotThereIsNotMade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nothing.db")
	if _, err := conformance.OpenDatabase("sqlite", path); err == nil || strings.Contains(err.Error(), path) {
		t.Error(err)
	}
}

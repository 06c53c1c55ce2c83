package client_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/client"
	"github.com/huanxin-platform/huanxin/hubtest"
)

const number = "+8613800400001"

// asker gives the client of an app of a hub that knows one number, which somebody has since 100 days ago.
func asker(t *testing.T) (*hubtest.Hub, *client.Client) {
	t.Helper()
	h := hubtest.Start(t)
	app := h.App("shop")
	r, err := h.Carrier("cmcc").ReportEvents(t.Context(), []client.Event{{ID: "1", Number: number, Kind: "activated", At: time.Now().AddDate(0, 0, -100), Origin: "first"}}, time.Now())
	if err != nil || r.Accepted != 1 {
		t.Fatal(r, err)
	}
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		// The carrier's coverage shows no sooner than its events, and a moment later at times.
		if asOf, a, err := app.Check(t.Context(), number, "2024-01-01"); err == nil && asOf == 1 && a.FreshAt != nil {
			return h, app
		} else if time.Since(began) > 10*time.Second {
			t.Fatal("checks do not know the event:", err)
		}
	}
}

func TestChecksComeBackInOrderWithWhatIsWrongWithThem(t *testing.T) {
	t.Parallel()
	h, app := asker(t)
	before := time.Now().AddDate(0, 0, -200).Format(time.DateOnly)
	asOf, got, err := app.Checks(t.Context(), []client.Check{{number, before}, {number, time.Now().Format(time.DateOnly)}, {"13800400001", before}, {"+8613800400009", before}})
	if err != nil || asOf != 1 || len(got) != 4 {
		t.Fatal(asOf, got, err)
	}
	var words []string
	for _, a := range got {
		word := a.Outcome + " " + a.Reason
		if a.Error != nil {
			word = a.Error.Code
		}
		words = append(words, word)
	}
	if s := strings.Join(words, ", "); s != "CHANGED reassigned, UNCHANGED , number_malformed, UNKNOWN never_seen" {
		t.Error(s)
	}
	if got[0].FreshAt == nil || time.Since(*got[0].FreshAt) > time.Minute {
		t.Error(got[0].FreshAt)
	}

	if _, _, err := app.Check(t.Context(), number, "yesterday"); huanxin.KindOf(err) != huanxin.Invalid || huanxin.CodeOf(err) != "malformed_time" {
		t.Error(err)
	}
	if _, _, err := app.Checks(t.Context(), make([]client.Check, 10_001)); huanxin.KindOf(err) != huanxin.Invalid {
		t.Error(err)
	}
	if _, _, err := h.Carrier("cmcc").Check(t.Context(), number, before); huanxin.KindOf(err) != huanxin.Forbidden {
		t.Error("a carrier asks:", err)
	}
	if _, err := h.Carrier("cmcc").StreamChecks(t.Context(), "text/csv", strings.NewReader("number,since\n"), false); huanxin.KindOf(err) != huanxin.Forbidden {
		t.Error("a carrier asks:", err)
	}
}

func TestStreamedChecksAreAnsweredWhileTheyAreSent(t *testing.T) {
	t.Parallel()
	_, app := asker(t)
	body, questions := io.Pipe()
	s, err := streamWith(app, t, body, questions)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	answers := bufio.NewReader(s)
	for i := range 3 {
		if i > 0 {
			_, _ = fmt.Fprintf(questions, `{"row":%d,"number":%q,"since":"2999-01-01"}`+"\n", i, number)
		}
		line, err := answers.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, fmt.Sprintf(`{"row":%d,`, i)) || !strings.Contains(line, `"reason":"future"`) {
			t.Fatalf("%q %v", line, err)
		}
	}
	_ = questions.Close()
	if _, err := answers.ReadByte(); err != io.EOF {
		t.Error(err)
	}
	if s.AsOf != 1 {
		t.Error(s.AsOf)
	}
}

// streamWith begins a stream with its first line.
func streamWith(app *client.Client, t *testing.T, body io.Reader, questions io.Writer) (*client.CheckStream, error) {
	go func() { _, _ = fmt.Fprintf(questions, `{"row":0,"number":%q,"since":"2999-01-01"}`+"\n", number) }()
	return app.StreamChecks(t.Context(), "application/x-ndjson", body, false)
}

func TestAPackedStreamSaysTheSameAndEndsWhenItIsClosed(t *testing.T) {
	t.Parallel()
	_, app := asker(t)
	row := number + ",2999-01-01,x\n"
	s, err := app.StreamChecks(t.Context(), "text/csv", strings.NewReader("number,since,more\n"+strings.Repeat(row, 50_000)), true)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(s)
	_ = s.Close()
	want := "number,since,more,outcome,reason,error\n" + strings.Repeat(number+",2999-01-01,x,UNKNOWN,future,\n", 50_000)
	if err != nil || string(got) != want {
		t.Fatalf("%d bytes, want %d: %v", len(got), len(want), err)
	}

	endless, _ := io.Pipe()
	s, err = app.StreamChecks(t.Context(), "text/csv", io.MultiReader(strings.NewReader("number,since\n"+strings.Repeat(number+",2999-01-01\n", 200_000)), endless), true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, s, 1000); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	if _, err := s.Read(make([]byte, 1<<20)); err == nil || errors.Is(err, io.EOF) {
		t.Error("a stream that was closed goes on:", err)
	}
}

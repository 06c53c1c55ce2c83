package main

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/huanxin-platform/huanxin/internal/store/pgtest"
)

func TestMain(m *testing.M) {
	if addr := os.Getenv(waiterEnv); addr != "" { // the process that idlePolls starts
		if err := wait(addr, os.Stdin, os.Stdout); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestItRuns measures a few rows, to see that everything still fits together. It asserts no speed.
func TestItRuns(t *testing.T) {
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			err := run(t.Context(), options{short: true, engine: engine, only: "all"}, &out, "-short")
			if errors.Is(err, pgtest.ErrNotInstalled) && os.Getenv("CI") != "true" {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"created", "listed", "answered", "whole way", "reported", "imported",
				"SETs written", "polls that wait"} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("it says nothing of %q:\n%s", want, out.String())
				}
			}
		})
	}
}

// TestTheChecksRun measures checks beside whatever peers are installed: in CI, PostgreSQL is.
func TestTheChecksRun(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), options{short: true, engine: "all", only: "checks"}, &out, "-short -only checks"); err != nil {
		t.Fatal(err)
	}
	wanted := []string{"memory, filled", "first answer", "verified", "changes applied", "bare loop", "beside Redis", "match, of", "PostgreSQL", "followed"}
	if os.Getenv("CI") == "true" {
		wanted = append(wanted, "match to PostgreSQL, on the same")
	}
	for _, want := range wanted {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it says nothing of %q:\n%s", want, out.String())
		}
	}
}

// TestTheAgentRuns works a few tasks on a real PostgreSQL.
func TestTheAgentRuns(t *testing.T) {
	var out strings.Builder
	err := run(t.Context(), options{short: true, engine: "postgres", only: "agent"}, &out, "-short -only agent")
	if errors.Is(err, pgtest.ErrNotInstalled) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil || !strings.Contains(out.String(), "finds a binding and unbinds it") {
		t.Fatal(err, out.String())
	}
}

// TestTheGuardRuns measures the login guard.
func TestTheGuardRuns(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), options{short: true, engine: "all", only: "guard"}, &out, "-short -only guard"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"the bytes alone", "decisions, random", "one call"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it says nothing of %q:\n%s", want, out.String())
		}
	}
}

func TestAPartThatThereIsNotIsRefused(t *testing.T) {
	if err := run(t.Context(), options{only: "checks,chekcs"}, io.Discard, ""); err == nil {
		t.Error("it measured something")
	}
}

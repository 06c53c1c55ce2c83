package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// as runs a command as a client of a hub.
func (h *hub) as(dir, id, secret string, args ...string) (code int, stdout, stderr string) {
	h.t.Helper()
	cmd := exec.CommandContext(h.t.Context(), program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HUANXIN_URL="+h.url+"/", "HUANXIN_CLIENT_ID="+id, "HUANXIN_CLIENT_SECRET="+secret)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); cmd.ProcessState == nil {
		h.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func TestAReplicaIsUploadedForPulledAndVerified(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := serve(t, dir, "--listen", "127.0.0.1:0")
	does(t, dir, "party", "add", "shop", "--kind", "app", "--name-zh", "店", "--name-en", "Shop", "--replica", "uploaded")
	does(t, dir, "party", "add", "bank", "--kind", "app", "--name-zh", "行", "--name-en", "Bank")
	secret := does(t, dir, "client", "add", "shop-1", "--party", "shop", "--secret")
	theirs := does(t, dir, "client", "add", "bank-1", "--party", "bank", "--secret")
	within5s(t, "the clients get tokens", func() bool { return h.token("shop-1", secret) && h.token("bank-1", theirs) })
	if list := does(t, dir, "party", "list"); !regexp.MustCompile(`(?m)^shop .* uploaded .*\n?`).MatchString(list) || !regexp.MustCompile(`(?m)^bank .* none `).MatchString(list) {
		t.Errorf("party list:\n%s", list)
	}

	accounts := "account,number,name\na,+8613912345601,x\n\n\"b\nb\",+8613912345602,y\nc,13912345603,\"\nz\"\nd,+8613912345604\ne,,\n\"f\",+8613912345601,\ng,secret 4,\n"
	must(t, os.WriteFile(filepath.Join(dir, "accounts.csv"), []byte(accounts), 0o600))
	code, out, errs := h.as(dir, "shop-1", secret, "replica", "upload", "--in", "accounts.csv")
	if code != 3 || !strings.HasPrefix(out, "2 accepted, 1 repeated, 4 refused (rcp_") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	var at []string
	for _, m := range regexp.MustCompile(`(?m)^line (\d+): (\w+): `).FindAllStringSubmatch(errs, -1) {
		at = append(at, m[1]+" "+m[2])
	}
	if got := strings.Join(at, ", "); got != "8 ragged_row, 6 number_malformed, 9 number_malformed, 11 number_malformed" {
		t.Errorf("refused: %s\n%s", got, errs)
	}
	if strings.Contains(errs, "139123") || strings.Contains(errs, "secret") {
		t.Errorf("it repeats what stood in the file: %s", errs)
	}

	var code2 int
	within5s(t, "the index is built", func() bool {
		code2, out, errs = h.as(dir, "shop-1", secret, "replica", "pull", "--out", "numbers")
		return !strings.Contains(errs, "overloaded")
	})
	if code2 != 0 || !strings.HasPrefix(out, "numbers: 2 numbers as of 0 (uploaded, issued ") {
		t.Errorf("exit %d: %s%s", code2, out, errs)
	}
	if out := does(t, dir, "replica", "verify", "numbers"); !strings.HasPrefix(out, "numbers: whole, and signed by "+h.url+" (by the keys in numbers.jwks") {
		t.Errorf("verify: %s", out)
	}
	h.verifiesWithTheHubsKeys(dir)
	if out := does(t, dir, "replica", "info", "numbers"); !regexp.MustCompile(`(?s)^hub +` + h.url + `\nclient +shop-1\n.*numbers +2\nzone +Asia/Shanghai\n`).MatchString(out) {
		t.Errorf("info:\n%s", out)
	}
	must(t, os.WriteFile(filepath.Join(dir, "gone.csv"), []byte("number\n+8613912345602\n"), 0o600))
	if code, out, errs := h.as(dir, "shop-1", secret, "replica", "remove", "--in", "gone.csv"); code != 0 || !strings.HasPrefix(out, "1 accepted, 0 repeated, 0 refused") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	if code, out, errs := h.as(dir, "shop-1", secret, "replica", "pull", "--out", "numbers"); code != 0 || !strings.HasPrefix(out, "numbers: 1 numbers") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}

	h.refusesWrongUse(dir, secret)
	for args, want := range map[string]string{"replica pull --out theirs": "no_contract", "replica upload --in gone.csv": "no_contract"} {
		if code, out, errs := h.as(dir, "bank-1", theirs, strings.Fields(args)...); code != 1 || !strings.Contains(errs, want) {
			t.Errorf("huanxin %s: exit %d: %s%s", args, code, out, errs)
		}
	}
	does(t, dir, "party", "replica", "bank", "whole")
	within5s(t, "the contract of bank holds", func() bool {
		code, _, _ := h.as(dir, "bank-1", theirs, "replica", "pull", "--out", "theirs")
		return code == 0
	})
}

// verifiesWithTheHubsKeys proves the replica "numbers", and not one that vouches for itself.
func (h *hub) verifiesWithTheHubsKeys(dir string) {
	t := h.t
	t.Helper()
	for _, url := range []string{h.url, h.url + "/"} {
		if out := does(t, dir, "replica", "verify", "numbers", "--hub", url); out != "numbers: whole, and signed by "+h.url+" (by the keys that the hub publishes now)" {
			t.Errorf("verify: %s", out)
		}
	}
	other := serve(t, t.TempDir(), "--listen", "127.0.0.1:0")
	if code, out, errs := run(t, dir, "replica", "verify", "numbers", "--hub", other.url); code != 1 || !strings.Contains(errs, "not signed by a key of the hub") {
		t.Errorf("by another hub: exit %d: %s%s", code, out, errs)
	}
	if code, _, errs := run(t, dir, "replica", "verify", "numbers", "--hub", strings.Replace(h.url, "127.0.0.1", "localhost", 1)); code != 1 || !strings.Contains(errs, "of another hub: "+h.url) {
		t.Errorf("by another name: exit %d: %s", code, errs)
	}
	if code, _, errs := run(t, dir, "replica", "verify", "numbers", "--hub", "http://127.0.0.1:1"); code != 1 || !strings.Contains(errs, "refused") {
		t.Errorf("by no hub: exit %d: %s", code, errs)
	}
	other.stop()
}

// refusesWrongUse runs what must fail, beside the replica "numbers".
func (h *hub) refusesWrongUse(dir, secret string) {
	t := h.t
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "numbers"))
	must(t, err)
	text[len(text)/2] ^= 1
	must(t, os.WriteFile(filepath.Join(dir, "damaged"), text, 0o600))
	for _, ending := range []string{".manifest", ".jwks"} {
		text, err := os.ReadFile(filepath.Join(dir, "numbers"+ending))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, "damaged"+ending), text, 0o600))
	}
	for args, want := range map[string]string{
		"replica verify damaged":                        "1 the replica is refused",
		"replica verify nothing":                        "1 no such file",
		"replica pull":                                  "2 --out",
		"replica upload":                                "2 --in",
		"replica upload --in nothing.csv":               "1 no such file",
		"replica upload --in data/keys.json":            "2 bad_header",
		"replica pull --out no/such/directory":          "1 no such file",
		"replica":                                       "2 info|pull|remove|upload|verify",
		"replica pull --out x --hub http://127.0.0.1:1": "1 connection refused",
	} {
		code, out, errs := h.as(dir, "shop-1", secret, strings.Fields(args)...)
		if got := fmt.Sprint(code); !strings.HasPrefix(want, got+" ") || !strings.Contains(errs, want[2:]) {
			t.Errorf("huanxin %s: exit %d, want %s: %s%s", args, code, want, out, errs)
		}
	}
	if code, _, errs := run(t, dir, "replica", "pull", "--out", "x"); code != 2 || !strings.Contains(errs, "HUANXIN_URL") {
		t.Errorf("without a hub: exit %d: %s", code, errs)
	}
	if code, _, errs := h.as(dir, "", "", "replica", "pull", "--out", "x"); code != 2 || !strings.Contains(errs, "HUANXIN_CLIENT_ID") {
		t.Errorf("as nobody: exit %d: %s", code, errs)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

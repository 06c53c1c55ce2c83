package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestAKeyPairIsMadeAndTaken(t *testing.T) {
	t.Parallel()
	a, dir := startAsker(t), t.TempDir()
	out := does(t, dir, "client", "keygen", "--out", "key.pem", "--jwks", "jwks.json")
	kid := strings.TrimPrefix(out, "kid ")
	set, err := os.ReadFile(filepath.Join(dir, "jwks.json"))
	must(t, err)
	if !strings.Contains(string(set), `"kid":"`+kid+`"`) || strings.Contains(string(set), `"d"`) {
		t.Errorf("%s: %s", out, set)
	}
	if info, err := os.Stat(filepath.Join(dir, "key.pem")); err != nil || info.Mode() != 0o600 {
		t.Error(info.Mode(), err)
	}
	for args, want := range map[string]string{
		"--out key.pem --jwks other.json":                "1 file exists",
		"--out other.pem --jwks jwks.json":               "1 file exists",
		"--in jwks.json --jwks other.json":               "1 ",
		"--in nothing.pem --jwks other.json":             "1 no such file",
		"--out other.pem":                                "2 --jwks",
		"--jwks other.json":                              "2 --out",
		"--in key.pem --out other.pem --jwks other.json": "2 --out",
	} {
		code, _, errs := run(t, dir, append([]string{"client", "keygen"}, strings.Fields(args)...)...)
		if code != int(want[0]-'0') || !strings.Contains(errs, want[2:]) {
			t.Errorf("%s: exit %d: %s", args, code, errs)
		}
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "other*")); len(names) != 0 {
		t.Error("left behind:", names)
	}
	asks := func(id, key string) {
		t.Helper()
		env := []string{"HUANXIN_CLIENT_ID=" + id, "HUANXIN_CLIENT_SECRET=", "HUANXIN_CLIENT_KEY=" + key}
		if code, out, errs := a.run(t, dir, recycled, env, "check", "-", "--since", date(ago(100))); code != 0 || !strings.Contains(out, "CHANGED") {
			t.Errorf("%s: exit %d: %s", id, code, errs)
		}
	}
	a.AddClient("made", "shop", set)
	asks("made", "key.pem")

	// PEM holds no kid, so the set may give any.
	a.AddClient("named", "shop", regexp.MustCompile(`"kid":"[^"]*"`).ReplaceAll(set, []byte(`"kid":"2026-11"`)))
	asks("named", "key.pem")

	if path, err := exec.LookPath("openssl"); err == nil {
		cmd := exec.CommandContext(t.Context(), path, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", filepath.Join(dir, "ssl.pem"))
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		does(t, dir, "client", "keygen", "--in", "ssl.pem", "--jwks", "ssl.json")
		set, err := os.ReadFile(filepath.Join(dir, "ssl.json"))
		must(t, err)
		a.AddClient("ssl", "shop", set)
		asks("ssl", "ssl.pem")
	}
}

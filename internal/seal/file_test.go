package seal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestTheFirstStartMakesAPrivateKeyFileAndTheNextReadsIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	a, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("its mode is %v", info.Mode())
	}
	b, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	n := number(t, "+8613800000001")
	if got, err := b.Unseal(a.Seal(n, nil), nil); err != nil || got != n {
		t.Errorf("the second start has other keys: %v", err)
	}
	if a.Fingerprint() != b.Fingerprint() || len(a.Fingerprint()) != 16 {
		t.Errorf("fingerprints %q and %q", a.Fingerprint(), b.Fingerprint())
	}
	onlyKeyFile(t, filepath.Dir(path))
}

func onlyKeyFile(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Name() != "keys.json" {
		t.Errorf("the directory holds %v", entries)
	}
}

func TestLoadNeverMakesAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	if _, err := Load(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the error is %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a file: %v", err)
	}
}

func TestAFileThatOthersMayUseIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	if _, err := Open(path); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o620, 0o602, 0o644, 0o666, 0o601} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "chmod 600") || !strings.Contains(err.Error(), path) {
			t.Errorf("with mode %04o the error is %v", mode, err)
		}
	}
	for _, mode := range []fs.FileMode{0o600, 0o400} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path); err != nil {
			t.Errorf("with mode %04o the error is %v", mode, err)
		}
	}
}

func TestADirectoryOrADanglingLinkIsNoKeyFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "no plain file") {
		t.Errorf("a directory: %v", err)
	}
	link := filepath.Join(dir, "keys.json")
	if err := os.Symlink(filepath.Join(dir, "nowhere"), link); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(link); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a dangling link: %v", err)
	}
	if _, err := Open(filepath.Join(dir, "missing", "keys.json")); err == nil || !strings.Contains(err.Error(), "cannot make") {
		t.Errorf("a missing directory: %v", err)
	}
}

func TestADamagedFileIsRefusedAndNeverReplaced(t *testing.T) {
	key := freshKey()
	list := func(current uint32, keys ...fileKey) keyList { return keyList{Current: current, Keys: keys} }
	good := list(1, fileKey{1, key})
	text := func(f keyFile) string {
		data, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	whole := text(keyFile{fileFormat, good, good, key})
	for what, content := range map[string]string{
		"empty":             "",
		"cut":               whole[:len(whole)/2],
		"followed":          whole + "{}",
		"unknown member":    strings.Replace(whole, `"id"`, `"ix"`, 1),
		"other format":      text(keyFile{"huanxin-keys/2", good, good, key}),
		"short id key":      text(keyFile{fileFormat, good, good, key[:31]}),
		"no id key":         text(keyFile{fileFormat, good, good, nil}),
		"no sealing key":    text(keyFile{fileFormat, list(1), good, key}),
		"no look-up key":    text(keyFile{fileFormat, good, list(0), key}),
		"current is absent": text(keyFile{fileFormat, list(2, fileKey{1, key}), good, key}),
		"key without id":    text(keyFile{fileFormat, list(0, fileKey{0, key}), good, key}),
		"one id twice":      text(keyFile{fileFormat, list(1, fileKey{1, key}, fileKey{1, key}), good, key}),
		"short key":         text(keyFile{fileFormat, good, list(1, fileKey{1, key[:16]}), key}),
		"too long":          whole + strings.Repeat(" ", maxFileSize),
	} {
		path := filepath.Join(t.TempDir(), "keys.json")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: the error is %v", what, err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != content {
			t.Errorf("%s: the file was changed", what)
		}
	}
	path := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(path, []byte(whole), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err != nil {
		t.Errorf("the whole file is refused: %v", err)
	}
}

func TestManyFirstStartsAtOnceMakeOneFile(t *testing.T) {
	for range 20 {
		path := filepath.Join(t.TempDir(), "keys.json")
		marks := make([]string, 8)
		var wg sync.WaitGroup
		for i := range marks {
			wg.Go(func() {
				k, err := Open(path)
				if err != nil {
					t.Error(err)
					return
				}
				marks[i] = k.Fingerprint()
			})
		}
		wg.Wait()
		for _, m := range marks {
			if m != marks[0] {
				t.Fatalf("starts at once have different keys: %v", marks)
			}
		}
		onlyKeyFile(t, filepath.Dir(path))
	}
}

// childEnv makes this test binary open a key file and print its fingerprint.
const childEnv = "HUANXIN_SEAL_TEST_OPEN"

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		k, err := Open(path)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(k.Fingerprint())
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestTwoProcessesStartingAtOnceHaveTheSameKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	outs := make([]strings.Builder, 4)
	cmds := make([]*exec.Cmd, len(outs))
	for i := range cmds {
		cmds[i] = exec.Command(os.Args[0])
		cmds[i].Env = append(os.Environ(), childEnv+"="+path)
		cmds[i].Stdout, cmds[i].Stderr = &outs[i], os.Stderr
		if err := cmds[i].Start(); err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range cmds {
		if err := c.Wait(); err != nil {
			t.Fatal(err)
		}
		if outs[i].String() == "" || outs[i].String() != outs[0].String() {
			t.Errorf("processes have different keys: %q and %q", outs[0].String(), outs[i].String())
		}
	}
	onlyKeyFile(t, filepath.Dir(path))
}

package sandbox

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/huanxin-platform/huanxin"
)

func TestAWorldThatCannotBeServedLeavesNothingBehind(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = l.Close() }()
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	for address, want := range map[string]string{
		l.Addr().String(): "is taken",
		"0.0.0.0:8080":    "ssh -L 8080:127.0.0.1:8080",
		":0":              "ssh -L 8080:127.0.0.1:8080",
		"192.0.2.1:9000":  "listen on 127.0.0.1:9000",
		"hub.example:80":  "for this machine alone",
		"8080":            "is no address",
		"127.0.0.1:99999": "invalid port",
	} {
		dir := filepath.Join(t.TempDir(), "world")
		for _, o := range []Options{{Data: dir}, {Once: true}} {
			o.Listen, o.Out, o.Err = address, io.Discard, io.Discard
			err := Run(testContext(t), o)
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "behind_proxy") {
				t.Errorf("%s: %v", address, err)
			}
			if wrongUse := huanxin.KindOf(err) == huanxin.Invalid; wrongUse == (want == "is taken" || want == "invalid port") {
				t.Errorf("%s: %v is of the wrong kind", address, err)
			}
		}
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("%s: a directory was left behind", address)
		}
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestAWorldIsSaidToBeMadeOnlyWhenItIs(t *testing.T) {
	dir := t.TempDir()
	for _, making := range []bool{true, false} {
		var said bytes.Buffer
		d, err := start(testContext(t), Options{Listen: "127.0.0.1:0", Data: dir, Still: true, Out: io.Discard, Err: &said, people: testPeople})
		must(t, err)
		stop(t, d)
		if strings.Contains(said.String(), "making the world") != making || strings.Contains(said.String(), "going on") == making {
			t.Errorf("making: %v, said %q", making, said.String())
		}
	}
}

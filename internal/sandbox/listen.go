package sandbox

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/huanxin-platform/huanxin"
)

// checkListen looks whether the world can be served at an address before anything is made. The world's secrets lie about, so it
// is for this machine alone.
func checkListen(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return notListen("--listen " + address + " is no address: write 127.0.0.1:8080, or 127.0.0.1:0 for any free port")
	}
	if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.IsLoopback()) {
		if port == "0" {
			port = "8080"
		}
		return notListen(fmt.Sprintf("--listen %s would let others in, and the demo is for this machine alone: listen on 127.0.0.1:%s, and to look "+
			"at it from elsewhere run there: ssh -L %s:127.0.0.1:%s THIS-MACHINE", address, port, port, port))
	}
	l, err := net.Listen("tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s is taken, perhaps by another demo: give another port, or any free one with --listen %s",
			address, net.JoinHostPort(host, "0"))
	case err != nil:
		return fmt.Errorf("--listen %s: %w", address, err)
	}
	return l.Close()
}

func notListen(detail string) error { return huanxin.Errorf(huanxin.Invalid, "listen", detail) }

package outbound

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/huanxin-platform/huanxin"
)

func TestURLsOfThePublicInternetAreAllowed(t *testing.T) {
	for _, u := range []string{
		"https://hooks.example.com",
		"https://hooks.example.com/",
		"https://hooks.example.com/a/b?x=1&y=%23",
		"HTTPS://HOOKS.EXAMPLE.COM/",
		"https://hooks.example.com:443/",
		"https://hooks.example.com:8443/",
		"https://xn--fiqs8s.example/",
		"https://under_score.example.com/",
		"https://1.example.com/",
		"https://8.8.8.8/",
		"https://[2606:4700:4700::1111]:8443/",
		"https://localhost.example.com/",
	} {
		for _, loopback := range []bool{false, true} {
			if err := CheckURL(u, loopback); err != nil {
				t.Errorf("%s: %v", u, err)
			}
		}
	}
}

func TestOtherURLsAreRefused(t *testing.T) {
	for _, u := range []string{
		"", " ", "hooks.example.com", "//hooks.example.com/", "/path", "https:", "https://", "https:///path", "https:hooks.example.com",
		"http://hooks.example.com/", "ftp://hooks.example.com/", "file:///etc/passwd", "gopher://hooks.example.com/", "javascript:alert(1)", "data:,x",
		"https://user@hooks.example.com/", "https://user:password@hooks.example.com/", "https://@hooks.example.com/",
		"https://hooks.example.com/#", "https://hooks.example.com/#fragment", "https://hooks.example.com\\@10.0.0.1/",
		"https://hooks.example.com:/", "https://hooks.example.com:0/", "https://hooks.example.com:22/", "https://hooks.example.com:80/",
		"https://hooks.example.com:0443/", "https://hooks.example.com:65536/", "https://hooks.example.com:x/", "https://hooks.example.com:+443/",
		"https://hooks.example.com./", "https://.example.com/", "https://a..example.com/", "https://-a.example.com/", "https://a-.example.com/",
		"https://höoks.example.com/", "https://hooks.example.com%00/", "https://hooks .example.com/", "https://hooks\t.example.com/",
		"https://" + strings.Repeat("a", 64) + ".example.com/", "https://" + strings.Repeat("a.", 127) + "example/",
		"https://hooks.example.com/" + strings.Repeat("a", maxURL),
		"https://intranet/", "https://router.local/", "https://hub.internal/", "https://nas.home.arpa/", "https://x.onion/", "https://metadata.google.internal/",
		// Spellings of 127.0.0.1 and of 169.254.169.254 that some resolvers understand.
		"https://2130706433/", "https://0x7f000001/", "https://0177.0.0.1/", "https://127.1/", "https://0x7f.1/", "https://127.0.0.0x1/", "https://2852039166/",
		"https://hooks.example.0x1f/",
		"https://127.0.0.1.", "https://[::1%25eth0]/", "https://[fe80::1%25eth0]/", "https://[::1/", "https://::1/",
	} {
		for _, loopback := range []bool{false, true} {
			mustRefuse(t, u, CheckURL(u, loopback))
		}
	}
}

func mustRefuse(t *testing.T, u string, err error) {
	t.Helper()
	var e *huanxin.Error
	if !errors.As(err, &e) || e.Kind != huanxin.Invalid || e.Code != "url_not_allowed" || e.Detail == "" || len(e.Detail) > 100 {
		t.Errorf("%q: %v", u, err)
	}
}

// notPublic are addresses that no request may reach.
var notPublic = []string{
	"0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "100.127.255.255", "127.0.0.1", "127.255.255.254",
	"168.63.129.16", "169.254.169.254", "169.254.0.23", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.1.1",
	"198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
	"::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1",
	"2001::1", "2001:10::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1",
}

func TestAddressesThatAreNotPublicAreRefusedInURLsAndWhenDialled(t *testing.T) {
	for _, s := range notPublic {
		a := netip.MustParseAddr(s)
		host := s
		if a.Is6() {
			host = "[" + s + "]"
		}
		mustRefuse(t, s, CheckURL("https://"+host+"/", false))
		mustRefuse(t, s, CheckURL("https://"+host+":8443/", false))
		if s == "::ffff:8.8.8.8" {
			continue // dialled as the IPv4 address that it is
		}
		if err := (Options{}).control("tcp4", netip.AddrPortFrom(a, 443).String(), nil); huanxin.CodeOf(err) != "address_not_allowed" {
			t.Errorf("%s is dialled: %v", s, err)
		}
	}
	for _, s := range []string{"1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0", "223.255.255.255", "2400:3200::1", "2606:4700:4700::1111"} {
		if err := (Options{}).control("tcp", "", nil); err == nil {
			t.Error("no address is dialled")
		}
		a := netip.AddrPortFrom(netip.MustParseAddr(s), 443)
		if err := (Options{}).control("tcp6", a.String(), nil); err != nil {
			t.Errorf("%s: %v", s, err)
		}
		if err := (Options{Deny: prefixes("0.0.0.0/0", "::/0")}).control("tcp4", a.String(), nil); huanxin.CodeOf(err) != "address_not_allowed" {
			t.Errorf("%s is dialled though denied: %v", s, err)
		}
		if err := (Options{}).control("udp4", a.String(), nil); err == nil {
			t.Errorf("%s is dialled over UDP", s)
		}
	}
}

func TestThisMachineIsAllowedInTheSandboxOnly(t *testing.T) {
	for _, u := range []string{
		"http://127.0.0.1:8080/x", "http://localhost:80/", "http://localhost/", "https://localhost:8443/", "http://[::1]:8080/", "http://app.localhost:8080/", "http://127.9.9.9/",
	} {
		if err := CheckURL(u, true); err != nil {
			t.Errorf("%s: %v", u, err)
		}
		mustRefuse(t, u, CheckURL(u, false))
	}
	for _, s := range notPublic {
		a := netip.MustParseAddr(s)
		if a.Unmap().IsLoopback() {
			continue
		}
		if a.Is6() {
			s = "[" + s + "]"
		}
		mustRefuse(t, s, CheckURL("http://"+s+"/", true))
		mustRefuse(t, s, CheckURL("https://"+s+"/", true))
	}
}

func FuzzCheckURL(f *testing.F) {
	for _, s := range []string{"https://example.com", "https://[::ffff:127.0.0.1]/", "https://u:p@h#f", "http://localhost:1/", "https://0x7f.1:443"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, s string, loopback bool) {
		if err := CheckURL(s, loopback); err == nil {
			lower := strings.ToLower(s)
			if !strings.HasPrefix(lower, "https://") && !(loopback && strings.HasPrefix(lower, "http://")) || strings.ContainsAny(s, "#\n\r\x00") {
				t.Errorf("%q is allowed", s)
			}
		} else if huanxin.CodeOf(err) != "url_not_allowed" {
			t.Errorf("%q: %v", s, err)
		}
	})
}

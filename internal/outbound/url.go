// Package outbound sends requests to URLs that others gave us, without letting them make the hub speak to its own
// network (server-side request forgery).
//
// A URL is judged twice: CheckURL when it is given, and the client that Client makes when it is used. The second counts:
// it judges the address that the name stands for at the moment of the connection, so a name that
// changes its address in between (DNS rebinding) gains nothing.
package outbound

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/huanxin-platform/huanxin"
)

const maxURL = 2048

// CheckURL judges a URL that an outsider gives for requests of ours. It must be https, to a name or a public address,
// on port 443 or above 1023, without credentials and fragment. With allowLoopback, which is for the
// sandbox only, this machine is allowed too, on any port and with http.
//
// The error is Invalid with the code "url_not_allowed" and never repeats the URL.
func CheckURL(raw string, allowLoopback bool) error {
	if len(raw) > maxURL {
		return refuse("the URL has at most 2048 characters")
	}
	u, err := url.Parse(raw)
	if err != nil {
		return refuse("this is no URL")
	}
	// The parsed URL drops an empty fragment.
	if strings.Contains(raw, "#") {
		return refuse("the URL has a fragment")
	}
	return checkURL(u, allowLoopback)
}

func refuse(detail string) error {
	return huanxin.Errorf(huanxin.Invalid, "url_not_allowed", detail)
}

func checkURL(u *url.URL, allowLoopback bool) error {
	host := strings.ToLower(u.Hostname())
	addr, literal, err := checkHost(host)
	if err != nil {
		return err
	}
	loopback := allowLoopback && (literal && addr.IsLoopback() || host == "localhost" || strings.HasSuffix(host, ".localhost"))
	port, err := portOf(u)
	switch {
	case err != nil:
		return err
	case u.User != nil:
		return refuse("the URL holds credentials")
	case u.Opaque != "" || u.Fragment != "":
		return refuse("the URL is not of the form https://host/path")
	case u.Scheme != "https" && !(u.Scheme == "http" && loopback):
		return refuse("the URL is not https")
	case loopback:
		return nil
	case port != 443 && port < 1024:
		return refuse("the port is 443 or above 1023")
	case literal && !public(addr):
		return refuse("the address is not one of the public internet")
	case !literal && (localName(host) || !strings.Contains(host, ".")):
		return refuse("the host is not a name of the public internet")
	}
	return nil
}

func portOf(u *url.URL) (uint16, error) {
	switch s := u.Port(); {
	case strings.HasSuffix(u.Host, ":"):
		return 0, refuse("the port is empty")
	case s != "":
		n, err := strconv.ParseUint(s, 10, 16)
		if err != nil || n == 0 || s[0] == '0' {
			return 0, refuse("the port is no port")
		}
		return uint16(n), nil
	case u.Scheme == "http":
		return 80, nil
	}
	return 443, nil
}

// checkHost tells names from addresses. Spellings of an address that only some programs understand (decimal, octal,
// hexadecimal, shortened) are refused, and so is every name whose last part is a number (WHATWG URL §3.5).
func checkHost(host string) (addr netip.Addr, literal bool, err error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.Zone() != "" {
			return addr, true, refuse("the address has a zone")
		}
		return addr, true, nil
	}
	if host == "" || len(host) > 253 {
		return addr, false, refuse("the host is missing or too long")
	}
	labels := strings.Split(host, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' || strings.ContainsFunc(l, notNameChar) {
			return addr, false, refuse("the host is no name in ASCII (write other scripts in xn-- form)")
		}
	}
	last := labels[len(labels)-1]
	if strings.HasPrefix(last, "0x") || strings.Trim(last, "0123456789") == "" {
		return addr, false, refuse("the host is an address in an unusual spelling")
	}
	return addr, false, nil
}

func notNameChar(c rune) bool {
	return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_'
}

// localNames are never names of the public internet: RFC 6761, RFC 6762, RFC 7686, RFC 8375, RFC 9476, ICANN's .internal and
// the three that it will never give out.
var localNames = []string{"localhost", "local", "onion", "home.arpa", "alt", "internal", "corp", "home", "mail"}

func localName(host string) bool {
	for _, n := range localNames {
		if host == n || strings.HasSuffix(host, "."+n) {
			return true
		}
	}
	return false
}

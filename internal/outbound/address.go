package outbound

import "net/netip"

// special are the ranges that no receiver of ours can be in, after the IANA special-purpose address registries
// (RFC 6890 and its updates, as of 2026). What is global and only of no use here is in it too.
var special = prefixes(
	"0.0.0.0/8",         // this network
	"10.0.0.0/8",        // private
	"100.64.0.0/10",     // carrier-grade NAT; Alibaba Cloud's metadata service
	"127.0.0.0/8",       // loopback
	"168.63.129.16/32",  // Azure's platform service, on a public address
	"169.254.0.0/16",    // link-local; the metadata services of most clouds
	"172.16.0.0/12",     // private
	"192.0.0.0/24",      // protocol assignments; Oracle Cloud's metadata service
	"192.0.2.0/24",      // documentation
	"192.88.99.0/24",    // 6to4 relays
	"192.168.0.0/16",    // private
	"198.18.0.0/15",     // benchmarks
	"198.51.100.0/24",   // documentation
	"203.0.113.0/24",    // documentation
	"224.0.0.0/4",       // multicast
	"240.0.0.0/4",       // reserved, and broadcast
	"2001::/23",         // protocol assignments: Teredo, ORCHID and others
	"2001:db8::/32",     // documentation
	"2002::/16",         // 6to4: an IPv4 address inside
	"3fff::/20",         // documentation
	"2620:4f:8000::/48", // AS112
)

// global6 is all of IPv6 that is given out. Outside of it lie loopback, link-local (fe80::/10), unique local (fc00::/7,
// with Amazon's metadata service fd00:ec2::254), multicast, and IPv4 in disguise: mapped (::ffff:0:0/96),
// compatible (::/96) and NAT64 (64:ff9b::/96, 64:ff9b:1::/48).
var global6 = netip.MustParsePrefix("2000::/3")

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

// public reports whether an address is one of the public internet.
func public(a netip.Addr) bool {
	if !a.IsValid() || a.Zone() != "" || a.Is6() && !global6.Contains(a) {
		return false
	}
	return !within(a, special)
}

func within(a netip.Addr, list []netip.Prefix) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

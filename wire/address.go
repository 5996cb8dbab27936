// This file decides which gateway addresses that somebody names may get the token.

package wire

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// DiscordDomains returns the domains of Discord's own gateways and API.
func DiscordDomains() []string { return slices.Clone(discordDomains) }

var discordDomains = []string{"discord.gg", "discord.com", "discord.media"}

// CheckURL says why the token must not be sent to the gateway at the address raw, which came
// from a peer or a store; nil: it may. from is the address that is trusted: the main gateway's,
// or that of the API which names it. What it has over TLS, raw gets over TLS alone. raw's host
// must be from's, or of from's registrable domain, or be Discord's as from's is, or be one of
// hosts or below it. An IP address, or a name without a registrable domain such as localhost,
// is nothing but itself. The port may be any.
func CheckURL(raw string, from *url.URL, hosts []string) error {
	if len(raw) > MaxURL {
		return fmt.Errorf("it has %d bytes, more than %d", len(raw), MaxURL)
	}
	if strings.ContainsFunc(raw, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
		return errors.New("it has a control character, a space or a letter outside of ASCII in it")
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "wss" && u.Scheme != "ws" || u.Hostname() == "" || u.Fragment != "" {
		return fmt.Errorf("%.100q is not a wss:// or ws:// address", raw)
	}
	if u.User != nil {
		return errors.New("it has a user in it")
	}
	host, trusted := hostName(u), hostName(from)
	if u.Scheme == "ws" && from.Scheme != "ws" && from.Scheme != "http" {
		return fmt.Errorf("ws://%.100s is not encrypted, as %s is", host, trusted)
	}
	if sameHost(host, trusted) || sameDomain(host, trusted) || below(trusted, discordDomains) && below(host, discordDomains) || below(host, hosts) {
		return nil
	}
	return fmt.Errorf("%.100s is not of %s's domain", host, trusted)
}

// hostName returns the host of u in the form in which hosts are compared.
func hostName(u *url.URL) string { return normalHost(u.Hostname()) }

func normalHost(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }

func sameHost(a, b string) bool {
	if a == b {
		return true
	}
	x, errX := netip.ParseAddr(a)
	y, errY := netip.ParseAddr(b)
	return errX == nil && errY == nil && x.Unmap() == y.Unmap()
}

// sameDomain reports whether the hosts are of one registrable domain.
func sameDomain(a, b string) bool {
	if isIP(a) || isIP(b) {
		return false
	}
	x, errX := publicsuffix.EffectiveTLDPlusOne(a)
	y, errY := publicsuffix.EffectiveTLDPlusOne(b)
	return errX == nil && errY == nil && x == y
}

// below reports whether the host is one of hosts, or a name below one of them.
func below(host string, hosts []string) bool {
	return slices.ContainsFunc(hosts, func(h string) bool {
		h = normalHost(h)
		return sameHost(host, h) || !isIP(host) && h != "" && strings.HasSuffix(host, "."+h)
	})
}

func isIP(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

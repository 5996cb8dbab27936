// This file reads addresses: of Discord, the proxy and the brokers.

package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	portTrouble  = "the port is not a number between 1 and 65535"
	ipv6Trouble  = "an IPv6 address has brackets around it, as in [::1]:8080"
	loginTrouble = "in the user and the password, the characters / ? # @ : % are written %2F %3F %23 %40 %3A %25"
)

// authorityTrouble says what is wrong with user, host and port of an address, "" if nothing is. It
// quotes no part of it: with a password that is not escaped, any part may be one of the password.
func authorityTrouble(address string) string {
	_, rest, _ := strings.Cut(address, "://")
	authority := rest
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		if authority = rest[:i]; strings.ContainsRune(rest[i:], '@') {
			return loginTrouble
		}
	}
	hostport := authority[strings.LastIndexByte(authority, '@')+1:]
	colon := strings.LastIndexByte(hostport, ':')
	u, err := url.Parse("x://" + hostport)
	_, whole := url.Parse(address) // which holds the user and the password
	switch {
	case strings.ContainsAny(hostport, " \t\r\n"):
		return "there is white space in the address"
	case strings.Count(hostport, ":") > 1 && !strings.HasPrefix(hostport, "["):
		return ipv6Trouble
	case err != nil && (colon < 0 || validPort(hostport[colon+1:])):
		return "this is no host, or host:port"
	case err == nil && u.Hostname() == "":
		return "the address names no host"
	case err != nil || !validPort(u.Port()) || strings.HasSuffix(hostport, ":"):
		return portTrouble
	case whole != nil:
		return loginTrouble
	}
	return ""
}

// validPort reports whether a port can be connected to; "" is the default of the scheme.
func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0
}

// listenAddress is host:port to listen on; the host may be empty.
func listenAddress(to *string, example string) value {
	return text(to, "address", example, func(s string) string {
		host, port, err := net.SplitHostPort(s)
		switch {
		case strings.Contains(s, "://") || strings.ContainsRune(host, '/'):
			return fmt.Sprintf("%.60q is an address with a scheme or path: write host:port, such as %s", s, example)
		case strings.Count(s, ":") > 1 && !strings.HasPrefix(s, "["):
			return fmt.Sprintf("%.60q: %s", s, ipv6Trouble)
		case err != nil || port == "":
			return fmt.Sprintf("%.60q is not host:port, such as %s", s, example)
		case !validPort(port):
			return fmt.Sprintf("%.60q: %s", s, portTrouble)
		}
		return ""
	})
}

func gatewayTrouble(s string) string {
	u, err := url.Parse(s)
	switch scheme, trouble := schemeOf(s), authorityTrouble(s); {
	case err == nil && u.User != nil: // before s is shown: a user alone may be a secret, too
		return "a gateway's address has no user or password in it"
	case scheme != "wss" && scheme != "ws":
		return fmt.Sprintf("%.60q does not begin with wss:// or ws://", s)
	case trouble != "":
		return trouble
	case err != nil || u.Fragment != "":
		return "not an address such as wss://gateway.discord.gg, without #part"
	}
	return ""
}

// identifyTrouble says what is wrong with the address of a service that gives turns to identify.
func identifyTrouble(s string) string {
	u, err := url.Parse(s)
	switch scheme, trouble := schemeOf(s), authorityTrouble(s); {
	case err == nil && u.User != nil || strings.ContainsRune(s, '@'): // before s is shown
		return "the address has no user or password in it"
	case scheme != "http" && scheme != "https":
		return fmt.Sprintf("%.60q does not begin with http:// or https://", s)
	case trouble != "":
		return trouble
	case err != nil || u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(s, "?"):
		return "not an address such as http://gateway-queue:7070, to which /?shard=0 is added"
	}
	return ""
}

// apiTrouble says what is wrong with a host, which may carry a port.
func apiTrouble(s string) string {
	u, err := url.Parse("https://" + s)
	scheme, rest, isURL := strings.Cut(s, "://")
	switch trouble := authorityTrouble("https://" + s); {
	case isURL:
		host, _, _ := strings.Cut(rest, "/")
		return fmt.Sprintf("is a host, not an address: write %.60q here, and %.20q in api.scheme (DISCORD_API_PROTOCOL)", host[strings.LastIndexByte(host, '@')+1:], scheme)
	case strings.ContainsRune(s, '@'):
		return "a host has no user or password in it"
	case strings.ContainsRune(s, '/'):
		return fmt.Sprintf("%.60q has a path behind the host: write discord.com or localhost:8080 alone", s)
	case trouble != "":
		return fmt.Sprintf("%.60q: %s", s, trouble)
	case err != nil || u.Host != s:
		return fmt.Sprintf("%.60q is not a host such as discord.com or localhost:8080", s)
	}
	return ""
}

// hostTrouble says what is wrong with the name or IP address of a host.
func hostTrouble(s string) string {
	host := strings.TrimSuffix(s, ".")
	u, err := url.Parse("wss://" + host)
	if _, ip := netip.ParseAddr(host); ip != nil && (err != nil || u.Host != host || u.Port() != "" || strings.HasPrefix(host, ".")) {
		return fmt.Sprintf("%.60q is not a host such as gateway.example.com, without scheme and port", s)
	}
	return ""
}

// The addresses below may hold passwords and so are not quoted.

func proxyTrouble(s string) string {
	u, err := url.Parse(s)
	switch {
	case s == "none":
		return ""
	case strings.Contains(s, "://") && authorityTrouble(s) != "":
		return authorityTrouble(s)
	case err != nil || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme):
		return "not an address such as http://user:password@host:3128, https://host or socks5://host:1080, and not none"
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return "a proxy's address has nothing behind host and port"
	}
	return ""
}

// redisTrouble takes an address without a scheme as one of Redis.
func redisTrouble(s string) string {
	const example = "; write it as in localhost:6379, rediss://user:password@host:6379 or unix:///run/redis.sock"
	if !strings.Contains(s, "://") {
		s = "redis://" + s
	}
	u, err := url.Parse(s)
	switch scheme := schemeOf(s); {
	case scheme == "amqp" || scheme == "amqps":
		return "this is an address of RabbitMQ, which belongs in amqp.url (AMQP_URL)" + example
	case scheme == "unix" && (err != nil || u.Path == ""):
		return "the address names no socket" + example
	case !isRedis(scheme):
		return "this is no address of Redis" + example
	case scheme != "unix" && authorityTrouble(s) != "":
		return authorityTrouble(s) + example
	}
	return ""
}

func amqpTrouble(s string) string {
	const example = "; write it as in amqp://user:password@host:5672/vhost"
	switch scheme := schemeOf(s); {
	case scheme == "":
		return "the address has no scheme" + example
	case isRedis(scheme):
		return "this is an address of Redis, which belongs in redis.urls (REDIS_URL)" + example
	case scheme == "http" || scheme == "https":
		return "this is an address of HTTP, as that of RabbitMQ's management page is" + example
	case authorityTrouble(s) != "":
		return authorityTrouble(s) + example
	case scheme != "amqp" && scheme != "amqps":
		return "this is no address of RabbitMQ" + example
	}
	return ""
}

func schemeOf(address string) string {
	scheme, _, found := strings.Cut(address, "://")
	if !found {
		return ""
	}
	return strings.ToLower(scheme)
}

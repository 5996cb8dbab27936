// This file reads addresses: of Discord, the proxy and the brokers.

package config

import (
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
	u, err := url.Parse("x://" + hostport)
	_, whole := url.Parse(address) // which holds the user and the password
	switch {
	case strings.ContainsAny(hostport, " \t\r\n"):
		return "there is white space in the address"
	case strings.Count(hostport, ":") > 1 && !strings.HasPrefix(hostport, "["):
		return ipv6Trouble
	case err != nil && validPort(hostport[strings.LastIndexByte(hostport, ':')+1:]):
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
	return valueOf("address", to, quoteUnlessEmpty, func(in input) string {
		s := want[string](in, quote(example))
		host, port, err := net.SplitHostPort(s)
		switch {
		case s == "":
		case strings.Contains(s, "://") || err == nil && strings.ContainsRune(host, '/'):
			in.errorf("%.60q is an address with a scheme or path: write host:port, such as %s", s, example)
		case strings.Count(s, ":") > 1 && !strings.HasPrefix(s, "["):
			in.errorf("%.60q: %s", s, ipv6Trouble)
		case err != nil || port == "":
			in.errorf("%.60q is not host:port, such as %s", s, example)
		case !validPort(port):
			in.errorf("%.60q: %s", s, portTrouble)
		}
		return s
	})
}

func gatewayURL(to *string) value {
	return valueOf("address", to, quoteUnlessEmpty, func(in input) string {
		s := want[string](in, `"wss://gateway.discord.gg"`)
		scheme, _, _ := strings.Cut(s, "://")
		u, err := url.Parse(s)
		switch trouble := authorityTrouble(s); {
		case s == "":
		case !strings.EqualFold(scheme, "wss") && !strings.EqualFold(scheme, "ws"):
			in.errorf("%.60q does not begin with wss:// or ws://", s)
		case trouble != "":
			in.errorf("%s", trouble)
		case err != nil || u.User != nil || u.Fragment != "":
			in.errorf("not an address such as wss://gateway.discord.gg, without user, password and #part")
		}
		return s
	})
}

// host is that of the API, and may carry a port.
func host(to *string) value {
	return valueOf("host", to, quoteUnlessEmpty, func(in input) string {
		s := want[string](in, `"discord.com"`)
		u, err := url.Parse("https://" + s)
		scheme, rest, isURL := strings.Cut(s, "://")
		switch trouble := authorityTrouble("https://" + s); {
		case s == "":
		case isURL:
			name, _, _ := strings.Cut(rest, "/")
			in.errorf("is a host, not an address: write %.60q here, and %.20q in api.scheme (DISCORD_API_PROTOCOL)", name[strings.LastIndexByte(name, '@')+1:], scheme)
		case strings.ContainsRune(s, '@'):
			in.errorf("a host has no user or password in it")
		case strings.ContainsRune(s, '/'):
			in.errorf("%.60q has a path behind the host: write discord.com or localhost:8080 alone", s)
		case trouble != "":
			in.errorf("%.60q: %s", s, trouble)
		case err != nil || u.Host != s:
			in.errorf("%.60q is not a host such as discord.com or localhost:8080", s)
		}
		return s
	})
}

// hosts are names and IP addresses of hosts.
func hosts(to *[]string) value {
	return names("list of hosts", "gateway.example.com", to, func(in input, name string, _ []string) (string, bool) {
		bare := strings.TrimSuffix(name, ".")
		u, err := url.Parse("wss://" + bare)
		_, ip := netip.ParseAddr(bare)
		ok := ip == nil || err == nil && u.Host == bare && u.Port() == "" && !strings.HasPrefix(bare, ".")
		if !ok {
			in.errorf("%.60q is not a host such as gateway.example.com, without scheme and port", name)
		}
		return name, ok
	})
}

// proxyURL is the address of a proxy, which may hold a password and so is not quoted.
func proxyURL(to *SecretURL) value {
	show := func(u SecretURL) string { return quoteUnlessEmpty(u.String()) }
	return valueOf("address", to, show, func(in input) SecretURL {
		s := want[string](in, `"http://proxy.example.com:3128"`)
		u, err := url.Parse(s)
		switch {
		case s == "" || s == "none":
		case strings.Contains(s, "://") && authorityTrouble(s) != "":
			in.errorf("%s", authorityTrouble(s))
		case err != nil || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme):
			in.errorf("not an address such as http://user:password@host:3128, https://host or socks5://host:1080, and not none")
		case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
			in.errorf("a proxy's address has nothing behind host and port")
		}
		return SecretURL(s)
	})
}

func amqpURLs(to *[]SecretURL) value {
	return urls(to, BrokerAMQP, "amqp://user:password@host:5672/vhost", amqpTrouble)
}

func redisURLs(to *[]SecretURL) value {
	return urls(to, BrokerRedis, "localhost:6379, rediss://user:password@host:6379 or unix:///run/redis.sock", redisTrouble)
}

// urls are addresses of a broker, which may hold passwords and so are not quoted.
func urls(to *[]SecretURL, broker, example string, trouble func(address string) string) value {
	return valueOf("list of addresses", to, quoteList[SecretURL], func(in input) (urls []SecretURL) {
		if s, alone := in.value.(string); alone && !in.loose { // one address needs no list around it
			in.value = []any{s}
		}
		first, _, _ := strings.Cut(example, ",")
		in.names(quote(first), func(in input, address string) {
			in.r.secrets.addURL(address)
			if trouble := trouble(address); trouble != "" {
				in.errorf("%s; write it as in %s", trouble, example)
			}
			urls = append(urls, SecretURL(address))
		})
		return urls
	})
}

// redisTrouble says what is wrong with an address of Redis, "" if nothing is. One without a
// scheme is of Redis.
func redisTrouble(address string) string {
	if !strings.Contains(address, "://") {
		address = "redis://" + address
	}
	u, err := url.Parse(address)
	switch scheme := schemeOf(address); {
	case scheme == "amqp" || scheme == "amqps":
		return "this is an address of RabbitMQ, which belongs in amqp.url (AMQP_URL)"
	case scheme == "unix" && err == nil && u.Path != "":
		return ""
	case scheme == "unix":
		return "the address names no socket"
	case isRedis(scheme) && authorityTrouble(address) != "":
		return authorityTrouble(address)
	case err != nil || !isRedis(scheme):
		return "this is no address of Redis"
	}
	return ""
}

// amqpTrouble is redisTrouble for RabbitMQ.
func amqpTrouble(address string) string {
	_, err := url.Parse(address)
	switch scheme := schemeOf(address); {
	case scheme == "":
		return "the address has no scheme"
	case isRedis(scheme):
		return "this is an address of Redis, which belongs in redis.urls (REDIS_URL)"
	case scheme == "http" || scheme == "https":
		return "this is an address of HTTP, as that of RabbitMQ's management page is"
	case authorityTrouble(address) != "":
		return authorityTrouble(address)
	case err != nil || scheme != "amqp" && scheme != "amqps":
		return "this is no address of RabbitMQ"
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

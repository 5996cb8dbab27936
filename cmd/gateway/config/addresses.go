// This file reads addresses: of the brokers, and what is wrong with the host and port in any.

package config

import (
	"net"
	"net/url"
	"strconv"
	"strings"
)

// authorityTrouble says what is wrong with user, host and port of an address, "" if nothing is. It
// quotes no part of it: with a password that is not escaped, any part may be one of the password.
func authorityTrouble(address string) string {
	_, rest, _ := strings.Cut(address, "://")
	authority := rest
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		if authority = rest[:i]; strings.ContainsRune(rest[i:], '@') {
			return "in the user and the password, the characters / ? # @ : % are written %2F %3F %23 %40 %3A %25"
		}
	}
	hostport := authority[strings.LastIndexByte(authority, '@')+1:]
	switch {
	case strings.ContainsAny(hostport, " \t\r\n"):
		return "there is white space in the address"
	case strings.Count(hostport, ":") > 1 && !strings.HasPrefix(hostport, "["):
		return "an IPv6 address has brackets around it, as in [::1]:8080"
	}
	u, err := url.Parse("x://" + hostport)
	switch {
	case err == nil && u.Hostname() == "":
		return "the address names no host"
	case err != nil:
		if i := strings.LastIndexByte(hostport, ':'); i >= 0 && !validPort(hostport[i+1:]) {
			return portTrouble
		}
		return "this is no host, or host:port"
	case !validPort(u.Port()) || strings.HasSuffix(hostport, ":"):
		return portTrouble
	}
	if _, err := url.Parse(address); err != nil { // which holds the user and the password
		return "in the user and the password, the characters / ? # @ : % are written %2F %3F %23 %40 %3A %25"
	}
	return ""
}

const portTrouble = "the port is not a number between 1 and 65535"

// validPort reports whether a port can be connected to; "" is the default of the scheme.
func validPort(port string) bool {
	if port == "" {
		return true
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// listenAddress reads host:port to listen on; the host may be empty.
func (in input) listenAddress(to *string, example string) {
	s, ok := in.string(strconv.Quote(example))
	if !ok {
		return
	}
	switch host, port, err := net.SplitHostPort(s); {
	case strings.Contains(s, "://") || err == nil && strings.ContainsRune(host, '/'):
		in.errorf("%.60q is an address with a scheme or path: write host:port, such as %s", s, example)
	case strings.Count(s, ":") > 1 && !strings.HasPrefix(s, "["):
		in.errorf("%.60q: an IPv6 address has brackets around it, as in [::1]:8080", s)
	case err != nil || port == "":
		in.errorf("%.60q is not host:port, such as %s", s, example)
	case !validPort(port):
		in.errorf("%.60q: %s", s, portTrouble)
	default:
		*to = s
	}
}

func (in input) amqpURLs(to *[]SecretURL) {
	in.urls(to, "amqp://user:password@host:5672/vhost", "amqp", func(u *url.URL) bool {
		return u.Scheme == "amqp" || u.Scheme == "amqps"
	})
}

func (in input) redisURLs(to *[]SecretURL) {
	in.urls(to, "localhost:6379, rediss://user:password@host:6379 or unix:///run/redis.sock", "redis", func(u *url.URL) bool {
		return u.Scheme == "redis" || u.Scheme == "rediss" || u.Scheme == "unix" && u.Path != ""
	})
}

// urls reads addresses, which may hold passwords and so are not quoted. One without a
// scheme is of Redis.
func (in input) urls(to *[]SecretURL, example, broker string, good func(*url.URL) bool) {
	list := []input{in}
	if in.loose || in.kind != kindText { // one address needs no list around it
		first, _, _ := strings.Cut(example, ",")
		var ok bool
		if list, ok = in.names(quote(first)); !ok {
			return
		}
	}
	var urls []SecretURL
	for _, v := range list {
		v.secretURL(v.text)
		if trouble := urlTrouble(v.text, broker, good); trouble != "" {
			v.errorf("%s; write it as in %s", trouble, example)
		}
		urls = append(urls, SecretURL(v.text))
	}
	*to = urls
}

// urlTrouble says what is wrong with the address of a broker, "" if nothing is.
func urlTrouble(address, broker string, good func(*url.URL) bool) string {
	scheme, _, found := strings.Cut(address, "://")
	switch {
	case !found && broker == "redis":
		address, scheme = "redis://"+address, "redis"
	case !found:
		return "the address has no scheme"
	}
	scheme = strings.ToLower(scheme)
	u, err := url.Parse(address)
	switch {
	case broker == "redis" && (scheme == "amqp" || scheme == "amqps"):
		return "this is an address of RabbitMQ, which belongs in amqp.url (AMQP_URL)"
	case broker == "amqp" && isRedis(scheme):
		return "this is an address of Redis, which belongs in redis.urls (REDIS_URL)"
	case broker == "amqp" && (scheme == "http" || scheme == "https"):
		return "this is an address of HTTP, as that of RabbitMQ's management page is"
	case scheme == "unix" && err == nil && good(u):
		return ""
	case err != nil || good(u):
		if trouble := authorityTrouble(address); trouble != "" || err == nil {
			return trouble
		}
	case broker == "redis" && scheme == "unix":
		return "the address names no socket"
	}
	return "this is no address of " + map[string]string{"redis": "Redis", "amqp": "RabbitMQ"}[broker]
}

// secretURL remembers the password in an address.
func (in input) secretURL(address string) {
	if strings.ContainsAny(address, "@?") {
		in.r.secrets.add(address)
	}
	if u, err := url.Parse(address); err == nil && u.User != nil {
		password, _ := u.User.Password()
		in.r.secrets.add(password)
	}
	if password, ok := SecretURL(address).password(); ok {
		in.r.secrets.add(password)
	}
}

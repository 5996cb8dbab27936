// This file reads what is served over HTTP: where, to whom, with which token.

package config

import (
	"bytes"
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Values of prometheus.packets.
const (
	PacketsAuto = "auto"
	PacketsOn   = "on"
	PacketsOff  = "off"
)

// minHTTPToken is the length from which a token can't be guessed, whatever it is made of.
const minHTTPToken = 16

// HTTPRoutes are the paths of http.address that metrics cannot have.
var HTTPRoutes = []string{"/", "/livez", "/readyz", "/status", "/page", "/tap", "/shards", "/loglevel", "/reload"}

// loopbackAddress is listenAddress whose host is 127.0.0.1 if none is named.
func loopbackAddress(to *string, example string) value {
	return listenAddress(to, example).then(func(input) {
		if host, port, _ := net.SplitHostPort(*to); host == "" {
			*to = net.JoinHostPort("127.0.0.1", port)
		}
	})
}

// httpToken and httpTokenFile take each other's place: the later source counts.
func httpToken(c *Config) value {
	return valueOf("text", &c.HTTP.Token, show, func(in input) Secret {
		return in.httpToken(want[string](in, `"32 random characters"`))
	}).then(func(input) {
		c.httpTokenFile = ""
		delete(c.origins, "http.token_file")
	})
}

func httpTokenFile(c *Config) value {
	return path(&c.httpTokenFile, "/run/secrets/http-token").then(func(in input) {
		if at := c.origins["http.token"]; at.Kind == in.at.Kind {
			other := "http.token"
			if at.Kind == FromEnvironment {
				other = at.Name
			}
			in.errorf("%s is set too; which of the two is meant?", other)
		}
		c.HTTP.Token = ""
		delete(c.origins, "http.token")
	})
}

// httpToken returns the token in a text. What is wrong with it is reported without it.
func (in input) httpToken(text string) Secret {
	in.r.secrets.add(text)
	text = strings.TrimSpace(strings.TrimPrefix(text, "\ufeff"))
	in.r.secrets.add(text)
	switch {
	case text == "":
	case strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' }):
		in.errorf("it has white space, a line break or a letter that is not ASCII in it, which no HTTP header carries")
	case len(text) < minHTTPToken:
		in.errorf("it has %d characters, and %d or more keep others from guessing it; openssl rand -hex 16 makes one", len(text), minHTTPToken)
	default:
		return Secret(text)
	}
	return ""
}

// readHTTPToken reads http.token in its file.
func (l *loader) readHTTPToken() {
	const key = "http.token_file"
	if l.httpTokenFile == "" || l.failed[key] {
		return
	}
	text, err := readTokenFile(l.httpTokenFile)
	if err != nil {
		l.say(Error, key, "%s", err)
		return
	}
	l.HTTP.Token = input{key: key, at: l.origins[key], r: &l.report}.httpToken(text)
}

// readTokenFile returns what is in a file with a token.
func readTokenFile(name string) (string, error) {
	content, err := readFile(name, maxTokenFile)
	text, trouble := decodeText(content)
	switch {
	case err != nil:
		trouble = fileTrouble(err)
	case trouble == "" && len(bytes.TrimSpace(text)) == 0:
		trouble = "the file is empty"
	}
	if trouble != "" {
		return "", fmt.Errorf("%s: %s", name, trouble)
	}
	return string(text), nil
}

// ReadHTTPToken returns the http.token in a file. What is wrong with it is said without it.
func ReadHTTPToken(name string) (Secret, error) {
	text, err := readTokenFile(name)
	if err != nil {
		return "", err
	}
	r := &report{failed: map[string]bool{}}
	token := input{r: r}.httpToken(text)
	for _, p := range r.sorted() {
		return "", fmt.Errorf("%s: %s", name, p.Text)
	}
	return token, nil
}

// ToReach returns the problems that count for who only asks a running process: with an address,
// those with http.token; else what may hide the state directory. The bot's token is not needed.
func (ps Problems) ToReach(address string) (count Problems) {
	for _, p := range ps {
		table, _, _ := strings.Cut(p.Key, ".")
		if address == "" && p.Key != "token" && p.Key != "token_file" || table == "http" {
			count = append(count, p)
		}
	}
	return count
}

// validateHTTP checks what is served, and to whom.
func (l *loader) validateHTTP() {
	l.readHTTPToken()
	served := l.HTTP.Address != ""
	tokenKey := "http.token"
	if l.httpTokenFile != "" {
		tokenKey = "http.token_file"
	}
	failed := l.failed["http.token"] || l.failed["http.token_file"]
	if l.HTTP.Token != "" && l.HTTP.Token == l.Token {
		l.say(Error, tokenKey, "it is the bot's token, which nobody else is to have; choose another")
	}
	if served && !l.servesHere() && l.HTTP.Token == "" && !failed {
		l.say(Note, "http.address", "without http.token, %s serves metrics, /livez and /readyz alone", l.HTTP.Address)
	}
	if served && !IsLoopback(l.HTTP.Address) && l.HTTP.Token != "" {
		l.say(Note, "http.address", "%s is not encrypted, and http.token goes over the network as it is: beyond a network that you trust, put a reverse proxy with TLS before it", l.HTTP.Address)
	}
	if l.unused(tokenKey, served) {
		l.say(Note, tokenKey, "has no effect without http.address")
	}
	if l.unused("http.hosts", served || l.Identify.Address != "") {
		l.say(Note, "http.hosts", "has no effect without http.address or identify.address")
	}
	p := &l.Prometheus
	if p.Endpoint != "" && p.Endpoint[0] != '/' {
		l.say(Error, "prometheus.endpoint", "%.60q does not begin with a slash; write it as in /metrics", p.Endpoint)
	}
	switch {
	case l.unused("prometheus.endpoint", p.Address != ""):
		l.say(Note, "prometheus.endpoint", "has no effect without prometheus.address")
	case l.unused("prometheus.packets", p.Address != "" || served):
		l.say(Note, "prometheus.packets", "has no effect without prometheus.address or http.address")
	case p.Address == "" || !served:
	case l.OneListener():
		if slices.Contains(HTTPRoutes, p.Endpoint) {
			l.say(Error, "prometheus.endpoint", "%s is served at http.address, which is the same address; write another path, such as /metrics", p.Endpoint)
		}
	case overlap(p.Address, l.HTTP.Address):
		l.say(Error, "prometheus.address", "%s and http.address, %s, have the same port; write the same address for both, which is one listener then, or another port", p.Address, l.HTTP.Address)
	}
}

// OneListener reports whether metrics are served where all else is.
func (c *Config) OneListener() bool {
	return c.HTTP.Address != "" && sameHost(c.Prometheus.Address) == sameHost(c.HTTP.Address)
}

// sameHost returns an address with one name for hosts that have several.
func sameHost(address string) string {
	host, port, _ := net.SplitHostPort(address)
	switch strings.ToLower(host) {
	case "localhost":
		host = "127.0.0.1"
	case "0.0.0.0", "::":
		host = ""
	}
	return net.JoinHostPort(host, port)
}

// overlap reports whether of two addresses that differ only one can be listened at.
func overlap(a, b string) bool {
	hostA, portA, _ := net.SplitHostPort(sameHost(a))
	hostB, portB, _ := net.SplitHostPort(sameHost(b))
	return portA == portB && (hostA == "" || hostB == "")
}

// IsLoopback reports whether nobody but this machine reaches the host of an address to listen on.
func IsLoopback(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.Unmap().IsLoopback()
}

// servesHere reports whether this machine needs no token: all that comes is of this machine, and
// not of a proxy on it.
func (c *Config) servesHere() bool { return IsLoopback(c.HTTP.Address) && len(c.HTTP.Hosts) == 0 }

// Served says what is served and to whom, in a line for each listener.
func (c *Config) Served() (lines []string) {
	if a := c.HTTP.Address; a != "" {
		who := "status, page and actions for who has http.token"
		switch {
		case c.servesHere() && c.HTTP.Token == "":
			who = "status and page for this machine, no actions without http.token"
		case c.servesHere():
			who = "status and page for this machine, actions for who has http.token"
		case c.HTTP.Token == "":
			who = "nothing else without http.token"
		}
		metrics := "/metrics"
		if c.OneListener() && c.Prometheus.Endpoint != "" && c.Prometheus.Endpoint != metrics {
			metrics += " and " + c.Prometheus.Endpoint
		}
		lines = append(lines, fmt.Sprintf("http.address: http://%s: %s, /livez and /readyz for everybody; %s", a, metrics, who))
	}
	if a := c.Prometheus.Address; a != "" && !c.OneListener() {
		where := a
		if strings.HasPrefix(a, ":") {
			where = "port " + a[1:] + " of all interfaces"
		}
		lines = append(lines, fmt.Sprintf("prometheus.address: %s: metrics at %s for everybody", where, cmp.Or(c.Prometheus.Endpoint, "every path")))
	}
	if a := c.Identify.Address; a != "" {
		lines = append(lines, fmt.Sprintf("identify.address: http://%s: turns to identify, of this bot's session starts, for everybody who reaches it", a))
	}
	return lines
}

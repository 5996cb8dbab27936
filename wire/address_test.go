// This file tests which addresses may get the token.

package wire

import (
	"net/url"
	"strings"
	"testing"
)

func mustParse(tb testing.TB, address string) *url.URL {
	tb.Helper()
	u, err := url.Parse(address)
	if err != nil {
		tb.Fatal(err)
	}
	return u
}

// Where a token may be sent: Discord's own hosts, or those of the operator, over TLS.
func TestCheckURL(t *testing.T) {
	for _, c := range []struct {
		raw, from string
		hosts     string // with commas
		want      string // in the error; "": it is allowed
	}{
		{"wss://gateway-us-east1-b.discord.gg", "wss://gateway.discord.gg/?v=10", "", ""},
		{"wss://gateway-us-east1-b.discord.gg:443/", "wss://gateway.discord.gg", "", ""},
		{"wss://GATEWAY.Discord.GG.", "wss://gateway.discord.gg", "", ""},
		{"wss://gateway.discord.media", "wss://gateway.discord.gg", "", ""},
		{"wss://gateway.discord.gg", "https://discord.com/api/v10", "", ""},
		{"wss://gw2.example.co.uk", "wss://gw1.example.co.uk", "", ""},
		{"wss://gateway.example.com", "ws://gateway.example.com", "", ""},
		{"ws://127.0.0.1:2", "ws://127.0.0.1:1", "", ""},
		{"wss://[::1]:2/a?b=c", "https://[0:0::1]:1/api/v10", "", ""},
		{"wss://[::ffff:127.0.0.1]", "wss://127.0.0.1", "", ""},
		{"ws://localhost:2", "http://localhost:1/api", "", ""},
		{"wss://other.example.net", "wss://gateway.example.com", "example.org,Example.NET.", ""},
		{"wss://10.0.0.7", "wss://gateway.example.com", "10.0.0.7", ""},
		{"wss://gateway.discord.gg", "http://rest-proxy:8080/api/v10", "discord.gg", ""},

		{"ws://gateway.discord.gg", "wss://gateway.discord.gg", "", "not encrypted"},
		{"ws://gateway.discord.gg", "https://discord.com", "", "not encrypted"},
		{"ws://other:23600", "wss://gateway.discord.gg", "other", "not encrypted"},
		{"wss://discord.gg.evil.com", "wss://gateway.discord.gg", "", "not of gateway.discord.gg's domain"},
		{"wss://evildiscord.gg", "wss://gateway.discord.gg", "", "domain"},
		{"wss://evil.gg", "wss://gateway.discord.gg", "", "domain"},
		{"wss://gateway.discord.gg", "wss://gateway.example.com", "", "domain"},
		{"wss://b.example.co.uk", "wss://b.other.co.uk", "", "domain"},
		{"wss://evil.github.io", "wss://bot.github.io", "", "domain"},
		{"wss://co.uk", "wss://co.uk.", "", ""}, // itself
		{"wss://a.co.uk", "wss://co.uk", "", "domain"},
		{"wss://10.0.0.2", "wss://10.0.0.1", "", "domain"},
		{"wss://evil.0.0.1", "wss://127.0.0.1", "0.0.1", ""}, // a name below one that was allowed
		{"wss://127.0.0.1", "wss://x", "0.0.1", "domain"},
		{"ws://127.0.0.1", "ws://localhost", "", "domain"},
		{"ws://evil.localhost", "ws://localhost", "", "domain"},
		{"wss://evilexample.net", "wss://x", "example.net", "domain"},
		{"wss://evil", "wss://x", ",.", "domain"},
		{"wss://user@gateway.discord.gg", "wss://gateway.discord.gg", "", "user"},
		{"wss://gateway.discord.gg:p@evil.com", "wss://gateway.discord.gg", "", "user"},
		{"wss://gateway.discord.gg#@evil.com", "wss://gateway.discord.gg", "", "not a wss"},
		{"wss://gateway.discord.gg#x", "wss://gateway.discord.gg", "", "not a wss"},
		{"wss://evil.com\\@gateway.discord.gg", "wss://gateway.discord.gg", "", "not a wss"},
		{"wss://evil.com%2egateway.discord.gg", "wss://gateway.discord.gg", "", "not a wss"},
		{"wss://gateway.discord.gg/\r\nHost: x", "wss://gateway.discord.gg", "", "control"},
		{"wss://gateway.discord.gg/\x00", "wss://gateway.discord.gg", "", "control"},
		{"wss://gateway.discord.gg/\x7f", "wss://gateway.discord.gg", "", "control"},
		{"wss://gatewäy.discord.gg", "wss://gateway.discord.gg", "", "ASCII"},
		{"wss://gateway.discord.gg/" + strings.Repeat("a", MaxURL), "wss://gateway.discord.gg", "", "bytes, more than 512"},
		{"https://gateway.discord.gg", "wss://gateway.discord.gg", "", "not a wss"},
		{"gateway.discord.gg", "wss://gateway.discord.gg", "", "not a wss"},
		{"wss:gateway.discord.gg", "wss://gateway.discord.gg", "", "not a wss"},
		{"wss://:443", "wss://gateway.discord.gg", "", "not a wss"},
		{"", "wss://gateway.discord.gg", "", "not a wss"},
	} {
		var hosts []string
		if c.hosts != "" {
			hosts = strings.Split(c.hosts, ",")
		}
		err := CheckURL(c.raw, mustParse(t, c.from), hosts)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%q from %s is refused: %v", c.raw, c.from, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%q from %s: %v; want %q", c.raw, c.from, err, c.want)
		}
	}
}

// FuzzResumeURL: what is allowed after wss is a wss address of Discord without a user or a
// control character, for the one that dials too.
func FuzzResumeURL(f *testing.F) {
	for _, s := range []string{
		"wss://gateway-us-east1-b.discord.gg", "wss://GATEWAY.DISCORD.gg.:443/?a=b", "ws://gateway.discord.gg", "wss://discord.gg.evil.com",
		"wss://evil.com#.discord.gg", "wss://a@discord.gg", "wss://evil.com\\.discord.gg", "wss://[::1]", "wss://discord.gg\r\n", "wss://evil.com%2f.discord.gg",
		"wss://xn--discord-.gg", "wss://discord.gg:443:80", "wss:///discord.gg", "wss://[discord.gg]",
	} {
		f.Add(s)
	}
	from := mustParse(f, "wss://gateway.discord.gg/?encoding=json&v=10")
	f.Fuzz(func(t *testing.T, raw string) {
		if CheckURL(raw, from, nil) != nil {
			return
		}
		u, err := GatewayURL(raw, 10, CompressionZstd)
		if err != nil {
			t.Fatalf("%q is allowed and not understood: %v", raw, err)
		}
		host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
		if u.Scheme != "wss" || u.User != nil || len(raw) > 512 || strings.ContainsAny(u.String(), "\r\n\x00 ") ||
			host != "discord.gg" && !strings.HasSuffix(host, ".discord.gg") &&
				host != "discord.com" && !strings.HasSuffix(host, ".discord.com") &&
				host != "discord.media" && !strings.HasSuffix(host, ".discord.media") {
			t.Fatalf("%q is allowed: %s", raw, u)
		}
	})
}

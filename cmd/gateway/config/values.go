// This file reads the settings whose values have rules of their own.

package config

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"sluice/engine"
	"sluice/sinks"
	"sluice/sinks/redis"
	"sluice/wire"
)

// token returns the token in a text. What is wrong with it is told without it.
func (in input) token(text string) Secret {
	in.r.secrets.add(text)
	text = strings.TrimSpace(text)
	if len(text) > 4 && strings.EqualFold(text[:4], "Bot ") {
		text = strings.TrimSpace(text[4:])
	}
	in.r.secrets.add(text)
	switch {
	case text == "":
		in.errorf("the token is empty")
	case strings.Trim(text, "*") == "":
		in.errorf("this is the mask that stands for a token, not a token")
	case strings.ContainsAny(text[:1], `"'`) || strings.ContainsAny(text[len(text)-1:], `"'`):
		in.errorf("the token has quotes around it that belong to the notation of another place; remove them")
	case strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c >= 0x7f }):
		in.errorf("the token has white space, a line break or a letter that no token has in it")
	default:
		return Secret(text)
	}
	return ""
}

// events reads event names. A name that is not documented may be right, for
// Discord adds events; one that cannot be an event's name is an error.
func (in input) events(to *[]string) {
	list, ok := in.names(`"MESSAGE_CREATE"`)
	if !ok {
		return
	}
	known := append(slices.Clone(EventNames()), engine.GapEvent)
	names := []string{}
	for _, v := range list {
		switch {
		case slices.Contains(names, v.text):
			v.warnf("%s is named twice", v.text)
			continue
		case slices.Contains(known, v.text):
		case !isEventName(v.text):
			v.errorf("%.60q cannot be an event's name%s", v.text, didYouMean(v.text, known))
		default:
			v.warnf("%.60q is not an event that Discord documents%s", v.text, didYouMean(v.text, known))
		}
		names = append(names, v.text)
	}
	*to = names
}

// intents reads intent names.
func (in input) intents(to *wire.Intents) {
	list, ok := in.names(`"GUILDS"`)
	if !ok {
		return
	}
	known := wire.IntentNames()
	var sum wire.Intents
	for _, v := range list {
		bit, ok := wire.ParseIntent(v.text)
		switch {
		case slices.Contains(known, v.text):
		case ok:
			v.warnf("%s is the old name of %s", v.text, bit)
		case v.text == "GUILD":
			bit = wire.IntentGuilds
			v.warnf("GUILD is not an intent; it counts as GUILDS")
		default:
			v.errorf("unknown intent %.60q%s", v.text, didYouMean(v.text, known))
		}
		sum |= bit
	}
	*to = sum
}

// Intents that Discord has and gives no bot, and the first bit above all.
const (
	otherIntents  wire.Intents = 1<<17 | 1<<18 | 1<<19 | 1<<22 | 1<<23 | 1<<26 | 1<<27 | 1<<28
	beyondIntents wire.Intents = 1 << 29
)

func (in input) rawIntents(to *wire.Intents) {
	n, ok := in.number(0, int64(beyondIntents-1))
	if !ok {
		return
	}
	*to = wire.Intents(n)
	if other := *to & otherIntents; other != 0 {
		in.warnf("%s is no intent that Discord documents for bots; it may close the connection with 4013", other)
	}
}

// intentNames returns the names of the documented ones of the intents.
func intentNames(i wire.Intents) []string {
	names := []string{}
	for _, name := range wire.IntentNames() {
		if bit, _ := wire.ParseIntent(name); i&bit != 0 {
			names = append(names, name)
		}
	}
	return names
}

// version reads the version of an interface of Discord.
func (in input) version(to *int) {
	if n, ok := in.number(9, 10); ok {
		*to = int(n)
		if n == 9 {
			in.warnf("9 is the older version; all here was made for 10")
		}
	}
}

// shardIDs reads a list of numbers and ranges, or a text of them.
func (in input) shardIDs(to *[]int) {
	text := in.text
	switch in.kind {
	case kindText:
	case kindList:
		if len(in.list) == 0 {
			in.errorf("names no shard; remove it to run all")
			return
		}
		parts := make([]string, len(in.list))
		for i, n := range in.list {
			v := in.child(n, "")
			switch {
			case n.kind == kindInteger:
				if _, ok := v.number(0, MaxShards-1); !ok {
					return
				}
				parts[i] = strconv.FormatInt(n.integer, 10)
			case v.want(`0, or a range such as "0-15"`, kindInteger, kindText):
				if _, err := ParseShardIDs(n.text); err != nil {
					v.errorf("%s", err)
					return
				}
				parts[i] = n.text
			default:
				return
			}
		}
		text = strings.Join(parts, ",")
	default:
		in.want(`[0, 1] or "0-15,20"`, kindList)
		return
	}
	ids, err := ParseShardIDs(text)
	if err != nil {
		in.errorf("%s", err)
		return
	}
	*to = ids
}

func (in input) gatewayURL(to *string) {
	s, ok := in.string(`"wss://gateway.discord.gg"`)
	if !ok {
		return
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		in.errorf("not an address such as wss://gateway.discord.gg")
	case u.User != nil:
		in.errorf("a gateway's address has no user or password in it")
	case u.Scheme != "wss" && u.Scheme != "ws":
		in.errorf("%.60q does not begin with wss:// or ws://", s)
	case u.Hostname() == "" || !validPort(u.Port()):
		in.errorf("%.60q names no host, or a port that is none", s)
	case u.Fragment != "":
		in.errorf("a gateway's address has no #part")
	default:
		*to = s
	}
}

func validPort(port string) bool {
	if port == "" {
		return true
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

func (in input) host(to *string) {
	s, ok := in.string(`"discord.com"`)
	if !ok {
		return
	}
	if scheme, host, found := strings.Cut(s, "://"); found {
		host, _, _ = strings.Cut(host, "/")
		host = host[strings.LastIndexByte(host, '@')+1:]
		in.errorf("is a host, not an address: write %.60q here, and %.20q in api.scheme (DISCORD_API_PROTOCOL)", host, scheme)
		return
	}
	u, err := url.Parse("https://" + s)
	switch {
	case err == nil && u.Host == s && u.Hostname() != "" && validPort(u.Port()):
		*to = s
	case strings.ContainsRune(s, '@'):
		in.errorf("a host has no user or password in it")
	default:
		in.errorf("%.60q is not a host such as discord.com or localhost:8080", s)
	}
}

// proxy reads the address of a proxy, which may hold a password and so is not quoted.
func (in input) proxy(to *SecretURL) {
	s, ok := in.string(`"http://proxy.example.com:3128"`)
	if !ok {
		return
	}
	in.secretURL(s)
	u, err := url.Parse(s)
	switch {
	case s == "none":
	case err != nil || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) || u.Hostname() == "" || !validPort(u.Port()):
		in.errorf("not an address such as http://user:password@host:3128, https://host or socks5://host:1080, and not none")
		return
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		in.errorf("a proxy's address has nothing behind host and port")
		return
	}
	*to = SecretURL(s)
}

// hosts reads names and IP addresses of hosts.
func (in input) hosts(to *[]string) {
	list, ok := in.names(`"gateway.example.com"`)
	if !ok {
		return
	}
	hosts := []string{}
	for _, v := range list {
		name := strings.TrimSuffix(v.text, ".")
		u, err := url.Parse("wss://" + name)
		if _, ip := netip.ParseAddr(name); ip == nil || err == nil && u.Host == name && u.Port() == "" && !strings.HasPrefix(name, ".") {
			hosts = append(hosts, v.text)
		} else {
			v.errorf("%.60q is not a host such as gateway.example.com, without scheme and port", v.text)
		}
	}
	*to = hosts
}

func (in input) brokerType(to *string) {
	s, ok := in.string(`"stdio"`)
	switch {
	case !ok:
	case s == BrokerStdio || s == BrokerRedis || s == BrokerAMQP:
		*to = s
	default:
		brokers := []string{BrokerStdio, BrokerRedis, BrokerAMQP}
		in.errorf("%.60q is no broker: there are %s%s", s, strings.Join(brokers, ", "), didYouMean(s, brokers))
	}
}

func (in input) amqpURLs(to *[]SecretURL) {
	in.urls(to, "amqp://user:password@host:5672/vhost", func(u *url.URL) bool {
		return (u.Scheme == "amqp" || u.Scheme == "amqps") && u.Host != ""
	})
}

func (in input) redisURLs(to *[]SecretURL) {
	in.urls(to, "localhost:6379, rediss://user:password@host:6379 or unix:///run/redis.sock", func(u *url.URL) bool {
		switch u.Scheme {
		case "redis", "rediss":
			return u.Host != ""
		case "unix":
			return u.Path != ""
		}
		return false
	})
}

// urls reads addresses, which may hold passwords and so are not quoted. One without a
// scheme is of Redis.
func (in input) urls(to *[]SecretURL, example string, good func(*url.URL) bool) {
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
		address := v.text
		if !strings.Contains(address, "://") {
			address = "redis://" + address
		}
		if u, err := url.Parse(address); err != nil || !good(u) {
			v.errorf("not an address such as %s", example)
		}
		urls = append(urls, SecretURL(v.text))
	}
	*to = urls
}

func (in input) bool(to *bool) {
	if !in.loose {
		if in.want("true", kindBoolean) {
			*to = in.boolean
		}
		return
	}
	b, err := strconv.ParseBool(strings.TrimSpace(in.text))
	if err != nil {
		in.errorf("%.60q is neither true nor false", in.text)
		return
	}
	*to = b
}

func (in input) template(to *sinks.Template) {
	s, ok := in.string(`"gateway:{event}"`)
	if !ok {
		return
	}
	t, err := sinks.ParseTemplate(s)
	if err != nil {
		in.errorf("%s", err)
		return
	}
	*to = t
}

func (in input) fields(to *[]redis.Field) {
	list, ok := in.names(`"shard"`)
	if !ok {
		return
	}
	var fields []redis.Field
	for _, v := range list {
		f, ok := redis.ParseField(v.text)
		switch {
		case !ok:
			v.errorf("%.60q is none of event, shard, session, seq%s", v.text, didYouMean(v.text, []string{"event", "shard", "session", "seq"}))
		case slices.Contains(fields, f):
			v.errorf("%s is in the list twice", f)
		default:
			fields = append(fields, f)
		}
	}
	*to = fields
}

// secretURL remembers the password in an address.
func (in input) secretURL(address string) {
	in.r.secrets.add(address)
	if u, err := url.Parse(address); err == nil && u.User != nil {
		password, _ := u.User.Password()
		in.r.secrets.add(password)
	}
	if password, ok := SecretURL(address).password(); ok {
		in.r.secrets.add(password)
	}
}

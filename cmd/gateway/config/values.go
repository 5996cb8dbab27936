// This file reads the settings whose values have rules of their own.

package config

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"sluice/sinks"
	"sluice/sinks/broker"
	"sluice/sinks/redis"
	"sluice/wire"
)

// events reads event names. A name that is not documented may be right, for
// Discord adds events; one that cannot be an event's name is an error.
func (in input) events(to *[]string) {
	list, ok := in.names(`"MESSAGE_CREATE"`)
	if !ok {
		return
	}
	known := append(slices.Clone(EventNames()), sinks.GapEvent)
	names := []string{}
	for _, v := range list {
		switch {
		case slices.Contains(names, v.text):
			v.warnf("%s is named twice", v.text)
			continue
		case slices.Contains(known, v.text):
		case !isEventName(v.text):
			v.errorf("%.60q cannot be an event's name%s", v.text, nameHint(v.text, known, "; leave events unset to publish all"))
		default:
			v.warnf("%.60q is not an event that Discord documents%s", v.text, didYouMean(v.text, known))
		}
		names = append(names, v.text)
	}
	*to = names
}

// intents reads intent names.
func (in input) intents(to *wire.Intents) {
	if in.kind == kindInteger {
		in.intentNumber(in.integer)
		return
	}
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
			if n, err := strconv.ParseInt(v.text, 0, 64); err == nil {
				v.intentNumber(n)
				continue
			}
			v.errorf("unknown intent %.60q%s", v.text, nameHint(v.text, known, "; leave intents unset for all but the privileged"))
		}
		sum |= bit
	}
	*to = sum
}

// intentNumber is for a number in the place of names.
func (in input) intentNumber(n int64) {
	names := intentNames(wire.Intents(n))
	if n <= 0 || n >= int64(beyondIntents) || len(names) == 0 {
		in.errorf("%d is a number; write names, such as GUILDS, or set rawintents (DISCORD_RAW_INTENTS) to the number", n)
		return
	}
	in.errorf("%d is a number; set rawintents (DISCORD_RAW_INTENTS) to it, or write its names: %s", n, strings.Join(names, ","))
}

// nameHint returns what was probably meant by a name in a list that is none; all is what to do
// for all names.
func nameHint(name string, known []string, all string) string {
	switch {
	case strings.ContainsAny(name, " |;+"):
		return "; put commas between names"
	case name == "*" || strings.EqualFold(name, "all"):
		return all
	}
	return didYouMean(name, known)
}

// Intents that Discord has and gives no bot, and the first bit above all.
const (
	otherIntents  wire.Intents = 1<<17 | 1<<18 | 1<<19 | 1<<22 | 1<<23 | 1<<26 | 1<<27 | 1<<28
	beyondIntents wire.Intents = 1 << 29
)

func (in input) rawIntents(to *wire.Intents) {
	first, _, _ := strings.Cut(in.text, ",")
	if _, name := wire.ParseIntent(strings.TrimSpace(first)); name {
		in.errorf("%.60q is not a number; set intents (DISCORD_INTENTS) to names", in.text)
		return
	}
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
	case !strings.Contains(s, "://"):
		in.errorf("%.60q does not begin with wss:// or ws://", s)
	case err != nil && authorityTrouble(s) != "":
		in.errorf("%s", authorityTrouble(s))
	case err != nil:
		in.errorf("not an address such as wss://gateway.discord.gg")
	case u.User != nil:
		in.errorf("a gateway's address has no user or password in it")
	case u.Scheme != "wss" && u.Scheme != "ws":
		in.errorf("%.60q does not begin with wss:// or ws://", s)
	case authorityTrouble(s) != "":
		in.errorf("%s", authorityTrouble(s))
	case u.Fragment != "":
		in.errorf("a gateway's address has no #part")
	default:
		*to = s
	}
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
	case err == nil && u.Host == s && authorityTrouble("https://"+s) == "":
		*to = s
	case strings.ContainsRune(s, '@'):
		in.errorf("a host has no user or password in it")
	case strings.ContainsRune(s, '/'):
		in.errorf("%.60q has a path behind the host: write discord.com or localhost:8080 alone", s)
	case authorityTrouble("https://"+s) != "":
		in.errorf("%.60q: %s", s, authorityTrouble("https://"+s))
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
	case strings.Contains(s, "://") && authorityTrouble(s) != "":
		in.errorf("%s", authorityTrouble(s))
		return
	case err != nil || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme):
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

// brokerNames are other names of the brokers.
var brokerNames = map[string]string{
	"rabbitmq": BrokerAMQP, "rabbit": BrokerAMQP, "amqps": BrokerAMQP, "amqp091": BrokerAMQP,
	"rediss": BrokerRedis, "valkey": BrokerRedis, "keydb": BrokerRedis,
	"stdout": BrokerStdio, "stdin": BrokerStdio, "console": BrokerStdio, "none": BrokerStdio,
}

func (in input) brokerType(to *string) {
	s, ok := in.string(`"stdio"`)
	switch {
	case !ok:
	case s == BrokerStdio || s == BrokerRedis || s == BrokerAMQP:
		*to = s
	default:
		hint := didYouMean(s, []string{BrokerStdio, BrokerRedis, BrokerAMQP})
		if name := brokerNames[strings.ToLower(s)]; name != "" {
			hint = "; did you mean " + name + "?"
		}
		in.errorf("%.60q is not supported: there are stdio, redis and amqp (RabbitMQ)%s", s, hint)
	}
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

func (in input) template(to *broker.Template) {
	s, ok := in.string(`"gateway:{event}"`)
	if !ok {
		return
	}
	t, err := broker.ParseTemplate(s)
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

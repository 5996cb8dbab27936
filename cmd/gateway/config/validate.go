// This file checks the settings against each other, once all sources are read.

package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"slices"
	"strings"

	"sluice/sinks"
	"sluice/sinks/broker"
	"sluice/sinks/redis"
	"sluice/wire"
)

// say reports about a setting, at the place that it comes from.
func (l *loader) say(severity Severity, key, format string, args ...any) {
	l.add(severity, l.origins[key], key, format, args...)
}

// validate looks at the values that count in the end: what a later source
// replaced is no trouble any more.
func (l *loader) validate() {
	l.validateToken()
	intents, known := "intents", !l.failed["intents"] && !l.failed["rawintents"]
	if l.is("rawintents") {
		intents, l.Intents = "rawintents", l.rawIntents
	}
	toStdio, toRedis, toAMQP := l.Broker.Type == BrokerStdio, l.Broker.Type == BrokerRedis, l.Broker.Type == BrokerAMQP
	if toStdio && !l.is("broker.gaps") && l.Events != nil {
		// All events are in one stream there: who asks for some is not given another.
		l.Broker.Gaps = slices.Contains(l.Events, sinks.GapEvent)
	}
	gateway, _ := url.Parse(l.Gateway.URL) // checked when it was read
	lastID := slices.Max(append([]int{0}, l.Shards.IDs...))
	for _, rule := range []struct {
		broken    bool
		severity  Severity
		key, text string
	}{
		{l.is("rawintents") && l.is("intents"), Warning, "rawintents", fmt.Sprintf("replaces intents (%s)", l.origins["intents"])},
		{known && !l.is(intents), Note, intents, "not set: all but the privileged " + strings.ReplaceAll(wire.PrivilegedIntents.String(), "|", ", ")},
		{known && l.is(intents) && l.Intents == 0, Warning, intents, "none: Discord sends little but READY and interactions"},
		{known && l.is("events") && len(l.Events) == 0, Warning, "events", "the list is empty: no event is published; remove it to publish all"},
		{l.Shards.Count > 0 && lastID >= l.Shards.Count, Error, "shards.ids",
			fmt.Sprintf("shard %d is not below shards.count, which is %d; ids begin at 0", lastID, l.Shards.Count)},
		{l.API.Scheme == "http" && l.AsksAPI() && !isLocal(l.API.Host), Warning, "api.scheme",
			fmt.Sprintf("with http the token goes to %s for everybody on the way to read", l.API.Host)},
		{gateway.Scheme == "ws" && !isLocal(gateway.Host), Warning, "gateway.url",
			fmt.Sprintf("with ws:// the token goes to %s for everybody on the way to read", gateway.Host)},
		{l.Gateway.URL != "" && l.Shards.Count == 0, Note, "gateway.url",
			l.APIBase() + " is still asked how many shards there are to be; set shards.count to avoid that"},
		{toRedis && l.is("redis.pool_size"), Note, "redis.pool_size", "has no effect: one connection carries all events, in order"},
		{toRedis && !l.Redis.Stream.NamesEvent() && !slices.Contains(l.Redis.Fields, redis.FieldEvent) && !l.Broker.Envelope && l.Broker.Encoding != broker.Discordjs, Warning, "redis.stream",
			"consumers cannot distinguish events: put {event} into the name, event into redis.fields, or set broker.envelope"},
		{toRedis && l.Redis.Retention == 0 && l.Redis.MaxLength == 0, Warning, "redis.retention",
			"with neither this nor redis.max_length the streams grow until Redis is full"},
		{toAMQP && l.AMQP.External && l.AMQP.TLS.CertFile == "", Error, "amqp.sasl", "external logs in with a certificate: set amqp.cert_file and amqp.key_file"},
		{toAMQP && !l.AMQP.RoutingKey.NamesEvent() && !l.Broker.Envelope, Warning, "amqp.routing_key",
			"consumers cannot distinguish events: put {event} into the key, or set broker.envelope"},
		{toAMQP && l.Shards.Auto && !l.AMQP.Headers, Warning, "amqp.headers",
			"in a fleet (shards.ids = \"auto\") consumers need the epoch, to drop what a former owner of a shard sends"},
		{l.unused("shard_store.directory", l.ShardStore.Type == StoreFile), Note, "shard_store.directory", `holds the control socket alone without shard_store.type = "file"`},
		{l.unused("shard_store.prefix", l.ShardStore.Type == StoreRedis || l.Shards.Auto), Note, "shard_store.prefix", `has no effect without shard_store.type = "redis"`},
		{l.unused("shard_store.compat", l.ShardStore.Type == StoreRedis), Note, "shard_store.compat", `has no effect without shard_store.type = "redis"`},
		{l.Shards.Auto && l.Spool.Directory != "", Error, "spool.directory", "has no place in a fleet (shards.ids = \"auto\"): no other process reaches what is in it; remove one of the two"},
		{l.Shards.Reshard && l.Shards.IDs != nil && !l.Shards.Auto, Error, "shards.reshard", "needs all shards in one process, or a fleet: remove it, or shards.ids"},
		{l.Shards.Reshard && l.ShardStore.Compat, Error, "shards.reshard", "goes with no shard_store.compat: the keys of the other gateway cannot be replaced in one step; remove one of the two"},
		{l.Shards.Auto && l.is("shard_store.type"), Note, "shard_store.type", "has no effect in a fleet: sessions are in the Redis of redis.urls"},
		{l.Shards.Auto && l.Identify.Queue != "", Error, "identify.queue",
			"has no place in a fleet (shards.ids = \"auto\"), whose turns are in Redis: remove one of the two; others can ask identify.address of a member"},
		{!l.Shards.Auto && l.Identify.Queue != "" && l.Identify.Address != "", Error, "identify.address",
			"gives the turns of this process, which has none: they come from identify.queue, which others can ask; remove one of the two"},
		{l.unused("spool.size", l.Spool.Directory != ""), Note, "spool.size", "has no effect without spool.directory"},
	} {
		if rule.broken {
			l.say(rule.severity, rule.key, "%s", rule.text)
		}
	}
	for _, name := range l.Events {
		if needs := wire.EventIntents(name); known && needs != 0 && needs&l.Intents == 0 {
			l.say(Warning, "events", "%s comes only with %s, which intents do not ask for", name, strings.ReplaceAll(needs.String(), "|", " or "))
		}
	}
	l.validateHTTP()
	l.validateTLS("api", TLSConfig{CAFile: l.API.CAFile})
	for _, b := range brokers {
		switch {
		case l.Broker.Type == b.name:
			l.validateAddress(b, "broker.type", b.name)
		case l.ShardStore.Type == b.name:
			l.validateAddress(b, "shard_store.type", b.name)
		case l.Shards.Auto && b.name == BrokerRedis:
			l.validateAddress(b, "shards.ids", autoIDs)
		}
	}
	if toRedis || l.ShardStore.Type == StoreRedis || l.Shards.Auto {
		l.validateRedis()
	}
	if toAMQP {
		l.validateTLS("amqp", l.AMQP.TLS)
	}
	l.validateUse()
	l.validatePasswords()
}

// unused reports whether a setting was set for nothing.
func (l *loader) unused(key string, used bool) bool { return l.is(key) && !used }

// isLocal reports whether the host, with or without a port, is this machine.
func isLocal(hostport string) bool {
	host := (&url.URL{Host: hostport}).Hostname()
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// validateRedis checks what leads to Redis.
func (l *loader) validateRedis() {
	var addresses []string
	for _, u := range l.Redis.URLs {
		addresses = append(addresses, u.Reveal())
	}
	if len(addresses) > 0 {
		if _, err := redis.NewClientOption(addresses, nil); err != nil {
			l.say(Error, "redis.urls", "%s", err)
		}
	}
	l.validateTLS("redis", l.Redis.TLS)
}

// validateTLS checks the files of a table's settings for TLS.
func (l *loader) validateTLS(table string, t TLSConfig) {
	for _, pair := range [][3]string{{".cert_file", ".key_file", t.KeyFile}, {".key_file", ".cert_file", t.CertFile}} {
		if l.unused(table+pair[0], pair[2] != "") {
			l.say(Error, table+pair[0], "set %s, too: a certificate and its key belong together", table+pair[1])
			return
		}
	}
	_, err := t.Load(table)
	if err == nil {
		return
	}
	key, _, _ := strings.Cut(err.Error(), ":")
	err = errors.Unwrap(err)
	var file *fs.PathError
	switch {
	case errors.As(err, &file):
		l.say(Error, key, "%s: %s", file.Path, fileTrouble(err))
	case table == "api":
		l.say(Error, key, "%s: %s", t.CAFile, err)
	default:
		l.say(Error, key, "%s", strings.TrimPrefix(err.Error(), "tls: "))
	}
}

// validateUse notes the settings of another broker.
func (l *loader) validateUse() {
	for _, s := range l.table {
		table, name, _ := strings.Cut(s.Key, ".")
		used := true
		switch {
		case s.Key == "spool.directory":
			used = l.Broker.Type != BrokerStdio
		case table == "broker":
			used = l.Broker.Type != BrokerStdio || slices.Contains([]string{"type", "buffer", "linger", "gaps"}, name)
		case table == BrokerRedis && (l.ShardStore.Type == StoreRedis || l.Shards.Auto) && slices.Contains([]string{"urls", "ca_file", "cert_file", "key_file", "server_name"}, name):
		case isBroker(table):
			used = table == l.Broker.Type
		}
		if l.unused(s.Key, used) {
			l.say(Note, s.Key, "not used by the broker %s", l.Broker.Type)
		}
	}
}

// validatePasswords warns of passwords of brokers and the proxy that are not masked. Those of
// RabbitMQ's own guest are known to everybody.
func (l *loader) validatePasswords() {
	check := func(key string, urls ...SecretURL) {
		if slices.ContainsFunc(urls, func(u SecretURL) bool {
			_, _, password, _, ok := u.parts()
			return ok && password != "" && password != "guest" && isCommon(password)
		}) {
			l.say(Warning, key, "so common a password is not masked in the log, in which it stands for something else; choose another")
		}
	}
	for _, b := range brokers {
		if b.urls != nil {
			check(b.key, b.urls(l.Config)...)
		}
	}
	check("proxy", l.Proxy)
}

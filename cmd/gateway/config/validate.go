// This file checks the settings against each other, once all sources are read.

package config

import (
	"errors"
	"io/fs"
	"net"
	"net/url"
	"slices"
	"strings"

	"sluice/engine"
	"sluice/sinks"
	"sluice/sinks/redis"
	"sluice/wire"
)

// errorf, warnf and notef report about a setting, at the place that it comes from.
func (l *loader) errorf(key, format string, args ...any) {
	l.add(Error, l.origins[key], key, format, args...)
}

func (l *loader) warnf(key, format string, args ...any) {
	l.add(Warning, l.origins[key], key, format, args...)
}

func (l *loader) notef(key, format string, args ...any) {
	l.add(Note, l.origins[key], key, format, args...)
}

// validate looks at the values that count in the end: what a later source
// replaced is no trouble any more.
func (l *loader) validate() {
	l.validateToken()
	l.validateIntents()
	l.validateAddresses()
	l.validateBroker()
	l.validateUnused()
	l.validatePasswords()
	if ids, count := l.Shards.IDs, l.Shards.Count; count > 0 && len(ids) > 0 && ids[len(ids)-1] >= count {
		l.errorf("shards.ids", "shard %d is not below shards.count, which is %d; ids begin at 0", ids[len(ids)-1], count)
	}
}

func (l *loader) validateIntents() {
	failed := l.failed["intents"] || l.failed["rawintents"]
	key := "intents"
	switch {
	case l.is("rawintents"):
		key, l.Intents = "rawintents", l.rawIntents
		if l.is("intents") {
			l.warnf(key, "replaces intents (%s)", l.origins["intents"])
		}
	case !l.is(key) && !failed:
		l.notef(key, "not set: all but the privileged %s", strings.ReplaceAll(wire.PrivilegedIntents.String(), "|", ", "))
	}
	if failed {
		return
	}
	if l.is(key) && l.Intents == 0 {
		l.warnf(key, "none: Discord sends little but READY and interactions")
	}
	if l.is("events") && len(l.Events) == 0 {
		l.warnf("events", "the list is empty: no event is published; remove it to publish all")
	}
	for _, name := range l.Events {
		if needs := EventIntents(name); needs != 0 && needs&l.Intents == 0 {
			l.warnf("events", "%s comes only with %s, which intents do not ask for", name, strings.ReplaceAll(needs.String(), "|", " or "))
		}
	}
}

func (l *loader) validateAddresses() {
	switch _, err := l.TLS(); {
	case errors.Is(err, errNoCertificate):
		l.errorf("api.ca_file", "%s: %s", l.API.CAFile, errNoCertificate)
	case err != nil:
		l.errorf("api.ca_file", "%s: %s", l.API.CAFile, fileTrouble(err))
	}
	if l.API.Scheme == "http" && l.AsksAPI() && !isLocal(l.API.Host) {
		l.warnf("api.scheme", "with http the token goes to %s for everybody on the way to read", l.API.Host)
	}
	if u, err := url.Parse(l.Gateway.URL); err == nil && u.Scheme == "ws" && !isLocal(u.Host) {
		l.warnf("gateway.url", "with ws:// the token goes to %s for everybody on the way to read", u.Host)
	}
	if l.Gateway.URL != "" && l.Shards.Count == 0 {
		l.notef("gateway.url", "%s is still asked how many shards there are to be; set shards.count to spare it", l.APIBase())
	}
}

// isLocal reports whether the host, with or without a port, is this machine.
func isLocal(hostport string) bool {
	host := (&url.URL{Host: hostport}).Hostname()
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// validateBroker checks what the broker needs, and what Redis as the store does.
func (l *loader) validateBroker() {
	switch l.Broker.Type {
	case BrokerRedis:
		l.validateRedis("broker.type")
		if l.is("redis.pool_size") {
			l.notef("redis.pool_size", "has no effect: one connection carries all events, in order")
		}
		if !l.Redis.Stream.NamesEvent() && !slices.Contains(l.Redis.Fields, redis.FieldEvent) && !l.Broker.Envelope && l.Broker.Encoding != sinks.Discordjs {
			l.warnf("redis.stream", "consumers cannot tell events apart: put {event} into the name, event into redis.fields, or set broker.envelope")
		}
		if l.Redis.Retention == 0 && l.Redis.MaxLength == 0 {
			l.warnf("redis.retention", "with neither this nor redis.max_length the streams grow until Redis is full")
		}
	case BrokerAMQP:
		if len(l.AMQP.URLs) == 0 && !l.failed["amqp.url"] {
			l.add(Error, l.origins["broker.type"], "amqp.url", "missing, and the broker is amqp; set AMQP_URL, or amqp.url in the file, such as \"amqp://localhost\"")
		}
		if l.AMQP.External && l.AMQP.TLS.CertFile == "" {
			l.errorf("amqp.sasl", "external logs in with a certificate: set amqp.cert_file and amqp.key_file")
		}
		if !l.AMQP.RoutingKey.NamesEvent() && !l.Broker.Envelope {
			l.warnf("amqp.routing_key", "consumers cannot tell events apart: put {event} into the key, or set broker.envelope")
		}
		l.validateTLS("amqp", l.AMQP.TLS)
	case BrokerStdio:
		// All events are in one stream there: who asks for some is not given another.
		if !l.is("broker.gaps") && l.Events != nil {
			l.Broker.Gaps = slices.Contains(l.Events, engine.GapEvent)
		}
	}
	if l.ShardStore.Type == StoreRedis && l.Broker.Type != BrokerRedis {
		l.validateRedis("shard_store.type")
	}
}

// validateRedis checks what leads to Redis, for a setting that wants it.
func (l *loader) validateRedis(setting string) {
	if !l.failed["redis.urls"] {
		addresses := make([]string, len(l.Redis.URLs))
		for i, u := range l.Redis.URLs {
			addresses[i] = u.Reveal()
		}
		if len(addresses) == 0 {
			l.add(Error, l.origins[setting], "redis.urls", "missing, and %s is redis; set REDIS_URL, or redis.urls in the file, such as [\"localhost:6379\"]", setting)
		} else if _, err := redis.NewClientOption(addresses, nil); err != nil {
			l.errorf("redis.urls", "%s", err)
		}
	}
	l.validateTLS("redis", l.Redis.TLS)
}

// validateTLS checks the files of a table's settings for TLS.
func (l *loader) validateTLS(table string, t TLSConfig) {
	for _, pair := range [][3]string{{".cert_file", ".key_file", t.KeyFile}, {".key_file", ".cert_file", t.CertFile}} {
		if l.is(table+pair[0]) && pair[2] == "" {
			l.errorf(table+pair[0], "set %s, too: a certificate and its key belong together", table+pair[1])
			return
		}
	}
	_, err := t.Load(table)
	if err == nil {
		return
	}
	key := table + ".ca_file"
	if !strings.Contains(err.Error(), key) {
		key = table + ".cert_file"
	}
	var file *fs.PathError
	if err = errors.Unwrap(err); errors.As(err, &file) {
		l.errorf(key, "%s: %s", file.Path, fileTrouble(err))
	} else {
		l.errorf(key, "%s", strings.TrimPrefix(err.Error(), "tls: "))
	}
}

// validateUnused notes the settings that change nothing.
func (l *loader) validateUnused() {
	if l.is("prometheus.address") {
		l.warnf("prometheus.address", "metrics are not in this version; nothing is served")
	}
	for _, without := range []struct {
		key, other string
		ok         bool
	}{
		{"prometheus.endpoint", "prometheus.address", l.is("prometheus.address")},
		{"shard_store.directory", `shard_store.type = "file"`, l.ShardStore.Type == StoreFile},
		{"shard_store.prefix", `shard_store.type = "redis"`, l.ShardStore.Type == StoreRedis},
		{"shard_store.compat", `shard_store.type = "redis"`, l.ShardStore.Type == StoreRedis},
		{"spool.size", "spool.directory", l.Spool.Directory != ""},
	} {
		if l.is(without.key) && !without.ok {
			l.notef(without.key, "has no effect without %s", without.other)
		}
	}
	for _, s := range l.table {
		table, name, _ := strings.Cut(s.Key, ".")
		used := true
		switch {
		case s.Key == "spool.directory":
			used = l.Broker.Type != BrokerStdio
		case table == "broker":
			used = l.Broker.Type != BrokerStdio || slices.Contains([]string{"type", "buffer", "linger", "gaps"}, name)
		case table == "redis" && slices.Contains([]string{"urls", "ca_file", "cert_file", "key_file", "server_name"}, name):
			used = l.Broker.Type == BrokerRedis || l.ShardStore.Type == StoreRedis
		case table == BrokerStdio, table == BrokerRedis, table == BrokerAMQP:
			used = table == l.Broker.Type
		}
		if !used && l.is(s.Key) {
			l.notef(s.Key, "not used by the broker %s", l.Broker.Type)
		}
	}
}

// validatePasswords warns of passwords of brokers and the proxy that are not masked. Those of
// RabbitMQ's own guest are known to everybody.
func (l *loader) validatePasswords() {
	for key, urls := range map[string][]SecretURL{"redis.urls": l.Redis.URLs, "amqp.url": l.AMQP.URLs, "proxy": {l.Proxy}} {
		if slices.ContainsFunc(urls, func(u SecretURL) bool {
			_, _, password, _, ok := u.parts()
			return ok && password != "" && password != "guest" && isCommon(password)
		}) {
			l.warnf(key, "so common a password is not masked in the log, in which it stands for something else; choose another")
		}
	}
}

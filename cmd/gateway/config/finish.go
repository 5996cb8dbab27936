// This file checks the settings against each other, once all sources are read.

package config

import (
	"errors"
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

// finish looks at the values that count in the end: what a later source
// replaced is no trouble any more.
func (c *Config) finish(r *report) {
	c.finishToken(r)
	c.finishIntents(r)
	c.finishShards(r)
	c.finishAddresses(r)
	c.finishBroker(r)
	c.finishStore(r)
	c.finishPasswords(r)
}

func (c *Config) is(key string) bool { return c.origins[key].Kind != FromDefault }

func (c *Config) finishIntents(r *report) {
	switch {
	case c.is("rawintents"):
		c.Intents = c.raw
		if c.is("intents") {
			r.add(Warning, c.origins["rawintents"], "rawintents", "replaces intents (%s)", c.origins["intents"])
		}
	case !c.is("intents") && !r.failed["intents"] && !r.failed["rawintents"]:
		r.add(Note, Origin{}, "intents", "not set: all but the privileged %s",
			strings.ReplaceAll(wire.PrivilegedIntents.String(), "|", ", "))
	}
	if r.failed["intents"] || r.failed["rawintents"] {
		return
	}
	key := "intents"
	if c.is("rawintents") {
		key = "rawintents"
	}
	if c.is(key) && c.Intents == 0 {
		r.add(Warning, c.origins[key], key, "none: Discord sends little but READY and interactions")
	}
	if c.is("events") && len(c.Events) == 0 {
		r.add(Warning, c.origins["events"], "events", "the list is empty: no event is published; remove it to publish all")
	}
	for _, name := range c.Events {
		if needs := EventIntents(name); needs != 0 && needs&c.Intents == 0 {
			r.add(Warning, c.origins["events"], "events", "%s comes only with %s, which intents do not ask for",
				name, strings.ReplaceAll(needs.String(), "|", " or "))
		}
	}
}

func (c *Config) finishShards(r *report) {
	if c.Shards.Count == 0 || len(c.Shards.IDs) == 0 {
		return
	}
	if last := c.Shards.IDs[len(c.Shards.IDs)-1]; last >= c.Shards.Count {
		r.add(Error, c.origins["shards.ids"], "shards.ids", "shard %d is not below shards.count, which is %d; ids begin at 0",
			last, c.Shards.Count)
	}
}

func (c *Config) finishAddresses(r *report) {
	if at := c.origins["api.ca_file"]; c.API.CAFile != "" {
		switch _, err := c.TLS(); {
		case errors.Is(err, errNoCertificate):
			r.add(Error, at, "api.ca_file", "%s: %s", c.API.CAFile, errNoCertificate)
		case err != nil:
			r.add(Error, at, "api.ca_file", "%s: %s", c.API.CAFile, fileTrouble(err))
		}
	}
	if c.API.Scheme == "http" && c.AsksAPI() && !isLocal(c.API.Host) {
		r.add(Warning, c.origins["api.scheme"], "api.scheme", "with http the token goes to %s for everybody on the way to read", c.API.Host)
	}
	if c.Gateway.URL == "" {
		return
	}
	if u, err := url.Parse(c.Gateway.URL); err == nil && u.Scheme == "ws" && !isLocal(u.Host) {
		r.add(Warning, c.origins["gateway.url"], "gateway.url", "with ws:// the token goes to %s for everybody on the way to read", u.Host)
	}
	if c.Shards.Count == 0 {
		r.add(Note, c.origins["gateway.url"], "gateway.url", "%s is still asked how many shards there are to be; set shards.count to spare it", c.APIBase())
	}
}

// isLocal reports whether the host, with or without a port, is this machine.
func isLocal(hostport string) bool {
	host := (&url.URL{Host: hostport}).Hostname()
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// finishStore checks what the store of sessions needs.
func (c *Config) finishStore(r *report) {
	needs := map[string]string{
		"shard_store.directory": StoreFile, "shard_store.prefix": StoreRedis, "shard_store.compat": StoreRedis,
	}
	for _, s := range storeSettings {
		if kind := needs[s.Key]; kind != "" && kind != c.ShardStore.Type && c.is(s.Key) {
			r.add(Note, c.origins[s.Key], s.Key, "has no effect without shard_store.type = %q", kind)
		}
	}
	if c.is("spool.directory") && c.Broker.Type == BrokerStdio {
		r.add(Note, c.origins["spool.directory"], "spool.directory", "not used by the broker %s", c.Broker.Type)
	}
	if c.is("spool.size") && c.Spool.Directory == "" {
		r.add(Note, c.origins["spool.size"], "spool.size", "has no effect without spool.directory")
	}
	if c.ShardStore.Type == StoreRedis && c.Broker.Type != BrokerRedis {
		c.finishRedisServer(r, "shard_store.type")
	}
}

// finishBroker checks what the broker needs, and tells of the parts that this version
// does not have.
func (c *Config) finishBroker(r *report) {
	switch c.Broker.Type {
	case BrokerRedis:
		c.finishRedis(r)
	case BrokerAMQP:
		c.finishAMQP(r)
	case BrokerStdio:
		// All events are in one stream there: who asks for some is not given another.
		if !c.is("broker.gaps") && c.Events != nil {
			c.Broker.Gaps = slices.Contains(c.Events, sinks.GapEvent)
		}
	}
	if c.is("prometheus.address") {
		r.add(Warning, c.origins["prometheus.address"], "prometheus.address", "metrics are not in this version; nothing is served")
	}
	if c.is("prometheus.endpoint") && !c.is("prometheus.address") {
		r.add(Note, c.origins["prometheus.endpoint"], "prometheus.endpoint", "has no effect without prometheus.address")
	}
	for _, s := range brokerSettings {
		table, _, _ := strings.Cut(s.Key, ".")
		unused := table != c.Broker.Type && table != "broker"
		if table == "broker" && c.Broker.Type == BrokerStdio {
			unused = s.Key != "broker.type" && s.Key != "broker.buffer" && s.Key != "broker.batch_wait" && s.Key != "broker.gaps"
		}
		switch s.Key {
		case "redis.urls", "redis.ca_file", "redis.cert_file", "redis.key_file", "redis.server_name":
			unused = unused && c.ShardStore.Type != StoreRedis
		}
		if unused && c.is(s.Key) {
			r.add(Note, c.origins[s.Key], s.Key, "not used by the broker %s", c.Broker.Type)
		}
	}
}

// finishRedis checks what the broker redis needs.
func (c *Config) finishRedis(r *report) {
	c.finishRedisServer(r, "broker.type")
	if c.is("redis.pool_size") {
		r.add(Note, c.origins["redis.pool_size"], "redis.pool_size", "has no effect: one connection carries all events, in order")
	}
	if !c.Redis.Stream.NamesEvent() && !slices.Contains(c.Redis.Fields, redis.FieldEvent) && !c.Broker.Envelope && c.Broker.Encoding != broker.Discordjs {
		r.add(Warning, c.origins["redis.stream"], "redis.stream", "consumers cannot tell events apart: put {event} into the name, event into redis.fields, or set broker.envelope")
	}
	if c.Redis.Retention == 0 && c.Redis.MaxLength == 0 {
		r.add(Warning, c.origins["redis.retention"], "redis.retention", "with neither this nor redis.max_length the streams grow until Redis is full")
	}
}

// finishRedisServer checks what leads to Redis, for a setting that wants it.
func (c *Config) finishRedisServer(r *report, setting string) {
	if len(c.Redis.URLs) == 0 && !r.failed["redis.urls"] {
		r.add(Error, c.origins[setting], "redis.urls", "missing, and %s is redis; set REDIS_URL, or redis.urls in the file, such as [\"localhost:6379\"]", setting)
	} else if !r.failed["redis.urls"] {
		addresses := make([]string, len(c.Redis.URLs))
		for i, u := range c.Redis.URLs {
			addresses[i] = u.Reveal()
		}
		if _, err := redis.NewClientOption(addresses, nil); err != nil {
			r.add(Error, c.origins["redis.urls"], "redis.urls", "%s", err)
		}
	}
	c.finishTLS(r, "redis", c.Redis.TLS)
}

// finishAMQP checks what the broker amqp needs.
func (c *Config) finishAMQP(r *report) {
	if len(c.AMQP.URLs) == 0 && !r.failed["amqp.url"] {
		r.add(Error, c.origins["broker.type"], "amqp.url", "missing, and the broker is amqp; set AMQP_URL, or amqp.url in the file, such as \"amqp://localhost\"")
	}
	if c.AMQP.External && c.AMQP.TLS.CertFile == "" {
		r.add(Error, c.origins["amqp.sasl"], "amqp.sasl", "external logs in with a certificate: set amqp.cert_file and amqp.key_file")
	}
	if !c.AMQP.RoutingKey.NamesEvent() && !c.Broker.Envelope {
		r.add(Warning, c.origins["amqp.routing_key"], "amqp.routing_key", "consumers cannot tell events apart: put {event} into the key, or set broker.envelope")
	}
	c.finishTLS(r, "amqp", c.AMQP.TLS)
}

// finishPasswords warns of passwords of brokers and the proxy that are not masked. Those of
// RabbitMQ's own guest are known to everybody.
func (c *Config) finishPasswords(r *report) {
	for _, setting := range []struct {
		key  string
		urls []SecretURL
	}{{"redis.urls", c.Redis.URLs}, {"amqp.url", c.AMQP.URLs}, {"proxy", []SecretURL{c.Proxy}}} {
		for _, u := range setting.urls {
			if password, ok := u.password(); ok && password != "" && password != "guest" && isCommon(password) {
				r.add(Warning, c.origins[setting.key], setting.key, "so common a password is not masked in the log, in which it stands for something else; choose another")
				break
			}
		}
	}
}

// finishTLS checks the files of a table's settings for TLS.
func (c *Config) finishTLS(r *report, table string, t TLSConfig) {
	for _, pair := range [][3]string{{"cert_file", "key_file", t.KeyFile}, {"key_file", "cert_file", t.CertFile}} {
		if c.is(table+"."+pair[0]) && pair[2] == "" {
			r.add(Error, c.origins[table+"."+pair[0]], table+"."+pair[0], "set %s.%s, too: a certificate and its key belong together", table, pair[1])
			return
		}
	}
	if _, err := t.Load(table); err != nil {
		key := table + ".ca_file"
		if !strings.Contains(err.Error(), key) {
			key = table + ".cert_file"
		}
		err = errors.Unwrap(err)
		var file *fs.PathError
		if errors.As(err, &file) {
			r.add(Error, c.origins[key], key, "%s: %s", file.Path, fileTrouble(err))
			return
		}
		r.add(Error, c.origins[key], key, "%s", strings.TrimPrefix(err.Error(), "tls: "))
	}
}

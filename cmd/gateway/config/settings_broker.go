// This file is the part of the table of settings that says where events go.

package config

import (
	"cmp"
	"math"
	"slices"
	"sluice/sinks/broker"
	"strconv"
	"strings"
	"time"
)

// brokerSettings are the settings of brokers, in the order of the documentation.
var brokerSettings = slices.Concat(
	commonSettings,
	redisSettings, tlsSettings("redis", "Redis", func(c *Config) *TLSConfig { return &c.Redis.TLS }),
	amqpSettings, tlsSettings("amqp", "RabbitMQ", func(c *Config) *TLSConfig { return &c.AMQP.TLS }),
)

var commonSettings = []Setting{
	{
		Key: "broker.type", Env: "BROKER_TYPE", Takes: "name", Default: `"stdio"`,
		Doc:  "Where events go: `stdio`, `redis` (needs `redis.urls`) or `amqp` (needs `amqp.url`).",
		read: func(c *Config, in input) { in.brokerType(&c.Broker.Type) },
		show: func(c *Config) string { return quote(c.Broker.Type) },
	},
	{
		Key: "broker.required", Env: "BROKER_REQUIRED", Flag: "require-broker", Takes: Boolean, Default: "false",
		Doc:  "Whether the gateway ends at the start when the broker cannot be reached, instead of waiting for it.",
		read: func(c *Config, in input) { in.bool(&c.Broker.Required) },
		show: func(c *Config) string { return strconv.FormatBool(c.Broker.Required) },
	},
	{
		Key: "broker.encoding", Env: "BROKER_ENCODING", Takes: "name", Default: `"msgpack-string"`,
		Doc: "What an event's value is: `msgpack-string`, its JSON as one MessagePack string, as the old gateway wrote it; `msgpack`, MessagePack maps; `json`; or `discordjs`, what RedisGateway of @discordjs/brokers reads. Not used by stdio.",
		read: func(c *Config, in input) {
			if s, ok := in.oneOf(broker.Encodings()...); ok {
				c.Broker.Encoding, _ = broker.ParseEncoding(s)
			}
		},
		show: func(c *Config) string { return quote(c.Broker.Encoding.String()) },
	},
	{
		Key: "broker.envelope", Env: "BROKER_ENVELOPE", Takes: Boolean, Default: "false",
		Doc:  "Whether the value is the whole payload, with `op`, `s`, `t` and `d`, instead of `d` alone. Not used by stdio.",
		read: func(c *Config, in input) { in.bool(&c.Broker.Envelope) },
		show: func(c *Config) string { return strconv.FormatBool(c.Broker.Envelope) },
	},
	{
		Key: "broker.group", Env: "BROKER_GROUP", Takes: "text", Default: `"gateway"`,
		Doc: "The exchange of `amqp`, and the consumer group in which commands are read. Not used by stdio.",
		read: func(c *Config, in input) {
			if s, ok := in.string(`"gateway"`); ok {
				c.Broker.Group = s
			}
		},
		show: func(c *Config) string { return quote(c.Broker.Group) },
	},
	{
		Key: "broker.message_timeout", Env: "BROKER_MESSAGE_TIMEOUT", Takes: "duration", Default: `"2m"`,
		Doc:  "How long a message may wait at RabbitMQ, and a command in Redis with a consumer that has died. Not used by stdio.",
		read: func(c *Config, in input) { readDuration(&c.Broker.MessageTimeout, in, time.Millisecond, 24*time.Hour) },
		show: func(c *Config) string { return quote(formatDuration(c.Broker.MessageTimeout)) },
	},
	{
		Key: "broker.buffer", Env: "BROKER_BUFFER", Takes: "size", Default: `"64MiB"`,
		Doc:  "Memory, 1MiB or more, for events that wait for the broker. When it is full, no more is read from Discord until there is room.",
		read: func(c *Config, in input) { readSize(&c.Broker.Buffer, in, 1<<20, min(64<<30, math.MaxInt)) },
		show: func(c *Config) string { return quote(formatSize(int64(c.Broker.Buffer))) },
	},
	{
		Key: "broker.gaps", Env: "BROKER_GAPS", Takes: Boolean, Default: "true",
		Doc:  "Whether an event GATEWAY_GAP tells consumers that events of a shard are lost, since Discord has not continued its session. On standard output, `events` without GATEWAY_GAP makes false the default; elsewhere it does not depend on `events`.",
		read: func(c *Config, in input) { in.bool(&c.Broker.Gaps) },
		show: func(c *Config) string { return strconv.FormatBool(c.Broker.Gaps) },
	},
	{
		Key: "broker.batch_wait", Env: "BROKER_BATCH_WAIT", Takes: "duration", Default: `"1ms"`,
		Doc:  "How long a few events wait for more while the broker is busy with others, 0s to 1s. One that comes alone does not wait.",
		read: func(c *Config, in input) { readDuration(&c.Broker.BatchWait, in, 0, time.Second) },
		show: func(c *Config) string { return quote(formatDuration(c.Broker.BatchWait)) },
	},
	{
		Key: "broker.dead_letters", Env: "BROKER_DEAD_LETTERS", Takes: "path", Default: `"dead-letters.jsonl"`,
		Doc: "The file for events that the broker will never take, a line of JSON for each; `none`: they are dropped. Not used by stdio.",
		read: func(c *Config, in input) {
			if s, ok := in.string(`"dead-letters.jsonl"`); ok {
				if c.Broker.DeadLetters = s; s == "none" {
					c.Broker.DeadLetters = ""
				}
			}
		},
		show: func(c *Config) string { return quote(cmp.Or(c.Broker.DeadLetters, "none")) },
	},
	{
		Key: "broker.dead_letters_size", Env: "BROKER_DEAD_LETTERS_SIZE", Takes: "size", Default: `"64MiB"`,
		Doc:  "Bound of that file and the one before it together, 1MiB or more: the oldest go.",
		read: func(c *Config, in input) { readSize(&c.Broker.DeadLettersSize, in, 1<<20, min(64<<30, math.MaxInt)) },
		show: func(c *Config) string { return quote(formatSize(int64(c.Broker.DeadLettersSize))) },
	},
	{
		Key: "stdio.format", Env: "STDIO_FORMAT", Takes: "name", Default: `"json"`,
		Doc: "How events are written and commands read: `json` (lines) or `msgpack` (as the old gateway did).",
		read: func(c *Config, in input) {
			if s, ok := in.oneOf(FormatJSON, FormatMsgpack); ok {
				c.Stdio.Format = s
			}
		},
		show: func(c *Config) string { return quote(c.Stdio.Format) },
	},
}

var redisSettings = []Setting{
	{
		Key: "redis.urls", Env: "REDIS_URL", Takes: "list of addresses", Default: "none",
		Doc:  "Addresses of Redis: `host:port`, `redis://`, `rediss://` (TLS) with user, password and `/database`, or `unix://`. Several are nodes of a cluster; with `?master_set=name`, Sentinels.",
		read: func(c *Config, in input) { in.redisURLs(&c.Redis.URLs) },
		show: func(c *Config) string { return showURLs(c.Redis.URLs) },
	},
	{
		Key: "redis.pool_size", Env: "REDIS_POOL_SIZE", Takes: "number", Default: "5",
		Doc:  "Connections to Redis of the old gateway. Not needed: one carries all events, in order.",
		read: func(c *Config, in input) { readInt(&c.Redis.PoolSize, in, 1, 10_000) },
		show: func(c *Config) string { return strconv.Itoa(c.Redis.PoolSize) },
	},
	{
		Key: "redis.stream", Env: "REDIS_STREAM", Takes: "template", Default: `"{event}"`,
		Doc:  "Name of the stream that an event goes to, with `{event}`, `{shard}` and `{shard%16}` (or another number) in it.",
		read: func(c *Config, in input) { in.template(&c.Redis.Stream) },
		show: func(c *Config) string { return quote(c.Redis.Stream.String()) },
	},
	{
		Key: "redis.fields", Env: "REDIS_FIELDS", Takes: "list of names", Default: "none",
		Doc:  "Fields of an entry after `data`: `event`, `shard`, `session`, `seq`.",
		read: func(c *Config, in input) { in.fields(&c.Redis.Fields) },
		show: func(c *Config) string {
			if c.Redis.Fields == nil {
				return ""
			}
			names := make([]string, len(c.Redis.Fields))
			for i, f := range c.Redis.Fields {
				names[i] = f.String()
			}
			return quoteList(names)
		},
	},
	{
		Key: "redis.retention", Env: "REDIS_RETENTION", Takes: "duration", Default: `"1h"`,
		Doc:  "Age, 0s (no bound) to 8760h, at which entries leave the streams.",
		read: func(c *Config, in input) { readDuration(&c.Redis.Retention, in, 0, 8760*time.Hour) },
		show: func(c *Config) string { return quote(formatDuration(c.Redis.Retention)) },
	},
	{
		Key: "redis.max_length", Env: "REDIS_MAX_LENGTH", Takes: "number", Default: "none",
		Doc:  "Entries, roughly, at most in each stream.",
		read: func(c *Config, in input) { readInt(&c.Redis.MaxLength, in, 1, math.MaxInt) },
		show: func(c *Config) string { return intUnlessZero(c.Redis.MaxLength) },
	},
	{
		Key: "redis.replicas", Env: "REDIS_REPLICAS", Takes: "number", Default: "none",
		Doc:  "How many replicas must have an event before it counts as delivered (WAIT), 1 to 16: a failover to one of them then loses nothing. Not in a cluster.",
		read: func(c *Config, in input) { readInt(&c.Redis.Replicas, in, 1, 16) },
		show: func(c *Config) string { return intUnlessZero(c.Redis.Replicas) },
	},
}

var amqpSettings = []Setting{
	{
		Key: "amqp.url", Env: "AMQP_URL", Takes: "list of addresses", Default: "none",
		Doc:  "Address of RabbitMQ, `amqp://user:password@host:5672/vhost`, or `amqps://` (TLS). Several are nodes of a cluster, tried in turn.",
		read: func(c *Config, in input) { in.amqpURLs(&c.AMQP.URLs) },
		show: func(c *Config) string { return showURLs(c.AMQP.URLs) },
	},
	{
		Key: "amqp.exchange_type", Env: "AMQP_EXCHANGE_TYPE", Takes: "name", Default: `"direct"`,
		Doc: "Of the exchange `broker.group`: `direct`, as the old gateway made it, or `topic`.",
		read: func(c *Config, in input) {
			if s, ok := in.oneOf("direct", "topic"); ok {
				c.AMQP.ExchangeType = s
			}
		},
		show: func(c *Config) string { return quote(c.AMQP.ExchangeType) },
	},
	{
		Key: "amqp.routing_key", Env: "AMQP_ROUTING_KEY", Takes: "template", Default: `"{event}"`,
		Doc:  "Routing key of an event, with `{event}`, `{shard}` and `{shard%16}` (or another number) in it.",
		read: func(c *Config, in input) { in.template(&c.AMQP.RoutingKey) },
		show: func(c *Config) string { return quote(c.AMQP.RoutingKey.String()) },
	},
	{
		Key: "amqp.persistent", Env: "AMQP_PERSISTENT", Takes: Boolean, Default: "false",
		Doc:  "Whether durable queues keep events over a restart of RabbitMQ. Without it, what waits in a queue then is lost.",
		read: func(c *Config, in input) { in.bool(&c.AMQP.Persistent) },
		show: func(c *Config) string { return strconv.FormatBool(c.AMQP.Persistent) },
	},
	{
		Key: "amqp.mandatory", Env: "AMQP_MANDATORY", Takes: Boolean, Default: "false",
		Doc:  "Whether events that no queue takes are counted. RabbitMQ sends each of them back, which costs both sides.",
		read: func(c *Config, in input) { in.bool(&c.AMQP.Mandatory) },
		show: func(c *Config) string { return strconv.FormatBool(c.AMQP.Mandatory) },
	},
	{
		Key: "amqp.headers", Env: "AMQP_HEADERS", Takes: Boolean, Default: "true",
		Doc:  "Whether messages have the headers `shard`, `session` and `seq`, by which a consumer knows repeats.",
		read: func(c *Config, in input) { in.bool(&c.AMQP.Headers) },
		show: func(c *Config) string { return strconv.FormatBool(c.AMQP.Headers) },
	},
	{
		Key: "amqp.sasl", Env: "AMQP_SASL", Takes: "name", Default: `"plain"`,
		Doc: "How the gateway logs in: `plain`, with user and password of the address, or `external`, with `amqp.cert_file`.",
		read: func(c *Config, in input) {
			if s, ok := in.oneOf("plain", "external"); ok {
				c.AMQP.External = s == "external"
			}
		},
		show: func(c *Config) string {
			if c.AMQP.External {
				return quote("external")
			}
			return quote("plain")
		},
	},
	{
		Key: "amqp.heartbeat", Env: "AMQP_HEARTBEAT", Takes: "duration", Default: `"10s"`,
		Doc:  "Longest silence of a connection, 1s to 10m, in whole seconds: after one and a half of it, it counts as dead.",
		read: func(c *Config, in input) { readDuration(&c.AMQP.Heartbeat, in, time.Second, 10*time.Minute) },
		show: func(c *Config) string { return quote(formatDuration(c.AMQP.Heartbeat)) },
	},
	{
		Key: "amqp.prefetch", Env: "AMQP_PREFETCH", Takes: "number", Default: "64",
		Doc:  "Commands of a queue that are taken before they are on their way to Discord.",
		read: func(c *Config, in input) { readInt(&c.AMQP.Prefetch, in, 1, 65_535) },
		show: func(c *Config) string { return strconv.Itoa(c.AMQP.Prefetch) },
	},
}

// showURLs returns a list of addresses without their passwords, as TOML.
func showURLs(urls []SecretURL) string {
	if urls == nil {
		return ""
	}
	masked := make([]string, len(urls))
	for i, u := range urls {
		masked[i] = u.String()
	}
	return quoteList(masked)
}

// tlsSettings returns the settings of a table for a connection over TLS.
func tlsSettings(table, broker string, of func(*Config) *TLSConfig) []Setting {
	row := func(name, takes, example, doc, otherwise string, field func(*TLSConfig) *string) Setting {
		key := table + "." + name
		return Setting{
			Key: key, Env: strings.ToUpper(strings.ReplaceAll(key, ".", "_")), Takes: takes, Default: otherwise, Doc: doc,
			read: func(c *Config, in input) { readText(field(of(c)), in, quote(example)) },
			show: func(c *Config) string { return quoteUnlessEmpty(*field(of(c))) },
		}
	}
	return []Setting{
		row("ca_file", "path", "ca.pem", "Certificates in PEM form that "+broker+" is trusted by, besides the system's.", "none",
			func(t *TLSConfig) *string { return &t.CAFile }),
		row("cert_file", "path", "cert.pem", "The certificate in PEM form that is shown to "+broker+".", "none",
			func(t *TLSConfig) *string { return &t.CertFile }),
		row("key_file", "path", "key.pem", "Its key.", "none",
			func(t *TLSConfig) *string { return &t.KeyFile }),
		row("server_name", "host", "broker.example.com", "The name in the certificate of "+broker+".", "that of the address",
			func(t *TLSConfig) *string { return &t.ServerName }),
	}
}

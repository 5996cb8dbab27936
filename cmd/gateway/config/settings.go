// This file is the table of settings: a new setting is a row here and a field of Config.

package config

import (
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	"sluice/sinks/broker"
	"sluice/wire"
)

// Setting is a row of the table.
type Setting struct {
	Key     string // in the file; a dot stands for a table
	Env     string // variable
	Flag    string // without the dash, or empty
	Default string // as in the file, or in words: then it is the field's zero value
	Doc     string // one sentence or more
	Reload  bool   // it can be changed while the gateway runs
	value          // Takes, and how it is read and shown

	oldKey, oldEnv string // names of earlier versions, which go on with a warning
}

// Settings returns the table, in the order in which settings are documented.
func Settings() []Setting { return new(Config).settings() }

// Boolean is what Setting.Takes says of a setting that is true or false. As a flag
// it needs no value.
const Boolean = "true or false"

// settings returns the table with the fields of the Config.
func (c *Config) settings() []Setting {
	return slices.Concat([]Setting{
		{Key: "token", Env: "DISCORD_TOKEN", Default: "required", value: botToken(c),
			Doc: "The bot's token, with or without `Bot ` before it."},
		{Key: "token_file", Env: "DISCORD_TOKEN_FILE", Default: "none", value: tokenFile(c),
			Doc: "A file that holds the token, instead of `token`."},
		{Key: "events", Reload: true, Env: "DISCORD_EVENTS", Default: "all", value: eventNames(&c.Events),
			Doc: "The events to publish. `[]` publishes none."},
		{Key: "intents", Env: "DISCORD_INTENTS", Default: "all but the privileged", value: intentNames(c),
			Doc: "What Discord is asked to send. Privileged are GUILD_MEMBERS, GUILD_PRESENCES and MESSAGE_CONTENT: switch them on for the bot first. `[]` asks for none."},
		{Key: "rawintents", Env: "DISCORD_RAW_INTENTS", Default: "none", value: intentBits(c),
			Doc: "The intents as a number, instead of `intents`."},
		{Key: "gateway_version", Env: "DISCORD_GATEWAY_VERSION", Default: "10", value: version(&c.GatewayVersion),
			Doc: "Version of the gateway's protocol, 9 or 10."},
		{Key: "large_threshold", Env: "DISCORD_LARGE_THRESHOLD", Default: "left to Discord (50)", value: number(&c.LargeThreshold, 50, 250),
			Doc: "Member count, 50 to 250, above which Discord leaves offline members out of GUILD_CREATE."},
		{Key: "compression", Env: "DISCORD_COMPRESSION", Default: `"zstd-stream"`,
			value: choice(&c.Compression, []string{"zstd-stream", "zlib-stream", "zlib-payload", "none"},
				wire.CompressionZstd, wire.CompressionZlib, wire.CompressionPayload, wire.CompressionNone),
			Doc: "How Discord compresses what it sends: `zstd-stream`, `zlib-stream`, `zlib-payload` or `none`."},
		{Key: "max_message", Env: "DISCORD_MAX_MESSAGE", Default: `"64MiB"`, value: size(&c.MaxMessage, 1<<20, 1<<30),
			Doc: "Inflated size, 1MiB to 1GiB, above which a message counts as broken and its connection is closed."},
		{Key: "ready_timeout", Env: "DISCORD_READY_TIMEOUT", Default: `"10m"`, value: duration(&c.ReadyTimeout, time.Minute, 24*time.Hour),
			Doc: "How long a shard waits for READY after its Identify, 1m to 24h, before it closes the connection and identifies again in its turn. It logs the wait each minute."},
		{Key: "shutdown_timeout", Env: "SHUTDOWN_TIMEOUT", Default: `"10s"`, value: duration(&c.ShutdownTimeout, time.Millisecond, time.Hour),
			Doc: "How long the shutdown after a signal may take, up to 1h."},

		{Key: "shards.count", Env: "DISCORD_SHARD_COUNT", Default: "Discord's recommendation", value: number(&c.Shards.Count, 1, MaxShards),
			Doc: "Number of shards of the bot, over all processes."},
		{Key: "shards.ids", Env: "DISCORD_SHARD_IDS", Default: "all", value: shardIDs(&c.Shards.IDs, &c.Shards.Auto),
			Doc: "The shards that this process runs, such as `[0, 1]`, `[\"0-15\", 20]` or `\"0-15,20\"`; or `auto`: all processes with these settings and the Redis of `redis.urls` are a fleet, which divides the shards by itself."},
		{Key: "shards.identify_reserve", Env: "DISCORD_SHARD_IDENTIFY_RESERVE", Default: "100", value: number(&c.Shards.IdentifyReserve, 0, 1_000_000),
			Doc: "How many of the session starts that Discord allows in a day are left alone, a tenth of them at most: with no more than so many, shards that must identify wait for the next day. A process that crashes again and again can't use them up then."},
		{Key: "shards.reshard", Env: "DISCORD_SHARD_RESHARD", Default: "false", value: boolean(&c.Shards.Reshard),
			Doc: "Whether the bot changes to the shard count that Discord recommends when that is at least a tenth above the one in force, as `gateway reshard` does: without a gap, once a day at most, and only if the session starts that are left beside `shards.identify_reserve` are enough. For one process that runs all shards, or a fleet."},
		{Key: "identify.address", Env: "IDENTIFY_ADDRESS", Default: "off", value: loopbackAddress(&c.Identify.Address, ":7070"),
			Doc: "Where turns to identify are given to other processes of the bot over HTTP, as twilight's gateway-queue does: `GET /?shard=3` is answered when shard 3 may identify. Without a host, as in `:7070`, only this machine reaches it. Whoever reaches it can use the day's session starts up. Names are those of `http.hosts`."},
		{Key: "identify.queue", Env: "IDENTIFY_QUEUE", Default: "none", value: text(&c.Identify.Queue, "address", "http://gateway-queue:7070", identifyTrouble),
			Doc: "A service that gives the turns to identify, such as `http://gateway-queue:7070`: the `identify.address` of another process, or twilight's gateway-queue. No Identify is sent without its answer."},
		{Key: "fleet.member", Env: "FLEET_MEMBER", Default: "the host's name", value: text(&c.Fleet.Member, "text", "gateway-0", nil),
			Doc: "What this process is called in its fleet. With `fleet.return` it is the same after a restart, and no other process's."},
		{Key: "fleet.weight", Env: "FLEET_WEIGHT", Default: "1", value: number(&c.Fleet.Weight, 1, 1000),
			Doc: "This process's part of the shards, against those of the others."},
		{Key: "fleet.zone", Env: "FLEET_ZONE", Default: "none", value: text(&c.Fleet.Zone, "text", "eu-1", nil),
			Doc: "Where this process runs. Of two members that could take a shard, the one in the zone with fewer shards does."},
		{Key: "fleet.death", Env: "FLEET_DEATH", Default: `"6s"`, value: duration(&c.Fleet.Death, 3*time.Second, time.Minute),
			Doc: "How long the others see no beat of a process, each of which comes after a second, until they take its shards over. The same for all members."},
		{Key: "fleet.moves", Env: "FLEET_MOVES", Default: "16", value: number(&c.Fleet.Moves, 1, 1000),
			Doc: "How many shards are handed over at a time, in the whole fleet, when it is balanced."},
		{Key: "fleet.settle", Env: "FLEET_SETTLE", Default: `"10s"`, value: duration(&c.Fleet.Settle, 0, 10*time.Minute),
			Doc: "How long no member has joined or left until shards are moved to balance the fleet."},
		{Key: "fleet.return", Env: "FLEET_RETURN", Default: `"0s"`, value: duration(&c.Fleet.Return, 0, 10*time.Minute),
			Doc: "How long the shards of a member that is gone wait for another process of its name, before the others take them."},
		{Key: "presence", Reload: true, Env: "DISCORD_PRESENCE", Default: "none", value: presenceObject(&c.Presence),
			Doc: "What the bot shows: `status` (online, dnd, idle, invisible), `afk`, `since` and `[[presence.activities]]` with `name`, `type` (0 to 5, or playing, streaming, listening, watching, custom, competing), `url`, `state`."},
		{Key: "presence_follow", Env: "DISCORD_PRESENCE_FOLLOW", Default: "true", value: boolean(&c.PresenceFollow),
			Doc: "Whether the presence that a shard has sent last, as a command of a bot, replaces `presence` when it begins another session. A restart begins with `presence`."},
		{Key: "gateway.url", Env: "DISCORD_GATEWAY_URL", Default: "what the API names", value: text(&c.Gateway.URL, "address", "wss://gateway.discord.gg", gatewayTrouble),
			Doc: "Address of the gateway, `wss://` or `ws://`. With `shards.count` set too, the API is not asked, unless `api.host` is set: then after failed connections, or when the session starts of the day are used up."},
		{Key: "gateway.hosts", Env: "DISCORD_GATEWAY_HOSTS", Default: "none", value: list(&c.Gateway.Hosts, "list of hosts", "gateway.example.com", hostTrouble),
			Doc: "Hosts, each with the names below it, that get the token if the API or a session's `resume_gateway_url` names them, besides those of the domain of the API or the gateway (for Discord: discord.gg, discord.com, discord.media). Others are refused with a warning, as is `ws://` after TLS."},
		{Key: "api.scheme", Env: "DISCORD_API_PROTOCOL", Default: `"https"`, value: oneOf(&c.API.Scheme, "https", "http"),
			Doc: "`https` or `http`."},
		{Key: "api.host", Env: "DISCORD_API_HOST", Default: `"discord.com"`, value: text(&c.API.Host, "host", "discord.com", apiTrouble),
			Doc: "Host of the REST API; a port may follow, as in `localhost:8080`."},
		{Key: "api.version", Env: "DISCORD_API_VERSION", Default: "10", value: version(&c.API.Version),
			Doc: "Version of the REST API, 9 or 10."},
		{Key: "api.ca_file", Reload: true, Env: "DISCORD_API_CA_FILE", Default: "none", value: path(&c.API.CAFile, "ca.pem"),
			Doc: "Certificates in PEM form to trust besides the system's, for the REST API and the gateway."},
		{Key: "proxy", Env: "DISCORD_PROXY", Default: "that of the environment", value: text(&c.Proxy, "address", "http://proxy.example.com:3128", proxyTrouble),
			Doc: "Proxy to the REST API and the gateway: `http://`, `https://` or `socks5://`, as in `http://user:password@host:3128`; `none` for none. It is for every host. In the environment, `HTTPS_PROXY` is for https and wss, `HTTP_PROXY` for http and ws, and `NO_PROXY` names hosts without one. Behind an `https://` proxy each connection is read by a goroutine."},

		{Key: "reader.type", Env: "READER_TYPE", Flag: "reader", Default: `"epoll"`, value: readerType(&c.Reader.Type),
			Doc: "Who reads the connections: `epoll`, a few goroutines for all, or `goroutine`, one for each, which costs more. `epoll` is for Linux; elsewhere `goroutine` is the default."},
		{Key: "reader.count", Env: "READER_COUNT", Default: "one for each CPU", value: number(&c.Reader.Count, 1, 1024),
			Doc: "How many goroutines `epoll` uses, 1 to 1,024."},
		{Key: "reader.poll_interval", Env: "READER_POLL_INTERVAL", oldKey: "reader.pace", oldEnv: "READER_PACE", Default: `"4ms"`, value: duration(&c.Reader.PollInterval, 0, 100*time.Millisecond),
			Doc: "How often at most `epoll` looks at its connections, 0s to 100ms: under load, events are then read and published several at a time. One that comes alone does not wait."},

		{Key: "broker.type", Env: "BROKER_TYPE", Default: `"stdio"`, value: text(&c.Broker.Type, "name", BrokerStdio, brokerTrouble),
			Doc: "Where events go: `stdio`, `redis` (needs `redis.urls`) or `amqp` (needs `amqp.url`)."},
		{Key: "broker.required", Env: "BROKER_REQUIRED", Flag: "require-broker", Default: "false", value: boolean(&c.Broker.Required),
			Doc: "Whether the gateway ends at the start when the broker cannot be reached, instead of waiting for it."},
		{Key: "broker.encoding", Env: "BROKER_ENCODING", Default: `"msgpack-string"`,
			value: choice(&c.Broker.Encoding, broker.Encodings(), broker.MsgpackString, broker.Msgpack, broker.JSON, broker.Discordjs),
			Doc:   "What an event's value is: `msgpack-string`, its JSON as one MessagePack string, as the old gateway wrote it; `msgpack`, MessagePack maps; `json`; or `discordjs`, what RedisGateway of @discordjs/brokers reads. Not used by stdio."},
		{Key: "broker.envelope", Env: "BROKER_ENVELOPE", Default: "false", value: boolean(&c.Broker.Envelope),
			Doc: "Whether the value is the whole payload, with `op`, `s`, `t` and `d`, instead of `d` alone. Not used by stdio."},
		{Key: "broker.group", Env: "BROKER_GROUP", Default: `"gateway"`, value: text(&c.Broker.Group, "text", "gateway", nil),
			Doc: "The exchange of `amqp`, and the consumer group in which commands are read. Not used by stdio."},
		{Key: "broker.message_timeout", Reload: true, Env: "BROKER_MESSAGE_TIMEOUT", Default: `"2m"`, value: duration(&c.Broker.MessageTimeout, time.Millisecond, 24*time.Hour),
			Doc: "How long a message may wait at RabbitMQ, and a command in Redis with a consumer that has died. Not used by stdio."},
		{Key: "broker.buffer", Env: "BROKER_BUFFER", Default: `"64MiB"`, value: size(&c.Broker.Buffer, 1<<20, min(64<<30, math.MaxInt)),
			Doc: "Memory, 1MiB or more, for events that wait for the broker. When it is full, no more is read from Discord until events have been delivered."},
		{Key: "broker.gaps", Env: "BROKER_GAPS", Default: "true", value: boolean(&c.Broker.Gaps),
			Doc: "Whether an event GATEWAY_GAP notifies consumers that events of a shard are lost, since Discord has not continued its session. On standard output, `events` without GATEWAY_GAP makes false the default; elsewhere it does not depend on `events`."},
		{Key: "broker.linger", Env: "BROKER_LINGER", oldKey: "broker.batch_wait", oldEnv: "BROKER_BATCH_WAIT", Default: `"1ms"`, value: duration(&c.Broker.Linger, 0, time.Second),
			Doc: "How long a few events wait for more while the broker is busy with others, 0s to 1s. One that comes alone does not wait."},
		{Key: "broker.dead_letters", Reload: true, Env: "BROKER_DEAD_LETTERS", Default: `"dead-letters.jsonl"`, value: pathOrNone(&c.Broker.DeadLetters, "dead-letters.jsonl"),
			Doc: "The file for events that the broker will never take, a line of JSON for each; `none`: they are dropped. Not used by stdio."},
		{Key: "broker.dead_letters_size", Reload: true, Env: "BROKER_DEAD_LETTERS_SIZE", Default: `"64MiB"`, value: size(&c.Broker.DeadLettersSize, 1<<20, min(64<<30, math.MaxInt)),
			Doc: "Bound of that file and the one before it together, 1MiB or more: the oldest go."},
		{Key: "stdio.format", Env: "STDIO_FORMAT", Default: `"json"`, value: oneOf(&c.Stdio.Format, FormatJSON, FormatMsgpack),
			Doc: "How events are written and commands read: `json` (lines) or `msgpack` (as the old gateway did)."},

		{Key: "redis.urls", Env: "REDIS_URL", oldKey: "redis.url", Default: "none", value: urls(&c.Redis.URLs, "localhost:6379", redisTrouble),
			Doc: "Addresses of Redis: `host:port`, `redis://`, `rediss://` (TLS) with user, password and `/database`, or `unix://`. Several are nodes of a cluster; with `?master_set=name`, Sentinels."},
		{Key: "redis.pool_size", Env: "REDIS_POOL_SIZE", Default: "5", value: number(&c.Redis.PoolSize, 1, 10_000),
			Doc: "Connections to Redis of the old gateway. Not needed: one carries all events, in order."},
		{Key: "redis.stream", Env: "REDIS_STREAM", Default: `"{event}"`, value: template(&c.Redis.Stream),
			Doc: "Name of the stream that an event goes to, with `{event}`, `{shard}` and `{shard%16}` (or another number) in it."},
		{Key: "redis.fields", Env: "REDIS_FIELDS", Default: "none", value: fields(&c.Redis.Fields),
			Doc: "Fields of an entry after `data`: `event`, `shard`, `session`, `seq`, `epoch`."},
		{Key: "redis.retention", Env: "REDIS_RETENTION", Default: `"1h"`, value: duration(&c.Redis.Retention, 0, 8760*time.Hour),
			Doc: "Age, 0s (no bound) to 8760h, at which entries leave the streams."},
		{Key: "redis.max_length", Env: "REDIS_MAX_LENGTH", Default: "none", value: number(&c.Redis.MaxLength, 1, math.MaxInt),
			Doc: "Entries, roughly, at most in each stream."},
		{Key: "redis.replicas", Env: "REDIS_REPLICAS", Default: "none", value: number(&c.Redis.Replicas, 1, 16),
			Doc: "How many replicas must have an event before it counts as delivered (WAIT), 1 to 16: a failover to one of them then loses nothing. Not in a cluster."},
	}, tlsSettings("redis", "Redis", &c.Redis.TLS), []Setting{
		{Key: "amqp.url", Env: "AMQP_URL", Default: "none", value: urls(&c.AMQP.URLs, "amqp://user:password@host:5672/vhost", amqpTrouble),
			Doc: "Address of RabbitMQ, `amqp://user:password@host:5672/vhost`, or `amqps://` (TLS). Several are nodes of a cluster, tried in turn."},
		{Key: "amqp.exchange_type", Env: "AMQP_EXCHANGE_TYPE", Default: `"direct"`, value: oneOf(&c.AMQP.ExchangeType, "direct", "topic"),
			Doc: "Of the exchange `broker.group`: `direct`, as the old gateway made it, or `topic`."},
		{Key: "amqp.routing_key", Env: "AMQP_ROUTING_KEY", Default: `"{event}"`, value: template(&c.AMQP.RoutingKey),
			Doc: "Routing key of an event, with `{event}`, `{shard}` and `{shard%16}` (or another number) in it."},
		{Key: "amqp.persistent", Env: "AMQP_PERSISTENT", Default: "false", value: boolean(&c.AMQP.Persistent),
			Doc: "Whether durable queues keep events over a restart of RabbitMQ. Without it, what waits in a queue then is lost."},
		{Key: "amqp.mandatory", Env: "AMQP_MANDATORY", Default: "false", value: boolean(&c.AMQP.Mandatory),
			Doc: "Whether events that no queue takes are counted. RabbitMQ sends each of them back, which costs both sides."},
		{Key: "amqp.headers", Env: "AMQP_HEADERS", Default: "true", value: boolean(&c.AMQP.Headers),
			Doc: "Whether messages have the headers `shard`, `session` and `seq`, by which a consumer recognizes duplicates."},
		{Key: "amqp.sasl", Env: "AMQP_SASL", Default: `"plain"`, value: choice(&c.AMQP.External, []string{"plain", "external"}, false, true),
			Doc: "How the gateway logs in: `plain`, with user and password of the address, or `external`, with `amqp.cert_file`."},
		{Key: "amqp.heartbeat", Env: "AMQP_HEARTBEAT", Default: `"10s"`, value: duration(&c.AMQP.Heartbeat, time.Second, 10*time.Minute),
			Doc: "Longest silence of a connection, 1s to 10m, in whole seconds: after one and a half of it, it counts as dead."},
		{Key: "amqp.prefetch", Env: "AMQP_PREFETCH", Default: "64", value: number(&c.AMQP.Prefetch, 1, 65_535),
			Doc: "Commands of a queue that are taken before they are sent to Discord."},
	}, tlsSettings("amqp", "RabbitMQ", &c.AMQP.TLS), []Setting{
		{Key: "http.address", Env: "HTTP_ADDRESS", Default: "off", value: loopbackAddress(&c.HTTP.Address, ":8080"),
			Doc: "Where status, page, metrics and health are served over HTTP. Without a host, as in `:8080`, only this machine reaches it; `0.0.0.0:8080` is for all."},
		{Key: "http.token", Reload: true, Env: "HTTP_TOKEN", Default: "none", value: httpToken(c),
			Doc: "What a client has to show for status and page, unless it is on this machine, and for actions in any case: 16 characters or more. Metrics and health need none."},
		{Key: "http.token_file", Reload: true, Env: "HTTP_TOKEN_FILE", Default: "none", value: httpTokenFile(c),
			Doc: "A file that holds it, instead of `http.token`."},
		{Key: "http.hosts", Env: "HTTP_HOSTS", Default: "none", value: list(&c.HTTP.Hosts, "list of hosts", "gateway.example.com", hostTrouble),
			Doc: "Names under which `http.address` or `identify.address` is reached, such as that of a reverse proxy, besides localhost, IP addresses and its own host. Requests for other names are refused. With any, this machine needs the token, too."},
		{Key: "prometheus.address", Env: "PROMETHEUS_ADDRESS", Default: "off", value: listenAddress(&c.Prometheus.Address, ":8080"),
			Doc: "Where metrics are served, and nothing else, to everybody. Without a host, as in `:8080`, on all interfaces. If it is `http.address`, both are one listener."},
		{Key: "prometheus.endpoint", Env: "PROMETHEUS_ENDPOINT", Default: "every path", value: path(&c.Prometheus.Endpoint, "/metrics"),
			Doc: "The path at which metrics are served at `prometheus.address`."},
		{Key: "prometheus.packets", Env: "PROMETHEUS_PACKETS", Default: `"auto"`, value: oneOf(&c.Prometheus.Packets, PacketsAuto, PacketsOn, PacketsOff),
			Doc: "Whether the old gateway's `gateway_packets_received` and `gateway_packets_sent` are served, a time series for each event, opcode and shard: `on`, `off`, or `auto`, on up to 64 shards."},

		{Key: "shard_store.type", Env: "SHARD_STORE_TYPE", Default: `"file"`, value: oneOf(&c.ShardStore.Type, StoreMemory, StoreFile, StoreRedis),
			Doc: "Where sessions are kept, for the next process to resume: `file`, `redis` (that of `redis.urls`, whatever the broker is), or `memory`, which forgets them. Where no file can be written, and none is asked for, they are kept in memory."},
		{Key: "shard_store.directory", Env: "SHARD_STORE_DIRECTORY", Default: `"state"`, value: path(&c.ShardStore.Directory, "state"),
			Doc: "The directory of the file, one for each process; it is made if it is not there. `control.sock` in it is how `gateway status` and the like reach the process."},
		{Key: "shard_store.prefix", Env: "SHARD_STORE_PREFIX", Default: "empty", value: text(&c.ShardStore.Prefix, "text", "gateway", nil),
			Doc: "What the keys in Redis begin with. Bots that share a Redis need different ones."},
		{Key: "shard_store.compat", Env: "SHARD_STORE_COMPAT", Default: "false", value: boolean(&c.ShardStore.Compat),
			Doc: "Whether Redis is kept up to date for the old gateway too, so that you can go back to it. What it has left there is read either way."},
		{Key: "shard_store.interval", Env: "SHARD_STORE_INTERVAL", Default: `"100ms"`, value: duration(&c.ShardStore.Interval, 10*time.Millisecond, 10*time.Second),
			Doc: "How often what has changed is written, 10ms to 10s. After a crash, events since the last time are redelivered."},
		{Key: "spool.directory", Env: "SPOOL_DIRECTORY", Default: "none", value: path(&c.Spool.Directory, "spool"),
			Doc: "A directory, one for each process, for events that the broker does not take when `broker.buffer` is full: the sessions go on, and the events are delivered when the broker is back. Not used by stdio."},
		{Key: "spool.size", Env: "SPOOL_SIZE", Default: `"10GiB"`, value: size(&c.Spool.Size, 64<<20, math.MaxInt64),
			Doc: "Bound of that directory, 64MiB or more. With so much in it no more is read from Discord."},
		{Key: "log.level", Reload: true, Env: "LOG_LEVEL", Flag: "loglevel", Default: `"info"`,
			value: choice(&c.Log.Level, []string{"suppress", "error", "warn", "info", "debug"},
				LevelSuppress, slog.LevelError, slog.LevelWarn, slog.LevelInfo, slog.LevelDebug),
			Doc: "The least that is logged: `debug`, `info`, `warn`, `error`, or `suppress` for nothing."},
		{Key: "log.format", Env: "LOG_FORMAT", Default: `"auto"`, value: oneOf(&c.Log.Format, LogAuto, LogText, FormatJSON),
			Doc: "`text`, `json`, or `auto`: text on a terminal, JSON otherwise."},
		{Key: "debug.address", Env: "DEBUG_ADDRESS", Default: "off", value: listenAddress(&c.Debug.Address, "localhost:6060"),
			Doc: "Where Go's profiles (`/debug/pprof/`) and figures of its runtime (`/debug/runtime`) are served, such as `localhost:6060`. Whoever reaches it can slow the process down."},
	})
}

// tlsSettings returns the settings of a table for a connection over TLS.
func tlsSettings(table, broker string, t *TLSConfig) []Setting {
	env := strings.ToUpper(table)
	return []Setting{
		{Key: table + ".ca_file", Reload: true, Env: env + "_CA_FILE", Default: "none", value: path(&t.CAFile, "ca.pem"),
			Doc: "Certificates in PEM form that " + broker + " is trusted by, besides the system's."},
		{Key: table + ".cert_file", Reload: true, Env: env + "_CERT_FILE", Default: "none", value: path(&t.CertFile, "cert.pem"),
			Doc: "The certificate in PEM form that is shown to " + broker + "."},
		{Key: table + ".key_file", Reload: true, Env: env + "_KEY_FILE", Default: "none", value: path(&t.KeyFile, "key.pem"),
			Doc: "Its key."},
		{Key: table + ".server_name", Env: env + "_SERVER_NAME", Default: "that of the address", value: text(&t.ServerName, "host", "broker.example.com", nil),
			Doc: "The name in the certificate of " + broker + "."},
	}
}

// defaultText returns the default as a variable would have it; ok is false if it is in words.
func (s *Setting) defaultText() (text string, ok bool) {
	return strings.Trim(s.Default, `"`), s.Default[0] == '"' || s.Takes == Boolean || isDigits(s.Default)
}

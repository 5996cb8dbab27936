// This file is the table of settings: everything that reads, prints or
// documents a setting goes by it.

package config

import (
	"log/slog"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/wire"
)

// Setting is a row of the table.
type Setting struct {
	Key     string // in the file; a dot stands for a table
	Env     string // variable
	Flag    string // without the dash, or empty
	Takes   string // what kind of value, in a word or two
	Default string // in words or as in the file
	Doc     string // one sentence or more

	// read puts a value into the Config or tells what is wrong with it.
	read func(c *Config, in input)
	// show returns the value as TOML, "" if there is none.
	show func(c *Config) string
}

// Settings returns the table, in the order in which settings are documented.
func Settings() []Setting { return append([]Setting(nil), settings...) }

// Boolean is what Setting.Takes says of a setting that is true or false. As a flag
// it needs no value.
const Boolean = "true or false"

// levels are the log levels by name.
var levels = []struct {
	name  string
	level slog.Level
}{
	{"suppress", LevelSuppress},
	{"error", slog.LevelError},
	{"warn", slog.LevelWarn},
	{"info", slog.LevelInfo},
	{"debug", slog.LevelDebug},
}

// settings is the table. What belongs to a broker is in settings_broker.go.
var settings = slices.Concat([]Setting{
	{
		Key: "token", Env: "DISCORD_TOKEN", Takes: "text", Default: "required",
		Doc: "The bot's token, with or without `Bot ` before it.",
		read: func(c *Config, in input) {
			if s, ok := in.string(`"the bot's token"`); ok {
				c.Token, c.tokenFile = in.token(s), ""
				delete(c.origins, "token_file")
			}
		},
		show: func(c *Config) string {
			if c.tokenFile != "" || c.Token == "" {
				return ""
			}
			return quote(c.Token.String())
		},
	},
	{
		Key: "token_file", Env: "DISCORD_TOKEN_FILE", Takes: "path", Default: "none",
		Doc: "A file that holds the token, instead of `token`.",
		read: func(c *Config, in input) {
			if s, ok := in.string(`"/run/secrets/token"`); ok {
				c.Token, c.tokenFile = "", s
				delete(c.origins, "token")
			}
		},
		show: func(c *Config) string { return quoteUnlessEmpty(c.tokenFile) },
	},
	{
		Key: "events", Env: "DISCORD_EVENTS", Takes: "list of names", Default: "all",
		Doc:  "The events to publish. `[]` publishes none.",
		read: func(c *Config, in input) { in.events(&c.Events) },
		show: func(c *Config) string {
			if c.Events == nil {
				return ""
			}
			return quoteList(c.Events)
		},
	},
	{
		Key: "intents", Env: "DISCORD_INTENTS", Takes: "list of names", Default: "all but the privileged",
		Doc:  "What Discord is asked to send. Privileged are GUILD_MEMBERS, GUILD_PRESENCES and MESSAGE_CONTENT: switch them on for the bot first. `[]` asks for none.",
		read: func(c *Config, in input) { in.intents(&c.Intents) },
		show: func(c *Config) string {
			if c.Origin("rawintents").Kind != FromDefault {
				return ""
			}
			return quoteList(intentNames(c.Intents))
		},
	},
	{
		Key: "rawintents", Env: "DISCORD_RAW_INTENTS", Takes: "number", Default: "none",
		Doc:  "The intents as a number, instead of `intents`.",
		read: func(c *Config, in input) { in.rawIntents(&c.raw) },
		show: func(c *Config) string {
			if c.Origin("rawintents").Kind == FromDefault {
				return ""
			}
			return strconv.FormatUint(uint64(c.raw), 10)
		},
	},
	{
		Key: "gateway_version", Env: "DISCORD_GATEWAY_VERSION", Takes: "number", Default: "10",
		Doc:  "Version of the gateway's protocol, 9 or 10.",
		read: func(c *Config, in input) { in.version(&c.GatewayVersion) },
		show: func(c *Config) string { return strconv.Itoa(c.GatewayVersion) },
	},
	{
		Key: "large_threshold", Env: "DISCORD_LARGE_THRESHOLD", Takes: "number", Default: "left to Discord (50)",
		Doc:  "Member count, 50 to 250, above which Discord leaves offline members out of GUILD_CREATE.",
		read: func(c *Config, in input) { readInt(&c.LargeThreshold, in, 50, 250) },
		show: func(c *Config) string { return intUnlessZero(c.LargeThreshold) },
	},
	{
		Key: "compression", Env: "DISCORD_COMPRESSION", Takes: "name", Default: `"zstd-stream"`,
		Doc: "How Discord compresses what it sends: `zstd-stream`, `zlib-stream`, `zlib-payload` or `none`.",
		read: func(c *Config, in input) {
			if s, ok := in.oneOf("zstd-stream", "zlib-stream", "zlib-payload", "none"); ok {
				c.Compression, _ = wire.ParseCompression(s)
			}
		},
		show: func(c *Config) string { return quote(c.Compression.String()) },
	},
	{
		Key: "max_message", Env: "DISCORD_MAX_MESSAGE", Takes: "size", Default: `"64MiB"`,
		Doc:  "Inflated size, 1MiB to 1GiB, above which a message counts as broken and its connection is closed.",
		read: func(c *Config, in input) { readSize(&c.MaxMessage, in, 1<<20, 1<<30) },
		show: func(c *Config) string { return quote(formatSize(int64(c.MaxMessage))) },
	},
	{
		Key: "ready_timeout", Env: "DISCORD_READY_TIMEOUT", Takes: "duration", Default: `"10m"`,
		Doc:  "How long a shard waits for READY after its Identify, 1m to 24h, before it closes the connection and identifies again in its turn. It logs the wait each minute.",
		read: func(c *Config, in input) { readDuration(&c.ReadyTimeout, in, time.Minute, 24*time.Hour) },
		show: func(c *Config) string { return quote(formatDuration(c.ReadyTimeout)) },
	},
	{
		Key: "shutdown_timeout", Env: "SHUTDOWN_TIMEOUT", Takes: "duration", Default: `"10s"`,
		Doc:  "How long the way out after a signal may take, up to 1h.",
		read: func(c *Config, in input) { readDuration(&c.ShutdownTimeout, in, time.Millisecond, time.Hour) },
		show: func(c *Config) string { return quote(formatDuration(c.ShutdownTimeout)) },
	},
	{
		Key: "shards.count", Env: "DISCORD_SHARD_COUNT", Takes: "number", Default: "Discord's recommendation",
		Doc:  "Number of shards of the bot, over all processes.",
		read: func(c *Config, in input) { readInt(&c.Shards.Count, in, 1, MaxShards) },
		show: func(c *Config) string { return intUnlessZero(c.Shards.Count) },
	},
	{
		Key: "shards.ids", Env: "DISCORD_SHARD_IDS", Takes: "list with ranges", Default: "all",
		Doc:  "The shards that this process runs, such as `[0, 1]`, `[\"0-15\", 20]` or `\"0-15,20\"`.",
		read: func(c *Config, in input) { in.shardIDs(&c.Shards.IDs) },
		show: func(c *Config) string { return quoteUnlessEmpty(FormatShardIDs(c.Shards.IDs)) },
	},
	{
		Key: "shards.identify_reserve", Env: "DISCORD_SHARD_IDENTIFY_RESERVE", Takes: "number", Default: "100",
		Doc:  "How many of the session starts that Discord allows in a day are left alone, a tenth of them at most: with no more than so many, shards that must identify wait for the next day. A process that crashes again and again can't use them up then.",
		read: func(c *Config, in input) { readInt(&c.Shards.IdentifyReserve, in, 0, 1_000_000) },
		show: func(c *Config) string { return strconv.Itoa(c.Shards.IdentifyReserve) },
	},
	{
		Key: "presence", Env: "DISCORD_PRESENCE", Takes: "table; JSON in the variable", Default: "none",
		Doc: "What the bot shows: `status` (online, dnd, idle, invisible), `afk`, `since` and `[[presence.activities]]` with `name`, `type` (0 to 5, or playing, streaming, listening, watching, custom, competing), `url`, `state`.",
		read: func(c *Config, in input) {
			if object, ok := in.presence(); ok {
				c.Presence = object
			}
		},
		show: func(c *Config) string {
			if c.Presence == nil {
				return ""
			}
			return presenceTOML(c.Presence)
		},
	},
	{
		Key: "gateway.url", Env: "DISCORD_GATEWAY_URL", Takes: "address", Default: "what the API names",
		Doc:  "Address of the gateway, `wss://` or `ws://`. With `shards.count` set too, the API is not asked, unless `api.host` is set: then after failed connections, or when the session starts of the day are used up.",
		read: func(c *Config, in input) { in.gatewayURL(&c.Gateway.URL) },
		show: func(c *Config) string { return quoteUnlessEmpty(c.Gateway.URL) },
	},
	{
		Key: "gateway.hosts", Env: "DISCORD_GATEWAY_HOSTS", Takes: "list of hosts", Default: "none",
		Doc:  "Hosts, each with the names below it, that get the token if the API or a session's `resume_gateway_url` names them, besides those of the domain of the API or the gateway (for Discord: discord.gg, discord.com, discord.media). Others are refused with a warning, as is `ws://` after TLS.",
		read: func(c *Config, in input) { in.hosts(&c.Gateway.Hosts) },
		show: func(c *Config) string {
			if c.Gateway.Hosts == nil {
				return ""
			}
			return quoteList(c.Gateway.Hosts)
		},
	},
	{
		Key: "api.scheme", Env: "DISCORD_API_PROTOCOL", Takes: "name", Default: `"https"`,
		Doc: "`https` or `http`.",
		read: func(c *Config, in input) {
			if s, ok := in.oneOf("https", "http"); ok {
				c.API.Scheme = s
			}
		},
		show: func(c *Config) string { return quote(c.API.Scheme) },
	},
	{
		Key: "api.host", Env: "DISCORD_API_HOST", Takes: "host", Default: `"discord.com"`,
		Doc:  "Host of the REST API; a port may follow, as in `localhost:8080`.",
		read: func(c *Config, in input) { in.host(&c.API.Host) },
		show: func(c *Config) string { return quote(c.API.Host) },
	},
	{
		Key: "api.version", Env: "DISCORD_API_VERSION", Takes: "number", Default: "10",
		Doc:  "Version of the REST API, 9 or 10.",
		read: func(c *Config, in input) { in.version(&c.API.Version) },
		show: func(c *Config) string { return strconv.Itoa(c.API.Version) },
	},
	{
		Key: "api.ca_file", Env: "DISCORD_API_CA_FILE", Takes: "path", Default: "none",
		Doc: "Certificates in PEM form to trust besides the system's, for the REST API and the gateway.",
		read: func(c *Config, in input) {
			if s, ok := in.string(`"ca.pem"`); ok {
				c.API.CAFile = s
			}
		},
		show: func(c *Config) string { return quoteUnlessEmpty(c.API.CAFile) },
	},
	{
		Key: "proxy", Env: "DISCORD_PROXY", Takes: "address", Default: "that of the environment",
		Doc:  "Proxy to the REST API and the gateway: `http://`, `https://` or `socks5://`, as in `http://user:password@host:3128`; `none` for none. It is for every host. In the environment, `HTTPS_PROXY` is for https and wss, `HTTP_PROXY` for http and ws, and `NO_PROXY` names hosts without one. Behind an `https://` proxy each connection is read by a goroutine.",
		read: func(c *Config, in input) { in.proxy(&c.Proxy) },
		show: func(c *Config) string { return quoteUnlessEmpty(c.Proxy.String()) },
	},
	{
		Key: "reader.type", Env: "READER_TYPE", Flag: "reader", Takes: "name", Default: `"epoll"`,
		Doc: "Who reads the connections: `epoll`, a few goroutines for all, or `goroutine`, one for each, which costs more. `epoll` is for Linux; elsewhere `goroutine` is the default.",
		read: func(c *Config, in input) {
			s, ok := in.oneOf(ReaderGoroutine, ReaderEpoll)
			switch {
			case ok && s == ReaderEpoll && runtime.GOOS != "linux":
				in.errorf("epoll is for Linux, and this is %s; goroutine works everywhere", runtime.GOOS)
			case ok:
				c.Reader.Type = s
			}
		},
		show: func(c *Config) string { return quote(c.Reader.Type) },
	},
	{
		Key: "reader.count", Env: "READER_COUNT", Takes: "number", Default: "one for each CPU",
		Doc:  "How many goroutines `epoll` uses, 1 to 1,024.",
		read: func(c *Config, in input) { readInt(&c.Reader.Count, in, 1, 1024) },
		show: func(c *Config) string { return intUnlessZero(c.Reader.Count) },
	},
	{
		Key: "reader.pace", Env: "READER_PACE", Takes: "duration", Default: `"4ms"`,
		Doc:  "How often at most `epoll` looks at its connections, 0s to 100ms: under load, events are then read and handed on several at a time. One that comes alone does not wait.",
		read: func(c *Config, in input) { readDuration(&c.Reader.Pace, in, 0, 100*time.Millisecond) },
		show: func(c *Config) string { return quote(formatDuration(c.Reader.Pace)) },
	},
}, brokerSettings, []Setting{
	{
		Key: "prometheus.address", Env: "PROMETHEUS_ADDRESS", Takes: "address", Default: "off",
		Doc:  "Where metrics are served. Not in this version.",
		read: func(c *Config, in input) { in.listenAddress(&c.Prometheus.Address, ":8080") },
		show: func(c *Config) string { return quoteUnlessEmpty(c.Prometheus.Address) },
	},
	{
		Key: "prometheus.endpoint", Env: "PROMETHEUS_ENDPOINT", Takes: "path", Default: "every path",
		Doc: "The path at which metrics are served. Not in this version.",
		read: func(c *Config, in input) {
			if s, ok := in.string(`"/metrics"`); ok {
				c.Prometheus.Endpoint = s
			}
		},
		show: func(c *Config) string { return quoteUnlessEmpty(c.Prometheus.Endpoint) },
	},
}, storeSettings, []Setting{
	{
		Key: "log.level", Env: "LOG_LEVEL", Flag: "loglevel", Takes: "name", Default: `"info"`,
		Doc: "The least that is logged: `debug`, `info`, `warn`, `error`, or `suppress` for nothing.",
		read: func(c *Config, in input) {
			names := make([]string, len(levels))
			for i, l := range levels {
				names[i] = l.name
			}
			if s, ok := in.oneOf(names...); ok {
				for _, l := range levels {
					if l.name == s {
						c.Log.Level = l.level
					}
				}
			}
		},
		show: func(c *Config) string {
			for _, l := range levels {
				if l.level == c.Log.Level {
					return quote(l.name)
				}
			}
			return ""
		},
	},
	{
		Key: "log.format", Env: "LOG_FORMAT", Takes: "name", Default: `"auto"`,
		Doc: "`text`, `json`, or `auto`: text on a terminal, JSON otherwise.",
		read: func(c *Config, in input) {
			if s, ok := in.oneOf(LogAuto, LogText, FormatJSON); ok {
				c.Log.Format = s
			}
		},
		show: func(c *Config) string { return quote(c.Log.Format) },
	},
	{
		Key: "debug.address", Env: "DEBUG_ADDRESS", Takes: "address", Default: "off",
		Doc:  "Where Go's profiles (`/debug/pprof/`) and figures of its runtime (`/debug/runtime`) are served, such as `localhost:6060`. Whoever reaches it can slow the process down.",
		read: func(c *Config, in input) { in.listenAddress(&c.Debug.Address, "localhost:6060") },
		show: func(c *Config) string { return quoteUnlessEmpty(c.Debug.Address) },
	},
})

func readInt(to *int, in input, low, high int64) {
	if n, ok := in.number(low, high); ok {
		*to = int(n)
	}
}

func readText(to *string, in input, example string) {
	if s, ok := in.string(example); ok {
		*to = s
	}
}

func readSize(to *int, in input, low, high int64) {
	if n, ok := in.size(low, high); ok {
		*to = int(n)
	}
}

func readDuration(to *time.Duration, in input, low, high time.Duration) {
	if d, ok := in.duration(low, high); ok {
		*to = d
	}
}

func intUnlessZero(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func quoteUnlessEmpty(s string) string {
	if s == "" {
		return ""
	}
	return quote(s)
}

func quoteList(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = quote(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// quote writes a text as TOML's basic string.
func quote(s string) string {
	const hex = "0123456789abcdef"
	b := []byte{'"'}
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', byte(c))
		case c < 0x20 || c == 0x7f:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = append(b, string(c)...) // U+FFFD for what is not UTF-8
		}
	}
	return string(append(b, '"'))
}

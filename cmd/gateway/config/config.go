// This file holds Config, the settings as the rest of the program reads them.

// Package config reads the settings of the gateway from the command line, the
// environment and a TOML file, in that order of precedence, and tells every
// mistake with its place.
//
// One table (Settings) names each setting once: its key in the file, its
// variable, its flag, its default and its documentation. What reads, checks,
// prints and documents settings goes by that table.
package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"sluice/sinks/broker"
	"sluice/sinks/redis"
	"sluice/wire"
)

// Values of BrokerConfig.Type.
const (
	BrokerStdio = "stdio"
	BrokerRedis = "redis"
	BrokerAMQP  = "amqp"

	StoreMemory = "memory"
	StoreFile   = "file"
	StoreRedis  = "redis"
)

// Values of ReaderConfig.Type.
const (
	ReaderGoroutine = "goroutine"
	ReaderEpoll     = "epoll"
)

// Values of StdioConfig.Format.
const (
	FormatJSON    = "json"
	FormatMsgpack = "msgpack"
)

// Values of LogConfig.Format besides FormatJSON.
const (
	LogAuto = "auto" // text on a terminal, else JSON
	LogText = "text"
)

// LevelSuppress is above every level that is logged.
const LevelSuppress = slog.Level(1 << 10)

// Config is the settings, every default filled in. A Config that Load returned
// without an error is valid: nothing in it has to be checked again. It is not
// changed after that, so any goroutine may read it.
type Config struct {
	// Token is the bot's token without "Bot "; token, token_file,
	// DISCORD_TOKEN, DISCORD_TOKEN_FILE. Required.
	Token Secret
	// Events are the names of the events to publish: nil is all, empty is
	// none; events, DISCORD_EVENTS. All by default.
	Events []string
	// Intents are those of rawintents if that is set, else of intents;
	// DISCORD_RAW_INTENTS, DISCORD_INTENTS. All that are not privileged by
	// default.
	Intents wire.Intents
	// GatewayVersion is the version of the gateway's protocol;
	// gateway_version, DISCORD_GATEWAY_VERSION. 10 by default.
	GatewayVersion int
	// LargeThreshold is 50 to 250, or 0: left to Discord; large_threshold,
	// DISCORD_LARGE_THRESHOLD. 0 by default.
	LargeThreshold int
	// Compression of what Discord sends; compression, DISCORD_COMPRESSION.
	// zstd-stream by default.
	Compression wire.Compression
	// MaxMessage bounds the inflated size of a message, in bytes;
	// max_message, DISCORD_MAX_MESSAGE. 64 MiB by default.
	MaxMessage int
	// ReadyTimeout is how long a shard waits for READY after its Identify;
	// ready_timeout, DISCORD_READY_TIMEOUT. 10 minutes by default.
	ReadyTimeout time.Duration
	// ShutdownTimeout bounds the way out after a signal; shutdown_timeout,
	// SHUTDOWN_TIMEOUT. 10 s by default.
	ShutdownTimeout time.Duration
	// Presence is the presence object of the Identify as JSON with all four
	// keys, or nil; presence, DISCORD_PRESENCE. nil by default. Not to be
	// changed.
	Presence []byte

	// Proxy is the address of the proxy to Discord, "none", or empty: that of
	// the environment; proxy, DISCORD_PROXY. Empty by default.
	Proxy SecretURL

	Shards     ShardsConfig
	Gateway    GatewayConfig
	API        APIConfig
	Reader     ReaderConfig
	Broker     BrokerConfig
	Stdio      StdioConfig
	Prometheus PrometheusConfig
	ShardStore ShardStoreConfig
	Spool      SpoolConfig
	AMQP       AMQPConfig
	Redis      RedisConfig
	Log        LogConfig
	Debug      DebugConfig

	tokenFile string            // token_file as it was given
	raw       wire.Intents      // rawintents as it was given
	origins   map[string]Origin // of the settings that are not at their default, by key
}

// ShardsConfig says which shards run here.
type ShardsConfig struct {
	// Count is the number of shards of the bot, 0: Discord's
	// recommendation; shards.count, DISCORD_SHARD_COUNT. 0 by default.
	Count int
	// IDs are the shards of this process in ascending order, nil: all;
	// shards.ids, DISCORD_SHARD_IDS. nil by default. With a Count each is
	// below it; without one they have yet to be held against Discord's
	// recommendation.
	IDs []int
	// IdentifyReserve is how many of the day's Identifies are left alone;
	// shards.identify_reserve, DISCORD_SHARD_IDENTIFY_RESERVE. 100 by default.
	IdentifyReserve int
}

// GatewayConfig is the address of the gateway.
type GatewayConfig struct {
	// URL is used instead of the one that the API names: ws:// or wss://, or
	// empty; gateway.url, DISCORD_GATEWAY_URL. Empty by default.
	URL string
	// Hosts may get the token beside those of the domain of the gateway, or of
	// the API; gateway.hosts, DISCORD_GATEWAY_HOSTS. nil by default.
	Hosts []string
}

// APIConfig is the address of the REST API.
type APIConfig struct {
	// Scheme is https or http; api.scheme, DISCORD_API_PROTOCOL. https by
	// default.
	Scheme string
	// Host may carry a port; api.host, DISCORD_API_HOST. discord.com by
	// default.
	Host string
	// Version is that of the REST API; api.version, DISCORD_API_VERSION. 10
	// by default.
	Version int
	// CAFile is a PEM bundle to be trusted besides the system's roots, or
	// empty; api.ca_file, DISCORD_API_CA_FILE. Empty by default.
	CAFile string
}

// ReaderConfig says who reads the connections.
type ReaderConfig struct {
	// Type is ReaderGoroutine or ReaderEpoll; reader.type, READER_TYPE, flag
	// -reader. ReaderEpoll by default on Linux, ReaderGoroutine elsewhere.
	Type string
	// Count is how many goroutines ReaderEpoll uses, or 0: one for each CPU;
	// reader.count, READER_COUNT. 0 by default.
	Count int
	// Pace is the least time between two looks of ReaderEpoll at its sockets;
	// reader.pace, READER_PACE. 4 ms by default.
	Pace time.Duration
}

// BrokerConfig says where events go.
type BrokerConfig struct {
	// Type is BrokerStdio, BrokerRedis or BrokerAMQP; broker.type, BROKER_TYPE.
	// BrokerStdio by default.
	Type string
	// Required says that the gateway does not start without the broker;
	// broker.required, BROKER_REQUIRED, flag -require-broker. false by default.
	Required bool
	// Encoding and Envelope say what an event's value is; broker.encoding,
	// BROKER_ENCODING, broker.envelope, BROKER_ENVELOPE. By default that of the
	// old gateway: broker.MsgpackString of d alone.
	Encoding broker.Encoding
	Envelope bool
	// Group names the broker's exchange or consumer group; broker.group,
	// BROKER_GROUP. gateway by default.
	Group string
	// MessageTimeout is how long a message may wait at the broker;
	// broker.message_timeout, BROKER_MESSAGE_TIMEOUT. 2 min by default.
	MessageTimeout time.Duration
	// Buffer bounds the events that wait for the broker, in bytes;
	// broker.buffer, BROKER_BUFFER. 64 MiB by default.
	Buffer int
	// Gaps says whether lost events are told of by an event; broker.gaps,
	// BROKER_GAPS. True by default, but for stdio with Events that do not name it.
	Gaps bool
	// BatchWait is how long a few events wait for more while the broker is busy;
	// broker.batch_wait, BROKER_BATCH_WAIT. 1 ms by default.
	BatchWait time.Duration
	// DeadLetters is the file for events that the broker will never take, or
	// empty, and DeadLettersSize its bound in bytes; broker.dead_letters,
	// BROKER_DEAD_LETTERS, broker.dead_letters_size, BROKER_DEAD_LETTERS_SIZE.
	// dead-letters.jsonl and 64 MiB by default.
	DeadLetters     string
	DeadLettersSize int
}

// StdioConfig is how standard input and output are written.
type StdioConfig struct {
	// Format is FormatJSON or FormatMsgpack; stdio.format, STDIO_FORMAT.
	// FormatJSON by default.
	Format string
}

// DebugConfig is where profiles are served.
type DebugConfig struct {
	// Address is host:port, or empty: they are not; debug.address,
	// DEBUG_ADDRESS. Empty by default.
	Address string
}

// PrometheusConfig is where metrics are served.
type PrometheusConfig struct {
	// Address to listen on, or empty; prometheus.address, PROMETHEUS_ADDRESS.
	Address string
	// Endpoint is the path, or empty: every path; prometheus.endpoint,
	// PROMETHEUS_ENDPOINT.
	Endpoint string
}

// ShardStoreConfig is where sessions are kept.
type ShardStoreConfig struct {
	// Type is StoreMemory, StoreFile or StoreRedis; shard_store.type,
	// SHARD_STORE_TYPE. StoreFile by default, where a file can be written.
	Type string
	// Directory is that of the file; shard_store.directory, SHARD_STORE_DIRECTORY.
	// state by default.
	Directory string
	// Prefix of the keys; shard_store.prefix, SHARD_STORE_PREFIX.
	Prefix string
	// Compat has the old gateway's keys written; shard_store.compat,
	// SHARD_STORE_COMPAT. False by default.
	Compat bool
	// Interval is how often checkpoints are written; shard_store.interval,
	// SHARD_STORE_INTERVAL. 100 ms by default.
	Interval time.Duration
}

// SpoolConfig is where events wait for the broker beyond memory.
type SpoolConfig struct {
	// Directory, or empty: nowhere; spool.directory, SPOOL_DIRECTORY. Empty by
	// default.
	Directory string
	// Size bounds it in bytes; spool.size, SPOOL_SIZE. 10 GiB by default.
	Size int
}

// AMQPConfig is the address of RabbitMQ, and what is published there.
type AMQPConfig struct {
	URLs         []SecretURL     // several are a cluster; amqp.url, AMQP_URL
	ExchangeType string          // amqp.exchange_type, AMQP_EXCHANGE_TYPE; direct by default
	RoutingKey   broker.Template // amqp.routing_key, AMQP_ROUTING_KEY; the event's name by default
	Persistent   bool            // amqp.persistent, AMQP_PERSISTENT
	Mandatory    bool            // amqp.mandatory, AMQP_MANDATORY
	Headers      bool            // amqp.headers, AMQP_HEADERS
	External     bool            // amqp.sasl, AMQP_SASL; not by default
	Heartbeat    time.Duration   // amqp.heartbeat, AMQP_HEARTBEAT; 10 s by default
	Prefetch     int             // amqp.prefetch, AMQP_PREFETCH; 64 by default
	TLS          TLSConfig       // amqp.ca_file, AMQP_CA_FILE and so on
}

// RedisConfig is the address of Redis, and what is written there.
type RedisConfig struct {
	URLs      []SecretURL     // several are a cluster; redis.urls, REDIS_URL
	PoolSize  int             // of the old gateway; redis.pool_size, REDIS_POOL_SIZE; 5 by default
	Stream    broker.Template // redis.stream, REDIS_STREAM; the event's name by default
	Fields    []redis.Field   // after data; redis.fields, REDIS_FIELDS; none by default
	Retention time.Duration   // 0: no bound; redis.retention, REDIS_RETENTION; 1 h by default
	MaxLength int             // entries, 0: no bound; redis.max_length, REDIS_MAX_LENGTH; 0 by default
	Replicas  int             // that must have an event; redis.replicas, REDIS_REPLICAS; 0 by default
	TLS       TLSConfig       // redis.ca_file, REDIS_CA_FILE and so on
}

// TLSConfig is whom a broker is trusted by, and what it is shown.
type TLSConfig struct {
	CAFile     string // PEM, besides the system's roots; or empty
	CertFile   string // PEM; or empty
	KeyFile    string // of CertFile, PEM; or empty
	ServerName string // or empty: that of the address
}

// LogConfig is what is logged and how.
type LogConfig struct {
	// Level is the least level that is logged, LevelSuppress for nothing;
	// flag -loglevel, log.level, LOG_LEVEL. Info by default.
	Level slog.Level
	// Format is LogAuto, LogText or FormatJSON; log.format, LOG_FORMAT.
	// LogAuto by default.
	Format string
}

// defaults returns the settings of somebody who gave none.
func defaults() *Config {
	return &Config{
		Intents:         wire.UnprivilegedIntents,
		GatewayVersion:  10,
		Compression:     wire.CompressionZstd,
		MaxMessage:      64 << 20,
		ReadyTimeout:    10 * time.Minute,
		ShutdownTimeout: 10 * time.Second,
		API:             APIConfig{Scheme: "https", Host: "discord.com", Version: 10},
		Reader:          ReaderConfig{Type: defaultReader(), Pace: 4 * time.Millisecond},
		Broker: BrokerConfig{
			Type:           BrokerStdio,
			Group:          "gateway",
			MessageTimeout: 2 * time.Minute,
			Buffer:         64 << 20,
			Gaps:           true,
			BatchWait:      time.Millisecond,

			DeadLetters:     "dead-letters.jsonl",
			DeadLettersSize: 64 << 20,
		},
		Shards:     ShardsConfig{IdentifyReserve: 100},
		Stdio:      StdioConfig{Format: FormatJSON},
		ShardStore: ShardStoreConfig{Type: StoreFile, Directory: "state", Interval: 100 * time.Millisecond},
		Spool:      SpoolConfig{Size: min(10<<30, math.MaxInt)},
		AMQP:       AMQPConfig{ExchangeType: "direct", Headers: true, Heartbeat: 10 * time.Second, Prefetch: 64},
		Redis:      RedisConfig{PoolSize: 5, Retention: time.Hour},
		Log:        LogConfig{Level: slog.LevelInfo, Format: LogAuto},
		origins:    map[string]Origin{},
	}
}

func defaultReader() string {
	if runtime.GOOS == "linux" {
		return ReaderEpoll
	}
	return ReaderGoroutine
}

// Origin returns where the value of the setting with the key came from.
func (c *Config) Origin(key string) Origin { return c.origins[key] }

// APIBase returns the base of the REST API's URLs, such as
// https://discord.com/api/v10.
func (c *Config) APIBase() string {
	return c.API.Scheme + "://" + c.API.Host + "/api/v" + strconv.Itoa(c.API.Version)
}

// ServerHost names the server that sessions belong to: the host of the gateway's address if that
// is set, else of the API. All hosts of Discord are one.
func (c *Config) ServerHost() string {
	u := &url.URL{Host: c.API.Host}
	if c.Gateway.URL != "" {
		u, _ = url.Parse(c.Gateway.URL) // checked when it was read
	}
	for _, d := range wire.DiscordDomains() {
		if host := strings.ToLower(u.Hostname()); host == d || strings.HasSuffix(host, "."+d) {
			return "discord.com"
		}
	}
	return strings.ToLower(u.Host)
}

// AsksAPI reports whether the API has to be asked, or may be. With an address of the gateway and
// a shard count it has nothing to say, and by default it is discord.com, to which the token of
// another server must not go: it then takes an api.host that was set.
func (c *Config) AsksAPI() bool {
	return c.Gateway.URL == "" || c.Shards.Count == 0 || c.is("api.host")
}

// ProxyFunc returns what names the proxy for an http or https URL, for proxy.Dialer; nil: none.
// Proxy is for all of them, without a look at NO_PROXY.
func (c *Config) ProxyFunc() func(*url.URL) (*url.URL, error) {
	switch c.Proxy {
	case "none":
		return nil
	case "":
		return func(u *url.URL) (*url.URL, error) { return http.ProxyFromEnvironment(&http.Request{URL: u}) }
	}
	p, err := url.Parse(c.Proxy.Reveal()) // checked when it was read
	return func(*url.URL) (*url.URL, error) { return p, err }
}

// TLS returns a new TLS configuration for REST and gateway: the system's roots
// and those of API.CAFile, which is read anew.
func (c *Config) TLS() (*tls.Config, error) {
	return TLSConfig{CAFile: c.API.CAFile}.Load("api")
}

// Load returns the configuration for crypto/tls. The error names the setting of the
// table, such as redis, that is wrong.
func (t TLSConfig) Load(table string) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CertFile != "" || t.KeyFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("config: %s.cert_file and %s.key_file: %w", table, table, err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	if t.CAFile == "" {
		return conf, nil
	}
	pem, err := os.ReadFile(t.CAFile)
	if err != nil {
		return nil, fmt.Errorf("config: %s.ca_file: %w", table, err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool() // a system without roots: the file alone
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("config: %s.ca_file: %w", table, errNoCertificate)
	}
	conf.RootCAs = roots
	return conf, nil
}

var errNoCertificate = errors.New("holds no certificate in PEM form")

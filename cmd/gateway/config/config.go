// Package config reads the settings of the gateway from the command line, the
// environment and a TOML file, in that order of precedence, and reports every
// mistake with its place.
//
// One table (settings.go) names each setting once: its key in the file, its
// variable, its flag, its default, the field of Config that it sets, and its
// documentation. What reads, prints and documents settings goes by that table;
// validate.go holds them against each other.
package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
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

// Values of settings that are names.
const (
	BrokerStdio = "stdio"
	BrokerRedis = "redis"
	BrokerAMQP  = "amqp"

	StoreMemory = "memory"
	StoreFile   = "file"
	StoreRedis  = "redis"

	ReaderGoroutine = "goroutine"
	ReaderEpoll     = "epoll"

	FormatJSON    = "json" // of stdio.format and log.format
	FormatMsgpack = "msgpack"
	LogAuto       = "auto" // text on a terminal, else JSON
	LogText       = "text"
)

// LevelSuppress is above every level that is logged.
const LevelSuppress = slog.Level(1 << 10)

// Config is the settings, every default filled in; the table in settings.go says
// what each is. A Config that Load returned without an error is valid: nothing in it
// has to be checked again. It is not changed after that, so any goroutine may read it; Current has
// what a reload has changed.
type Config struct {
	Token           Secret   // without "Bot "
	Events          []string // nil: all; empty: none
	Intents         wire.Intents
	GatewayVersion  int
	LargeThreshold  int // 0: left to Discord
	Compression     wire.Compression
	MaxMessage      int // bytes
	ReadyTimeout    time.Duration
	ShutdownTimeout time.Duration
	Presence        []byte // JSON with all four keys, or nil; not to be changed
	PresenceFollow  bool
	Proxy           SecretURL // "none", or empty: that of the environment

	Shards     ShardsConfig
	Identify   IdentifyConfig
	Fleet      FleetConfig
	Gateway    GatewayConfig
	API        APIConfig
	Reader     ReaderConfig
	Broker     BrokerConfig
	Stdio      StdioConfig
	HTTP       HTTPConfig
	Prometheus PrometheusConfig
	ShardStore ShardStoreConfig
	Spool      SpoolConfig
	AMQP       AMQPConfig
	Redis      RedisConfig
	Log        LogConfig
	Debug      DebugConfig

	tokenFile     string
	httpTokenFile string
	rawIntents    wire.Intents
	origins       map[string]Origin      // of the settings that are not at their default, by key
	inForce       *inForce               // shared with what With returns
	secure        map[string]*tls.Config // by table, if LoadTLS has read it
}

// The tables of the file. What is not said of a field here is in settings.go.
type (
	ShardsConfig struct {
		Count           int   // 0: Discord's recommendation
		IDs             []int // ascending; nil: all. Without a Count they are yet to be held against Discord's.
		Auto            bool  // IDs are those that the fleet gives this process
		IdentifyReserve int
		Reshard         bool
	}
	IdentifyConfig struct{ Address, Queue string }
	FleetConfig    struct {
		Member, Zone          string
		Weight, Moves         int
		Death, Settle, Return time.Duration
	}
	GatewayConfig struct {
		URL   string // or empty: the one that the API names
		Hosts []string
	}
	APIConfig struct {
		Scheme, Host string // Host may carry a port
		Version      int
		CAFile       string
	}
	ReaderConfig struct {
		Type         string
		Count        int // 0: one for each CPU
		PollInterval time.Duration
	}
	BrokerConfig struct {
		Type                     string
		Encoding                 broker.Encoding
		Group                    string
		Required, Envelope, Gaps bool
		MessageTimeout, Linger   time.Duration
		Buffer, DeadLettersSize  int    // bytes
		DeadLetters              string // file, or empty
	}
	StdioConfig      struct{ Format string }
	PrometheusConfig struct{ Address, Endpoint, Packets string }
	HTTPConfig       struct {
		Address string // with a host, or empty: off
		Token   Secret // or empty
		Hosts   []string
	}
	ShardStoreConfig struct {
		Type, Directory, Prefix string
		Compat                  bool
		Interval                time.Duration
	}
	SpoolConfig struct {
		Directory string // or empty: nowhere
		Size      int64  // bytes
	}
	AMQPConfig struct {
		URLs                           []SecretURL
		ExchangeType                   string
		RoutingKey                     broker.Template
		Persistent, Mandatory, Headers bool
		External                       bool // SASL mechanism EXTERNAL
		Heartbeat                      time.Duration
		Prefetch                       int
		TLS                            TLSConfig
	}
	RedisConfig struct {
		URLs               []SecretURL
		Stream             broker.Template
		Fields             []redis.Field
		Retention          time.Duration // 0: no bound
		MaxLength          int           // 0: no bound
		PoolSize, Replicas int
		TLS                TLSConfig
	}
	TLSConfig struct{ CAFile, CertFile, KeyFile, ServerName string } // files are PEM
	LogConfig struct {
		Level  slog.Level
		Format string
	}
	DebugConfig struct{ Address string }
)

// defaults returns the settings of somebody who gave none.
func defaults() *Config {
	c := &Config{Intents: wire.UnprivilegedIntents, origins: map[string]Origin{}, inForce: new(inForce)}
	for _, s := range c.settings() {
		if text, ok := s.defaultText(); ok {
			s.read(input{value: text, loose: true, r: &report{failed: map[string]bool{}}})
		}
	}
	if runtime.GOOS != "linux" {
		c.Reader.Type = ReaderGoroutine
	}
	return c
}

// Origin returns where the value of the setting with the key came from.
func (c *Config) Origin(key string) Origin { return c.origins[key] }

// is reports whether a setting was set.
func (c *Config) is(key string) bool { return c.origins[key].Kind != FromDefault }

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

// Load returns the configuration for crypto/tls. The error begins with the setting of the
// table, such as redis, that is wrong, and wraps what is wrong with it.
func (t TLSConfig) Load(table string) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CertFile != "" || t.KeyFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("%s.cert_file: %w", table, err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	if t.CAFile == "" {
		return conf, nil
	}
	pem, err := os.ReadFile(t.CAFile)
	roots, noSystem := x509.SystemCertPool()
	if noSystem != nil {
		roots = x509.NewCertPool() // the file alone
	}
	if err == nil && !roots.AppendCertsFromPEM(pem) {
		err = errors.New("holds no certificate in PEM form")
	}
	if err != nil {
		return nil, fmt.Errorf("%s.ca_file: %w", table, err)
	}
	conf.RootCAs = roots
	return conf, nil
}
